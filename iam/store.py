"""Where sessions and records live: the words, and what every store must do.

A session is *recorded* for listing, audit and revocation; it is never looked up to verify a request (that is the
token's work), so a store that is away stops new sessions and changes and nothing else. Records (`iam.records`) are what every
gateway knows: a store holds their bytes, changes them by compare-and-swap, and tells of every change. One contract suite runs
over every store: tests/contracts/test_stores.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from iam.model import Secret
from iam.records import Kind

SESSIONS_AT_ONCE = 500  # that are read before others have their turn: a few milliseconds
SLACK = 900  # seconds a record outlives its session, for clocks that differ (by as much as S3 bears) or are set back


class StoreError(Exception):
    """The base of what a store raises."""


class StoreUnavailable(StoreError):
    """The store did not answer in time, or refused; whether a write happened is not known."""


class StoreRefused(StoreError):
    """The store does not take such a request, at no time: it is too large, or has too many parts. Nothing was written."""


class Conflict(StoreError):
    """A record is not at the revision that a write expected: nothing was written."""


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
class Row:
    """One record as it is stored: its bytes (None: it is gone), and the revision of its last change."""

    kind: Kind
    name: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class Write:
    """What shall become of a record: `value` None removes it.

    `expected` is the revision that it must have, 0 that it must not be there, None any. `expires_at` (epoch seconds): it goes by
    itself some time after.
    """

    kind: Kind
    name: str
    value: bytes | None
    expected: int | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A record that must be at a revision for others to be written; 0: it must not be there."""

    kind: Kind
    name: str
    expected: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All records at one revision of the store; `origin` is whose revision that is (etcd's cluster), 0 where there is one alone."""

    revision: int
    rows: tuple[Row, ...]
    origin: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that became visible together; a watch after `revision` continues behind them.

    `current`: every change from before the watch began has been delivered with it. Until then, what comes are signs of life of
    the past: who takes them for the present lets in whom it was told, a moment ago and elsewhere, to refuse.
    """

    revision: int
    rows: tuple[Row, ...]
    current: bool = True


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


async def unexpired(
    pages: AsyncIterator[list[SessionRecord]], now: float, parents: Container[str] | None
) -> list[SessionRecord]:
    """Return the sessions that have not expired, of some parents or of all."""
    return [
        record
        async for page in pages
        for record in page
        if record.expires_at > now and (parents is None or record.parent in parents)
    ]


class IamStore(Protocol):
    """One contract, two stores. Every method may raise StoreUnavailable, and StoreRefused when it writes; access keys are letters and digits only."""

    async def open(self) -> None:
        """Get ready for use; may be called twice."""
        ...

    async def record_session(self, record: SessionRecord) -> None:
        """Write a session; return when it is committed. The same access key again replaces the record.

        Raises StoreError for an access key that is not one.
        """
        ...

    async def session(self, access_key_id: str, *, expired: bool = False) -> SessionRecord | None:
        """Return a recorded session; None when there is none, it cannot be read, or it has expired.

        With `expired` also one that has, as long as its record is there.
        """
        ...

    async def sessions(self, parents: Container[str] | None = None) -> list[SessionRecord]:
        """Return the recorded sessions that have not expired, by access key: all, or those of some parents.

        Others have their turn meanwhile, and of those that are not returned there are few in memory at once.
        """
        ...

    def session_pages(self) -> AsyncGenerator[list[SessionRecord], None]:
        """Yield all recorded sessions by access key, page by page, so that others have their turn; also expired ones, for a while."""
        ...

    async def get(self, kind: Kind, name: str) -> Row | None:
        """Return a record as it is now (a linearizable read), None when there is none."""
        ...

    async def swap(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> int:
        """Write all of it or nothing; return the revision once it is committed, on the disk. Raises Conflict."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return all records at one revision."""
        ...

    def watch(self, after: int, *, origin: int = 0, fresh: bool = False) -> AsyncGenerator[Batch, None]:
        """Yield every change after a revision, in order; an empty batch is a sign of life, once a batch is `current`.

        `fresh`: the caller took the snapshot of this revision just now, so that there is no past; `origin` is its snapshot's.

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
