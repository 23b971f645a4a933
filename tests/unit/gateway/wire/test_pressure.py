"""Clients that take more than their share: of the loop, of memory, of patience. Nobody else waits for them, and nothing of theirs grows."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.wire.client import HIGH, PIPELINED, ROUND
from gateway.wire.steps import Later, Read, Say
from tests.unit.gateway.wire.bench import LOOPS, OK, Wire, held, story, until

SMALL = b"GET / HTTP/1.1\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


def echo(turn) -> Say:
    """Answer with the target."""
    return Say(OK, turn.head.target.encode())


@story
async def test_others_have_their_turn_between_one_clients_requests(wire: Wire):
    """Who sends thousands of requests at once is answered a few of them at a time."""
    wire.begin = echo
    many, other = await wire.client(), await wire.client()
    await until(lambda: len(wire.plane.clients) == 2)
    many.say(SMALL * 3000)
    other.say(b"GET /other HTTP/1.1\r\n\r\n")
    await other.head()
    assert await other.read(6) == b"/other"
    assert [turn.head.target for turn in wire.turns].index("/other") <= 8 * ROUND
    for _ in range(3000):
        await many.head()
        await many.read(1)


@story
async def test_what_is_sent_ahead_does_not_grow_with_the_answers(wire: Wire):
    """Each answer makes room for one request, not for one more read: what is held is bounded however many are answered."""

    async def soon():
        await asyncio.sleep(0)
        return Say(OK)

    most = 0

    def begin(_):
        nonlocal most
        most = max(most, *(len(one._inbox) for one in wire.plane.clients))
        return Later(soon)

    wire.begin = begin
    request = b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * 8000)
    count = 400
    client = await wire.client(request * count)
    for _ in range(count):
        await client.head()
    assert PIPELINED < most < PIPELINED + (1 << 18) + len(request)


@story
async def test_a_client_that_is_full_before_its_answer_begins_holds_the_backend(wire: Wire):
    """The loop says once that a client takes no more, maybe about the answer before: the next one must know."""
    wire.narrow()
    client = await wire.client(b"GET /o HTTP/1.1\r\n\r\n")
    client.writer.transport.pause_reading()
    backend = await wire.backend()
    await backend.head()
    (one,) = wire.plane.clients
    one.transport.raw.write(b"y" * 2_000_000)  # the end of an answer before this one, which is still on its way
    await until(lambda: one.full)
    waiting = one.transport.get_write_buffer_size()
    backend.say(OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * 160 + b"0\r\n\r\n")
    (upstream,) = wire.connections
    await until(lambda: one.exchange.answer.started)
    await until(lambda: not upstream.transport.is_reading())
    assert one.transport.get_write_buffer_size() < waiting + 2 * HIGH
    client.writer.transport.resume_reading()
    await client.read(2_000_000)
    await client.head()
    body = b""
    while not body.endswith(b"\r\n0\r\n\r\n"):
        body += await client.reader.read(1 << 20)
    assert body.count(b"x") == 160 * 0x10000


@story
async def test_a_growing_buffer_is_no_sign_of_life(wire: Wire):
    """Who takes nothing of what waits for him is cut in time, though more of it waits each time that the clock looks."""
    wire.begin = lambda turn: Say(OK, b"x" * 4_000_000)
    client = await wire.client(SMALL, buffer=4096)
    client.writer.transport.pause_reading()
    await until(lambda: wire.turns and wire.turns[0].finished)
    (one,) = wire.plane.clients
    for seconds in range(0, int(wire.plane.times.idle) + 20, 10):
        if not one.transport.is_closing():
            one.transport.write(b"more")
        wire.later(seconds)
    await until(lambda: not wire.plane.clients)


@story
async def test_an_early_answer_that_stalls_is_given_up(wire: Wire):
    """A backend that refuses an upload and says half of why is who must go on, though the request was not sent whole."""
    client = await wire.client(b"PUT /o HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
    backend = await wire.backend()
    await backend.head()
    backend.say(b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nabc")
    assert (await client.head()).startswith(b"HTTP/1.1 403")
    wire.later(wire.plane.times.backend + 1)
    await client.cut()
    await until(lambda: not wire.connections)
    assert wire.turns[0].finished == 1


@story
async def test_nothing_behind_the_last_request_is_begun_when_its_body_ends(wire: Wire):
    """The request that asks for the end may be answered while its body is read: what follows the body is no request."""
    go = asyncio.Event()

    def begin(turn):
        return {"/a": lambda: held(go, Say(OK)), "/b": lambda: Read(9, lambda body: Say(OK, body))}[turn.head.target]()

    wire.begin = begin
    client = await wire.client(
        b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabcDELETE /c HTTP/1.1\r\n\r\n"
    )
    client.writer.write_eof()
    await until(lambda: wire.turns)
    go.set()
    await client.head()
    assert b"Connection: close" in await client.head()
    assert await client.rest() == b"abc"
    await until(lambda: not wire.plane.clients)
    assert [turn.head.target for turn in wire.turns] == ["/a", "/b"]


@story
async def test_each_head_has_its_own_time(wire: Wire):
    """A head that begins with the last byte of another one is waited for from then on, and so is one behind a slow request."""
    wire.begin = echo
    patience = wire.plane.times.head
    client = await wire.client(SMALL + b"G")
    for number in range(1, 5):
        await client.head()
        await client.read(1)
        wire.later(number * (patience - 1))
        client.say(SMALL[1:] + b"G")
    await client.head()
    assert not client.reader.at_eof()
    go = asyncio.Event()
    wire.begin = lambda _: held(go, Say(OK))
    await client.read(1)
    client.say(SMALL[1:] + b"G")
    await until(lambda: len(wire.turns) == 6)
    wire.later(9 * patience)
    go.set()
    await client.head()
    wire.begin = echo
    wire.later(9.5 * patience)
    client.say(SMALL[1:])
    assert (await client.head()).startswith(b"HTTP/1.1 200")


@story
async def test_an_empty_line_behind_the_last_request_is_nothing(wire: Wire):
    """A client that ends its side behind it is answered and closed, not waited for."""
    for behind in (b"\r\n", b"\r\n\r\n", b""):
        go = asyncio.Event()
        wire.begin = lambda _, go=go: held(go, Say(OK, b"/"))
        client = await wire.client(SMALL + behind)
        client.writer.write_eof()
        await until(lambda: [one for one in wire.plane.clients if one._ended])
        go.set()
        assert b"Connection: close\r\n" in await client.head()
        assert await client.rest() == b"/"
        await until(lambda: not wire.plane.clients)


@story
async def test_an_empty_line_behind_an_answer_that_is_still_read_is_nothing(wire: Wire):
    """It comes, and the end behind it, while the client has no room; the connection ends once it has all."""
    wire.begin = lambda turn: Say(OK, b"x" * 6_000_000)
    wire.narrow()
    client = await wire.client(SMALL)
    client.writer.transport.pause_reading()
    await until(lambda: [one for one in wire.plane.clients if one.full])
    client.say(b"\r\n")
    (one,) = wire.plane.clients
    await until(lambda: one._inbox)
    client.writer.write_eof()
    await until(lambda: one._ended)
    client.writer.transport.resume_reading()
    await client.head()
    assert len(await client.rest()) == 6_000_000


@story
async def test_empty_lines_are_no_requests(wire: Wire):
    """One before a request is skipped (RFC 9112 section 2.2); a flood of them is refused, and holds nobody up."""
    wire.begin = echo
    for many in (2, 1000, 100_000):
        client = await wire.client(b"\r\n" * many + SMALL)
        assert (await client.head()).startswith(b"HTTP/1.1 400")
        await client.cut()
        assert not wire.turns


@story
async def test_what_is_behind_a_body_that_was_read_is_answered(wire: Wire):
    """A client may end its side behind a request with a body and another request: both are answered, and then it ends."""
    for framing, body in ((b"Content-Length: 3", b"abc"), (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n")):
        go = asyncio.Event()
        body_of_three = Read(9, lambda read: Say(OK, read))
        wire.begin = lambda turn, go=go, step=body_of_three: held(go, step) if turn.head.target == "/a" else echo(turn)
        client = await wire.client(b"POST /a HTTP/1.1\r\n%b\r\n\r\n%bGET /b HTTP/1.1\r\n\r\n" % (framing, body))
        client.writer.write_eof()
        await until(lambda: [one for one in wire.plane.clients if one._ended])
        go.set()
        assert b"Connection: close" not in await client.head()
        assert await client.read(3) == b"abc"
        assert b"Connection: close" in await client.head()
        assert await client.rest() == b"/b"


@story
async def test_a_connection_with_something_unsent_is_not_kept(wire: Wire):
    """A backend that has answered and does not read on would have the next request wait behind the last one's bytes."""
    await wire.kept()
    upstream = wire.pool.take(wire.origin)
    upstream.transport.write(b"x" * 8_000_000)
    wire.pool.give(upstream)
    assert upstream.transport.is_closing()
    await until(lambda: not wire.connections)


@pytest.mark.parametrize("loop", LOOPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([
        b"GET /a HTTP/1.1\r\nA: b\r\n\r\n", b"GET /a HTTP/1.1\nA: b\r\n\r\nrest", b"GET /a HTTP/1.1\r\nA: b\n\nrest", b"GET /a HTTP/1.1\r\nA: b\n\r\n",
        b"GET /a HTTP/1.1\r\nA: b\r\n\n", b"\r\nGET /a HTTP/1.1\r\n\r\n",
    ]),
    st.lists(st.integers(0, 40), max_size=8),
)  # fmt: skip
def test_a_head_is_the_same_however_it_is_cut(loop, head, places):
    """What has been looked at is not looked at again, and still nothing is missed at the seams."""

    async def told(cuts: list[int]) -> bytes:
        async with asyncio.timeout(20), Wire() as wire:
            wire.begin = echo
            client = await wire.client()
            await until(lambda: wire.plane.clients)
            (one,) = wire.plane.clients
            begin = 0
            for end in (*cuts, len(head)):
                if one.lost or one.transport.is_closing() or begin == end:
                    continue
                one.data_received(head[begin:end])
                assert one._looked == len(one._inbox) or wire.turns or one._lingers_until or one._inbox == b"\r\n"
                begin = end
            answer = await client.head()
            return answer.split(b"\r\n")[0]

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        whole = runner.run(told([]))
        assert runner.run(told(sorted(p for p in places if p <= len(head)))) == whole
