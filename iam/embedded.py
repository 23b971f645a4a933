"""The store in one SQLite file (or in memory): for one machine, all processes of it.

Every call runs on one thread of its own, so the event loop never waits for the disk. Each revocation carries the number
of its change, and the watch asks five times a second for numbers after the last one it saw: an index lookup of a few
microseconds that sees this and every other process's writes alike. Purging expired revocations is this store's
compaction: a watch from before it is lost. A session is written without waiting for the disk (WAL, synchronous=NORMAL:
safe when the process dies, the last moments may be lost when the power does); a revocation waits for it.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from iam import codec, keys
from iam.store import (
    SLACK,
    Batch,
    Revocation,
    SessionRecord,
    Snapshot,
    StoreError,
    StoreUnavailable,
    UnknownSession,
    WatchLost,
)
from iam.view import Change, Lifted, Revoked

POLL = 0.2  # seconds between two looks of a watch
PURGE = 60.0  # seconds between two removals of what has expired
BUSY = 3.0  # seconds to wait for another process's write
_VERSION = 1  # of the schema, which says so itself
_log = logging.getLogger("minio_gw.store")
_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (access_key_id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at);
CREATE TABLE IF NOT EXISTS revocations (
  access_key_id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, record BLOB NOT NULL, revision INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS revocations_by_expiry ON revocations (expires_at);
CREATE INDEX IF NOT EXISTS revocations_by_revision ON revocations (revision);
CREATE TABLE IF NOT EXISTS state (
  only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL, compacted INTEGER NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, 1, 0);
PRAGMA user_version = 1;
"""


class EmbeddedStore:
    """An IamStore over SQLite; `path` None keeps it in memory, for this object alone. `slack` in seconds."""

    def __init__(self, path: Path | None, *, slack: int = SLACK) -> None:
        self._path = path
        self._slack = slack
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="iam-store")
        self._database: sqlite3.Connection | None = None
        self._purged = 0.0

    async def open(self) -> None:
        """Open or create the file, readable by this user only."""
        await self._run(self._open)

    async def record_session(self, record: SessionRecord) -> None:
        """Write a session."""
        if not keys.is_name(record.access_key_id):
            raise StoreError("an access key may hold letters and digits only")
        row = (record.access_key_id, record.expires_at, codec.encode_session(record))
        await self._run(lambda: self._record(row))

    async def session(self, access_key_id: str) -> SessionRecord | None:
        """Return a recorded session that has not expired."""
        found = await self._recorded(access_key_id)
        return found if found is not None and found.expires_at > time.time() else None

    async def sessions(self) -> list[SessionRecord]:
        """Return the sessions that have not expired."""
        query = "SELECT access_key_id, record FROM sessions WHERE expires_at > ? ORDER BY access_key_id"
        rows = await self._run(lambda: self._rows(query, int(time.time())))
        return codec.decode_sessions(rows, _skipped)

    async def revoke(self, access_key_id: str, *, now: int) -> Revocation:
        """Revoke a session; on the disk when this returns."""
        record = await self._recorded(access_key_id)
        if record is None:
            raise UnknownSession(access_key_id)
        revocation = Revocation(access_key_id, now, record.expires_at)
        await self._run(lambda: self._revoke(revocation))
        return revocation

    async def snapshot(self) -> Snapshot:
        """Return the revocations in force."""
        return await self._run(self._snapshot)

    async def watch(self, after: int) -> AsyncGenerator[Batch, None]:
        """Yield what changes after a revision, and what time lifts."""
        follower = await self._run(lambda: _Follower(self._db, after, self._slack))
        while True:
            yield await self._run(follower.look)
            await asyncio.sleep(POLL)

    async def ping(self) -> None:
        """Ask the file something."""
        await self._run(lambda: self._rows("SELECT revision FROM state"))

    async def close(self) -> None:
        """Close the file and end the thread."""
        if self._database is not None:
            await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], _T]) -> _T:
        """Do this on the store's thread; SQLite's errors become StoreUnavailable."""
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, call)
        except RuntimeError as error:  # the thread has ended
            raise StoreUnavailable("the store is closed") from error
        try:
            return await running
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self._path or 'memory'}: {error}") from error

    async def _recorded(self, access_key_id: str) -> SessionRecord | None:
        if not keys.is_name(access_key_id):
            return None
        query = "SELECT access_key_id, record FROM sessions WHERE access_key_id = ?"
        rows = await self._run(lambda: self._rows(query, access_key_id))
        return next(iter(codec.decode_sessions(rows, _skipped)), None)

    # What follows runs on the store's thread.

    def _open(self) -> None:
        if self._database is not None:
            return
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            os.fchmod(handle, 0o600)  # SQLite gives its -wal and -shm files the same mode
            os.close(handle)
        self._database = sqlite3.connect(self._path or ":memory:", timeout=BUSY, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self._writing():
            ((version,),) = self._rows("PRAGMA user_version")
            if version not in {0, _VERSION}:
                raise StoreUnavailable(f"{self._path}: written by another version of this program (schema {version})")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreUnavailable("the store is not open")
        return self._database

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    @contextmanager
    def _writing(self, synchronous: str = "NORMAL") -> Iterator[sqlite3.Connection]:
        """One write transaction, taken at once so that two processes queue instead of clashing."""
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _record(self, row: tuple[str, int, bytes]) -> None:
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", row)
            if time.monotonic() - self._purged > PURGE or not self._purged:
                self._purge(int(time.time()) - self._slack)
                self._purged = time.monotonic()

    def _purge(self, before: int) -> None:
        """Remove what expired before a time; a watch that started before may have missed revocations: compaction."""
        self._db.execute("DELETE FROM sessions WHERE expires_at <= ?", (before,))
        if self._db.execute("DELETE FROM revocations WHERE expires_at <= ?", (before,)).rowcount:
            self._db.execute("UPDATE state SET compacted = revision")

    def _revoke(self, revocation: Revocation) -> None:
        row = (revocation.access_key_id, revocation.expires_at, codec.encode_revocation(revocation))
        with self._writing("FULL") as db:
            db.execute("UPDATE state SET revision = revision + 1")
            db.execute("INSERT OR REPLACE INTO revocations SELECT ?, ?, ?, revision FROM state", row)

    def _snapshot(self) -> Snapshot:
        """One SELECT each for the number and the rows, in one read transaction."""
        self._db.execute("BEGIN")
        try:
            ((revision,),) = self._rows("SELECT revision FROM state")
            query = "SELECT access_key_id, record FROM revocations WHERE expires_at > ?"
            rows = self._rows(query, int(time.time()) - self._slack)
        finally:
            self._db.execute("COMMIT")
        return Snapshot(revision, tuple(codec.decode_revocation(name, value) for name, value in rows))


class _Follower:
    """One watch's memory: the last number it saw, and what it will have to lift, soonest first."""

    def __init__(self, db: sqlite3.Connection, after: int, slack: int) -> None:
        ((revision, compacted),) = db.execute("SELECT revision, compacted FROM state").fetchall()
        if not compacted <= after <= revision:
            raise WatchLost(f"the watch is after {after}, the store knows {compacted} to {revision}")
        self._db, self._revision, self._slack = db, after, slack
        self._expiries: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []
        for name, expires_at in db.execute(
            "SELECT access_key_id, expires_at FROM revocations WHERE revision <= ?", (after,)
        ):
            self._remember(name, expires_at)

    def look(self) -> Batch:
        """Return what is new since the last look."""
        changes: list[Change] = []
        query = "SELECT access_key_id, record, revision FROM revocations WHERE revision > ? ORDER BY revision"
        for name, record, revision in self._db.execute(query, (self._revision,)).fetchall():
            revocation = codec.decode_revocation(name, record)
            if revocation.problem:
                _log.warning("revocation of %s cannot be read, it revokes: %s", name, revocation.problem)
            self._remember(name, revocation.expires_at)
            changes.append(Revoked(name, revocation.expires_at))
            self._revision = revision
        return Batch(self._revision, (*changes, *self._lifted(int(time.time()) - self._slack)))

    def _remember(self, name: str, expires_at: int) -> None:
        self._expiries[name] = expires_at
        heapq.heappush(self._queue, (expires_at, name))

    def _lifted(self, before: int) -> Iterator[Lifted]:
        """Take out what expired before a time, unless it was revoked again for longer."""
        while self._queue and self._queue[0][0] <= before:
            expires_at, name = heapq.heappop(self._queue)
            if self._expiries.get(name) == expires_at:
                del self._expiries[name]
                yield Lifted(name)


def _skipped(access_key_id: str, reason: str) -> None:
    _log.warning("session record of %s skipped: %s", access_key_id, reason)
