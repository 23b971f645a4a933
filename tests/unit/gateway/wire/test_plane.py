"""One process's plane: handing connections over, draining, the clock, closing."""

from __future__ import annotations

import asyncio

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


@story
async def test_draining_ends_each_connection_after_its_request(wire: Wire):
    """Idle connections close at once, busy ones with their answer, which says so."""
    go = asyncio.Event()

    async def wait():
        await go.wait()
        return Say(OK, b"ok")

    wire.begin = lambda turn: Later(wait)
    idle, busy = await wire.client(), await wire.client(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: wire.plane.busy == 1 and len(wire.plane.clients) == 2)
    wire.plane.drain()
    assert await idle.rest() == b""
    go.set()
    assert b"Connection: close\r\n" in await busy.head()
    assert await busy.rest() == b"ok"


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
