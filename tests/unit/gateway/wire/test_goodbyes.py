"""How connections under TLS end: nobody's goodbye is waited for, and nobody loses an answer to that."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl

import pytest

from gateway.wire import goodbyes, plane
from gateway.wire.plane import GRACE, Times
from gateway.wire.steps import Say
from tests.unit.gateway.wire.bench import OK, until
from tests.unit.gateway.wire.test_plane import Control, handed
from tests.unit.gateway.wire.test_under_tls import Secure, story

PATIENCE = 10.0  # seconds; a loop left alone waits 30 for a client's close_notify
AGES = 10**6  # seconds


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let the clock tick fast, so that no test waits for it."""
    monkeypatch.setattr(plane, "TICK", 0.02)


class Pooled(Control):
    """A control surface that knows its connection's socket, and closes it twice as aiohttp may."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.its = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        """Answer and close, and close."""
        super().data_received(data)
        self.transport.close()


async def drain(wire: Secure, rounds: int = 10**6) -> None:
    """Drain as a process does, all silence being long, until nobody is left or for some rounds."""
    while wire.plane.clients and rounds:
        for client in wire.plane.clients:
            client.seen = -2 * GRACE
        wire.plane._drains_since = -2 * GRACE if wire.plane.draining else 0.0
        wire.plane.drain()
        await asyncio.sleep(0.01)
        rounds -= 1


async def gone(wire: Secure) -> None:
    """Wait until nobody is left."""
    await until(lambda: not wire.plane.clients)


@contextlib.asynccontextmanager
async def busy_elsewhere(wire: Secure, asked: bytes):
    """A client that has its answer, and then neither reads nor closes: OpenSSL answers a close_notify only when it is asked."""
    trust = ssl.create_default_context(cafile=wire.folder / "public.crt")

    def ask() -> ssl.SSLSocket:
        one = trust.wrap_socket(socket.create_connection(("127.0.0.1", wire.port)), server_hostname="127.0.0.1")
        one.sendall(asked)
        assert one.recv(4096)
        return one

    with await asyncio.to_thread(ask) as client:
        async with asyncio.timeout(PATIENCE):
            yield
        assert await asyncio.to_thread(client.recv, 4096) in {b"", b"ok"}  # an end, and no error


@story
async def test_a_client_that_does_not_say_goodbye_does_not_hold_up_a_drain(wire: Secure):
    """A kept connection of a client that is busy elsewhere, and answers no close_notify, ends when it has ours."""
    wire.begin = lambda turn: Say(OK, b"ok")
    async with busy_elsewhere(wire, b"GET / HTTP/1.1\r\n\r\n"):
        await drain(wire)


@story
async def test_an_idle_client_that_does_not_say_goodbye_is_let_go(wire: Secure):
    """A connection that was idle for too long is gone soon after, though its client answers no close_notify."""
    wire.begin = lambda turn: Say(OK, b"ok")
    async with busy_elsewhere(wire, b"GET / HTTP/1.1\r\n\r\n"):
        for client in wire.plane.clients:
            client.seen = -2 * Times().idle
        await gone(wire)


@story
async def test_the_last_answer_of_a_connection_lets_go_of_it(wire: Secure):
    """Who has asked for no further request, has the answer and does nothing holds no descriptor of ours."""
    wire.begin = lambda turn: Say(OK, b"ok")
    async with busy_elsewhere(wire, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"):
        await gone(wire)


@story
async def test_what_the_control_surface_answered_lets_go_of_its_connection(wire: Secure):
    """A client of STS keeps its connection in a pool, closed by us as it is: it holds no descriptor of ours either."""
    made: list[Pooled] = []

    def control() -> Pooled:
        made.append(Pooled())
        return made[-1]

    wire.control, wire.begin = control, handed
    async with busy_elsewhere(wire, b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nend"):
        await until(lambda: made[0].its.fileno() < 0)
    await until(lambda: not wire.plane._goodbyes._guests)  # nothing of it is kept


@story
async def test_who_has_just_gone_does_not_stop_a_drain(wire: Secure):
    """A connection whose end its protocol has not been told yet has no socket to look at: in no round of the loop is that an error."""
    wire.begin = lambda turn: Say(OK, b"ok")
    client = await wire.client(b"GET / HTTP/1.1\r\n\r\n")
    await client.head()
    (one,) = wire.plane.clients
    one.transport.raw.abort()
    while not one.lost:
        wire.plane.drain()
        await asyncio.sleep(0)
    assert not wire.plane.clients


@story
async def test_a_guest_that_has_gone_is_not_followed(wire: Secure):
    """A connection that ends while it is handed over is none to look after."""
    await wire.client()
    await until(lambda: wire.plane.clients)
    (one,) = wire.plane.clients
    departing = goodbyes.Goodbyes(silence=60)
    one.transport.raw.abort()
    while not one.lost:
        departing.follow(one.transport.raw)
        departing.look([], 0)
        await asyncio.sleep(0)
    departing.follow(one.transport.raw)
    departing.look([], 0)
    assert not departing._guests


@story
async def test_who_reads_slowly_gets_the_whole_answer(wire: Secure):
    """The last answer of a connection is whole, though its process drains meanwhile and the client takes none of it for long."""
    body = os.urandom(1 << 20)
    wire.begin = lambda turn: Say(OK, body)
    client = await wire.client(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", buffer=8192)
    await client.head()
    await drain(wire, rounds=50)
    assert next(iter(wire.plane.clients)).transport.is_closing()
    draining = asyncio.ensure_future(drain(wire))  # noqa: TID251 - awaited below
    assert await client.rest() == body
    await draining


@story
async def test_who_takes_nothing_of_the_last_answer_is_cut_in_the_end(wire: Secure):
    """A connection that closes and whose client acknowledges no more is not kept for ever; one that does is, at whatever age."""
    wire.begin = lambda turn: Say(OK, os.urandom(1 << 20))
    client = await wire.client(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", buffer=8192)
    await client.head()
    (one,) = wire.plane.clients
    raw, departing = one.transport.raw, goodbyes.Goodbyes(silence=60)
    departing.look([raw], 0)
    await client.read(1 << 18)
    departing.look([raw], AGES)  # it has taken some since
    assert departing._looks[raw].since == AGES
    now = AGES
    while not one.lost:
        now += AGES
        departing.look([raw], now)
        await asyncio.sleep(0.01)
