"""Keep the IamView true: list at a revision, watch from there, list again on any doubt. It never gives up.

A watch that breaks is resumed after the last batch that arrived, so nothing is delivered twice or left out. Doubt is: a
watch that may have missed something; a break longer than `RESUME`, in which somebody may have restored a backup; an
error that nobody foresaw. While the store is away the last view stays in force: what was revoked stays so.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import aclosing

from iam.codec import Codec, Unreadable, safe_side
from iam.records import Kind
from iam.store import Batch, IamStore, Row, StoreError, StoreUnavailable, WatchLost
from iam.view import Change, Gone, IamView

STALE = 5.0  # seconds without a sign of life after which the view counts as old
RESUME = 15.0  # seconds of silence after which a watch is not resumed: list again; an election takes two, a restore by hand more
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two attempts
_PIECE = 200  # records read before others have their turn
_TOLD = 100  # unreadable records that the log names
_log = logging.getLogger("minio_gw.watch")


class Watcher:
    """The one who swaps the view.

    `view` is replaced whole, never changed. `last_seen` is the monotonic time of the store's last sign of life, 0.0
    before the first.
    """

    def __init__(self, store: IamStore, codec: Codec) -> None:
        self._store = store
        self._codec = codec
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._unreadable: set[str] = set()
        self._was_known = False  # whether the data key was when the view was listed
        self._loaded = asyncio.Event()
        self._doubt = True
        self._interrupted = True
        self._origin = 0
        self._complained = False
        self._pause = _FIRST_PAUSE
        self.view = IamView()
        self.last_seen = 0.0

    @property
    def current(self) -> bool:
        """Whether the watch is alive: it was not interrupted, and gave a sign of life in the last `STALE` seconds."""
        return not self._interrupted and time.monotonic() - self.last_seen < STALE

    @property
    def unreadable(self) -> frozenset[str]:
        """The names of the records that could not be read."""
        return frozenset(self._unreadable)

    @property
    def age(self) -> float:
        """How long ago (seconds) the view was known to be true; infinite before the first."""
        return time.monotonic() - self.last_seen if self.is_loaded else float("inf")

    @property
    def is_loaded(self) -> bool:
        """Whether a first view is there."""
        return self._loaded.is_set()

    async def reached(self, revision: int, within: float = 3.0) -> None:
        """Return once the view is at this revision or behind it, or when that takes longer than `within` seconds."""
        if self.view.revision >= revision:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, waiter))
        try:
            await asyncio.wait({waiter}, timeout=within)
        finally:  # also for who does not wait to the end
            if not waiter.done():
                self._waiters.remove((revision, waiter))

    async def loaded(self) -> None:
        """Return once a first view is there."""
        await self._loaded.wait()

    async def run(self) -> None:
        """List, watch, and again; for ever, until cancelled."""
        while True:
            started = time.monotonic()
            try:
                await self._follow()
            except StoreError as error:
                self._doubt = self._doubt or not isinstance(error, StoreUnavailable)
                self._complain(str(error))
            except Exception:  # noqa: BLE001 - a watcher that dies would leave revoked sessions alive: doubt, and go on
                self._doubt = True
                _log.exception("the IAM store's watch failed in a way nobody foresaw")
            self._interrupted = True
            await self._breathe(lived=time.monotonic() - started)

    async def _follow(self) -> None:
        """List if there is doubt, then take what the watch gives until it ends."""
        fresh = self._doubt or time.monotonic() - self.last_seen > RESUME
        if fresh:
            await self._list()
        async with aclosing(self._store.watch(self.view.revision, origin=self._origin, fresh=fresh)) as batches:
            async for batch in batches:
                self._take(batch)

    async def _list(self) -> None:
        snapshot = await self._store.snapshot()
        self._unreadable, self._was_known = set(), self._codec.seal.is_known
        view = IamView(snapshot.revision)
        # The data key first: the others' secrets are sealed with it. In pieces, since requests are served meanwhile.
        rows = _key_first(snapshot.rows)
        for begin in range(0, len(rows), _PIECE):
            view = view.apply([self._read(row) for row in rows[begin : begin + _PIECE]], snapshot.revision)
            if not begin:
                self._was_known = self._codec.seal.is_known
            await asyncio.sleep(0)
        self._swap(view)
        self._origin = snapshot.origin
        self.last_seen = time.monotonic()
        self._doubt = False
        self._loaded.set()

    def _take(self, batch: Batch) -> None:
        changes = [self._read(row) for row in _key_first(batch.rows)]
        was_known, self._was_known = self._was_known, self._codec.seal.is_known
        if self._was_known and not was_known and self._unreadable:
            self._interrupted = True
            raise WatchLost("the data key is known now: what could not be read may be readable")
        if changes:
            self._swap(self.view.apply(changes, batch.revision))
        if not batch.current:
            return
        self.last_seen = time.monotonic()
        self._interrupted = False
        if self._complained:
            _log.warning("the IAM store's watch is back")
            self._complained = False

    def _read(self, row: Row) -> Change:
        """Return what a row says; one that cannot be read is told once, and counts as gone or as its safe side."""
        name = f"{row.kind}/{row.name}"
        self._unreadable.discard(name)
        if row.value is None:
            return Gone(row.kind, row.name)
        record: Change
        try:
            record = self._codec.decode(row.kind, row.name, row.value)
            problem = getattr(record, "problem", "") or ("it is broken" if getattr(record, "broken", False) else "")
        except Unreadable as error:
            record, problem = Gone(row.kind, row.name), str(error)
        except Exception as error:  # noqa: BLE001 - one record that nobody foresaw must not keep all others from being read
            problem = f"it is not as we write it ({type(error).__name__})"
            record = safe_side(row.kind, row.name, problem) or Gone(row.kind, row.name)
        if problem:
            self._unreadable.add(name)
            self._tell(name, problem)
        return record

    def _tell(self, name: str, problem: str) -> None:
        """Name an unreadable record in the log, unless they are very many: all of a store may be sealed with another key."""
        if len(self._unreadable) <= _TOLD:
            _log.warning("the record %s cannot be read and counts against its bearer: %s", ascii(name), problem)
        elif len(self._unreadable) == _TOLD + 1:
            _log.warning("more records cannot be read; minio_gw_iam_unreadable_records says how many")

    def _swap(self, view: IamView) -> None:
        self.view = view
        for revision, waiter in [*self._waiters]:
            if revision <= view.revision:
                self._waiters.remove((revision, waiter))
                if not waiter.done():
                    waiter.set_result(None)

    def _complain(self, reason: str) -> None:
        """Say once per interruption that there is one."""
        if not self._complained:
            _log.warning("the IAM store's watch is interrupted: %s", reason)
            self._complained = True

    async def _breathe(self, lived: float) -> None:
        """Pause, twice as long each time, but start over after a watch that lived; never a busy loop."""
        self._pause = _FIRST_PAUSE if lived > _LONGEST_PAUSE else min(self._pause * 2, _LONGEST_PAUSE)
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads gateways apart


def _key_first(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the data key's before those that are sealed with it."""
    return sorted(rows, key=lambda row: row.kind is not Kind.SEAL)
