"""absence: that a key is not there is told to who could have seen it in a listing, and to nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import AccessDenied, ServiceUnavailable
from gateway.s3.operations import resolve
from gateway.stories import absence
from gateway.stories.case import Case
from gateway.stories.plans import Answer, NeedsDecisions, Reply
from iam.model import Allow, Deny
from tests.unit.gateway.signers import ANN, signed
from tests.unit.gateway.storied import plan_of, world

NO_KEY = b'<?xml version="1.0"?><Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>NoSuchKey</Code></Error>'


def case_of(where, method: str, target: str, headers=None, **how) -> Case:
    """Return the case of a request of ann's."""
    request, now = signed(method, target, headers, who=ANN, **how)
    caller = plan_of(request, now, where).caller
    return Case(request, resolve(request), caller, where, now)


@pytest.mark.parametrize(
    "body", [NO_KEY, b"", b"<Error><Code>NoSuchVersion</Code></Error>", b"gone fishing", b"<Error/>"]
)
def test_who_may_list_is_told_as_the_store_tells(remote, body):
    """Status, headers and document are the backend's."""
    answer = Answer(404, (("x-amz-delete-marker", "true"),), body)
    case = case_of(remote, "GET", "/ann/k")
    found = absence.told(case, answer).then([Allow()])
    assert found == Reply(case.operation, case.caller, body, 404, answer.headers)


@pytest.mark.parametrize(
    "body", [NO_KEY, b"", b"\n<Error><Code> NoSuchVersion </Code></Error>", b"gone fishing", b"<Error/>"]
)
def test_who_may_not_list_is_refused(remote, body):
    """403, and the log names the right that is missing."""
    plan = absence.told(case_of(remote, "GET", "/ann/k"), Answer(404, (), body))
    with pytest.raises(AccessDenied) as refused:
        plan.then([Deny("no")])
    assert (refused.value.reason, refused.value.asked.action, refused.value.asked.key) == ("no", "s3:ListBucket", "")


@pytest.mark.parametrize(("method", "body"), [("DELETE", NO_KEY), ("PUT", b"gone fishing"), ("PUT", b"")])
def test_who_writes_is_told_what_the_store_says(remote, method, body):
    """Whoever deletes what is not there changes nothing; what is no document of S3's says nothing of a key that is written."""
    assert absence.told(case_of(remote, method, "/ann/k"), Answer(404, (), body)).body == body


@pytest.mark.parametrize("code", ["NoSuchBucket", "NoSuchUpload", "NoSuchTagSet", "NoSuchObjectLockConfiguration"])
def test_that_something_else_is_missing_is_told(remote, code):
    """Without a question: it says nothing of the key, or that it is there."""
    body = b"<Error><Code>%b</Code></Error>" % code.encode()
    assert absence.told(case_of(remote, "GET", "/ann/k"), Answer(404, (), body)).body == body


@pytest.mark.parametrize(("target", "prefix"), [
    ("/ann/a/b%20c", "a/b c"), ("/ann/k?versionId=7", "k"), ("/ann/k?tagging=", "k"), ("/ann/%C3%BC", "ü"),
])  # fmt: skip
def test_the_question_is_about_a_listing_of_this_very_key(remote, target, prefix):
    """`?prefix=<key>&max-keys=1`, whatever else the request says."""
    case = case_of(remote, "GET", target)
    said = (*case.request.query, ("prefix", "else"), ("delimiter", "/"), ("max-keys", "9"))
    plan = absence.told(case._replace(request=replace(case.request, query=said)), Answer(404, (), NO_KEY))
    (question,) = plan.questions
    facts = question.context
    assert (question.action, question.bucket, question.key) == ("s3:ListBucket", "ann", "")
    assert [facts.values(f"s3:{name}") for name in ("prefix", "max-keys", "delimiter", "VersionId")] == [
        (prefix,), ("1",), None, None,
    ]  # fmt: skip


def test_of_a_copy_it_is_the_source_that_is_missing(remote):
    """Who may write here is asked for a right to list there."""
    case = case_of(remote, "PUT", "/ann/k", {"x-amz-copy-source": "/other/from%20here"})
    plan = absence.told(case, Answer(404, (), NO_KEY))
    assert isinstance(plan, NeedsDecisions)
    (question,) = plan.questions
    assert (question.bucket, question.context.values("s3:prefix")) == ("other", ("from here",))


def test_an_odd_key_is_asked_about_in_all_its_readings(remote):
    """Who may list `//bob/` only is not told what there is of Bob's."""
    plan = absence.told(case_of(remote, "GET", "/ann//bob/x"), Answer(404, (), NO_KEY))
    assert {question.context.values("s3:prefix") for question in plan.questions} == {("/bob/x",), ("bob/x",)}


def test_only_who_still_is_who_asked_is_told(remote):
    """A wait for the decision may be long."""
    case = case_of(remote, "GET", "/ann/k")
    plan = absence.told(case, Answer(404, (), NO_KEY))
    where = world()
    moved = case._replace(caller=case.caller._replace(principal=where.lookup("EVEKEY", "eve-token")[1]))
    other = absence.told(moved, Answer(404, (), NO_KEY))
    assert isinstance(plan.then([Allow()]), Reply)
    with pytest.raises(ServiceUnavailable):
        other.then([Allow()])
