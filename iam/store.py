"""Where sessions and revocations live: the words, and what every store must do.

A session is *recorded* for listing, audit and revocation; it is never looked up to verify a request (that is the token's
work), so a store that is away stops new sessions and nothing else. Revocations are few and watched by every gateway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from iam.model import Secret
from iam.view import Change


class StoreError(Exception):
    """The base of what a store raises."""


class StoreUnavailable(StoreError):
    """The store did not answer in time; nothing is known to have happened."""


class UnknownSession(StoreError):
    """No session of that access key is recorded."""


class WatchLost(StoreError):
    """The watch may have missed something: list again."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One issued session, for people: never a secret, never the token. Times in epoch seconds."""

    access_key_id: str
    parent: str
    issuer: str
    provider: str
    issued_at: int
    expires_at: int
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A session that is to be refused until it would have expired anyway."""

    access_key_id: str
    revoked_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All revocations at one revision of the store."""

    revision: int
    revocations: tuple[Revocation, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that became visible together, at `revision`."""

    revision: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """How etcd is reached; `timeout` in seconds for one call."""

    endpoints: tuple[str, ...]
    path_prefix: str = ""
    client_cert: Path | None = None
    client_cert_key: Path | None = None
    ca_file: Path | None = None
    username: str = ""
    password: Secret | None = None
    timeout: float = 3.0


class IamStore(Protocol):
    """One contract, two stores (tests/contracts/test_stores.py)."""

    async def open(self) -> None:
        """Get ready for use. Raises StoreUnavailable."""
        ...

    async def record_session(self, record: SessionRecord) -> None:
        """Write a session; returns when it is committed. Raises StoreUnavailable."""
        ...

    async def session(self, access_key_id: str) -> SessionRecord | None:
        """Return a recorded session."""
        ...

    async def sessions(self) -> list[SessionRecord]:
        """Return all recorded sessions that have not expired, by access key."""
        ...

    async def revoke(self, access_key_id: str, *, now: int) -> Revocation:
        """Revoke a session. Raises UnknownSession, StoreUnavailable."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return all revocations at one revision."""
        ...

    def watch(self, after: int) -> AsyncIterator[Batch]:
        """Yield what changes after a revision; an empty batch says that the watch is alive.

        Raises WatchLost when something may have been missed, StoreUnavailable when the store is away.
        """
        ...

    async def ping(self) -> None:
        """Return when the store answers. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...
