"""A backend that does what a test tells it: on real sockets, a thread to each connection.

`ScriptedBackend(script)` calls `script(peer, asked)` for every request that the gateway signed, as soon as its head is here; its
readiness probes are answered without asking the script. When the script returns the next request of the connection is read,
unless one side has ended it.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.servers.recording import Recorded

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
PIECE = bytes(range(256)) * 256  # 64 KiB; every object here is these bytes over and over


def content(size: int) -> bytes:
    """Return the object of so many bytes."""
    return (PIECE * (size // len(PIECE) + 1))[:size]


def reset(sock: socket.socket) -> None:
    """End a connection as a crash does: the other side gets RST, and what was on its way is lost."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@dataclass
class Peer:
    """One connection of the gateway's, as a script uses it. `served` counts the requests answered on it before."""

    socket: socket.socket
    served: int = 0
    data: bytearray = field(default_factory=bytearray)

    def say(self, data: bytes) -> None:
        """Send."""
        self.socket.sendall(data)

    def end(self) -> None:
        """Say that nothing more comes, and wait for the gateway to end too: what was said arrives."""
        self.socket.shutdown(socket.SHUT_WR)
        self.left()
        self.socket.close()

    def finish(self) -> None:
        """End as TLS does: say goodbye, and wait for the gateway to end too."""
        if isinstance(self.socket, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self.socket.unwrap().close()
        self.socket.close()

    def part(self) -> None:
        """Say goodbye and that nothing more comes, both at once, as servers do, and wait for the gateway to end too."""
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError):
                self.socket.unwrap()
            self.socket.setblocking(True)
        self.end()

    def close(self) -> None:
        """End both ways at once; with bytes unread that is a reset."""
        self.socket.close()

    def reset(self) -> None:
        """Die."""
        reset(self.socket)

    def read(self, count: int) -> bytes:
        """Return so many bytes of a body, fewer when the gateway ends first."""
        while len(self.data) < count and self._more():
            pass
        found = bytes(self.data[:count])
        del self.data[:count]
        return found

    def line(self) -> bytes:
        """Return the next line without its end, b"" when none comes."""
        while b"\r\n" not in self.data:
            if not self._more():
                return b""
        return self.read(self.data.find(b"\r\n") + 2)[:-2]

    def digest(self, count: int) -> str:
        """Read so many bytes and return the MD5 of what came, "" when it was less."""
        md5, left = hashlib.md5(), count
        while left:
            piece = self.read(min(left, 1 << 16))
            if not piece:
                return ""
            md5.update(piece)
            left -= len(piece)
        return md5.hexdigest()

    def left(self) -> bool:
        """Read until the gateway has ended the connection, for good or not; return True then."""
        while self._more():
            self.data.clear()
        return True

    def head(self) -> bytes:
        """Return the next request's head, b"" when there is none."""
        while b"\r\n\r\n" not in self.data:
            if not self._more():
                return b""
        return self.read(self.data.find(b"\r\n\r\n") + 4)[:-2]

    def _more(self) -> bool:
        try:
            piece = self.socket.recv(1 << 18)
        except OSError:
            return False
        self.data += piece
        return bool(piece)


Script = Callable[[Peer, Recorded], None]


def answer_empty(peer: Peer, asked: Recorded) -> None:
    """Read a request whole and answer 200 with nothing."""
    asked.body = peer.read(length(asked))
    asked.complete = len(asked.body) == length(asked)
    if asked.complete:
        peer.say(EMPTY)


def length(asked: Recorded) -> int:
    """Return the announced length of a request's body."""
    return int(asked.headers.get("content-length", "0"))


def size_named(asked: Recorded) -> int:
    """Return the bytes of an object that is called by its size."""
    return int(asked.line.split()[1].rsplit("/", 1)[1])


@dataclass
class ScriptedBackend:
    """Listens on loopback, with TLS where it has a context. `asked` are the requests that came, `script` may be changed at any time."""

    script: Script = answer_empty
    context: ssl.SSLContext | None = None
    asked: list[Recorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.endpoint = f"http{'s' if self.context else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """Return how many connections are being served."""
        return len(self._open)

    def told(self, script: Script) -> list[Recorded]:
        """Follow another script from the next request on; return the list of what is asked from now on."""
        self.script, self.asked = script, []
        return self.asked

    def close(self) -> None:
        """Stop, and cut every connection."""
        self._listener.close()
        for one in tuple(self._open):
            with contextlib.suppress(OSError):  # its thread was faster
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(sock)
                threading.Thread(target=self._meet, args=(sock,), daemon=True).start()

    def _meet(self, sock: socket.socket) -> None:
        if self.context is None:
            self._serve(sock)
            return
        self._open.discard(sock)
        with contextlib.suppress(OSError), self.context.wrap_socket(sock, server_side=True) as wrapped:
            self._open.add(wrapped)
            self._serve(wrapped)

    def _serve(self, sock: socket.socket) -> None:
        try:
            self._requests(Peer(sock))
        except OSError:
            return  # one side ended it: many scripts are about that
        finally:
            self._open.discard(sock)
            sock.close()

    def _requests(self, peer: Peer) -> None:
        while head := peer.head():
            asked = Recorded(head)
            if "authorization" in asked.headers and not asked.is_probe:
                self.asked.append(asked)
                self.script(peer, asked)
            else:
                peer.say(EMPTY)
            if peer.socket.fileno() < 0:
                return
            peer.served += 1
