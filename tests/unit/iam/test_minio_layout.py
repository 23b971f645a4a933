"""MinIO's IAM of every era, by hand from what is known of each, becomes our records and a report."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam import minio_layout
from iam.evaluate import decide
from iam.minio_layout import Former
from iam.minio_values import Unusable
from iam.model import AccessRequest, Deny, Principal, PrincipalType, Secret
from iam.policy import CANNED, parse
from iam.records import Attachment, Group, PolicyDocument, ServiceAccount, User, is_policy_name
from sts import trust
from sts.dn import normalize
from sts.settings import OpenIdSettings
from tests.unit.iam.test_minio_values import signed

NOW = 1_700_000_000
PHOTOS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::photos/*"]}],
}
ROOT = ("formerroot", Secret("secret-of-the-former-root"))
ALICE = {
    "users/alice/identity.json": {
        "version": 1,
        "credentials": {"accessKey": "alice", "secretKey": "alice-secret", "status": "on"},
    }
}


def read(documents, former=None, now=NOW):
    """Return what is found in documents by the rest of their keys."""
    rows = {f"config/iam/{key}": json.dumps(document).encode() for key, document in documents.items()}
    return minio_layout.read(rows, former or Former(), now=now)


def account(claims=None, *, by="account-secret", parent="alice", key="SVCACCOUNT", **members):
    """Return the row of a service account whose token its own secret has signed."""
    own = {"accessKey": key, "parent": parent, "sa-policy": "inherited-policy"}
    token = signed(own | (claims or {}), by)
    credentials = {
        "accessKey": key,
        "secretKey": "account-secret",
        "sessionToken": token,
        "status": "on",
        "parentUser": parent,
    }
    return {f"service-accounts/{key}/identity.json": {"version": 1, "credentials": credentials | members}}


def reasons(found):
    """Return the reasons of what was left out, by the end of the key."""
    return {note.about.removeprefix("config/iam/"): note.text for note in found.skipped}


def test_the_layout_of_october_2018():
    """Flat identities; a user's whole policy, which had no name, gets one and is attached."""
    found = read({
        "users/alice/identity.json": {"secretKey": "alice-secret", "status": "enabled"},
        "users/alice/policy.json": PHOTOS,
        "users/gone/identity.json": {"secretKey": "gone-secret", "status": "enabled"},
        "sts/TEMPKEY/identity.json": {
            "accessKey": "TEMPKEY", "secretKey": "temp-secret", "expiration": "2018-10-12T12:00:00.5-07:00",
            "sessionToken": "e.y.J", "status": "enabled",
        },
        "sts/TEMPKEY/policy.json": PHOTOS,
    })  # fmt: skip
    assert set(map(type, found.records)) == {User, PolicyDocument, Attachment}
    assert User("alice", Secret("alice-secret")) in found.records
    assert Attachment("alice", ("of-user-alice",)) in found.records
    assert [json.loads(r.text) for r in found.records if isinstance(r, PolicyDocument)] == [PHOTOS]
    assert (found.sessions, found.expired, found.skipped) == (0, 1, ())
    assert [note.about for note in found.warnings] == ["config/iam/users/gone/identity.json"]


def test_the_layout_of_2019_before_july():
    """users/<name>/policy.json is the name of a policy; policies are bare."""
    found = read({
        "users/alice/identity.json": {"secretKey": "alice-secret", "status": "disabled"},
        "users/alice/policy.json": "photos", "policies/photos/policy.json": PHOTOS,
        "sts/TEMPKEY/policy.json": "photos",
    })  # fmt: skip
    assert set(found.records) == {
        User("alice", Secret("alice-secret"), enabled=False), Attachment("alice", ("photos",)),
        PolicyDocument("photos", json.dumps(PHOTOS)),
    }  # fmt: skip
    assert not found.skipped


def test_the_layout_of_later_years():
    """Version 1: credentials inside, mappings in policydb, groups, wrapped policies, times of change."""
    at = {"updatedAt": "2022-06-01T12:00:00.123456789Z"}
    found = read({
        "format.json": {"version": 1},
        "users/alice/identity.json": ALICE["users/alice/identity.json"] | at,
        "groups/team/members.json": {"version": 1, "status": "disabled", "members": ["alice"]} | at,
        "policies/photos/policy.json": {
            "Version": 1, "Policy": PHOTOS, "CreateDate": "2022-01-01T00:00:00Z", "UpdateDate": "2022-01-02T00:00:00Z",
        },
        "policydb/users/alice.json": {"version": 1, "policy": "photos,readwrite"} | at,
        "policydb/groups/team.json": {"version": 1, "policy": "photos"},
        "policydb/sts-users/uid=alice,dc=x.json": {"version": 1, "policy": "photos"},
        "policydb/users/empty.json": {"version": 1, "policy": ""},
    })  # fmt: skip
    assert set(found.records) == {
        User("alice", Secret("alice-secret"), updated_at=1654084800),
        Group("team", ("alice",), enabled=False, updated_at=1654084800),
        PolicyDocument("photos", json.dumps(PHOTOS, separators=(",", ":")), 1640995200, 1641081600),
        Attachment("alice", ("photos", "readwrite"), updated_at=1654084800), Attachment("team", ("photos",), group=True),
        Attachment("uid=alice,dc=x", ("photos",)),
    }  # fmt: skip
    assert not found.skipped
    assert not found.warnings


def test_the_mapping_goes_before_what_2018_left_behind():
    """Where a user has both a mapping and an old policy.json, the mapping counts, as in MinIO after its migration."""
    found = read(
        ALICE | {"users/alice/policy.json": PHOTOS, "policydb/users/alice.json": {"version": 1, "policy": "readonly"}}
    )
    assert [r for r in found.records if not isinstance(r, User)] == [Attachment("alice", ("readonly",))]


def test_canned_policies_are_ours_already():
    """A stored policy that says what our canned one of its name says is not stored again."""
    same = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}],
    }
    found = read(ALICE | {"policies/readwrite/policy.json": same, "policydb/users/alice.json": {"policy": "readwrite"}})
    assert [r for r in found.records if not isinstance(r, User)] == [Attachment("alice", ("readwrite",))]


@pytest.mark.parametrize("name", ["readwrite", "our policy", "x/y"])
def test_a_policy_that_cannot_have_its_name_gets_another(name):
    """A narrower policy under a canned name does not become our wide one: it is called otherwise, wherever it is attached."""
    found = read(
        ALICE | {f"policies/{name}/policy.json": PHOTOS, "policydb/users/alice.json": {"policy": f"readonly,{name}"}}
    )
    _, attachment = (record for record in found.records if not isinstance(record, User))
    (policy,) = (record for record in found.records if isinstance(record, PolicyDocument))
    assert is_policy_name(policy.name)
    assert policy.name not in CANNED
    assert attachment.policies == ("readonly", policy.name)
    assert [note.text for note in found.warnings] == [f"{name!r} is {policy.name} here"]


def test_a_policy_we_refuse_is_told_with_every_problem_and_gives_nothing():
    """Each problem of a policy that does not parse is told; what is attached stays attached."""
    bad = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Principal": "*"}]}
    found = read(
        ALICE | {"policies/bad/policy.json": bad, "policydb/users/alice.json": {"version": 1, "policy": "bad"}}
    )
    assert len([note for note in found.skipped if note.about == "config/iam/policies/bad/policy.json"]) == 2
    assert [r for r in found.records if not isinstance(r, User)] == [Attachment("alice", ("bad",))]


@pytest.mark.parametrize(
    "statements",
    [
        [{"Effect": "Allow", "Action": "s3:*"}, {"Effect": "Deny", "Action": "s3:Odd", "Resource": "arn:odd"}],
        {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:odd"}, [{"Effect": "Maybe"}], "none",
    ],
)  # fmt: skip
def test_trap_30_a_policy_we_refuse_that_denies_goes_on_denying(statements):
    """An explicit deny is not lost with the policy that we cannot read: until it is written anew, all is denied."""
    found = read({"policies/bad/policy.json": {"Version": "2012-10-17", "Statement": statements}})
    (policy,) = found.records
    action = AccessRequest(Principal(PrincipalType.USER, "alice"), "s3:GetObject", "photos", "k")
    assert isinstance(decide([CANNED["readwrite"], parse(policy.text)], action), Deny)
    assert "denies all" in found.warnings[0].text
    assert found.skipped


def test_trap_30_a_whole_policy_of_2018_goes_on_denying():
    """The same for the policy that October 2018 kept beside its user."""
    denying = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": ["odd:*"], "Resource": ["arn:odd"]}]}
    found = read({"users/alice/identity.json": {"secretKey": "alice-secret"}, "users/alice/policy.json": denying})
    assert PolicyDocument("of-user-alice", minio_layout.DENIES_ALL) in found.records
    assert Attachment("alice", ("of-user-alice",)) in found.records


def test_two_odd_names_stay_two_policies():
    """Names that differ in odd characters only do not fall together, nor upon a name that is there."""
    keys = ["a b", "a/b", "readonly", "minio-readonly"]
    found = read({f"policies/{name}/policy.json": PHOTOS for name in keys})
    assert len({record.name for record in found.records}) == 4


def test_trap_30_what_could_not_be_read_may_have_denied_and_is_told():
    """A policy, mapping or group that did not open may have denied something: the administrator is told so."""
    keys = ["policies/a/policy.json", "policydb/groups/a.json", "groups/a/members.json"]
    found = minio_layout.read({f"config/iam/{key}": Unusable("sealed") for key in keys}, Former(), now=NOW)
    assert [note.text for note in found.warnings] == ["what it denied, if anything, is not denied here"] * 3


@pytest.mark.parametrize(
    ("key", "document", "reason"),
    [
        ("users/a=b/identity.json", {"secretKey": "long-enough"}, "3 to 128 of"),
        ("users/ab/identity.json", {"secretKey": "long-enough"}, "3 to 128 of"),
        ("users/root user/identity.json", {"secretKey": "long-enough"}, "3 to 128 of"),
        ("users/alice/identity.json", {"secretKey": "short"}, "8 to 128 characters"),
        ("users/alice/identity.json", {"secretKey": 7}, "no text"),
        ("users/alice/identity.json", [], "no JSON object"),
        ("users/alice/policy.json", "readwrite", "no user of that name"),
        ("groups/a b/members.json", {"members": []}, "3 to 128 of"),
        ("groups/team/members.json", {"members": "alice"}, "no list"),
        ("policydb/sts-users/x8fT0.json", {"version": 1, "policy": "photos"}, "anew with each session"),
        ("policydb/sts-users/tls:client.json", {"version": 1, "policy": "photos"}, "anew with each session"),
        ("policydb/service-accounts/SVC.json", {"version": 1, "policy": "photos"}, "own policy"),
        ("format.json", {"version": 2}, "version"),
        ("something/else.json", {}, "no record of identities"),
        ("users//identity.json", {"secretKey": "long-enough"}, "no record of identities"),
    ],
)
def test_what_cannot_be_taken_says_why(key, document, reason):
    """Each row that becomes no record is told by its key, with the reason."""
    found = read({key: document})
    assert not found.records
    assert reason in reasons(found)[key]


def test_a_value_that_did_not_open_is_told():
    """The reason a value could not be opened reaches the report."""
    found = minio_layout.read({"config/iam/users/alice/identity.json": Unusable("sealed")}, Former(), now=NOW)
    assert reasons(found) == {"users/alice/identity.json": "sealed"}


def test_sessions_are_counted_and_their_mappings_go_with_them():
    """Temporary credentials are counted, good or expired; the mapping under their key is not somebody's."""

    def temporary(expiration):
        return {"version": 1, "credentials": {"accessKey": "K", "secretKey": "temp-secret", "expiration": expiration}}

    found = read({
        "sts/LIVE/identity.json": temporary("2099-01-01T00:00:00Z"), "sts/DEAD/identity.json": temporary("2020-01-01T00:00:00Z"),
        "sts/ODD/identity.json": {"version": 1, "credentials": 7},
        "policydb/sts-users/LIVE.json": {"version": 1, "policy": "photos"},
    })  # fmt: skip
    assert (found.sessions, found.expired, found.records, found.skipped) == (1, 2, (), ())


def test_a_service_account_of_a_user():
    """Name, status, expiry and the policy in its token come along."""
    narrow = base64.b64encode(json.dumps(PHOTOS).encode()).decode()
    found = read(ALICE | account(
        {"sa-policy": "embedded-policy", "sessionPolicy": narrow}, name="backup", description="at night", status="off",
        expiration="2099-01-01T00:00:00Z",
    ))  # fmt: skip
    assert found.records[-1] == ServiceAccount(
        "SVCACCOUNT", Secret("account-secret"), "alice", enabled=False, policy=json.dumps(PHOTOS), name="backup",
        description="at night", expires_at=4070908800,
    )  # fmt: skip
    assert not found.skipped


def test_a_token_that_root_signed_needs_the_root_pair():
    """Until 2021 root's secret signed accounts' tokens; without it they are not believed."""
    rows = ALICE | account(by=ROOT[1].reveal())
    assert "root pair of then" in reasons(read(rows))["service-accounts/SVCACCOUNT/identity.json"]
    assert isinstance(read(rows, Former(root=ROOT)).records[-1], ServiceAccount)


def test_a_service_account_of_root_is_told():
    """An account of root keeps the former root as its parent, and the administrator is told."""
    found = read(account(parent="formerroot"), Former(root=ROOT))
    assert found.records[0].parent == "formerroot"
    assert "acts for root" in found.warnings[0].text
    assert "no user here" in reasons(read(account(parent="formerroot")))["service-accounts/SVCACCOUNT/identity.json"]


@pytest.mark.parametrize(
    ("claims", "members", "reason"),
    [
        ({"parent": "formerroot"}, {}, "another account or parent"),
        ({"accessKey": "OTHER"}, {}, "another account or parent"),
        ({}, {"parentUser": ""}, "another account or parent"),
        ({"sa-policy": "odd"}, {}, "does not say what it may"),
        ({"sa-policy": "embedded-policy", "sessionPolicy": "e30="}, {}, "its policy"),
        ({}, {"expiration": "2020-01-01T00:00:00Z"}, "expired"),
        ({}, {"sessionToken": ""}, "token"),
        ({}, {"secretKey": "short"}, "signed with another"),
    ],
)
def test_trap_29_an_account_that_is_not_understood_is_left_out(claims, members, reason):
    """Whatever is odd about a service account, it is left out rather than taken with more rights."""
    found = read(ALICE | account(claims, **members), Former(root=ROOT))
    assert not [record for record in found.records if isinstance(record, ServiceAccount)]
    assert reason in reasons(found)["service-accounts/SVCACCOUNT/identity.json"]


def test_accounts_of_federated_people_get_their_new_names():
    """LDAP names are brought to our form; people of OpenID providers are known by the provider that was named."""
    former = Former(providers={"https://idp": "openid:corp"}, normal_dn=str.lower)
    ldap = account(
        {"ldapUser": "UID=a,DC=x", "ldapUsername": "a"}, parent="UID=a,DC=x", key="LDAPACC", groups=["CN=g,DC=x"]
    )
    oidc = account({"iss": "https://idp", "sub": "s1", "policy": "readwrite"}, parent="x8fT0", key="OIDCACC")
    found = read(ldap | oidc, former)
    one, two = found.records
    assert (one.parent, one.provider, one.groups) == ("uid=a,dc=x", "ldap", ("cn=g,dc=x",))
    assert dict(one.claims) == {"ldapUser": "uid=a,dc=x", "ldapActualUser": "UID=a,DC=x", "ldapUsername": "a"}
    assert (two.parent, two.provider, dict(two.claims)["policy"]) == ("openid:corp:s1", "openid:corp", "readwrite")
    assert two.parent == trust.parent(OpenIdSettings(name="corp"), two.claims)
    unnamed = read(oidc, Former(providers={"https://idp": "openid"})).records[0]
    assert (unnamed.parent, unnamed.provider) == (trust.parent(OpenIdSettings(), two.claims), "openid")
    assert "made anew" in reasons(read(oidc))["service-accounts/OIDCACC/identity.json"]


def test_ldap_names_come_in_the_form_that_ldap_sessions_have():
    """With the sts package's own form, mappings fit the parents of LDAP sessions; what is no LDAP name is told."""
    found = read(
        {"policydb/sts-users/UID=Alice, DC=X.json": {"version": 1, "policy": "a"},
         "policydb/groups/CN=Staff,DC=X.json": {"version": 1, "policy": "a"},
         "policydb/sts-users/no=dn,.json": {"version": 1, "policy": "a"}},
        Former(normal_dn=normalize),
    )  # fmt: skip
    assert set(found.records) == {Attachment("uid=alice,dc=x", ("a",)), Attachment("cn=staff,dc=x", ("a",), group=True)}
    assert reasons(found) == {"policydb/sts-users/no=dn,.json": "it is no LDAP name"}


@given(
    st.dictionaries(
        st.sampled_from([start + name + end for start, end in minio_layout._PLACES for name in ("alice", "a=b", "", "x/../y")]),
        st.recursive(
            st.none() | st.text(max_size=4) | st.integers(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
                st.sampled_from(["credentials", "secretKey", "sessionToken", "parentUser", "policy", "members"]), inner, max_size=4
            ),
            max_leaves=8,
        ),
        max_size=6,
    )
)  # fmt: skip
def test_whatever_lies_there_every_row_is_accounted_for(documents):
    """Reading never fails, and no value shows up in a report that is not its key's or our words."""
    found = read(documents)
    for note in found.skipped:
        assert note.about.removeprefix("config/iam/") in documents
