"""A gateway on a loopback port, in this process: its parts are the real ones, and a client signs for it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from gateway.admin.office import Insight, Office
from gateway.admin.surface import Administration
from gateway.app import new_access_key
from gateway.backends.backend import Backend
from gateway.control import Control
from gateway.errors import S3Error
from gateway.observe import AccessLog, RequestIds
from gateway.settings.config import BackendSettings
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.case import World
from gateway.turns.desk import Desk
from gateway.turns.guest import Guest
from gateway.turns.habit import Habit
from gateway.turns.habits import Habits
from gateway.turns.policy_service import PolicyService
from gateway.turns.retold import Retold
from gateway.turns.turn import S3Turn
from gateway.wire.heads import RequestReader
from gateway.wire.plane import Plane, Times
from gateway.wire.pool import Pool, Resolve, addresses_of
from gateway.wire.steps import Ask, Send
from iam.authorize import AllOf, IamPolicies
from iam.opa import OpaAuthorizer, OpaSettings
from iam.policy import parse
from sts.assume_role import SignedCaller
from sts.readiness import Readiness
from sts.service import StsService
from tests.servers.processes import BACKEND
from tests.unit.gateway.office import KEYRING, Iam, an_iam
from tests.unit.gateway.signers import ROOT, lookup, sign

ANNS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "s3:PutObject"], "Resource": ["arn:aws:s3:::ann", "arn:aws:s3:::ann/*"]},
        {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::ann/mine/*"},
    ],
}  # fmt: skip
POLICIES = {"ann": parse(json.dumps(ANNS))}


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an error document."""
        return re.search(rb"<Code>(\w+)</Code>", self.body)[1].decode()


@dataclass
class Front:
    """A gateway on a loopback port, and its client."""

    desk: Desk
    plane: Plane
    port: int
    log: io.StringIO
    client: aiohttp.ClientSession
    sts: StsService
    office: Office

    def headers(self, method: str, target: str, headers=None, **how) -> dict[str, str]:
        return sign(method, target, headers, host=f"127.0.0.1:{self.port}", **how)

    async def call(self, method, target, headers=None, body=b"", *, unsigned=None, **how) -> Answer:
        """Make one signed request; `unsigned` headers are added after signing, or are all (`who` None)."""
        given = self.headers(method, target, headers, **how) if how.get("who", ROOT) else {}
        url = URL(f"http://127.0.0.1:{self.port}{target}", encoded=True)
        async with self.client.request(
            method, url, headers=given | (unsigned or {}), data=body or None, skip_auto_headers=["User-Agent", "Accept"]
        ) as answer:
            return Answer(answer.status, CIMultiDict(answer.headers), await answer.read())

    async def raw(self, method: str, target: str, headers: dict[str, str]):
        """Send a head and return the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
        return reader, writer

    async def lines(self) -> list[dict]:
        """Return the access log, once every request has ended."""
        await until(lambda: not self.desk.inflight)
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


class Doubting:
    """Stands before a desk: what any habit tells again is told whole too, and compared."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.differ: list[tuple[bytes, object, object]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._desk, name)

    def again(self, guest: Guest, raw: bytes) -> S3Turn | None:
        for habit in self._desk.habits.all():
            again = self._again(habit, guest, raw)
            whole = self._whole(guest, raw) if again is not None else None
            if again != whole and again == self._again(habit, guest, raw):  # in the same second
                self.differ.append((raw, again, whole))
        return self._desk.again(guest, raw)

    def _again(self, habit: Habit, guest: Guest, raw: bytes) -> object:
        """Return what a habit sends for a head, leaving no trace; None when it does not know it."""
        found = habit.again(guest, raw, int(self._desk.clock()))
        return self._traceless(Retold(self._desk, guest, found)) if found is not None else None

    def _whole(self, guest: Guest, raw: bytes) -> object:
        """Return what is sent for a head that goes the whole way, leaving no trace."""
        return self._traceless(self._desk.turn(guest, RequestReader().read(raw)))

    def _traceless(self, turn: S3Turn) -> object:
        try:
            return _sent(turn)
        except S3Error as error:
            return error
        finally:
            turn._leave()

    def must_agree(self) -> None:
        """Fail when a story that was told again was another one."""
        assert self.differ == []


def _sent(turn: S3Turn) -> object:
    """Return what a turn sends first, after what it asks somebody else."""
    step, asked = turn.begin(), b""
    if isinstance(step, Ask):
        asked, step = step.data, step.then(200, b'{"result": true}')
    return (asked, step.head, step.streams) if isinstance(step, Send) else step


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads and servers
            await asyncio.sleep(0.002)


async def serve(
    stack: contextlib.AsyncExitStack, endpoint: str, authorizer=None, who=lookup, *, settings: Mapping[str, Any] | None = None,
    times: Times | None = None, resolve: Resolve = addresses_of, iam: Iam | None = None, opa: OpaSettings | None = None,
    metrics_public: bool = True, **how,
) -> Front:  # fmt: skip
    """Start a gateway in front of a store; the stack stops it.

    `who` looks credentials up, `settings` are the backend's own, `times` the plane's, `resolve` looks the store's name up,
    `iam` is who is known and how that is changed, `opa` is asked over the plane, `metrics_public`
    whether anybody may read the metrics, `how` is the desk's.
    """
    keys, loop = SigningKeys(), asyncio.get_running_loop()
    iam = iam or await an_iam(stack)
    pool = Pool(loop, resolve=resolve)
    given = {"region": "us-east-1", "addressing": "path", "credentials": "root", **(settings or {})}
    backend = Backend(BackendSettings(endpoint, **given), BACKEND, pool, keys)
    if opa is not None:
        how["service"] = PolicyService(opa, pool)
        authorizer = OpaAuthorizer(opa, how["service"], how["service"].tally)
    world = World(who, AllOf(authorizer or IamPolicies(lambda: POLICIES)), keys)
    log = io.StringIO()
    desk = Desk(world, backend, AccessLog(as_json=True, quiet=False, out=log), RequestIds(), **how)
    desk.habits = Habits(world, after=0, hosted=bool(desk.domains))
    doubting = Doubting(desk)
    stack.callback(doubting.must_agree)
    signed = SignedCaller()
    ways = {"AssumeRole": signed, "GetSessionToken": signed}
    sts = StsService(ways, lambda: KEYRING, iam.store, POLICIES.get, time.time, new_access_key)
    insight = Insight(desk.denials, iam.identities.token_of, iam.identities.recorded, desk.tags_of)
    office = iam.office(backend.not_ready, insight=insight)
    administration = Administration(desk, world, office)
    stack.callback(administration.close)
    control = Control(desk, world, sts, administration, backend.not_ready, Readiness(ways), metrics_public, pool.gauges)
    server = control.server()
    stack.push_async_callback(server.shutdown, 0.1)
    plane = Plane(doubting, loop, times or Times(), pool, server)
    stack.push_async_callback(plane.close)
    listener = await plane.listen("127.0.0.1", 0, tls=None)
    stack.callback(listener.close)
    client = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
    return Front(desk, plane, listener.sockets[0].getsockname()[1], log, client, sts, office)


async def listen(stack: contextlib.AsyncExitStack, handle) -> int:
    """Serve a handler of aiohttp's on a free loopback port until the stack ends; return the port."""
    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1]
