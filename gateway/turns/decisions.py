"""Decisions that must be awaited: several questions at once, a bounded number of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from iam.authorize import Authorizer
from iam.model import AccessRequest, Decision

DECISIONS_AT_ONCE = 32


async def decide_all(authorizer: Authorizer, questions: Sequence[AccessRequest]) -> list[Decision]:
    """Return the decisions in order, a bounded number of them asked at a time."""
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
