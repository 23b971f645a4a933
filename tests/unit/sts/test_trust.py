"""What a provider's settings say of proved claims: audience, subject, names, carried claims, policies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.records import is_name, is_subject
from sts import trust
from sts.proof import AWS_TAGS
from sts.sessions import OUR_CLAIMS
from sts.settings import OpenIdSettings

ANY = OpenIdSettings(name="corp")
ROLE = OpenIdSettings(name="k8s", client_id="minio-gw", role_policies=("readonly",), subjects=("system:*:batch:?ob",))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("client", "audiences", "claims", "found"),
    [
        ("cid", (), {"aud": "cid"}, "cid"),
        ("cid", (), {"aud": ["x", "cid"]}, "cid"),
        ("cid", (), {"aud": "x, cid"}, "cid"),
        ("cid", (), {"aud": "x", "azp": "cid"}, "cid"),
        ("cid", (), {"azp": "cid"}, "cid"),
        ("cid", (), {"aud": "x", "azp": "y"}, None),
        ("cid", (), {}, None),
        ("cid", (), {"aud": {"cid": 1}}, None),
        ("cid", (), {"aud": [["cid"]]}, None),
        ("cid", (), {"aud": "cid2"}, None),
        ("cid", ("a",), {"aud": "a"}, "a"),
        ("cid", ("a",), {"aud": "cid"}, "cid"),
        ("cid", ("a",), {"aud": "x", "azp": "cid"}, None),
        ("", ("a", "b"), {"aud": ["b"]}, "b"),
        ("", ("a",), {"aud": "x", "azp": ""}, None),
        ("", (), {"aud": ["x", "y"]}, "x"),
        ("", (), {}, ""),
    ],
)
def test_audience(client, audiences, claims, found):
    """The client id or an audience must be in aud; azp may name the client id only where no audiences are listed."""
    assert trust.audience(replace(ANY, client_id=client, audiences=audiences), claims) == found


@pytest.mark.parametrize(
    ("subject", "good"),
    [("system:serviceaccount:batch:job", True), ("system:serviceaccount:batch:jobs", False), ("x", False), ("", False),
     (None, False), (5, False), ("xsystem:a:batch:job", False)],
)  # fmt: skip
def test_trap_39_subjects(subject, good):
    """A role is given to those subjects only that a pattern matches whole; the same patterns bind a claim's provider."""
    for settings in (ROLE, replace(ROLE, role_policies=())):
        assert trust.is_trusted(settings, {"sub": subject}) is good


def test_trap_39_a_role_without_subjects_trusts_nobody():
    """Should a role ever come without subjects, nobody takes it; without a role nobody is asked who he is."""
    assert not trust.is_trusted(replace(ROLE, subjects=()), {"sub": "s"})
    assert trust.is_trusted(ANY, {})


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"sub": "s", "azp": "a"}, "openid:corp:s"),
        ({"azp": "a", "client_id": "c"}, "openid:corp:a"),
        ({"client_id": "c"}, "openid:corp:c"),
        ({"sub": "", "azp": "a"}, "openid:corp:a"),
        ({"sub": "a\nb"}, ""),
        ({"sub": "s" * 1024}, ""),
        ({"sub": 5}, ""),
        ({}, ""),
    ],
)
def test_parent(claims, name):
    """An identity is named by its provider and its sub, else by its client; what can be no name is none."""
    assert trust.parent(ANY, claims) == name
    assert trust.parent(OpenIdSettings(), claims) == name.replace("corp", "_")


@given(st.text(max_size=30), st.sampled_from(["", "corp"]))
def test_trap_47_nobody_is_called_like_a_user(subject, name):
    """Whatever an identity provider calls its subject, its name is a subject and never that of a user."""
    found = trust.parent(OpenIdSettings(name=name), {"sub": subject})
    assert found == "" or (is_subject(found) and not is_name(found) and found.startswith(f"openid:{name or '_'}:"))


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (["a", "b", "a"], ("openid:corp:a", "openid:corp:b")), ("a", ("openid:corp:a",)), ([""], ()), (None, ()), ([], ()),
        (" a , b,a,", ("openid:corp:a", "openid:corp:b")), ("", ()), (" , ", ()),
        (["cn=a,dc=x", " b "], ("openid:corp:cn=a,dc=x", "openid:corp: b ")),
    ],
)  # fmt: skip
def test_groups(value, names):
    """Groups are named by their provider, once each, be they a text, a comma list or an array, whose names may have commas."""
    assert trust.groups(ANY, {"groups": value}) == names


@pytest.mark.parametrize(
    "value", [5, True, 0, False, {}, {"a": "b"}, [5], ["a", None], [["a"]], ["a\0"], "a\nb", ["g" * 1024]]
)
def test_trap_30_no_group_is_dropped(value):
    """A claim of another shape, or with what can be no name, is no claim of no groups: what denies them would be shed."""
    with pytest.raises(ValueError, match="claim groups"):
        trust.groups(ANY, {"groups": value})


def test_carried_claims():
    """All claims but ours are carried, or those of the list beside identity, session tags and the claim of policies."""
    claims = dict.fromkeys(["sub", "iss", "azp", "policy", "mail", "groups", AWS_TAGS, *OUR_CLAIMS], "x")
    assert trust.carried(ANY, claims).keys() == claims.keys() - OUR_CLAIMS
    few = replace(ANY, carried=("mail", "parent"))
    assert trust.carried(few, claims).keys() == {"sub", "iss", "azp", "policy", "mail", AWS_TAGS}


@given(st.dictionaries(st.sampled_from([*OUR_CLAIMS, "sub", "policy"]), JSON), st.none() | st.just(("exp", "policy")))
def test_trap_47_claims_that_are_ours_are_never_carried(claims, carried):
    """No claim of an identity provider takes the place of one that only we set."""
    assert OUR_CLAIMS.isdisjoint(trust.carried(replace(ANY, carried=carried), claims))


def test_policies_of_a_claim_and_of_a_role():
    """A claim-based session has what its claim names; a role's session what the settings name, whatever its claim says."""
    arn = ROLE.role_arn("")
    assert trust.policies(ANY, "", {"policy": ["a", "b"]}) == ("a", "b")
    assert trust.policies(ROLE, arn, {"policy": "consoleAdmin", "roleArn": arn}) == ("readonly",)


def test_a_session_of_yesterdays_settings_has_nothing():
    """A session that was proved for a role, or without one, has no rights where that is otherwise now."""
    arn = ROLE.role_arn("")
    assert trust.policies(ROLE, arn, {"policy": "a"}) == ()
    assert trust.policies(ROLE, arn, {"roleArn": "arn:minio:iam:::role/other"}) == ()
    assert trust.policies(ANY, "", {"policy": "a", "roleArn": arn}) == ()
