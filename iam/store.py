"""Where sessions and revocations live: the words, and what every store must do.

A session is *recorded* for listing, audit and revocation; it is never looked up to verify a request (that is the
token's work), so a store that is away stops new sessions and nothing else. Revocations are few and watched by every
gateway. One contract suite runs over every store: tests/contracts/test_stores.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from iam.model import Secret
from iam.view import Change

SLACK = 300  # seconds a record outlives its session, for clocks that differ or are set back


class StoreError(Exception):
    """The base of what a store raises."""


class StoreUnavailable(StoreError):
    """The store did not answer in time, or refused; whether a write happened is not known."""


class UnknownSession(StoreError):
    """No session of that access key is recorded."""


class WatchLost(StoreError):
    """The watch may have missed something: list again."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One issued session, for people: never a secret, never the token. Times in epoch seconds.

    `kid` is the key that minted it, `revoke_type` its TokenRevokeType.
    """

    access_key_id: str
    parent: str
    issuer: str
    provider: str
    issued_at: int
    expires_at: int
    claims: Mapping[str, Any] = field(default_factory=dict)
    kid: str = ""
    revoke_type: str = ""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A session that is to be refused until it would have expired anyway. Times in epoch seconds.

    `problem` is "" or why the record could not be read; such a revocation counts all the same.
    """

    access_key_id: str
    revoked_at: int
    expires_at: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All revocations at one revision of the store."""

    revision: int
    revocations: tuple[Revocation, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that became visible together; a watch after `revision` continues behind them."""

    revision: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """How etcd is reached.

    `endpoints` are http or https URLs; `ca_file` None means the system's CAs; `timeout` is in seconds, for one call
    with all its attempts at all endpoints; a call may wait half of it for its turn before.
    """

    endpoints: tuple[str, ...]
    path_prefix: str = ""
    client_cert: Path | None = None
    client_cert_key: Path | None = None
    ca_file: Path | None = None
    username: str = ""
    password: Secret | None = None
    timeout: float = 3.0


class IamStore(Protocol):
    """One contract, two stores. Every method may raise StoreUnavailable; access keys are letters and digits only."""

    async def open(self) -> None:
        """Get ready for use; may be called twice."""
        ...

    async def record_session(self, record: SessionRecord) -> None:
        """Write a session; return when it is committed. The same access key again replaces the record.

        Raises StoreError for an access key that is not one.
        """
        ...

    async def session(self, access_key_id: str) -> SessionRecord | None:
        """Return a recorded session; None when there is none, it has expired or it cannot be read."""
        ...

    async def sessions(self) -> list[SessionRecord]:
        """Return all recorded sessions that have not expired, by access key."""
        ...

    async def revoke(self, access_key_id: str, *, now: int) -> Revocation:
        """Revoke a session; return when it is committed. Raises UnknownSession."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return all revocations at one revision."""
        ...

    def watch(self, after: int) -> AsyncGenerator[Batch, None]:
        """Yield every change after a revision, in order; an empty batch is a sign of life.

        Raises StoreUnavailable when the store is away (watch again, after the last batch's revision) and WatchLost
        when changes may have been missed (take a snapshot).
        """
        ...

    async def ping(self) -> None:
        """Return when the store answers. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...
