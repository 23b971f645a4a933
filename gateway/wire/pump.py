"""Many bytes from socket to socket without their entering Python: splice(2) through a pipe, copying where that fails.

    source ──▶ [kernel's receive queue] ──take──▶ carrier ──give──▶ [kernel's send queue] ──▶ target
                                                  a Pipe or a Buffer (carriers.py), or a Sieve (sieve.py)

A carrier is on loan only while it holds bytes: filled when empty, lent back when drained. So a thousand transfers that wait
for their sources share a few pipes, and a transfer whose target stalls keeps at most one carrier: 1 MiB. Because it is
filled only when empty, a `take` that would block means the source, never a full pipe.

The transports stay the owners of their sockets. The pump works on duplicates of their descriptors, because neither loop
watches a transport's own descriptor for anybody else, and because a number whose transport was closed meanwhile could be
another connection's. The owner keeps the source paused, writes nothing to the target, and calls `cancel` before closing
either: a duplicate that stays open would hold back the FIN.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import sys
import termios
from collections.abc import Callable
from enum import Enum, auto

from gateway.wire.carriers import PIPES, Buffer, Carrier
from gateway.wire.near import bound_window
from gateway.wire.outlet import Outlet, is_plain, socket_of
from gateway.wire.sieve import ROUNDS as SIEVED
from gateway.wire.sieve import Refused, Sieve

PUMPED = 1 << 18  # bytes still to come from which the pump is cheaper than the transports
ROUNDS = 16  # carriers filled or drained before the loop's other callbacks have their turn: at most 16 MiB
_REFUSED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})  # splice is not to be had here

Transport = asyncio.Transport | Outlet
Done = Callable[[int, BaseException | None], None]


class SourceEnded(ConnectionError):
    """The source ended, or broke (`__cause__`), before all bytes had come."""


class TargetBroken(ConnectionError):
    """The target takes no more bytes; `__cause__` is what the kernel said."""


def can_pump(source: Transport, target: Transport) -> bool:
    """Return whether bytes can go from one transport to the other past both: plaintext sockets, on Linux."""
    return hasattr(os, "splice") and is_plain(source) and is_plain(target)


class _Next(Enum):
    """What a turn ends with."""

    READ = auto()  # the source has nothing
    WRITE = auto()  # the target has no room
    SOON = auto()  # others have their turn first
    OVER = auto()


class Pump:
    """One transfer of `count` bytes from a paused source to a target, `through` a relay where there is one.

    `done(moved, error)` is called once, from the loop and never from within `start`, with all resources freed: `error` is
    None when `count` bytes were handed to the target's kernel; SourceEnded; TargetBroken; or OSError where the process has
    no descriptors left, and with `moved` 0 nothing was taken from the source then: it can still be relayed otherwise. Or
    Refused by the relay: the target has less than it was promised.
    After success both transports are as they were, the source still paused, its bytes after `count` unread. After an error
    bytes may be lost between the two: both connections are to be aborted. `moved(n)` is called with the bytes of each turn; 0 where the
    target took what a relay had held back.
    """

    __slots__ = ("_carrier", "_copies", "_copies_once", "_count", "_done", "_empty", "_fds", "_handle", "_loop", "_moved", "_over",
                 "_progress", "_source", "_stirred", "_target", "_through", "_waits", "_woken")  # fmt: skip

    def __init__(
        self,
        source: Transport,
        target: Transport,
        count: int,
        done: Done,
        moved: Callable[[int], None] | None = None,
        through: Sieve | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._count = count
        self._done = done
        self._progress = moved
        self._moved = 0
        self._fds: list[int] = []
        self._carrier: Carrier | None = None
        self._through = through
        self._copies = through is not None  # or splice was refused here
        self._copies_once = False
        self._woken = False  # by the source, and nothing was taken yet
        self._stirred = False  # the target took something in this turn
        self._empty = False  # the target's own buffer, once
        self._over = False
        self._waits: _Next | None = None
        self._handle: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin, from a callback of the loop. Raises RuntimeError where the source is being read by its transport."""
        if self._source.is_reading():
            raise RuntimeError("a source must be paused before its bytes are pumped")
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._begin)

    @property
    def waits_for_target(self) -> bool:
        """Return whether the target has no room for what was taken from the source."""
        return self._waits is _Next.WRITE

    def cancel(self) -> None:
        """Stop and free what is held; `done` is not called. To be called before either transport is closed."""
        if not self._over:
            self._over = True
            self._release()

    def _begin(self) -> None:
        self._handle = None
        try:
            self._look()
            bound_window(socket_of(self._source))
            self._fds.append(duplicate(self._source))
            self._fds.append(duplicate(self._target))
        except OSError as problem:
            self._finish(problem)
        else:
            self._turn()

    def _turn(self) -> None:
        """Move what can be moved now, then wait for the side that blocks."""
        self._handle = None
        before = self._moved
        error: OSError | Refused | None = None
        self._woken = self._waits is _Next.READ
        self._stirred = False
        try:
            self._look()
            after = self._rounds()
            if after is not _Next.OVER:
                self._wait(after)
        except Refused as refused:
            after, error = _Next.OVER, refused
        except OSError as problem:
            after, error = _Next.OVER, self._lost(problem)
        except MemoryError:
            # What was taken may stand in the thread's buffer only, where another transfer's bytes come next.
            after, error = _Next.OVER, TargetBroken("no memory for what the target did not take")
        if after is _Next.OVER:
            self._release()
        if self._progress is not None and (self._moved > before or self._stirred):
            self._progress(self._moved - before)
        if after is _Next.OVER:
            self._finish(error)

    def _finish(self, error: OSError | Refused | None) -> None:
        if not self._over:
            self._over = True
            self._release()
            self._done(self._moved, error)

    def _lost(self, problem: OSError) -> OSError:
        """Return what went wrong: bytes that were taken and cannot be given leave nothing to go on with."""
        if isinstance(problem, ConnectionError) or not (self._carrier or self._moved):
            return problem
        broken = TargetBroken(str(problem))
        broken.__cause__ = problem
        return broken

    def _look(self) -> None:
        """Raise for a transport whose owner closed it."""
        if self._source.is_closing():
            raise SourceEnded("closed on our side")
        if self._target.is_closing():
            raise TargetBroken("closed on our side")

    def _rounds(self) -> _Next:
        """Fill and drain until one side blocks, all is moved, or others have waited enough. Raises OSError."""
        if not self._empty:
            if self._target.get_write_buffer_size():
                return _Next.WRITE  # the transport drains it in the same wake-ups, before ours finds it empty
            self._empty = True
        if not self._count:
            return _Next.OVER
        for _ in range(ROUNDS if self._through is None else SIEVED):
            carrier = self._carrier or self._fill()
            if carrier is None:
                return _Next.READ
            if not self._drain(carrier):
                return _Next.WRITE
            if self._moved == self._count:  # the target may answer before others have had their turn
                return _Next.OVER
        return _Next.SOON

    def _fill(self) -> Carrier | None:
        """Take bytes from the source; return what holds them, None where it has none. Raises SourceEnded, Refused.

        A source that woke us and has nothing for splice has urgent data next (MSG_OOB): reading goes past it. Without
        that, the loop would be woken for ever.
        """
        carrier = self._lent()
        try:
            taken = carrier.take(self._fds[0], self._count - self._moved)
        except BlockingIOError:
            carrier.lend_back()
            past_it, self._woken = self._woken, False
            if not past_it:
                return None
            self._copies_once = True
            return self._fill()
        except OSError as problem:
            carrier.lend_back()
            self._refused(problem, SourceEnded)
            return self._fill()
        self._woken = False
        if not taken:
            carrier.lend_back()
            raise SourceEnded(f"{self._count - self._moved} bytes did not come")
        self._carrier = carrier
        return carrier

    def _lent(self) -> Carrier:
        """Return an empty carrier: a pipe where there is one and nobody looks at the bytes."""
        if self._through is not None:
            return self._through
        once, self._copies_once = self._copies_once, False
        if not (self._copies or once):
            with contextlib.suppress(OSError):  # no descriptors, or the user's pipes are used up: copy this once
                return PIPES.get()
        return Buffer()

    def _drain(self, carrier: Carrier) -> bool:
        """Give bytes to the target; return False where it has no room. Raises TargetBroken."""
        try:
            given = carrier.give(self._fds[1], more=self._moved + carrier.held < self._count)
        except BlockingIOError:
            return False
        except OSError as problem:
            self._refused(problem, TargetBroken)
            self._carrier = Buffer(carrier.rest())
            carrier.lend_back()
            return True
        self._stirred = True  # a relay may let go of more than this turn took
        self._moved += given
        if not carrier.held:
            self._carrier = None
            carrier.lend_back()
        return True

    def _refused(self, problem: OSError, fault: type[ConnectionError]) -> None:
        """Copy from now on where splice is what failed. Raises `fault` for anything else."""
        if self._copies or problem.errno not in _REFUSED:
            raise fault(os.strerror(problem.errno or 0)) from problem
        self._copies = True

    def _wait(self, after: _Next) -> None:
        """Watch exactly the side that blocks; a watch that still fits stays."""
        if after is self._waits:
            return
        self._unwatch()
        if after is _Next.READ:
            self._loop.add_reader(self._fds[0], self._turn)
        elif after is _Next.WRITE:
            self._loop.add_writer(self._fds[1], self._turn)
        else:
            self._handle = self._loop.call_soon(self._turn)
            return
        self._waits = after

    def _unwatch(self) -> None:
        if self._waits is _Next.READ:
            self._loop.remove_reader(self._fds[0])
        elif self._waits is _Next.WRITE:
            self._loop.remove_writer(self._fds[1])
        self._waits = None

    def _release(self) -> None:
        """Free everything: watches before descriptors, or the loop would watch a number that is somebody else's."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._unwatch()
        while self._fds:
            os.close(self._fds.pop())
        if self._carrier is not None:
            self._carrier.lend_back()
            self._carrier = None


def duplicate(transport: Transport) -> int:
    """Return a descriptor of our own for a transport's socket. Raises OSError."""
    return os.dup(socket_of(transport).fileno())


def unread(transport: Transport) -> int:
    """Return how many bytes have come that the transport has not read: those that follow what was pumped."""
    if transport.is_closing():
        return 0
    answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)
