"""scrapers: whose bearer tokens read the metrics, and whose do not."""

from __future__ import annotations

import json

import pytest

from gateway.admin.scrapers import ACTION, LONGEST, admit
from gateway.errors import AccessDenied
from iam.model import AccessRequest, Allow, Deny, Secret
from tests.unit.gateway.admin.bearers import token
from tests.unit.gateway.admin.conftest import SECRET
from tests.unit.gateway.signers import ANN, ROOT, read
from tests.unit.gateway.storied import world

PATH = "/minio/v2/metrics/cluster"
ROOTS = token(ROOT.access_key_id, ROOT.secret.reveal())


async def look(gateway, bearer: str, scheme: str = "Bearer"):
    """Return what a scraper is answered."""
    return await gateway.front.call("GET", PATH, unsigned={"Authorization": f"{scheme} {bearer}"}, who=None)


async def test_who_may_reads(gateway):
    """Root, a user whose policy allows it, and a service account of his."""
    seer = await gateway.user("seer", ACTION)
    made = await gateway.call(
        "PUT", "/add-service-account", {"accessKey": "seers-account", "secretKey": "another-secret"}, who=seer
    )
    assert made.status == 200
    for name, secret in (
        (ROOT.access_key_id, ROOT.secret.reveal()),
        ("seer", SECRET + "seer"),
        ("seers-account", "another-secret"),
    ):
        answer = await look(gateway, token(name, secret))
        assert (answer.status, b"minio_gw_requests_total" in answer.body) == (200, True)
    assert b"\nminio_gw_requests_in_flight 0\n" in answer.body
    assert {line["operation"] for line in await gateway.lines()} == {
        "admin:CreateServiceAccount"
    }  # a look leaves no line
    assert (await look(gateway, ROOTS, "bearer")).status == 200  # RFC 9110 section 11.1: schemes have no case


async def test_who_may_not_is_refused(gateway):
    """A user without the right, or with a policy that denies it; the log names him and the action."""
    await gateway.user("other", "s3:GetObject")
    await gateway.user("denied", "admin:*", deny=ACTION)
    for name in ("other", "denied"):
        answer = await look(gateway, token(name, SECRET + name))
        assert (answer.status, answer.code, b"minio_gw_" in answer.body) == (403, "AccessDenied", False)
    lines = (await gateway.lines())[-2:]
    assert {(line["operation"], line["error"], line["path"]) for line in lines} == {(ACTION, "AccessDenied", PATH)}
    assert [line["access_key_id"] for line in lines] == ["other", "denied"]


async def test_a_token_ends_with_its_bearer_and_with_his_secret(gateway):
    """The next look after a user is disabled, has another secret, or is gone, is refused."""
    await gateway.user("seer", ACTION)
    bearer = token("seer", SECRET + "seer")
    for change, back in (
        (lambda: gateway.iam.changes.put_user("seer", enabled=False), lambda: gateway.iam.changes.put_user("seer", enabled=True)),
        (lambda: gateway.iam.changes.put_user("seer", secret=Secret("quite-another")), lambda: gateway.iam.changes.put_user("seer", secret=Secret(SECRET + "seer"))),
        (lambda: gateway.iam.changes.remove_user("seer"), None),
    ):  # fmt: skip
        assert (await look(gateway, bearer)).status == 200
        await change()
        assert (await look(gateway, bearer)).status == 403
        if back:
            await back()


def unsigned() -> str:
    """Return root's token without a signature, as an algorithm `none` would have it."""
    return token(ROOT.access_key_id, "", header={"alg": "none"}, digest="")


SECRETS = ROOT.secret.reveal()
NONE_GOOD = {
    "another secret": token(ROOT.access_key_id, "another"),
    "no secret": token(ROOT.access_key_id, ""),
    "no signature": unsigned(),
    "algorithm none, signed": token(ROOT.access_key_id, SECRETS, header={"alg": "none"}),
    "a weaker algorithm": token(ROOT.access_key_id, SECRETS, header={"alg": "HS256"}, digest="sha256"),
    "a signature of another algorithm": token(ROOT.access_key_id, SECRETS, digest="sha256"),
    "expired": token(ROOT.access_key_id, SECRETS, exp=1_000_000_000),
    "without an end": token(ROOT.access_key_id, SECRETS, exp=None),
    "an end that is none": token(ROOT.access_key_id, SECRETS, exp="soon"),
    "for later": token(ROOT.access_key_id, SECRETS, nbf=4_900_000_000),
    "of another issuer": token(ROOT.access_key_id, SECRETS, iss="minio"),
    "of no issuer": token(ROOT.access_key_id, SECRETS, iss=None),
    "for an audience": token(ROOT.access_key_id, SECRETS, aud="somebody"),
    "of nobody": token(None, SECRETS),
    "of an unknown": token("unknown", SECRETS),
    "of a number": token(7, SECRETS),
    "of a list": token([ROOT.access_key_id], SECRETS),
    "of a session": token(ANN.access_key_id, ANN.secret.reveal()),
    "critical": token(ROOT.access_key_id, SECRETS, header={"crit": ["x"], "x": 1}),
    "garbage": "a.b.c",
    "deep": "W1tb" * 900 + ".e30.e30",
    "empty": "",
    "too long": token(ROOT.access_key_id, SECRETS, more="x" * LONGEST),
    "two": f"{ROOTS} {ROOTS}",
}


@pytest.mark.parametrize("name", NONE_GOOD)
async def test_every_other_token_is_refused_in_the_same_words(gateway, name):
    """The answer is the same for each; the reason, for the log only, tells the kind of trouble and nothing of the token."""
    answer = await look(gateway, NONE_GOOD[name])
    assert (answer.status, answer.code) == (403, "AccessDenied")
    (line,) = await gateway.lines()
    assert line["reason"].startswith("metrics: ")
    for part in NONE_GOOD[name].split("."):
        assert len(part) < 3 or part not in json.dumps(line)


@pytest.mark.parametrize("scheme", ["Basic", "Bearer:", "", "AWS4-HMAC-SHA256"])
async def test_another_scheme_is_refused(gateway, scheme):
    """Only a bearer token reads; a signature of S3 does not."""
    assert (await look(gateway, ROOTS, scheme)).status == 403
    assert (await gateway.front.call("GET", PATH, who=ROOT)).status == 403


class Elsewhere:
    """An authorizer that answers later."""

    def __init__(self, may: bool) -> None:
        self.may, self.asked = may, []

    def decide_now(self, request: AccessRequest):
        return None

    async def decide(self, request: AccessRequest):
        self.asked.append(request)
        return Allow() if self.may else Deny("no")


async def test_a_policy_service_is_asked_as_for_all_of_administration():
    """The question is about no bucket; its facts do not show the token."""
    request = read("GET", PATH, {"authorization": f"Bearer {ROOTS}"})
    may, no = Elsewhere(True), Elsewhere(False)
    assert (await admit(request, world(may), now=0)).owner
    (asked,) = may.asked
    assert (asked.action, asked.bucket, asked.key) == (ACTION, "", "")
    assert ROOTS not in json.dumps(asked.context.document())
    with pytest.raises(AccessDenied) as refused:
        await admit(request, world(no), now=0)
    assert refused.value.reason == "no"
