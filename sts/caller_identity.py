"""GetCallerIdentity: who signed, as AWS tells it. No policy is asked, as at AWS. Pure.

https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html,
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from iam.model import Principal, PrincipalType
from sts.sessions import PRIVATE
from sts.wire import AccessDenied, StsCall

ACCOUNT = "000000000000"  # twelve digits, as clients expect; there are no accounts here
_PLAIN = "=,.@+:"  # besides letters, digits and _-~: what a name may hold without making another ARN of it


class Identity(NamedTuple):
    """The three texts of the answer."""

    arn: str
    user_id: str
    account: str = ACCOUNT


def identity_of(call: StsCall) -> Identity:
    """Return who signed a call. Raises AccessDenied when nobody did."""
    signer = call.signer
    if signer is None or signer.type is PrincipalType.ANONYMOUS:
        raise AccessDenied("GetCallerIdentity needs a signature.", reason="GetCallerIdentity without a signature")
    if signer.type is PrincipalType.ASSUMED_ROLE:
        session = _session_name(signer)
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{_quoted(signer.parent)}/{_quoted(session)}"
        return Identity(arn, f"{signer.access_key_id}:{session}")
    if signer.owner:
        return Identity(f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
    return Identity(
        f"arn:aws:iam::{ACCOUNT}:user/{_quoted(signer.parent or signer.access_key_id)}", signer.access_key_id
    )


def _session_name(signer: Principal) -> str:
    private = signer.claims.get(PRIVATE)
    name = private.get("session") if isinstance(private, dict) else None
    return name if isinstance(name, str) and name else signer.access_key_id


def _quoted(text: str) -> str:
    """Quote what would end or begin a part of the ARN: a `/` above all."""
    return quote(text, safe=_PLAIN)
