"""The pool and the name server: what a name says, when it is asked, and what becomes of an address that left."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.wire import pool
from gateway.wire.fetch import Unanswered
from gateway.wire.pool import IDLE, UNUSED, Pool, addresses_of
from gateway.wire.shortage import Unresolved
from gateway.wire.steps import Origin
from tests.unit.gateway.wire.bench import LOOPS, until
from tests.unit.gateway.wire.hosts import A, B, Hosts, named


@named
async def test_a_name_is_looked_up_once_for_those_who_wait(hosts: Hosts):
    """The first requests wait for the same lookup; later ones wait for none."""
    hosts.serve(A)
    hosts.answering.clear()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(hosts.ask()) for _ in range(5)]
        await until(lambda: hosts.lookups)
        hosts.answering.set()
    assert [task.result() for task in asked] == [A] * 5
    assert await hosts.ask() == A
    assert hosts.lookups == 1


@named
async def test_a_name_is_looked_up_again_behind_the_requests(hosts: Hosts):
    """Every thirty seconds while it is in use; the old addresses serve until the answer is there, and when there is none."""
    hosts.serve(A, B)
    hosts.says = [A]
    assert await hosts.ask() == A
    for says in (OSError("no answer"), [], UnicodeError("no name")):
        hosts.says = says
        await hosts.later(31)
        assert await hosts.ask() == A
    assert hosts.lookups == 4
    hosts.says = [B]
    hosts.answering.clear()
    hosts.pool.sweep(hosts.now + 31, 300)
    await until(lambda: hosts.lookups == 5)
    assert await hosts.ask() == A
    hosts.answering.set()
    await until(lambda: not hosts.pool._tasks)
    assert await hosts.ask() == B
    await hosts.later(IDLE + 100)
    assert hosts.lookups == 5


@named
async def test_connections_to_an_address_that_left_are_not_kept(hosts: Hosts):
    """Idle ones end at once, one with a request when that is answered; an address that is back is used again."""
    hosts.serve(A, B)
    held = [await hosts.hold() for _ in range(4)]
    for upstream in held[:2]:
        hosts.pool.give(upstream)
    hosts.says = [B]
    await hosts.later(31, used=True)
    await until(lambda: len(hosts.servers[A].open) == 1)
    assert len(hosts.servers[B].open) == 2
    hosts.says = [A, B]
    await hosts.later(31, used=True)
    assert hosts.address(A) is held[0].address  # its limit counts what is still open
    hosts.says = [B]
    await hosts.later(31, used=True)
    for upstream in held[2:]:
        hosts.pool.give(upstream)
    await until(lambda: not hosts.servers[A].open)
    await hosts.later(31, used=True)
    assert list(hosts.group.known) == [B]


@named
async def test_a_name_without_an_answer_is_asked_for_again(hosts: Hosts):
    """A request without any address fails as one without a backend; the next one asks again."""
    hosts.serve(A)
    for says in (OSError("no answer"), [], UnicodeError("no name")):
        hosts.says = says
        with pytest.raises(Unanswered, match="Unresolved"):
            await hosts.ask()
    hosts.says = [A]
    assert await hosts.ask() == A


@named
async def test_a_name_server_that_is_silent_is_waited_for_within_bounds(hosts: Hosts):
    """A first request fails when the name's answer does not come."""
    hosts.serve(A)
    hosts.answering.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "RESOLVE", 0.05)
        with pytest.raises(Unresolved):
            await hosts.pool.connect(hosts.origin)


@named
async def test_an_address_needs_no_name_server(hosts: Hosts):
    """An origin that is an address, of either family, is never looked up."""
    hosts.serve(A)
    hosts.origin = Origin(A, hosts.port)
    assert await hosts.ask() == A
    await hosts.later(31)
    assert await hosts.ask() == A
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        made = await hosts.pool.connect(Origin("::1", six.getsockname()[1]))
        made.abandon()
    assert not hosts.lookups


@pytest.mark.parametrize("loop", LOOPS)
def test_names_are_looked_up_by_the_loop(loop):
    """Without another resolver the system's is asked, and a name that does not exist is an error of its kind."""

    async def run() -> None:
        assert "127.0.0.1" in await addresses_of("localhost", 80)
        with pytest.raises(Unresolved):
            await Pool(asyncio.get_running_loop()).connect(Origin("no.such.name.invalid", 80))

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())


@named
async def test_an_origin_that_nobody_asks_for_is_forgotten(hosts: Hosts):
    """What the pool knows of origins does not grow for ever; one with a request is kept."""
    hosts.serve(A)
    held = await hosts.hold()
    await until(lambda: hosts.servers[A].open)
    await hosts.later(299)
    held.seen = hosts.now + UNUSED
    await hosts.later(UNUSED)
    assert hosts.pool._groups
    hosts.pool.give(held)
    hosts.pool.give(await hosts.hold())
    hosts.group.used = hosts.now - UNUSED
    await hosts.later(IDLE + 1)
    await until(lambda: not hosts.servers[A].open)
    await hosts.later(1)
    assert not hosts.pool._groups
    assert await hosts.ask() == await hosts.ask() == A
    assert hosts.servers[A].accepted == 2
