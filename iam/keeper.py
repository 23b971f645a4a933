"""Sees to it that the store has what every gateway needs: the data key, wrapped as it should be, and a session key that mints.

The first gateway makes both in one transaction, so that of several that start at once one wins and all mint with the same key. Keys
of which no session is left are removed every hour, by whichever gateway comes first. A store that lost them while gateways run
(wiped, restored) gets both again: what would be sealed by a data key that is stored nowhere is lost at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress

from iam.changes import Changes
from iam.codec import Codec, Unreadable, record_key
from iam.endings import new_key
from iam.records import DATA_KEY, Kind, SealRecord
from iam.refusals import ChangeError
from iam.seal import CannotOpen, Seal
from iam.store import Conflict, IamStore, StoreError, Write
from iam.watch import Watcher

PRUNE = 3600.0  # seconds
LOOK = 5.0  # seconds between two looks at whether all is there
_PAUSE = 1.0  # seconds before what failed is tried again
_NO_KEY = "the store's data key cannot be read, or has not been heard of yet"
_log = logging.getLogger("minio_gw.store")


class Keeper:
    """Keeps one store. `blank` makes a Seal that knows no data key yet, with the same master keys as `codec`'s."""

    def __init__(
        self, store: IamStore, codec: Codec, watcher: Watcher, changes: Changes, blank: Callable[[], Seal]
    ) -> None:
        self._store, self._codec, self._watcher, self._changes, self._blank = store, codec, watcher, changes, blank
        self._founded = asyncio.Event()
        self._told = ""

    async def founded(self) -> None:
        """Return once this gateway's view has a data key that it can use, and a session key."""
        await self._founded.wait()

    async def run(self) -> None:
        """Make what is missing, whenever it is, and prune every hour; for ever, until cancelled."""
        await self._watcher.loaded()
        due = float("-inf")
        while True:
            try:
                if not self._is_whole:
                    await self._found()
                if time.monotonic() > due:
                    await self._changes.prune_keys()
                    due = time.monotonic() + PRUNE * random.uniform(0.75, 1.25)  # noqa: S311 - spreads gateways apart
            except (StoreError, ChangeError, CannotOpen, Unreadable) as error:
                _log.warning("the store's keys cannot be looked after: %s", error)
            except Exception:  # noqa: BLE001 - a keeper that dies would take the whole process with it
                _log.exception("the store's keys cannot be looked after, for a reason nobody foresaw")
            await asyncio.sleep(LOOK if self._is_whole else _PAUSE)

    @property
    def _is_whole(self) -> bool:
        """Whether this gateway has founded, or found, what is needed, and it is all still there."""
        view = self._watcher.view
        return self._founded.is_set() and DATA_KEY in view.seals and bool(view.keys)

    async def _found(self) -> None:
        now = int(time.time())
        if DATA_KEY not in self._watcher.view.seals:
            await self._begin(now)
        record = self._watcher.view.seals.get(DATA_KEY)
        if record is None or not self._codec.seal.is_known:
            self._complain(_NO_KEY if record is None else self._codec.seal.trouble)
            return
        self._told = ""
        if self._codec.seal.renewed(record, now) is not None:
            await self._renew(now)
        # A view that is being listed anew may be about to get the keys that it could not read.
        if not self._watcher.view.keys and self._watcher.current:
            await self._changes.rotate_key(at_once=True)
        if self._watcher.view.keys:
            self._founded.set()

    def _complain(self, trouble: str) -> None:
        """Say once what is wrong with the data key: it is wrong until the operator acts."""
        if trouble != self._told:
            _log.error("%s", trouble)
            self._told = trouble

    async def _begin(self, now: int) -> None:
        """Write a data key and the first session key, unless somebody else just did.

        A data key that was lost while we know it is written again: whatever else is in the store is sealed with it.
        """
        own, record = self._codec, self._codec.seal.record
        if record is None:
            own = Codec(self._blank())
            record = own.seal.create(now)
            own.seal.learn(record)
        writes = [Write(*record_key(record), own.encode(record), expected=0)]
        if not self._watcher.view.keys:
            key = new_key(now, settle=0)
            writes.append(Write(*record_key(key), own.encode(key), expected=0))
        try:
            revision = await self._store.swap(writes)
        except Conflict:
            found = await self._store.get(*record_key(record))
            revision = found.revision if found else 0
        await self._watcher.reached(revision)

    async def _renew(self, now: int) -> None:
        """Wrap the data key as it should be, unless somebody else does so now: then it is looked at again at the next start."""
        found = await self._store.get(Kind.SEAL, DATA_KEY)
        if found is None or found.value is None:
            return
        record = self._codec.decode(found.kind, found.name, found.value)
        renewed = self._codec.seal.renewed(record, now) if isinstance(record, SealRecord) else None
        if renewed is None:
            return
        with suppress(Conflict):
            write = Write(found.kind, found.name, self._codec.encode(renewed), found.revision)
            await self._watcher.reached(await self._store.swap([write]))
