"""Two real TCP connections and a pump between them: what the pump's tests are made of."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from pathlib import Path

from gateway.wire.pump import Pump

PATIENCE = 60  # seconds after which a test has hung


class End(asyncio.Protocol):
    """Our side of a connection: keeps what its transport reads."""

    def __init__(self):
        self.data = bytearray()
        self.came = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        self.came.set()

    async def has(self, count: int) -> bytes:
        """Wait for this many bytes, and return all that came."""
        while len(self.data) < count:
            self.came.clear()
            await asyncio.wait_for(self.came.wait(), PATIENCE)
        return bytes(self.data)


class Line:
    """`feeder` ══ source ─pump─▶ target ══ `reader`: the outer two are plain sockets, the inner two transports."""

    async def open(self) -> Line:
        self.feeder, self.into = await self._pair()
        self.reader, self.out = await self._pair()
        self.source, self.target = self.into.transport, self.out.transport
        self.source.pause_reading()
        return self

    async def _pair(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            far = socket.create_connection(listener.getsockname())
            near, _ = listener.accept()
        far.setblocking(False)
        near.setblocking(False)
        _, end = await asyncio.get_running_loop().connect_accepted_socket(End, near)
        return far, end

    def close(self) -> None:
        for transport in (self.source, self.target):
            transport.abort()
        for far in (self.feeder, self.reader):
            far.close()

    async def feed(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.feeder, data)

    async def read(self, count: int) -> bytes:
        """Return `count` bytes that arrived at the far end, fewer where it ended."""
        return await read(self.reader, count)


@contextlib.asynccontextmanager
async def a_line():
    """A line, closed at the end."""
    line = await Line().open()
    try:
        yield line
    finally:
        line.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def read(sock: socket.socket, count: int) -> bytes:
    """Return `count` bytes of a socket, fewer where it ended or broke."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while len(data) < count:
            piece = await asyncio.get_running_loop().sock_recv(sock, min(1 << 20, count - len(data)))
            if not piece:
                break
            data += piece
    return bytes(data)


class Transfer:
    """A pump whose end can be awaited, in tests only."""

    def __init__(self, source, target, count: int):
        self.progress: list[int] = []
        self.moving = asyncio.Event()
        self.ended = asyncio.get_running_loop().create_future()
        self.pump = Pump(source, target, count, self._done, self._moved)
        self.pump.start()

    def _moved(self, count: int) -> None:
        self.progress.append(count)
        self.moving.set()

    def _done(self, moved: int, error: BaseException | None) -> None:
        self.ended.set_result((moved, error))

    async def outcome(self):
        """Return (moved, error)."""
        return await asyncio.wait_for(self.ended, PATIENCE)

    async def stalls(self) -> int:
        """Wait until nothing moves any more, and return how many bytes had moved."""
        before = -1
        while before != sum(self.progress):
            before = sum(self.progress)
            await asyncio.sleep(0.1)
        return before


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
