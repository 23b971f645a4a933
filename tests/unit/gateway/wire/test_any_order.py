"""Clients, backends, the clock and the ends of all of them, in any order: nobody gets a wrong byte, or waits for ever.

A story is a handful of clients with requests, and a backend that answers; who says, reads, ends, breaks or vanishes next, and after
how many rounds of the loop, is drawn. In the end everybody who is left behaves, and what each got is compared with what it must be.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import ssl
from dataclasses import dataclass

import pytest

from gateway.wire.group import Limits
from gateway.wire.steps import Ask, Collect, Drop, Later, Origin, Pull, Read, Say
from tests.servers.certificates import certificate
from tests.unit.gateway.wire.anybody import Client, Errand, Peer, Served, body_of
from tests.unit.gateway.wire.bench import LOOPS, OK, SECONDS, Asked, Wire
from tests.unit.gateway.wire.test_upload import Grumpy

SIZES = (0, 1, 700, 20_000, 70_000, 600_000)
WAYS = ("forward", "forward", "forward", "later", "ask", "collect", "read", "say", "drop", "pull", "verify", "verify", "slow")  # fmt: skip
STORIES = tuple(map(int, os.environ.get("STORIES", "0:20").split(":")))  # from one number to another
GOOD = {"client_says": 30, "client_looks": 25, "backend_looks": 30, "backend_tells": 30}  # and how often
BAD = {
    "client_ends": 2, "client_closes": 1, "client_vanishes": 1, "backend_ends": 1, "backend_closes": 1, "backend_vanishes": 1,
    "backend_blurts": 2, "time_passes": 2, "client_is_aborted": 0.5, "backend_is_aborted": 0.5, "drains": 0.3,
}  # fmt: skip
IDLE = b"HTTP/1.1 408 Idle\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"  # as some servers say it


class Verified(Grumpy):
    """A relay that keeps the length, and finds out in the end what a body is."""

    keeps_length = True

    def sift(self, data: memoryview) -> list[memoryview]:
        """Let it through."""
        return [data]


@dataclass
class Ends:
    """Which sides speak TLS, and with what."""

    client_tls: bool
    backend_tls: bool
    serves: ssl.SSLContext
    trust: ssl.SSLContext


class Story:
    """One story: who takes part, and what may happen."""

    def __init__(self, wire: Wire, chance: random.Random, ends: Ends) -> None:
        self.wire, self.chance, self.ends = wire, chance, ends
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        wire.origin = Origin("127.0.0.1", self.listening.getsockname()[1], ends.trust if ends.backend_tls else None)
        wire.begin = self.begin
        self.errands: dict[int, Errand] = {}
        self.clients: list[Client] = []
        self.backends: list[Served] = []
        self.evil = chance.choice((0, 0.2, 0.2, 1))

    # ---- the desk's part

    def begin(self, turn: Asked):
        """Return the first step of a turn."""
        errand = self.errands[int(turn.head.target[1:])]
        return getattr(self, f"_{errand.way}")(turn, errand)

    def _own(self, errand: Errand) -> Say:
        return Say(OK + b"X-Id: %d\r\n" % errand.number, errand.answer)

    def _forward(self, turn: Asked, errand: Errand, **how):
        return self.wire.forward(turn, **how)

    def _say(self, turn: Asked, errand: Errand):
        return self._own(errand)

    def _read(self, turn: Asked, errand: Errand):
        def then(body: bytes):
            assert body == errand.sent
            return self._own(errand)

        return Read(1 << 20, then)

    def _verify(self, turn: Asked, errand: Errand):
        relay = Verified(ends=not errand.bad) if turn.head.has_body else None
        return self.wire.forward(turn, relay=relay)

    def _slow(self, turn: Asked, errand: Errand):
        if errand.method == "HEAD":
            return self.wire.forward(turn)
        said = OK + b"X-Id: %d\r\n" % errand.number

        def then(body: bytes):
            assert body == errand.answer or errand.framing == "end"
            return Say(said, b"<>" + body)

        return self.wire.forward(turn, answered=lambda _: Collect(1 << 20, then, slow=said, prolog=b"<>"))

    def _later(self, turn: Asked, errand: Errand):
        async def work():
            for _ in range(errand.number % 7):
                await asyncio.sleep(0)
            return self.wire.forward(turn)

        return Later(work)

    def _ask(self, turn: Asked, errand: Errand):
        data = b"POST /asked HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nmay"
        return Ask(
            self.wire.origin, data, 10, 60, lambda *_: self.wire.forward(turn), lambda _: self.wire.failed("asked")
        )

    def _collect(self, turn: Asked, errand: Errand):
        def then(body: bytes):
            assert body == errand.answer or errand.framing == "end" or errand.method == "HEAD"
            return Say(OK + b"X-Id: %d\r\n" % errand.number, body)

        return self.wire.forward(turn, answered=lambda _: Collect(1 << 20, then))

    def _drop(self, turn: Asked, errand: Errand):
        return self.wire.forward(turn, answered=lambda _: Drop(lambda: self._own(errand)))

    def _pull(self, turn: Asked, errand: Errand):
        async def work(following):
            first = await following()

            async def source():
                piece = first
                while piece:
                    yield piece
                    piece = await following()

            return self.wire.forward(turn, source=source())

        return Pull(work) if errand.method in {"PUT", "POST"} else self.wire.forward(turn)

    # ---- what may happen

    def draw(self) -> None:
        """Invite the clients."""
        chance = self.chance
        for _ in range(chance.randint(1, 4)):
            errands = []
            for _ in range(chance.randint(1, 4)):
                errands.append(self._errand(len(self.errands) + 1))
                self.errands[errands[-1].number] = errands[-1]
                if errands[-1].is_last:
                    break
            raw = socket.create_connection(("127.0.0.1", self.wire.port))
            if chance.random() < 0.3:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            self.clients.append(Client(Peer(raw, self.ends.trust if self.ends.client_tls else None), errands))

    def _errand(self, number: int) -> Errand:
        chance = self.chance
        method = chance.choice(("GET", "GET", "PUT", "PUT", "POST", "HEAD"))
        has_body = method in {"PUT", "POST"}
        minor = chance.choice((1, 1, 1, 0))
        in_chunks = has_body and bool(minor) and chance.random() < 0.3
        size, way = chance.choice(SIZES), chance.choice(WAYS)
        return Errand(
            number, method, minor, body_of(number, size) if has_body else b"", in_chunks,
            spoilt=in_chunks and chance.random() < 0.2, expects=has_body and bool(size) and bool(minor) and chance.random() < 0.2,
            last=chance.random() < 0.1, way=way, answer=body_of(-number, chance.choice(SIZES)),
            framing=chance.choice(("length", "length", "chunks", "end")),
            early=has_body and way == "forward" and chance.random() < 0.15,
            bad=has_body and bool(size) and way == "verify" and chance.random() < 0.6,
        )  # fmt: skip

    def happen(self) -> None:
        """Let something happen."""
        chance = self.chance
        events = GOOD | {name: often * self.evil for name, often in BAD.items()}
        getattr(self, chance.choices(list(events), list(events.values()))[0])()

    def _accept(self) -> None:
        try:
            while True:
                raw, _ = self.listening.accept()
                serves = self.ends.serves if self.ends.backend_tls else None
                self.backends.append(Served(Peer(raw, serves, serves=True), self.errands))
        except BlockingIOError:
            pass

    def _client(self) -> Client:
        return self.chance.choice(self.clients)

    def _backend(self) -> Served | None:
        self._accept()
        here = [backend for backend in self.backends if not backend.peer.left]
        return self.chance.choice(here) if here else None

    def client_says(self) -> None:
        self._client().say(self.chance.choice((1, 40, 300, 5000, 70_000, 10**6)))

    def client_looks(self) -> None:
        self._client().peer.look()

    def client_ends(self) -> None:
        client = self._client()
        client.silent = client.peer.goodbye() or client.silent

    def client_closes(self) -> None:
        self._client().peer.close()

    def client_vanishes(self) -> None:
        self._client().peer.reset()

    def backend_looks(self) -> None:
        if backend := self._backend():
            backend.look()

    def backend_tells(self) -> None:
        if backend := self._backend():
            backend.tell(self.chance.choice((1, 40, 300, 5000, 70_000, 10**6)))

    def backend_ends(self) -> None:
        if backend := self._backend():
            backend.goodbye()

    def backend_closes(self) -> None:
        if backend := self._backend():
            backend.close()

    def backend_vanishes(self) -> None:
        if backend := self._backend():
            backend.peer.reset()

    def backend_blurts(self) -> None:
        backend = self._backend()
        if backend and backend.asked_nothing and not self.wire.pool.outbox._waiting:  # else it may be on its way
            backend.peer.say(IDLE)

    def time_passes(self) -> None:
        self.wire.later(self.chance.choice((0, 0, 1, 6, 25, 130, 310)))
        self.wire.plane._part()

    def client_is_aborted(self) -> None:
        if self.wire.plane.clients:
            next(iter(self.wire.plane.clients)).stop("drawn")

    def backend_is_aborted(self) -> None:
        if self.wire.connections:
            next(iter(self.wire.connections)).transport.raw.abort()

    def drains(self) -> None:
        self.wire.plane.drain()

    # ---- the end

    async def end_well(self) -> None:
        """From now on everybody who is left behaves."""
        while not all(client.served for client in self.clients):
            self._accept()
            for client in self.clients:
                client.say(1 << 17)
                client.peer.push()
                client.peer.look()
            for backend in self.backends:
                if not backend.peer.left:
                    backend.look()
                    backend.tell(1 << 17)
                    backend.peer.push()
                    if backend.ends and not backend.untold:
                        backend.goodbye()
            for one in list(self.wire.plane.clients):
                if one._lingers_until:  # a moment, which may be far off: the clock has been put forward
                    one.sweep(one._lingers_until + 1)
            if self.wire.plane.draining:
                self.wire.plane.drain()
            await asyncio.sleep(0.001)

    def check(self) -> None:
        """Everybody got what was owed."""
        for client in self.clients:
            client.check()
            if not self.evil:
                client.check_all()

    def close(self) -> None:
        """Everybody goes."""
        for one in (*self.clients, *self.backends):
            one.peer.close()
        self._accept()
        for one in self.backends:
            one.peer.close()
        self.listening.close()


def is_the_loops(error: dict) -> bool:
    """Return whether a loop complains of itself.

    asyncio's ends a side of a connection that has broken; uvloop's forgets whom it has told that a connection with TLS is made.
    """
    broken = getattr(error.get("exception"), "errno", 0) == errno.ENOTCONN
    return broken or error["message"] == "Future exception was never retrieved"


async def tell(seed: int, ends: Ends) -> None:
    """Tell the story of a seed."""
    chance = random.Random(seed)  # noqa: S311 - a story is told again by its number
    async with asyncio.timeout(SECONDS), Wire(Limits(connections=chance.choice((1, 2, 3)))) as wire:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, error: None if is_the_loops(error) else wire.errors.append(error)
        )
        if ends.client_tls:
            wire._server.close()
            wire._server = await wire.plane.listen("127.0.0.1", 0, tls=ends.serves)
            wire.port = wire._server.sockets[0].getsockname()[1]
        story = Story(wire, chance, ends)
        story.draw()
        try:
            for _ in range(chance.randint(20, 200)):
                story.happen()
                for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
                    await asyncio.sleep(0)
            await story.end_well()
            story.check()
        finally:
            story.close()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """Who serves with TLS, and who trusts it."""
    folder = tmp_path_factory.mktemp("any_order")
    certificate(folder)
    serves = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serves.load_cert_chain(folder / "public.crt", folder / "private.key")
    return serves, ssl.create_default_context(cafile=folder / "public.crt")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("backend_tls", [False, True], ids=["plain-backend", "tls-backend"])
@pytest.mark.parametrize("client_tls", [False, True], ids=["plain-client", "tls-client"])
@pytest.mark.parametrize("seed", range(*STORIES))
def test_any_order(seed, client_tls, backend_tls, loop, contexts):
    """Whatever happens in whatever order: every byte is its own request's, what broke off does not look whole, nobody is left waiting."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(tell(seed, Ends(client_tls, backend_tls, *contexts)))
