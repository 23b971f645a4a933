"""The store in one SQLite file (or in memory): for one machine, several processes of it.

Every call runs on one thread of its own, so the event loop never waits for the disk. Other processes' changes are
noticed by `PRAGMA data_version`, polled: a few microseconds, five times a second.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from iam import codec, keys
from iam.store import Batch, Revocation, SessionRecord, Snapshot, StoreError, StoreUnavailable, UnknownSession
from iam.view import Change, Lifted, Revoked

POLL = 0.2  # seconds between two looks at data_version
_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (access_key_id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at);
CREATE TABLE IF NOT EXISTS revocations (access_key_id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS revision (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL);
INSERT OR IGNORE INTO revision VALUES (1, 1);
"""


class EmbeddedStore:
    """An IamStore over SQLite; `path` None keeps it in memory, for this process alone."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="iam-store")
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or create the file, for this user only."""
        await self._run(self._open)

    async def record_session(self, record: SessionRecord) -> None:
        """Write a session."""
        if not keys.is_name(record.access_key_id):
            raise StoreError("an access key may hold letters and digits only")
        row = (record.access_key_id, record.expires_at, codec.encode_session(record))
        await self._run(lambda: self._write("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", row))

    async def session(self, access_key_id: str) -> SessionRecord | None:
        """Return a recorded session."""
        rows = await self._run(lambda: self._rows("SELECT record FROM sessions WHERE access_key_id = ?", (access_key_id,)))
        return codec.decode_session(rows[0][0]) if rows else None

    async def sessions(self) -> list[SessionRecord]:
        """Return the sessions that have not expired."""
        query = "SELECT record FROM sessions WHERE expires_at > ? ORDER BY access_key_id"
        rows = await self._run(lambda: self._rows(query, (int(time.time()),)))
        return [record for (value,) in rows if (record := codec.decode_session(value))]

    async def revoke(self, access_key_id: str, *, now: int) -> Revocation:
        """Revoke a session."""
        record = await self.session(access_key_id)
        if record is None:
            raise UnknownSession(access_key_id)
        revocation = Revocation(access_key_id, now, record.expires_at)
        await self._run(lambda: self._write_revocation(revocation))
        return revocation

    async def snapshot(self) -> Snapshot:
        """Return the revocations in force."""
        return await self._run(self._snapshot)

    async def watch(self, after: int) -> AsyncIterator[Batch]:
        """Yield what changed; each round compares the whole small table once data_version or the time says so."""
        known = {r.access_key_id: r.expires_at for r in (await self.snapshot()).revocations}
        yield Batch(after, tuple(Revoked(name, expires) for name, expires in known.items()))
        version = None
        while True:
            seen = await self._run(self._version)
            if seen == version and all(expires > time.time() for expires in known.values()):
                yield Batch(after, ())
            else:
                version, snapshot = seen, await self.snapshot()
                now = {r.access_key_id: r.expires_at for r in snapshot.revocations}
                yield Batch(snapshot.revision, _difference(known, now))
                known = now
            await asyncio.sleep(POLL)

    async def ping(self) -> None:
        """Ask the file something."""
        await self._run(lambda: self._rows("SELECT number FROM revision", ()))

    async def close(self) -> None:
        """Close the file and end the thread."""
        if self._db is not None:
            db, self._db = self._db, None
            await asyncio.get_running_loop().run_in_executor(self._thread, db.close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise StoreUnavailable(f"{self._path or 'memory'}: {error}") from error

    def _open(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(self._path or ":memory:", timeout=5, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._db.execute("DELETE FROM sessions WHERE expires_at <= ?", (int(time.time()),))
        self._db.execute("DELETE FROM revocations WHERE expires_at <= ?", (int(time.time()),))

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreUnavailable("the store is not open")
        return self._db

    def _rows(self, query: str, values: tuple[object, ...]) -> list[tuple[bytes, ...]]:
        return self._connection().execute(query, values).fetchall()

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        self._connection().execute(statement, values)

    def _write_revocation(self, revocation: Revocation) -> None:
        db = self._connection()
        row = (revocation.access_key_id, revocation.expires_at, codec.encode_revocation(revocation))
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute("INSERT OR REPLACE INTO revocations VALUES (?, ?, ?)", row)
            db.execute("UPDATE revision SET number = number + 1")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _snapshot(self) -> Snapshot:
        db = self._connection()
        (revision,) = db.execute("SELECT number FROM revision").fetchone()
        rows = db.execute("SELECT access_key_id, record FROM revocations WHERE expires_at > ?", (int(time.time()),)).fetchall()
        return Snapshot(revision, tuple(codec.decode_revocation(name, value) for name, value in rows))

    def _version(self) -> tuple[int, int]:
        """Return what changes when this or another process has written."""
        db = self._connection()
        return db.execute("PRAGMA data_version").fetchone()[0], db.execute("SELECT number FROM revision").fetchone()[0]


def _difference(before: dict[str, int], after: dict[str, int]) -> tuple[Change, ...]:
    added = tuple(Revoked(name, expires) for name, expires in after.items() if name not in before)
    return added + tuple(Lifted(name) for name in before if name not in after)
