"""Keep the IamView true: list at a revision, watch from there, list again on any doubt. It never gives up.

While the store is away the last view stays in force: a revocation that was seen is never forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time

from iam.store import IamStore, StoreError
from iam.view import IamView

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds
_log = logging.getLogger("minio_gw.watch")


class Watcher:
    """The one who swaps the view. `last_seen` is monotonic time of the last sign of life of the watch."""

    def __init__(self, store: IamStore) -> None:
        self._store = store
        self._loaded = asyncio.Event()
        self._pause = _FIRST_PAUSE
        self.view = IamView()
        self.current = False
        self.last_seen = 0.0

    async def loaded(self) -> None:
        """Return once a first view is there."""
        await self._loaded.wait()

    @property
    def is_loaded(self) -> bool:
        """Whether a first view is there."""
        return self._loaded.is_set()

    async def run(self) -> None:
        """List, watch, and again; for ever."""
        while True:
            try:
                await self._follow()
            except StoreError as error:
                if self.current or not self.last_seen:
                    _log.warning("the IAM store's watch is interrupted: %s", error)
                    self.last_seen = self.last_seen or time.monotonic()
                self.current = False
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads gateways apart
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _follow(self) -> None:
        snapshot = await self._store.snapshot()
        self.view = IamView(snapshot.revision, {r.access_key_id: r.expires_at for r in snapshot.revocations})
        self._loaded.set()
        self._alive()
        async for batch in self._store.watch(snapshot.revision):
            if batch.changes:
                self.view = self.view.apply(batch.changes, batch.revision)
            self._alive()

    def _alive(self) -> None:
        self.current = True
        self.last_seen = time.monotonic()
        self._pause = _FIRST_PAUSE
