"""Load of big bodies: one thread per connection, bytes that never enter this process.

Downloads are discarded inside the kernel (MSG_TRUNC, tcp(7)), uploads leave by sendfile; behind TLS both are read and
written through OpenSSL, as there is no other way. Every answer's status and length are looked at; digests by
`digest_get` and `digest_put`, before and after, over the same path. Threads, because nothing here holds Python's lock
while bytes move.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.http1 import answer, read_head
from bench.load_small import Fired, WrongAnswer

PIECE = 1 << 20
_SINK = bytearray(PIECE)  # what is read into it is of no interest, so all threads share it
_PATIENCE = 120  # seconds without a byte


@dataclass(frozen=True)
class Big:
    """One big request: a head, the length of its answer's body, and an upload's file, sent so many `times`."""

    head: bytes
    length: int = 0
    file: Path | None = None
    times: int = 1


def connect(port: int, tls: ssl.SSLContext | None) -> socket.socket:
    """Return a connection, with TLS where there is a context."""
    sock = socket.create_connection(("127.0.0.1", port), _PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(sock, server_hostname="localhost") if tls else sock


def fire(port: int, big: Big, count: int, connections: int, tls: ssl.SSLContext | None = None) -> Fired:
    """Send the request `count` times in all over some connections. Raises WrongAnswer."""
    begin, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(connections) as pool:
        shares = [count // connections + (number < count % connections) for number in range(connections)]
        for done in [pool.submit(_connection, port, big, share, tls) for share in shares if share]:
            done.result()
    return Fired(count, time.perf_counter() - begin, time.process_time() - cpu)


def _connection(port: int, big: Big, count: int, tls: ssl.SSLContext | None) -> None:
    with connect(port, tls) as sock:
        for _ in range(count):
            transfer(sock, big)


def transfer(sock: socket.socket, big: Big, meanwhile: Callable[[], object] = bool) -> None:
    """Send one request and take its answer; `meanwhile` is called in the middle of the body. Raises WrongAnswer."""
    sock.sendall(big.head)
    if big.file:
        _upload(sock, big.file, big.times, meanwhile)
    status, length, rest, got = read_head(sock)
    if status != 200 or length != big.length:
        raise WrongAnswer(got[:2000].decode(errors="replace"))
    if not big.file:
        meanwhile()
    _drain(sock, length - len(rest))


def _upload(sock: socket.socket, file: Path, times: int, meanwhile: Callable[[], object] = bool) -> None:
    size = file.stat().st_size
    with file.open("rb") as source:
        _send(sock, source, 0, min(PIECE, size))
        meanwhile()
        _send(sock, source, min(PIECE, size), size)
        for _ in range(times - 1):
            _send(sock, source, 0, size)


def _send(sock: socket.socket, source, start: int, end: int) -> None:
    if isinstance(sock, ssl.SSLSocket):
        source.seek(start)
        while start < end:
            piece = source.read(min(PIECE, end - start))
            sock.sendall(piece)
            start += len(piece)
    elif end > start:  # sendfile takes a count of 0 for an error
        sock.sendfile(source, start, end - start)


def _drain(sock: socket.socket, left: int) -> None:
    flags = 0 if isinstance(sock, ssl.SSLSocket) else socket.MSG_TRUNC
    while left:
        count = sock.recv_into(_SINK, min(left, PIECE), flags)
        if not count:
            raise WrongAnswer(f"the connection was closed {left} bytes before the end")
        left -= count


def digest_get(port: int, big: Big, expected: str, tls: ssl.SSLContext | None = None) -> None:
    """Read one answer whole and compare its SHA-256. Raises WrongAnswer."""
    with connect(port, tls) as sock:
        sock.sendall(big.head)
        status, _, body = answer(sock)
    if status != 200 or hashlib.sha256(body).hexdigest() != expected:
        raise WrongAnswer(f"{status}, {len(body)} bytes, not those that were stored")


def digest_put(port: int, big: Big, expected: str, tls: ssl.SSLContext | None = None) -> None:
    """Upload once to a key whose digest the sink tells. Raises WrongAnswer."""
    with connect(port, tls) as sock:
        sock.sendall(big.head)
        if big.file:
            _upload(sock, big.file, big.times)
        status, etag, body = answer(sock)
    if (status, etag) != (200, expected):
        raise WrongAnswer(f"{status}, digest {etag!r}: {body[:300]!r}")


class Together:
    """Many transfers at once: all stop in the middle of their bodies until `finish`, so that all are on their way."""

    def __init__(self, port: int, big: Big, count: int) -> None:
        self._port, self._big, self._count = port, big, count
        self._middle = threading.Barrier(count + 1, timeout=_PATIENCE)
        self._on, self._cut = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(count)
        self._sockets: list[socket.socket] = []

    def start(self) -> None:
        """Return when every transfer is in the middle. Raises what one of them raised."""
        self._running = [self._pool.submit(self._one) for _ in range(self._count)]
        try:
            self._middle.wait()
        except threading.BrokenBarrierError:
            self._end()
            raise

    def finish(self, seconds: float) -> int:
        """Let them go on for at most some seconds, then cut them off; return how many came to their end."""
        self._on.set()
        wait(self._running, seconds)
        self._cut.set()
        return self._end()

    def _end(self) -> int:
        self._on.set()
        for sock in self._sockets:
            with suppress(OSError):  # it has been closed at its end
                sock.shutdown(socket.SHUT_RDWR)
        self._pool.shutdown()
        return sum(one.result() for one in self._running)

    def _one(self) -> bool:
        with connect(self._port, None) as sock:
            self._sockets.append(sock)
            try:
                transfer(sock, self._big, self._pause)
            except (OSError, WrongAnswer):
                self._middle.abort()  # nobody waits for one that failed
                if not self._cut.is_set():
                    raise
                return False
        return True

    def _pause(self) -> None:
        self._middle.wait()
        self._on.wait()


def sha256_cost(file: Path, chunk: int) -> float:
    """Return the CPU seconds that one SHA-256 pass over a file's bytes in pieces takes."""
    data = memoryview(file.read_bytes())
    begin = time.thread_time()
    for start in range(0, len(data), chunk):
        hashlib.sha256(data[start : start + chunk]).digest()
    return time.thread_time() - begin
