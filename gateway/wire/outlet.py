"""What connections write, written at the end of one round of the event loop: read all, think, write all.

A write wakes its reader, and the reader of one small write sleeps again before the next: with many written one after the other
it is woken once, and the code that thinks is not thrown out of the caches by the kernel's after each. That is worth a quarter of
the CPU of small requests (bench/README.md). What waits is bounded: a round ends after `MOST` connections, and what is large, or has
become so, goes at once: a body's piece from where it is, past the transport (`pour`). Each connection's bytes keep their order, since
all of them go through its outlet.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

MOST = 32  # connections with something to write, after which nobody waits for the end of the round
LARGE = 65_536  # bytes of one connection that wait at most
_TCP = frozenset({socket.AF_INET, socket.AF_INET6})  # uvloop calls a pipe a socket too, of another family
_UNKNOWN, _NONE = -2, -1


class Outbox:
    """The outlets of one process that have something to write."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Outlet] = []

    def enroll(self, outlet: Outlet) -> None:
        """Flush an outlet at the end of this round."""
        waiting = self._waiting
        waiting.append(outlet)
        if len(waiting) == 1:
            self._loop.call_soon(self.flush)
        elif len(waiting) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        for outlet in waiting:
            outlet.flush()


class Outlet:
    """A transport whose writes wait for the end of the round: what the plane uses of asyncio.Transport."""

    __slots__ = ("_descriptor", "_forgets", "_held", "_joins", "_outbox", "_waiting", "is_closing", "paused", "raw")

    def __init__(self, raw: asyncio.Transport, outbox: Outbox) -> None:
        self.raw = raw
        self.is_closing = raw.is_closing
        self._joins = type(raw).__module__.startswith("asyncio")
        self._forgets = False
        self._outbox = outbox
        self._descriptor = _UNKNOWN  # of a plaintext socket that may be written to past the transport
        self.paused = False
        self._waiting: list[bytes | bytearray | memoryview] = []
        self._held = 0

    def heed_the_end(self) -> None:
        """Let what came before the other side's end not be lost when it comes while nothing is read.

        uvloop's TLS forgets what it has read and not yet given to us when it sees an end: while paused it may read no further than it has.
        """
        self._forgets = not self._joins and hasattr(self.raw, "set_read_buffer_limits")  # TLS transports have it

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write when the round ends; behind what waits already."""
        waiting = self._waiting
        waiting.append(data)
        self._held += len(data)
        if self._held > LARGE:
            self.flush()
        elif len(waiting) == 1:
            self._outbox.enroll(self)

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write several pieces."""
        for data in pieces:
            self.write(data)

    def pour(self, head: bytes, data: bytes | memoryview) -> None:
        """Write a head and what follows it now, from where they are; of what the socket does not take at once a copy waits."""
        self.flush()
        if self.is_closing():
            return
        sent = self._written(head, data)
        begun = sent - len(head)
        if begun < 0:
            self._give([head[sent:], bytes(data)])
        elif begun < len(data):
            self.raw.write(bytes(data[begun:]))

    def _written(self, head: bytes, data: bytes | memoryview) -> int:
        """Write past the transport where it has nothing to write itself; return how many bytes its socket took."""
        if self._descriptor == _UNKNOWN:
            self._descriptor = self.raw.get_extra_info("socket").fileno() if is_plain(self.raw) else _NONE
        if self._descriptor == _NONE or self.raw.get_write_buffer_size():
            return 0
        try:
            return os.writev(self._descriptor, (head, data))
        except OSError:  # no room; what else it may be the transport finds out
            return 0

    def flush(self) -> None:
        """Write what waits, now."""
        waiting = self._waiting
        if not waiting:
            return
        self._waiting, self._held = [], 0
        if self.is_closing():
            return
        if len(waiting) == 1:
            self.raw.write(waiting[0])
        else:
            self._give(waiting)

    def _give(self, pieces: list[bytes | bytearray | memoryview]) -> None:
        """Write several pieces. asyncio's own way to do that told nobody when too much waited (CVE-2024-12254: 3.12.0 to 3.13.1)."""
        if self._joins:
            self.raw.write(b"".join(pieces))
        else:
            self.raw.writelines(pieces)

    def holds(self, data: bytes) -> bool:
        """Return whether this, as it was given to be written, still waits for the end of the round."""
        for waiting in self._waiting:  # noqa: SIM110 - a generator is made for each any()
            if waiting is data:
                return True
        return False

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for room."""
        self.flush()
        return self.raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say when the protocol is told to pause."""
        self.raw.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """Return whether the connection can end half."""
        return self.raw.can_write_eof()

    def write_eof(self) -> None:
        """Write what waits, and say that it is all."""
        self.flush()
        try:
            self.raw.write_eof()
        except OSError:  # asyncio's tells of a connection that has broken
            self.raw.abort()

    def close(self) -> None:
        """Write what waits, and close, once: asyncio's TLS tells nothing of a transport that was closed twice, not even its end."""
        if not self.is_closing():
            self.flush()
            self.raw.close()

    def abort(self) -> None:
        """End at once."""
        self._waiting.clear()
        self._held = 0
        self.raw.abort()

    def pause_reading(self) -> None:
        """Read no more for now."""
        self.paused = True
        self.raw.pause_reading()
        if self._forgets and not self.is_closing():
            self.raw.set_read_buffer_limits(1, 0)  # type: ignore[attr-defined] # it is TLS

    def resume_reading(self) -> None:
        """Read on."""
        if self.paused:
            self.paused = False
            self.raw.resume_reading()
            if self._forgets and not self.is_closing():
                self.raw.set_read_buffer_limits()  # type: ignore[attr-defined] # a record must fit in again

    def is_reading(self) -> bool:
        """Return whether what comes is read."""
        return self.raw.is_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have somebody else told what happens on the connection."""
        self.raw.set_protocol(protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the transport knows about itself."""
        return self.raw.get_extra_info(name, default)


def socket_of(transport: asyncio.Transport | Outlet) -> socket.socket:
    """Return a transport's socket. Raises OSError: a connection that has gone has none, a moment before its protocol is told."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return sock


def is_plain(transport: asyncio.Transport | Outlet) -> bool:
    """Return whether a transport is a stream of TCP, and the kernel's bytes of it are the connection's."""
    if transport.get_extra_info("ssl_object") is not None or transport.get_extra_info("sslcontext") is not None:
        return False
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.type == socket.SOCK_STREAM and sock.family in _TCP
