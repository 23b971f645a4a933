"""Many bytes from a plaintext socket into a connection that must see them, since it encrypts them.

A loop reads 256 KB at a time into a buffer of its own and copies them for the protocol; every turn wakes whoever sends, and every
write whoever reads. Here twice as much is read at once, into the object that is written from. It is written in two parts,
because OpenSSL keeps as much memory for a connection as was once written at a time.

The transports stay the owners of their sockets, as with the pump (pump.py), whose rules hold here too: the feed reads from a
duplicate of the source's descriptor, the source stays paused, and `cancel` comes before either is closed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from gateway.wire.near import bound_window
from gateway.wire.outlet import is_plain, socket_of
from gateway.wire.pump import Done, SourceEnded, TargetBroken, Transport, duplicate

TAKEN = 1 << 19  # bytes read at a time
GIVEN = 1 << 18  # bytes written at a time
ROUNDS = 8  # reads before the loop's other callbacks have their turn: at most 4 MiB


def can_feed(source: Transport, target: Transport) -> bool:
    """Return whether bytes of a plaintext socket go to a transport that must see them."""
    return is_plain(source) and not is_plain(target)


class Feed:
    """One transfer of `count` bytes from a paused plaintext source to a transport; `done` and `moved` are a Pump's.

    What was moved is with the target's transport: its kernel may not have it yet. `room` must be told what the
    target's protocol is told by `pause_writing` and `resume_writing`; `full` says what it was told last.
    """

    __slots__ = ("_count", "_done", "_fd", "_full", "_handle", "_loop", "_moved", "_over", "_progress", "_rest", "_source", "_target",
                 "_watches")  # fmt: skip

    def __init__(
        self,
        source: Transport,
        target: Transport,
        count: int,
        done: Done,
        moved: Callable[[int], None],
        *,
        full: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._count = count
        self._done = done
        self._progress = moved
        self._full = full
        self._moved = 0
        self._rest = memoryview(b"")  # what was read and not written
        self._fd = -1
        self._over = False
        self._watches = False
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        """Begin, from a callback of the loop. Raises RuntimeError where the source is being read by its transport."""
        if self._source.is_reading():
            raise RuntimeError("a source must be paused before its bytes are fed")
        self._handle = self._loop.call_soon(self._begin)

    @property
    def waits_for_target(self) -> bool:
        """Return whether the target has no room for more."""
        return self._full

    def room(self, *, there_is: bool) -> None:
        """The target has no room for more, or has it again."""
        self._full = not there_is
        if self._fd >= 0 and self._handle is None:
            self._wait(more=False)

    def cancel(self) -> None:
        """Stop and free what is held; `done` is not called. To be called before either transport is closed."""
        self._over = True
        self._release()

    def _begin(self) -> None:
        self._handle = None
        try:
            bound_window(socket_of(self._source))
            self._fd = duplicate(self._source)
        except OSError as problem:
            self._finish(problem)
        else:
            self._turn()

    def _turn(self) -> None:
        """Move what can be moved now, then wait for the side that has nothing, or no room."""
        self._unplan()
        before, error, more = self._moved, None, False
        try:
            more = self._rounds()
        except ConnectionError as problem:
            error = problem
        except MemoryError:  # what was not written must not be missing between what was and what would be
            error = TargetBroken("no memory for the answer's bytes")
        if self._moved > before and not self._over:
            self._progress(self._moved - before)
        if self._over:  # whoever was told ended it
            return
        if error is not None or self._moved == self._count:
            self._finish(error)
        else:
            self._wait(more=more)

    def _rounds(self) -> bool:
        """Read and write until one side has had enough; return whether it is others' turn only. Raises SourceEnded, TargetBroken."""
        for _ in range(ROUNDS):
            if self._target.is_closing():
                raise TargetBroken("closed on our side")
            if self._moved == self._count or self._full or self._over:
                return False
            if not self._rest:
                self._rest = memoryview(self._taken(min(TAKEN, self._count - self._moved)))
            if not self._rest:
                return False
            self._give()
        return True

    def _taken(self, wanted: int) -> bytes:
        """Return what the source has, b"" for nothing now. Raises SourceEnded."""
        if self._source.is_closing():
            raise SourceEnded("closed on our side")
        try:
            data = os.read(self._fd, wanted)
        except BlockingIOError:
            return b""
        except OSError as problem:
            raise SourceEnded(os.strerror(problem.errno or 0)) from problem
        if not data:
            raise SourceEnded(f"{self._count - self._moved} bytes did not come")
        return data

    def _give(self) -> None:
        """Write what was read, for as long as there is room; a transport may keep what it gets, which nobody changes."""
        while self._rest and not self._full:
            part, self._rest = self._rest[:GIVEN], self._rest[GIVEN:]
            self._moved += len(part)
            self._target.write(part)

    def _wait(self, *, more: bool) -> None:
        """Go on soon where there is more. uvloop tells of a source that has broken once only: it must have been read empty then."""
        if more or (self._rest and not self._full):
            self._handle = self._handle or self._loop.call_soon(self._turn)
        else:
            self._watch()

    def _watch(self) -> None:
        """Have the loop say when the source has bytes, unless there is no room for them."""
        watches = not (self._full or self._over)
        if watches and not self._watches:
            self._loop.add_reader(self._fd, self._turn)
        elif self._watches and not watches:
            self._loop.remove_reader(self._fd)
        self._watches = watches

    def _finish(self, error: OSError | None) -> None:
        if not self._over:
            self.cancel()
            self._done(self._moved, error)

    def _release(self) -> None:
        """Free everything: the watch before the descriptor, or the loop would watch a number that is somebody else's."""
        self._unplan()
        if self._fd >= 0:
            self._watch()
            os.close(self._fd)
            self._fd = -1
        self._rest = memoryview(b"")

    def _unplan(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
