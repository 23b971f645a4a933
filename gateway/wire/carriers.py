"""What bytes are in between two sockets: a Pipe (splice(2), nothing enters Python) or a Buffer (readv, write).

A carrier is on loan only while it holds bytes. A pipe that still holds some is closed, never kept.
"""

from __future__ import annotations

import fcntl
import os
import threading
from typing import Protocol

SIZES = (1 << 20, 1 << 19, 1 << 18)  # bytes of a pipe, tried in this order; a smaller one costs more than copying
KEPT = 32  # idle pipes of a process; an idle pipe holds descriptors, no pages
COPIED = 1 << 19  # bytes copied at a time, and kept at most per transfer whose target stalls


class Carrier(Protocol):
    """What bytes are in between take and give; both raise OSError, BlockingIOError where they would wait."""

    @property
    def held(self) -> int:
        """Return how many bytes were taken and not given."""

    def take(self, source: int, limit: int) -> int:
        """Take up to `limit` bytes while empty; return how many, 0 at the source's end."""

    def give(self, target: int, *, more: bool) -> int:
        """Give what the target has room for; return how many bytes. `more`: others follow at once."""

    def rest(self) -> bytes:
        """Return what is held, and hold it no longer."""

    def lend_back(self) -> None:
        """Be used by somebody else, or be thrown away."""


class Pipe:
    """A pipe of `size` bytes, filled and drained by splice(2). Raises OSError where there is none, or only a small one."""

    __slots__ = ("_pool", "_reader", "_writer", "held", "size")

    def __init__(self, pool: PipePool) -> None:
        self._pool = pool
        self.held = 0
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.size = self._widened()
        except OSError:
            self.close()
            raise

    def _widened(self) -> int:
        """Return the size that was allowed; unprivileged users share fs.pipe-user-pages-soft (pipe(7))."""
        for size in SIZES[:-1]:
            try:
                return fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, size)
            except OSError:
                continue
        return fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, SIZES[-1])

    def take(self, source: int, limit: int) -> int:
        """Take (Carrier)."""
        self.held = os.splice(
            source, self._writer, min(limit, self.size), flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
        )
        return self.held

    def give(self, target: int, *, more: bool) -> int:
        """Give (Carrier)."""
        flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK | (os.SPLICE_F_MORE if more else 0)
        given = os.splice(self._reader, target, self.held, flags=flags)
        self.held -= given
        return given

    def rest(self) -> bytes:
        """Read what is held (Carrier)."""
        pieces = []
        while self.held:
            pieces.append(os.read(self._reader, self.held))
            self.held -= len(pieces[-1])
        return b"".join(pieces)

    def lend_back(self) -> None:
        """Go to the pool (Carrier)."""
        self._pool.put(self)

    def close(self) -> None:
        """Close both ends; what is held is lost."""
        os.close(self._reader)
        os.close(self._writer)


class PipePool:
    """The empty pipes of one process, at most `kept` of them."""

    __slots__ = ("_idle", "_kept")

    def __init__(self, kept: int = KEPT) -> None:
        self._idle: list[Pipe] = []
        self._kept = kept

    def __len__(self) -> int:
        return len(self._idle)

    def get(self) -> Pipe:
        """Return an empty pipe. Raises OSError where there is none, or only a small one."""
        return self._idle.pop() if self._idle else Pipe(self)

    def put(self, pipe: Pipe) -> None:
        """Keep a pipe, or close it: one that still holds bytes would give them to another connection."""
        if pipe.held or len(self._idle) >= self._kept:
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close the idle pipes."""
        while self._idle:
            self._idle.pop().close()


class Shared(threading.local):
    """One buffer of so many bytes for each thread that runs a loop: it is used within one callback only."""

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))


SHARED = Shared(COPIED)


class Buffer:
    """Bytes in memory: the shared buffer as long as the target takes all at once, a copy of what it did not take."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes = b"") -> None:
        self._data = memoryview(data)

    @property
    def held(self) -> int:
        """Return how many bytes wait for the target."""
        return len(self._data)

    def take(self, source: int, limit: int) -> int:
        """Take (Carrier)."""
        view = SHARED.view
        taken = os.readv(source, [view[: min(limit, COPIED)]])
        self._data = view[:taken]
        return taken

    def give(self, target: int, *, more: bool) -> int:  # noqa: ARG002 - write(2) has no such flag
        """Give (Carrier)."""
        try:
            given = os.write(target, self._data)
        except BlockingIOError:
            self._own(0)
            raise
        self._own(given)
        return given

    def _own(self, given: int) -> None:
        """Keep what was not taken: the shared buffer is another transfer's next."""
        data = self._data[given:]
        self._data = memoryview(bytes(data)) if data.obj is SHARED.view.obj else data

    def rest(self) -> bytes:
        """Return what is held (Carrier)."""
        data, self._data = bytes(self._data), memoryview(b"")
        return data

    def lend_back(self) -> None:
        """Nothing is shared but the thread's buffer (Carrier)."""


PIPES = PipePool()
os.register_at_fork(after_in_child=PIPES.close)  # two processes on one pipe would mix their bytes
