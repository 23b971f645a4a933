"""The pool: what is kept, who waits for whom, which address is next, which is passed over, and what the name says."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import socket
from collections import Counter
from functools import partial

import pytest

from gateway.wire import pool
from gateway.wire.fetch import Unanswered
from gateway.wire.group import FIRST_BACKOFF, LONGEST_BACKOFF, Limits
from gateway.wire.pool import IDLE, KEEPALIVE, UNUSED, Busy, Pool, Unresolved, addresses_of
from gateway.wire.steps import Origin
from tests.unit.gateway.wire.bench import LOOPS, OK, Wire, story, until
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
    made.abandon()


# ---- several addresses


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


# ---- names


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


# ---- bounds


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
