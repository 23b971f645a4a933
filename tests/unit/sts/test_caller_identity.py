"""GetCallerIdentity: names that AWS's clients can read, and that cannot be taken for others."""

from __future__ import annotations

import pytest
from botocore.utils import ArnParser
from hypothesis import given
from hypothesis import strategies as st

from iam.model import Principal, PrincipalType
from sts.caller_identity import ACCOUNT, Identity, identity_of
from sts.wire import AccessDenied, StsCall


def who(signer) -> Identity:
    return identity_of(StsCall("GetCallerIdentity", {}, signer, ""))


def session(parent="ann", name="", **more) -> Principal:
    claims = {"minio-gw": {"session": name}} if name else {}
    return Principal(PrincipalType.ASSUMED_ROLE, "A" * 20, claims=claims, parent=parent, **more)


@pytest.mark.parametrize(
    ("signer", "arn", "user_id"),
    [
        (Principal(PrincipalType.ACCOUNT, "root", owner=True), f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT),
        (Principal(PrincipalType.USER, "ann"), f"arn:aws:iam::{ACCOUNT}:user/ann", "ann"),
        (Principal(PrincipalType.USER, "SVC", parent="ann"), f"arn:aws:iam::{ACCOUNT}:user/ann", "SVC"),
        (session(name="work"), f"arn:aws:sts::{ACCOUNT}:assumed-role/ann/work", f"{'A' * 20}:work"),
        (session(), f"arn:aws:sts::{ACCOUNT}:assumed-role/ann/{'A' * 20}", f"{'A' * 20}:{'A' * 20}"),
        (session("root", owner=True), f"arn:aws:sts::{ACCOUNT}:assumed-role/root/{'A' * 20}", f"{'A' * 20}:{'A' * 20}"),
        (session("openid:corp:a/b"), f"arn:aws:sts::{ACCOUNT}:assumed-role/openid:corp:a%2Fb/{'A' * 20}", f"{'A' * 20}:{'A' * 20}"),
    ],
)  # fmt: skip
def test_who_one_is(signer, arn, user_id):
    """Root, a user, keys that act for one, sessions: each has AWS's form of ARN, user id and account."""
    assert who(signer) == (arn, user_id, ACCOUNT)


@pytest.mark.parametrize("signer", [None, Principal(PrincipalType.ANONYMOUS)], ids=["nobody", "anonymous"])
def test_nobody_is_refused(signer):
    """Who did not sign is told so."""
    with pytest.raises(AccessDenied):
        who(signer)


@given(st.text(), st.text())
def test_a_hostile_name_stays_one_part(parent, name):
    """Whatever a provider calls its subject, the ARN has one role and one session, as botocore reads ARNs."""
    found = ArnParser().parse_arn(
        who(session(parent.encode("utf-8", "ignore").decode(), name.encode("utf-8", "ignore").decode())).arn
    )
    assert (found["service"], found["account"]) == ("sts", ACCOUNT)
    assert found["resource"].count("/") == 2
