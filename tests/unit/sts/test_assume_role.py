"""AssumeRole: the signature proves the caller, and no session makes another."""

from __future__ import annotations

import pytest

from iam.model import Principal, PrincipalType
from sts import assume_role
from sts.wire import AccessDenied, StsCall


def call(signer: Principal | None, **parameters: str) -> StsCall:
    return StsCall("AssumeRole", {"Action": "AssumeRole", **parameters}, signer, "192.0.2.1")


@pytest.mark.parametrize("kind", [PrincipalType.ACCOUNT, PrincipalType.USER])
def test_the_signer_becomes_the_parent(kind):
    """Permanent credentials make a session whose parent they are, and which claims nothing else."""
    assert assume_role.prove(call(Principal(kind, "KEY"))) == {"parent": "KEY"}


def test_without_a_signature_nobody_assumes_anything():
    """An unsigned call is refused, and the log learns why."""
    with pytest.raises(AccessDenied) as refused:
        assume_role.prove(call(None))
    assert refused.value.reason == "AssumeRole needs a signature"


@pytest.mark.parametrize("kind", sorted(set(PrincipalType) - {PrincipalType.ACCOUNT, PrincipalType.USER}))
def test_trap_46_no_session_makes_another(kind):
    """Neither a session, be it the owner's, nor the anonymous can live on by assuming a role."""
    for owner in (False, True):
        with pytest.raises(AccessDenied) as refused:
            assume_role.prove(call(Principal(kind, "KEY", owner=owner, parent="root")))
        assert refused.value.status == 403


def test_trap_47_parameters_claim_nothing():
    """Whatever the parameters say, the claims are the signature's alone."""
    hostile = {"parent": "root", "RoleArn": "arn:aws:iam::1:role/admin", "accessKey": "root", "policy": "consoleAdmin"}
    assert assume_role.prove(call(Principal(PrincipalType.USER, "KEY"), **hostile)) == {"parent": "KEY"}
