"""AssumeRole: the caller is proved by a SigV4 signature with permanent credentials, verified at the front door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iam.model import PrincipalType
from sts.wire import AccessDenied, StsCall


def prove(call: StsCall) -> Mapping[str, Any]:
    """Return the claims of a session whose parent is the signer; a session may not make another (trap 46)."""
    signer = call.signer
    if signer is None:
        raise AccessDenied(reason="AssumeRole needs a signature")
    if signer.type not in {PrincipalType.ACCOUNT, PrincipalType.USER}:
        raise AccessDenied("Temporary credentials cannot assume a role.", reason="AssumeRole by a session")
    return {"parent": signer.access_key_id}
