"""AssumeRole and GetSessionToken: the signature proves the caller, and no session makes another."""

from __future__ import annotations

import pytest

from iam.model import Principal, PrincipalType
from sts.assume_role import SignedCaller
from sts.proof import Proof
from sts.wire import AccessDenied, StsCall

ACTIONS = ["AssumeRole", "GetSessionToken"]


async def prove(signer: Principal | None, action: str = "AssumeRole", **parameters: str) -> Proof:
    return await SignedCaller().prove(StsCall(action, {"Action": action, **parameters}, signer, "192.0.2.1"))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", [PrincipalType.ACCOUNT, PrincipalType.USER])
async def test_the_signer_becomes_the_parent(kind, action):
    """Permanent credentials make a session whose parent they are, and which claims nothing else."""
    assert await prove(Principal(kind, "KEY"), action) == Proof("user", "KEY")
    assert await SignedCaller().ready() is None


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("signer", [None, Principal(PrincipalType.ANONYMOUS)], ids=["nobody", "anonymous"])
async def test_trap_48_without_a_signature_nobody_assumes_anything(signer, action):
    """An unsigned call is refused, and the log learns why."""
    with pytest.raises(AccessDenied) as refused:
        await prove(signer, action)
    assert refused.value.reason == f"{action} without a signature"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("owner", [False, True])
async def test_trap_46_no_session_makes_another(owner, action):
    """A session, be it the owner's, cannot live on by assuming a role."""
    with pytest.raises(AccessDenied) as refused:
        await prove(Principal(PrincipalType.ASSUMED_ROLE, "KEY", owner=owner, parent="root"), action)
    assert refused.value.status == 403


@pytest.mark.parametrize("kind", [PrincipalType.ACCOUNT, PrincipalType.USER])
async def test_a_service_account_makes_no_session(kind):
    """Keys that act for somebody else are refused, as MinIO does: the session would outlive them."""
    with pytest.raises(AccessDenied, match="Only permanent credentials of a user"):
        await prove(Principal(kind, "KEY", parent="ann"))
    assert (await prove(Principal(kind, "KEY", parent="KEY"))).parent == "KEY"


async def test_trap_47_parameters_claim_nothing():
    """Whatever the parameters say, the claims are the signature's alone."""
    hostile = {"parent": "root", "RoleArn": "arn:aws:iam::1:role/admin", "accessKey": "root", "policy": "consoleAdmin"}
    assert await prove(Principal(PrincipalType.USER, "KEY"), **hostile) == Proof("user", "KEY")
