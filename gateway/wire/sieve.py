"""What a relay lets out of a body between two sockets: a carrier (carriers.py) that verifies.

Bytes are read into the thread's buffer, looked at there, and written from there: they are copied into Python once, and not at
all between reading and writing. What the relay holds back it has copied; what the target did not take is copied here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gateway.wire.carriers import COPIED, Shared
from gateway.wire.steps import Piece, Relay

LOOKED = 1 << 21  # bytes read at once while the target takes all of them: each costs a quarter less than with COPIED
ROUNDS = 1  # of these before other callbacks have their turn: hashing it takes 0.6 ms, and a source that is asked again at once has little
MOST = 256  # pieces that are written as they are; of smaller ones there are more, and joining them is cheaper

_shared = Shared(LOOKED)


class Refused(Exception):
    """The relay refused the body, for this `reason`."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Sieve:
    """A relay that keeps the length of what goes through it. `held` counts what was taken and has not gone all the way."""

    __slots__ = ("_pieces", "_relay", "_shares", "_size", "held")

    def __init__(self, relay: Relay) -> None:
        self.held = 0
        self._relay = relay
        self._pieces: Sequence[Piece] = ()
        self._shares = False  # the thread's buffer, with the next transfer
        self._size = COPIED  # bytes taken at a time: kept at most when the target stalls

    def take(self, source: int, limit: int) -> int:
        """Take (Carrier); at the limit the body is whole. Raises Refused."""
        view = _shared.view
        taken = os.readv(source, [view[: min(limit, self._relay.fits(self._size))]])
        if taken:
            self._sift(view[:taken], whole=taken == limit)
        self.held = taken
        return taken

    def _sift(self, data: memoryview, *, whole: bool) -> None:
        try:
            pieces = self._relay.sift(data)
            if whole:
                self._relay.finish()  # before its last bytes leave
        except Exception as error:
            raise Refused(error) from error
        self._shares = len(pieces) <= MOST
        self._pieces = pieces if self._shares else [b"".join(pieces)]

    def give(self, target: int, *, more: bool) -> int:  # noqa: ARG002 - writev(2) has no such flag
        """Give (Carrier). What the relay holds back has gone as far as it can."""
        given = self._write(target) if self._pieces else 0
        settled = min(given, self.held - 1) if self._pieces else self.held
        self.held -= settled
        return settled

    def _write(self, target: int) -> int:
        try:
            given = os.writev(target, self._pieces)
        except BlockingIOError:
            self._own(0)
            raise
        self._own(given)
        return given

    def _own(self, given: int) -> None:
        """Keep what was not taken."""
        left = sum(map(len, self._pieces)) - given
        self._size = COPIED if left else LOOKED
        if left and self._shares:
            self._pieces, self._shares = [b"".join(self._pieces)], False
        self._pieces = [memoryview(self._pieces[0])[-left:]] if left else ()

    def rest(self) -> bytes:
        """Return what would still be given (Carrier)."""
        rest, self._pieces, self.held = b"".join(self._pieces), (), 0
        return rest

    def lend_back(self) -> None:
        """Belong to one body (Carrier)."""
