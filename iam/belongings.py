"""What a user has beside its own record: service accounts and memberships. All of it goes before another of that name comes.

What of it does not fit into one transaction is taken away in several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from iam.draft import Draft
from iam.endings import Endings
from iam.records import Group, Kind

AT_ONCE = 64  # things that one transaction gives or takes away beside its own records: etcd takes 128 operations
_MEMBERS = 8192  # names in all the groups that one transaction writes: etcd takes 1.5 MiB

#: A service account or a group, by its name.
Thing = tuple[Kind, str]


class Belongings(Endings):
    """Takes away what was a user's, as far as this gateway has heard of it."""

    def _pieces(self, user: str) -> list[list[Thing]]:
        """Return a user's accounts and groups in pieces that fit into a transaction each; one piece for none."""
        pieces: list[list[Thing]] = [[]]
        names = 0
        for thing, members in self._things(user):
            if len(pieces[-1]) == AT_ONCE or (pieces[-1] and names + members > _MEMBERS):
                pieces.append([])
                names = 0
            pieces[-1].append(thing)
            names += members
        return pieces

    def _things(self, user: str) -> Iterable[tuple[Thing, int]]:
        """Yield what is a user's, with the number of members that it has."""
        view = self._view()
        for account in view.accounts.values():
            if account.parent == user:
                yield (Kind.ACCOUNT, account.access_key_id), 0
        for name in view.memberships.get(user, ()):
            yield (Kind.GROUP, name), len(view.groups[name].members)

    async def _drop_most(self, user: str) -> None:
        """Take away all but what fits into the transaction that removes the user, who is disabled already."""
        for piece in self._pieces(user)[1:]:
            await self._do(partial(self._take, user=user, things=piece))

    async def _drop_dependants(self, draft: Draft, user: str) -> None:
        """Take a user's accounts and memberships away."""
        await self._take(draft, user, [thing for thing, _ in self._things(user)])

    async def _sweep(self, user: str) -> None:
        """Take away what a user who is not there has all the same: another gateway gave it just before it was removed."""
        for piece in self._pieces(user):
            if piece:
                await self._do(partial(self._take_of_nobody, user=user, things=piece))

    async def _take(self, draft: Draft, user: str, things: Sequence[Thing]) -> None:
        for kind, name in things:
            if kind is Kind.ACCOUNT:
                draft.remove(kind, name)
                continue
            known = cast("Group | None", await draft.get(kind, name))
            if known is not None and user in known.members:
                draft.put(self._left(known, (user,)))

    async def _take_of_nobody(self, draft: Draft, user: str, things: Sequence[Thing]) -> None:
        if await draft.get(Kind.USER, user) is None:
            await self._take(draft, user, things)

    def _left(self, group: Group, members: Iterable[str]) -> Group:
        gone = frozenset(members)
        left = tuple(member for member in group.members if member not in gone)
        return replace(group, members=left, updated_at=self._time())
