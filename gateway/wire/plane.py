"""The data plane of one process: the listener's connections, the pool to the backends, the clock, and who owns the tasks."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.wire.client import Client
from gateway.wire.exchange import Exchange
from gateway.wire.steps import Desk
from gateway.wire.upstream import Pool

TICK = 1.0  # seconds between two looks at the clock
_log = logging.getLogger("minio_gw.wire")


@dataclass(frozen=True, slots=True)
class Times:
    """How long, in seconds, each kind of silence may last."""

    head: float = 20.0
    body: float = 120.0
    idle: float = 75.0
    backend: float = 300.0


class Plane:
    """One process's data plane. `control` makes the protocol that connections are handed over to."""

    def __init__(
        self,
        desk: Desk,
        loop: asyncio.AbstractEventLoop,
        times: Times,
        pool: Pool,
        control: Callable[[], asyncio.Protocol],
    ) -> None:
        self.desk = desk
        self.times = times
        self.pool = pool
        self.clients: set[Client] = set()
        self.draining = False
        self._loop = loop
        self._control = control
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def listen(
        self, host: str | None, port: int, *, tls: ssl.SSLContext | None, reuse_port: bool
    ) -> asyncio.Server:
        """Open the listener."""
        self._tick()
        return await self._loop.create_server(
            lambda: Client(self, secure=tls is not None), host, port, ssl=tls, backlog=1024, reuse_port=reuse_port or None,
        )  # fmt: skip

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
        transport = client.transport
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(exchange.head.raw + client.taken(exchange))
        transport.resume_reading()

    def _tick(self) -> None:
        """Look at the clock, once for everybody."""
        self._timer = self._loop.call_later(TICK, self._tick)  # first: one turn's mistake must not stop the clock
        now = self._loop.time()
        self.pool.sweep(now, self.times.backend)
        for client in list(self.clients):
            client.sweep(now)

    @property
    def busy(self) -> int:
        """Return how many requests are being answered."""
        return sum(client.exchange is not None for client in self.clients)

    def drain(self) -> None:
        """Keep no connection beyond its running request."""
        self.draining = True
        for client in list(self.clients):
            if client.exchange is None:
                client.transport.close()
            else:
                client.exchange.head.keep_alive = False

    async def close(self) -> None:
        """End everything."""
        if self._timer is not None:
            self._timer.cancel()
        for client in list(self.clients):
            client.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.pool.close()
