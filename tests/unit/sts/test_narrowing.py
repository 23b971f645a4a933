"""Narrowing documents: what a parsed policy becomes again as text is the same policy."""

from __future__ import annotations

import json

import pytest

from iam.policy import CANNED, parse
from sts.narrowing import narrowed, statement

OWN = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*"}}'
RICH = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "one", "Effect": "Allow", "Action": ["s3:Get*", "s3:ListBucket"], "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/${jwt:sub}/*"]},
        {"Effect": "Deny", "NotAction": "s3:GetObject", "NotResource": "arn:aws:s3:::b/*",
         "Condition": {"StringLike": {"s3:prefix": ["a*", "b"], "jwt:sub": "x"}, "Bool": {"aws:SecureTransport": False},
                       "ForAnyValue:StringEqualsIfExists": {"aws:groups": "g"}, "Null": {"s3:delimiter": True},
                       "NumericLessThan": {"s3:max-keys": 10}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Effect": "Allow", "Action": "admin:*"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("policy", [parse(json.dumps(RICH)), *CANNED.values()], ids=["rich", *CANNED])
def test_a_policy_comes_back_as_it_was(policy):
    """Statements, templates and every kind of condition: the text parses to the same statements."""
    again = parse(json.dumps({"Version": "2012-10-17", "Statement": [statement(one) for one in policy.statements]}))
    assert again.statements == policy.statements


def test_own_and_named_policies_are_one_document():
    """The statements of the call's own policy stand first, then those of the named ones, in their order."""
    found = parse(narrowed(OWN, [CANNED["readonly"], CANNED["writeonly"]]))
    assert [s.allow for s in found.statements] == [False, True, True]
    assert found.statements[1:] == CANNED["readonly"].statements + CANNED["writeonly"].statements


def test_what_narrows_nothing_is_nothing():
    """Without named policies the call's own is kept as it came, and without either there is none."""
    assert narrowed(OWN, []) == OWN
    assert narrowed(None, []) is None
    assert parse(narrowed(None, [CANNED["readonly"]])).statements == CANNED["readonly"].statements


def test_a_document_about_others_narrows_nothing():
    """A bucket's document says whom it is about, which a session policy cannot: it is refused, and not taken without that."""
    about = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    policy = parse(json.dumps({"Version": "2012-10-17", "Statement": about}), principals=True)
    with pytest.raises(ValueError, match="principals"):
        narrowed(None, [policy])
