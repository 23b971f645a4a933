"""Session -> Principal: whose it is, and what it brings to a decision. Its policies are found elsewhere, per request. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iam.model import Principal, PrincipalType
from sts.proof import USER
from sts.sessions import Session


def policies_of(claims: Mapping[str, Any], name: str, prefix: str = "") -> tuple[str, ...]:
    """Return the policy names in a claim: a string, a comma list or an array of either (minio.md 3.2)."""
    value = claims.get(prefix + name)
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    names = (part.strip() for text in texts if isinstance(text, str) for part in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def principal_of(session: Session, *, root_access_key: str, policies: tuple[str, ...] = ()) -> Principal:
    """Return who a session is; `policies` are those that were found for it.

    Only a session that root itself assumed is the owner: one of the way in that permanent keys prove, whose parent is root's
    access key (trap 47). A session policy narrows the owner's too, since `iam.authorize.AllOf` judges by it before anybody
    looks at `owner`.
    """
    return Principal(
        PrincipalType.ASSUMED_ROLE,
        session.credentials.access_key_id,
        owner=session.provider == USER and session.parent == root_access_key != "",
        claims=session.claims,
        groups=session.groups,
        policies=policies,
        session_policy=session.session_policy,
        parent=session.parent,
        tags=session.tags,
        issued_at=session.issued_at // 1000 or None,
        provider=session.provider,
    )
