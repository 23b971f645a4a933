"""What an explanation says, in words and as JSON."""

import json

from iam.evaluate import explain
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import parse
from iam.verdicts import Finding

POLICY = parse(
    json.dumps({
        "Id": "home",
        "Statement": [
            {"Sid": "Read", "Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"},
            {"Effect": "Deny", "NotAction": "s3:PutObject", "Resource": "arn:aws:s3:::other"},
            {"Sid": "Mine", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${jwt:sub}",
             "Condition": {"ForAnyValue:StringLike": {"aws:groups": ["a", "b"]}}},
        ],
    })
)  # fmt: skip
NOBODY = Principal(PrincipalType.USER, "k")


def test_an_explanation_renders_into_json():
    """Every statement is there with its effect, whether it applied, and each element that kept it from that."""
    document = explain([POLICY], AccessRequest(NOBODY, "s3:GetObject", "b", "k")).document()
    assert json.loads(json.dumps(document)) == {
        "allowed": True,
        "reason": "home/Read allows s3:GetObject",
        "statements": [
            {"policy": "home", "statement": "Read", "effect": "Allow", "applied": True, "findings": []},
            {"policy": "home", "statement": "statement 1", "effect": "Deny", "applied": False, "findings": [
                {"place": "Resource", "known": True, "listed": ["arn:aws:s3:::other"], "actual": ["arn:aws:s3:::b/k"]},
            ]},
            {"policy": "home", "statement": "Mine", "effect": "Deny", "applied": False, "findings": [
                {"place": "Resource", "known": False, "listed": ["arn:aws:s3:::b/${jwt:sub}"], "actual": ["arn:aws:s3:::b/k"]},
                {"place": "Condition.ForAnyValue:StringLike.aws:groups", "known": True, "listed": ["a", "b"], "actual": None},
            ]},
        ],
    }  # fmt: skip


def test_an_explanation_renders_into_words():
    """The decision stands first, then a line for each statement."""
    lines = explain([POLICY], AccessRequest(NOBODY, "s3:PutObject", "b", "k")).words().splitlines()
    assert lines[0] == "denied: no statement allows s3:PutObject on arn:aws:s3:::b/k"
    assert lines[1] == (
        "- home/Read (Allow) does not apply: Action does not hold: the request has 's3:PutObject', the statement lists 's3:get*'"
    )
    assert "NotAction does not hold" in lines[2]
    assert "Resource cannot be known" in lines[3]


def test_a_finding_has_its_place():
    """A condition's is the document's path below the statement."""
    assert Finding("Condition", ("a",), None, operator="Null", key="s3:prefix").place == "Condition.Null.s3:prefix"
    assert Finding("NotResource", ("a",), ("b",)).place == "NotResource"
