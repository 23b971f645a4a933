"""deletion: each key of a DeleteObjects is judged, and only the allowed ones are sent."""

from __future__ import annotations

import base64
from hashlib import md5, sha256

import pytest

from gateway.errors import S3Error
from gateway.s3.xml import DeleteEntry, document, local, parse_delete, render_delete
from gateway.stories.deletion import MAX_DOCUMENT
from gateway.stories.plans import Answer, Forward, NeedsBody, NeedsDecisions, Reply
from iam.model import Allow, Deny
from tests.unit.gateway.signers import ANN, signed
from tests.unit.gateway.signing.test_chunked import encode_unsigned
from tests.unit.gateway.storied import delete, plan_of


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


def test_trap_33_a_deletion_that_depends_on_what_an_object_is_reads_it(remote):
    """An entry with an ETag needs the right to read that object too, and its ETag is what s3:if-match is; the others' is none."""
    entries = (
        DeleteEntry("a"),
        DeleteEntry("b", "v", (("ETag", '"e"'),)),
        DeleteEntry("c", "", (("ETag", "*"),)),
        DeleteEntry("d", "", (("Size", "1"),)),
    )
    body = render_delete(entries, quiet=False)
    request, now, _ = delete(body=body)
    plan = plan_of(request, now, remote).then(body)
    assert [(q.action.removeprefix("s3:"), q.key, q.context.values("s3:if-match")) for q in plan.questions] == [
        ("DeleteObject", "a", None), ("DeleteObjectVersion", "b", ('"e"',)), ("DeleteObject", "c", ("*",)), ("DeleteObject", "d", None),
        ("GetObjectVersion", "b", ('"e"',)), ("GetObject", "d", None),
    ]  # fmt: skip
    yes, no = Allow(), Deny("no")
    found = plan.then([yes, yes, yes, yes, no, yes])
    assert [e.key for e in parse_delete(found.body)[0]] == ["a", "c", "d"]


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


TYPES = ["", "application/xml", "text/xml", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream",
         "multipart/form-data; boundary=x", "application/json", "application/xml; charset=utf-16", "x", "*/*"]  # fmt: skip


@pytest.mark.parametrize("content_type", TYPES)
def test_trap_64_every_content_type_is_judged_key_by_key(content_type):
    """Whatever the body is said to be, its keys are read and only the allowed one is sent on."""
    request, now, body = delete("mine/a", "theirs/b", headers={"Content-Type": content_type} if content_type else None)
    sent = plan_of(request, now).then(body)
    assert isinstance(sent, Forward)
    assert [entry.key for entry in parse_delete(sent.body)[0]] == ["mine/a"]


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("body", [b"", b" ", b"<Delete/>", b"<Delete><Quiet>true</Quiet></Delete>", b"a=b", b"{}"])
def test_trap_64_an_empty_parse_sends_nothing(content_type, body):
    """A body that names no key is MalformedXML, whatever it is said to be: nothing goes to the backend unjudged."""
    request, now, body = delete(body=body, headers={"Content-Type": content_type} if content_type else None)
    with pytest.raises(S3Error) as refused:
        plan_of(request, now).then(body)
    assert refused.value.code == "MalformedXML"
