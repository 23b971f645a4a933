"""One client's connection: heads in order, what is no head, slow and absent clients, closing without losing the answer."""

from __future__ import annotations

import asyncio

import pytest

from gateway.wire.client import HIGH, PIPELINED
from gateway.wire.outlet import LARGE
from gateway.wire.steps import Later, Say
from tests.unit.gateway.wire.bench import OK, End, Wire, held, story, until


def echo(turn) -> Say:
    """Answer with the target."""
    return Say(OK, turn.head.target.encode())


@story
async def test_pipelined_requests_are_answered_in_order(wire: Wire):
    """Answers come in the order of the requests, whoever is ready first."""
    first = asyncio.Event()

    async def wait():
        await first.wait()
        return Say(OK, b"/1")

    wire.begin = lambda turn: Later(wait) if turn.head.target == "/1" else echo(turn)
    client = await wire.client(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(1, 6)))
    await until(lambda: wire.turns)
    assert len(wire.turns) == 1
    first.set()
    for number in range(1, 6):
        await client.head()
        assert await client.read(2) == b"/%d" % number


@story
async def test_heads_come_byte_by_byte(wire: Wire):
    """A head may arrive in any pieces, with an empty line before it."""
    wire.begin = echo
    client = await wire.client()
    for byte in b"\r\nGET /a HTTP/1.1\r\nA: b\r\n\r\n":
        client.say(bytes([byte]))
        await asyncio.sleep(0)
    await client.head()
    assert await client.read(2) == b"/a"


@story
async def test_what_is_no_head_is_refused_and_closed(wire: Wire):
    """Garbage, bare LF, ambiguous framing and heads that are too long get an answer and an end; nothing behind them is read."""
    for head, status in (
        (b"\x16\x03\x01\x02\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\n\n", b"400"),
        (b"GET / HTTP/1.1\nA: b\r\n\r\n", b"400"),
        (b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, b"431"),
    ):
        client = await wire.client(head + b"GET /smuggled HTTP/1.1\r\n\r\n")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"HTTP/1.1") == 1
        assert b"Connection: close\r\n" in answer
        client.close()
    assert not wire.turns


@story
async def test_a_refusal_is_read_although_the_client_still_sends(wire: Wire):
    """What a refused client still sends is drained for a moment, so that the answer is not lost with the connection."""
    wire.begin = echo
    client = await wire.client(b"PUT /a HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)
    assert b"Connection: close\r\n" in await client.head()
    assert await client.rest() == b"/a"


@story
async def test_who_does_not_leave_after_a_refusal_is_cut(wire: Wire):
    """Lingering ends: a client that keeps its side open is disconnected."""
    client = await wire.client(b"garbage\r\n\r\n")
    await client.rest()
    assert wire.plane.clients
    wire.later(3)
    await until(lambda: not wire.plane.clients)


@story
async def test_slow_heads_and_idle_connections_end(wire: Wire):
    """A head that does not come is refused, a connection without one is closed."""
    idle, slow = await wire.client(), await wire.client(b"GET / HT")
    await until(lambda: len(wire.plane.clients) == 2)
    await until(lambda: any(client._inbox for client in wire.plane.clients))
    wire.later(wire.plane.times.head + 1)
    assert (await slow.rest()).startswith(b"HTTP/1.1 408")
    wire.later(wire.plane.times.idle + 1)
    assert await idle.rest() == b""


@story
async def test_idleness_begins_with_the_answer(wire: Wire):
    """A connection whose last request took long is not idle yet when it is answered."""
    go = asyncio.Event()
    wire.begin = lambda turn: held(go, Say(OK))
    client = await wire.client(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: wire.turns)
    wire.later(1000)
    go.set()
    await client.head()
    for one in wire.plane.clients:
        one.sweep(wire.pool.now + 1)
    client.say(b"GET / HTTP/1.1\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 200")


@story
async def test_a_head_that_ends_in_the_middle_is_refused(wire: Wire):
    """A client that closes within a head is told, if it can still read."""
    client = await wire.client(b"GET / HT")
    client.writer.write_eof()
    assert (await client.rest()).startswith(b"HTTP/1.1 400")


@story
async def test_http_1_0_is_closed_unless_it_asks(wire: Wire):
    """HTTP/1.0 clients are told when their connection is kept."""
    wire.begin = echo
    client = await wire.client(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n")
    assert b"Connection: keep-alive\r\n" in await client.head()
    assert (await client.rest()).endswith(b"/b")


@story
async def test_head_requests_get_no_body(wire: Wire):
    """What is said to HEAD has a length of nothing, and the next answer follows at once."""
    wire.begin = echo
    client = await wire.client(b"HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
    await client.head()
    assert (await client.head()).startswith(b"HTTP/1.1 200")
    assert await client.read(2) == b"/b"


@story
async def test_a_client_that_only_sends_is_stopped(wire: Wire):
    """Requests are not answered into the void: what is held for a client that does not read is bounded, and it goes on later."""
    wire.begin = lambda turn: Say(OK, b"x" * 10_000)
    client = await wire.client(buffer=4096)
    client.writer.transport.pause_reading()
    count = 2000
    client.say(b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * 200) * count)
    await until(lambda: wire.plane.clients)
    seen = next(iter(wire.plane.clients))
    await until(lambda: not seen.transport.is_reading())
    assert seen.transport.get_write_buffer_size() < HIGH + LARGE + 20_000
    assert len(seen._inbox) < 8 * PIPELINED
    client.writer.transport.resume_reading()
    for _ in range(count):
        await client.head()
        await client.read(10_000)


@story
async def test_a_slow_reader_gets_all_before_its_connection_ends(wire: Wire):
    """The end of an answer is not cut off for a client that takes its time, as long as it reads."""
    body = b"x" * 3_000_000
    wire.begin = lambda turn: Say(OK, body)
    client = await wire.client(b"GET / HTTP/1.0\r\n\r\n", buffer=4096)
    client.writer.transport.pause_reading()
    await until(lambda: wire.turns and wire.turns[0].finished)
    for _ in range(3):
        wire.later(10)
        client.writer.transport.resume_reading()
        assert await client.read(10_000)
        client.writer.transport.pause_reading()
    client.writer.transport.resume_reading()
    rest = await client.rest()
    assert len(rest) > len(body) - 31_000


@story
async def test_who_does_not_read_at_all_is_cut(wire: Wire):
    """An answer that nobody reads is not held for ever."""
    wire.begin = lambda turn: Say(OK, b"x" * 8_000_000)
    client = await wire.client(b"GET / HTTP/1.1\r\n\r\n", buffer=4096)
    client.writer.transport.pause_reading()
    await until(lambda: wire.turns and wire.turns[0].finished)
    wire.later(0)
    wire.later(wire.plane.times.idle + 200)
    wire.later(wire.plane.times.idle + 400)
    await until(lambda: not wire.plane.clients)


@pytest.mark.parametrize("size", [PIPELINED // 2, PIPELINED * 4])
def test_what_comes_too_early_is_held_within_bounds(size):
    """A client that sends ahead of a running request is paused, and read on when it is answered."""

    async def told(wire: Wire):
        go = asyncio.Event()
        wire.begin = lambda turn: held(go, Say(OK))
        client = await wire.client(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: wire.turns)
        request = b"GET / HTTP/1.1\r\n\r\n"
        client.say(request * (size // len(request)))
        seen = next(iter(wire.plane.clients))
        await until(lambda: not seen.transport.is_reading() or len(seen._inbox) >= size // len(request) * len(request))
        assert seen.transport.is_reading() is (size < PIPELINED)
        wire.begin = echo
        go.set()
        for _ in range(1 + size // len(request)):
            await client.head()
            if len(wire.turns) > 1 and _:
                await client.read(1)

    async def run() -> None:
        async with asyncio.timeout(20), Wire() as wire:
            await told(wire)

    asyncio.run(run())


@story
async def test_an_answer_that_waits_for_its_round_outlives_the_clients_end(wire: Wire):
    """Request and end may come in one round of the loop, the answer between them: the connection ends behind the answer."""
    wire.begin = lambda turn: Say(b"HTTP/1.1 200 OK\r\n", b"body")
    client = await wire.client()
    await until(lambda: wire.plane.clients)
    (one,) = wire.plane.clients
    one.data_received(b"GET /o HTTP/1.1\r\n\r\n")
    if not one.eof_received():
        one.transport.raw.close()  # as the loop does, which knows of no outlet
    assert (await client.rest()).endswith(b"body")


@story
async def test_who_ends_its_side_has_all_its_requests_answered(wire: Wire):
    """Pipelined requests are whole when the client ends behind them: each is answered, by the backend too, and then it is over."""
    client = await wire.client(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(3)))
    client.writer.write_eof()
    backend = await wire.backend()
    for number in range(3):
        assert (await backend.head()).startswith(b"GET /%d " % number)
        backend.say(OK + b"Content-Length: 1\r\n\r\n%d" % number)
        head = await client.head()
        assert await client.read(1) == b"%d" % number
        assert (b"Connection: close" in head) is (number == 2)
    assert await client.rest() == b""


async def ended_behind_an_answer(wire: Wire, said: bytes) -> End:
    """Return a client that has ended its side behind an answer that it had no room for, and has taken that answer since."""
    wire.narrow()
    client = await wire.client(b"GET /a HTTP/1.1\r\n\r\n", buffer=4096)
    client.writer.transport.pause_reading()
    await until(lambda: wire.turns and wire.turns[0].finished)
    client.say(said)
    client.writer.write_eof()
    (one,) = wire.plane.clients
    await until(lambda: one._ended)
    assert one.full
    client.writer.transport.resume_reading()
    assert (await client.head()).startswith(OK[:12])
    await client.read(3_000_000)
    return client


@story
async def test_what_is_left_of_a_client_that_ended_is_answered_in_its_turn(wire: Wire):
    """Behind an answer that a client has no room for wait a whole request and half a one: the first is answered, the other refused."""
    wire.begin = lambda turn: Say(OK, b"x" * 3_000_000)
    client = await ended_behind_an_answer(wire, b"GET /b HTTP/1.1\r\n\r\nGET /")
    assert (await client.head()).startswith(OK[:12])
    await client.read(3_000_000)
    assert (await client.head()).startswith(b"HTTP/1.1 400 Malformed")
    assert await client.rest() == b"the head ends in the middle"


@story
async def test_nothing_behind_the_last_request_is_carried_out(wire: Wire):
    """Who says that a request is the last, and sends another one behind it, has that one not carried out, however it comes to be read."""
    wire.begin = lambda turn: Say(OK, b"x" * 3_000_000)
    last = b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n"
    client = await ended_behind_an_answer(wire, last + b"DELETE /c HTTP/1.1\r\n\r\n")
    assert b"Connection: close" in await client.head()
    assert len(await client.rest()) == 3_000_000
    assert [turn.head.target for turn in wire.turns] == ["/a", "/b"]


@story
async def test_a_body_that_was_cut_short_behind_an_answer_is_refused(wire: Wire):
    """Behind an answer that a client has no room for waits half a body, and it ended there: nobody waits for the other half."""
    wire.begin = lambda turn: Say(OK, b"x" * 3_000_000) if turn.head.method == "GET" else wire.forward(turn)
    client = await ended_behind_an_answer(wire, b"PUT /b HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf")
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert await client.rest() == b"CutShort"


@story
async def test_an_answer_that_only_the_end_ends_is_never_ended_by_force(wire: Wire):
    """HTTP/1.0 clients whose answer has no length see an error, no end, when the plane closes in the middle of it."""
    client, _ = await wire.half_answered()
    (one,) = wire.plane.clients
    one.stop("shutdown")
    with pytest.raises(ConnectionResetError):
        await client.rest()
    assert wire.turns[0].traffic.cut == "shutdown"
