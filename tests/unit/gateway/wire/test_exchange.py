"""One request on the wire: its body to the backend, the answer back, and every way in which either can end."""

from __future__ import annotations

import asyncio

from gateway.wire.exchange import AnswerTooLarge, BodyTooLarge, CutShort, Late
from gateway.wire.steps import Collect, Drop, Later, Pass, Pull, Read, Say
from tests.unit.gateway.wire.bench import OK, Wire, story, until

PUT = b"PUT /o HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
GET = b"GET /o HTTP/1.1\r\n\r\n"
BIG = 64 << 20


class Grumpy:
    """A relay that lets everything through until it is told not to."""

    def __init__(self, feeds: int = 1 << 30, *, ends: bool = True) -> None:
        self.feeds, self.ends = feeds, ends

    def feed(self, data: bytes) -> bytes:
        if not self.feeds:
            raise ValueError("signature")
        self.feeds -= 1
        return data

    def finish(self) -> None:
        if not self.ends:
            raise ValueError("digest")


# ---- bodies to the backend


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
    client = await wire.client(PUT % BIG)
    backend = await wire.backend()
    backend.writer.transport.pause_reading()
    client.say(b"x" * BIG)
    await until(lambda: wire.connections)
    upstream = next(iter(wire.connections))
    await until(lambda: upstream.transport.get_write_buffer_size() > 1 << 20)
    assert upstream.transport.get_write_buffer_size() < 4 << 20
    assert client.writer.transport.get_write_buffer_size() > BIG // 4
    backend.writer.transport.resume_reading()
    await backend.head()
    for _ in range(64):
        await backend.read(BIG // 64)
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert len(wire.idle) == 1


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


# ---- early answers


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


# ---- relays


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
    wire.begin = lambda turn: wire.forward(turn, relay=Grumpy(ends=False))
    client = await wire.client(PUT % 6 + b"abc")
    client.say(b"")
    await until(lambda: wire.turns and wire.turns[0].traffic.received == 3)
    client.say(b"def")
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    backend = await wire.backend()
    assert (await backend.rest()).partition(b"\r\n\r\n")[2] in {b"", b"abc"}


@story
async def test_a_refused_chunked_body_never_ends_at_the_backend(wire: Wire):
    """The last chunk is not sent of a body that is refused."""
    wire.begin = lambda turn: wire.forward(turn, relay=Grumpy(2))
    client = await wire.client(
        b"PUT /o HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"
    )
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    backend = await wire.backend()
    assert not (await backend.rest()).endswith(b"0\r\n\r\n")


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


# ---- deaths


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
async def test_a_backend_that_says_nothing_is_503_in_time(wire: Wire):
    """A backend that does not answer is given up after its time."""
    client = await wire.client(GET)
    await (await wire.backend()).head()
    wire.later(wire.plane.times.backend + 1)
    assert (await client.head()).startswith(b"HTTP/1.1 503")
    await until(lambda: not wire.connections)


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
async def test_a_client_that_ends_in_its_body_is_told_so(wire: Wire):
    """Half-closed in the middle of a body: refused where it can still read, and the backend's request is never whole."""
    client = await wire.client(PUT % 100 + b"x")
    backend = await wire.backend()
    await backend.head()
    client.writer.write_eof()
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert await backend.rest() == b"x"


@story
async def test_a_client_that_only_half_closes_gets_its_answer(wire: Wire):
    """A request that is whole is answered although the client sends no more."""
    client = await wire.client(GET)
    client.writer.write_eof()
    backend = await wire.backend()
    await backend.head()
    one = next(iter(wire.plane.clients))
    await until(lambda: not one.exchange.head.keep_alive)
    backend.say(OK + b"Content-Length: 2\r\n\r\nok")
    assert (await client.rest()).endswith(b"ok")
    assert not one._lingers_until  # nothing is left to drain


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


# ---- answers


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
async def test_a_slow_reader_pauses_the_backend(wire: Wire):
    """A client that does not read stops the backend; a second answer behind the first is held within the same bounds."""
    client = await wire.client(GET + GET, buffer=4096)
    client.writer.transport.pause_reading()
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: %d\r\n\r\n" % BIG + b"x" * BIG)
    await until(lambda: wire.plane.clients)
    seen = next(iter(wire.plane.clients))
    await until(lambda: seen.transport.get_write_buffer_size() > 1 << 20)
    assert backend.writer.transport.get_write_buffer_size() > BIG // 4
    assert seen.transport.get_write_buffer_size() < 4 << 20
    client.writer.transport.resume_reading()
    for _ in range(2):
        await client.head()
        left = BIG
        while left:
            left -= len(await client.reader.read(left))
        if _ == 0:
            await backend.head()
            backend.say(OK + b"Content-Length: %d\r\n\r\n" % BIG + b"x" * BIG)
    assert len(wire.idle) == 1


# ---- steps


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
