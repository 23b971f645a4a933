"""A large body on its way to the backend from socket to socket, and every way in which it can end."""

from __future__ import annotations

import hashlib
import os

from gateway.wire.steps import CutShort, Late
from tests.unit.gateway.wire.bench import OK, End, Wire, no_descriptors, story, until
from tests.unit.gateway.wire.test_upload import BIG, GET, PUT, Grumpy


async def pumping(wire: Wire, begun: bytes = b"x" * (1 << 20)) -> tuple[End, End]:
    """Return a client in the middle of an upload that is being pumped, and the backend that has its head."""
    client = await wire.client(PUT % BIG + begun)
    backend = await wire.backend()
    await backend.head()
    exchange = await wire.exchange()
    await until(lambda: exchange.upload is not None and exchange.upload._pump is not None)
    return client, backend


@story
async def test_a_large_body_is_pumped_and_what_follows_it_is_the_next_request(wire: Wire):
    """Every byte arrives, in order and counted, and both connections serve the request behind the body."""
    body = os.urandom(1 << 20) * (BIG >> 20)
    client, backend = await pumping(wire, body[:1000])
    client.say(body[1000:] + GET)
    assert await backend.sha256(BIG) == hashlib.sha256(body).hexdigest()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert wire.turns[0].traffic.received == BIG
    assert (await backend.head()).startswith(b"GET ")
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert len(wire.idle) == 1


@story
async def test_a_body_whose_length_a_relay_changes_is_never_pumped(wire: Wire):
    """Such a relay sees every byte of a large body piece by piece."""
    relay = Grumpy(1 << 30)
    wire.begin = lambda turn: wire.forward(turn, relay=relay)
    client = await wire.client(PUT % BIG + b"x" * BIG)
    backend = await wire.backend()
    await backend.head()
    await backend.sha256(BIG)
    assert relay.seen == BIG
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()


@story
async def test_a_slow_backend_holds_up_the_pump(wire: Wire):
    """A backend that does not read stops the client, and nothing piles up in the gateway's buffers."""
    wire.narrow()
    client, backend = await pumping(wire)
    backend.writer.transport.pause_reading()
    client.say(b"x" * (BIG - (1 << 20)))
    exchange = await wire.exchange()
    await until(lambda: exchange.upload._pump.waits_for_target)
    assert client.writer.transport.get_write_buffer_size() > BIG // 4
    assert not exchange._upstream.transport.get_write_buffer_size()
    backend.writer.transport.resume_reading()
    await backend.sha256(BIG)
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert len(wire.idle) == 1


@story
async def test_a_backend_that_takes_nothing_of_the_pump_is_503_in_time(wire: Wire):
    """A stalled backend is not its client's fault: it is given up after its own time."""
    client, backend = await pumping(wire)
    backend.writer.transport.pause_reading()
    client.say(b"x" * (BIG - (1 << 20)))
    exchange = await wire.exchange()
    await until(lambda: exchange.upload._pump.waits_for_target)
    wire.later(wire.plane.times.body + 1)
    assert wire.connections
    wire.later(wire.plane.times.backend + 1)
    assert (await client.head()).startswith(b"HTTP/1.1 503")
    await until(lambda: not wire.connections)


@story
async def test_an_answer_in_the_middle_of_the_pump_ends_the_upload(wire: Wire):
    """A refusal before the end reaches the client; neither connection is kept, nothing left is read as a request."""
    client, backend = await pumping(wire)
    backend.say(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    assert b"Connection: close" in await client.head()
    client.say(b"GET /smuggled HTTP/1.1\r\n\r\n")
    assert await client.rest() == b"no"
    assert len(wire.turns) == 1
    await until(lambda: not wire.connections)


@story
async def test_a_success_in_the_middle_of_the_pump_is_a_failure(wire: Wire):
    """Nothing that was not sent whole has succeeded."""
    client, backend = await pumping(wire)
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 503")
    await backend.cut()


@story
async def test_a_backend_that_dies_under_the_pump_is_503(wire: Wire):
    """The client is told, and its connection ends with the body that nobody wants."""
    client, backend = await pumping(wire)
    backend.reset()
    client.say(b"x" * (1 << 20))
    head = await client.head()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"Connection: close" in head
    await until(lambda: not wire.connections)


@story
async def test_a_client_that_half_closes_under_the_pump_is_told_so(wire: Wire):
    """A body that ends early is refused where the client can read it, and never whole at the backend."""
    client, backend = await pumping(wire)
    client.writer.write_eof()
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert isinstance(wire.turns[0].refused[0], CutShort)
    assert len(await backend.rest()) == 1 << 20


@story
async def test_a_client_that_vanishes_under_the_pump_frees_the_backend(wire: Wire):
    """The backend's connection ends with the client's, short of what was announced."""
    client, backend = await pumping(wire)
    await backend.read(1 << 20)
    client.reset()
    await backend.cut()
    await until(lambda: wire.turns[0].finished)
    assert wire.turns[0].traffic.cut == "client"


@story
async def test_a_body_that_stops_under_the_pump_is_late(wire: Wire):
    """The clock sees through the pump: bytes that move are signs of life, none is a client that is late."""
    client, backend = await pumping(wire)
    await backend.read(1 << 20)
    wire.later(wire.plane.times.body - 1)
    client.say(b"x")
    assert await backend.read(1) == b"x"
    wire.later(wire.plane.times.body - 1)
    assert not wire.turns[0].refused
    client.say(b"x")
    await backend.read(1)
    wire.later(2 * wire.plane.times.body + 1)
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert isinstance(wire.turns[0].refused[0], Late)
    await backend.cut()


@story
async def test_a_body_goes_on_without_the_pump_where_there_are_no_descriptors(wire: Wire):
    """What cannot be pumped is sent piece by piece."""
    client = await wire.client(PUT % BIG)
    await until(lambda: wire.connections)
    with no_descriptors():
        client.say(b"x" * BIG)
        backend = await wire.backend()
        await backend.head()
        await backend.sha256(BIG)
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert wire.turns[0].traffic.received == BIG
    assert len(wire.idle) == 1
