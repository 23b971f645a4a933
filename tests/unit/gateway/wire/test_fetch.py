"""The gateway's own requests: awaited, pulled, bounded, repeated only when nothing was lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.wire.fetch import AHEAD, Unanswered, ask, fetch, whole
from gateway.wire.upstream import HIGH
from tests.unit.gateway.wire.bench import OK, Wire, story, until

HEAD = b"GET /own HTTP/1.1\r\nHost: b\r\n\r\n"
BIG = 64 << 20


async def begun(wire: Wire, answer: bytes, body: bytes | AsyncIterator[bytes] = b"", method: str = "GET"):
    """Return a backend that has answered so, and the answer."""
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(
            fetch(wire.pool, wire.origin, method, HEAD, body, chunked=not isinstance(body, bytes))
        )
        backend = await wire.backend()
        await backend.head()
        backend.say(answer)
    return backend, asked.result()


@story
async def test_an_answer_is_pulled_and_its_connection_kept(wire: Wire):
    """Status, fields and body are the backend's; a second request uses the same connection."""
    backend, answer = await begun(
        wire, OK + b"X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    assert (answer.status, answer.headers["x-a"], answer.content_length) == (200, "b", None)
    assert await whole(answer, 3) == b"abc"
    assert len(wire.idle) == 1
    async with asyncio.TaskGroup() as group:
        again = group.create_task(ask(wire.pool, wire.origin, "GET", HEAD, limit=10, seconds=5))
        await backend.head()
        backend.say(OK + b"Content-Length: 2\r\n\r\nok")
    assert again.result()[1] == b"ok"


@story
async def test_an_answer_that_breaks_off_is_no_answer(wire: Wire):
    """A body that ends early raises, it does not end."""
    backend, answer = await begun(wire, OK + b"Content-Length: 10\r\n\r\nhalf")
    backend.close()
    with pytest.raises(Unanswered):
        await whole(answer, 100)


@story
async def test_an_answer_that_nobody_reads_is_paused(wire: Wire):
    """What is not pulled stays at the backend; pulled, it comes to its end."""
    backend, answer = await begun(wire, OK + b"Content-Length: %d\r\n\r\n" % BIG)
    backend.say(b"x" * BIG)
    await until(lambda: not next(iter(wire.connections)).transport.is_reading())
    assert answer._waiting < 4 * AHEAD
    assert len(await whole(answer, BIG)) == BIG
    assert len(wire.idle) == 1


@story
async def test_an_answer_that_is_let_go_costs_its_connection(wire: Wire):
    """What was not read to its end cannot be kept."""
    backend, answer = await begun(wire, OK + b"Content-Length: 10\r\n\r\nhalf")
    answer.close()
    await backend.cut()
    await until(lambda: not wire.connections)


@story
async def test_too_much_and_too_late_are_no_answers(wire: Wire):
    """A small request's answer is bounded in bytes and in time, and its connection freed."""
    for answer in (OK + b"Content-Length: 11\r\n\r\nhello world", OK + b"Content-Length: 10\r\n\r\nhalf", b""):
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(refused(ask(wire.pool, wire.origin, "GET", HEAD, limit=10, seconds=0.2)))
            backend = await wire.backend()
            await backend.head()
            backend.say(answer)
        assert asked.result()
        await until(lambda: not wire.connections or wire.idle)
        wire.later(1000)


async def refused(work) -> bool:
    """Return whether this is Unanswered."""
    try:
        await work
    except Unanswered:
        return True
    return False


@story
async def test_a_dead_kept_connection_is_replaced_when_that_is_safe(wire: Wire):
    """A GET goes out again on a new connection, a POST does not."""
    for method in ("GET", "POST"):
        _, backend = await wire.kept()
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(refused(fetch(wire.pool, wire.origin, method, HEAD)))
            await backend.head()
            backend.reset()
            if method == "GET":
                backend = await wire.backend()
                await backend.head()
                backend.say(OK + b"Content-Length: 0\r\n\r\n")
        assert asked.result() is (method == "POST")
        wire.later(100)
        await until(lambda: not wire.connections)


@story
async def test_a_streamed_body_goes_in_chunks(wire: Wire):
    """The head goes with the first piece; an empty body is one last chunk."""

    async def body(*pieces: bytes) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    for pieces, coded in (((b"ab", b"c"), b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), ((), b"0\r\n\r\n")):
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(fetch(wire.pool, wire.origin, "PUT", HEAD, body(*pieces), chunked=True))
            backend = await wire.backend()
            await backend.head()
            assert await backend.read(len(coded)) == coded
            backend.say(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        assert asked.result().status == 200
        await until(lambda: not wire.connections)


@story
async def test_an_early_answer_ends_a_stream_that_has_no_room(wire: Wire):
    """A backend that answers and reads no more does not hold the sender for ever."""

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000

    async with asyncio.TaskGroup() as group:
        asked = group.create_task(fetch(wire.pool, wire.origin, "PUT", HEAD, body(), chunked=True))
        backend = await wire.backend()
        await backend.head()
        backend.writer.transport.pause_reading()
        await until(lambda: next(iter(wire.connections)).transport.get_write_buffer_size() > HIGH)
        backend.say(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    assert asked.result().status == 403
    await until(lambda: not wire.connections)


@story
async def test_nobody_there_is_no_answer(wire: Wire):
    """A connection that is refused is Unanswered."""
    wire._backend.close()
    await wire._backend.wait_closed()
    assert await refused(fetch(wire.pool, wire.origin, "GET", HEAD))


@story
async def test_a_connection_that_died_unnoticed_is_no_endless_wait(wire: Wire):
    """A connection that ended while its request was being prepared is told, not waited for."""
    client, backend = await wire.kept()
    one = wire.pool.take(wire.origin)
    assert one is not None
    backend.close()
    await until(lambda: not wire.connections)
    told = asyncio.Event()

    class Taker:
        def broken(self, reason: str, *, unused: bool) -> None:
            assert unused
            told.set()

    one.send(Taker(), "GET", HEAD, whole=True)
    await told.wait()
    client.close()
