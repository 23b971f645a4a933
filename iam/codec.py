"""Records <-> bytes: JSON with a version; unknown members are tolerated, junk is None.

A revocation whose record is junk still revokes its key: what cannot be read fails closed.
"""

from __future__ import annotations

import json
from typing import Any

from iam.store import Revocation, SessionRecord

NEVER = 2**53  # an expiry for a revocation that does not say: never lifted by time


def encode_session(record: SessionRecord) -> bytes:
    """Return the bytes of a session record."""
    return _dump({
        "accessKey": record.access_key_id, "parent": record.parent, "issuer": record.issuer, "provider": record.provider,
        "issuedAt": record.issued_at, "expiresAt": record.expires_at, "claims": dict(record.claims),
    })  # fmt: skip


def decode_session(value: bytes) -> SessionRecord | None:
    """Return the session record of bytes, None when they are not one."""
    document = _load(value)
    try:
        return SessionRecord(
            str(document["accessKey"]), str(document["parent"]), str(document["issuer"]), str(document["provider"]),
            int(document["issuedAt"]), int(document["expiresAt"]), dict(document.get("claims") or {}),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None


def encode_revocation(revocation: Revocation) -> bytes:
    """Return the bytes of a revocation."""
    return _dump({"revokedAt": revocation.revoked_at, "expiresAt": revocation.expires_at})


def decode_revocation(access_key_id: str, value: bytes) -> Revocation:
    """Return the revocation of a key; bytes that say nothing revoke for good."""
    document = _load(value)
    try:
        return Revocation(access_key_id, int(document["revokedAt"]), int(document["expiresAt"]))
    except (KeyError, TypeError, ValueError):
        return Revocation(access_key_id, 0, NEVER)


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps({"version": 1, **document}, separators=(",", ":"), default=str).encode()


def _load(value: bytes) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
