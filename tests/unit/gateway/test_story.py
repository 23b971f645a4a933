"""story: each kind of request has its plan, and every refusal comes before a plan to send anything."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from hashlib import md5, sha256

import pytest

from gateway.case import World
from gateway.deletion import MAX_DOCUMENT
from gateway.errors import AccessDenied, InternalError, S3Error, render
from gateway.plans import Answer, Forward, NeedsBody, NeedsDecisions, Reply
from gateway.sigv4 import SigningKeys
from gateway.story import begin
from gateway.xml import DeleteEntry, document, local, parse_delete, render_delete
from iam.authorize import AllOf, IamPolicies
from iam.model import Allow, Deny
from iam.opa import OpaAuthorizer, OpaSettings
from iam.policy import parse
from tests.unit.gateway.signing import ANN, EVE, PRINCIPALS, lookup, presigned, read, signed
from tests.unit.gateway.test_chunked import encode_unsigned

ANNS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "s3:PutObject"], "Resource": ["arn:aws:s3:::ann", "arn:aws:s3:::ann/*"]},
        {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::ann/mine/*"},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::old/*", "Condition": {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}},
    ],
}  # fmt: skip
OPEN = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::pub/*"}]}  # fmt: skip
POLICIES = {"ann": parse(json.dumps(ANNS)), "open": parse(json.dumps(OPEN))}
LOCAL = AllOf(IamPolicies(lambda: POLICIES))


def world(authorizer=LOCAL, **how) -> World:
    return World(lookup, authorizer, SigningKeys(), **how)


@pytest.fixture
async def remote():
    """A world whose decisions are elsewhere: a real OPA authorizer, which nobody is to ask in these tests."""
    authorizer = OpaAuthorizer(OpaSettings("http://127.0.0.1:9/v1/data/authz"))
    yield world(AllOf(authorizer))
    await authorizer.close()


def plan_of(request, now, where=None):
    return begin(request, where or world(), now)


def refusal(request, now, where=None) -> S3Error:
    """Return the error that ends this request's story before any plan."""
    with pytest.raises(S3Error) as refused:
        begin(request, where or world(), now)
    return refused.value


def delete(*keys: str, body: bytes | None = None, quiet: bool = False, headers=None, **how):
    """Return a signed DeleteObjects request, its time, and its body."""
    document = render_delete(tuple(DeleteEntry(key) for key in keys), quiet=quiet) if body is None else body
    digest = {"Content-MD5": base64.b64encode(md5(document).digest()).decode()}
    how = {"who": ANN, "payload": sha256(document).hexdigest()} | how
    return *signed("POST", "/ann?delete=", {"Content-Length": str(len(document)), **digest, **(headers or {})}, **how), document  # fmt: skip


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation"),
    [
        ("GET", "/ann/k", {}, "GetObject"),
        ("GET", "/ann?list-type=2", {}, "ListObjectsV2"),
        ("PUT", "/ann/k", {"Content-Length": "3"}, "PutObject"),
        ("PUT", "/ann/k", {"x-amz-copy-source": "/ann/other"}, "CopyObject"),
        ("DELETE", "/ann/mine/k", {}, "DeleteObject"),
    ],
)
def test_what_policy_allows_is_forwarded(method, target, headers, operation):
    """An allowed request is one plan to send it, as the caller who signed it, with the client's own body."""
    plan = plan_of(*signed(method, target, headers, who=ANN))
    assert isinstance(plan, Forward)
    assert (plan.operation.name, plan.caller.principal) == (operation, PRINCIPALS["ANNKEY"])
    assert (plan.body, plan.edit, plan.then) == (None, None, None)


def test_the_owner_may_all():
    """The root account's requests are forwarded without any policy."""
    assert isinstance(plan_of(*signed("DELETE", "/anything")), Forward)


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/other/k", {}),
        ("DELETE", "/ann/k", {}),
        ("DELETE", "/ann", {}),
        ("GET", "/ann/k?versionId=v", {}),
        ("PUT", "/ann/k", {"x-amz-copy-source": "/other/k"}),
        ("PUT", "/ann/k?partNumber=1&uploadId=u", {"x-amz-copy-source": "/other/k"}),
        ("PUT", "/ann/k", {"x-amz-tagging": "a=1"}),
        ("GET", "/old/k", {}),
    ],
)
def test_what_policy_does_not_allow_is_denied(method, target, headers):
    """One missing right of all that a request needs is AccessDenied; why is for the log, not for the client."""
    error = refusal(*signed(method, target, headers, who=ANN))
    assert error.code == "AccessDenied"
    assert "no statement allows s3:" in error.reason
    assert b"statement" not in render(error, resource="/", request_id="R")


def test_default_is_denial():
    """A verified caller whom no policy names may nothing."""
    assert refusal(*signed("GET", "/ann/k", who=EVE)).code == "AccessDenied"


def test_policies_see_how_the_request_was_signed():
    """A condition on the signature's kind holds for a presigned request, and only for it."""
    assert isinstance(plan_of(*presigned("GET", "/old/k", who=ANN)), Forward)


@pytest.mark.parametrize(
    ("request_of", "code"),
    [
        (lambda: signed("GET", "/ann/k", who=ANN, unsigned={"x-amz-acl": "private"}), "AccessDenied"),
        (lambda: signed("GET", "/ann/k?unknown=1"), "NotImplemented"),
        (lambda: signed("POST", "/ann/k"), "MethodNotAllowed"),
        (lambda: signed("PUT", "/ann/k", {"Transfer-Encoding": "chunked"}), "MissingContentLength"),
        (lambda: signed("PUT", "/ann/k", {"x-amz-decoded-content-length": "3"}, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER"), "IncompleteBody"),
        (lambda: signed("PUT", "/ann/k", {"x-amz-copy-source": "/ann/../other/k"}), "InvalidArgument"),
        (lambda: signed("GET", "/ann/k", region="eu-west-1"), "AuthorizationHeaderMalformed"),
    ],
    ids=["unsigned header", "unknown parameter", "no operation", "no length", "chunked without a body", "copy source", "region"],
)  # fmt: skip
def test_what_is_not_understood_is_refused_even_to_the_owner(request_of, code):
    """Signature, operation, length, copy source and region are judged before any policy is."""
    assert refusal(*request_of(), world(region="us-east-1")).code == code


def test_a_bad_signature_is_refused_before_anything_else_is_told():
    """Who is not verified learns nothing of routing or policy: the signature's error comes first."""
    request, now = signed("GET", "/other/k?unknown=1", who=EVE)
    assert refusal(replace(request, query=(("unknown", "2"),)), now).code == "SignatureDoesNotMatch"


def test_trap_31_anonymous_is_refused_without_a_policy():
    """Nobody's request is AccessDenied unless a policy is named for anonymous requests."""
    assert refusal(read("GET", "/pub/k"), 0).code == "AccessDenied"


def test_anonymous_may_what_its_policies_say():
    """With a policy for anonymous requests those that it allows go on, and no other."""
    where = world(anonymous_policies=("open",))
    plan = plan_of(read("GET", "/pub/k"), 0, where)
    assert isinstance(plan, Forward)
    assert plan.caller.principal.policies == ("open",)
    for method, target in (("PUT", "/pub/k"), ("GET", "/ann/k"), ("GET", "/")):
        assert refusal(read(method, target), 0, where).code == "AccessDenied"


def test_trap_35_anonymous_may_not_override_answer_headers():
    """response-* parameters are for signed requests only."""
    where = world(anonymous_policies=("open",))
    target = "/pub/k?response-content-type=text%2Fhtml"
    assert refusal(read("GET", target), 0, where).code == "InvalidRequest"
    assert isinstance(plan_of(*signed("GET", target), where), Forward)


def test_anonymous_policies_are_nobody_elses():
    """A signed caller does not gain what anonymous requests may."""
    assert refusal(*signed("GET", "/pub/k", who=ANN), world(anonymous_policies=("open",))).code == "AccessDenied"


def test_decisions_from_elsewhere_are_asked_for(remote):
    """A plan that waits carries every question in its order; one denial among the answers refuses the request."""
    plan = plan_of(*signed("PUT", "/ann/k", {"x-amz-copy-source": "/src/k?versionId=v"}, who=EVE), remote)
    assert isinstance(plan, NeedsDecisions)
    assert [(q.action, q.resource) for q in plan.questions] == [
        ("s3:PutObject", "arn:aws:s3:::ann/k"),
        ("s3:GetObjectVersion", "arn:aws:s3:::src/k"),
    ]
    assert [q.principal for q in plan.questions] == [PRINCIPALS["EVEKEY"]] * 2
    assert [q.context.document().get("versionid") for q in plan.questions] == [[""], ["v"]]
    assert isinstance(plan.then([Allow(), Allow()]), Forward)
    for answers in ([Allow(), Deny("no")], [Deny("no"), Allow()]):
        with pytest.raises(S3Error) as refused:
            plan.then(answers)
        assert (refused.value.code, refused.value.reason) == ("AccessDenied", "no")


def test_a_session_policy_refuses_without_asking(remote):
    """What the session policy denies is refused at once: the policy service is not asked to widen it."""

    def narrowed(key, token):
        credentials, principal = lookup(key, token)
        only = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::ann/*"}]}'
        return credentials, replace(principal, session_policy=only)

    where = World(narrowed, remote.authorizer, SigningKeys())
    assert refusal(*signed("PUT", "/ann/k"), where).code == "AccessDenied"
    assert isinstance(plan_of(*signed("GET", "/ann/k"), where), NeedsDecisions)


def test_list_buckets_shows_all_to_whom_it_is_allowed():
    """Who may list all buckets gets the backend's answer as it is."""
    plan = plan_of(*signed("GET", "/"))
    assert isinstance(plan, Forward)
    assert plan.then is None


def buckets(*names: str) -> Answer:
    """Return the backend's answer to ListBuckets."""
    inner = "".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in names)
    text = f"<ListAllMyBucketsResult><Owner><ID>o</ID></Owner><Buckets>{inner}</Buckets></ListAllMyBucketsResult>"
    return Answer(200, (("x-amz-id-2", "i"),), text.encode())


def test_list_buckets_is_filtered_for_others():
    """Who may not list all of them is shown those that he may list, under the backend's headers."""
    plan = plan_of(*signed("GET", "/", who=ANN))
    assert isinstance(plan, Forward)
    shown = plan.then(buckets("ann", "other"))
    assert isinstance(shown, Reply)
    assert shown.headers == (("x-amz-id-2", "i"),)
    assert b"<Name>ann</Name>" in shown.body
    assert b"other" not in shown.body
    with pytest.raises(AccessDenied, match="s3:ListAllMyBuckets"):
        plan.then(buckets("other"))


def test_an_answer_that_is_not_s3s_is_the_backends_mistake():
    """A listing that cannot be read is an InternalError, never shown and never the client's fault."""
    plan = plan_of(*signed("GET", "/", who=ANN))
    for body in (b"<html>", b"<Other/>", b'<!DOCTYPE a [<!ENTITY b "c">]><ListAllMyBucketsResult/>', b""):
        with pytest.raises(InternalError):
            plan.then(Answer(200, (), body))


def test_list_buckets_waits_for_a_decision_from_elsewhere(remote):
    """The one question comes first; a denial leads to the filter, not to a refusal."""
    plan = plan_of(*signed("GET", "/", who=EVE), remote)
    assert isinstance(plan, NeedsDecisions)
    assert [q.action for q in plan.questions] == ["s3:ListAllMyBuckets"]
    assert plan.then([Allow()]).then is None
    questions = plan.then([Deny("no")]).then(buckets("a", "b"))
    assert isinstance(questions, NeedsDecisions)
    assert [(q.action, q.bucket) for q in questions.questions] == [
        ("s3:ListBucket", "a"),
        ("s3:GetBucketLocation", "a"),
        ("s3:ListBucket", "b"),
        ("s3:GetBucketLocation", "b"),
    ]
    assert b"<Name>b</Name>" in questions.then([Deny("no"), Deny("no"), Deny("no"), Allow()]).body


def test_delete_objects_needs_its_body_first():
    """The keys are in the body: it is asked for, bounded, before any decision."""
    request, now, _ = delete("mine/a")
    plan = plan_of(request, now)
    assert isinstance(plan, NeedsBody)
    assert (plan.operation.name, plan.limit) == ("DeleteObjects", MAX_DOCUMENT)


DELETED = b"<DeleteResult><Deleted><Key>mine/a</Key></Deleted></DeleteResult>"


def refused(plan) -> list[str]:
    """Return the keys that a DeleteObjects answer reports as denied."""
    assert isinstance(plan, Reply)
    errors = [child for child in document(plan.body, "DeleteResult") if local(child) == "Error"]
    members = [{local(leaf): leaf.text for leaf in error} for error in errors]
    assert {one["Code"] for one in members} <= {"AccessDenied"}
    return [one["Key"] for one in members]


@pytest.mark.parametrize("quiet", [False, True])
def test_trap_28_delete_objects_is_split(quiet):
    """Allowed keys are forwarded in a document of our own, the others are kept for the answer."""
    request, now, body = delete("mine/a", "theirs", "mine/b", quiet=quiet)
    plan = plan_of(request, now).then(body)
    assert isinstance(plan, Forward)
    assert parse_delete(plan.body) == ((DeleteEntry("mine/a"), DeleteEntry("mine/b")), quiet)
    assert refused(plan.then(Answer(200, (), DELETED))) == ["theirs"]


def test_trap_28_when_every_key_is_refused_nothing_is_sent():
    """With no key allowed the plan is an answer of ours."""
    request, now, body = delete("theirs", "others")
    plan = plan_of(request, now).then(body)
    assert isinstance(plan, Reply)
    assert refused(plan) == ["theirs", "others"]


def test_trap_26_deleting_a_version_is_a_right_of_its_own():
    """A key that may be deleted may not lose a version by that right."""
    body = render_delete((DeleteEntry("mine/a", "v1"), DeleteEntry("mine/a")), quiet=False)
    request, now, _ = delete(body=body)
    plan = plan_of(request, now).then(body)
    assert parse_delete(plan.body)[0] == (DeleteEntry("mine/a"),)
    assert refused(plan.then(Answer(200, (), DELETED))) == ["mine/a"]


def test_bypassing_retention_is_asked_for_every_key(remote):
    """With the bypass header each key needs two rights, and lacks of either refuse that key only."""
    request, now, body = delete("a", "b", "c", headers={"x-amz-bypass-governance-retention": "True"})
    plan = plan_of(request, now, remote).then(body)
    assert isinstance(plan, NeedsDecisions)
    assert [(q.action.removeprefix("s3:"), q.key) for q in plan.questions] == [
        *(("DeleteObject", key) for key in "abc"),
        *(("BypassGovernanceRetention", key) for key in "abc"),
    ]
    yes, no = Allow(), Deny("no")
    found = plan.then([yes, no, yes, yes, yes, no])
    assert refused(found.then(Answer(200, (), DELETED))) == ["b", "c"]
    assert [e.key for e in parse_delete(found.body)[0]] == ["a"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"payload": sha256(b"other").hexdigest()}, "XAmzContentSHA256Mismatch"),
        ({"headers": {"Content-MD5": base64.b64encode(md5(b"other").digest()).decode()}, "payload": "UNSIGNED-PAYLOAD"}, "BadDigest"),
        ({"headers": {"x-amz-checksum-crc32": "AAAAAA=="}, "payload": "UNSIGNED-PAYLOAD"}, "BadDigest"),
        ({"body": b"<Delete/>"}, "MalformedXML"),
        ({"body": b"<Delete><Object><Key>mine/a</Key><Key>theirs</Key></Object></Delete>"}, "MalformedXML"),
    ],
    ids=["sha256", "md5", "crc32", "empty", "two keys"],
)  # fmt: skip
def test_a_body_that_is_not_what_was_signed_is_refused(change, code):
    """A rebuilt document must not launder a body that its own digests or the schema contradict."""
    request, now, body = delete(*(() if "body" in change else ("mine/a",)), **change)
    with pytest.raises(S3Error) as refusal:
        plan_of(request, now).then(body)
    assert refusal.value.code == code


def test_an_aws_chunked_delete_is_read_as_its_payload():
    """The framing is taken off and its trailing checksum checked before the keys are read."""
    document = render_delete((DeleteEntry("mine/a"),), quiet=True)
    headers = {
        "x-amz-decoded-content-length": str(len(document)),
        "x-amz-trailer": "x-amz-checksum-sha256",
    }
    good = encode_unsigned(
        [document], (("x-amz-checksum-sha256", base64.b64encode(sha256(document).digest()).decode()),)
    )
    bad = encode_unsigned([document], (("x-amz-checksum-sha256", base64.b64encode(sha256(b"").digest()).decode()),))
    sent = {**headers, "Content-Length": str(len(good))}
    plan = plan_of(*signed("POST", "/ann?delete=", sent, who=ANN, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER"))
    assert parse_delete(plan.then(good).body) == ((DeleteEntry("mine/a"),), True)
    for body, code in ((bad, "BadDigest"), (good[:-2], "IncompleteBody")):
        with pytest.raises(S3Error) as refused:
            plan.then(body)
        assert refused.value.code == code
