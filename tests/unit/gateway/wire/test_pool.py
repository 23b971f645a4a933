"""The pool: what is kept, who waits for whom, and the bounds, whatever happens."""

from __future__ import annotations

import asyncio
import random
import socket
from functools import partial

import pytest

from gateway.wire.group import Limits
from gateway.wire.pool import IDLE, KEEPALIVE
from gateway.wire.shortage import Busy
from tests.unit.gateway.wire.bench import OK, Wire, story, until
from tests.unit.gateway.wire.hosts import A, B, C, Hosts, named

GET = b"GET /o HTTP/1.1\r\n\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
alone = partial(story, limits=Limits(connections=1))  # one connection, for every request
narrow = partial(named, limits=Limits(connections=2, idle=1, waiting=3, wait=5.0))


@story
async def test_idle_connections_are_closed(wire: Wire):
    """A connection that waits too long is closed before the backend does it."""
    await wire.kept()
    assert len(wire.idle) == 1
    wire.later(IDLE + 1)
    await until(lambda: not wire.connections and not wire.idle)


@story
async def test_a_connection_that_broke_unseen_is_not_trusted(wire: Wire):
    """Idle, it is closed at the next look at the clock; a body that is sent once goes over another."""
    for looked_at in (True, False):
        client, backend = await wire.kept()
        (upstream,) = wire.idle
        upstream.transport.raw.pause_reading()  # as uvloop leaves a watch that has told of a break
        backend.reset()
        await until(lambda upstream=upstream: upstream.died)
        assert list(wire.idle) == [upstream]
        if looked_at:
            wire.later(1)
            await until(lambda: not wire.connections and not wire.idle)
        else:
            client.say(b"PUT /o HTTP/1.1\r\nContent-Length: 100000\r\n\r\nbegin")
            backend = await wire.backend()
            assert b"Content-Length: 100000" in await backend.head()
            assert await backend.read(5) == b"begin"
            client.say(b"x" * 99_995)
            assert await backend.read(99_995) == b"x" * 99_995
            backend.say(EMPTY)
            assert (await client.head()).startswith(b"HTTP/1.1 200")
        client.close()


@alone
async def test_who_waits_gets_the_connection_that_becomes_free(wire: Wire):
    """Beyond the limit requests wait for a connection, and are served by the one that is given back."""
    clients = [await wire.client(GET) for _ in range(3)]
    backend = await wire.backend()
    for client in clients:
        await backend.head()
        backend.say(EMPTY)
        await client.head()
    assert wire._accepted.empty()


@alone
async def test_who_waits_may_open_what_another_lost(wire: Wire):
    """When the connection is lost instead, who waits opens another."""
    first = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    second = await wire.client(GET)
    await until(lambda: wire.pool.gauges()["backend_requests_waiting"])
    backend.close()
    assert (await first.head()).startswith(b"HTTP/1.1 503")
    backend = await wire.backend()
    await backend.head()
    backend.say(EMPTY)
    assert (await second.head()).startswith(b"HTTP/1.1 200")


@alone
async def test_who_gave_up_waiting_loses_nothing_for_the_others(wire: Wire):
    """A connection, or the turn to open one, that was given to a cancelled request is passed on."""
    first = await wire.pool.connect(wire.origin)
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(wire.pool.connect(wire.origin))
        waits = group.create_task(wire.pool.connect(wire.origin))
        await asyncio.sleep(0)
        wire.pool.give(first)
        gone.cancel()
    assert waits.result() is first
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(wire.pool.connect(wire.origin))
        waits = group.create_task(wire.pool.connect(wire.origin))
        await asyncio.sleep(0)
        first.abandon()
        wire.pool.gone(first, None)
        gone.cancel()
    assert waits.result() is not first


@alone
async def test_a_connection_that_cannot_be_opened_is_passed_on(wire: Wire):
    """Who waits behind a connection that fails to open tries itself instead of waiting for ever."""
    wire._backend.close()
    await wire._backend.wait_closed()
    clients = [await wire.client(GET) for _ in range(3)]
    for client in clients:
        assert (await client.head()).startswith(b"HTTP/1.1 503")


@story
async def test_a_connection_whose_request_vanished_is_not_counted_for_ever(wire: Wire):
    """A client that goes while its connection is being made leaves nothing behind, whenever it goes."""
    for steps in range(12):
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(wire.pool.connect(wire.origin))
            for _ in range(steps):
                await asyncio.sleep(0)
            gone.cancel()
        if not gone.cancelled():
            gone.result().abandon()
        await until(lambda: not wire.connections)
        assert not wire.pool.gauges()["backend_connections_in_use"]


@alone
async def test_an_idle_connection_is_room(wire: Wire):
    """Who asks for a new connection where no more may be opened gets an idle one, and does not wait for it."""
    client, _ = await wire.kept()
    found = await wire.pool.connect(wire.origin)
    assert not found.fresh
    wire.pool.give(found)
    client.close()


@story
async def test_the_kernel_asks_whether_the_other_end_is_there(wire: Wire):
    """An idle connection whose host is gone ends by itself."""
    made = await wire.pool.connect(wire.origin)
    raw = made.transport.get_extra_info("socket")
    assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    assert tuple(raw.getsockopt(socket.IPPROTO_TCP, option) for option in options) == KEEPALIVE
    backend = await wire.backend()
    made.abandon()
    await backend.cut()


@narrow
async def test_those_who_wait_are_served_in_their_order(hosts: Hosts):
    """Who came first is served first, by a connection that is given back or by the room that one leaves."""
    hosts.serve(A)
    held = [await hosts.hold() for _ in range(2)]
    served: list[int] = []

    async def wait(number: int) -> None:
        held.append(await hosts.hold())
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(wait(number))
            await until(lambda n=number: hosts.group.waiting == n + 1)
        held.pop(0).abandon()
        await until(lambda: served == [0])
        hosts.pool.give(held.pop(0))
        await until(lambda: served == [0, 1])
        hosts.pool.give(held.pop(0))
    assert served == [0, 1, 2]


@narrow
async def test_who_comes_later_does_not_overtake(hosts: Hosts):
    """A place that becomes free belongs to who waits, even before he has taken it."""
    hosts.serve(A)
    held = [await hosts.hold() for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        first = group.create_task(hosts.hold())
        await until(lambda: hosts.group.waiting)
        hosts.pool.give(held[0])
        second = group.create_task(hosts.hold())
        await until(first.done)
        assert not second.done()
        hosts.pool.give(held[1])
    assert (first.result(), second.result()) == (held[0], held[1])


@narrow
async def test_few_wait_and_not_for_long(hosts: Hosts):
    """Beyond the number that may wait, and after the time they may, requests are told that the backend is busy."""
    hosts.serve(A)
    held = [await hosts.hold() for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(told(hosts)) for _ in range(3)]
        await until(lambda: hosts.group.waiting == 3)
        assert hosts.pool.gauges() == {
            "backend_connections_in_use": 2, "backend_connections_idle": 0, "backend_requests_waiting": 3, "backend_addresses_down": 0,
        }  # fmt: skip
        with pytest.raises(Busy):
            await hosts.hold()
        await hosts.later(4)
        assert hosts.group.waiting == 3
        await hosts.later(2)
    assert {type(task.result()) for task in waits} == {Busy}
    for upstream in held:
        hosts.pool.give(upstream)
    assert await hosts.ask() == A


async def told(hosts: Hosts) -> Exception | None:
    """Return what a request that cannot be served is told."""
    try:
        await hosts.hold()
    except OSError as error:
        return error
    return None


@narrow
async def test_few_idle_connections_are_kept(hosts: Hosts):
    """An address has no more idle connections than it may; what is beyond is closed."""
    hosts.serve(A, B)
    held = [await hosts.hold() for _ in range(4)]
    for upstream in held:
        hosts.pool.give(upstream)
    await until(lambda: [len(server.open) for server in hosts.servers.values()] == [1, 1])
    assert hosts.pool.gauges()["backend_connections_idle"] == 2


@narrow
async def test_an_address_that_is_added_serves_who_waits(hosts: Hosts):
    """Those who wait use the room of an address that the name begins to say."""
    hosts.serve(A, B)
    hosts.says = [A]
    held = [await hosts.hold() for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        waits = group.create_task(hosts.hold())
        await until(lambda: hosts.group.waiting)
        hosts.group.resolved_at -= 31
        hosts.says = [A, B]
        await hosts.later(1)
    assert waits.result().address.host == B
    for upstream in held:
        hosts.pool.give(upstream)


@pytest.mark.parametrize("seed", range(8))
def test_the_bounds_hold_whatever_happens(seed):
    """Requests that come, end, break off and vanish, servers that die and return, names that change: no limit is passed, and nothing is lost."""
    limits = Limits(connections=3, idle=2, waiting=4, wait=5.0)

    @partial(named, limits=limits)
    async def test(hosts: Hosts) -> None:
        hosts.serve(A, B, C)
        await Chaos(hosts, random.Random(seed)).run(200)  # noqa: S311 - the same every time

    test("asyncio" if seed % 2 else "uvloop")


class Chaos:
    """Does one thing after another to a pool, and looks at its bounds."""

    def __init__(self, hosts: Hosts, chance: random.Random) -> None:
        self.hosts, self.chance = hosts, chance
        self.tasks: list[asyncio.Task] = []
        self.held: list = []

    async def run(self, steps: int) -> None:
        """Do so many things, then let everything end."""
        does = 3 * [self.come] + 2 * [self.end]
        does += [self.break_off, self.vanish, self.die, self.live, self.rename, self.tick]
        for _ in range(steps):
            self.chance.choice(does)()
            await asyncio.sleep(self.chance.choice((0, 0, 0.002)))
            self.look()
        self.live()
        for _ in range(30):
            await self.hosts.later(1)
            while self.held:
                self.end()
        await until(lambda: all(task.done() for task in self.tasks))
        while self.held:
            self.end()
        await until(lambda: not self.hosts.group.waiting)
        self.look()
        assert all(not address.opening for address in self.hosts.group.known.values())
        assert await self.hosts.ask() in {A, B, C}

    def look(self) -> None:
        """No limit is passed, as the pool counts; nor as the servers do."""
        group = self.hosts.pool._groups.get(self.hosts.origin)
        for address in group.known.values() if group else ():
            assert address.opening >= 0
            assert address.size <= 3
            assert len(address.idle) <= 2
            assert not set(address.idle) - address.open
            assert not set(address.idle) & set(self.held)
        assert group is None or group.waiting <= 4

    def come(self) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(self.request()))

    async def request(self) -> None:
        try:
            self.held.append(await self.hosts.hold())
        except OSError:
            return  # busy, refused, or nobody there: what a request may be told

    def end(self) -> None:
        if self.held:
            self.hosts.pool.give(self.held.pop(self.chance.randrange(len(self.held))))

    def break_off(self) -> None:
        if self.held:
            self.held.pop(self.chance.randrange(len(self.held))).abandon()

    def vanish(self) -> None:
        running = [task for task in self.tasks if not task.done()]
        if running:
            self.chance.choice(running).cancel()

    def die(self) -> None:
        self.chance.choice(list(self.hosts.servers.values())).die()

    def live(self) -> None:
        for server in self.hosts.servers.values():
            if server.listener is None:
                server.start(self.hosts.port)

    def rename(self) -> None:
        self.hosts.says = self.chance.sample([A, B, C], self.chance.randint(1, 3))

    def tick(self) -> None:
        self.hosts.now += self.chance.choice((1, 1, 31))
        self.hosts.pool.sweep(self.hosts.now, 300)
