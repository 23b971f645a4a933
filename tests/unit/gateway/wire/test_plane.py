"""One process's plane: handing connections over, draining, the clock, closing."""

from __future__ import annotations

import asyncio
import socket

from gateway.wire import plane
from gateway.wire.plane import Times
from gateway.wire.steps import HandOver, Later, Say
from tests.unit.gateway.wire.bench import OK, Wire, story, until


class Control(asyncio.Protocol):
    """A control surface that answers with what it got."""

    def __init__(self) -> None:
        self.got = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        if self.got.endswith(b"end"):
            self.transport.write(self.got)
            self.transport.close()


def handed(turn) -> HandOver:
    """Hand over."""
    turn.handed = True
    return HandOver()


@story
async def test_a_connection_is_handed_over_with_every_byte(wire: Wire):
    """The control surface gets the request as it came, its body, and what follows, now and later; the plane forgets it."""
    for body in (b"", b"ab"):
        wire.control, wire.begin = Control, lambda turn: Say(OK)
        client = await wire.client(b"GET /ours HTTP/1.1\r\n\r\n")
        await client.head()
        wire.begin = handed
        data = b"PUT /theirs HTTP/1.1\r\nContent-Length: 5\r\nA:  b\r\n\r\n" + body
        client.say(data)
        await until(lambda: not wire.plane.clients)
        client.say(b"GET /theirs too end")
        assert await client.rest() == data + b"GET /theirs too end"
    assert not wire.plane.busy


@story
async def test_a_connection_is_handed_over_after_waiting(wire: Wire):
    """A client that was paused meanwhile is read on by the control surface."""
    go = asyncio.Event()

    async def wait():
        await go.wait()
        return handed(wire.turns[0])

    wire.control, wire.begin = Control, lambda turn: Later(wait)
    data = b"PUT /theirs HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 999_997 + b"end"
    client = await wire.client(data)
    await until(lambda: wire.turns and not next(iter(wire.plane.clients)).transport.is_reading())
    go.set()
    assert await client.rest() == data


async def drained(wire: Wire) -> None:
    """Drain, as a process does, until nobody is left."""
    while wire.plane.clients:
        wire.plane.drain()
        await asyncio.sleep(0.01)


@story
async def test_draining_ends_each_connection_after_its_request(wire: Wire):
    """A busy connection ends with its answer, which says so; an idle one after a moment without a request."""
    go = asyncio.Event()

    async def wait():
        await go.wait()
        return Say(OK, b"ok")

    wire.begin = lambda turn: Later(wait)
    idle, busy = await wire.client(), await wire.client(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: wire.plane.busy == 1 and len(wire.plane.clients) == 2)
    draining = wire.plane.spawn(drained(wire))
    assert await idle.rest() == b""
    assert wire.plane.busy == 1
    go.set()
    assert b"Connection: close\r\n" in await busy.head()
    assert await busy.rest() == b"ok"
    await draining


@story
async def test_who_is_asking_while_it_drains_is_answered(wire: Wire):
    """A request that was on its way when draining began is answered, on a new connection and on a kept one."""
    wire.begin = lambda turn: Say(OK, b"ok")
    new, kept = await wire.client(), await wire.client(b"GET / HTTP/1.1\r\n\r\n")
    await kept.head()
    await kept.read(2)
    await until(lambda: len(wire.plane.clients) == 2)
    wire.plane.drain()
    for client in (new, kept):
        client.say(b"GET / HTTP/1.1\r\n\r\n")
        assert b"Connection: close\r\n" in await client.head()
        assert await client.rest() == b"ok"
    assert plane.GRACE <= 1


@story
async def test_a_request_in_the_kernel_counts_as_asking(wire: Wire):
    """A loop that was held up longer than the grace finds the request that came meanwhile, and answers it."""
    wire.begin = lambda turn: Say(OK, b"ok")
    with socket.create_connection(("127.0.0.1", wire.port)) as client:
        await until(lambda: wire.plane.clients)
        wire.plane.drain()
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        wire.plane._drains_since = next(iter(wire.plane.clients)).seen = (
            -2 * plane.GRACE
        )  # as if all that time had passed
        wire.plane.drain()
        client.setblocking(False)
        answer = b""
        while piece := await asyncio.get_running_loop().sock_recv(client, 4096):
            answer += piece
    assert answer.startswith(OK)
    assert answer.endswith(b"Connection: close\r\n\r\nok")


@story
async def test_one_connection_too_many_is_told_so(wire: Wire):
    """Beyond the bound a connection is answered at once, unasked, and ends; when others have gone there is room again."""
    wire.plane._most = 2
    wire.begin = lambda turn: Say(OK, b"ok")
    first, _second = await wire.client(), await wire.client()
    await until(lambda: len(wire.plane.clients) == 2)
    for _ in range(2 * plane.REFUSED):  # more than are let go gently: none of them is left hanging
        assert (await (await wire.client()).head()).startswith(b"HTTP/1.1 503 Crowded")
    assert len(wire.plane.clients) <= 2 + plane.REFUSED
    first.say(b"GET / HTTP/1.1\r\n\r\n")
    assert (await first.head()).startswith(OK)
    first.close()
    await until(lambda: len(wire.plane.clients - wire.plane._refused) == 1)
    third = await wire.client(b"GET / HTTP/1.1\r\n\r\n")
    assert (await third.head()).startswith(OK)
    wire.later(3)


@story
async def test_a_socket_that_listens_already_is_accepted_from(wire: Wire):
    """What was connected before the plane had the socket is served, and after it let go of it nothing is lost."""
    wire.begin = lambda turn: Say(OK, b"ok")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        wire.port = listening.getsockname()[1]
        before = await wire.client(b"GET / HTTP/1.1\r\n\r\n")
        server = await wire.plane.listen_on(listening.dup(), tls=None)
        assert (await before.head()).startswith(OK)
        server.close()
        between = await wire.client(b"GET / HTTP/1.1\r\n\r\n")
        again = await wire.plane.listen_on(listening.dup(), tls=None)
        assert (await between.head()).startswith(OK)
        again.close()


@story
async def test_the_clock_survives_a_turn_that_raises(wire: Wire):
    """A mistake in one turn's clockwork is logged; the clock goes on for the others."""
    client = await wire.client(b"GET / HT")
    await until(lambda: wire.plane.clients)
    one = next(iter(wire.plane.clients))
    before = wire.plane._timer
    one.plane = None
    try:
        wire.plane._tick()
    except AttributeError:
        assert wire.plane._timer is not before
    else:
        raise AssertionError
    finally:
        one.plane = wire.plane
        before.cancel()
    client.close()


@story
async def test_the_clock_ticks_by_itself(wire: Wire):
    """A slow head is refused in time by the plane's own clock."""
    wire.plane.times = Times(head=0.01)
    client = await wire.client(b"GET / HT")
    assert (await client.rest()).startswith(b"HTTP/1.1 408")
    assert plane.TICK <= 1


@story
async def test_closing_ends_everything(wire: Wire):
    """Clients, backends and what is waited for end with the plane."""
    cancelled = asyncio.Event()

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    asking = await wire.client(b"GET /a HTTP/1.1\r\n\r\n")
    backend = await wire.backend()
    await backend.head()
    wire.begin = lambda turn: Later(wait)
    waiting = await wire.client(b"GET /b HTTP/1.1\r\n\r\n")
    await until(lambda: wire.plane.busy == 2)
    await wire.plane.close()
    assert cancelled.is_set()
    for end in (asking, waiting, backend):
        await end.cut()
