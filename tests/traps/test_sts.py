"""STS at its sockets: every action with no signature, with S3's, by another method, with a parameter in two places (trap 48)."""

from __future__ import annotations

import contextlib
from hashlib import sha256
from urllib.parse import urlencode

import pytest

from sts.parameters import ACTIONS
from sts.proof import Proof
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.front import serve
from tests.unit.gateway.signers import ANN, ROOT
from tests.unit.sts.test_parameters import NEEDED

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Anybody:
    """A way in that proves whoever comes: what is refused here is refused before it, or although it would prove."""

    def __init__(self) -> None:
        self.asked = 0

    async def prove(self, call):
        self.asked += 1
        return Proof("custom", "custom:ann")

    async def ready(self):
        return None

    async def close(self):
        pass


@pytest.fixture
async def front():
    """A gateway whose every federated way in would prove anybody; `anybody` counts who came so far."""
    backend = RecordingBackend()
    async with contextlib.AsyncExitStack() as stack:
        found = await serve(stack, backend.endpoint)
        found.anybody = Anybody()
        for name, action in ACTIONS.items():
            if not action.signed:
                found.sts.ways[name] = found.anybody
        found.backend = backend
        yield found
    backend.close()


def parameters(action: str) -> dict[str, str]:
    return {"Action": action, "Version": "2011-06-15", **NEEDED.get(action, {})}


async def post(front, query="", form=b"", *, who=None, service="sts", method="POST", target="/"):
    """Send a call, signed by `who` when there is somebody."""
    target = f"{target}?{query}" if query else target
    if who is None:
        return await front.call(method, target, body=form, who=None, unsigned=FORM)
    return await front.call(method, target, FORM, form, who=who, service=service, payload=sha256(form).hexdigest())


@pytest.mark.parametrize("action", ACTIONS)
async def test_trap_48_without_a_signature(front, action):
    """What a signature proves is refused to who has none; what something else proves needs none."""
    answers = [
        await post(front, urlencode(parameters(action))),
        await post(front, form=urlencode(parameters(action)).encode()),
    ]
    if ACTIONS[action].signed:
        assert [(a.status, a.code) for a in answers] == [(403, "AccessDenied")] * 2
    else:
        assert [a.status for a in answers] == [200, 200]
        assert front.anybody.asked == 2


@pytest.mark.parametrize("action", ACTIONS)
async def test_trap_48_a_signature_of_s3s_is_none(front, action):
    """A signature for S3 does not open STS, nor one of STS's S3; a wrong one is refused also where none is needed."""
    form = urlencode(parameters(action)).encode()
    assert (await post(front, form=form, who=ROOT, service="s3")).status in {400, 403}
    headers = front.headers("POST", "/", FORM, who=ROOT, service="sts", payload=sha256(form + b"&").hexdigest())
    wrong = await front.call("POST", "/", body=form, who=None, unsigned=headers)
    assert (wrong.status, wrong.code) == (403, "SignatureDoesNotMatch")
    assert (await front.call("GET", "/ann/k", who=ROOT, service="sts")).status in {400, 403}
    assert front.anybody.asked == 0


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_trap_48_another_method_is_no_call(front, action, method):
    """Only POST to the root is a call; by any other method, or to another path, no way in is asked."""
    answer = await post(front, urlencode(parameters(action)), method=method)
    assert b"<Credentials>" not in answer.body
    assert answer.status != 200 or not answer.body
    elsewhere = await post(front, urlencode(parameters(action)), target="/ann")
    assert b"<Credentials>" not in elsewhere.body
    assert front.anybody.asked == 0
    assert {line["operation"] for line in await front.lines()}.isdisjoint(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
async def test_trap_48_no_parameter_is_read_twice(front, action):
    """A parameter that is in the query and in the form, be it the same, is refused before anybody is proved."""
    given = parameters(action)
    for name in given:
        query, form = urlencode({name: given[name]}), urlencode(given).encode()
        answer = await post(front, query, form, who=ANN if ACTIONS[action].signed else None)
        assert (answer.status, answer.code) == (400, "InvalidParameterValue")
        assert f"The parameter {name} was given more than once.".encode() in answer.body
    assert front.anybody.asked == 0


@pytest.mark.parametrize("action", ACTIONS)
async def test_trap_48_a_signature_in_the_query_is_no_parameter(front, action):
    """A presigned call is refused by the names of its parameters: nobody takes it for a signature, nor overlooks it."""
    presigned = {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Signature": "0" * 64}
    answer = await post(front, urlencode({**parameters(action), **presigned}))
    assert (answer.status, answer.code) == (400, "InvalidParameterValue")
    assert b"X-Amz-Algorithm" in answer.body
    assert front.anybody.asked == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data"])
async def test_trap_48_a_body_that_is_no_form_says_nothing(front, kind):
    """A body of another type is no part of a call, though it hold one."""
    form = urlencode(parameters("AssumeRoleWithCertificate")).encode()
    answer = await front.call(
        "POST", "/?Action=GetCallerIdentity", body=form, who=None, unsigned={"Content-Type": kind}
    )
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert front.anybody.asked == 0


@pytest.mark.parametrize("action", [name for name, action in ACTIONS.items() if action.signed])
async def test_trap_50_a_call_by_half_a_session(front, action):
    """A temporary key without its token, with another session's, or a token that the signature does not cover signs no call."""
    form = urlencode(parameters(action)).encode()
    for who, token in ((ANN, "of-nobody"), (ROOT, "on-permanent-keys")):
        headers = front.headers("POST", "/", FORM, who=who, service="sts", payload=sha256(form).hexdigest())
        answer = await front.call("POST", "/", body=form, who=None, unsigned=headers | {"X-Amz-Security-Token": token})
        assert answer.status in {400, 403}, answer.body
        assert b"<Credentials>" not in answer.body


async def test_trap_46_a_call_cannot_ask_for_more(front):
    """What a caller sends of expiry, parent or lifetime is an unknown parameter, and not a wish that is granted."""
    for name in ("Expiration", "exp", "parent", "MaxSessionDuration", "ParentUser"):
        query = urlencode({**parameters("AssumeRoleWithCertificate"), name: "2147483647"})
        answer = await post(front, query)
        assert (answer.status, answer.code) == (400, "InvalidParameterValue")
    assert front.anybody.asked == 0
