"""Decisions: deny first, default deny, resources as AWS matches them, hostile variables."""

import pytest

from iam.evaluate import decide
from iam.model import AccessRequest, UnknownFact
from iam.policy import CANNED
from tests.unit.iam.saying import ALICE, allow, ask, deny, policy


def test_nothing_said_is_a_denial():
    """Without a policy, or with one about other things, the answer is no."""
    assert not ask()
    assert not ask(policy(allow("s3:PutObject")))


@pytest.mark.parametrize("order", [1, -1])
def test_trap_30_explicit_deny_wins(order):
    """A Deny in any policy, in any place, beats every Allow."""
    policies = [policy(allow()), policy(allow(), deny("s3:Get*", "arn:aws:s3:::b/secret*")), CANNED["consoleAdmin"]]
    assert not ask(*policies[::order], key="secret/1")
    assert ask(*policies[::order], key="public/1")
    assert not ask(policy(*[deny("s3:Get*"), allow()][::order]))


def test_the_reason_names_policy_and_statement():
    """An operator reads from the reason which words decided."""
    spoken = policy(allow(Sid="Read"), deny("s3:Delete*"), Id="home")
    assert ask(spoken).reason == "home/Read allows s3:GetObject"
    assert ask(spoken, action="s3:DeleteObject").reason == "home/statement 1 denies s3:DeleteObject on arn:aws:s3:::b/k"


def test_actions_ignore_case_and_resources_do_not():
    """AWS compares actions without case and ARNs with it."""
    assert ask(policy(allow("S3:gETo*")))
    assert not ask(policy(allow(resource="arn:aws:s3:::B/*")))


@pytest.mark.parametrize(
    ("resource", "bucket", "key", "matches"),
    [
        ("arn:aws:s3:::b/*", "b", "k", True),
        ("arn:aws:s3:::b/*", "b", "", False),
        ("arn:aws:s3:::b", "b", "", True),
        ("arn:aws:s3:::b", "b", "k", False),
        ("arn:aws:s3:::b*", "bb", "x/y", True),
        ("arn:aws:s3:::b/?", "b", "kk", False),
        ("arn:aws:s3:::b/a*c*e", "b", "abcce", True),
        ("arn:aws:s3:::b/a*c*e", "b", "abcee!", False),
        ("arn:aws:s3:::b/a.c", "b", "abc", False),
        ("arn:aws:s3:::b/*", "b", "line\nbreak", True),
        ("arn:aws:s3:::b/x", "b", "x\n", False),
        ("arn:aws:s3:::*", "", "", True),
        ("*", "", "", True),
        ("arn:aws:s3:::b", "", "", False),
    ],
)
def test_resources_match_as_on_aws(resource, bucket, key, matches):
    """The whole ARN must match; `bucket/*` is about objects only; an empty bucket needs a pattern for all."""
    assert bool(ask(policy(allow(resource=resource)), bucket=bucket, key=key)) is matches


def test_not_action_and_not_resource_mean_all_others():
    """NotAction and NotResource cover exactly what they do not name."""
    others = policy({"Effect": "Allow", "NotAction": "s3:Delete*", "NotResource": "arn:aws:s3:::secret/*"})
    assert ask(others)
    assert not ask(others, action="s3:DeleteObject")
    assert not ask(others, bucket="secret")


def test_admin_actions_need_no_resource_but_must_be_named():
    """`admin:*` is granted by its name or by `*` on all; `*` on one bucket is not administration."""
    question = {"action": "admin:ServerInfo", "bucket": "", "key": ""}
    assert ask(policy({"Effect": "Allow", "Action": "admin:*"}), **question)
    assert ask(policy(allow(["s3:*", "admin:*"], "arn:aws:s3:::b/*")), **question)
    assert ask(policy(allow("*")), **question)
    assert not ask(policy(allow("*", "arn:aws:s3:::b/*")), **question)
    assert not ask(policy(allow("*"), {"Effect": "Deny", "Action": "admin:Server*"}), **question)
    assert not ask(CANNED["readwrite"], **question)
    assert ask(CANNED["diagnostics"], **question)


HOME = policy(allow(resource="arn:aws:s3:::home/${jwt:sub}/*"))
FENCE = policy(allow(), deny(resource="arn:aws:s3:::home/${jwt:sub}/*"))


def test_variables_stand_for_the_value():
    """A user's own folder is reachable, the neighbour's is not."""
    assert ask(HOME, bucket="home", key="ann/x", jwt__sub="ann")
    assert not ask(HOME, bucket="home", key="bob/x", jwt__sub="ann")
    assert ask(FENCE, bucket="home", key="bob/x", jwt__sub="ann")


@pytest.mark.parametrize(
    "claim", [None, "", "*", "b?b", "../", "..", ".", "{other}", "${jwt:name}", "bob/x", ("bob", "x")]
)
def test_trap_58_hostile_claims_do_not_widen(claim):
    """An absent, empty, wildcard, path-like, nested or many-valued claim opens no other user's folder."""
    facts = {"jwt__sub": claim, "jwt__name": "bob"}
    assert not ask(HOME, bucket="home", key="bob/x", **facts)
    like = policy(allow(Condition={"StringLike": {"s3:prefix": "${jwt:sub}/*"}}))
    assert not ask(like, s3__prefix="bob/x", **facts)


@pytest.mark.parametrize("claim", [None, "", "*", "b?b", "../", "a/b", ("bob", "x"), "a\x00"])
def test_trap_58_a_deny_that_cannot_be_known_denies(claim):
    """A Deny whose variable has no usable value applies: losing it would be an Allow."""
    assert not ask(FENCE, bucket="home", key="bob/x", jwt__sub=claim)
    unless = policy(allow(), {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::home/${jwt:sub}/*"})
    assert not ask(unless, bucket="home", key="bob/x", jwt__sub=claim)


@pytest.mark.parametrize("claim", [None, "", "*", "b?b", "../", "a/b", ("bob", "x"), "a\x00"])
def test_trap_58_an_exception_that_cannot_be_known_allows_nothing(claim):
    """An Allow of all but what a claim names applies to nobody whose claim names nothing: negation opens no door."""
    others = policy({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::home/${jwt:sub}/*"})
    assert ask(others, bucket="home", key="bob/x", jwt__sub="ann")
    assert not ask(others, bucket="home", key="ann/x", jwt__sub="ann")
    assert not ask(others, bucket="home", key="bob/x", jwt__sub=claim)
    for operator in ("StringNotEquals", "StringNotLike", "StringNotEqualsIgnoreCase", "StringNotEqualsIfExists"):
        unlike = policy(allow(Condition={operator: {"s3:prefix": "${jwt:sub}"}}))
        assert ask(unlike, s3__prefix="bob", jwt__sub="ann")
        assert not ask(unlike, s3__prefix="bob", jwt__sub=claim)


def test_trap_58_wildcards_in_values_are_no_values():
    """A claim of `*` opens nothing, not even an object called `*`, and no Deny is escaped by it."""
    like = policy(allow(Condition={"StringLike": {"s3:prefix": "${jwt:sub}/*"}}))
    for claim in ("*", "b?b", "bo*"):
        assert not ask(HOME, bucket="home", key=f"{claim}/x", jwt__sub=claim)
        assert not ask(like, s3__prefix=f"{claim}/x", jwt__sub=claim)
        assert not ask(FENCE, bucket="home", key="bob/x", jwt__sub=claim)


def test_escapes_stand_for_the_characters_themselves():
    """`${*}`, `${?}` and `${$}` match a star, a question mark and a dollar, nothing else."""
    escaped = policy(allow(resource="arn:aws:s3:::b/${*}${?}${$}"))
    assert ask(escaped, key="*?$")
    assert not ask(escaped, key="abc")


def test_a_statement_needs_all_its_conditions():
    """Conditions are joined by and."""
    both = {"StringEquals": {"s3:prefix": "a"}, "Bool": {"aws:SecureTransport": True}}
    guarded = policy(allow(Condition=both))
    assert ask(guarded, s3__prefix="a", aws__securetransport="true")
    assert not ask(guarded, s3__prefix="a", aws__securetransport="false")
    assert not ask(guarded, aws__securetransport="true")


def test_a_condition_that_cannot_be_known_denies_both_ways():
    """A number that is none neither opens an Allow nor escapes a Deny."""
    limit = {"Condition": {"NumericGreaterThan": {"s3:max-keys": "10"}}}
    assert not ask(policy(allow(**limit)), s3__max_keys="x", **{"s3__max-keys": "nan"})
    assert not ask(policy(allow(), deny(**limit)), **{"s3__max-keys": "nan"})
    assert ask(policy(allow(), deny(**limit)), **{"s3__max-keys": "9"})


def test_many_stars_cost_no_exponential_time():
    """A hostile pattern from a session policy cannot stop the gateway: this would not end with backtracking."""
    hostile = policy(allow(resource="arn:aws:s3:::b/" + "*a" * 200 + "*b"))
    assert not ask(hostile, key="a" * 1023)
    assert ask(hostile, key="a" * 1022 + "b")


def test_everything_in_s3_is_not_administration():
    """`*`, or all but some actions, on S3's resources opens no admin: or sts: action; a Deny so written closes them."""
    question = {"action": "admin:ServerInfo", "bucket": "", "key": ""}
    everywhere = "arn:aws:s3:::*"
    assert not ask(policy(allow("*", everywhere)), **question)
    assert not ask(policy({"Effect": "Allow", "NotAction": "s3:DeleteBucket", "Resource": everywhere}), **question)
    assert not ask(policy({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b"}), **question)
    assert ask(policy({"Effect": "Allow", "NotAction": "s3:DeleteBucket", "Resource": "*"}), **question)
    assert not ask(CANNED["consoleAdmin"], policy(deny("*", everywhere)), **question)
    assert not ask(CANNED["consoleAdmin"], policy(deny(["admin:*"], "arn:aws:s3:::b/*")), **question)


class Unread:
    """A context that knows nothing of the tags of the object as it is."""

    def values(self, key):
        if key.lower().startswith("s3:existingobjecttag/"):
            raise UnknownFact(key)

    def document(self):
        return {}


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"s3:ExistingObjectTag/a": "1"}},
        {"StringNotEquals": {"s3:ExistingObjectTag/a": "1"}},
        {"StringEqualsIfExists": {"s3:ExistingObjectTag/a": "1"}},
        {"ForAllValues:StringEquals": {"s3:ExistingObjectTag/a": "1"}},
        {"Null": {"s3:ExistingObjectTag/a": "true"}},
        {"Null": {"s3:ExistingObjectTag/a": "false"}},
        {"StringNotEquals": {"aws:username": "${s3:ExistingObjectTag/a}"}},
    ],
)
def test_tags_nobody_has_read_fall_to_the_safe_side(condition):
    """An Allow on unknown tags does not apply and a Deny does, whatever the operator."""
    question = AccessRequest(ALICE, "s3:GetObject", "b", "k", Unread())
    assert not decide([policy(allow(Condition=condition))], question)
    assert not decide([policy(allow(), deny(Condition=condition))], question)
