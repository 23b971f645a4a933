"""A question of our own in the middle of a turn: told once, in time, by callbacks alone where a connection is kept."""

from __future__ import annotations

import pytest

from gateway.wire.steps import Ask, Say
from tests.unit.gateway.wire.bench import OK, Wire, story, until

GET = b"GET /o HTTP/1.1\r\n\r\n"
DATA = b"POST /q HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\n\r\n?"
YES = OK + b"Content-Length: 3\r\n\r\nyes"


def asks(wire: Wire, seconds: float = 10.0, then=None):
    """Let every turn ask first; what it is told is said to the client, or the request goes on after `yes`."""

    def answered(turn, status: int, body: bytes):
        if (status, body) == (200, b"yes"):
            return wire.forward(turn)
        return Say(b"HTTP/1.1 403 No\r\n", b"%d %b" % (status, body))

    def first(turn):
        say = then or (lambda status, body: answered(turn, status, body))
        return Ask(wire.origin, DATA, 100, seconds, say, lambda e: Say(b"HTTP/1.1 403 No\r\n", repr(e).encode()))

    wire.begin = first


async def asked(wire: Wire):
    """Return a client whose question is out, and the connection on which its answer is waited for."""
    asks(wire)
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.read(len(DATA))
    return client, backend


async def refusal(client) -> bytes:
    """Return what a refused client was told."""
    head = await client.head()
    assert head.startswith(b"HTTP/1.1 403")
    return await client.read(int(head.lower().partition(b"content-length: ")[2].split()[0]))


@story
async def test_a_question_goes_before_and_the_body_waits(wire: Wire):
    """The question is whole, the answer is waited for, then everything of the request goes on, over the same kept connection."""
    asks(wire)
    client = await wire.client(b"PUT /o HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
    backend = await wire.backend()
    assert await backend.read(len(DATA)) == DATA
    backend.say(YES)
    assert (await backend.head()).startswith(b"PUT /o")
    assert await backend.read(4) == b"body"
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 200")
    assert len(wire.idle) == 1


@pytest.mark.parametrize(
    "body", [b"Content-Length: 4\r\n\r\nbody", b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("short", [False, True], ids=["whole", "short"])
def test_a_body_that_came_whole_may_end_its_side(body, short):
    """A client that has sent everything and then ends its side is answered; one that has not, is cut short, and nobody is asked on."""

    @story
    async def told(wire: Wire):
        asks(wire)
        client = await wire.client(b"PUT /o HTTP/1.1\r\n" + (body[:-1] if short else body))
        backend = await wire.backend()
        await backend.read(len(DATA))
        client.writer.write_eof()
        if short:
            assert (await client.head()).startswith(b"HTTP/1.1 400")
            await backend.cut()
            return
        await until(lambda: all(one._ended for one in wire.plane.clients))
        backend.say(YES)
        assert (await backend.head()).startswith(b"PUT /o")
        await backend.read(len(body.partition(b"\r\n\r\n")[2]))
        backend.say(OK + b"Content-Length: 0\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 200")

    for loop in ("asyncio", "uvloop"):
        told(loop)


@story
async def test_a_kept_connection_needs_no_task(wire: Wire):
    """Nothing is scheduled for a question that waits on a kept connection."""
    _, backend = await wire.kept()
    asks(wire)
    client = await wire.client(GET)
    assert await backend.read(len(DATA)) == DATA
    assert not wire.plane._tasks
    assert not wire.pool._tasks
    backend.say(YES)
    assert (await backend.head()).startswith(b"GET /o")
    assert not wire.plane._tasks
    assert not wire.pool._tasks
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("answer", [OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nye\r\n1\r\ns\r\n0\r\n\r\n",
                                    b"HTTP/1.1 100 Continue\r\n\r\n" + YES, OK + b"Content-Length: 3\r\nConnection: close\r\n\r\nyes"])  # fmt: skip
def test_an_answer_comes_in_every_framing(answer):
    """Chunks, an interim answer before it, a connection that ends with it."""

    @story
    async def told(wire: Wire):
        client, backend = await asked(wire)
        backend.say(answer)
        if b"close" in answer:
            backend.close()
            backend = await wire.backend()
        assert (await backend.head()).startswith(b"GET /o")
        backend.say(OK + b"Content-Length: 0\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 200")

    for loop in ("asyncio", "uvloop"):
        told(loop)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nyes", b"500 "),
        (b"HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\nyes", b"500 "),
        (b"HTTP/1.1 302 No\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", b"302 "),
        (OK + b"Content-Length: 101\r\n\r\n" + b"x" * 101, b"Unanswered('too much')"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101 + b"\r\n", b"Unanswered('too much')"),
        (OK + b"Content-Length: 5\r\n\r\nyes", b"Unanswered('closed')"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n", b"Unanswered('closed')"),
        (b"yes\r\n\r\n", b"Unanswered("),
        (b"", b"Unanswered('closed')"),
    ],
)
def test_everything_but_a_whole_answer_is_told_as_what_it_is(answer, says):
    """Another status without its body, too much, half an answer, garbage, silence and an end."""

    @story
    async def told(wire: Wire):
        client, backend = await asked(wire)
        backend.say(answer)
        if says.endswith((b"closed')", b"(")):
            backend.close()
        assert (await refusal(client)).startswith(says)
        assert not wire.connections or wire.idle

    for loop in ("asyncio", "uvloop"):
        told(loop)


@story
async def test_a_question_is_answered_in_time_or_never(wire: Wire):
    """After its seconds it is over, its connection with it: an answer that comes later is nobody's."""
    asks(wire, seconds=0.05)
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.read(len(DATA))
    assert await refusal(client) == b"TimeoutError()"
    await backend.cut()
    assert not wire.connections


@story
async def test_nobody_to_ask_is_told(wire: Wire):
    """What cannot be connected to has not answered."""
    asks(wire)
    wire._backend.close()
    await wire._backend.wait_closed()
    assert (await refusal(await wire.client(GET))).startswith(b"Unanswered('Connection")


@story
async def test_a_dead_kept_connection_costs_nothing(wire: Wire):
    """The question is asked once more over a new connection, and no third time."""
    _, backend = await wire.kept()
    asks(wire)
    client = await wire.client(GET)
    await backend.read(len(DATA))
    backend.reset()
    backend = await wire.backend()
    assert await backend.read(len(DATA)) == DATA
    backend.reset()
    assert (await refusal(client)).startswith(b"Unanswered(")


@story
async def test_a_client_that_vanishes_ends_its_question(wire: Wire):
    """On a kept connection, on a new one, and while one is being made: nothing is left, nothing is told."""
    told = []
    asks(wire, then=lambda *what: told.append(what))
    first = await wire.client(GET)
    backend = await wire.backend()
    await backend.read(len(DATA))
    first.reset()
    await backend.cut()
    await until(lambda: not wire.connections)
    second = await wire.client(GET)
    await wire.exchange()
    second.reset()
    await until(lambda: not wire.plane.clients and not wire.connections and not (wire.plane._tasks or wire.pool._tasks))
    assert told == []


@story
async def test_an_error_after_the_answer_is_refused(wire: Wire):
    """What the next step raises is the turn's to say."""

    def then(status: int, body: bytes):
        raise ValueError(body)

    asks(wire, then=then)
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.read(len(DATA))
    backend.say(YES)
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert await client.read(10) == b"ValueError"
