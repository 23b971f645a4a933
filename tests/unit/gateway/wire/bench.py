"""A real plane between real sockets: the test is the client, the backend and the desk. On asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from gateway.wire.group import Limits
from gateway.wire.plane import Plane, Times
from gateway.wire.pool import Pool
from gateway.wire.steps import Later, Origin, Pass, Say, Send, Traffic

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
OK = b"HTTP/1.1 200 OK\r\n"
SECONDS = 20  # a story that takes longer hangs
KERNEL = 1 << 18  # bytes asked of a socket's kernel buffer: left alone it grows until it holds whole bodies


def story(told: Callable[[Wire], Awaitable[None]], limits: Limits | None = None):
    """Make a test of a story: it is run on both loops, and may leave no connection, task or logged exception behind."""

    @pytest.mark.parametrize("loop", LOOPS)
    def test(loop: str) -> None:
        async def run() -> None:
            async with asyncio.timeout(SECONDS), Wire(limits) as wire:
                await told(wire)

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(run())

    test.__doc__ = told.__doc__
    test.__name__ = told.__name__
    return test


def narrow(*sockets: socket.socket | asyncio.trsock.TransportSocket) -> None:
    """Bound what the kernel takes for these sockets, and for those that they accept: what waits must wait in this process."""
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what other sockets bring about."""
    while not condition():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.002)


@contextlib.contextmanager
def no_descriptors():
    """Let this process open nothing more for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(fd.name) for fd in Path("/proc/self/fd").iterdir())
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)


def held(go: asyncio.Event, step) -> Later:
    """Return the step that waits for the story's word, and then is another one."""

    async def wait():
        await go.wait()
        return step

    return Later(wait)


class End:
    """One end of a connection, as a test uses it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, data: bytes) -> None:
        """Send."""
        self.writer.write(data)

    async def head(self) -> bytes:
        """Return the next head."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def read(self, count: int) -> bytes:
        """Return so many bytes."""
        return await self.reader.readexactly(count)

    async def sha256(self, count: int) -> str:
        """Return the digest of the next so many bytes."""
        digest = hashlib.sha256()
        while count:
            data = await self.reader.read(min(count, 1 << 20))
            assert data, f"{count} bytes did not come"
            digest.update(data)
            count -= len(data)
        return digest.hexdigest()

    async def rest(self) -> bytes:
        """Return what comes until the other end closes. Raises ConnectionError when it breaks."""
        return await self.reader.read()

    async def cut(self) -> None:
        """Return once the connection is gone, however."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()

    def close(self) -> None:
        """Close."""
        self.writer.close()

    def reset(self) -> None:
        """Vanish: the other end sees an error."""
        raw = self.writer.get_extra_info("socket")
        if not self.writer.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Asked:
    """A turn: its steps are the story's."""

    def __init__(self, wire: Wire, head) -> None:
        self.wire, self.head, self.traffic = wire, head, Traffic()
        self.refused: list[BaseException] = []
        self.handed = False
        self.finished = 0

    def begin(self):
        """Return the story's first step."""
        return self.wire.begin(self)

    def refuse(self, error: BaseException):
        """Name the error."""
        self.refused.append(error)
        return Say(b"HTTP/1.1 400 Bad Request\r\n", type(error).__name__.encode())

    def finish(self) -> None:
        """Count."""
        self.finished += 1


class Wire:
    """A plane and a backend. `begin` says what a turn's first step is; the others are given by it."""

    narrowed = False

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits
        self.begin: Callable[[Asked], object] = self.forward
        self.turns: list[Asked] = []
        self.control: Callable[[], asyncio.Protocol] = asyncio.Protocol
        self.errors: list[dict] = []
        self._accepted: asyncio.Queue[End] = asyncio.Queue()
        self._ends: list[End] = []

    # ---- as Desk

    def meet(self, peer: str, *, secure: bool) -> str:
        """Remember the peer."""
        return peer

    def again(self, guest: str, raw: bytes) -> None:
        """Know no head."""

    def turn(self, guest: str, head) -> Asked:
        """Return a turn whose steps are the story's."""
        self.turns.append(Asked(self, head))
        return self.turns[-1]

    def malformed(self, reason: str, peer: str, *, too_large: bool) -> Say:
        """Refuse."""
        return Say(
            b"HTTP/1.1 431 Large\r\n" if too_large else b"HTTP/1.1 400 Malformed\r\n", reason.encode(), close=True
        )

    def late(self, peer: str) -> Say:
        """Refuse."""
        return Say(b"HTTP/1.1 408 Late\r\n", b"", close=True)

    def crowded(self, peer: str) -> Say:
        """Refuse."""
        return Say(b"HTTP/1.1 503 Crowded\r\n", b"", close=True)

    # ---- steps

    def forward(self, turn: Asked, **how) -> Send:
        """Send the request on as it is, with its framing, and pass what is answered."""
        head, framing = turn.head, ""
        if head.chunked or how.get("chunked"):
            framing, how["chunked"] = "Transfer-Encoding: chunked\r\n", True
        elif head.length is not None:
            framing = f"Content-Length: {head.length}\r\n"
        asked = f"{head.method} {head.target} HTTP/1.1\r\nHost: b\r\n{framing}\r\n".encode()
        how = {"streams": "source" not in how, "answered": self.passed, "failed": self.failed, **how}
        return Send(self.origin, head.method, asked, **how)

    @staticmethod
    def passed(head) -> Pass:
        """Pass an answer with its status and its X- fields."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in head.fields if name.startswith("X-"))
        return Pass(f"HTTP/1.1 {head.status} Answer\r\n{fields}".encode())

    @staticmethod
    def failed(reason: str) -> Say:
        """Say that the backend is not there."""
        return Say(b"HTTP/1.1 503 Away\r\n", reason.encode())

    # ---- the sockets

    def narrow(self) -> None:
        """Bound what the kernel takes of each connection that is made from now on."""
        self.narrowed = True
        narrow(*self._backend.sockets, *self._server.sockets)

    async def client(self, data: bytes = b"", buffer: int = 0) -> End:
        """Connect as a client, and send; `buffer` bytes of what it does not read fit in its kernel."""
        raw = socket.socket()
        if self.narrowed:
            narrow(raw)
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        end = End(*await asyncio.open_connection(sock=raw, limit=buffer or 1 << 16))
        self._ends.append(end)
        end.say(data)
        return end

    async def backend(self) -> End:
        """Return the next connection that the plane makes to the backend."""
        return await self._accepted.get()

    async def kept(self, target: bytes = b"/first") -> tuple[End, End]:
        """Return a client and a backend connection that have had a request each, and are kept."""
        client = await self.client(b"GET %b HTTP/1.1\r\n\r\n" % target)
        backend = await self.backend()
        await backend.head()
        backend.say(OK + b"Content-Length: 2\r\n\r\nok")
        await client.head()
        assert await client.read(2) == b"ok"
        return client, backend

    async def half_answered(self) -> tuple[End, End]:
        """Return a client of HTTP/1.0 in the middle of an answer that only its end ends, and the backend that gives it."""
        client = await self.client(b"GET /o HTTP/1.0\r\n\r\n")
        backend = await self.backend()
        await backend.head()
        backend.say(OK + b"\r\nhalf")
        await client.head()
        assert await client.read(4) == b"half"
        return client, backend

    async def exchange(self):
        """Return the request that is being answered."""
        await until(lambda: any(client.exchange for client in self.plane.clients))
        return next(client.exchange for client in self.plane.clients if client.exchange)

    @property
    def connections(self) -> set:
        """Return the open connections to the backend."""
        return {upstream for address in self._addresses for upstream in address.open}

    @property
    def idle(self) -> list:
        """Return those that wait for a request."""
        return [upstream for address in self._addresses for upstream in address.idle]

    @property
    def _addresses(self) -> list:
        group = self.pool._groups.get(self.origin)
        return list(group.known.values()) if group is not None else []

    def later(self, seconds: float) -> None:
        """Let so much time pass for the plane, now."""
        loop = asyncio.get_running_loop()
        self.plane.pool.sweep(loop.time() + seconds, self.plane.times.backend)
        for client in list(self.plane.clients):
            client.sweep(loop.time() + seconds)

    def _control(self) -> asyncio.Protocol:
        return self.control()

    async def __aenter__(self) -> Wire:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._ends.append(End(reader, writer))
            self._accepted.put_nowait(self._ends[-1])

        self._backend = await asyncio.start_server(accepted, "127.0.0.1", 0)
        self.origin = Origin("127.0.0.1", self._backend.sockets[0].getsockname()[1])
        self.pool = Pool(loop, self.limits)
        self.plane = Plane(self, loop, Times(), self.pool, self._control)
        self._server = await self.plane.listen("127.0.0.1", 0, tls=None)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._server.close()
        for end in self._ends:
            end.reset()
        if kind is None:  # every socket must be let go without the plane's being told to close
            for client in list(self.plane.clients):
                client.resume()
            await until(lambda: not self.plane.clients and not self.connections and not self.idle)
            await until(lambda: not self.plane._tasks)
            assert not self.plane.busy
            assert all(turn.finished == (not turn.handed) for turn in self.turns)  # each is logged once
        await self.plane.close()
        self._backend.close()
        if kind is None:
            assert not self.errors, self.errors
