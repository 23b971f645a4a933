"""What a request needed is free again when it is over, without the collector.

Objects that hold each other wait for the collector, which looks at everything young to find them, and until it comes each request
works in memory that no cache knows: a cycle of six small objects cost a seventh of a small GET.
"""

from __future__ import annotations

import contextlib
import gc

import pytest
from aiohttp import web

from gateway.turns.habits import Habits
from iam.opa import OpaSettings
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.front import listen, serve

KINDS = {
    "GET": ("GET", "/ann/k", b""),
    "HEAD": ("HEAD", "/ann/k", b""),
    "DELETE": ("DELETE", "/ann/k", b""),
    "PUT": ("PUT", "/ann/k", b"body"),
    "PUT of much": ("PUT", "/ann/k", b"b" * 300_000),
    "a listing": ("GET", "/ann?list-type=2", b""),
    "a subresource": ("GET", "/ann/k?tagging", b""),
    "a document": ("PUT", "/ann/k?tagging", b"<Tagging><TagSet/></Tagging>"),
    "many deletions": ("POST", "/ann?delete", b"<Delete><Object><Key>a</Key></Object></Delete>"),
    "what is not allowed": ("GET", "/other/k", b""),
}


async def judge(question: web.BaseRequest) -> web.Response:
    """Answer as a policy service that knows one bucket."""
    return web.json_response({"result": (await question.json())["input"]["bucket"] == "ann"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("habits", [True, False], ids=["told again", "told whole"])
@pytest.mark.parametrize("decides", ["policies", "a policy service"])
async def test_a_request_leaves_nothing_for_the_collector(kind, habits, decides):
    """None of our objects waits for the collector after a request of any kind, whether its story is told whole or again."""
    store = RecordingBackend()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        opa = None
        if decides == "a policy service":
            opa = OpaSettings(f"http://127.0.0.1:{await listen(stack, judge)}/v1", timeout=10.0)
        front = await serve(stack, store.endpoint, opa=opa)
        front.plane.desk = front.desk
        if not habits:
            front.desk.habits = Habits(front.desk.world, after=1 << 30)
        method, target, body = KINDS[kind]
        for _ in range(3):
            await front.call(method, target, body=body)
        await front.lines()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(5):
                await front.call(method, target, body=body)
            await front.lines()
            gc.collect()
            left = [type(one).__name__ for one in gc.garbage if type(one).__module__.startswith(("gateway.", "iam."))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []
