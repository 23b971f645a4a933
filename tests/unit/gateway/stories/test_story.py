"""story: each kind of request has its plan, and every refusal comes before a plan to send anything."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote

import pytest

from gateway.errors import AccessDenied, ExpiredToken, InvalidAccessKeyId, S3Error, ServiceUnavailable, render
from gateway.s3.xml import parse_delete
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.case import World
from gateway.stories.plans import Forward, NeedsBody, NeedsDecisions, NeedsTags
from iam.authorize import AllOf, IamPolicies
from iam.model import Allow, Deny, Secret
from iam.opa import OpaAuthorizer, OpaSettings
from iam.policy import parse
from tests.unit.gateway.signers import ANN, EVE, PRINCIPALS, lookup, presigned, read, signed
from tests.unit.gateway.storied import LOCAL, delete, plan_of, refusal, world


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation"),
    [
        ("GET", "/ann/k", {}, "GetObject"),
        ("GET", "/ann?list-type=2", {}, "ListObjectsV2"),
        ("PUT", "/ann/k", {"Content-Length": "3"}, "PutObject"),
        ("PUT", "/ann/k?partNumber=1&uploadId=u", {"x-amz-copy-source": "/ann/other"}, "UploadPartCopy"),
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
    plan = plan_of(
        *signed("PUT", "/ann/k?partNumber=1&uploadId=u", {"x-amz-copy-source": "/src/k?versionId=v"}, who=EVE), remote
    )
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


class Ending:
    """Sessions that end: `error` is what the lookup raises from then on."""

    error: S3Error | None = None

    def __call__(self, key, token):
        if self.error is not None:
            raise self.error
        return lookup(key, token)


def copier() -> World:
    """Return a world in which Ann may copy what has no tags."""
    actions = ["s3:GetObject", "s3:PutObject", "s3:GetObjectAnnotation", "s3:PutObjectAnnotation"]
    return tagged({"Effect": "Allow", "Action": actions})


@pytest.mark.parametrize("error", [ExpiredToken(), InvalidAccessKeyId()], ids=["expired", "revoked"])
@pytest.mark.parametrize("signed", [signed, presigned], ids=["header", "url"])
def test_a_session_that_ends_while_something_is_waited_for_sends_nothing(remote, signed, error):
    """Of a decision, tags, and a body: whatever they say, who asked may not ask any more."""
    for authorizer, request, given, kind in (
        (remote.authorizer, signed("GET", "/ann/k", who=ANN), [Allow()], NeedsDecisions),
        (tagged(*READ_BUT_SECRET).authorizer, signed("GET", "/ann/k", who=ANN), [RED], NeedsTags),
        (copier().authorizer, signed("PUT", "/ann/k", {"x-amz-copy-source": "/src/k"}, who=ANN), [()], NeedsTags),
        (LOCAL, signed("PUT", "/ann/k?tagging", {"Content-Length": "9"}, who=ANN), b"<Tagging/>", NeedsBody),
        (LOCAL, signed("POST", "/ann?delete=", {"Content-Length": "9"}, who=ANN), b"<Delete/>", NeedsBody),
    ):
        sessions = Ending()
        plan = plan_of(*request, World(sessions, authorizer, SigningKeys()))
        assert isinstance(plan, kind)
        sessions.error = error
        with pytest.raises(type(error)):
            plan.then(given)


@pytest.mark.parametrize("change", ["secret", "policies"])
def test_who_asks_is_who_asked_behind_a_wait(change):
    """A secret that turns, and a right that is lost, while a body trickles in end the request; the client may try again."""
    changed = False

    def found(key, token):
        who, principal = lookup(key, token)
        if not changed:
            return who, principal
        return (
            (replace(who, secret=Secret("another")), principal)
            if change == "secret"
            else (who, replace(principal, policies=()))
        )

    request, now, body = delete("mine/a")
    plan = plan_of(request, now, World(found, LOCAL, SigningKeys()))
    assert isinstance(plan.then(body), Forward)
    changed = True
    with pytest.raises(ServiceUnavailable):
        plan.then(body)


@pytest.mark.parametrize(
    ("tags", "good"),
    [
        ("env=prod", True),
        ("env=prod&team=a", True),
        ("", True),
        ("env=prod&env=dev", False),
        ("a=1&%61=2", False),
        ("a&a=", False),
    ],
)
@pytest.mark.parametrize("signed", [signed, presigned], ids=["header", "url"])
def test_a_tag_is_given_once(signed, tags, good):
    """A policy is content with either of two values, and stores keep the one or the other; S3 refuses it too."""
    if signed is presigned:
        request, now = presigned("PUT", f"/ann/k?x-amz-tagging={quote(tags, safe='')}", {"Content-Length": "1"})
    else:
        request, now = signed("PUT", "/ann/k", {"Content-Length": "1", "x-amz-tagging": tags})
    if good:
        assert isinstance(plan_of(request, now), Forward)
    else:
        assert refusal(request, now).code == "InvalidTag"


def test_who_signs_nothing_has_no_session_that_ends():
    """What an anonymous request waits for is enough: nobody is looked up."""
    sessions = Ending()
    sessions.error = ExpiredToken()
    plan = plan_of(
        read("POST", "/pub?delete=", {"Content-Length": "9"}),
        0,
        World(sessions, LOCAL, SigningKeys(), anonymous_policies=("open",)),
    )
    assert isinstance(plan, NeedsBody)
    with pytest.raises(S3Error) as refused:
        plan.then(b"<Delete/>")
    assert refused.value.code == "MalformedXML"


def test_a_session_policy_refuses_without_asking(remote):
    """What the session policy denies is refused at once: the policy service is not asked to widen it."""

    def narrowed(key, token):
        credentials, principal = lookup(key, token)
        only = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::ann/*"}]}'
        return credentials, replace(principal, session_policy=only)

    where = World(narrowed, remote.authorizer, SigningKeys())
    assert refusal(*signed("PUT", "/ann/k"), where).code == "AccessDenied"
    assert isinstance(plan_of(*signed("GET", "/ann/k"), where), NeedsDecisions)


def tagged(*statements, **how) -> World:
    """Return a world in which Ann has these statements, each about everything and with a condition on existing tags."""
    document = {"Version": "2012-10-17", "Statement": [{"Resource": "*"} | statement for statement in statements]}
    policies = {"ann": parse(json.dumps(document))}
    return world(AllOf(IamPolicies(lambda: policies)), **how)


READ_RED = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"],
            "Condition": {"StringEquals": {"s3:ExistingObjectTag/color": "red"}}}  # fmt: skip
READ_BUT_SECRET = (
    {"Effect": "Allow", "Action": ["s3:*"]},
    {"Effect": "Deny", "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::ann/*",
     "Condition": {"StringEquals": {"s3:ExistingObjectTag/secret": "yes"}}},
)  # fmt: skip
RED, SECRET = (("color", "red"),), (("secret", "yes"),)


@pytest.mark.parametrize(
    ("target", "statements", "tags", "allowed"),
    [
        ("/ann/k", [READ_RED], RED, True),
        ("/ann/k?versionId=v", [READ_RED], RED, True),
        ("/ann/k", [READ_RED], (("color", "blue"),), False),
        ("/ann/k", [READ_RED], (), False),
        ("/ann/k", [READ_RED], None, False),
        ("/ann/k", READ_BUT_SECRET, SECRET, False),
        ("/ann/k", READ_BUT_SECRET, RED, True),
        ("/ann/k", READ_BUT_SECRET, (), True),
        ("/ann/k", READ_BUT_SECRET, None, False),
    ],
)
def test_existing_tags_are_read_first_where_a_policy_names_them(target, statements, tags, allowed):
    """The tags of the version asked for decide; tags that cannot be read are a denial, of an Allow as of a Deny."""
    request, now = signed("GET", target, who=ANN)
    plan = plan_of(request, now, tagged(*statements))
    assert isinstance(plan, NeedsTags)
    assert plan.objects == (("ann", "k", request.parameters.get("versionId", "")),)
    if allowed:
        assert isinstance(plan.then([tags]), Forward)
    else:
        with pytest.raises(AccessDenied):
            plan.then([tags])


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/ann?list-type=2"), ("PUT", "/ann/k"), ("GET", "/other/k"), ("GET", "/ann/k?tagging")],
)
def test_nobody_reads_tags_for_an_action_or_a_key_that_no_statement_about_tags_names(method, target):
    """Only a statement that could apply costs the backend a request."""
    assert isinstance(plan_of(*signed(method, target, who=ANN), tagged(*READ_BUT_SECRET)), Forward)


def test_nobody_reads_tags_for_the_owner():
    """No policy is asked for the owner, so no tags are."""
    assert isinstance(plan_of(*signed("GET", "/ann/k"), tagged(*READ_BUT_SECRET)), Forward)


def test_a_policy_service_is_given_tags_where_the_settings_say_so():
    """With MINIO_GW_OPA_EXISTING_TAGS each object's tags are in the question; lost ones are a denial nobody is asked for."""
    authorizer = OpaAuthorizer(OpaSettings("http://127.0.0.1:9/v1/data/authz", existing_tags=True))
    plan = plan_of(*signed("GET", "/ann/k", who=ANN), world(AllOf(authorizer)))
    assert isinstance(plan, NeedsTags)
    asked = plan.then([RED])
    assert isinstance(asked, NeedsDecisions)
    assert asked.questions[0].context.document()["ExistingObjectTag/color"] == ["red"]
    with pytest.raises(AccessDenied):
        plan.then([None])
    assert isinstance(plan_of(*signed("GET", "/ann?acl", who=ANN), world(AllOf(authorizer))), NeedsDecisions)


def test_a_batch_delete_reads_the_tags_it_needs():
    """Tags are read of the keys that the statement is about, and each decides on its own key."""
    deny = {**READ_BUT_SECRET[1], "Resource": "arn:aws:s3:::ann/vault/*"}
    request, now, body = delete("vault/1", "free", "vault/2", "vault/3")
    plan = plan_of(request, now, tagged(READ_BUT_SECRET[0], deny)).then(body)
    assert isinstance(plan, NeedsTags)
    assert plan.objects == (("ann", "vault/1", ""), ("ann", "vault/2", ""), ("ann", "vault/3", ""))
    sent = plan.then([SECRET, (), None])
    assert isinstance(sent, Forward)
    assert [entry.key for entry in parse_delete(sent.body)[0]] == ["free", "vault/2"]


@pytest.mark.parametrize(
    ("target", "weaker", "own"),
    [
        ("/ann?versions", "s3:ListBucket", "s3:ListBucketVersions"),
        ("/ann?uploads", "s3:ListBucket", "s3:ListBucketMultipartUploads"),
        ("/ann/k?uploadId=u", "s3:GetObject", "s3:ListMultipartUploadParts"),
        ("/ann/k?acl", "s3:GetObject", "s3:GetObjectAcl"),
        ("/ann/k?tagging", "s3:GetObject", "s3:GetObjectTagging"),
        ("/ann/k?retention", "s3:GetObject", "s3:GetObjectRetention"),
        ("/ann/k?versionId=v", "s3:GetObject", "s3:GetObjectVersion"),
        ("/ann?policy", "s3:ListBucket", "s3:GetBucketPolicy"),
    ],
)
def test_trap_27_no_listing_or_reading_falls_back_to_a_weaker_right(target, weaker, own):
    """Versions, uploads, parts and sub-resources need their own action; the plainer one next to it is not enough."""
    assert (
        refusal(*signed("GET", target, who=ANN), tagged({"Effect": "Allow", "Action": weaker})).code == "AccessDenied"
    )
    assert isinstance(plan_of(*signed("GET", target, who=ANN), tagged({"Effect": "Allow", "Action": own})), Forward)
