"""listings: what a caller may not see is not in the answer. Whole listings: tests/clients/test_listings.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import AccessDenied, ExpiredToken, InternalError
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.case import World
from gateway.stories.plans import Answer, Forward, NeedsDecisions, Reply
from iam.model import Allow, Deny
from tests.unit.gateway.signers import ANN, EVE, lookup, presigned, signed
from tests.unit.gateway.storied import LOCAL, plan_of


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


def test_a_page_of_buckets_without_a_visible_one_is_empty():
    """Where more pages follow, or came before, a page that shows nothing is a page, not a refusal."""
    first = plan_of(*signed("GET", "/?max-buckets=1", who=ANN))
    whole = buckets("other")
    shown = first.then(replace(whole, body=whole.body.replace(b"</Buckets>", b"</Buckets><ContinuationToken>t</ContinuationToken>")))  # fmt: skip
    assert b"<Buckets></Buckets><ContinuationToken>t<" in shown.body
    last = plan_of(*signed("GET", "/?continuation-token=t&max-buckets=1", who=ANN))
    assert b"<Buckets></Buckets>" in last.then(whole).body


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


def test_a_session_lists_its_buckets_by_a_url(remote):
    """Its token is a parameter, and is still there when the session is looked up again behind the wait."""
    plan = plan_of(*presigned("GET", "/", who=ANN), remote)
    questions = plan.then([Deny("no")]).then(buckets("a"))
    assert isinstance(questions, NeedsDecisions)
    assert b"<Name>a</Name>" in questions.then([Allow(), Allow()]).body


def test_each_bucket_is_asked_about_at_its_top_level(remote):
    """As MinIO asks: prefix "" and delimiter "/", whatever the caller said about the names of buckets."""
    plan = plan_of(*signed("GET", "/?prefix=home%2F", who=EVE), remote)
    asked = plan.then([Deny("no")]).then(buckets("a"))
    assert [q.context.values("s3:prefix") for q in asked.questions] == [("",), ("",)]
    assert [q.context.document()["delimiter"] for q in asked.questions] == [["/"], ["/"]]
    # MinIO put these two among the headers here, so its Rego looks for them in that spelling.
    assert [(d["Prefix"], d["Delimiter"]) for d in (q.context.document() for q in asked.questions)] == [
        ([""], ["/"])
    ] * 2
    assert plan.questions[0].context.values("s3:prefix") == ("home/",)


PAGE = """<ListBucketResult><Contents><Key>hidden</Key></Contents><IsTruncated>true</IsTruncated>
<NextContinuationToken>t</NextContinuationToken></ListBucketResult>"""


@pytest.mark.parametrize("target", ["/", "/ann?list-type=2"])
def test_a_session_that_ends_behind_a_page_is_shown_nothing(target):
    """What a listing shows is judged when the store has answered, for who may still ask: page by page."""
    ended = False

    def ending(key, token):
        if ended:
            raise ExpiredToken
        return lookup(key, token)

    first = plan_of(*signed("GET", target, who=ANN), World(ending, LOCAL, SigningKeys(), filter_listings=True))
    answer = buckets("ann") if target == "/" else Answer(200, (), PAGE.encode())
    assert isinstance(first.then(answer), Forward | Reply)
    ended = True
    with pytest.raises(ExpiredToken):
        first.then(answer)
