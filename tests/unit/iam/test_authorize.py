"""Owner, named policies, session policies: who wins over whom."""

import json

import pytest

from iam.authorize import AllOf, IamPolicies
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import CANNED


def text(effect="Allow", action="s3:*", resource="*"):
    """Return a policy document of one statement."""
    return json.dumps({"Statement": [{"Effect": effect, "Action": action, "Resource": resource}]})


def ask(authorizer, action="s3:GetObject", kind=PrincipalType.USER, **principal):
    """Return the decision at once."""
    return authorizer.decide_now(AccessRequest(Principal(kind, "k", **principal), action, "b", "o"))


IAM = IamPolicies(lambda: CANNED)
ALL_OF = AllOf(IAM)


def test_the_owner_may_all_and_others_what_their_policies_say():
    """Named policies add up; the owner needs none."""
    assert ask(IAM, owner=True)
    assert ask(IAM, policies=("readonly",))
    assert not ask(IAM, "s3:PutObject", policies=("readonly",))
    assert ask(IAM, "s3:PutObject", policies=("readonly", "writeonly"))


def test_trap_31_no_policy_is_a_denial():
    """No name, only unknown names, no policies at all, or an error while looking: the answer is no."""
    assert not ask(IAM)
    assert not ask(IAM, policies=("nope",))
    assert ask(IAM, policies=("nope", "readonly"))
    assert not ask(IamPolicies(dict), policies=("readonly",))

    def broken():
        raise OSError("no such file")

    refusal = ask(IamPolicies(broken), policies=("readonly",))
    assert not refusal
    assert refusal.reason == "policies: OSError"


@pytest.mark.parametrize(
    "session", ["", "{}", "null", "[]", "{", text() + "x", '{"Statement": []}', text("Deny"), text(action="s3:Put*")]
)
@pytest.mark.parametrize("owner", [False, True])
def test_trap_29_a_session_policy_that_grants_nothing_denies(session, owner):
    """Empty, broken, deny-only or about other actions: no session, not even root's, gets more than it says."""
    assert not ask(ALL_OF, owner=owner, policies=("readwrite",), session_policy=session)


def test_trap_29_a_session_policy_never_widens():
    """Session AND principal: a larger session policy gives nothing that the principal lacks."""
    assert ask(ALL_OF, policies=("readonly",), session_policy=text())
    assert not ask(ALL_OF, "s3:PutObject", policies=("readonly",), session_policy=text(action="*"))
    assert not ask(ALL_OF, session_policy=text(action="*"))
    assert ask(ALL_OF, owner=True, session_policy=text(action="s3:Get*"))


def test_anonymous_is_denied_unless_a_policy_is_for_it():
    """Without credentials only policies named for anonymous requests count."""
    assert not ask(ALL_OF, kind=PrincipalType.ANONYMOUS)
    assert not ask(ALL_OF, kind=PrincipalType.ANONYMOUS, owner=True)
    assert ask(ALL_OF, kind=PrincipalType.ANONYMOUS, policies=("readonly",))


def test_parsed_session_policies_are_bounded_and_told_apart():
    """Thousands of different session policies keep memory flat, and each session is judged by its own."""
    authorizer = AllOf(IAM)
    for number in range(600):
        session = text(action=["s3:Get*", f"s3:Action{number}"] if number % 2 else ["s3:Put*", f"s3:Action{number}"])
        assert bool(ask(authorizer, policies=("readwrite",), session_policy=session)) is bool(number % 2)
    assert len(authorizer._parsed) <= 256
