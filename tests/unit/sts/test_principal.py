"""Who a session is: its groups, its tags, whether it is the owner's."""

from __future__ import annotations

import pytest

from iam.model import Credentials, PrincipalType, Secret
from sts.principal import policies_of, principal_of
from sts.sessions import Session


def principal(claims=None, *, parent="", session_policy=None, policies=(), root="root", **more):
    """Return the principal of a session with these claims; root is called `root`."""
    credentials = Credentials("A" * 20, Secret("s"), Secret("t"), 2**40)
    session = Session(credentials, claims or {}, parent, session_policy, **more)
    return principal_of(session, root_access_key=root, policies=policies)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("readwrite", ("readwrite",)),
        (" a, b,,a ", ("a", "b")),
        (["a", " b ", 1, None, "a"], ("a", "b")),
        (["a,b", " c , a", ","], ("a", "b", "c")),
        ("", ()),
        ([], ()),
        (None, ()),
        (True, ()),
        (5, ()),
        ({"a": 1}, ()),
        ([["a"]], ()),
    ],
)
def test_policy_claims(value, names):
    """A string, a comma list and an array of either name policies; everything else names none."""
    assert policies_of({"policy": value}, "policy") == names
    assert policies_of({"x-policy": value, "policy": "other"}, "policy", "x-") == names


def test_absent_claim_names_nothing():
    """Without the claim there are no policies."""
    assert policies_of({"Policy": "a"}, "policy") == ()


@pytest.mark.parametrize("value", ["*", "../readwrite", "{other}", "${jwt:sub}", "readwrite\n,"])
def test_trap_58_a_hostile_claim_is_a_name_and_nothing_more(value):
    """Patterns, paths and templates in the policy claim are names as they stand, which no policy has."""
    assert set(policies_of({"policy": value}, "policy")) <= {value.strip(), "readwrite"}
    assert policies_of({"policy": [value.rstrip(",\n")]}, "policy") == (value.rstrip(",\n"),)


def test_a_federated_session():
    """A federated session has the token's claims, the subjects that were proved, and the policies that were found for it."""
    claims = {"sub": "s", "groups": ["not", "these"]}
    found = principal(
        claims, parent="openid:_:s", provider="openid:_", groups=("openid:_:g",), tags={"team": "red"}, policies=("p",)
    )
    assert (found.type, found.owner, found.parent) == (PrincipalType.ASSUMED_ROLE, False, "openid:_:s")
    assert (found.claims, found.groups, found.policies) == (claims, ("openid:_:g",), ("p",))
    assert found.tags == {"team": "red"}
    assert (found.provider, found.issued_at) == ("openid:_", None)
    assert principal(parent="ann", provider="user", issued_at=1767225600999).issued_at == 1767225600


@pytest.mark.parametrize("policy", [None, "{}"])
def test_roots_own_session_is_the_owner(policy):
    """A session that root assumed is the owner, and carries the policy by which AllOf narrows it before all else."""
    found = principal(parent="root", provider="user", session_policy=policy)
    assert (found.owner, found.session_policy) == (True, policy)


@pytest.mark.parametrize("provider", ["", "openid:_", "openid:user", "ldap", "tls", "custom", "User", "user "])
def test_trap_47_a_subject_called_like_root_is_not_root(provider):
    """Whoever another way in calls like root is not the owner, whatever it claims."""
    found = principal({"sub": "root", "policy": "consoleAdmin", "parent": "root"}, parent="root", provider=provider)
    assert not found.owner


def test_without_a_root_nobody_is_the_owner():
    """Where no root account is known, an empty parent is not it."""
    assert not principal(parent="", provider="user", root="").owner
