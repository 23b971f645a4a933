"""Large bodies of clients under TLS: fed into it and tapped from it, and every way in which that can end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import ssl
from pathlib import Path

import pytest

from gateway.wire.client import ROUND
from gateway.wire.feed import GIVEN, Feed
from gateway.wire.steps import CutShort, Late, Say
from gateway.wire.tap import Tap
from gateway.wire.upstream import HIGH
from tests.servers.certificates import certificate
from tests.unit.gateway.wire.anybody import Peer
from tests.unit.gateway.wire.bench import LOOPS, OK, SECONDS, End, Wire, no_descriptors, until
from tests.unit.gateway.wire.test_upload import BIG, GET, PUT


class Secure(Wire):
    """A wire whose clients speak TLS."""

    folder: Path

    async def client(self, data: bytes = b"", buffer: int = 0) -> End:
        """Connect as a client, and send; `buffer` bytes of what it does not read fit in its kernel."""
        raw = socket.socket()
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        trust = ssl.create_default_context(cafile=self.folder / "public.crt")
        self._ends.append(End(*await asyncio.open_connection(sock=raw, ssl=trust, server_hostname="127.0.0.1")))
        self._ends[-1].say(data)
        return self._ends[-1]

    async def __aenter__(self) -> Secure:
        await super().__aenter__()
        self._server.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "public.crt", self.folder / "private.key")
        self._server = await self.plane.listen("127.0.0.1", 0, tls=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


def story(told):
    """Make a test of a story as Wire's does, its clients under TLS."""

    @pytest.mark.parametrize("loop", LOOPS)
    def test(loop: str, tmp_path: Path) -> None:
        certificate(tmp_path)

        async def run() -> None:
            wire = Secure()
            wire.folder = tmp_path
            async with asyncio.timeout(SECONDS), wire:
                await told(wire)

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(run())

    test.__doc__, test.__name__ = told.__doc__, told.__name__
    return test


# ---- answers


async def feeding(wire: Secure, asked: bytes = GET, sent: int = 1 << 20, buffer: int = 0) -> tuple[End, End]:
    """Return a client whose answer is being fed, its head read, and the backend that has sent some of it."""
    client = await wire.client(asked, buffer)
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"Content-Length: %d\r\n\r\n" % BIG + b"x" * sent)
    await client.head()
    exchange = await wire.exchange()
    await until(lambda: isinstance(exchange.answer._pump, Feed))
    return client, backend


@story
async def test_all_that_came_before_the_end_is_answered(wire: Secure):
    """Requests by the dozen and the end of TLS in one segment: the loop would end both ways at once, so all are answered at once."""
    wire.begin = lambda turn: Say(OK, turn.head.target.encode())
    raw, loop = socket.create_connection(("127.0.0.1", wire.port)), asyncio.get_running_loop()
    raw.setblocking(False)
    trust = ssl.create_default_context(cafile=wire.folder / "public.crt")
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trust.wrap_bio(came, goes, server_hostname="127.0.0.1")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            await loop.sock_sendall(raw, goes.read())
            came.write(await loop.sock_recv(raw, 65536))
    tls.write(b"".join(b"GET /%03d HTTP/1.1\r\n\r\n" % number for number in range(5 * ROUND)))
    with contextlib.suppress(ssl.SSLError):
        tls.unwrap()
    await loop.sock_sendall(raw, goes.read())
    while data := await loop.sock_recv(raw, 65536):
        came.write(data)
    answers = b""
    with contextlib.suppress(ssl.SSLError):
        while data := tls.read(65536):
            answers += data
    raw.close()
    assert answers.count(b"HTTP/1.1 200") == 5 * ROUND
    assert answers.endswith(b"/%03d" % (5 * ROUND - 1))


@story
async def test_a_large_answer_is_fed_and_both_connections_are_kept(wire: Secure):
    """Every byte arrives, in order and counted, and both connections serve the request that was waiting behind it."""
    client, backend = await feeding(wire, GET + GET, sent=0)
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
async def test_a_reader_that_stops_holds_up_the_feed_and_is_cut_in_time(wire: Secure):
    """The backend waits for a slow client and little piles up; one that takes nothing for too long is cut."""
    wire.narrow()
    client, backend = await feeding(wire, buffer=4096)
    client.writer.transport.pause_reading()
    backend.say(b"x" * (BIG - (1 << 20)))
    exchange = await wire.exchange()
    await until(lambda: exchange.answer._pump.waits_for_target)
    await asyncio.sleep(0.1)
    assert backend.writer.transport.get_write_buffer_size() > BIG // 4
    assert exchange.client.transport.get_write_buffer_size() < GIVEN * 1.01
    wire.later(wire.plane.times.body + 1)
    await until(lambda: not wire.plane.clients and not wire.connections)
    assert wire.turns[0].traffic.cut == "the client takes nothing"


@story
async def test_a_slow_reader_gets_all_of_what_is_fed(wire: Secure):
    """Read little by little, with halts, an answer is whole."""
    client, backend = await feeding(wire, buffer=4096, sent=0)
    body = os.urandom(1 << 20) * (BIG >> 20)
    backend.say(body)
    exchange, digest, left = await wire.exchange(), hashlib.sha256(), BIG
    for _ in range(3):
        await until(lambda: exchange.answer._pump.waits_for_target)
        data = await client.read(3 << 20)
        digest.update(data)
        left -= len(data)
    digest.update(await client.read(left))
    assert digest.digest() == hashlib.sha256(body).digest()
    await until(lambda: wire.idle)
    assert wire.idle[0].transport.is_reading()


@story
async def test_a_backend_that_dies_under_the_feed_cuts_the_client(wire: Secure):
    """An answer that breaks off never looks whole."""
    client, backend = await feeding(wire)
    backend.reset()
    await client.cut()
    await until(lambda: wire.turns[0].finished)
    assert wire.turns[0].traffic.cut


@story
async def test_a_backend_that_dies_behind_much_that_is_unread_cuts_the_client(wire: Secure):
    """What had come before the end is more than one turn takes, and the client reads none of it at first."""
    client, backend = await feeding(wire, buffer=4096, sent=0)
    exchange = await wire.exchange()
    backend.say(b"x" * (BIG // 2))
    await until(lambda: exchange.answer._pump.waits_for_target)
    await until(lambda: backend.writer.transport.get_write_buffer_size() < BIG // 4)
    backend.reset()
    await client.cut()
    await until(lambda: wire.turns[0].finished)
    assert wire.turns[0].traffic.cut


@story
async def test_a_backend_that_falls_silent_under_the_feed_cuts_the_client(wire: Secure):
    """A silence is the backend's while the client has room."""
    client, _ = await feeding(wire)
    await client.read(1 << 20)
    wire.later(wire.plane.times.backend + 1)
    await client.cut()
    assert wire.turns[0].traffic.cut == "silent"


@story
async def test_what_follows_a_fed_answer_unasked_costs_its_connection(wire: Secure):
    """The client has its answer, and nobody gets what came after it."""
    client, backend = await feeding(wire, sent=0)
    backend.say(b"x" * BIG + b"HTTP/1.1 200 Smuggled\r\n\r\n")
    await client.sha256(BIG)
    await backend.cut()
    await until(lambda: not wire.connections)


@story
async def test_a_client_that_vanishes_under_the_feed_frees_the_backend(wire: Secure):
    """The backend's connection ends with the client's."""
    client, backend = await feeding(wire)
    client.reset()
    await backend.cut()
    await until(lambda: wire.turns[0].finished)
    assert wire.turns[0].traffic.cut == "client"


@story
async def test_an_answer_goes_on_without_the_feed_where_there_are_no_descriptors(wire: Secure):
    """Then it is passed on piece by piece."""
    client = await wire.client(GET)
    backend = await wire.backend()
    await backend.head()
    with no_descriptors():
        backend.say(OK + b"Content-Length: %d\r\n\r\n" % BIG + b"x" * BIG)
        await client.head()
        await client.sha256(BIG)
    await until(lambda: wire.idle)


# ---- uploads


async def tapping(wire: Secure, begun: bytes = b"x" * (1 << 20)) -> tuple[End, End]:
    """Return a client in the middle of an upload that is tapped, and the backend that has its head."""
    client = await wire.client(PUT % BIG + begun)
    backend = await wire.backend()
    await backend.head()
    exchange = await wire.exchange()
    await until(lambda: isinstance(exchange.client.transport.raw.get_protocol(), Tap))
    return client, backend


@story
async def test_a_large_body_is_tapped_and_what_follows_it_is_the_next_request(wire: Secure):
    """Every byte arrives, in order and counted, and both connections serve the request behind the body."""
    body = os.urandom(1 << 20) * (BIG >> 20)
    client, backend = await tapping(wire, body[:1000])
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
async def test_a_slow_backend_holds_up_the_tap_and_gets_every_byte(wire: Secure):
    """A backend that does not read stops the client, little piles up, and what waited is what was sent."""
    body = os.urandom(1 << 20) * (BIG >> 20)
    client, backend = await tapping(wire, body[:1000])
    backend.writer.transport.pause_reading()
    client.say(body[1000:])
    exchange = await wire.exchange()
    await until(lambda: exchange.client.transport.paused)
    await asyncio.sleep(0.1)
    assert wire.turns[0].traffic.received < BIG * 3 // 4
    assert exchange._upstream.transport.get_write_buffer_size() < 2 * HIGH
    backend.writer.transport.resume_reading()
    assert await backend.sha256(BIG) == hashlib.sha256(body).hexdigest()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()


@story
async def test_a_refusal_in_the_middle_of_the_tap_ends_the_upload(wire: Secure):
    """It reaches the client; neither connection is kept, nothing left is read as a request."""
    client, backend = await tapping(wire)
    backend.say(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    assert b"Connection: close" in await client.head()
    client.say(b"GET /smuggled HTTP/1.1\r\n\r\n")
    assert await client.read(2) == b"no"
    wire.later(5)
    await until(lambda: not wire.connections)
    assert len(wire.turns) == 1


@story
async def test_a_backend_that_dies_under_the_tap_is_503(wire: Secure):
    """The client is told."""
    client, backend = await tapping(wire)
    backend.reset()
    client.say(b"x" * (1 << 20))
    assert (await client.head()).startswith(b"HTTP/1.1 503")
    wire.later(5)


@story
async def test_a_client_that_closes_under_the_tap_is_cut_short(wire: Secure):
    """A body that ends early is never whole at the backend."""
    client, backend = await tapping(wire)
    client.close()
    await backend.cut()
    await until(lambda: wire.turns[0].finished)
    refused = wire.turns[0].refused
    assert wire.turns[0].traffic.cut == "client" or isinstance(refused[0], CutShort)


@story
async def test_a_body_that_stops_under_the_tap_is_late(wire: Secure):
    """The client's silence is refused in its time."""
    client, backend = await tapping(wire)
    await backend.read(1 << 20)
    wire.later(wire.plane.times.body + 1)
    assert (await client.head()).startswith(b"HTTP/1.1 400")
    assert isinstance(wire.turns[0].refused[0], Late)
    wire.later(5)


@story
async def test_an_answer_without_a_length_is_not_ended_by_its_reader(wire: Secure):
    """A client of HTTP/1.0 that says goodbye in the middle of an answer that only our goodbye ends is not told ours: it would look whole."""
    trust = ssl.create_default_context(cafile=wire.folder / "public.crt")
    client = Peer(socket.create_connection(("127.0.0.1", wire.port)), trust)
    client.say(b"GET /o HTTP/1.0\r\n\r\n")
    pushing = asyncio.ensure_future(until(lambda: client.look() or b"half" in client.got))  # noqa: TID251 - awaited below
    backend = await wire.backend()
    await backend.head()
    backend.say(OK + b"\r\nhalf")
    await pushing
    client.goodbye()
    await until(lambda: client.look() or client.over)
    assert client.broken
    assert not client.ended
    client.close()
