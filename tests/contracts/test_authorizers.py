"""One contract, every Authorizer: IAM policies, session policies over them, and a real OPA.

Each is set up with the same wishes: root may all, reading is allowed in bucket `shared`, nothing else.
"""

import asyncio
import json

import pytest

from gateway.s3.context import RequestContext
from iam.authorize import AllOf, Authorizer, IamPolicies
from iam.model import AccessRequest, NoContext, Principal, PrincipalType
from iam.opa import OpaAuthorizer, OpaSettings
from iam.policy import parse
from tests.servers.opa import start_opa

READ = json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared/*"}]})
ALL = json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
REGO = """package httpapi.authz
default allow := false
allow if input.owner
allow if {
    input.action == "s3:GetObject"
    input.bucket == "shared"
    input.object != ""
    input.claims.sub == "alice"
}
undefined_unless_alice if input.claims.sub == "alice"
"""
READER = {"policies": ("read",), "claims": {"sub": "alice"}}
KINDS = ("iam", "all-of-iam", "opa", "all-of-opa")


@pytest.fixture(scope="module")
def opa(tmp_path_factory):
    """Run a real policy server."""
    server = start_opa({"authz.rego": REGO}, tmp_path_factory.mktemp("opa"))
    yield server
    server.close()


@pytest.fixture(params=KINDS)
async def authorizer(request):
    """Each implementation in turn."""
    if "opa" in request.param:
        url = f"{request.getfixturevalue('opa').url}/v1/data/httpapi/authz"
        inner: Authorizer = OpaAuthorizer(OpaSettings(url, timeout=10.0))
    else:
        inner = IamPolicies(lambda: {"read": parse(READ)})
    yield AllOf(inner) if request.param.startswith("all-of") else inner
    await inner.close()


def question(action="s3:GetObject", bucket="shared", key="k", kind=PrincipalType.USER, context=None, **principal):
    """Return one AccessRequest."""
    return AccessRequest(Principal(kind, "AK", **principal), action, bucket, key, context or NoContext())


async def test_it_is_ready(authorizer):
    """A working authorizer says so."""
    assert await authorizer.ready() is None


async def test_the_allowed_is_allowed(authorizer):
    """What the wishes grant goes through, for the reader and for root."""
    assert await authorizer.decide(question(**READER))
    assert await authorizer.decide(question("s3:DeleteBucket", "any", "", PrincipalType.ACCOUNT, owner=True))


@pytest.mark.parametrize(
    "denied",
    [
        question("s3:PutObject", **READER),
        question(bucket="private", **READER),
        question("s3:ListBucket", key="", **READER),
        question(),
        question(claims={"sub": "bob"}),
        question(kind=PrincipalType.ANONYMOUS),
    ],
    ids=["action", "bucket", "listing", "no policy", "stranger", "anonymous"],
)
async def test_everything_else_is_denied_with_a_reason(authorizer, denied):
    """What nobody granted is denied, and the log learns why."""
    decision = await authorizer.decide(denied)
    assert not decision
    assert decision.reason


async def test_decide_now_agrees_with_decide(authorizer):
    """An answer given at once is the answer that waiting would give."""
    for asked in (question(**READER), question("s3:PutObject", **READER), question(kind=PrincipalType.ANONYMOUS)):
        now = authorizer.decide_now(asked)
        assert now is None or bool(now) is bool(await authorizer.decide(asked))


async def test_a_broken_context_is_a_denial_and_no_error(authorizer):
    """`decide` never raises, whatever the facts of the request do."""

    class Broken(NoContext):
        def values(self, key):
            raise RuntimeError("broken")

        def document(self):
            raise RuntimeError("broken")

    guarded = json.dumps(
        {
            "Statement": {
                "Effect": "Allow",
                "Action": "*",
                "Resource": "*",
                "Condition": {"StringLike": {"s3:prefix": "*"}},
            }
        }
    )
    asked = question(context=Broken(), session_policy=guarded)
    assert not await authorizer.decide(asked)


async def test_many_questions_at_once_keep_their_answers(authorizer):
    """Fifty questions in flight do not get each other's answers."""
    asked = [question(**READER) if n % 2 else question("s3:PutObject", **READER) for n in range(50)]
    answers = await asyncio.gather(*map(authorizer.decide, asked))
    assert [bool(answer) for answer in answers] == [bool(n % 2) for n in range(50)]


@pytest.mark.parametrize("authorizer", ["all-of-iam", "all-of-opa"], indirect=True)
@pytest.mark.parametrize(
    ("session", "allowed"),
    [(ALL, True), (READ, True), (ALL.replace("Allow", "Deny"), False), ("{}", False), ("", False)],
)
async def test_trap_29_session_policies_narrow_over_any_rest(authorizer, session, allowed):
    """Over OPA as over IAM policies, a session has at most what its own policy says, root's sessions too."""
    assert bool(await authorizer.decide(question(session_policy=session, **READER))) is allowed
    assert bool(await authorizer.decide(question(session_policy=session, owner=True))) is allowed
    assert not await authorizer.decide(question("s3:PutObject", session_policy=session, **READER))


async def test_opa_reads_the_conditions_of_a_request(opa):
    """Undefined is a no, `result: true` a yes, for a real server with a real request's document."""
    inner = OpaAuthorizer(OpaSettings(f"{opa.url}/v1/data/httpapi/authz/undefined_unless_alice", timeout=10.0))
    for sub, allowed in (("alice", True), ("bob", False)):
        principal = Principal(PrincipalType.ASSUMED_ROLE, "AK", claims={"sub": sub})
        context = RequestContext({"host": "s3"}, [("sub", "alice")], principal, "127.0.0.1", secure=True, now=0)
        assert bool(await inner.decide(AccessRequest(principal, "s3:GetObject", "b", "k", context))) is allowed
    await inner.close()


async def test_a_stopped_server_denies_and_says_it_is_not_ready(tmp_path):
    """When the policy service goes away, requests are denied at once, and come back with it."""
    server = start_opa({"authz.rego": REGO}, tmp_path)
    inner = OpaAuthorizer(OpaSettings(f"{server.url}/v1/data/httpapi/authz/allow", timeout=10.0))
    try:
        assert await inner.decide(question(**READER))
        server.close()
        assert not await inner.decide(question(**READER))
        assert await inner.ready() is not None
        server = start_opa({"authz.rego": REGO}, tmp_path, port=int(server.url.rpartition(":")[2]))
        assert await inner.ready() is None
        assert await inner.decide(question(**READER))
    finally:
        server.close()
        await inner.close()


@pytest.mark.parametrize(
    "asked",
    [
        question(**READER),
        question("s3:PutObject", **READER),
        question(kind=PrincipalType.ANONYMOUS),
        question(owner=True),
    ],
)
async def test_an_explanation_is_the_decision(authorizer, asked):
    """Every implementation explains the very decision that a request gets."""
    found = await authorizer.explain(asked)
    assert found.decision == await authorizer.decide(asked)
    assert found.by in {"owner", "session policy", "policies", "policy service", "default"}
