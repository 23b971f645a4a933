"""The store in one SQLite file (or in memory): for one machine, all processes of it.

Every call runs on one thread of its own, so the event loop never waits for the disk. Each record carries the number
of its change, and the watch asks for numbers after the last one it saw: at once when this process changed something, and
five times a second for what others wrote, an index lookup of a few microseconds. What is removed, or expires, stays as an
empty row for an hour so that every watch hears of it; dropping those rows is this store's compaction: a watch from before
it is lost. A session is written without waiting for the disk (WAL, synchronous=NORMAL: safe when the process dies, the
last moments may be lost when the power does); a record waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from iam import codec, keys
from iam.records import Kind
from iam.store import (
    SESSIONS_AT_ONCE,
    SLACK,
    Batch,
    Check,
    Conflict,
    Row,
    SessionRecord,
    Snapshot,
    StoreError,
    StoreUnavailable,
    WatchLost,
    Write,
    unexpired,
)

POLL = 0.2  # seconds between two looks of a watch, when another process may have written
PURGE = 60.0  # seconds between two removals of what has expired
HEARD = 3600  # seconds that an empty row stays for watches that were away
BUSY = 3.0  # seconds to wait for another process's write
_VERSION = 2  # of the schema, which says so itself
_log = logging.getLogger("minio_gw.store")
_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (access_key_id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at);
CREATE TABLE IF NOT EXISTS records (
  kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB, revision INTEGER NOT NULL, expires_at INTEGER, PRIMARY KEY (kind, name));
CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS records_by_revision ON records (revision);
CREATE TABLE IF NOT EXISTS state (
  only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL, compacted INTEGER NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, 1, 0);
PRAGMA user_version = 2;
"""
_FROM_1 = "INSERT INTO records SELECT 'revocations', access_key_id, record, revision, expires_at FROM revocations"


class EmbeddedStore:
    """An IamStore over SQLite; `path` None keeps it in memory, for this object alone. `slack` in seconds."""

    def __init__(self, path: Path | None, *, slack: int = SLACK) -> None:
        self._path = path
        self._slack = slack
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="iam-store")
        self._database: sqlite3.Connection | None = None
        self._purged = 0.0
        self._waiting: list[tuple[tuple[str, int, bytes], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()  # a new one after each change

    async def open(self) -> None:
        """Open or create the file, readable by this user only."""
        await self._run(self._open)

    async def record_session(self, record: SessionRecord) -> None:
        """Write a session."""
        if not keys.is_name(record.access_key_id):
            raise StoreError("an access key may hold letters and digits only")
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(((record.access_key_id, record.expires_at, codec.encode_session(record)), written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_waiting())
        await written

    async def _write_waiting(self) -> None:
        """Write the sessions that wait, all of a moment in one transaction: to wake the thread costs more than to write."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            rows = [row for row, _ in waiting]
            trouble: StoreError | None = None
            try:
                await self._run(partial(self._record, rows))
            except StoreError as error:
                trouble = error
            for _, written in waiting:
                if written.done():  # who asked has left
                    continue
                if trouble is None:
                    written.set_result(None)
                else:
                    written.set_exception(trouble)

    async def session(self, access_key_id: str, *, expired: bool = False) -> SessionRecord | None:
        """Return a recorded session, one that has expired only when asked for."""
        if not keys.is_name(access_key_id):
            return None
        query = "SELECT access_key_id, record FROM sessions WHERE access_key_id = ?"
        rows = await self._run(lambda: self._rows(query, access_key_id))
        found = next(iter(codec.decode_sessions(rows, _skipped)), None)
        return found if found is not None and (expired or found.expires_at > time.time()) else None

    async def sessions(self, parents: Container[str] | None = None) -> list[SessionRecord]:
        """Return the sessions that have not expired, of some parents or of all."""
        return await unexpired(self.session_pages(), time.time(), parents)

    async def session_pages(self) -> AsyncGenerator[list[SessionRecord], None]:
        """Yield the sessions page by page: the thread has other work, and there may be a million."""
        query = "SELECT access_key_id, record FROM sessions WHERE access_key_id > ? ORDER BY access_key_id LIMIT ?"
        after = ""
        while page := await self._run(partial(self._rows, query, after, SESSIONS_AT_ONCE)):
            yield codec.decode_sessions(page, _skipped)
            after = page[-1][0]

    async def get(self, kind: Kind, name: str) -> Row | None:
        """Return a record as it is now."""
        return await self._run(lambda: self._record_now(kind, name))

    async def swap(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> int:
        """Write all or nothing; on the disk when this returns."""
        revision = await self._run(lambda: self._swap(writes, checks))
        self._changed.set()
        self._changed = asyncio.Event()
        return revision

    async def snapshot(self) -> Snapshot:
        """Return all records."""
        return await self._run(self._snapshot)

    async def watch(
        self, after: int, *, origin: int = 0, fresh: bool = False  # noqa: ARG002 - each look brings all there is, of one file
    ) -> AsyncGenerator[Batch, None]:  # fmt: skip
        """Yield what changes after a revision, and what expires."""
        while True:
            changed = self._changed  # of before the look: what is written meanwhile is looked at again
            batch = await self._run(partial(self._look, after))
            yield batch
            after = batch.revision
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await changed.wait()

    async def ping(self) -> None:
        """Ask the file something."""
        await self._run(lambda: self._rows("SELECT revision FROM state"))

    async def close(self) -> None:
        """Close the file and end the thread."""
        if self._writer is not None:
            await self._writer
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

    # What follows runs on the store's thread.

    def _open(self) -> None:
        if self._database is not None:
            return
        if self._path is not None:
            _private(self._path)
        self._database = sqlite3.connect(self._path or ":memory:", timeout=BUSY, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._close()
            raise

    def _prepare(self) -> None:
        self._keep_log()
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self._writing():
            ((version,),) = self._rows("PRAGMA user_version")
            if version not in {0, 1, _VERSION}:
                raise StoreUnavailable(f"{self._path}: written by another version of this program (schema {version})")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            if version == 1:
                self._db.execute(_FROM_1)
                self._db.execute("DROP TABLE revocations")

    def _keep_log(self) -> None:
        """Turn the write-ahead log on, again while another is at it: for this SQLite does not wait (sqlite.org/c3ref/busy_handler)."""
        until = time.monotonic() + BUSY
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

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

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """One read transaction: all its statements see the same moment."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    @contextlib.contextmanager
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

    def _record(self, rows: Sequence[tuple[str, int, bytes]]) -> None:
        with self._writing() as db:
            db.executemany("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", rows)
            if time.monotonic() - self._purged > PURGE or not self._purged:
                self._purge(int(time.time()) - self._slack)
                self._purged = time.monotonic()

    def _purge(self, before: int) -> None:
        """Remove the sessions that expired before a time."""
        self._db.execute("DELETE FROM sessions WHERE expires_at <= ?", (before,))

    def _record_now(self, kind: Kind, name: str) -> Row | None:
        query = "SELECT value, revision, expires_at FROM records WHERE kind = ? AND name = ? AND value IS NOT NULL"
        for value, revision, expires_at in self._rows(query, kind, name):
            if expires_at is None or expires_at > time.time() - self._slack:
                return Row(kind, name, value, revision)
        return None

    def _swap(self, writes: Sequence[Write], checks: Sequence[Check]) -> int:
        with self._writing("FULL") as db:
            demanded: list[Write | Check] = [*checks, *writes]
            for one in demanded:
                found = self._record_now(one.kind, one.name)
                if one.expected is not None and (found.revision if found else 0) != one.expected:
                    raise Conflict(f"{one.kind}/{one.name} was changed by somebody else")
            db.execute("UPDATE state SET revision = revision + 1")
            ((revision,),) = self._rows("SELECT revision FROM state")
            heard = int(time.time()) + HEARD
            db.executemany(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)",
                [(w.kind, w.name, w.value, revision, w.expires_at if w.value is not None else heard) for w in writes],
            )
        return int(revision)

    def _snapshot(self) -> Snapshot:
        query = (
            "SELECT kind, name, value, revision FROM records"
            " WHERE value IS NOT NULL AND (expires_at IS NULL OR expires_at > ?) ORDER BY kind, name"
        )
        with self._reading():
            ((revision,),) = self._rows("SELECT revision FROM state")
            return Snapshot(revision, _known(self._rows(query, int(time.time()) - self._slack)))

    def _look(self, after: int) -> Batch:
        """Return what changed after a number, what expired among it; raise WatchLost when that is not known any more."""
        self._expire(int(time.time()) - self._slack)
        query = "SELECT kind, name, value, revision FROM records WHERE revision > ? ORDER BY revision"
        with self._reading():
            ((revision, compacted),) = self._rows("SELECT revision, compacted FROM state")
            if not compacted <= after <= revision:
                raise WatchLost(f"the watch is after {after}, the store knows {compacted} to {revision}")
            rows = self._rows(query, after)
        return Batch(max([after, *(row[3] for row in rows)]), _known(rows))

    def _expire(self, before: int) -> None:
        """Empty the rows that expired before a time, drop those that were empty for long enough."""
        ((soonest,),) = self._rows("SELECT min(expires_at) FROM records WHERE expires_at IS NOT NULL")
        if soonest is None or soonest > before:
            return
        with self._writing() as db:
            db.execute(
                "UPDATE state SET compacted = max(compacted, coalesce((SELECT max(revision) FROM records"
                " WHERE value IS NULL AND expires_at <= ?), 0))", (before,),
            )  # fmt: skip
            db.execute("DELETE FROM records WHERE value IS NULL AND expires_at <= ?", (before,))
            db.execute("UPDATE state SET revision = revision + 1")
            db.execute(
                "UPDATE records SET value = NULL, expires_at = ?, revision = (SELECT revision FROM state)"
                " WHERE expires_at <= ?", (int(time.time()) + HEARD, before),
            )  # fmt: skip


def _private(path: Path) -> None:
    """Make the file, or make it this user's only; SQLite gives its -wal and -shm files the same mode.

    A file that exists is not opened: to close it again would take away the locks that this process's other connections hold on it
    (sqlite.org/howtocorrupt, 2.2).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    path.chmod(0o600)


def _known(rows: Iterable[tuple[str, str, bytes | None, int]]) -> tuple[Row, ...]:
    """Return the rows of the kinds that this version knows."""
    return tuple(
        Row(Kind(kind), name, value, revision)
        for kind, name, value, revision in rows
        if kind in Kind._value2member_map_
    )


def _skipped(access_key_id: str, reason: str) -> None:
    _log.warning("session record of %s skipped: %s", access_key_id, reason)
