"""A desk without a network: heads go in, what would be sent to the store comes out, told whole or told again."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

from gateway.backends.backend import Backend
from gateway.errors import S3Error
from gateway.observe import AccessLog, RequestIds
from gateway.settings.config import BackendSettings
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.case import World
from gateway.turns.desk import Desk
from gateway.turns.habits import Habits
from gateway.turns.policy_service import PolicyService
from gateway.turns.turn import S3Turn
from gateway.wire.heads import BadHead, RequestReader
from gateway.wire.pool import Pool
from gateway.wire.steps import Ask, Send, Step
from iam.authorize import AllOf, IamPolicies
from iam.opa import OpaAuthorizer, OpaSettings
from iam.policy import parse
from tests.servers.processes import BACKEND
from tests.unit.gateway.signers import ANN, HOST, lookup, presigned_target, sign

MAY = {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::ann", "arn:aws:s3:::ann/*"]}
PEER = "192.0.2.7"


def policies(*statements) -> dict[str, object]:
    """Return ann's policy of these statements."""
    return {"ann": parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))}


def make(
    known=None,
    who=lookup,
    *,
    settings: Mapping[str, object] | None = None,
    opa: OpaSettings | None = None,
    amazon: bool = False,
    **how,
) -> Desk:
    """Return a desk that learns from the first story. `known` returns the policies, or `opa` is asked; `amazon`: of the store."""
    keys = SigningKeys()
    pool = Pool(SimpleNamespace(time=time.monotonic))  # nothing is sent
    given = {"region": "us-east-1", "addressing": "path", "credentials": "root", **(settings or {})}
    backend = Backend(BackendSettings("http://127.0.0.1:1", **given), BACKEND, pool, keys)
    at_first = policies(MAY)
    service = PolicyService(opa, pool) if opa else None
    authorizer = OpaAuthorizer(opa, service) if opa else IamPolicies(known or (lambda: at_first))
    world = World(who, AllOf(authorizer), keys, raw_headers=opa is not None and opa.raw_headers, amazon=amazon)
    desk = Desk(
        world, backend, AccessLog(as_json=False, quiet=False, out=io.StringIO()), RequestIds(), service=service, **how
    )
    desk.habits = Habits(world, after=0, hosted=bool(desk.domains))
    return desk


def head(
    method: str, target: str, headers: Mapping[str, str] | None = None, *, unsigned=None, who=ANN, sent: str = "", **how
) -> bytes:
    """Return a signed head, as a client sends it; `sent` is another spelling of its target."""
    return _written(method, sent or target, sign(method, target, headers, who=who, **how) | dict(unsigned or {}))


def url(method: str, target: str, headers: Mapping[str, str] | None = None, *, unsigned=None, who=ANN, **how) -> bytes:
    """Return the head of a request for a URL that botocore presigned."""
    found = presigned_target(method, target, headers, who=who, **how)
    return _written(method, found, {"Host": HOST, **(headers or {}), **(unsigned or {})})


def _written(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()


def yes(step: Ask) -> Step:
    """Return the step after a yes."""
    return step.then(200, b'{"result": true}')


def guest(desk: Desk, *, secure: bool = False):
    """Return a new connection."""
    return desk.meet(PEER, secure=secure)


def whole(desk: Desk, raw: bytes, who=None):
    """Return what is sent when a head goes the whole way, or the name of the error that it is."""
    try:
        turn = desk.turn(who or guest(desk), RequestReader().read(raw))
    except BadHead:
        return "BadHead"
    return first_of(turn)


def first_of(turn: S3Turn, decided: Callable[[Ask], Step] = yes):
    """Return what a turn sends, behind what it asks first."""
    asked = ()
    try:
        step = turn.begin()
        if isinstance(step, Ask):
            asked, step = (step.data,), decided(step)
    except S3Error as error:
        return (*asked, error.code) if asked else error.code
    finally:
        turn.finish()
    return (
        (*asked, step.head, step.streams, step.chunked, type(step.relay))
        if isinstance(step, Send)
        else type(step).__name__
    )


def again(desk: Desk, raw: bytes, who):
    """Return what is sent when a head is known, None when it is not."""
    turn = desk.again(who, raw)
    if turn is None:
        return None
    return first_of(turn)


def must_agree(desk: Desk, heads) -> None:
    """Hold that heads of one client are told again only as they are told whole; the first is learnt from."""
    must_agree_on(desk, [head(method, target, values, payload=payload) for method, target, values, payload in heads])


def must_agree_on(desk: Desk, raws: Sequence[bytes]) -> None:
    """Hold it of these heads."""
    who = guest(desk)
    whole(desk, raws[0], who)
    for raw in raws:
        expected, found = both(desk, raw, who)
        assert found in (None, expected)


def both(desk: Desk, raw: bytes, who):
    """Return what is sent both ways, within one second of the clock; told again first, so that it is learnt from others."""
    while True:
        second = int(desk.clock())
        found, expected = again(desk, raw, who), whole(desk, raw, who)
        if int(desk.clock()) == second:
            return expected, found
