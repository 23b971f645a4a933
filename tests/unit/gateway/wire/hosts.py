"""A name with several addresses: real servers on loopback addresses, all on one port; the test is the name server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

import pytest

from gateway.wire.fetch import ask
from gateway.wire.group import Address, Group, Limits
from gateway.wire.pool import Pool
from gateway.wire.steps import Origin
from gateway.wire.upstream import Upstream
from tests.unit.gateway.wire.bench import LOOPS, SECONDS, until

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
HEAD = b"GET / HTTP/1.1\r\nHost: s3.test\r\n\r\n"


def named(told: Callable[[Hosts], Awaitable[None]], limits: Limits | None = None):
    """Make a test of a story about a name: it is run on both loops, and may leave no task or logged exception behind."""

    @pytest.mark.parametrize("loop", LOOPS)
    def test(loop: str) -> None:
        async def run() -> None:
            async with asyncio.timeout(SECONDS), Hosts(limits) as hosts:
                await told(hosts)

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(run())

    test.__doc__ = told.__doc__
    test.__name__ = told.__name__
    return test


class Connection(asyncio.Protocol):
    """A server's connection: it answers every request with its address, when the test lets it."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.server.accepted += 1
        self.server.open.add(self)
        self.server.most = max(self.server.most, len(self.server.open))

    def data_received(self, data: bytes) -> None:
        self.server.asked += data.count(b"\r\n\r\n")
        if self.server.answers:
            self.answer()

    def answer(self) -> None:
        """Say the address."""
        text = self.server.host.encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self)


class Server:
    """One address's server. It accepts by itself: asyncio's loses a connection that it accepts while it is being closed."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.answers = True
        self.accepted = self.asked = self.most = 0
        self.open: set[Connection] = set()
        self.listener: socket.socket | None = None
        self._accepting: set[asyncio.Task] = set()

    def start(self, port: int, tls: ssl.SSLContext | None = None) -> Server:
        """Listen."""
        loop = asyncio.get_running_loop()
        self.listener = socket.create_server((self.host, port), backlog=128)
        self.listener.setblocking(False)
        loop.add_reader(self.listener, self._accept, tls)
        return self

    def _accept(self, tls: ssl.SSLContext | None) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            accepted, _ = self.listener.accept()
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._connected(accepted, tls))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    async def _connected(self, accepted: socket.socket, tls: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError):  # a handshake that the other side broke off
            await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(self), accepted, ssl=tls)

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return self.listener.getsockname()[1]

    def refuse(self) -> None:
        """Stop listening; connections go on."""
        listener, self.listener = self.listener, None
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()

    def die(self) -> None:
        """Stop listening and end every connection."""
        self.refuse()
        for connection in list(self.open):
            connection.transport.abort()


class Hosts:
    """The name, what it says (`says`), its servers, and a pool that asks this name server."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits
        self.says: Sequence[str] | Exception = ()
        self.lookups = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.servers: dict[str, Server] = {}
        self.errors: list[dict] = []
        self.now = 0.0

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Answer a lookup, when the test lets it."""
        assert (host, port) == ("s3.test", self.port)
        self.lookups += 1
        await self.answering.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def serve(self, *hosts: str, tls: ssl.SSLContext | None = None) -> None:
        """Start a server on each address, and let the name say them all."""
        for host in hosts:
            self.servers[host] = Server(host).start(self.port, tls)
        self.says = list(self.servers)

    async def ask(self, seconds: float = 10) -> str:
        """Send a request; return the address that answered."""
        answer, body = await ask(self.pool, self.origin, "GET", HEAD, limit=100, seconds=seconds)
        assert answer.status == 200
        return body.decode()

    async def hold(self) -> Upstream:
        """Take a connection as a request does, and keep it."""
        return self.pool.take(self.origin) or await self.pool.connect(self.origin)

    async def later(self, seconds: float, *, used: bool = False) -> None:
        """Let so much time pass for the pool, and what it begins then come to its end; `used`: by others' requests."""
        self.now += seconds
        if used:
            self.group.used = self.now
        self.pool.sweep(self.now, 300)
        await until(lambda: not self.pool._tasks)

    @property
    def group(self) -> Group:
        """Return what the pool knows of the name."""
        return self.pool._groups[self.origin]

    def address(self, host: str) -> Address:
        """Return what the pool knows of an address."""
        return self.group.known[host]

    async def __aenter__(self) -> Hosts:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        with socket.socket() as one:
            one.bind(("0.0.0.0", 0))
            self.port = one.getsockname()[1]
        self.origin = Origin("s3.test", self.port)
        self.pool = Pool(loop, self.limits, self.resolve)
        self.now = self.pool.now
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self.pool.close()
        for server in self.servers.values():
            server.die()
        if kind is None:
            await until(lambda: not self.pool._tasks)
            await until(lambda: not any(server.open or server._accepting for server in self.servers.values()))
            for group in self.pool._groups.values():
                await until(lambda: not any(address.size for address in group.known.values()))  # noqa: B023 - awaited here
            assert self.errors == []
