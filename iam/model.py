"""The words of authorization: who asks, for what, and the answer.

Pure: no I/O, no clock, no randomness. Everything is frozen; a `Secret` never shows itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol


class Secret:
    """A text that must not appear in a repr, a log or an error.

    Comparison takes constant time (CWE-208); `reveal()` is the only way to the text.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself: at the place of use only."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key pair; temporary when it carries a session token and an expiry.

    `expires_at` is in seconds since the epoch, None for permanent keys.
    """

    access_key_id: str
    secret: Secret
    session_token: Secret | None = None
    expires_at: int | None = None


class PrincipalType(StrEnum):
    """The values of the condition key aws:PrincipalType, as MinIO fills it."""

    ANONYMOUS = "Anonymous"
    USER = "User"
    ASSUMED_ROLE = "AssumedRole"
    ACCOUNT = "Account"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    `access_key_id` is the key that signed ("" for anonymous), `claims` the verified claims of the session
    token, `policies` the names of the IAM policies that its policy claim (or the configuration) names,
    `session_policy` the JSON text of the policy that narrows this session, `owner` true for the root account
    and for sessions that root assumed, `parent` the identity behind a session ("" when there is none).

    `tags` are the session's tags (`aws:PrincipalTag/...`), `issued_at` when the session began (epoch seconds, None without
    one), `provider` who proved the identity (`openid:corp`, `ldap`, `tls`; `user` for sessions of permanent keys, "" for
    those keys themselves).
    """

    type: PrincipalType
    access_key_id: str = ""
    owner: bool = False
    claims: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    session_policy: str | None = None
    parent: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    issued_at: int | None = None
    provider: str = ""

    @property
    def is_unrestricted(self) -> bool:
        """Return whether no policy is asked about it: the owner, unless a session policy narrows this session."""
        return self.owner and self.session_policy is None


class UnknownFact(Exception):
    """A condition key whose value nobody has looked up: it can neither hold nor be absent."""


class Context(Protocol):
    """The facts a policy condition may ask about; computed when asked, since most policies ask nothing."""

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values of a condition key (`s3:prefix`, any case), or None when the request has none.

        Raises UnknownFact where that was not looked up (the tags of an object that is there already).
        """
        ...

    def document(self) -> dict[str, list[str]]:
        """Return MinIO's `conditions` document for OPA, credentials and signatures masked."""
        ...


class NoContext:
    """A context without facts: for tests and for questions that come from no request."""

    def values(self, key: str) -> tuple[str, ...] | None:  # noqa: ARG002
        """Return None: there is no request."""
        return None

    def document(self) -> dict[str, list[str]]:
        """Return an empty document."""
        return {}


_NOTHING = NoContext()


class AccessRequest(NamedTuple):
    """One question: may this principal do this action to this resource?

    `action` is an IAM action name (`s3:GetObject`); `bucket` and `key` are decoded, "" where there is none. `deny_only`: it is
    about the principal's own affairs, and is allowed unless something denies it (MinIO's denyOnly); a session policy must allow it
    all the same.
    """

    principal: Principal
    action: str
    bucket: str
    key: str = ""
    context: Context = _NOTHING
    deny_only: bool = False

    @property
    def resource(self) -> str:
        """Return the ARN that policies name: `arn:aws:s3:::bucket`, or `arn:aws:s3:::bucket/key`."""
        return f"arn:aws:s3:::{self.bucket}/{self.key}" if self.key else f"arn:aws:s3:::{self.bucket}"


@dataclass(frozen=True, slots=True)
class Allow:
    """The request may go on."""

    reason: str = ""

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True, slots=True)
class Deny:
    """The request may not; `reason` is for the log and the operator, never for the client."""

    reason: str

    def __bool__(self) -> Literal[False]:
        return False


Decision = Allow | Deny
