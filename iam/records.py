"""What every gateway knows of identities and rights, one small immutable record each. Times in epoch seconds. Pure.

A *subject* is a name in one namespace: a user, `openid:<provider>:<sub>`, an LDAP DN, `tls:<CN>`, `custom:<user>`; for
groups likewise (docs/decisions/0010).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from iam.model import Secret

#: Users and service accounts: no `=` and `,` (the Authorization header's), no `/` (the scope's), no `:` (other subjects').
_NAME = re.compile(r"[A-Za-z0-9_.@+-]{3,128}")
_POLICY_NAME = re.compile(r"[A-Za-z0-9_.@+=-]{1,128}")
REVOKE_TYPE = re.compile(
    r"[A-Za-z0-9_.:/@+=-]{1,64}"
)  # a TokenRevokeType: what a client calls some of its sessions, to end them by it
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_HALF = re.compile(r"[\ud800-\udfff]")


DATA_KEY = "data"
LATEST = 253_402_300_799  # epoch seconds: the last moment that a calendar of four digits has


class Kind(StrEnum):
    """The kinds of records; the value is the part of the key that names it."""

    USER = "users"
    GROUP = "groups"
    POLICY = "policies"
    ACCOUNT = "service-accounts"
    ATTACHMENT = "attachments"
    KEY = "keys"
    SEAL = "seals"
    REVOCATION = "revocations"
    EPOCH = "epochs"


def is_name(text: str) -> bool:
    """Return whether a text can name a user or a service account."""
    return _NAME.fullmatch(text) is not None


def is_policy_name(text: str) -> bool:
    """Return whether a text can name a policy: no comma, lists of names have them."""
    return _POLICY_NAME.fullmatch(text) is not None


def is_subject(text: str) -> bool:
    """Return whether a text can be a subject: 1 to 1024 characters, no control character."""
    return 0 < len(text) <= 1024 and not _CONTROL.search(text)


def is_text(text: str) -> bool:
    """Return whether a text can be written as UTF-8: JSON may bring half a character (RFC 8259 section 8.2)."""
    return not _HALF.search(text)


@dataclass(frozen=True, slots=True)
class User:
    """A user with permanent keys: the name is the access key."""

    name: str
    secret: Secret
    enabled: bool = True
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users, by name. The policies of a disabled one do not count."""

    name: str
    members: tuple[str, ...] = ()
    enabled: bool = True
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A named policy as its author wrote it (JSON text)."""

    name: str
    text: str
    created_at: int = 0
    updated_at: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Permanent keys that act for `parent`, a subject or root's access key.

    `policy` (JSON text) narrows what the parent may, None inherits all of it. `provider`, `claims` and `groups` are those of
    the federated session that made it; "" and nothing for a user's.
    """

    access_key_id: str
    secret: Secret
    parent: str
    enabled: bool = True
    policy: str | None = None
    name: str = ""
    description: str = ""
    expires_at: int | None = None
    provider: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class Attachment:
    """The policies attached to a subject; `broken` when the record could not be read: then the subject has no rights."""

    subject: str
    policies: tuple[str, ...]
    group: bool = False
    updated_at: int = 0
    broken: bool = False

    @property
    def record_name(self) -> str:
        """Return the name of the record: users and groups may be called alike."""
        return attachment_name(self.subject, group=self.group)


def attachment_name(subject: str, *, group: bool) -> str:
    """Return the name of the record of a subject's policies."""
    return f"{'group' if group else 'user'}/{subject}"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One generation of session keys. It mints from `active_at` on, and opens for as long as it is there."""

    kid: str
    signing: bytes = field(repr=False)
    derivation: bytes = field(repr=False)
    created_at: int = 0
    active_at: int = 0


@dataclass(frozen=True, slots=True)
class SealRecord:
    """The data key `id`, wrapped: by the id of the wrapping key, (when it was wrapped, the wrapped bytes)."""

    id: str
    wraps: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)

    @property
    def record_name(self) -> str:
        """Return the name of the record: there is one data key."""
        return DATA_KEY


@dataclass(frozen=True, slots=True)
class Revocation:
    """A session that is to be refused until it would have expired anyway.

    `problem` is "" or why the record could not be read; such a revocation counts all the same.
    """

    access_key_id: str
    revoked_at: int
    expires_at: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Sessions of a parent issued up to `not_before` (epoch milliseconds) are refused; `by_type` by their TokenRevokeType."""

    parent: str
    not_before: int = 0
    by_type: Mapping[str, int] = field(default_factory=dict)
    expires_at: int = 0
    problem: str = ""


Record = User | Group | PolicyDocument | ServiceAccount | Attachment | KeyRecord | SealRecord | Revocation | Epoch
