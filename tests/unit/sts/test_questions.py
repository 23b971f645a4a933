"""The facts of an STS call: what a policy may ask about, and that what nobody looked up is unknown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from iam.evaluate import decide
from iam.model import AccessRequest, Deny, Principal, PrincipalType, UnknownFact
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
CALL = StsCall(
    "AssumeRole",
    {"RoleSessionName": "work"},
    ANN,
    "192.0.2.1",
    secure=True,
    user_agent="curl/8",
    referer="https://a.example",
)
BOB = Principal(
    PrincipalType.ASSUMED_ROLE, claims={"ldapUser": "uid=bob,dc=x", "ldapUsername": "bob"}, groups=("cn=g,dc=x",),
    parent="uid=bob,dc=x", provider="ldap",
)  # fmt: skip
IMPOSTOR = replace(BOB, provider="openid:corp")
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
        ("aws:UserAgent", ("curl/8",)), ("aws:Referer", ("https://a.example",)), ("aws:TokenIssueTime", None),
        ("ldap:user", None), ("s3:prefix", None), ("s3:signatureAge", None), ("s3:ExistingObjectTag/x", None),
    ],
)  # fmt: skip
def test_facts(key, values):
    """Each key has its value, in any case of the key, and None where the call has none."""
    assert QUESTION.values(key) == values


@pytest.mark.parametrize(
    ("who", "key", "values"),
    [
        (BOB, "ldap:username", ("bob",)), (BOB, "LDAP:User", ("uid=bob,dc=x",)), (BOB, "ldap:groups", ("cn=g,dc=x",)),
        (BOB, "ldap:other", None), (replace(BOB, groups=()), "ldap:groups", None), (IMPOSTOR, "ldap:username", None),
        (IMPOSTOR, "ldap:groups", None), (replace(BOB, issued_at=1_600_000_000), "aws:TokenIssueTime", ("2020-09-13T12:26:40Z",)),
    ],
)  # fmt: skip
def test_facts_of_who_was_proved(who, key, values):
    """LDAP's keys are of whom LDAP proved, and a moment of issue of who has one, as for the sessions that come of it."""
    assert Question(who, CALL, 900, 1_700_000_000).values(key) == values


REVOKED = {"DateLessThan": {"aws:TokenIssueTime": "2014-05-07T23:47:00Z"}}


@pytest.mark.parametrize(
    ("condition", "who", "denied"),
    [
        (REVOKED, ANN, False), (REVOKED, BOB, False), (REVOKED, replace(BOB, issued_at=1), True),
        ({"StringEquals": {"ldap:username": "mallory"}}, BOB, False),
        ({"StringEquals": {"ldap:username": "mallory"}}, IMPOSTOR, False),
        ({"StringEquals": {"ldap:username": "bob"}}, BOB, True),
        ({"NumericGreaterThan": {"s3:signatureAge": "600000"}}, ANN, False),
        ({"StringLike": {"aws:UserAgent": "wget/*"}}, ANN, False), ({"StringLike": {"aws:UserAgent": "curl/*"}}, ANN, True),
    ],
)  # fmt: skip
def test_a_deny_of_what_is_known_blocks_whom_it_names_alone(condition, who, denied):
    """AWS's policy that revokes older sessions and its like deny no login that has not got what they ask for."""
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    policy = parse(json.dumps({"Version": "2012-10-17", "Statement": statement}))
    question = Question(who, CALL, 900, 1_700_000_000)
    asked = AccessRequest(who, "sts:AssumeRole", "", context=question, deny_only=True)
    assert isinstance(decide((policy,), asked), Deny) is denied


@pytest.mark.parametrize("key", ["aws:SourceVpc", "jwt:n", "x", ""])
def test_what_nobody_looked_up_is_unknown(key):
    """A key that is not a call's is unknown, and not absent."""
    with pytest.raises(UnknownFact):
        QUESTION.values(key)


def test_an_unknown_fact_falls_to_the_safe_side():
    """A Deny that asks for what is unknown denies; an Allow does not allow."""
    for effect, expected in (("Deny", False), ("Allow", False)):
        one = {"Effect": effect, "Action": "sts:*", "Condition": {"StringEquals": {"jwt:n": "x"}}}
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
