"""Questions that must be waited for are asked together, within a bound."""

from __future__ import annotations

import asyncio

from gateway.turns.decisions import DECISIONS_AT_ONCE, decide_all
from iam.authorize import IamPolicies
from iam.model import AccessRequest, Principal, PrincipalType
from tests.unit.gateway.front import POLICIES


class Counting:
    """IAM policies that answer late, and count how many questions are open at once."""

    running = most = 0

    def __init__(self, policies):
        self.rest = IamPolicies(policies)

    def decide_now(self, request):
        return None

    async def decide(self, request):
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(3):  # passes of the loop, in which every other question that may start has started
            await asyncio.sleep(0)
        self.running -= 1
        return self.rest.decide_now(request)


async def test_decisions_come_in_order_and_a_bounded_number_at_a_time():
    """A hundred questions: as many at once as the bound says, no more, and each answer at its question's place."""
    who = Principal(PrincipalType.USER, "AK", policies=("ann",))
    authorizer = Counting(lambda: POLICIES)
    buckets = ["ann" if i % 3 == 0 else "other" for i in range(100)]
    decisions = await decide_all(authorizer, [AccessRequest(who, "s3:GetObject", bucket, "k") for bucket in buckets])
    assert [bool(decision) for decision in decisions] == [bucket == "ann" for bucket in buckets]
    assert authorizer.most == DECISIONS_AT_ONCE
