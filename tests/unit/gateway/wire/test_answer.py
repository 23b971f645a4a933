"""The answer's way to the client: how it is framed, held up, and how it breaks off."""

from __future__ import annotations

import asyncio
import hashlib
import os

from gateway.wire.carriers import PIPES
from gateway.wire.steps import Collect, Later, Say
from tests.unit.gateway.wire.bench import OK, End, Wire, no_descriptors, story, until
from tests.unit.gateway.wire.lines import descriptors

GET = b"GET /o HTTP/1.1\r\n\r\n"
BIG = 32 << 20


@story
async def test_a_short_answer_never_looks_whole(wire: Wire):
    """When the backend dies in a body, clients of both versions see their connection break, not a body that ends."""
    for minor, framing, body in (
        (b"1", b"Content-Length: 10\r\n\r\n", b"half"),
        (b"1", b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nhalf\r\n"),
        (b"0", b"Content-Length: 10\r\n\r\n", b"half"),
        (b"0", b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nhalf\r\n"),
        (b"1", b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nhalf\r\n-1\r\n"),
    ):
        client = await wire.client(b"GET /o HTTP/1.%b\r\n\r\n" % minor)
        backend = await wire.backend()
        await backend.head()
        backend.say(OK + framing + body)
        if not body.endswith(b"-1\r\n"):
            assert (await client.head()).startswith(b"HTTP/1.1 200")
        backend.close()
        try:
            rest = await client.rest()
        except ConnectionError:
            continue
        assert minor == b"1" or b"Length" in framing
        assert rest in {b"", b"half", b"4\r\nhalf\r\n"}
    assert all(turn.traffic.cut for turn in wire.turns)


@story
async def test_an_answer_breaks_off_whose_client_has_just_gone(wire: Wire):
    """Client and backend end in one round: that there is no connection left to cut is no error, and the log says why it was."""
    await wire.half_answered()
    (one,) = wire.plane.clients
    exchange, ended = one.exchange, one.transport.raw
    ended.abort()
    for _ in range(2):
        await asyncio.sleep(0)  # uvloop closes in a round of its own
        exchange.answer.cut("both at once")
    await until(lambda: one.lost)
    assert wire.turns[0].traffic.cut == "both at once"


@story
async def test_a_backend_that_falls_silent_in_a_body_cuts_the_client(wire: Wire):
    """The client of an answer that does not go on sees its connection end."""
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 10\r\n\r\nhalf")
    await client.head()
    wire.later(wire.plane.times.backend + 1)
    await client.cut()
    assert wire.turns[0].traffic.cut == "silent"


@story
async def test_answers_are_framed_for_who_reads_them(wire: Wire):
    """Chunks and open ends become chunks for HTTP/1.1 and an end of the connection for HTTP/1.0."""
    for minor, told, body in (
        (b"1", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        (b"1", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
        (b"1", b"\r\nabc", b"3\r\nabc\r\n0\r\n\r\n"),
        (b"1", b"\r\n", b"0\r\n\r\n"),
        (b"0", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"0", b"\r\nabc", b"abc"),
    ):
        client = await wire.client(
            b"GET /o HTTP/1.%b\r\n%b\r\n" % (minor, b"" if minor == b"0" else b"Connection: close\r\n")
        )
        backend = await wire.backend()
        await backend.head()
        backend.say(OK + told)
        backend.close()
        assert (b"chunked" in await client.head()) is (minor == b"1")
        assert await client.rest() == body


@story
async def test_answers_without_a_body_keep_both_connections(wire: Wire):
    """HEAD, 204 and 304 have no body whatever their fields say; the next request uses the same connections."""
    client, backend = await wire.kept()
    for method, status, fields, told in (
        (b"HEAD", b"200", b"Content-Length: 77\r\n", b"Content-Length: 77\r\n"),
        (
            b"HEAD",
            b"200",
            b"Transfer-Encoding: chunked\r\n",
            b"",
        ),  # a length that nobody told would be a wrong one (RFC 9110 8.6)
        (b"HEAD", b"200", b"", b""),
        (b"HEAD", b"200", b"Content-Length: 7\r\nContent-Length: 7\r\n", b"Content-Length: 7\r\n"),
        (b"HEAD", b"304", b"Content-Length: 77\r\n", b""),
        (b"GET", b"204", b"", b""),
        (b"GET", b"304", b"Content-Length: 77\r\n", b""),
    ):
        client.say(b"%b /o HTTP/1.1\r\n\r\n" % method)
        await backend.head()
        backend.say(b"HTTP/1.1 %b X\r\n%b\r\n" % (status, fields))
        assert await client.head() == b"HTTP/1.1 %b Answer\r\n%b\r\n" % (status, told)
    assert len(wire.idle) == 1


@story
async def test_the_body_behind_a_head_that_answered_a_head_is_the_answers(wire: Wire):
    """HEAD and GET are answered by one head: a GET has its body all the same, and whoever comes next its own answer."""
    client, backend = await wire.kept()
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    for method in (b"HEAD", b"HEAD", b"HEAD", b"GET", b"GET"):
        client.say(b"%b /o HTTP/1.1\r\n\r\n" % method)
        await backend.head()
        backend.say(head)
        if method == b"GET":
            assert b"chunked" in await client.head()
            backend.say(b"5\r\nhello\r\n0\r\n\r\n")
            assert await client.read(15) == b"5\r\nhello\r\n0\r\n\r\n"
        else:
            await client.head()
    assert len(wire.idle) == 1


@story
async def test_a_slow_reader_pauses_the_backend(wire: Wire):
    """A client that does not read stops the backend; what waits for it stays within bounds."""
    wire.narrow()
    client = await wire.client(GET, buffer=4096)
    client.writer.transport.pause_reading()
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (BIG, b"x" * BIG))
    await until(lambda: wire.plane.clients)
    seen = next(iter(wire.plane.clients))
    await until(lambda: seen.transport.get_write_buffer_size() > 1 << 19)
    assert backend.writer.transport.get_write_buffer_size() > BIG // 4
    assert seen.transport.get_write_buffer_size() < 1 << 20
    client.writer.transport.resume_reading()
    await client.head()
    left = BIG
    while size := int(await client.reader.readuntil(b"\r\n"), 16):
        left -= size
        size += 2
        while size:
            size -= len(await client.reader.read(size))
    assert not left
    await client.read(2)
    assert len(wire.idle) == 1


@story
async def test_a_slow_answer_gives_signs_of_life(wire: Wire):
    """A client that waits long gets head and prolog, spaces, and the rest of the document, once."""
    slow = Collect(100, lambda body: Say(OK, b"<x>" + body), slow=b"HTTP/1.1 200 Slow\r\n", prolog=b"<x>")
    wire.begin = lambda turn: wire.forward(turn, answered=lambda _: slow)
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 2\r\n\r\n")
    await until(lambda: next(iter(wire.plane.clients)).exchange._collected is not None)
    wire.later(6)
    assert (await client.head()).startswith(b"HTTP/1.1 200 Slow\r\n")
    wire.later(20)
    backend.say(b"ok")
    assert await client.read(27) == b"4\r\n<x> \r\n1\r\n \r\n2\r\nok\r\n0\r\n\r\n"[:27]


@story
async def test_signs_of_life_end_with_what_was_slow(wire: Wire):
    """An answer that is passed after something slow has nothing but its own bytes."""

    async def decide():
        return wire.forward(wire.turns[0])

    wire.begin = lambda turn: Later(decide, slow=b"HTTP/1.1 200 Slow\r\n")
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 4\r\n\r\nab")
    await client.head()
    wire.later(20)
    backend.say(b"cd")
    assert await client.read(4) == b"abcd"


# ---- from socket to socket


async def pumping(
    wire: Wire, asked: bytes = GET, sent: int = 1 << 20, buffer: int = 0, size: int = BIG
) -> tuple[End, End]:
    """Return a client whose answer is being pumped, its head read, and the backend that has sent some of it."""
    client = await wire.client(asked, buffer=buffer)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * sent)
    await client.head()
    exchange = await wire.exchange()
    await until(lambda: exchange.answer.pumping)
    return client, backend


@story
async def test_a_large_answer_is_pumped_and_both_connections_are_kept(wire: Wire):
    """Every byte arrives, in order and counted, and both connections serve the request that was waiting behind it."""
    client, backend = await pumping(wire, GET + GET, sent=0)
    body = os.urandom(1 << 20) * (BIG >> 20)
    backend.say(body)
    assert await client.sha256(BIG) == hashlib.sha256(body).hexdigest()
    assert wire.turns[0].traffic.sent == BIG
    assert (await backend.head()).startswith(b"GET ")
    backend.say(OK + b"Content-Length: 2\r\n\r\nok")
    await client.head()
    assert await client.read(2) == b"ok"
    assert len(wire.idle) == 1


@story
async def test_a_reader_that_stops_holds_up_the_pump_and_is_cut_in_time(wire: Wire):
    """The backend waits for a slow client, nothing piles up; one that takes nothing for too long is cut."""
    wire.narrow()
    client, backend = await pumping(wire, buffer=4096)
    client.writer.transport.pause_reading()
    backend.say(b"x" * (BIG - (1 << 20)))
    exchange = await wire.exchange()
    await until(lambda: exchange.answer._pump.waits_for_target)
    assert backend.writer.transport.get_write_buffer_size() > BIG // 4
    assert not exchange.client.transport.get_write_buffer_size()
    wire.later(wire.plane.times.body - 1)
    assert wire.plane.clients
    wire.later(wire.plane.times.body + 1)
    await until(lambda: not wire.plane.clients and not wire.connections)
    assert wire.turns[0].traffic.cut == "the client takes nothing"


@story
async def test_a_slow_reader_gets_all_of_what_is_pumped(wire: Wire):
    """Read little by little, an answer is whole, and so is the pumped one behind it."""
    size = 8 << 20
    client, backend = await pumping(wire, GET + GET, buffer=4096, size=size)
    for answer in range(2):
        backend.say(b"x" * (size - (1 << 20)))
        left = size
        while left:
            left -= len(await client.reader.read(min(left, 100_000)))
        if not answer:
            await backend.head()
            backend.say(OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * (1 << 20))
            await client.head()
    await until(lambda: wire.idle)
    assert wire.idle[0].transport.is_reading()


@story
async def test_a_backend_that_dies_under_the_pump_cuts_the_client(wire: Wire):
    """A short body never looks whole: whether the backend closes or breaks, the client's connection ends."""
    for end in (End.close, End.reset):
        client, backend = await pumping(wire)
        await client.read(1 << 20)
        end(backend)
        try:
            assert len(await client.rest()) == 0
        except ConnectionError:
            continue
        finally:
            assert wire.turns[-1].traffic.cut


@story
async def test_a_backend_that_falls_silent_under_the_pump_cuts_the_client(wire: Wire):
    """The clock sees through the pump: bytes that move are signs of life, none is a silent backend."""
    client, backend = await pumping(wire)
    await client.read(1 << 20)
    wire.later(wire.plane.times.backend - 1)
    backend.say(b"x")
    await client.read(1)
    wire.later(wire.plane.times.backend - 1)
    assert wire.connections
    backend.say(b"x")
    await client.read(1)
    wire.later(2 * wire.plane.times.backend + 1)
    await client.cut()
    assert wire.turns[0].traffic.cut == "silent"


@story
async def test_a_backend_that_says_more_than_it_announced_is_not_kept(wire: Wire):
    """What comes behind a pumped body can never be read as the answer to another request."""
    client, backend = await pumping(wire, sent=0)
    backend.say(b"x" * BIG + b"HTTP/1.1 200 Stray\r\n\r\n")
    await client.sha256(BIG)
    await until(lambda: not wire.connections)
    client.say(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 200 Answer")


@story
async def test_a_client_that_vanishes_under_the_pump_frees_the_backend(wire: Wire):
    """Nobody goes on reading an answer for a client that is gone; no descriptor stays."""
    before = descriptors()
    client, backend = await pumping(wire)
    client.reset()
    await backend.cut()
    backend.close()
    await until(lambda: wire.turns[0].finished and not wire.connections)
    assert wire.turns[0].traffic.cut == "client"
    PIPES.close()
    await until(lambda: descriptors() <= before)


@story
async def test_an_answer_goes_on_without_the_pump_where_there_are_no_descriptors(wire: Wire):
    """What cannot be pumped is passed on piece by piece."""
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    with no_descriptors():
        backend.say(OK + b"Content-Length: %d\r\n\r\n" % BIG + b"x" * BIG)
        await client.head()
        await client.sha256(BIG)
    assert wire.turns[0].traffic.sent == BIG
    assert len(wire.idle) == 1
