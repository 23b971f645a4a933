"""Identities in a real store, in memory, watched and changed by the real parts: what the administration API works with."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace

from gateway.admin.office import Office
from gateway.errors import InvalidAccessKeyId
from iam.changes import Changes
from iam.embedded import EmbeddedStore
from iam.model import Credentials, Principal, PrincipalType
from iam.policy import CANNED, parse
from iam.watch import Watcher
from tests.servers.iam import CODEC, changes
from tests.unit.gateway.signing import ROOT, lookup


@dataclass
class Iam:
    """A store of identities, its view and its changes; `now` is what the office takes for the time."""

    store: EmbeddedStore
    watcher: Watcher
    changes: Changes
    now: float = 0.0

    def time(self) -> float:
        return self.now or time.time()

    def policies(self):
        """Return every policy by name."""
        stored = self.watcher.view.policies.items()
        return {**CANNED, **{name: replace(parse(found.text), id=name) for name, found in stored}}

    def lookup(self, access_key_id: str, token: str) -> tuple[Credentials, Principal]:
        """Return who a key is: a user, a service account, or one of `signing`."""
        view = self.watcher.view
        user, account = view.users.get(access_key_id), view.accounts.get(access_key_id)
        if user is not None and user.enabled and not token:
            groups = view.groups_of(user.name)
            names = view.attached(user.name, groups) or ()
            return Credentials(user.name, user.secret), Principal(PrincipalType.USER, user.name, groups=groups, policies=names)
        if account is not None and account.enabled and not token:
            parent = account.parent
            groups = (*view.groups_of(parent), *account.groups)
            principal = Principal(
                PrincipalType.USER, access_key_id, owner=parent == ROOT.access_key_id, groups=groups, parent=parent,
                policies=view.attached(parent, groups) or (), session_policy=account.policy, claims=account.claims,
            )  # fmt: skip
            return Credentials(access_key_id, account.secret), principal
        if user is not None or account is not None:
            raise InvalidAccessKeyId(reason="disabled")
        return lookup(access_key_id, token)

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
    return Iam(store, watcher, made)


async def _stopped(task: asyncio.Future) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
