"""Decisions that must be awaited: several questions at once, a bounded number of them.

Those that a policy service is asked over the plane follow each other in callbacks: a listing that is filtered, or a thousand deletions, is
a thousand questions, and a task for each would cost ten times as much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from gateway.turns.policy_service import PolicyService
from gateway.wire.question import Question
from iam.authorize import Authorizer
from iam.model import AccessRequest, Decision

DECISIONS_AT_ONCE = 32


async def decide_all(
    authorizer: Authorizer, questions: Sequence[AccessRequest], service: PolicyService | None = None
) -> list[Decision]:
    """Return the decisions in order, a bounded number of them asked at a time; `service` is what the authorizer asks, if that is known."""
    if service is not None:
        return await Asking(authorizer, questions, service).decisions()
    limit = asyncio.Semaphore(DECISIONS_AT_ONCE)

    async def one(question: AccessRequest) -> Decision:
        now = authorizer.decide_now(question)
        if now is not None:
            return now
        async with limit:
            return await authorizer.decide(question)

    if len(questions) == 1:
        return [await one(questions[0])]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(question)) for question in questions]
    return [task.result() for task in tasks]


class Asking:
    """The questions of one request, those that nobody here can answer put to a policy service."""

    def __init__(self, authorizer: Authorizer, questions: Sequence[AccessRequest], service: PolicyService) -> None:
        self._authorizer, self._service = authorizer, service
        self._questions = questions
        self._found: dict[int, Decision] = {}
        self._left: Iterator[int] = iter(range(len(questions)))
        self._running: dict[int, Question] = {}
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def decisions(self) -> list[Decision]:
        """Return the decisions, in the questions' order."""
        try:
            for _ in range(DECISIONS_AT_ONCE):
                self._next()
            if self._running:
                await self._over
        finally:
            for asked in self._running.values():
                asked.cancel()
            self._running.clear()
        return [self._found[number] for number in range(len(self._questions))]

    def _next(self) -> None:
        """Begin the next question that must be asked; what is decided here needs none."""
        for number in self._left:
            request = self._questions[number]
            now = self._authorizer.decide_now(request)
            found = self._service.content(request) if now is None else now
            if isinstance(found, bytes):
                asked = self._running[number] = self._service.question(found, self._teller(number))
                asked.begin()
                return
            self._found[number] = found

    def _teller(self, number: int) -> Callable[[Decision], None]:
        return lambda decision: self._told(number, decision)

    def _told(self, number: int, decision: Decision) -> None:
        self._found[number] = decision
        del self._running[number]
        try:
            self._next()
        except Exception as error:  # noqa: BLE001 - or nobody would end the wait
            self._over.set_exception(error)
        if not self._running and not self._over.done():
            self._over.set_result(None)
