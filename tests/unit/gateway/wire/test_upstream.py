"""One connection to a backend: what is kept, what is repeated, what is given up."""

from __future__ import annotations

import asyncio
import socket

from tests.unit.gateway.wire.bench import OK, Wire, story, until

GET = b"GET /o HTTP/1.1\r\n\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"


@story
async def test_a_kept_connection_that_died_is_replaced_once(wire: Wire):
    """A request that found a dead connection goes out again on a new one, when repeating it is safe."""
    client, backend = await wire.kept()
    client.say(GET)
    await backend.head()
    backend.reset()
    backend = await wire.backend()
    await backend.head()
    backend.close()
    assert (await client.head()).startswith(b"HTTP/1.1 503")


@story
async def test_what_is_not_safe_is_not_repeated(wire: Wire):
    """A POST, a body that streams, and a request that was answered with as much as one byte are never sent twice."""
    for request, answer in (
        (b"POST /o HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b""),
        (b"PUT /o HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", b""),
        (GET, b"H"),
        (GET, b"HTTP/1.1 100 Continue\r\n\r\n"),
    ):
        client, backend = await wire.kept()
        client.say(request)
        await backend.head()
        backend.say(answer)
        backend.close()
        assert (await client.head()).startswith(b"HTTP/1.1 503")
        await until(lambda: not wire.connections)
    assert wire._accepted.empty()


@story
async def test_bytes_that_nobody_asked_for_end_a_connection(wire: Wire):
    """An answer without a question is no answer to the next one, alone or behind another."""
    client, backend = await wire.kept()
    backend.say(OK + b"Content-Length: 4\r\n\r\nevil")
    await until(lambda: not wire.connections)
    client.say(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(EMPTY + OK + b"Content-Length: 4\r\n\r\nevil")
    await client.head()
    client.say(GET)
    backend = await wire.backend()
    await backend.head()
    backend.say(EMPTY)
    assert b"Content-Length: 0\r\n" in await client.head()


@story
async def test_connections_that_say_close_are_not_kept(wire: Wire):
    """Connection: close, HTTP/1.0 and open ends are used once."""
    for answer in (
        OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ):
        client = await wire.client(GET)
        backend = await wire.backend()
        await backend.head()
        backend.say(answer)
        await client.head()
        await until(lambda: not wire.connections)


@story
async def test_answers_that_are_none_are_503(wire: Wire):
    """Garbage, heads without an end, ambiguous lengths, and protocols that nobody asked for are a backend's failure."""
    for answer in (
        b"garbage\r\n\r\n",
        OK + b"A: b\r\n" * 20_000,
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"A\nSet-Cookie: b\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n",
    ):
        client = await wire.client(GET)
        backend = await wire.backend()
        await backend.head()
        backend.say(answer)
        assert (await client.head()).startswith(b"HTTP/1.1 503")
        await until(lambda: not wire.connections)


@story
async def test_what_was_said_before_its_request_left_answers_nothing(wire: Wire):
    """A kept connection that speaks as it is taken: nobody gets that, nor the next one this one's answer; another connection serves.

    So a server ends idle connections ("408 Request Timeout"), and so answers come to be one behind.
    """
    blurt = b"HTTP/1.1 408 Idle\r\nContent-Length: 0\r\n\r\n"
    client, backend = await wire.kept()
    client.say(GET)
    backend.say(blurt)  # both are there when the loop looks next
    backend = await wire.backend()
    await backend.head()
    backend.say(EMPTY)
    assert (await client.head()).startswith(b"HTTP/1.1 200")
    client.say(b"PUT /o HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
    exchange = await wire.exchange()
    assert exchange.upload.unsent
    backend.say(blurt)
    backend = await wire.backend()
    client.say(b"abc")
    assert (await backend.head()).startswith(b"PUT /o")
    assert await backend.read(3) == b"abc"
    backend.say(EMPTY)
    assert (await client.head()).startswith(b"HTTP/1.1 200")
    assert len(wire.idle) == 1


@story
async def test_answers_come_byte_by_byte(wire: Wire):
    """An answer may arrive in any pieces, interim ones before it."""
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    for byte in b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n":
        backend.say(bytes([byte]))
        await backend.writer.drain()
        await asyncio.sleep(0)
    await client.head()
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        body += await client.reader.read(100)
    assert body in {b"2\r\nok\r\n0\r\n\r\n", b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"}


@story
async def test_answers_of_all_sizes_that_come_at_once_are_whole(wire: Wire):
    """Below and above the size that is joined with its head, to a client that takes it late, with another one behind it."""
    client, backend = await wire.kept()
    for size in (1, 16_384, 16_385, 60_000, 200_000):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        client.say(GET + GET)
        for _ in range(2):
            await backend.head()
            backend.say(OK + b"Content-Length: %d\r\n\r\n" % size + body)
        for _ in range(2):
            assert b"Content-Length: %d\r\n" % size in await client.head()
            assert await client.read(size) == body


@story
async def test_what_a_slow_client_has_not_taken_is_its_own(wire: Wire):
    """All connections are read into one buffer: what others bring meanwhile is in nobody's answer but their own.

    As an answer that came whole, in pieces, and in chunks; the slow ones are read when all others have been answered.
    """
    for listener in wire._server.sockets:  # what clients do not take waits in this process
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    slow = []
    for size, framing in ((100_000, b""), (240_000, b""), (90_000, b"chunked"), (17_000, b"end")):
        client = await wire.client(GET, buffer=4096)
        client.writer.transport.pause_reading()
        backend = await wire.backend()
        await backend.head()
        slow.append((client, backend, bytes([len(slow) + 1]) * size, framing))
    quick, other = await wire.client(GET), await wire.backend()
    for _, backend, body, framing in slow:
        if framing == b"chunked":
            backend.say(OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        else:
            field = b"Connection: close\r\n" if framing else b"Content-Length: %d\r\n" % len(body)
            backend.say(OK + field + b"\r\n" + body)
        if framing == b"end":
            backend.writer.write_eof()
    await until(lambda: len(wire.idle) == 3)  # all of it has come, and waits for who is slow
    for letter in b"abcdefgh" * 4:
        await other.head()
        other.say(OK + b"Content-Length: 200000\r\n\r\n" + bytes([letter]) * 200_000)
        await quick.head()
        assert await quick.read(200_000) == bytes([letter]) * 200_000
        quick.say(GET)
    for client, _, body, framing in slow:
        client.writer.transport.resume_reading()
        await client.head()
        got = b""
        while framing and (size := int(await client.reader.readuntil(b"\r\n"), 16)):
            got += (await client.read(size + 2))[:size]
        assert (got or await client.read(len(body))) == body


@story
async def test_a_long_head_before_much_of_a_body_is_read(wire: Wire):
    """A head that is longer than what is looked at first, and interim ones before it, all in one read with the body."""
    client, backend = await wire.kept()
    for fields in (b"X-Long: %b\r\n" % (b"l" * 20_000), b"X-Short: 1\r\n"):
        client.say(GET)
        await backend.head()
        interim = b"HTTP/1.1 103 Early Hints\r\n%b\r\n" % fields
        backend.say(interim * 2 + OK + fields + b"Content-Length: 100000\r\n\r\n" + b"b" * 100_000)
        await client.head()
        assert await client.read(100_000) == b"b" * 100_000


@story
async def test_a_connection_goes_back_unpaused(wire: Wire):
    """A connection whose last answer was paused for its client answers the next one."""
    size = 8 << 20
    slow = await wire.client(GET, buffer=4096)
    slow.writer.transport.pause_reading()
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    await until(lambda: wire.connections)
    one = next(iter(wire.connections))
    await until(lambda: not one.transport.is_reading())
    slow.writer.transport.resume_reading()
    await slow.head()
    await slow.read(size)
    await until(lambda: wire.idle)
    assert one.transport.is_reading()


@story
async def test_a_connection_that_ends_as_it_is_made_is_not_counted_for_ever(wire: Wire):
    """A backend that accepts and closes leaves nothing behind."""
    client = await wire.client(GET)
    (await wire.backend()).reset()
    assert (await client.head()).startswith(b"HTTP/1.1 503")
    await until(lambda: not wire.connections)
