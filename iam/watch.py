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
from contextlib import aclosing
from types import MappingProxyType

from iam.store import Batch, IamStore, StoreError, StoreUnavailable
from iam.view import IamView

STALE = 5.0  # seconds without a sign of life after which the view counts as old
RESUME = 60.0  # seconds of silence after which a watch is not resumed: list again
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two attempts
_log = logging.getLogger("minio_gw.watch")


class Watcher:
    """The one who swaps the view.

    `view` is replaced whole, never changed. `last_seen` is the monotonic time of the store's last sign of life, 0.0
    before the first.
    """

    def __init__(self, store: IamStore) -> None:
        self._store = store
        self._loaded = asyncio.Event()
        self._doubt = True
        self._interrupted = True
        self._complained = False
        self._pause = _FIRST_PAUSE
        self.view = IamView()
        self.last_seen = 0.0

    @property
    def current(self) -> bool:
        """Whether the watch is alive: it was not interrupted, and gave a sign of life in the last `STALE` seconds."""
        return not self._interrupted and time.monotonic() - self.last_seen < STALE

    @property
    def is_loaded(self) -> bool:
        """Whether a first view is there."""
        return self._loaded.is_set()

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
        if self._doubt or time.monotonic() - self.last_seen > RESUME:
            await self._list()
        async with aclosing(self._store.watch(self.view.revision)) as batches:
            async for batch in batches:
                self._take(batch)

    async def _list(self) -> None:
        snapshot = await self._store.snapshot()
        for revocation in snapshot.revocations:
            if revocation.problem:
                _log.warning(
                    "revocation of %s cannot be read, it revokes: %s", revocation.access_key_id, revocation.problem
                )
        expiries = {r.access_key_id: r.expires_at for r in snapshot.revocations}
        self.view = IamView(snapshot.revision, MappingProxyType(expiries))
        self._doubt = False
        self.last_seen = time.monotonic()
        self._loaded.set()

    def _take(self, batch: Batch) -> None:
        if batch.changes:
            self.view = self.view.apply(batch.changes, batch.revision)
        self.last_seen = time.monotonic()
        self._interrupted = False
        if self._complained:
            _log.warning("the IAM store's watch is back")
            self._complained = False

    def _complain(self, reason: str) -> None:
        """Say once per interruption that there is one."""
        if not self._complained:
            _log.warning("the IAM store's watch is interrupted: %s", reason)
            self._complained = True

    async def _breathe(self, lived: float) -> None:
        """Pause, twice as long each time, but start over after a watch that lived; never a busy loop."""
        self._pause = _FIRST_PAUSE if lived > _LONGEST_PAUSE else min(self._pause * 2, _LONGEST_PAUSE)
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads gateways apart
