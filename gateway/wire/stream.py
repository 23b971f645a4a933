"""A plaintext connection to a backend, read and written here: the loop says only when there is something, or room.

uvloop's transport reads into a buffer of the loop's and copies what came for the protocol, and takes the interpreter's lock for
each of the two; what is written waits with it for another turn of the loop. Here bytes are read once, into the object that the
protocol gets, and written when they are there (outlet.py gathers them before).

    Stream(loop, sock, protocol)    an asyncio.Transport by those of its methods that the plane uses of a backend's connection

Its rules are asyncio's: `connection_lost` comes once, from the loop, never from inside a call; after `close` what waits is still
written, after `abort` not. One is better: where writing fails, what the backend said before it broke is read first.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from typing import Any, Protocol, cast

MOST = 1 << 18  # bytes read at a time
ROUNDS = 8  # reads before it is others' turn
PIECES = 64  # of what waits, written at a time; IOV_MAX is 1,024


class ExpectingProtocol(Protocol):
    """An asyncio.Protocol by its methods that says whether it is owed something."""

    @property
    def expects(self) -> bool:
        """Return whether more is to come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio)."""

    def data_received(self, data: bytes) -> None:
        """Take bytes (asyncio)."""

    def eof_received(self) -> None:
        """Nothing more comes (asyncio)."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone (asyncio)."""

    def pause_writing(self) -> None:
        """More waits than should (asyncio)."""

    def resume_writing(self) -> None:
        """There is room again (asyncio)."""


class Stream:
    """One connection; it owns its socket, which does not block and is connected."""

    __slots__ = (
        "_closing",
        "_error",
        "_fd",
        "_full",
        "_high",
        "_loop",
        "_lost",
        "_low",
        "_more",
        "_protocol",
        "_reads",
        "_size",
        "_sock",
        "_waiting",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: ExpectingProtocol) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._protocol = protocol
        self._closing = False
        self._lost = False  # the protocol has been told
        self._error: OSError | None = None  # of a write: nothing more is written
        self._reads = False
        self._more: asyncio.Handle | None = None  # reading on, after others have had their turn
        self._waiting: list[bytes] = []
        self._size = 0  # bytes that wait
        self._full = False  # the protocol has been told to write no more
        self._high, self._low = MOST, MOST // 4
        protocol.connection_made(cast("asyncio.BaseTransport", self))
        self.resume_reading()

    # ---- what comes

    def _readable(self) -> None:
        """Read what is there.

        uvloop tells of a connection that has broken once only, perhaps together with its last bytes: while the protocol waits for
        more it is read until it is empty.
        """
        self._unplan()
        protocol = self._protocol
        for _ in range(ROUNDS):
            if not self._reads:
                return
            try:
                data = os.read(self._fd, MOST)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error)
                return
            except MemoryError:  # left to the loop it would be tried again, and again
                self._end(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
                return
            if not data:
                self._ended()
                return
            try:
                protocol.data_received(data)
            except BaseException:
                # With an error: without one a body that ends with its connection would be taken for whole.
                self._end(ConnectionAbortedError("a mistake of ours"))
                raise
            if not protocol.expects:
                return
        self._more = self._loop.call_soon(self._readable)

    def _unplan(self) -> None:
        if self._more is not None:
            self._more.cancel()
            self._more = None

    def _ended(self) -> None:
        """Tell of an end; where a write has had the error, what looks like one is a break."""
        if self._error is not None:
            self._end(self._error)
        else:
            self._protocol.eof_received()
            self.close()

    def pause_reading(self) -> None:
        """Read no more for now."""
        if self._reads:
            self._reads = False
            self._unplan()
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Read on."""
        if not self._reads and not self._closing:
            self._reads = True
            self._loop.add_reader(self._fd, self._readable)

    def is_reading(self) -> bool:
        """Return whether what comes is read."""
        return self._reads

    # ---- what goes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write now; a copy of what finds no room waits for it."""
        if self._closing or self._error is not None:
            return
        sent = 0
        if not self._waiting:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                pass
            except OSError as error:
                self._broke(error)
                return
        if sent < len(data):
            try:
                self._keep(bytes(memoryview(data)[sent:]))
            except MemoryError:  # nothing may follow what is missing
                self._broke(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))

    def writelines(self, pieces: list[bytes | bytearray | memoryview]) -> None:
        """Write several pieces."""
        self.write(b"".join(pieces))

    def _keep(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.add_writer(self._fd, self._writable)
        self._waiting.append(data)
        self._size += len(data)
        if self._size > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def _writable(self) -> None:
        """Write what waits."""
        try:
            sent = os.writev(self._fd, self._waiting[:PIECES])
        except BlockingIOError:
            return
        except OSError as error:
            self._broke(error)
            return
        self._size -= sent
        while sent:
            first = self._waiting.pop(0)
            if sent < len(first):
                self._waiting.insert(0, first[sent:])
                break
            sent -= len(first)
        if not self._waiting:
            self._loop.remove_writer(self._fd)
            if self._closing:
                self._loop.call_soon(self._tell, None)
        if self._full and self._size <= self._low:
            self._full = False
            self._protocol.resume_writing()

    def _broke(self, error: OSError) -> None:
        """Write no more; let the loop read what the backend may have said before it broke."""
        if self._error is None:
            self._error = error
            self._forget()
            self._loop.call_soon(self._last)

    def _last(self) -> None:
        self._readable()
        if self._error is not None:
            self._end(self._error)

    def _forget(self) -> None:
        """Let go of what waits."""
        if self._waiting:
            self._waiting.clear()
            self._size = 0
            self._loop.remove_writer(self._fd)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for room."""
        return self._size

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """Say of how many bytes the protocol is told."""
        self._high, self._low = high, low

    # ---- the end

    def is_closing(self) -> bool:
        """Return whether it is closed, or about to be: also where a write has failed."""
        return self._closing or self._error is not None

    def close(self) -> None:
        """Close when what waits is written."""
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        if not self._waiting:
            self._loop.call_soon(self._tell, None)

    def abort(self) -> None:
        """Close now."""
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        self.pause_reading()
        self._forget()
        self._closing = True
        self._loop.call_soon(self._tell, error)

    def _tell(self, error: OSError | None) -> None:
        """Tell the protocol, once, and let the socket go."""
        if self._lost:
            return
        self._lost = True
        try:
            self._protocol.connection_lost(error)
        finally:
            # The loop keeps a watch that has failed until it is removed, and would take the next socket of this number for it.
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._sock.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket, or its own address; there is nothing else to know."""
        if name == "sockname":
            return self._sock.getsockname()
        return self._sock if name == "socket" else default


def has_broken(sock: Any) -> bool:
    """Return whether the kernel knows that a connection has broken; `sock` is a socket by its methods.

    A whole answer and a break that come together are told by uvloop once; who has its answer does not read on.
    """
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # POLLERR and POLLHUP are told unasked
    return bool(poll.poll(0))


async def connect(loop: asyncio.AbstractEventLoop, host: str, port: int, protocol: ExpectingProtocol) -> Stream:
    """Return a connection to an address, which is no name. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await _connected(loop, sock, host, port)
        return Stream(loop, sock, protocol)
    except BaseException:
        sock.close()
        raise


async def _connected(loop: asyncio.AbstractEventLoop, sock: socket.socket, host: str, port: int) -> None:
    """Connect. uvloop's sock_connect asks the threads that look names up, and would wait behind a name server's silence."""
    error = sock.connect_ex((host, port))
    if error == errno.EINPROGRESS:
        made: asyncio.Future[None] = loop.create_future()
        loop.add_writer(sock.fileno(), _settle, made)
        try:
            await made
        finally:
            loop.remove_writer(sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _settle(made: asyncio.Future[None]) -> None:
    if not made.done():
        made.set_result(None)
