"""Decisions: deny first, default deny, resources as AWS matches them, hostile variables."""

import json

import pytest

from iam.evaluate import decide
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import CANNED, parse

ALICE = Principal(PrincipalType.USER, "alice")


class Facts:
    """A context with the given values, keys in lower case."""

    def __init__(self, **facts):
        self._facts = {name.replace("__", ":"): value for name, value in facts.items()}

    def values(self, key):
        value = self._facts.get(key.lower())
        return (value,) if isinstance(value, str) else value

    def document(self):
        return {}


def policy(*statements, **document):
    """Return a parsed policy of the statements."""
    return parse(json.dumps({"Statement": list(statements), **document}))


def allow(action="s3:*", resource="*", **members):
    """Return an Allow statement."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **members}


def deny(action="s3:*", resource="*", **members):
    """Return a Deny statement."""
    return allow(action, resource, **members) | {"Effect": "Deny"}


def ask(*policies, action="s3:GetObject", bucket="b", key="k", **facts):
    """Return the decision on one question."""
    return decide(policies, AccessRequest(ALICE, action, bucket, key, Facts(**facts)))


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


@pytest.mark.parametrize("claim", [None, "", "../", "a/b", ("bob", "x")])
def test_trap_58_a_deny_that_cannot_be_known_denies(claim):
    """A Deny whose variable has no usable value applies: losing it would be an Allow."""
    assert not ask(FENCE, bucket="home", key="bob/x", jwt__sub=claim)
    unless = policy(allow(), {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::home/${jwt:sub}/*"})
    assert not ask(unless, bucket="home", key="bob/x", jwt__sub=claim)


def test_trap_58_wildcards_in_values_are_literal():
    """A claim of `*` names an object called `*`, in resources and in conditions."""
    assert ask(HOME, bucket="home", key="*/x", jwt__sub="*")
    like = policy(allow(Condition={"StringLike": {"s3:prefix": "${jwt:sub}/*"}}))
    assert ask(like, s3__prefix="*/x", jwt__sub="*")
    assert not ask(like, s3__prefix="bob/x", jwt__sub="*")


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
