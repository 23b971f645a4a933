"""What a policy service is asked, and what its answer means; over real connections: test_opa.py."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam import opa_questions
from iam.model import AccessRequest, Allow, Deny, Principal, PrincipalType
from iam.opa_questions import NoAnswer, judged, kind, opa_input, question, trouble

PRINCIPAL = Principal(PrincipalType.ASSUMED_ROLE, "AK", claims={"sub": "alice"}, groups=("staff",))
QUESTION = AccessRequest(PRINCIPAL, "s3:GetObject", "b", "a/k")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["result", "allow", "x"]), inner, max_size=3), max_leaves=8,
)  # fmt: skip


def test_the_input_is_minios():
    """Exactly MinIO's members, with null for no groups and the access key as account."""
    assert opa_input(QUESTION) == {
        "account": "AK",
        "groups": ["staff"],
        "action": "s3:GetObject",
        "bucket": "b",
        "conditions": {},
        "owner": False,
        "object": "a/k",
        "claims": {"sub": "alice"},
        "denyOnly": False,
    }
    assert opa_input(QUESTION._replace(principal=Principal(PrincipalType.USER, "AK")))["groups"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"action": "s3:PutObject"},
        {"bucket": "c"},
        {"key": "other"},
        {"deny_only": True},
        {"principal": dataclasses.replace(PRINCIPAL, access_key_id="AK2")},
        {"principal": dataclasses.replace(PRINCIPAL, owner=True)},
        {"principal": dataclasses.replace(PRINCIPAL, claims={"sub": "bob"})},
        {"principal": dataclasses.replace(PRINCIPAL, groups=("guests",))},
    ],
    ids=str,
)
def test_trap_37_every_fact_of_the_question_reaches_the_policy(change):
    """Two questions that differ in anything are two inputs: no answer can be taken for another's."""
    assert opa_input(QUESTION._replace(**change)) != opa_input(QUESTION)


def test_what_no_json_can_say_is_not_asked():
    """A number that is none is an error before anything is sent."""
    with pytest.raises(ValueError, match="JSON"):
        question({"claims": {"exp": float("nan")}})


@given(JSON, st.sampled_from([200, 200, 200, 201, 204, 302, 404, 500]))
def test_trap_31_only_a_clear_yes_is_one(document, status):
    """Whatever JSON comes: Allow exactly when status, shape and value are those of a yes, and never an error."""
    yes = isinstance(document, dict) and (
        document.get("result") is True
        or (isinstance(document.get("result"), dict) and document["result"].get("allow") is True)
    )
    decision = judged(status, json.dumps(document).encode())
    assert isinstance(decision, Allow if yes and status == 200 else Deny)


@given(st.binary(max_size=40))
def test_trap_31_any_bytes_are_judged(body):
    """What is no JSON is a denial; nothing is raised, and the reason repeats nothing."""
    decision = judged(200, body)
    assert isinstance(decision, Deny)
    assert decision.reason in {
        "policy service: answer is not JSON", "policy service's answer is no decision", "policy service: NaN is no JSON value",
        "policy service: Infinity is no JSON value", "policy service: -Infinity is no JSON value",
    }  # fmt: skip


def test_an_error_is_named_and_not_repeated():
    """Its kind is told; only our own words are."""
    assert trouble(OSError("secret")).reason == "policy service: OSError"
    assert kind(NoAnswer("status 500")) == "status 500"


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_trouble_of_ours_is_not_kept_as_the_meaning_of_an_answer(monkeypatch, error):
    """A moment without memory denies that moment's request, not every request after it."""
    body = b'{"result": true, "x": "%d"}' % hash(error)

    def fails(text):
        raise error

    if opa_questions.__file__.endswith(".py"):  # compiled, its parts cannot be changed
        monkeypatch.setattr(opa_questions._DECODER, "decode", fails)
        assert judged(200, body).reason == f"policy service: {error.__name__}"
        monkeypatch.undo()
    assert isinstance(judged(200, body), Allow)
