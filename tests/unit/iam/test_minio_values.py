"""MinIO's stored values, one by one."""

from __future__ import annotations

import base64
import json
import os
import warnings

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam import madmin, minio_values
from iam.minio_values import Unusable
from iam.model import Secret

ROOT = ("formerroot", Secret("secret-of-the-former-root"))


def signed(claims, by="account-secret", algorithm="HS512"):
    """Return a token as MinIO signs it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MinIO's secrets are short for HS512
        return jwt.encode(claims, by, algorithm=algorithm)


def test_plain_json_is_read_as_it_is():
    """A value of 2018, or of the years after 2021-04, needs no root pair."""
    assert minio_values.opened(b'{"a":1}', None) == b'{"a":1}'
    assert minio_values.opened(b'"readwrite"', None) == b'"readwrite"'


def test_a_value_encrypted_with_the_root_pair_is_opened():
    """A value of 2019-11 to 2021-04 opens with `access key:secret key`."""
    value = madmin.encrypt("formerroot:secret-of-the-former-root", b'{"a":1}', random=os.urandom)
    assert minio_values.opened(value, ROOT) == b'{"a":1}'


@pytest.mark.parametrize("first", [b"{", b'"', b"["])
def test_an_encrypted_value_that_begins_like_json_is_opened(first):
    """The salt is random and may begin with any byte: one value in a hundred begins like JSON."""
    value = madmin.encrypt(
        "formerroot:secret-of-the-former-root", b'{"a":1}', random=lambda size: first + os.urandom(size - 1)
    )
    assert minio_values.opened(value, ROOT) == b'{"a":1}'


@pytest.mark.parametrize(
    ("value", "root", "reason"),
    [
        (madmin.encrypt("x:y", b"{}", random=os.urandom), None, "root pair of the gateway that wrote it is needed"),
        (madmin.encrypt("x:y", b"{}", random=os.urandom), ROOT, "was another, or a KMS"),
        (b"\x20" * 100, ROOT, "a KMS may have sealed it"),
        (b"", ROOT, "a KMS may have sealed it"),
    ],
    ids=["no root pair", "another root pair", "no form that is known", "nothing"],
)
def test_what_does_not_open_says_why(value, root, reason):
    """A value that cannot be opened is Unusable with a reason an administrator can act upon, never taken for empty."""
    with pytest.raises(Unusable, match=reason):
        minio_values.opened(value, root)


@pytest.mark.parametrize("text", [b'{"a":1,"a":2}', b"{", b"[" * 100_000, b'{"a":"\xff"}', b'{\x00"\x00a\x00"\x00'])
def test_ambiguous_or_broken_json_is_unusable(text):
    """A member given twice, a text that is not UTF-8 or not JSON is refused."""
    with pytest.raises(Unusable):
        minio_values.parsed(text)


def test_the_flat_identity_of_2018_is_read():
    """A user of 2018 has secretKey and status only."""
    identity = minio_values.identity({"secretKey": "alice-secret", "status": "enabled", "policyName": "readwrite"})
    assert (identity.secret, identity.enabled) == (Secret("alice-secret"), True)
    assert identity.policy_names == ("readwrite",)


@pytest.mark.parametrize(
    ("status", "enabled"), [("on", True), ("enabled", True), (None, True), ("off", False), ("disabled", False)]
)
def test_the_words_of_both_eras_for_a_status(status, enabled):
    """`on` and `off` mean what `enabled` and `disabled` meant; MinIO took a missing one for enabled."""
    credentials = {"accessKey": "alice", "secretKey": "alice-secret"} | ({"status": status} if status else {})
    assert minio_values.identity({"version": 1, "credentials": credentials}).enabled is enabled


def test_an_unknown_status_is_unusable():
    """A status nobody knows neither enables nor disables."""
    with pytest.raises(Unusable, match="status"):
        minio_values.identity({"credentials": {"secretKey": "alice-secret", "status": "maybe"}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", None), ("0001-01-01T00:00:00Z", None), ("", None),
        ("2018-08-21T15:49:38-07:00", 1534891778), ("2018-08-21T22:49:38.123456789Z", 1534891778),
    ],
)  # fmt: skip
def test_the_forms_of_an_expiry(text, expected):
    """Go's zero time and the epoch mean never; offsets and nanoseconds are read."""
    assert minio_values.identity({"secretKey": "x", "expiration": text}).expires_at == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
            ["credentials", "secretKey", "status", "groups", "expiration", "Policy", "policy", "members", "CreateDate"]
        ), inner, max_size=5),
        max_leaves=20,
    )
)  # fmt: skip
def test_any_document_is_read_or_unusable(document):
    """Whatever lies in etcd, reading it answers or refuses; nothing else is raised."""
    for read in (minio_values.identity, minio_values.mapped, minio_values.group, lambda d: minio_values.policy(b"", d)):
        try:
            read(document)
        except Unusable:
            continue


def test_mapped_policies_of_both_eras():
    """A mapping is a string in 2018 and an object since; names are parted by commas, each counts once."""
    assert minio_values.mapped("readwrite") == (("readwrite",), 0)
    document = {"version": 1, "policy": "a, b,a,", "updatedAt": "2022-01-01T00:00:00Z"}
    assert minio_values.mapped(document) == (("a", "b"), 1640995200)


def test_policies_bare_and_wrapped():
    """A bare policy keeps its author's text; a wrapped one brings its dates."""
    bare = b' {"Version": "2012-10-17",\n "Statement": []}\n'
    assert minio_values.policy(bare, json.loads(bare)) == (bare.decode().strip(), 0, 0)
    wrapped = {
        "Version": 1,
        "Policy": {"Id": "ä"},
        "CreateDate": "2022-01-01T00:00:00Z",
        "UpdateDate": "2022-01-02T00:00:00Z",
    }
    assert minio_values.policy(b"", wrapped) == ('{"Id":"ä"}', 1640995200, 1641081600)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_is_verified_as_pyjwt_signs_it(algorithm):
    """The account's own secret or root's has signed the token, with any of the three HMACs."""
    token = signed({"parent": "alice"}, "root-secret", algorithm)
    assert minio_values.verified(token, [Secret("account-secret"), Secret("root-secret")]) == {"parent": "alice"}


def test_trap_38_a_token_without_or_with_another_signature_is_unusable():
    """No claim of a token that none of the secrets signed is believed, whatever its header says."""
    claims = {"parent": "root", "sa-policy": "inherited-policy"}
    none = jwt.encode(claims, "", algorithm="none")
    good = signed({"parent": "alice"})
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    swapped = ".".join([good.split(".")[0], body, good.split(".")[2]])
    for token in (
        none,
        signed(claims, "another-secret"),
        swapped,
        "",
        "a.b",
        "a.b.c.d",
        good + "x",
        good.rpartition(".")[0] + ".",
    ):
        with pytest.raises(Unusable):
            minio_values.verified(token, [Secret("account-secret")])


def test_what_an_account_may_is_said_or_unusable():
    """A token that names neither an inherited nor an embedded policy gives nothing, rather than everything."""
    text = '{"Statement":[]}'
    embedded = {"sa-policy": "embedded-policy", "sessionPolicy": base64.b64encode(text.encode()).decode()}
    assert minio_values.session_policy(embedded) == text
    assert minio_values.session_policy({"sa-policy": "inherited-policy"}) is None
    for claims in (
        {},
        {"sa-policy": "embedded-policy"},
        {"sa-policy": "embedded-policy", "sessionPolicy": "%"},
        {"sa-policy": 1},
    ):
        with pytest.raises(Unusable):
            minio_values.session_policy(claims)
