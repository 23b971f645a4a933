"""A backend that records what reaches it: every byte, on real sockets. It answers 200 to whole requests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass
class Recorded:
    """One request as it arrived; `complete` when its whole announced body did."""

    head: bytes
    body: bytes = b""
    complete: bool = False

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def is_probe(self) -> bool:
        """Whether it is readiness, asking whether the gateway's keys are taken."""
        return self.line == "GET /?max-buckets=1 HTTP/1.1"

    @property
    def headers(self) -> dict[str, str]:
        pairs = (line.split(b":", 1) for line in self.head.split(b"\r\n")[1:] if line)
        return {n.decode().lower(): v.strip().decode() for n, v in pairs}


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Read a chunked body without trailers; the connection is given up (OSError) when it is cut."""
    while True:
        line = stream.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("cut in a chunk's head")
        size = int(line, 16)
        data = stream.read(size + 2)
        if len(data) < size + 2:
            raise OSError("cut in a chunk")
        if not size:
            return
        yield data[:-2]


@dataclass
class RecordingBackend:
    """Listens on loopback; `requests` is what came.

    `answer` may be changed by a test, to a function of the request too; an empty answer, or one
    that says Connection: close, hangs up.
    """

    answer: bytes | Callable[[Recorded], bytes] = b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "e"\r\n\r\n'
    requests: list[Recorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    @property
    def signed(self) -> list[Recorded]:
        """The requests that the gateway signed for somebody: its readiness probes are not among them."""
        return [r for r in self.requests if b"authorization" in r.head.lower() and not r.is_probe]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as stream:
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    head += line
                recorded = Recorded(head[:-2])
                self.requests.append(recorded)
                if recorded.headers.get("transfer-encoding", "").lower() == "chunked":
                    recorded.body = b"".join(_chunks(stream))
                length = int(recorded.headers.get("content-length", "0"))
                while len(recorded.body) < length:
                    piece = stream.read1(length - len(recorded.body))
                    if not piece:
                        return
                    recorded.body += piece
                recorded.complete = True
                answer = self.answer if isinstance(self.answer, bytes) else self.answer(recorded)
                if not answer:
                    return
                client.sendall(answer)
                if b"connection: close" in answer.partition(b"\r\n\r\n")[0].lower():
                    return
