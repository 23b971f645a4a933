"""Records <-> bytes: one JSON object with a version.

Reading returns the record, or raises `Unreadable` with a reason for the log; unknown members are tolerated.
A session that cannot be read is skipped. A revocation that cannot be read still revokes its key: it fails closed. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from iam.store import Revocation, SessionRecord

VERSION = 1
FOREVER = 2**53  # the expiry (epoch seconds) of a revocation that does not say: no time lifts it, only its deletion


class Unreadable(ValueError):
    """The bytes are not a record that this version understands."""


def encode_session(record: SessionRecord) -> bytes:
    """Return the bytes of a session record."""
    return _dump({
        "accessKey": record.access_key_id, "parent": record.parent, "issuer": record.issuer,
        "provider": record.provider, "issuedAt": record.issued_at, "expiresAt": record.expires_at,
        "claims": dict(record.claims), "kid": record.kid, "revokeType": record.revoke_type,
    })  # fmt: skip


def decode_session(access_key_id: str, value: bytes) -> SessionRecord:
    """Return the session that is recorded under an access key. Raises Unreadable."""
    document = _load(value)
    if _member(document, "accessKey", str) != access_key_id:
        raise Unreadable("it names another access key")
    parent, issuer, provider = (_member(document, name, str) for name in ("parent", "issuer", "provider"))
    issued_at, expires_at = (_member(document, name, int) for name in ("issuedAt", "expiresAt"))
    claims = _member(document, "claims", dict) if "claims" in document else {}
    kid, revoke_type = (_member(document, name, str) if name in document else "" for name in ("kid", "revokeType"))
    return SessionRecord(access_key_id, parent, issuer, provider, issued_at, expires_at, claims, kid, revoke_type)


def decode_sessions(rows: Iterable[tuple[str, bytes]], skipped: Callable[[str, str], None]) -> list[SessionRecord]:
    """Return the readable sessions of (access key, bytes) rows; `skipped` is told each other's key and the reason."""
    records = []
    for access_key_id, value in rows:
        try:
            records.append(decode_session(access_key_id, value))
        except Unreadable as error:
            skipped(access_key_id, str(error))
    return records


def encode_revocation(revocation: Revocation) -> bytes:
    """Return the bytes of a revocation."""
    return _dump({"revokedAt": revocation.revoked_at, "expiresAt": revocation.expires_at})


def decode_revocation(access_key_id: str, value: bytes) -> Revocation:
    """Return the revocation of an access key; never raises: what cannot be read revokes, and `problem` says why."""
    try:
        document = _load(value)
        return Revocation(access_key_id, _member(document, "revokedAt", int), _member(document, "expiresAt", int))
    except Unreadable as error:
        return Revocation(access_key_id, 0, FOREVER, problem=str(error))


def _dump(document: dict[str, Any]) -> bytes:
    """Claims may hold anything: what JSON does not know is written as its text (a Secret's text is masked)."""
    return json.dumps({"version": VERSION, **document}, separators=(",", ":"), default=str).encode()


def _load(value: bytes) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not JSON ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise Unreadable("it is not a JSON object")
    if _member(document, "version", int) != VERSION:
        raise Unreadable("its version is not ours")
    return document


def _member(document: dict[str, Any], name: str, kind: type[Any]) -> Any:
    """Return a member of exactly this type: true is no integer, 1e999 is no time."""
    value = document.get(name)
    if type(value) is not kind:
        raise Unreadable(f"its member {name!r} is missing or not of type {kind.__name__}")
    return value
