"""How sessions end before their time, and the keys that sign them: revocations, epochs, rotation."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from typing import cast

from iam.changing import Changing
from iam.draft import Draft
from iam.records import REVOKE_TYPE, Epoch, KeyRecord, Kind, Revocation, is_subject
from iam.refusals import InvalidName, NoSuchKey, NoSuchSession, TooManyTypes

SETTLE = 5  # seconds before a new session key mints: until then every gateway that is connected has it
LONGEST_SESSION = 31_536_000  # seconds; an epoch must outlive every session that it refuses
_PRUNED = 64  # keys that one transaction removes: etcd takes 128 operations
PRUNE_AFTER = 3600  # seconds after which a key that does not mint any more may go
_LONG = 86_400  # seconds after which a session has expired by whatever clock; a record in etcd has gone by then
TYPES = 64  # TokenRevokeTypes of a parent that were ended by themselves: anybody may end the own ones, and all gateways keep them
SKEW = 60_000  # milliseconds that another gateway's clock may be ahead of ours


class Endings(Changing):
    """Ends sessions and changes session keys."""

    async def revoke_session(self, access_key_id: str) -> Revocation:
        """Refuse a session on every gateway from now on. Raises NoSuchSession."""
        session = await self._store.session(access_key_id, expired=True)
        if session is None:
            raise NoSuchSession(f"No session {access_key_id[:128]} is recorded.")
        revocation = Revocation(access_key_id, self._time(), session.expires_at)

        async def decide(draft: Draft) -> Revocation:
            draft.put(revocation, revocation.expires_at)
            return revocation

        return await self._do(decide)

    async def revoke_principal(self, parent: str, *, revoke_type: str = "") -> Epoch:
        """Refuse all sessions that a parent was issued until now, or those of one TokenRevokeType. Raises InvalidName, TooManyTypes."""
        if not is_subject(parent):
            raise InvalidName(f"{parent[:64]!r} is nobody's name.")
        if revoke_type and not REVOKE_TYPE.fullmatch(revoke_type):
            raise InvalidName(f"{revoke_type[:64]!r} is no TokenRevokeType.")

        async def decide(draft: Draft, since: int = 0) -> Epoch:
            return await self._end_sessions(draft, parent, revoke_type, since)

        epoch = await self._do(decide)
        # Only now, so that it waits for nothing: what gateways issued whose clocks are further ahead than anybody expects.
        latest = await self._latest(parent, revoke_type)
        return epoch if latest < _until(epoch, revoke_type) else await self._do(partial(decide, since=latest))

    async def _latest(self, parent: str, revoke_type: str) -> int:
        """Return a moment (epoch milliseconds) that no recorded session of a parent and a type is issued behind."""
        return max(
            [
                record.issued_at * 1000 + 1000
                async for page in self._store.session_pages()
                for record in page
                if record.parent == parent and revoke_type in {"", record.revoke_type}
            ],
            default=0,
        )

    async def rotate_key(self, *, at_once: bool = False) -> KeyRecord:
        """Make a new session key, which mints once every gateway has it, or at once."""

        async def decide(draft: Draft) -> KeyRecord:
            key = new_key(self._time(), settle=0 if at_once else SETTLE)
            draft.put(key)
            return key

        return await self._do(decide)

    async def withdraw_key(self, kid: str) -> None:
        """End a key and every session of it, on every gateway; the last key is replaced first. Raises NoSuchKey."""

        async def decide(draft: Draft) -> None:
            if await draft.get(Kind.KEY, kid) is None:
                raise NoSuchKey(f"There is no session key {kid[:64]}.")
            draft.remove(Kind.KEY, kid)
            if not await self._another_mints(draft, kid):
                draft.put(new_key(self._time(), settle=0))

        await self._do(decide)

    async def prune_keys(self) -> tuple[str, ...]:
        """Remove the keys that mint no more and of which no session is left; return their ids."""
        now = self._time()
        settled = sorted(self._view().keys.values(), key=lambda key: (key.active_at, key.kid))
        replaced = [(key.kid, after.kid) for key, after in pairwise(settled) if after.active_at + PRUNE_AFTER <= now]
        old = {kid for kid, _ in replaced}
        if old:
            old -= await self._kids_in_use(now - _LONG)

        async def decide(draft: Draft, kids: Sequence[str]) -> tuple[str, ...]:
            if await draft.get(Kind.KEY, replaced[-1][1]) is None:
                return ()  # it was withdrawn just now: the old ones may be all that is left
            for kid in kids:
                draft.remove(Kind.KEY, kid)
            return tuple(kids)

        kids = sorted(old)
        pieces = [kids[start : start + _PRUNED] for start in range(0, len(kids), _PRUNED)]
        return tuple(chain.from_iterable([await self._do(partial(decide, kids=piece)) for piece in pieces]))

    async def _kids_in_use(self, since: int) -> set[str]:
        """Return the keys that minted the recorded sessions that had not expired by then (epoch seconds)."""
        return {
            record.kid async for page in self._store.session_pages() for record in page if record.expires_at > since
        }

    async def _another_mints(self, draft: Draft, kid: str) -> bool:
        """Return whether a key beside this one mints; it must still be there when this one goes."""
        now = self._time()
        for key in self._view().keys.values():
            if key.kid != kid and key.active_at <= now and await draft.get(Kind.KEY, key.kid) is not None:
                return True
        return False

    async def _end_sessions(self, draft: Draft, parent: str, revoke_type: str, since: int = 0) -> Epoch:
        """Write an epoch a moment ahead of our clock, of `since` and of every earlier one: others' clocks may be ahead."""
        known = cast("Epoch | None", await draft.get(Kind.EPOCH, parent))
        if known is None or known.problem:  # one that cannot be read refuses everybody for ever: it begins anew
            known = Epoch(parent)
        now = int(self._now() * 1000)
        # A session may have been stamped just after any of the others: what ends it now must be later than all of them.
        until = max(now + SKEW, since, *(at + 1 for at in (known.not_before, *known.by_type.values())))
        if revoke_type:
            epoch = replace(known, by_type={**_kept(known, revoke_type), revoke_type: until})
        else:
            epoch = replace(known, not_before=until, by_type={})  # later than each of them
        epoch = replace(epoch, expires_at=now // 1000 + LONGEST_SESSION, problem="")
        draft.put(epoch, epoch.expires_at)
        return epoch


def _until(epoch: Epoch, revoke_type: str) -> int:
    return epoch.by_type.get(revoke_type, 0) if revoke_type else epoch.not_before


def _kept(epoch: Epoch, but: str) -> dict[str, int]:
    """Return the types whose own endings still refuse a session, beside one. Raises TooManyTypes."""
    kept = {kind: at for kind, at in epoch.by_type.items() if at > epoch.not_before and kind != but}
    if len(kept) >= TYPES:
        raise TooManyTypes(f"Sessions of {TYPES} types have been ended one by one: end all sessions instead.")
    return kept


def new_key(now: int, *, settle: int) -> KeyRecord:
    """Return a key that mints after `settle` seconds; it is not in the store yet."""
    return KeyRecord(secrets.token_hex(6), secrets.token_bytes(64), secrets.token_bytes(64), now, now + settle)
