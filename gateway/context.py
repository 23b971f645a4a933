"""The facts of one request that a policy may ask about: condition keys for IAM policies, `conditions` for OPA.

Computed when asked. What is ours to say (who, when, from where, how signed) is looked up in our own facts only, so no
header or parameter of a client can write it (trap 32).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from iam.model import Principal

#: s3:x-amz-* keys that AWS documents; each is the header of that name.
_HEADER_KEYS = frozenset({
    "x-amz-acl", "x-amz-content-sha256", "x-amz-copy-source", "x-amz-grant-full-control", "x-amz-grant-read",
    "x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-metadata-directive",
    "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class", "x-amz-website-redirect-location",
    "x-amz-object-ownership",
})  # fmt: skip
_QUERY_KEYS = frozenset({"prefix", "delimiter", "max-keys"})
_LOCK_KEYS = {
    "object-lock-mode": "x-amz-object-lock-mode",
    "object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    "object-lock-legal-hold": "x-amz-object-lock-legal-hold",
}
_MASKED = frozenset({
    "authorization", "cookie", "proxy-authorization", "x-amz-security-token", "x-amz-signature", "x-amz-credential",
    "x-amz-server-side-encryption-customer-key", "x-amz-copy-source-server-side-encryption-customer-key",
})  # fmt: skip


@dataclass(frozen=True)
class RequestContext:
    """An `iam.model.Context` over one request. `now` in epoch seconds, `signature_age_ms` in milliseconds."""

    headers: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    principal: Principal
    source_ip: str
    secure: bool
    now: int
    signature_version: str = ""
    auth_type: str = ""
    signature_age_ms: int | None = None
    raw_headers: bool = False
    version_id: str = ""

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values of a condition key, None when the request has none."""
        service, _, name = key.partition(":")
        service = service.lower()
        if service == "aws":
            return self._aws(name.lower())
        if service == "s3":
            return self._s3(name)
        if service in {"jwt", "ldap"}:
            return self._claim(name if service == "jwt" else f"ldap{name.capitalize()}")
        return None

    def document(self) -> dict[str, list[str]]:
        """Return MinIO's `conditions`: headers and parameters as sent, then our own facts over any of their names."""
        ours = self._ours()
        taken = {name.lower() for name in ours}
        found: dict[str, list[str]] = {}
        sent = [(_canonical(n), v) for n, v in self.headers.items()] + list(self.query)
        for name, value in sent:
            if name.lower() not in taken:
                masked = name.lower() in _MASKED and not self.raw_headers
                found.setdefault(name, []).append("***" if masked else value)
        return found | ours

    def _aws(self, name: str) -> tuple[str, ...] | None:
        facts = {
            "sourceip": self.source_ip,
            "securetransport": str(self.secure).lower(),
            "referer": self.headers.get("referer", ""),
            "useragent": self.headers.get("user-agent", ""),
            "currenttime": _iso(self.now),
            "epochtime": str(self.now),
            "principaltype": self.principal.type.value,
            "userid": self._user(),
            "username": self._user(),
        }
        value = facts.get(name)
        return (value,) if value else None

    def _user(self) -> str:
        """Return the identity behind the request: the parent of a session, else the access key."""
        return self.principal.parent or self.principal.access_key_id

    def _s3(self, name: str) -> tuple[str, ...] | None:
        lower = name.lower()
        if lower in _QUERY_KEYS:
            found = [v for n, v in self.query if n == lower]
            return tuple(found) or None
        if lower in _HEADER_KEYS or lower in _LOCK_KEYS:
            value = self.headers.get(_LOCK_KEYS.get(lower, lower))
            return None if value is None else (value,)
        if lower.startswith("requestobjecttag"):
            return self._tags(name)
        own = {
            "versionid": self.version_id,
            "signatureversion": self.signature_version,
            "authtype": self.auth_type,
            "signatureage": "" if self.signature_age_ms is None else str(self.signature_age_ms),
        }
        value = own.get(lower)
        return (value,) if value else None

    def _tags(self, name: str) -> tuple[str, ...] | None:
        tags = parse_qsl(self.headers.get("x-amz-tagging", ""), keep_blank_values=True)
        if name.lower() == "requestobjecttagkeys":
            return tuple(key for key, _ in tags) or None
        wanted = name.partition("/")[2]
        return tuple(value for key, value in tags if key == wanted) or None

    def _claim(self, name: str) -> tuple[str, ...] | None:
        value = self.principal.claims.get(name)
        return _texts(value) or None

    def _ours(self) -> dict[str, list[str]]:
        facts: dict[str, list[str]] = {}
        for name, value in self.principal.claims.items():
            texts = _texts(value)
            if texts and name != "sessionPolicy":
                facts[name] = list(texts)
        facts |= {
            "CurrentTime": [_iso(self.now)],
            "EpochTime": [str(self.now)],
            "Referer": [self.headers.get("referer", "")],
            "SecureTransport": [str(self.secure).lower()],
            "SourceIp": [self.source_ip],
            "UserAgent": [self.headers.get("user-agent", "")],
            "authType": [self.auth_type],
            "principaltype": [self.principal.type.value],
            "signatureversion": [self.signature_version],
            "userid": [self._user()],
            "username": [self._user()],
            "versionid": [self.version_id],
        }
        if self.principal.groups:
            facts["groups"] = list(self.principal.groups)
        if self.signature_age_ms is not None:
            facts["signatureAge"] = [str(self.signature_age_ms)]
        return facts


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return ()


def _iso(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _canonical(name: str) -> str:
    """Spell a header as Go does, which is what MinIO's Rego policies were written for."""
    return "-".join(part.capitalize() for part in name.split("-"))
