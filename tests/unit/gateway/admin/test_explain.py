"""Why: the same answer as the request gets, with its reasons; to operators only."""

from __future__ import annotations

import base64
import contextlib
import json
from itertools import product

import pytest

from iam.authorize import IamPolicies
from iam.model import Secret
from iam.opa import OpaAuthorizer, OpaSettings
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.admin.conftest import Administrated, key
from tests.unit.gateway.front import serve
from tests.unit.gateway.office import an_iam
from tests.unit.gateway.signers import ROOT

TAGS = b"<Tagging><TagSet><Tag><Key>team</Key><Value>red</Value></Tag></TagSet></Tagging>"
POLICIES = {
    "get-photos": [{"Sid": "Get", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*"}],
    "from-here": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}}],
    "not-secret": [{"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::*/secret/*"}],
    "home": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/${aws:username}/*"}],
    "listing": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::photos", "Condition": {"StringLike": {"s3:prefix": "a/*"}}}],
    "red": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Condition": {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}}],
}  # fmt: skip
#: What clients send, and the question that it is.
REQUESTS = [
    ("GET", "/photos/cat", "s3:GetObject", "photos/cat", {}),
    ("GET", "/photos/secret/cat", "s3:GetObject", "photos/secret/cat", {}),
    ("GET", "/photos/ann/cat", "s3:GetObject", "photos/ann/cat", {}),
    ("PUT", "/photos/ann/cat", "s3:PutObject", "photos/ann/cat", {}),
    ("DELETE", "/other/cat", "s3:DeleteObject", "other/cat", {}),
    ("GET", "/photos?list-type=2&prefix=a%2Fb", "s3:ListBucket", "photos", {"s3:prefix": "a/b"}),
    ("GET", "/photos?list-type=2&prefix=b", "s3:ListBucket", "photos", {"s3:prefix": "b"}),
]


def tagged(request) -> bytes:
    """Answer as a store whose every object is red."""
    body = TAGS if "?tagging" in request.line else b""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@contextlib.asynccontextmanager
async def administrated(authorizer=None, answer=tagged):
    """Return a gateway whose store answers; `authorizer` makes the one that decides of the policies."""
    backend = RecordingBackend(answer)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(backend.close)
        iam = await an_iam(stack)
        chosen = (authorizer or (lambda iam: IamPolicies(iam.policies)))(iam)
        stack.push_async_callback(chosen.close)
        front = await serve(stack, backend.endpoint, chosen, iam.lookup, iam=iam)
        for name, statements in POLICIES.items():
            await iam.changes.put_policy(name, json.dumps({"Version": "2012-10-17", "Statement": statements}))
        yield Administrated(front, iam)


@pytest.fixture
async def gateway():
    """A gateway with policies that nobody has yet."""
    async with administrated() as one:
        yield one


async def explained(gateway, who: str, action: str, resource: str, **context):
    """Return what an operator is told."""
    asked = {"as": who, "action": action, "resource": resource, "context": {"aws:SourceIp": "127.0.0.1", **context}}
    told = await gateway.ours("POST", "/explain", asked)
    assert told.status == 200
    return told.document


async def allowed(gateway, who, method: str, target: str) -> bool:
    """Return whether a request is let through."""
    answer = await gateway.front.call(method, target, who=who)
    assert answer.status in {200, 204, 403}
    return answer.status != 403


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("get-photos",),
        ("from-here", "not-secret"),
        ("home", "listing"),
        ("red",),
        ("readonly", "not-secret"),
        ("none",),
    ],
)
async def test_the_explanation_is_the_answer(gateway, names):
    """For a user, its service account, its session and a narrowed one: each request is let through where explain says so, and no other."""
    await gateway.iam.changes.put_user("ann", secret=key("ann").secret)
    if names and names != ("none",):
        await gateway.iam.changes.attach("ann", names)
    narrowing = json.dumps({"Version": "2012-10-17", "Statement": POLICIES["get-photos"]})
    await gateway.iam.changes.create_account("ann", access_key_id="acc", secret=key("acc").secret, policy=narrowing)
    session = await gateway.iam.session("ann", key="SESSION")
    narrow = await gateway.iam.session("ann", key="NARROW", sessionPolicy=_encoded(narrowing))
    for who, (method, target, action, resource, context) in product(
        (key("ann"), key("acc"), session, narrow), REQUESTS
    ):
        happened = await allowed(gateway, who, method, target)
        told = await explained(gateway, who.access_key_id, action, resource, **context)
        assert told["allowed"] == happened, (who.access_key_id, target, told["words"])
        assert told["reason"]
        assert told["notes"] == []


#: What a store that takes keys for paths reads as something else.
ODD = [
    ("GET", "/photos//secret/cat", "s3:GetObject", "photos//secret/cat", {}),
    ("GET", "/photos/ann%5C%5Ccat", "s3:GetObject", "photos/ann\\\\cat", {}),
    ("GET", "/photos/a.versions/v_1", "s3:GetObject", "photos/a.versions/v_1", {}),
    ("GET", "/photos/.uploads/1/part", "s3:GetObject", "photos/.uploads/1/part", {}),
    ("GET", "/photos?list-type=2&prefix=%2Fa%2Fb", "s3:ListBucket", "photos", {"s3:prefix": "/a/b"}),
    ("GET", "/photos?list-type=2&prefix=a%2F%2Fb", "s3:ListBucket", "photos", {"s3:prefix": "a//b"}),
]


@pytest.mark.parametrize(
    "names", [(), ("get-photos",), ("from-here", "not-secret"), ("home", "listing"), ("readonly",)]
)
async def test_trap_17_what_a_store_may_read_otherwise_is_explained_as_it_is_decided(gateway, names):
    """The explanation is about the reading that is refused, and says that there are several."""
    await gateway.iam.changes.put_user("ann", secret=key("ann").secret)
    if names:
        await gateway.iam.changes.attach("ann", names)
    for method, target, action, resource, context in ODD:
        happened = await allowed(gateway, key("ann"), method, target)
        told = await explained(gateway, "ann", action, resource, **context)
        assert told["allowed"] == happened, (target, told["words"])
        if ".uploads" in target:
            assert (told["decidedBy"], told["notes"]) == ("what the store reads", [])
        else:
            assert "may read this as something else" in told["notes"][0]
    assert not (await explained(gateway, "ann", "s3:GetObject", "photos/../x"))["allowed"]


def _encoded(policy: str) -> str:
    return base64.b64encode(policy.encode()).decode()


async def test_who_why_and_which_statement(gateway):
    """The caller, every policy with where it comes from, and what kept each statement from applying."""
    await gateway.user("ann")
    await gateway.iam.changes.add_members("staff", ["ann"])
    await gateway.iam.changes.attach("ann", ["get-photos"])
    await gateway.iam.changes.attach("staff", ["not-secret"], group=True)
    told = await explained(gateway, "ann", "s3:GetObject", "photos/secret/x")
    assert (told["allowed"], told["decidedBy"]) == (False, "policies")
    assert told["reason"] == "not-secret/statement 0 denies s3:GetObject on arn:aws:s3:::photos/secret/x"
    assert [(p["name"], p["from"]) for p in told["caller"]["policies"]] == [
        ("get-photos", ["attached to ann"]), ("not-secret", ["attached to the group staff"]),
    ]  # fmt: skip
    assert [(s["statement"], s["effect"], s["applied"]) for s in told["policies"]["statements"]] == [
        ("Get", "Allow", True), ("statement 0", "Deny", True),
    ]  # fmt: skip
    assert told["words"].splitlines()[:2] == [
        "s3:GetObject on arn:aws:s3:::photos/secret/x", f"DENIED by policies: {told['reason']}",
    ]  # fmt: skip


@pytest.mark.parametrize("who", ["gone", "off", "ended"])
async def test_who_is_not_let_in(gateway, who):
    """A key that is unknown, disabled or revoked has no rights to look at: that is the reason."""
    await gateway.user("off")
    await gateway.iam.changes.put_user("off", enabled=False)
    await gateway.user("ann")
    ended = await gateway.iam.session("ann", key="ENDED")
    await gateway.iam.changes.revoke_session(ended.access_key_id)
    told = await explained(gateway, ended.access_key_id if who == "ended" else who, "s3:GetObject", "photos/x")
    assert (told["allowed"], told["decidedBy"], told["policies"]) == (False, "authentication", None)
    assert told["reason"].startswith("InvalidAccessKeyId: ")


async def test_root_and_nobody(gateway):
    """Root may all because it is root; without credentials nothing is allowed but by policies that are for that."""
    root = await explained(gateway, ROOT.access_key_id, "s3:DeleteBucket", "photos")
    assert (root["allowed"], root["decidedBy"], root["caller"]["owner"]) == (True, "owner", True)
    nobody = await gateway.ours(
        "POST", "/explain", {"anonymous": True, "action": "s3:GetObject", "resource": "photos/x"}
    )
    assert (nobody.document["allowed"], nobody.document["decidedBy"]) == (False, "default")


async def test_a_session_that_was_not_seen(gateway):
    """What is only in its token is not known before the session is used; that is said, and then it is known."""
    await gateway.user("ann")
    await gateway.iam.changes.attach("ann", ["readonly"])
    narrowing = json.dumps({"Version": "2012-10-17", "Statement": POLICIES["get-photos"]})
    narrow = await gateway.iam.session("ann", key="NARROW", sessionPolicy=_encoded(narrowing))
    before = await explained(gateway, narrow.access_key_id, "s3:GetObject", "other/x")
    assert before["allowed"]
    assert "only its record" in before["notes"][0]
    assert before["notes"][0] in before["words"]
    assert not await allowed(gateway, narrow, "GET", "/other/x")
    after = await explained(gateway, narrow.access_key_id, "s3:GetObject", "other/x")
    assert (after["allowed"], after["decidedBy"], after["notes"]) == (False, "session policy", [])
    assert not after["sessionPolicy"]["allowed"]
    assert after["policies"]["allowed"]


async def test_tags_are_read_where_a_policy_asks(gateway):
    """As for a request; those that are given are not read; those that cannot be had are a denial."""
    await gateway.user("ann")
    await gateway.iam.changes.attach("ann", ["red"])
    assert (await explained(gateway, "ann", "s3:GetObject", "photos/x"))["allowed"]
    given = await explained(gateway, "ann", "s3:GetObject", "photos/x", **{"s3:ExistingObjectTag/team": "blue"})
    assert not given["allowed"]
    async with administrated(answer=b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as lost:
        await lost.user("ann")
        await lost.iam.changes.attach("ann", ["red"])
        told = await explained(lost, "ann", "s3:GetObject", "photos/x")
    assert (told["allowed"], told["reason"]) == (False, "the object's tags could not be read")


async def test_a_refused_request_is_explained(gateway):
    """By its id: as it was refused then, and what the policies of now say; the client was told neither."""
    who = await gateway.user("ann")
    refused = await gateway.front.call("GET", "/photos?list-type=2&prefix=a%2Fb", who=who)
    request_id = refused.headers["x-amz-request-id"]
    assert refused.code == "AccessDenied"
    assert b"policies" not in refused.body
    told = (await gateway.ours("GET", "/explain", request_id=request_id)).document
    assert told["decided"]["reason"] == "none of the principal's policies exists: (none named)"
    assert (told["decided"]["accessKey"], told["decided"]["operation"], told["decided"]["status"]) == (
        "ann",
        "ListObjectsV2",
        403,
    )
    assert (told["allowed"], told["request"]["action"], told["request"]["facts"]["s3:prefix"]) == (
        False,
        "s3:ListBucket",
        ["a/b"],
    )
    assert any("is of now" in note for note in told["notes"])
    assert f"refused then: AccessDenied: {told['decided']['reason']}" in told["words"]


async def test_policies_of_now_decide_again(gateway):
    """A policy that was changed since gives another answer, beside the old one."""
    who = await gateway.user("ann")
    await gateway.iam.changes.attach("ann", ["listing"])
    refused = await gateway.front.call("GET", "/photos?list-type=2&prefix=b", who=who)
    everything = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    await gateway.iam.changes.put_policy("listing", json.dumps({"Version": "2012-10-17", "Statement": everything}))
    told = (await gateway.ours("GET", "/explain", request_id=refused.headers["x-amz-request-id"])).document
    assert told["allowed"]
    assert "no statement allows" in told["decided"]["reason"]


async def test_other_refusals_are_told_too(gateway):
    """A wrong signature, or an administration call: the log's reason by its id; what was not refused is not found."""
    who = await gateway.user("ann")
    wrong = await gateway.front.call("GET", "/photos/x", who=type(who)("ann", Secret("another-secret")))
    told = (await gateway.ours("GET", "/explain", request_id=wrong.headers["x-amz-request-id"])).document
    assert (told["decidedBy"], told["decided"]["error"]) == ("no policy", "SignatureDoesNotMatch")
    denied = await gateway.call("GET", "/list-users", who=who)
    told = (await gateway.ours("GET", "/explain", request_id=denied.document["RequestId"])).document
    assert (told["request"]["action"], told["allowed"]) == ("admin:ListUsers", False)
    for unknown in ("18EC5C26A2094C50", "", "x" * 100):
        assert (await gateway.ours("GET", "/explain", request_id=unknown)).code == "XMinioAdminNoSuchRequest"


async def test_only_who_may(gateway):
    """Explaining takes its own action, of oneself as well; a user of the console has it, another has not."""
    who, operator = await gateway.user("ann", "s3:*"), await gateway.user("ops", "admin:Explain")
    asked = {"as": "ann", "action": "s3:GetObject", "resource": "photos/x"}
    assert (await gateway.ours("POST", "/explain", asked, who)).code == "AccessDenied"
    assert (await gateway.ours("GET", "/explain", None, who, request_id="1")).code == "AccessDenied"
    assert (await gateway.ours("POST", "/explain", asked, operator)).document["allowed"]
    lines = [line for line in await gateway.lines() if line["operation"] == "admin:Explain"]
    assert [(line["access_key_id"], line["status"]) for line in lines] == [("ann", 403), ("ann", 403), ("ops", 200)]
    assert lines[2]["about"] == "as=ann,action=s3:GetObject,resource=photos/x"


@pytest.mark.parametrize(
    "asked",
    [{}, {"action": "s3:GetObject"}, {"as": "ann", "anonymous": True, "action": "s3:GetObject"}, {"as": "ann", "action": "s3:*"},
     {"as": "ann", "action": "s3:GetObject", "context": {"jwt:sub": "x"}}, {"as": "ann", "action": "s3:GetObject", "context": [1]},
     {"as": "ann", "action": "s3:GetObject", "context": {"s3:prefix": 1}}, {"as": "ann", "action": "s3:GetObject", "resource": "/k"},
     {"as": "ann", "action": "s3:GetObject", "more": 1}],
    ids=str,
)  # fmt: skip
async def test_what_is_no_question(gateway, asked):
    """It is refused, never answered as something else."""
    await gateway.user("ann")
    told = await gateway.ours("POST", "/explain", asked)
    assert told.status == 400


@pytest.mark.parametrize(("result", "happens"), [("true", True), ("false", False), ('"true"', False)])
async def test_a_policy_service_is_asked(result, happens):
    """With OPA it decides, and its answer is shown; what it was asked is not."""

    def answer(request) -> bytes:
        said = b'{"result": %b}' % (result.encode() if b'"ann"' in request.body else b"true")
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)

    service = RecordingBackend(answer)
    async with administrated(lambda _: OpaAuthorizer(OpaSettings(service.endpoint))) as gateway:
        who = key("ann")
        await gateway.iam.changes.put_user("ann", secret=who.secret)
        assert await allowed(gateway, who, "GET", "/photos/x") == happens
        told = await gateway.ours("POST", "/explain", {"as": "ann", "action": "s3:GetObject", "resource": "photos/x"})
        bodies = [json.loads(request.body)["input"] for request in service.requests]
    service.close()
    assert (told.document["allowed"], told.document["decidedBy"], told.document["policies"]) == (
        happens,
        "policy service",
        None,
    )
    assert told.document["policyService"]["allowed"] == happens
    assert "policy service: " in told.document["words"]
    s3 = [body for body in bodies if body["action"] == "s3:GetObject"]
    assert [(body["account"], body["bucket"], body["object"]) for body in s3] == [("ann", "photos", "x")] * 2
