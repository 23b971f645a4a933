"""Questions that must be waited for are asked together, within a bound."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from aiohttp import web

from gateway.turns.decisions import DECISIONS_AT_ONCE, Asking, decide_all
from gateway.turns.policy_service import PolicyService
from gateway.wire.pool import Pool
from iam.authorize import AllOf, IamPolicies
from iam.model import AccessRequest, Principal, PrincipalType
from iam.opa import OpaAuthorizer, OpaSettings
from tests.unit.gateway.front import POLICIES, listen, until


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


class Judge:
    """A policy service on a real port: it answers when it may, and counts how many questions are open at once."""

    def __init__(self) -> None:
        self.running = self.most = self.asked = 0
        self.may = asyncio.Event()

    async def handle(self, http: web.BaseRequest) -> web.Response:
        self.running += 1
        self.asked += 1
        self.most = max(self.most, self.running)
        question = (await http.json())["input"]
        await self.may.wait()
        self.running -= 1
        if question["object"] == "broken":
            return web.Response(status=500)
        return web.json_response({"result": question["bucket"] == "ann"})


@pytest.fixture
async def judge():
    """A judge, an authorizer that asks it over a pool, and what carries the questions."""
    one = Judge()
    async with contextlib.AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{await listen(stack, one.handle)}/v1"
        pool = Pool(asyncio.get_running_loop())
        stack.callback(pool.close)
        settings = OpaSettings(url, timeout=10.0)
        service = PolicyService(settings, pool)
        yield one, AllOf(OpaAuthorizer(settings, service)), service, pool


NOTHING = json.dumps({"Statement": {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}})


async def test_a_policy_service_is_asked_a_bounded_number_at_a_time(judge):
    """A hundred questions in order, those at hand answered here; one that fails is a no, and no connection is left behind."""
    one, authorizer, service, pool = judge
    who = Principal(PrincipalType.USER, "AK")
    narrowed = Principal(PrincipalType.USER, "AK", session_policy=NOTHING)
    questions = [
        AccessRequest(who, "s3:GetObject", "ann" if i % 3 == 0 else "other", "broken" if i == 9 else "k")
        for i in range(100)
    ]
    questions[30] = questions[30]._replace(principal=narrowed)
    deciding = asyncio.ensure_future(decide_all(authorizer, questions, service))  # noqa: TID251 - awaited below
    await until(lambda: one.running == DECISIONS_AT_ONCE)
    one.may.set()
    decisions = await deciding
    assert [bool(decision) for decision in decisions] == [i % 3 == 0 and i not in {9, 30} for i in range(100)]
    assert (one.asked, one.most) == (99, DECISIONS_AT_ONCE)
    assert decisions[9].reason == "policy service: status 500"
    assert decisions[30].reason.startswith("session policy")
    assert (service.tally.yes, service.tally.no, service.tally.undecided) == (32, 66, 1)
    assert pool.gauges()["backend_connections_in_use"] == 0


@pytest.mark.parametrize("count", [0, 1])
async def test_few_questions_are_answered_too(judge, count):
    """One, and none at all."""
    one, authorizer, service, _ = judge
    one.may.set()
    who = Principal(PrincipalType.USER, "AK")
    decisions = await decide_all(authorizer, [AccessRequest(who, "s3:GetObject", "ann", "k")] * count, service)
    assert [bool(decision) for decision in decisions] == [True] * count


async def test_who_does_not_wait_any_more_asks_no_more(judge):
    """A client that goes away ends its questions: their connections are closed, and the others are never asked."""
    one, authorizer, service, pool = judge
    who = Principal(PrincipalType.USER, "AK")
    questions = [AccessRequest(who, "s3:GetObject", "ann", f"{i}") for i in range(100)]
    deciding = asyncio.ensure_future(decide_all(authorizer, questions, service))  # noqa: TID251 - cancelled below
    await until(lambda: one.running == DECISIONS_AT_ONCE)
    deciding.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await deciding
    await until(lambda: pool.gauges()["backend_connections_in_use"] == 0)
    one.may.set()
    assert one.asked == DECISIONS_AT_ONCE


async def test_what_cannot_be_asked_is_denied_and_counted(judge):
    """A claim that no JSON can carry: nobody is asked, and the metrics show a question without an answer."""
    one, authorizer, service, _ = judge
    who = Principal(PrincipalType.USER, "AK", claims={"exp": float("nan")})
    (decision,) = await decide_all(authorizer, [AccessRequest(who, "s3:GetObject", "ann", "k")], service)
    assert decision.reason == "policy service: ValueError"
    assert (one.asked, service.tally.undecided) == (0, 1)


async def test_trouble_between_two_questions_ends_the_wait(judge, monkeypatch):
    """An error of ours in the callback of an answer is raised to who waits for all of them."""
    one, authorizer, service, pool = judge
    one.may.set()
    who = Principal(PrincipalType.USER, "AK")
    asking = Asking(authorizer, [AccessRequest(who, "s3:GetObject", "ann", "k")] * 2, service)

    def fails():
        raise MemoryError

    asking._left = iter([0])
    asking._next()
    monkeypatch.setattr(asking, "_next", fails)
    with pytest.raises(MemoryError):
        await asking._over
    assert pool.gauges()["backend_connections_in_use"] == 0
