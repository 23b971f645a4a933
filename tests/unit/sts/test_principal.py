"""Who a session is: its policies, its groups, whether it is the owner's."""

from __future__ import annotations

import pytest

from iam.model import Credentials, PrincipalType, Secret
from sts.principal import policies_of, principal_of
from sts.sessions import Session


def principal(claims=None, *, parent="", session_policy=None):
    """Return the principal of a session with these claims; root is called `root`."""
    session = Session(Credentials("A" * 20, Secret("s"), Secret("t"), 2**40), claims or {}, parent, session_policy)
    return principal_of(session, claim_name="policy", claim_prefix="", root_access_key="root")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("readwrite", ("readwrite",)),
        (" a, b,,a ", ("a", "b")),
        (["a", " b ", 1, None, "a"], ("a", "b")),
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
    """A string, a comma list and an array of strings name policies; everything else names none."""
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
    """A session from an identity token: claims, groups and policies of the token, named by its sub, and never the owner."""
    claims = {"sub": "s", "azp": "a", "policy": "p", "groups": ["g", 1]}
    found = principal(claims)
    assert (found.type, found.owner, found.parent) == (PrincipalType.ASSUMED_ROLE, False, "s")
    assert (found.claims, found.groups, found.policies) == (claims, ("g",), ("p",))


def test_without_sub_the_client_is_the_parent():
    """WSO2's tokens have no sub: azp names who is behind the session."""
    assert principal({"azp": "a"}).parent == "a"


@pytest.mark.parametrize("policy", [None, "{}"])
def test_roots_own_session_is_the_owner(policy):
    """A session that root assumed is the owner, and carries the policy by which AllOf narrows it before all else."""
    found = principal(parent="root", session_policy=policy)
    assert (found.owner, found.session_policy) == (True, policy)


def test_trap_47_a_subject_called_like_root_is_not_root():
    """A federated subject with root's name is neither the owner nor, for any condition, called root."""
    for claims in (
        {"sub": "root"},
        {"azp": "root"},
        {"sub": "root", "preferred_username": "root", "policy": "consoleAdmin"},
    ):
        found = principal(claims)
        assert (found.owner, found.parent) == (False, "")
