"""A request's body on its way to the backend, and every way in which it can end."""

from __future__ import annotations

import asyncio

from gateway.wire.steps import CutShort, Late, Pull
from tests.unit.gateway.wire.bench import OK, Wire, story, until

PUT = b"PUT /o HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
GET = b"GET /o HTTP/1.1\r\n\r\n"
BIG = 32 << 20


class Grumpy:
    """A relay that lets everything through until it is told not to."""

    keeps_length = False  # it is never pumped

    def __init__(self, feeds: int = 1 << 30, *, ends: bool = True) -> None:
        self.feeds, self.ends = feeds, ends
        self.seen = 0

    def feed(self, data: bytes) -> bytes:
        self.seen += len(data)
        if not self.feeds:
            raise ValueError("signature")
        self.feeds -= 1
        return data

    def fits(self, room: int) -> int:
        return room

    def finish(self) -> None:
        if not self.ends:
            raise ValueError("digest")


@story
async def test_a_body_goes_through_and_both_connections_are_kept(wire: Wire):
    """A body of known length reaches the backend as it is, and both connections serve the next request."""
    client = await wire.client(PUT % 5 + b"hello")
    backend = await wire.backend()
    assert b"Content-Length: 5\r\n" in await backend.head()
    assert await backend.read(5) == b"hello"
    backend.say(OK + b"X-A: b\r\nContent-Length: 3\r\n\r\nyes")
    assert await client.head() == b"HTTP/1.1 200 Answer\r\nX-A: b\r\nContent-Length: 3\r\n\r\n"
    assert await client.read(3) == b"yes"
    client.say(GET)
    assert (await backend.head()).startswith(b"GET /o")
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert len(wire.idle) == 1


@story
async def test_a_chunked_body_goes_in_chunks_and_what_follows_is_the_next_request(wire: Wire):
    """Chunks are re-framed, an empty body is one last chunk, and the request behind the body is read as such."""
    head = b"PUT /o HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = await wire.client(head + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n" + head + b"0\r\n\r\n" + GET)
    backend = await wire.backend()
    await backend.head()
    assert await backend.read(20) == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"[:20]
    for last in (b"", b"0\r\n\r\n"):
        if last:
            await backend.head()
            assert await backend.read(5) == last
        backend.say(OK + b"Content-Length: 0\r\n\r\n")
        await client.head()
    assert (await backend.head()).startswith(b"GET ")
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()


@story
async def test_a_slow_backend_pauses_the_client(wire: Wire):
    """A backend that does not read the upload stops the client; the gateway holds no more than its buffers."""
    wire.narrow()
    client = await wire.client(b"PUT /o HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    backend = await wire.backend()
    backend.writer.transport.pause_reading()
    client.say(b"%x\r\n%b\r\n0\r\n\r\n" % (BIG, b"x" * BIG))
    await until(lambda: wire.connections)
    upstream = next(iter(wire.connections))
    await until(lambda: upstream.transport.get_write_buffer_size() > 1 << 19)
    assert upstream.transport.get_write_buffer_size() < 1 << 20
    assert client.writer.transport.get_write_buffer_size() > BIG // 4
    backend.writer.transport.resume_reading()
    await backend.head()
    left = BIG
    while size := int(await backend.reader.readuntil(b"\r\n"), 16):
        await backend.read(size + 2)
        left -= size
    assert not left
    await backend.read(2)
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert len(wire.idle) == 1


@story
async def test_a_backend_that_left_before_the_body_came_is_replaced(wire: Wire):
    """A connection that ends while it waits for the body's first byte costs nothing: the request goes over another."""
    _, left = await wire.kept()
    client = await wire.client(PUT % 2)
    await until(lambda: not wire.idle)
    left.close()
    backend = await wire.backend()
    client.say(b"ab")
    assert (await backend.head()).startswith(b"PUT ")
    assert await backend.read(2) == b"ab"
    backend.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 200")


@story
async def test_an_answer_before_the_upload_ends_is_passed_and_nothing_is_kept(wire: Wire):
    """An early answer reaches the client; what is left of the body is never read as a request."""
    client = await wire.client(PUT % 1000 + b"x")
    backend = await wire.backend()
    await backend.head()
    backend.say(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    head = await client.head()
    assert head.startswith(b"HTTP/1.1 403")
    assert b"Connection: close" in head
    client.say(b"GET /smuggled HTTP/1.1\r\n\r\n")
    assert await client.rest() == b"no"
    assert len(wire.turns) == 1
    await until(lambda: not wire.connections)


@story
async def test_an_answer_and_a_close_before_the_upload_ends_is_passed(wire: Wire):
    """A backend that answers early and closes has still answered."""
    client = await wire.client(PUT % BIG + b"x" * 100)
    backend = await wire.backend()
    await backend.head()
    backend.say(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    backend.close()
    assert (await client.head()).startswith(b"HTTP/1.1 403")
    client.say(b"x" * BIG)
    assert await client.rest() == b"no"


@story
async def test_an_early_answer_is_not_cut_for_the_body_that_stopped(wire: Wire):
    """A client that stops sending because it was answered is not late with its body."""
    client = await wire.client(PUT % 1000 + b"x")
    backend = await wire.backend()
    await backend.head()
    backend.say(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nno")
    await client.head()
    wire.later(wire.plane.times.body + 10)
    backend.say(b"ne")
    assert await client.rest() == b"none"


@story
async def test_a_relay_that_refuses_the_first_piece_leaves_no_trace(wire: Wire):
    """Not even the head goes out when the first piece is refused; the backend's connection is as good as new."""
    first, backend = await wire.kept()
    first.close()
    wire.begin = lambda turn: wire.forward(turn, relay=Grumpy(0))
    client = await wire.client(PUT % 5 + b"hello" + GET)
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert await client.rest() == b"ValueError"
    wire.begin = wire.forward
    client = await wire.client(b"GET /next HTTP/1.1\r\n\r\n")
    assert (await backend.head()).startswith(b"GET /next")
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert len(wire.turns) == 3


@story
async def test_a_relay_that_refuses_the_end_leaves_no_whole_request(wire: Wire):
    """Of a body that is refused at its end the last piece was never sent."""
    relay = Grumpy(ends=False)
    wire.begin = lambda turn: wire.forward(turn, relay=relay)
    client = await wire.client(PUT % 6 + b"abc")
    await until(lambda: relay.seen == 3)
    client.say(b"def")
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    backend = await wire.backend()
    assert (await backend.rest()).partition(b"\r\n\r\n")[2] in {b"", b"abc"}


@story
async def test_a_refused_chunked_body_never_ends_at_the_backend(wire: Wire):
    """The last chunk is not sent of a body that is refused."""
    relay = Grumpy(2)
    wire.begin = lambda turn: wire.forward(turn, relay=relay)
    client = await wire.client(b"PUT /o HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n")
    await until(lambda: relay.seen == 2)
    client.say(b"1\r\nc\r\n0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    backend = await wire.backend()
    assert not (await backend.rest()).endswith(b"0\r\n\r\n")


@story
async def test_a_body_that_comes_with_its_head_is_sent_with_it(wire: Wire):
    """One write, through the relay where there is one; what follows is the next request."""
    relay = Grumpy()
    wire.begin = lambda turn: wire.forward(turn, relay=relay) if turn.head.length == 5 else wire.forward(turn)
    client = await wire.client(PUT % 5 + b"hello" + GET)
    backend = await wire.backend()
    assert b"Content-Length: 5\r\n" in await backend.head()
    assert await backend.read(5) == b"hello"
    assert relay.seen == 5
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert (await backend.head()).startswith(b"GET /o")
    assert wire.turns[0].traffic.received == 5


CHUNKED = b"PUT /o HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@story
async def test_a_chunked_body_that_comes_with_its_head_is_sent_with_it(wire: Wire):
    """In one chunk, through the relay where there is one; an empty one is its end alone; what follows is the next request."""
    _, backend = await wire.kept()
    for coded, sent in (
        (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"0\r\n\r\n", b"0\r\n\r\n"),
    ):
        for relay in (None, Grumpy()):
            wire.begin = lambda turn, relay=relay: (
                wire.forward(turn, relay=relay) if turn.head.chunked else wire.forward(turn)
            )
            client = await wire.client(CHUNKED + coded + GET)
            assert b"Transfer-Encoding: chunked\r\n" in await backend.head()
            assert await backend.read(len(sent)) == sent
            assert relay is None or relay.seen == (5 if b"hello" in sent else 0)
            backend.say(OK + b"Content-Length: 0\r\n\r\n")
            await client.head()
            assert (await backend.head()).startswith(b"GET /o")
            backend.say(OK + b"Content-Length: 0\r\n\r\n")
            await client.head()
            assert wire.turns[-2].traffic.received == len(coded)


@story
async def test_a_body_with_its_head_that_is_refused_leaves_no_trace(wire: Wire):
    """Whether the relay refuses a piece or the end, the backend sees nothing and its connection is kept."""
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    for relay in (Grumpy(feeds=0), Grumpy(ends=False)):
        wire.begin = lambda turn, relay=relay: wire.forward(turn, relay=relay)
        for request in (PUT % 5 + b"hello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"):
            client = await wire.client(request)
            assert (await client.rest()).endswith(b"ValueError")
            assert len(wire.idle) == 1
    wire.begin = wire.forward
    await wire.client(GET)
    assert (await backend.head()).startswith(b"GET /o")


@story
async def test_what_follows_a_refused_body_is_lost_with_its_connection(wire: Wire):
    """After a refusal at the body's end no byte behind it can be read as the start of a request."""
    wire.begin = lambda turn: wire.forward(turn, relay=Grumpy(ends=False))
    client = await wire.client(PUT % 2 + b"ab" + PUT % 100)
    head = await client.head()
    assert b"Connection: close" in head
    client.say(b"GET /smuggled HTTP/1.1\r\n\r\n")
    await client.rest()
    assert len(wire.turns) == 1


@story
async def test_bad_chunks_are_refused_and_nothing_is_whole(wire: Wire):
    """A body whose chunks are none is refused where the client can read it."""
    client = await wire.client(b"PUT /o HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    backend = await wire.backend()
    await backend.head()
    client.say(b"+3\r\nabc\r\n0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert isinstance(wire.turns[0].refused[0], CutShort)
    assert await backend.rest() == b"3\r\nabc\r\n"


@story
async def test_a_client_that_ends_in_its_body_is_told_so(wire: Wire):
    """Half-closed in the middle of a body: refused where it can still read, and the backend's request is never whole."""
    client = await wire.client(PUT % 100 + b"x")
    backend = await wire.backend()
    await backend.head()
    client.writer.write_eof()
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert await backend.rest() == b"x"


@story
async def test_a_body_that_does_not_come_is_late(wire: Wire):
    """A client that stops in its upload is refused and the backend freed."""
    client = await wire.client(PUT % 100 + b"x")
    backend = await wire.backend()
    await backend.head()
    wire.later(wire.plane.times.body + 1)
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert isinstance(wire.turns[0].refused[0], Late)
    await backend.cut()


@story
async def test_pull_takes_the_body_piece_by_piece_and_sends_the_rest(wire: Wire):
    """What pulling leaves of a body is the source of what is sent, in chunks, and the client is paused meanwhile."""

    def begin(turn):
        async def work(pull):
            first = await pull()

            async def source():
                yield first.upper()
                while piece := await pull():
                    yield piece

            return wire.forward(turn, source=source(), chunked=True)

        return Pull(work)

    wire.begin = begin
    client = await wire.client(PUT % 200_003 + b"abc")
    backend = await wire.backend()
    client.say(b"x" * 200_000)
    assert b"chunked" in await backend.head()
    body = b""
    while size := int(await backend.reader.readuntil(b"\r\n"), 16):
        body += await backend.read(size)
        await backend.read(2)
    assert body == b"ABC" + b"x" * 200_000
    await backend.read(2)
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert len(wire.idle) == 1


@story
async def test_a_source_is_never_sent_twice_nor_after_its_backend(wire: Wire):
    """A kept connection that dies under a source is a failure; the source ends with it and harms no later answer."""
    client, backend = await wire.kept()
    ended = asyncio.Event()

    def begin(turn):
        async def source():
            try:
                yield b"abc"
                await asyncio.Event().wait()
            finally:
                ended.set()

        return wire.forward(turn, source=source(), chunked=True)

    wire.begin = begin
    client.say(b"PUT /o HTTP/1.1\r\n\r\n")
    await backend.head()
    backend.reset()
    assert (await client.head()).startswith(b"HTTP/1.1 503")
    await ended.wait()
    await client.reader.read(100)
    wire.begin = wire.forward
    client.say(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 200")


@story
async def test_a_source_that_raises_leaves_nothing_whole(wire: Wire):
    """What is wrong with a source is the answer, and its request is never whole."""

    async def source():
        yield b"abc"
        raise LookupError

    wire.begin = lambda turn: wire.forward(turn, source=source(), chunked=True)
    client = await wire.client(b"PUT /o HTTP/1.1\r\n\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert not (await (await wire.backend()).rest()).endswith(b"0\r\n\r\n")


@story
async def test_a_pulled_body_that_is_none_from_the_start_leaves_nobody_waiting(wire: Wire):
    """Chunks that are garbage, and came with the head: the client is told, and no task waits for the rest for ever."""

    async def work(following):
        await following()

    wire.begin = lambda turn: Pull(work)
    client = await wire.client(b"POST /form HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert isinstance(wire.turns[0].refused[0], CutShort)
    await until(lambda: not wire.plane._tasks)
