"""readings: what a store may read in a key, a prefix or a copy's source is asked about too, and decides with the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import AccessDenied, InvalidRequest
from gateway.stories.plans import Forward, NeedsBody, NeedsDecisions, Reply
from gateway.stories.readings import AT_MOST
from iam.model import Allow, Deny
from tests.unit.gateway.signers import ANN, EVE, ROOT, signed
from tests.unit.gateway.storied import delete, plan_of, refusal, world


def asked(remote, method: str, target: str, headers=None, **how) -> list[tuple[str, str, str]]:
    """Return the questions of a request: action, key, version."""
    plan = plan_of(*signed(method, target, headers, who=ANN, **how), remote)
    assert isinstance(plan, NeedsDecisions)
    return [(one.action.removeprefix("s3:"), one.key, one.context.version_id) for one in plan.questions]


def facts(remote, target: str, key: str, method: str = "GET", headers=None) -> set[tuple[str, ...] | None]:
    """Return the values of a condition key in the questions of a request."""
    plan = plan_of(*signed(method, target, headers, who=ANN), remote)
    return {one.context.values(key) for one in plan.questions}


@pytest.mark.parametrize("key", ["a", "a/b", "a/", "a/.git/b", "a.versions", "b%20c", "%C3%A9"])
def test_a_usual_key_is_one_question(remote, key):
    """As before, and no more is paid for it."""
    assert len(asked(remote, "GET", f"/ann/{key}")) == 1


@pytest.mark.parametrize(("key", "others"), [
    ("/bob/x", {"bob/x"}), ("bob//x", {"bob/x"}), ("bob%5Cx", {"bob/x"}), ("z/../bob/x", {"bob/x"}), ("./bob/x", {"bob/x"}),
    ("z%5C..%5C%5Cbob/x", {"z/..//bob/x", "z/../bob/x", "/bob/x", "bob/x", "z\\..\\\\bob/x"} - {"z\\..\\\\bob/x"}),
])  # fmt: skip
def test_trap_17_an_odd_key_is_asked_about_in_all_its_readings(remote, key, others):
    """The key as it is first; Amazon reads keys as they are, so there it is all."""
    first, *rest = asked(remote, "GET", f"/ann/{key}")
    assert {key for _, key, _ in rest} == others
    assert {action for action, _, _ in rest} == {"GetObject"}
    assert asked(replace(remote, amazon=True), "GET", f"/ann/{key}") == [first]


def test_trap_17_every_reading_must_be_allowed(remote):
    """The first refusal is the request's, about the key that it is about."""
    plan = plan_of(*signed("GET", "/ann//bob/x", who=ANN), remote)
    assert isinstance(plan.then([Allow(), Allow()]), Forward)
    for decisions in ([Allow(), Deny("b")], [Deny("b"), Allow()]):
        with pytest.raises(AccessDenied) as refused:
            plan.then(decisions)
        assert refused.value.reason == "b"
        assert refused.value.asked.key == ("bob/x" if decisions[0] else "/bob/x")


@pytest.mark.parametrize("key", [".versions/v_1".join("abcdefghijklmnopqrstuvwxyz"), "k" + ".versions/v_1" * 70])
def test_a_key_is_not_asked_about_hundreds_of_times(remote, key):
    """Who makes a key that may be read in so many ways is refused, and a policy service is not asked about each."""
    with pytest.raises(AccessDenied) as refused:
        plan_of(*signed("PUT", f"/ann/{key}", {"Content-Length": "1"}, who=ANN), remote)
    assert "too many" in refused.value.reason
    for usual in ("a//b%5C./c.versions/v_1", "a.versions/v_1.versions/v_2"):
        assert len(asked(remote, "PUT", f"/ann/{usual}", {"Content-Length": "1"})) <= AT_MOST


def test_a_batch_of_such_keys_is_not_asked_about_thousands_of_times(remote):
    """Of a batch the last are refused, whose keys may be read in many ways; a batch of keys that clients have by accident is whole."""
    hostile = [f"a//{number}\\.//b/.//x.versions/v_1" for number in range(200)]
    request, now, body = delete(*hostile)
    plan = plan_of(request, now, remote).then(body)
    assert len(plan.questions) <= 6 * len(hostile)
    request, now, body = delete(*[f"a//{number}" for number in range(900)], "usual")
    assert len(plan_of(request, now, remote).then(body).questions) == 1801


@pytest.mark.parametrize("key", ["../x", "a/../../x", "..%5Cx", "/", "a/.."])
def test_trap_17_a_key_that_leads_out_is_refused(key):
    """To everybody, since nobody has rights over what is outside; where it cannot lead out it is a key."""
    for who in (ANN, ROOT):
        request, now = signed("GET", f"/ann/{key}", who=who)
        assert isinstance(refusal(request, now), InvalidRequest)
        assert isinstance(plan_of(request, now, world(amazon=True)), Forward)


def test_trap_17_a_batch_holds_what_it_may(remote):
    """Each entry has its decision: one that could lead out, or is denied in another reading, is refused alone."""
    request, now, body = delete("a", "b//c", "../d", "e")
    plan = plan_of(request, now, remote)
    assert isinstance(plan, NeedsBody)
    decided = plan.then(body)
    assert [one.key for one in decided.questions] == ["a", "b//c", "b/c", "e"]
    sent = decided.then([Allow(), Allow(), Deny("c"), Allow()])
    assert isinstance(sent, Forward)
    assert b"<Key>a</Key>" in sent.body
    assert b"<Key>e</Key>" in sent.body
    assert b"b//c" not in sent.body
    assert b"../d" not in sent.body
    alone, then, only = delete("../d")
    assert isinstance(plan_of(alone, then, remote).then(only), Reply)


def test_trap_17_an_odd_prefix_is_asked_about_in_all_its_readings(remote):
    """The condition key s3:prefix has each of them, in a question of its own; and every usual prefix is one question."""
    assert facts(remote, "/ann?list-type=2&prefix=%2Fbob%2F", "s3:prefix") == {("/bob/",), ("bob/",)}
    assert facts(remote, "/ann?versions=&prefix=bob%5C", "s3:prefix") == {("bob\\",), ("bob/",)}
    assert len(asked(remote, "GET", "/ann?list-type=2&prefix=bob%2F")) == 1
    assert facts(remote, "/ann?prefix=..%2F%2Feve%2F", "s3:prefix") == {("..//eve/",), ("../eve/",)}


def test_trap_17_an_odd_source_is_told_in_all_its_readings(remote):
    """A condition on s3:x-amz-copy-source sees what the store copies, and the source needs its rights there."""
    source = {"x-amz-copy-source": "/src//bob/x?versionId=v"}
    found = asked(remote, "PUT", "/ann/k", source)
    assert {(action, key) for action, key, version in found if version} >= {
        ("GetObjectVersion", "/bob/x"),
        ("GetObjectVersion", "bob/x"),
    }
    told = facts(remote, "/ann/k", "s3:x-amz-copy-source", "PUT", source)
    assert told == {("src//bob/x?versionId=v",), ("src/bob/x?versionId=v",)}


@pytest.mark.parametrize(("method", "target", "headers", "folded"), [
    ("GET", "/ann/k/", {}, False), ("HEAD", "/ann/k/", {}, False), ("PUT", "/ann/k/", {"Content-Length": "0"}, False),
    ("DELETE", "/ann/k/", {}, False), ("DELETE", "/ann/k/?versionId=null", {}, True), ("GET", "/ann/k/?tagging=", {}, True),
    ("GET", "/ann/k/?acl=", {}, True), ("GET", "/ann/k/?attributes=", {"x-amz-object-attributes": "ETag"}, True),
    ("PUT", "/ann/a", {"x-amz-copy-source": "/src/k/"}, True), ("PUT", "/ann/k/", {"x-amz-copy-source": "/src/a"}, False),
])  # fmt: skip
def test_trap_17_a_slash_at_the_end_is_dropped_where_the_store_drops_it(remote, method, target, headers, folded):
    """A mark of a folder needs no right to a key beside it, so that `k/*` is enough for it."""
    assert ("k" in {key for _, key, _ in asked(remote, method, target, headers)}) is folded


def test_trap_17_parts_for_a_folder_are_of_the_key_within(remote):
    """SeaweedFS makes `d/k/k` of an upload to `d/k/`."""
    assert [key for _, key, _ in asked(remote, "POST", "/ann/d/k/?uploads=")] == ["d/k/", "d/k/k"]


def test_trap_26_a_stores_name_of_a_version_needs_the_versions_rights(remote):
    """Of the key that it is a version of; writing over one destroys it."""
    named = "/ann/a.versions/v_0a"
    assert asked(remote, "GET", named)[1:] == [("GetObjectVersion", "a", "0a")]
    assert asked(remote, "DELETE", f"{named}?versionId=null")[1:] == [("DeleteObjectVersion", "a", "0a")]
    assert asked(remote, "GET", f"{named}?tagging=")[1:] == [("GetObjectVersionTagging", "a", "0a")]
    written = asked(remote, "PUT", named, {"Content-Length": "0"})[1:]
    assert written == [("PutObject", "a", "0a"), ("DeleteObjectVersion", "a", "0a")]
    assert ("GetObjectVersion", "a", "0a") in asked(remote, "GET", "/ann//a.versions%5Cv_0a")
    assert asked(replace(remote, amazon=True), "GET", named) == [("GetObject", "a.versions/v_0a", "")]
    told = facts(remote, "/ann/k", "s3:x-amz-copy-source", "PUT", {"x-amz-copy-source": "/src/a.versions/v_0a"})
    assert ("src/a?versionId=0a",) in told


@pytest.mark.parametrize(
    "target",
    [
        "/ann/.uploads/0/1.part",
        "/ann//.uploads%5C0/1.part",
        "/ann?prefix=.uploads%2F0%2F",
        "/ann?prefix=%2F.uploads%2F",
    ],
)
def test_trap_17_unfinished_uploads_are_the_owners(target):
    """Whatever the policies say of such keys, which are nobody's objects."""
    for who in (ANN, EVE):
        assert isinstance(refusal(*signed("GET", target, who=who)), AccessDenied)
    assert isinstance(plan_of(*signed("GET", target, who=ROOT)), Forward)
    assert isinstance(plan_of(*signed("GET", target, who=ANN), world(amazon=True)), Forward)
