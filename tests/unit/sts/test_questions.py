"""The facts of an STS call: what a policy may ask about, and that what nobody looked up is unknown."""

from __future__ import annotations

import json

import pytest

from iam.evaluate import decide
from iam.model import AccessRequest, Principal, PrincipalType, UnknownFact
from iam.policy import parse
from sts.questions import Question
from sts.wire import StsCall

ANN = Principal(
    PrincipalType.USER,
    "ann",
    claims={"sub": "s", "n": [1], "list": ["a", "b"]},
    groups=("g",),
    tags={"a": "1", "b": "2"},
)
CALL = StsCall("AssumeRole", {"RoleSessionName": "work"}, ANN, "192.0.2.1", secure=True)
QUESTION = Question(ANN, CALL, 900, 1_700_000_000, {"a": "1"})


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("sts:DurationSeconds", ("900",)), ("aws:SourceIp", ("192.0.2.1",)), ("AWS:SECURETRANSPORT", ("true",)),
        ("aws:username", ("ann",)), ("aws:PrincipalType", ("User",)), ("aws:groups", ("g",)), ("aws:TagKeys", ("a",)),
        ("aws:RequestTag/a", ("1",)), ("aws:RequestTag/b", None), ("aws:PrincipalTag/b", ("2",)), ("sts:ExternalId", None),
        ("sts:RoleSessionName", ("work",)), ("aws:CurrentTime", ("2023-11-14T22:13:20Z",)), ("jwt:sub", ("s",)),
        ("jwt:list", ("a", "b")), ("jwt:SUB", ("s",)), ("jwt:none", None),
        ("aws:PrincipalArn", ("arn:aws:iam:::user/ann",)), ("aws:FederatedProvider", None), ("aws:ViaAWSService", ("false",)),
    ],
)  # fmt: skip
def test_facts(key, values):
    """Each key has its value, in any case of the key, and None where the call has none."""
    assert QUESTION.values(key) == values


@pytest.mark.parametrize(
    "key", ["s3:prefix", "aws:UserAgent", "aws:Referer", "ldap:user", "s3:ExistingObjectTag/x", "jwt:n", "x", ""]
)
def test_what_nobody_looked_up_is_unknown(key):
    """A key that is not a call's is unknown, and not absent."""
    with pytest.raises(UnknownFact):
        QUESTION.values(key)


def test_an_unknown_fact_falls_to_the_safe_side():
    """A Deny that asks for what is unknown denies; an Allow does not allow."""
    for effect, expected in (("Deny", False), ("Allow", False)):
        one = {"Effect": effect, "Action": "sts:*", "Condition": {"StringEquals": {"aws:UserAgent": "x"}}}
        rest = (
            {"Effect": "Allow", "Action": "sts:AssumeRole"}
            if effect == "Deny"
            else {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
        )
        policy = parse(json.dumps({"Version": "2012-10-17", "Statement": [one, rest]}))
        assert bool(decide((policy,), AccessRequest(ANN, "sts:AssumeRole", "", context=QUESTION))) is expected


def test_the_document_for_opa():
    """A policy service is told what is known, and nothing that proves anybody."""
    found = QUESTION.document()
    assert found["durationseconds"] == ["900"]
    assert found["username"] == ["ann"]
    assert "externalid" not in found
