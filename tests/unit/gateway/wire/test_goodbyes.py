"""How connections under TLS end while a process drains: nobody's goodbye is waited for, and nobody loses an answer to that."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

from gateway.wire.plane import GRACE
from gateway.wire.steps import Say
from tests.unit.gateway.wire.bench import OK
from tests.unit.gateway.wire.test_under_tls import Secure, story

PATIENCE = 10.0  # seconds; the loops wait 30 for a client's close_notify


async def drained(wire: Secure, rounds: int = 10**6) -> None:
    """Drain as a process does, all silence being long, until nobody is left or for some rounds."""
    while wire.plane.clients and rounds:
        for client in wire.plane.clients:
            client.seen = -2 * GRACE
        wire.plane._drains_since = -2 * GRACE if wire.plane.draining else 0.0
        wire.plane.drain()
        await asyncio.sleep(0.01)
        rounds -= 1


@story
async def test_a_client_that_does_not_say_goodbye_holds_nobody_up(wire: Secure):
    """A kept connection of a client that is busy elsewhere, and answers no close_notify, ends when it has ours."""
    wire.begin = lambda turn: Say(OK, b"ok")
    trust = ssl.create_default_context(cafile=wire.folder / "public.crt")

    def ask() -> ssl.SSLSocket:
        one = trust.wrap_socket(socket.create_connection(("127.0.0.1", wire.port)), server_hostname="127.0.0.1")
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert one.recv(4096).startswith(OK)
        return one

    with await asyncio.to_thread(ask) as client:
        async with asyncio.timeout(PATIENCE):
            await drained(wire)
        assert await asyncio.to_thread(client.recv, 4096) in {b"", b"ok"}  # an end, and no error


@story
async def test_who_reads_slowly_gets_the_whole_answer(wire: Secure):
    """The last answer of a connection is whole, though its process drains meanwhile and the client takes none of it for long."""
    body = os.urandom(1 << 20)
    wire.begin = lambda turn: Say(OK, body)
    client = await wire.client(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", buffer=8192)
    await client.head()
    await drained(wire, rounds=50)
    assert next(iter(wire.plane.clients)).transport.is_closing()
    draining = asyncio.ensure_future(drained(wire))  # noqa: TID251 - awaited below
    assert await client.rest() == body
    await draining
