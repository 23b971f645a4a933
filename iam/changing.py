"""How every change is made: read, decide, compare-and-swap, again on conflict, until this gateway's view has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from iam.codec import Codec
from iam.draft import Draft
from iam.refusals import ChangeError, Contended, Unfinished
from iam.store import Conflict, IamStore, StoreError
from iam.view import IamView

_TRIES = 16
_T = TypeVar("_T")


class Changing:
    """What all changes share. `view` is this gateway's, `seen` waits until it is at a revision, `now` gives epoch seconds.

    `given` are the policies that are not in the store (canned ones, files): their names are taken. `root` is root's access key.
    """

    def __init__(
        self, store: IamStore, codec: Codec, view: Callable[[], IamView], seen: Callable[[int], Awaitable[None]],
        now: Callable[[], float], *, root: str, given: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._store, self._codec, self._view, self._seen = store, codec, view, seen
        self._now, self._root, self._given = now, root, given
        self._turn = asyncio.Lock()  # this gateway's own changes do not run into each other

    async def _do(self, decide: Callable[[Draft], Awaitable[_T]]) -> _T:
        async with self._turn:
            result, revision = await self._decided(decide)
        await self._seen(revision)
        return result

    async def _do_each(
        self, decisions: Sequence[Callable[[Draft], Awaitable[_T]]], told: Callable[[int], str]
    ) -> list[_T]:
        """Make a change that one transaction does not hold in several; return what each gave.

        Each is good by itself, and the whole may be made again. Raises Unfinished, with what is `told` of how many were made, when one
        fails after others.
        """
        made: list[_T] = []
        revision = 0
        try:
            for decide in decisions:
                async with self._turn:
                    result, revision = await self._decided(decide)
                made.append(result)
        except (ChangeError, StoreError) as error:
            if not made:
                raise
            raise Unfinished(told(len(made))) from error
        await self._seen(revision)
        return made

    async def _decided(self, decide: Callable[[Draft], Awaitable[_T]]) -> tuple[_T, int]:
        for _ in range(_TRIES):
            draft = Draft(self._store, self._codec)
            result = await decide(draft)
            if draft.is_empty:
                return result, 0
            try:
                return result, await draft.commit()
            except Conflict:
                continue
        raise Contended("Others change the same records all the time; try again.")

    def _time(self) -> int:
        return int(self._now())
