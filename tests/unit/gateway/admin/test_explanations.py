"""Questions as requests would be, and explanations as operators read them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.explanations import BadQuestion, caller, document, question, resource_of, unauthentic, words
from iam.condition_keys import KEYS
from iam.model import Allow, Principal, PrincipalType, Secret, UnknownFact
from iam.policy import parse
from iam.records import Attachment, Group, User
from iam.verdicts import Explanation
from iam.view import IamView

ANN = Principal(
    PrincipalType.ASSUMED_ROLE, "KEY", claims={"iss": "https://idp", "sub": "ann", "policy": "mine,gone", "team": "red", "salary": "secret-1",
                                               "parent": "openid:corp:ann", "exp": 1},
    groups=("openid:corp:staff",), policies=("mine", "gone", "shared"), parent="openid:corp:ann", provider="openid:corp",
    tags={"cost": "7"},
)  # fmt: skip
POLICY = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::${jwt:team}/*"}]}
KNOWN = {"mine": parse(json.dumps(POLICY)), "shared": parse(json.dumps(POLICY))}
VIEW = IamView().apply(
    [User("x-y", Secret("x" * 8)), Group("g-h"), Attachment("openid:corp:staff", ("shared",), group=True)], 1
)


def asked(**given):
    """Return the question about these facts; `__` stands for a colon."""
    context = {name.replace("__", ":"): (value,) for name, value in given.items()}
    return question(ANN, "s3:GetObject", "b/k", context, now=1_000_000_000)


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [("b", "b", ""), ("b/k/l", "b", "k/l"), ("arn:aws:s3:::b/k", "b", "k"), ("", "", ""), ("b//k", "b", "/k")],
)
def test_resources(text, bucket, key):
    """As people write them and as policies do; nothing of a key is normalized."""
    assert resource_of(text) == (bucket, key)


@pytest.mark.parametrize(
    ("name", "value"),
    [("aws:SourceIp", "10.0.0.1"), ("aws:SecureTransport", "true"), ("aws:UserAgent", "curl"), ("aws:Referer", "http://r"),
     ("aws:EpochTime", "1234567890"), ("aws:CurrentTime", "2030-01-31T12:00:00Z"), ("s3:prefix", "a/"), ("s3:max-keys", "7"),
     ("s3:x-amz-acl", "private"), ("s3:VersionId", "v1"), ("s3:LocationConstraint", "eu"), ("s3:authType", "POST"),
     ("s3:signatureAge", "5"), ("s3:signatureversion", "AWS"), ("s3:RequestObjectTag/Team", "red & blue"),
     ("s3:ExistingObjectTag/Team", "red"), ("s3:object-lock-mode", "GOVERNANCE"), ("s3:objectcreationoperation", "true"),
     ("s3:objectcreationoperation", "false")],
)  # fmt: skip
def test_a_fact_that_is_given_is_there(name, value):
    """What a condition then asks about is what was given, whatever way a request has it."""
    facts = question(ANN, "s3:GetObject", "b/k", {name: (value,)}, now=1).context
    assert facts.values(name) == (value,)
    assert facts.values(name.lower() if "/" not in name else name) == (value,)


def test_every_fact_is_given_or_refused():
    """No condition key is taken in silence: it is a fact afterwards, or is told to be none that can be given."""
    taken = set()
    for key in KEYS:
        value = (
            "2030-01-31T12:00:00Z"
            if key == "aws:currenttime"
            else "true"
            if "operation" in key or "secure" in key
            else "12"
        )
        try:
            facts = question(ANN, "s3:GetObject", "b/k", {key: (value,)}, now=1).context
        except BadQuestion:
            continue
        taken.add(key)
        assert facts.values(key) == (value,), key
    assert KEYS - taken == {
        "aws:federatedprovider", "aws:groups", "aws:principalarn", "aws:principalisawsservice", "aws:principaltype",
        "aws:tagkeys", "aws:tokenissuetime", "aws:userid", "aws:username", "aws:viaawsservice", "s3:requestobjecttagkeys",
        "s3:object-lock-event-hold-duration-days", "s3:object-lock-remaining-retention-days",
        "sts:durationseconds", "sts:externalid", "sts:rolesessionname",
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [{"jwt__sub": "x"}, {"aws__username": "root"}, {"aws__PrincipalTag/x": "y"}, {"nothing": "x"}, {"s3__nothing": "x"},
     {"aws__CurrentTime": "soon"}, {"aws__EpochTime": "9" * 30}, {"s3__signatureAge": "old"}, {"s3__RequestObjectTag/": "x"},
     {"s3__prefix/x": "y"}],
    ids=str,
)  # fmt: skip
def test_nobody_says_who_the_caller_is(given):
    """What the caller's identity decides, or what is no fact, is no part of the question."""
    with pytest.raises(BadQuestion):
        asked(**given)


@pytest.mark.parametrize(
    "action", ["", "GetObject", "s3:", "s3:*", "s3:Get?bject", "ec2:RunInstances", "s3:GetObject\n"]
)
def test_what_is_no_action(action):
    """A pattern is no action, and neither is another service's."""
    with pytest.raises(BadQuestion):
        question(ANN, action, "b/k", {}, now=1)


def test_tags_that_nobody_has_looked_up_are_unknown():
    """As in a request: they are neither there nor absent."""
    with pytest.raises(UnknownFact):
        asked().context.values("s3:ExistingObjectTag/x")


def test_the_caller_is_told_and_no_more():
    """Claims that identify, that policies ask about or that name policies are shown; others only by name."""
    told = caller(ANN, KNOWN, VIEW)
    assert told["claims"] == {"iss": "https://idp", "policy": "mine,gone", "salary": "***", "sub": "ann", "team": "red"}
    assert told["policies"] == [
        {"name": "mine", "exists": True, "from": ["given by the provider openid:corp"]},
        {"name": "gone", "exists": False, "from": ["given by the provider openid:corp"]},
        {"name": "shared", "exists": True, "from": ["attached to the group openid:corp:staff"]},
    ]
    assert (told["parent"], told["issuer"], told["groups"], told["tags"]) == (
        "openid:corp:ann", "https://idp", ["openid:corp:staff"], {"cost": "7"},
    )  # fmt: skip
    text = words(document(asked(), Explanation(Allow("x"), "policies"), KNOWN, VIEW))
    assert "salary" in text
    assert "secret-1" not in text


@given(st.text(), st.text(), st.dictionaries(st.text(min_size=1), st.text()))
def test_no_words_speak_to_the_terminal(key, reason, claims):
    """Whatever names, claims and reasons say, every line is ours and printable."""
    hostile = Principal(
        PrincipalType.ASSUMED_ROLE,
        key,
        claims=claims,
        groups=(reason,),
        policies=(reason,),
        parent=reason,
        provider=reason,
    )
    told = document(
        question(hostile, "s3:GetObject", "b/k", {}, now=1),
        Explanation(Allow(reason), "policies", missing=(reason,)),
        KNOWN,
        VIEW,
    )
    for text in (
        words(told, Explanation(Allow(reason), "policies", missing=(reason,))),
        words(unauthentic(key, reason)),
    ):
        assert all(line.isprintable() for line in text.split("\n"))
    assert json.loads(json.dumps(told)) == told
