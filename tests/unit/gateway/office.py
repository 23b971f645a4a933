"""Identities in a real store, in memory, watched, found and changed by the real parts: what the administration API works with."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from gateway.admin.office import Office
from gateway.turns.identities import Identities, Rights
from iam.changes import Changes
from iam.embedded import EmbeddedStore
from iam.model import Credentials, Principal
from iam.policy import CANNED
from iam.policy_book import PolicyBook
from iam.store import SessionRecord
from iam.watch import Watcher
from sts.proof import USER
from sts.sessions import PRIVATE, mint
from tests.servers.iam import CODEC, a_keyring, changes
from tests.unit.gateway.signers import PRINCIPALS, ROOT, lookup

KEYRING = a_keyring("of an office")


@dataclass
class Iam:
    """A store of identities, its view and its changes; `now` is what the office takes for the time."""

    store: EmbeddedStore
    watcher: Watcher
    changes: Changes
    policies: PolicyBook
    identities: Identities
    now: float = 0.0

    def time(self) -> float:
        return self.now or time.time()

    def lookup(self, access_key_id: str, token: str) -> tuple[Credentials, Principal]:
        """Return who a key is: one of `signing`, or whom the store knows."""
        find = lookup if access_key_id in PRINCIPALS else self.identities.lookup
        return find(access_key_id, token)

    async def session(
        self, parent: str, *, provider: str = USER, key: str = "", groups=(), tags=None, **claims
    ) -> Credentials:
        """Return a session, recorded, of an hour; `key` is its access key."""
        name, now = (key or f"S{parent}").replace(":", "").upper().ljust(20, "0")[:20], int(time.time())
        private = {"provider": provider, "issued": now * 1000, "groups": list(groups), "tags": tags or {}}
        made = mint(KEYRING, {**claims, "parent": parent, PRIVATE: private}, access_key_id=name, expires_at=now + 3600)
        record = SessionRecord(
            name,
            parent,
            "",
            provider,
            now,
            now + 3600,
            kid=KEYRING.current,
            revoke_type=claims.get("tokenRevokeType", ""),
        )
        await self.store.record_session(record)
        return made

    def office(self, not_ready, **how) -> Office:
        """Return what the administration API works with."""
        view = lambda: self.watcher.view  # noqa: E731
        return Office(self.changes, view, self.store, self.policies, ROOT.access_key_id, self.time, not_ready, **how)


async def an_iam(stack: contextlib.AsyncExitStack) -> Iam:
    """Return an empty store that is watched until the stack ends."""
    store = EmbeddedStore(None)
    await store.open()
    stack.push_async_callback(store.close)
    watcher = Watcher(store, CODEC)
    watching = asyncio.ensure_future(watcher.run())  # noqa: TID251 - the stack owns it
    stack.push_async_callback(_stopped, watching)
    await watcher.loaded()
    made = changes(store, lambda: watcher.view, watcher.reached, root=ROOT.access_key_id)
    book = PolicyBook(CANNED, lambda: watcher.view)
    rights = Rights(ROOT.access_key_id, {})
    identities = Identities(ROOT, watcher, lambda: KEYRING, rights, lambda: int(time.time()), 300)
    return Iam(store, watcher, made, book, identities)


async def _stopped(task: asyncio.Future) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
