"""One request on the wire: its steps, one after the other, and who is told when a side dies."""

from __future__ import annotations

import asyncio

from gateway.wire.steps import AnswerTooLarge, BodyTooLarge, Collect, Drop, Later, Pass, Read, Say
from tests.unit.gateway.wire.bench import OK, Wire, story, until

PUT = b"PUT /o HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
GET = b"GET /o HTTP/1.1\r\n\r\n"


@story
async def test_a_client_that_waits_for_100_continue_gets_it_once(wire: Wire):
    """100 Continue is said when the body is wanted, and not by a backend's own."""
    client = await wire.client(b"PUT /o HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.say(b"ab")
    backend = await wire.backend()
    await backend.head()
    await backend.read(2)
    backend.say(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"
    )
    assert (await client.head()).startswith(b"HTTP/1.1 200")


@story
async def test_a_backend_that_dies_before_its_answer_is_503(wire: Wire):
    """Nothing is repeated on a new connection: the client is told."""
    for data in (b"", b"HTT", OK, b"HTTP/1.1 100 Continue\r\n\r\n"):
        client = await wire.client(GET)
        backend = await wire.backend()
        await backend.head()
        backend.say(data)
        backend.close()
        assert (await client.head()).startswith(b"HTTP/1.1 503")


@story
async def test_a_backend_that_says_nothing_is_503_in_time(wire: Wire):
    """A backend that does not answer is given up after its time."""
    client = await wire.client(GET)
    await (await wire.backend()).head()
    wire.later(wire.plane.times.backend + 1)
    assert (await client.head()).startswith(b"HTTP/1.1 503")
    await until(lambda: not wire.connections)


@story
async def test_a_backend_that_refuses_connections_is_503(wire: Wire):
    """What cannot be connected to has failed."""
    wire._backend.close()
    await wire._backend.wait_closed()
    client = await wire.client(GET)
    assert (await client.head()).startswith(b"HTTP/1.1 503")


@story
async def test_a_client_that_vanishes_frees_the_backend(wire: Wire):
    """In each phase the backend's connection ends with the client's: half an upload is never whole."""
    upload = await wire.client(PUT % 100 + b"x")
    backend = await wire.backend()
    await backend.head()
    upload.reset()
    await until(lambda: not wire.connections)
    waiting = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    waiting.reset()
    await until(lambda: not wire.connections)
    reading = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 10\r\n\r\nhalf")
    await reading.head()
    reading.reset()
    await until(lambda: not wire.connections)
    assert await backend.rest() == b""
    held = await wire.client(PUT % 100)  # its head waits for a first piece: the connection is still good
    await wire.backend()
    await until(lambda: wire.connections)
    held.reset()
    await until(lambda: wire.idle and not wire.plane.clients)


@story
async def test_a_client_that_only_half_closes_gets_its_answer(wire: Wire):
    """A request that is whole is answered although the client sends no more."""
    client = await wire.client(GET)
    client.writer.write_eof()
    backend = await wire.backend()
    await backend.head()
    one = next(iter(wire.plane.clients))
    await until(lambda: one._ended)
    backend.say(OK + b"Content-Length: 2\r\n\r\nok")
    assert (await client.rest()).endswith(b"ok")
    assert not one._lingers_until  # nothing is left to drain


@story
async def test_read_gives_the_whole_body_or_refuses(wire: Wire):
    """A body within the limit is whole, one beyond it is refused: known from its length, or when it gets there."""
    wire.begin = lambda turn: Read(4, lambda body: Say(OK, body))
    client = await wire.client(PUT % 4 + b"abcd")
    assert b"Content-Length: 4\r\n" in await client.head()
    assert await client.read(4) == b"abcd"
    client.say(PUT % 5)
    assert (await client.rest()).endswith(b"BodyTooLarge")
    client = await wire.client(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabc\r\n")
    assert (await client.rest()).endswith(b"BodyTooLarge")
    assert [type(turn.refused[0]) for turn in wire.turns[1:]] == [BodyTooLarge] * 2


@story
async def test_read_after_later_goes_on_reading(wire: Wire):
    """A client paused while something was waited for is read on when its body is wanted."""
    decided = asyncio.Event()

    async def decide():
        await decided.wait()
        return Read(4_000_000, lambda body: Say(OK, b"%d" % len(body)))

    wire.begin = lambda turn: Later(decide)
    client = await wire.client(PUT % 3_000_000 + b"x" * 10)
    await until(lambda: wire.turns)
    client.say(b"x" * 2_999_990)
    await until(lambda: not next(iter(wire.plane.clients)).transport.is_reading())
    decided.set()
    await client.head()
    assert await client.read(7) == b"3000000"


@story
async def test_a_client_that_vanishes_after_a_body_that_waited_is_noticed(wire: Wire):
    """It was read no further while nobody wanted its body; with the body on its way it is read again, and its end is seen."""
    decided = asyncio.Event()
    for count, (head, body) in enumerate(
        (
            (PUT % 5, b"hello"),
            (b"PUT /o HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        ),
        1,
    ):
        decided.clear()

        async def decide():
            await decided.wait()
            return wire.forward(wire.turns[-1])

        wire.begin = lambda turn, decide=decide: Later(decide)
        client = await wire.client(head)
        await until(lambda count=count: len(wire.turns) == count)
        client.say(body)
        (seen,) = wire.plane.clients
        await until(lambda seen=seen: not seen.transport.is_reading())
        decided.set()
        backend = await wire.backend()
        await backend.head()
        client.reset()
        await until(lambda: not wire.plane.clients)
        assert wire.turns[-1].traffic.cut == "client"


@story
async def test_what_later_raises_is_refused(wire: Wire):
    """An error while waiting is an answer."""

    async def decide():
        raise LookupError

    wire.begin = lambda turn: Later(decide)
    client = await wire.client(GET)
    await client.head()
    assert await client.read(11) == b"LookupError"


@story
async def test_a_client_that_vanishes_ends_what_is_waited_for(wire: Wire):
    """Nobody waits on behalf of a client that is gone."""
    cancelled = asyncio.Event()

    async def decide():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    wire.begin = lambda turn: Later(decide)
    client = await wire.client(GET)
    await until(lambda: wire.turns)
    client.reset()
    await cancelled.wait()


@story
async def test_collect_gives_the_whole_answer_or_refuses_once(wire: Wire):
    """An answer beyond the limit is refused once, however many pieces it came in, and its connection is not kept."""
    wire.begin = lambda turn: wire.forward(turn, answered=lambda _: Collect(4, lambda body: Say(OK, body[::-1])))
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    await client.head()
    assert await client.read(3) == b"cba"
    client.say(GET + GET)
    await backend.head()
    backend.say(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"5\r\nabcde\r\n" * 3 + b"0\r\n\r\n")
    await client.head()
    assert await client.read(14) == b"AnswerTooLarge"
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 1\r\n\r\nz")
    assert (await client.head()).startswith(b"HTTP/1.1 200")
    assert await client.read(1) == b"z"
    assert [type(error) for turn in wire.turns for error in turn.refused] == [AnswerTooLarge]


@story
async def test_drop_goes_on_without_the_answer(wire: Wire):
    """An answer that is dropped reaches nobody, whatever the next step is; what that raises is refused."""
    wire.begin = lambda turn: wire.forward(turn, answered=lambda _: Drop(lambda: wire.forward(turn)))
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 10\r\n\r\ndropped")
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 3\r\n\r\nyes")
    await client.head()
    assert await client.read(3) == b"yes"
    wire.begin = lambda turn: wire.forward(turn, answered=lambda _: Drop(lambda: {}["missing"]))
    client.say(GET)
    await backend.head()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 400")


@story
async def test_a_step_that_makes_no_sense_is_refused(wire: Wire):
    """Passing an answer that was never asked for is an error of the turn."""
    wire.begin = lambda turn: Pass(OK)
    client = await wire.client(GET)
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert isinstance(wire.turns[0].refused[0], TypeError)
