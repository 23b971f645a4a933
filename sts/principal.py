"""Session -> Principal: which policies it names, whose it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iam.model import Principal, PrincipalType
from sts.sessions import Session


def policies_of(claims: Mapping[str, Any], name: str, prefix: str = "") -> tuple[str, ...]:
    """Return the policy names in a claim: a string, a comma list or an array (minio.md 3.2)."""
    value = claims.get(prefix + name)
    texts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
    return tuple(dict.fromkeys(t.strip() for t in texts if isinstance(t, str) and t.strip()))


def principal_of(session: Session, *, claim_name: str, claim_prefix: str, root_access_key: str) -> Principal:
    """Return who a session is.

    Only a session that root itself assumed is the owner; a session policy narrows the owner's too, since
    `iam.authorize.AllOf` judges by it before anybody looks at `owner`.
    """
    groups = session.claims.get("groups")
    return Principal(
        PrincipalType.ASSUMED_ROLE,
        session.credentials.access_key_id,
        owner=bool(session.parent) and session.parent == root_access_key,
        claims=session.claims,
        groups=tuple(g for g in groups if isinstance(g, str)) if isinstance(groups, list) else (),
        policies=policies_of(session.claims, claim_name, claim_prefix),
        session_policy=session.session_policy,
        parent=session.parent or _federated(session.claims, root_access_key),
    )


def _federated(claims: Mapping[str, Any], root_access_key: str) -> str:
    """Return the IdP's name for its subject; one called like root stays nameless, or conditions would mix them up (trap 47)."""
    name = str(claims.get("sub") or claims.get("azp") or "")
    return "" if name == root_access_key else name
