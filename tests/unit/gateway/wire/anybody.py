"""Who takes part in the stories of test_any_order.py: what each wants, says and gets, moved by hand and never waiting for anybody."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import ssl
import struct
from dataclasses import dataclass, field

from tests.unit.gateway.wire.bench import OK

LARGEST = 1 << 16  # bytes taken from the kernel at a time


class Peer:
    """One end of a connection, plaintext or TLS: what is said waits until the kernel has room, what comes until it is looked at."""

    def __init__(self, raw: socket.socket, trust: ssl.SSLContext | None = None, *, serves: bool = False) -> None:
        raw.setblocking(False)
        self.raw = raw
        self.got = bytearray()
        self.ended = False  # the other side ended, and under TLS said so
        self.broken = False  # or broke off
        self.left = False  # we did
        self._unsaid = bytearray()  # in plaintext
        self._unsent = bytearray()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._greets = trust is not None
        self._tls = trust and trust.wrap_bio(
            self._in, self._out, server_side=serves, server_hostname=None if serves else "127.0.0.1"
        )

    @property
    def secure(self) -> bool:
        """Return whether ends are said."""
        return self._tls is not None

    @property
    def over(self) -> bool:
        """Nothing more will come, or is wanted."""
        return self.ended or self.broken or self.left

    @property
    def waits(self) -> bool:
        """What was said is still here."""
        return bool(self._unsaid or self._unsent)

    def say(self, data: bytes) -> None:
        """Say, when there is room."""
        self._unsaid += data
        self.push()

    def push(self) -> None:
        """Give the kernel what it takes."""
        if self.left:
            return
        try:
            self._seal()
            while self._unsent:
                del self._unsent[: self.raw.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.broken = True

    def _seal(self) -> None:
        if self._tls is None:
            self._unsent, self._unsaid = self._unsent + self._unsaid, bytearray()
            return
        with contextlib.suppress(ssl.SSLWantReadError):
            if self._greets:
                self._tls.do_handshake()
                self._greets = False
            while self._unsaid:
                del self._unsaid[: self._tls.write(self._unsaid)]
        self._unsent += self._out.read()

    def look(self) -> None:
        """Take what has come."""
        if self.over:
            return
        try:
            while data := self.raw.recv(LARGEST):
                self._take(data)
            self._in.write_eof()
            if self._tls is None:
                self.ended = True
            else:
                self._take(b"")
                self.broken = not self.ended
        except BlockingIOError:
            pass
        except OSError:
            self.broken = True
        self.push()

    def _take(self, data: bytes) -> None:
        if self._tls is None:
            self.got += data
            return
        self._in.write(data) if data else None
        with contextlib.suppress(ssl.SSLWantReadError):
            if self._greets:
                self._tls.do_handshake()
                self._greets = False
            try:
                while more := self._tls.read(LARGEST):
                    self.got += more
                self.ended = True
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as end:
                self.ended = isinstance(end, ssl.SSLZeroReturnError)

    # ---- how it leaves

    def goodbye(self) -> bool:
        """Say that no more will be said, if all was said, and return whether; go on reading."""
        self.push()
        if self.left or self.waits:
            return False
        if self._tls is not None and not self._greets:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._unsent += self._out.read()
            self.push()
        with contextlib.suppress(OSError):
            self.raw.shutdown(socket.SHUT_WR)
        return True

    def close(self) -> None:
        """Go, as the kernel has it: whoever has not read all resets."""
        self.left = True
        self.raw.close()

    def reset(self) -> None:
        """Vanish."""
        if not self.left:
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def body_of(number: int, size: int) -> bytes:
    """Return bytes that are nobody else's."""
    seldom = random.Random(number).randbytes(min(size, 4096))  # noqa: S311 - the same every time
    return (seldom * (size // 4096 + 1))[:size]


@dataclass
class Errand:
    """One request, and what is to become of it."""

    number: int
    method: str
    minor: int
    sent: bytes
    sent_in_chunks: bool
    spoilt: bool  # chunks that are none
    expects: bool
    last: bool
    way: str
    answer: bytes
    framing: str  # of the answer: length, chunks, end
    bad: bool  # it will not be what was signed
    early: bool  # answered by the backend before its body has come
    asked: int = 0  # how often a backend has read it
    ends: set[int] = field(default_factory=set)  # where an answer without a length may have ended
    ends_anywhere: bool = False

    @property
    def said(self) -> bytes:
        """What the client says."""
        fields = "Expect: 100-continue\r\n" if self.expects else ""
        fields += "Connection: close\r\n" if self.last else ("Connection: keep-alive\r\n" if not self.minor else "")
        body = self.sent
        if self.sent_in_chunks:
            fields += "Transfer-Encoding: chunked\r\n"
            body = chunked(body) if not self.spoilt else chunked(body)[:-5] + b"zz\r\n"
        elif self.method in {"PUT", "POST"}:
            fields += f"Content-Length: {len(body)}\r\n"
        return f"{self.method} /{self.number} HTTP/1.{self.minor}\r\n{fields}\r\n".encode() + body

    @property
    def is_last(self) -> bool:
        """Its answer ends the client's connection."""
        return self.last or (not self.minor and self.framing != "length")

    @property
    def wrong(self) -> bool:
        """It may do nothing at the backend."""
        return self.spoilt or self.bad

    def wanted(self, head: bytes, came: bytes) -> tuple[bytes, bytes]:
        """Return the body that an answer must have, and the one that it had, without what kept the client patient."""
        if self.method == "HEAD" or self.way != "slow" or not came:
            return b"" if self.method == "HEAD" else self.answer, came
        assert came.startswith(b"<>") or came == b"<"
        came = came[2:]
        return (self.answer.lstrip(b" "), came.lstrip(b" ")) if b"chunked" in head else (self.answer, came)

    @property
    def told(self) -> bytes:
        """What the backend says."""
        head = OK + b"X-Id: %d\r\n" % self.number
        if self.framing == "length" or self.method == "HEAD":
            head += b"Content-Length: %d\r\n" % len(self.answer)
        elif self.framing == "chunks":
            head += b"Transfer-Encoding: chunked\r\n"
        if self.early:
            head = head.replace(b"200 OK", b"404 No")
        if self.method == "HEAD":
            return head + b"\r\n"
        return head + b"\r\n" + (chunked(self.answer) if self.framing == "chunks" else self.answer)


def chunked(body: bytes) -> bytes:
    """Return a body in chunks of several sizes."""
    out, at, size = b"", 0, 300
    while at < len(body):
        piece = body[at : at + size]
        out += b"%x\r\n%b\r\n" % (len(piece), piece)
        at, size = at + size, min(size * 3, 100_000)
    return out + b"0\r\n\r\n"


def unchunked(data: bytes) -> tuple[bytes, bytes | None]:
    """Return the body that is there so far, and what follows it, None while it is not over."""
    body = b""
    while (line := data.partition(b"\r\n"))[1]:
        size = int(line[0], 16)
        if not size:
            return body, (line[2][2:] if line[2].startswith(b"\r\n") else None)
        if len(line[2]) < size + 2:
            return body + line[2][:size], None
        assert line[2][size : size + 2] == b"\r\n"
        body, data = body + line[2][:size], line[2][size + 2 :]
    return body, None


class Client:
    """A client and its requests."""

    def __init__(self, peer: Peer, errands: list[Errand]) -> None:
        self.peer = peer
        self.errands = errands
        self.unsaid = b"".join(errand.said for errand in errands)
        self.silent = False  # it has said that it says no more

    def say(self, most: int) -> None:
        """Say some more."""
        if not (self.silent or self.peer.left):
            piece, self.unsaid = self.unsaid[:most], self.unsaid[most:]
            self.peer.say(piece)

    def answers(self) -> tuple[list[tuple[bytes, bytes, bool]], bytes]:
        """Return the answers that have come, with whether each is whole, and what is left over."""
        data, found = bytes(self.peer.got), []
        for errand in self.errands:
            while data.startswith(b"HTTP/1.1 100 "):
                data = data.partition(b"\r\n\r\n")[2]
            head, there, data = data.partition(b"\r\n\r\n")
            if not there:
                return found, head
            body, rest = self._body(errand, head, data)
            found.append((head, body, rest is not None))
            if rest is None or b"Connection: close" in head:
                return found, rest or b""
            data = rest
        return found, data

    def _body(self, errand: Errand, head: bytes, data: bytes) -> tuple[bytes, bytes | None]:
        if errand.method == "HEAD" and not re.match(rb"HTTP/1.1 \d+ (Malformed|Late)", head):  # which know no method
            return b"", data
        if length := re.search(rb"Content-Length: (\d+)", head):
            size = int(length[1])
            return data[:size], data[size:] if len(data) >= size else None
        if b"chunked" in head:
            return unchunked(data)
        return data, b"" if self.peer.ended else None

    @property
    def served(self) -> bool:
        """Nothing more is owed to it."""
        if self.peer.over:
            return True
        found, _ = self.answers()
        whole = [head for head, _, whole in found if whole]
        return len(whole) == len(self.errands) or (bool(whole) and b"Connection: close" in whole[-1])

    def check(self) -> None:
        """What came is what was owed, in order, or as much of it as came before it broke off."""
        found, rest = self.answers()
        for errand, (head, came, whole) in zip(self.errands, found, strict=False):
            status = int(head[9:12])
            assert status in {200, 400, 404, 408, 503}, head
            if status in {200, 404}:
                assert b"X-Id: %d\r\n" % errand.number in head + b"\r\n", (head, errand.number)
                wanted, body = errand.wanted(head, came)
                ends = {len(wanted), *errand.ends} if errand.framing == "end" else {len(wanted)}
                assert wanted.startswith(body), "other bytes"
                assert not whole or len(body) in ends or errand.ends_anywhere, (
                    f"looks whole: {len(body)} of {len(wanted)}"
                )
                assert status == 404 or errand.way == "say" or not errand.wrong
        if found and b"Connection: close" in found[-1][0]:
            assert not rest, f"more after the last: {[h for h, _, _ in found]} {rest[:300]!r} {len(rest)}"

    def check_all(self) -> None:
        """Where nobody does anything bad everybody is served, until an answer is the last."""
        found, _ = self.answers()
        assert found
        for errand, (head, _, whole) in zip(self.errands, found, strict=False):
            assert whole
            owed = {400} if errand.wrong and errand.way != "say" else {200}
            assert int(head[9:12]) in ({404, *owed} - {200} if errand.early else owed), head
        assert len(found) == len(self.errands) or b"Connection: close" in found[-1][0]


class Served:
    """A connection to the backend: requests as they are read, and an answer as it is said."""

    def __init__(self, peer: Peer, errands: dict[int, Errand]) -> None:
        self.peer = peer
        self.errands = errands
        self.errand: Errand | None = None
        self.whole = False  # its request
        self.untold = b""
        self.told = 0
        self.ends = False  # its answer ends the connection
        self._head = b""

    def look(self) -> None:
        """Take what has come; a request that is whole must be what the client said."""
        self.peer.look()
        if self.untold or self.peer.waits or self.ends:
            return
        if self.errand is None or self.whole:
            self._next()
        if self.errand is not None and not self.whole:
            self._finish()

    @property
    def asked_nothing(self) -> bool:
        """No request of which it would be the answer has left the gateway."""
        try:
            return self.whole and not (self.untold or self.peer.got or self.peer.raw.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _next(self) -> None:
        head, there, rest = bytes(self.peer.got).partition(b"\r\n\r\n")
        if not there:
            return
        self.peer.got = bytearray(rest)
        self._head = head + b"\r\n"
        target = head.split(b" ")[1]
        if target == b"/asked":
            self.peer.got = bytearray(rest[3:]) if rest[:3] == b"may" else self.peer.got
            self.errand, self.whole, self.untold = None, True, OK + b"Content-Length: 3\r\n\r\nyes"
            return
        self.errand, self.whole = self.errands[int(target[1:])], False
        self.errand.asked += 1
        assert self.errand.method != "POST" or self.errand.asked == 1, "asked twice"
        if self.errand.early:
            self._tell()

    def _finish(self) -> None:
        data = bytes(self.peer.got)
        if b"chunked" in self._head:
            body, rest = unchunked(data)
        else:
            length = re.search(rb"Content-Length: (\d+)", self._head)
            size = int(length[1]) if length else 0
            body, rest = data[:size], data[size:] if len(data) >= size else None
        assert self.errand.sent.startswith(body), "the backend was sent other bytes"
        if rest is None:
            return
        assert body == self.errand.sent, "the backend was sent a part that looks whole"
        assert not self.errand.wrong, "what the client spoilt looks whole"
        self.peer.got, self.whole = bytearray(rest), True
        if not self.errand.early:
            self._tell()

    def _tell(self) -> None:
        self.untold, self.told = self.errand.told, 0
        self.ends = self.errand.framing == "end" and self.errand.method != "HEAD"

    def tell(self, most: int) -> None:
        """Say some more of the answer."""
        piece, self.untold = self.untold[:most], self.untold[most:]
        self.told += len(piece)
        self.peer.say(piece)
        if piece and not self.untold and self.ends:
            self.goodbye()

    def goodbye(self) -> None:
        """End; what was said of an answer without a length is all of it then."""
        if self.ends and self.errand is not None and not self.peer.waits:
            head = self.errand.told.index(b"\r\n\r\n") + 4
            self.errand.ends.add(max(0, self.told - head))
        self.peer.goodbye()

    def close(self) -> None:
        """Go; without TLS that is an end like any other, wherever the kernel was."""
        self.goodbye()
        if self.ends and self.errand is not None and not self.peer.secure:
            self.errand.ends_anywhere = True
        self.peer.close()
