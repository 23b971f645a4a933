"""The pool and an origin's addresses: which is next, which is passed over, which is found again."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections import Counter

import pytest

from gateway.wire import pool
from gateway.wire.fetch import Unanswered
from gateway.wire.group import FIRST_BACKOFF, LONGEST_BACKOFF
from gateway.wire.pool import IDLE
from tests.unit.gateway.wire.bench import until
from tests.unit.gateway.wire.hosts import A, B, C, Hosts, named


@named
async def test_requests_are_spread_over_the_addresses(hosts: Hosts):
    """Requests at the same time go to all addresses alike, and so do requests one after the other."""
    hosts.serve(A, B, C)
    held = [await hosts.hold() for _ in range(9)]
    assert Counter(upstream.address.host for upstream in held) == {A: 3, B: 3, C: 3}
    for upstream in held:
        hosts.pool.give(upstream)
    assert Counter([await hosts.ask() for _ in range(9)]) == {A: 3, B: 3, C: 3}
    assert sum(server.accepted for server in hosts.servers.values()) == 9


@named
async def test_the_address_with_the_fewest_requests_is_next(hosts: Hosts):
    """An address whose answers are slow gets fewer requests, from idle connections too."""
    hosts.serve(A, B)
    warm = [await hosts.hold() for _ in range(6)]
    for upstream in warm:
        hosts.pool.give(upstream)
    held = [await hosts.hold() for _ in range(4)]
    for upstream in held:
        if upstream.address.host == B:
            hosts.pool.give(upstream)
    assert [(await hosts.hold()).address.host for _ in range(2)] == [B, B]


@named
async def test_an_address_that_refuses_fails_no_request(hosts: Hosts):
    """A request that was refused goes to the next address; the others do not ask the dead one again."""
    hosts.serve(B, C)
    hosts.says = [A, B, C]
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(hosts.ask()) for _ in range(30)]
    assert {task.result() for task in asked} == {B, C}
    assert hosts.address(A).failures == 1
    assert hosts.pool.gauges()["backend_addresses_down"] == 1
    held = [await hosts.hold() for _ in range(40)]
    assert {upstream.address.host for upstream in held} == {B, C}
    assert hosts.address(A).failures == 1


@pytest.fixture
def impatient(monkeypatch):
    """Wait for an address as long as a test can."""
    monkeypatch.setattr(pool, "ATTEMPT", 0.2)


@pytest.mark.usefixtures("impatient")
@named
async def test_an_address_that_does_not_answer_fails_no_request(hosts: Hosts):
    """An address that lets a connection wait for ever is passed over in time, and then not asked again."""
    hosts.serve(B)
    with socket.socket() as full:  # a listener whose queue is full: the kernel answers nobody
        full.bind((A, hosts.port))
        full.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex((A, hosts.port))
        hosts.says = [A, B]
        assert await hosts.ask() == B
        assert hosts.address(A).failures == 1
        assert [await hosts.ask(seconds=0.15) for _ in range(3)] == [B] * 3
        for other in others:
            other.close()


@named
async def test_what_an_address_keeps_when_it_fails(hosts: Hosts):
    """One that refuses may be draining and keeps its connections; one that is silent, or dead by the kernel's word, loses the idle."""
    hosts.serve(A)
    errors = (ConnectionRefusedError(), 2), (TimeoutError(), 0), (OSError(errno.EHOSTUNREACH, "no route"), 0)
    for error, left in errors:
        held = [await hosts.hold() for _ in range(2)]
        for upstream in held:
            hosts.pool.give(upstream)
        hosts.pool._failed(hosts.address(A), error)
        assert len(hosts.address(A).idle) == left
    held = [await hosts.hold() for _ in range(2)]
    assert not hosts.address(A).failures
    hosts.pool.give(held[0])
    hosts.pool.gone(held[1], OSError(errno.ETIMEDOUT, "as the kernel says it"))
    assert (hosts.address(A).failures, len(hosts.address(A).idle)) == (1, 0)
    held[1].abandon()


@named
async def test_what_the_machine_lacks_is_no_addresss_failure(hosts: Hosts):
    """A process without descriptors passes over no address, and keeps the connections that it has."""
    hosts.serve(A, B)
    held = [await hosts.hold() for _ in range(2)]
    hosts.pool.give(held[0])
    await until(lambda: all(server.open for server in hosts.servers.values()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            await hosts.pool.connect(hosts.origin)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not hosts.pool.gauges()["backend_addresses_down"]
    assert await hosts.ask() == held[0].address.host
    hosts.pool.give(held[1])


@named
async def test_an_address_that_is_back_is_probed_once_and_used(hosts: Hosts):
    """No request pays for finding out: one probe at a time does, at growing distances, until the address answers."""
    hosts.serve(A, B)
    hosts.servers[A].refuse()
    assert await hosts.ask() == await hosts.ask() == B
    address = hosts.address(A)
    distances = []
    for _ in range(9):
        distances.append(address.due - hosts.now)
        failures = address.failures
        await hosts.later(distances[-1] - 0.01)
        assert address.failures == failures
        await hosts.later(0.02, used=True)
        assert address.failures == failures + 1
    assert distances[:4] == pytest.approx([FIRST_BACKOFF * 2**n for n in range(4)], abs=0.1)
    assert max(distances) == pytest.approx(LONGEST_BACKOFF, abs=0.1)
    hosts.servers[A].start(hosts.port)
    hosts.group.used = hosts.now + LONGEST_BACKOFF
    hosts.now += LONGEST_BACKOFF
    for _ in range(5):
        hosts.pool.sweep(hosts.now, 300)
    await until(lambda: not hosts.pool._tasks)
    assert not address.failures
    assert hosts.servers[A].accepted == 1
    assert {await hosts.ask() for _ in range(2)} == {A, B}


@named
async def test_a_backend_that_was_away_is_found_by_the_next_request(hosts: Hosts):
    """When no address answers requests fail; the one that answers again serves the first request after that."""
    hosts.serve(A, B, C)
    await hosts.ask()
    for server in hosts.servers.values():
        server.die()
    for _ in range(3):
        with pytest.raises(Unanswered):
            await hosts.ask()
    assert hosts.pool.gauges()["backend_addresses_down"] == 3
    hosts.servers[B].start(hosts.port)
    assert await hosts.ask() == B


@named
async def test_a_lone_address_is_never_passed_over(hosts: Hosts):
    """Where there is no other address every request tries this one, whenever it failed."""
    hosts.serve(A)
    hosts.servers[A].refuse()
    for _ in range(3):
        with pytest.raises(Unanswered, match="ConnectionRefusedError"):
            await hosts.ask()
    await hosts.later(LONGEST_BACKOFF)
    hosts.servers[A].start(hosts.port)
    assert await hosts.ask() == A


@named
async def test_the_one_that_failed_longest_ago_is_tried_first(hosts: Hosts):
    """With all addresses down, a request begins where the last failure is oldest."""
    hosts.says = [A, B]
    with pytest.raises(Unanswered):
        await hosts.ask()
    hosts.address(A).failed_at, hosts.address(B).failed_at = 2.0, 1.0
    assert hosts.group.next() is hosts.address(B)


@named
async def test_an_address_in_use_has_an_idle_connection(hosts: Hosts):
    """An address without an idle connection gets one while the name is in use, so that it has its share; none later."""
    hosts.serve(A, B, C)
    assert await hosts.ask() == A
    await hosts.later(1)
    assert [server.accepted for server in hosts.servers.values()] == [1, 1, 1]
    await hosts.later(1)
    assert [server.accepted for server in hosts.servers.values()] == [1, 1, 1]
    assert [await hosts.ask() for _ in range(3)] == [B, C, A]
    await hosts.later(IDLE + 1)
    await hosts.later(1)
    await until(lambda: not any(server.open for server in hosts.servers.values()))


@named
async def test_a_dead_kept_connection_takes_its_likes_with_it(hosts: Hosts):
    """A server that dropped its kept connections unseen costs one repetition, not one for each connection."""
    hosts.serve(A)
    warm = [await hosts.hold() for _ in range(5)]
    for upstream in warm:
        hosts.pool.give(upstream)
    await until(lambda: len(hosts.servers[A].open) == 5)
    hosts.servers[A].answers = False
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(hosts.ask())
        await until(lambda: hosts.servers[A].asked)
        hosts.servers[A].answers = True
        next(
            c for c in hosts.servers[A].open if c.transport.get_extra_info("peername")[1] == _port(warm[-1])
        ).transport.abort()
    assert asked.result() == A
    await until(lambda: len(hosts.servers[A].open) == 1)
    assert hosts.servers[A].accepted == 6


def _port(upstream) -> int:
    return upstream.transport.get_extra_info("sockname")[1]
