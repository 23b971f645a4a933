"""The data plane of one process: the listener's connections, the pool to the backends, the clock, and who owns the tasks."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from gateway.wire.client import Client
from gateway.wire.exchange import Exchange
from gateway.wire.goodbyes import PATIENCE, Goodbyes
from gateway.wire.heap import keep_freed
from gateway.wire.pool import Pool
from gateway.wire.steps import Desk

TICK = 1.0  # seconds between two looks at the clock, fewer where a silence may last less than four
GRACE = 1.0  # seconds without a request after which a connection ends while the process drains
REFUSED = 32  # connections beyond the bound that are let go gently at a time
BACKLOG = 1024
_log = logging.getLogger("minio_gw.wire")


@dataclass(frozen=True, slots=True)
class Times:
    """How long, in seconds, each kind of silence may last."""

    head: float = 20.0
    body: float = 120.0
    idle: float = 75.0
    backend: float = 300.0


class Plane:
    """One process's data plane.

    `control` makes the protocol that connections are handed over to; `most` is how many clients may be connected.
    """

    def __init__(
        self,
        desk: Desk,
        loop: asyncio.AbstractEventLoop,
        times: Times,
        pool: Pool,
        control: Callable[[], asyncio.Protocol],
        most: int = sys.maxsize,
    ) -> None:
        self.desk = desk
        self.times = times
        self.pool = pool
        self.clients: set[Client] = set()
        keep_freed()
        self.draining = False
        self._loop = loop
        self._control = control
        self._most = most
        self._refused: set[Client] = set()
        self._goodbyes = Goodbyes(times.idle)
        self._drains_since = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._every = min(TICK, min(times.head, times.body, times.idle, times.backend) / 4)

    async def listen(self, host: str | None, port: int, *, tls: ssl.SSLContext | None) -> asyncio.Server:
        """Open a listener."""
        return await self._loop.create_server(
            self._clients(tls),
            host,
            port,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=self.times.head if tls else None,
            ssl_shutdown_timeout=PATIENCE if tls else None,
        )

    async def listen_on(self, listening: socket.socket, *, tls: ssl.SSLContext | None) -> asyncio.Server:
        """Accept from a socket that listens already."""
        return await self._loop.create_server(
            self._clients(tls),
            sock=listening,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=self.times.head if tls else None,
            ssl_shutdown_timeout=PATIENCE if tls else None,
        )

    def _clients(self, tls: ssl.SSLContext | None) -> Callable[[], asyncio.Protocol]:
        """Return what makes a protocol of each connection; with the first listener the clock begins."""
        if self._timer is None:
            self._tick()
        return lambda: cast("asyncio.Protocol", Client(self, secure=tls is not None))

    def admit(self, client: Client) -> bool:
        """Take a connection in; return whether it may ask something. One too many is to be told so, and ends.

        Telling takes a moment for a client that is still writing, and a descriptor; beyond `REFUSED` of them it takes none.
        """
        self.clients.add(client)
        client.seen = self.pool.now
        if len(self.clients) <= self._most:
            return True
        self._refused &= self.clients
        if len(self.clients) - len(self._refused) <= self._most:
            return True
        if len(self._refused) < REFUSED:
            self._refused.add(client)
        else:
            self._loop.call_soon(client.transport.close)
        return False

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Own a task until it ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a step failed", exc_info=error)

    def hand_over(self, client: Client, exchange: Exchange) -> None:
        """Let the control surface answer: it gets the connection with every byte since the request's first."""
        protocol = self._control()
        client.transport.flush()
        transport = client.transport.raw
        if client.secure:
            self._goodbyes.follow(transport)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(exchange.head.raw + client.taken(exchange))
        if not transport.is_closing():
            transport.resume_reading()

    def _tick(self) -> None:
        """Look at the clock, once for everybody."""
        # First, for a mistake in one turn must not stop the clock.
        self._timer = self._loop.call_later(self._every, self._tick)
        now = self._loop.time()
        self.pool.sweep(now, self.times.backend)
        for client in list(self.clients):
            if not (client.secure and client.transport.is_closing()):  # who leaves under TLS is the goodbyes'
                client.sweep(now)
        if not self.draining:  # who drains looks oftener
            self._part()

    @property
    def busy(self) -> int:
        """Return how many requests are being answered."""
        return sum(client.exchange is not None for client in self.clients)

    def drain(self) -> None:
        """Keep no connection: from now on every answer says that it is the last. To be called until no client is left.

        A connection without a request has a moment's grace: who has just come, or just been answered, may be sending its next
        one, and would find a closed door.
        """
        self.pool.now = self._loop.time()
        if not self.draining:
            self.draining, self._drains_since = True, self.pool.now
        silent = [
            client
            for client in self.clients
            if client.exchange is None and self.pool.now - max(client.seen, self._drains_since) > GRACE
        ]
        for client in silent:
            if not client.transport.is_closing() and not _has_unread(client.transport.raw):
                client.transport.close()
        self._part()

    def _part(self) -> None:
        """Look at who is leaving: without TLS the loops do as we would."""
        self._goodbyes.look([client.transport.raw for client in self.clients if client.secure], self.pool.now)

    async def close(self) -> None:
        """End everything."""
        if self._timer is not None:
            self._timer.cancel()
        for client in list(self.clients):
            client.stop("shutdown")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self.pool.close(), return_exceptions=True)


def _has_unread(transport: asyncio.Transport) -> bool:
    """Return whether bytes wait in the kernel that the loop has not come to: a busy machine is no reason to lose a request."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
