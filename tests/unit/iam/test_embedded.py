"""The SQLite store's own ways: its file, its thread, its failures. What every store must do is in tests/contracts."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import asynccontextmanager, closing, contextmanager

import pytest

from iam import embedded
from iam.embedded import EmbeddedStore
from iam.records import Revocation
from iam.refusals import NoSuchSession
from iam.store import SessionRecord, StoreError, StoreUnavailable
from tests.servers.iam import CODEC, revoke
from tests.servers.proxy import eventually

NOW = int(time.time())


def record(name="AAA", life=3600) -> SessionRecord:
    return SessionRecord(name, "sub", "https://idp", "AssumeRole", NOW, NOW + life, {"sub": "x"})


@asynccontextmanager
async def opened(path=None, **options):
    """An open store."""
    store = EmbeddedStore(path, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def writing(path):
    """Another process's write transaction, which keeps everybody else's waiting."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        other.execute("ROLLBACK")


@pytest.fixture
def path(tmp_path):
    """Where the file shall be; its folder does not exist yet."""
    return tmp_path / "folder" / "iam.sqlite"


async def test_what_was_written_is_there_after_a_restart(path):
    """Sessions and revocations are in the file, with their revision."""
    async with opened(path) as store:
        await store.record_session(record("AAA"))
        await store.record_session(record("BBB"))
        await revoke(store, "BBB", now=NOW)
        before = await store.snapshot()
    async with opened(path) as store:
        assert [r.access_key_id for r in await store.sessions()] == ["AAA", "BBB"]
        assert await store.snapshot() == before


async def test_memory_is_of_one_object_alone():
    """Two stores in memory do not know each other's sessions."""
    async with opened() as one, opened() as other:
        await one.record_session(record())
        assert await other.session("AAA") is None


async def test_the_event_loop_does_not_wait_for_the_file(path):
    """While another process holds the file, this one's requests go on; the write is done when the file is free."""
    async with opened(path) as store:
        with writing(path):
            waiting = asyncio.get_running_loop().create_task(store.record_session(record()))
            started = time.monotonic()
            for _ in range(100):
                await asyncio.sleep(0)
            assert time.monotonic() - started < embedded.BUSY / 2
            assert not waiting.done()
        await waiting
        assert await store.session("AAA") == record()


async def test_a_file_that_stays_busy_is_a_store_that_is_away(path, monkeypatch):
    """A write that has waited long enough fails as StoreUnavailable, writes nothing, and the next one succeeds."""
    monkeypatch.setattr(embedded, "BUSY", 0.05)
    async with opened(path) as store:
        with writing(path):
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.record_session(record())
            await store.ping()
        assert await store.session("AAA") is None
        await store.record_session(record())
        assert await store.session("AAA") == record()


async def test_a_write_that_fails_is_undone(path):
    """A revocation that cannot be written whole is not written in part: the revision stays, and so do the rows."""
    async with opened(path) as store:
        await store.record_session(record())
        before = await store.snapshot()
        refuse = "CREATE TRIGGER refuse BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        await store._run(lambda: store._db.execute(refuse))
        with pytest.raises(StoreUnavailable, match="disk full"):
            await revoke(store, "AAA", now=NOW)
        assert await store.snapshot() == before
        await store._run(lambda: store._db.execute("DROP TRIGGER refuse"))
        await revoke(store, "AAA", now=NOW)
        assert (await store.snapshot()).revision == before.revision + 1


@pytest.mark.parametrize(("revoking", "level"), [(False, 1), (True, 2)], ids=["session", "revocation"])
async def test_a_revocation_waits_for_the_disk(path, revoking, level):
    """PRAGMA synchronous is FULL (2) while a revocation is written, NORMAL (1) for a session."""
    async with opened(path) as store:
        await store.record_session(record())
        if revoking:
            await revoke(store, "AAA", now=NOW)
        assert await store._run(lambda: store._rows("PRAGMA synchronous")) == [(level,)]
        assert await store._run(lambda: store._rows("PRAGMA journal_mode")) == [("wal",)]


@pytest.mark.parametrize(
    "content", [b"not a database, but a text of some length" * 30, b"SQLite format 3\0" + b"\xff" * 4096]
)
async def test_a_file_that_is_no_database_is_refused(path, content):
    """Somebody else's file is not opened and not changed."""
    path.parent.mkdir()
    path.write_bytes(content)
    store = EmbeddedStore(path)
    with pytest.raises(StoreUnavailable, match=r"iam\.sqlite"):
        await store.open()
    assert path.read_bytes() == content
    await store.close()


async def test_a_folder_in_the_files_place_can_be_mended(path):
    """A store that could not be opened is opened at the next try, once the reason is gone."""
    path.mkdir(parents=True)
    store = EmbeddedStore(path)
    with pytest.raises(StoreUnavailable):
        await store.open()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.ping()
    path.rmdir()
    await store.open()
    await store.ping()
    await store.close()


async def test_a_store_that_is_not_open_or_closed_says_so():
    """Before `open` and after `close` every call is StoreUnavailable, and no thread is left behind."""
    store = EmbeddedStore(None)
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.sessions()
    await store.open()
    (thread,) = store._thread._threads
    await store.close()
    for call in (store.ping(), store.snapshot(), store.session("AAA"), store.record_session(record())):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call
    await eventually(lambda: thread not in threading.enumerate(), "the thread has ended")


async def test_names_never_reach_sql():
    """An access key that is a piece of SQL is refused, or simply not found."""
    hostile = "AAA'; DROP TABLE sessions; --"
    async with opened() as store:
        await store.record_session(record())
        with pytest.raises(StoreError):
            await store.record_session(record(hostile))
        with pytest.raises(NoSuchSession):
            await revoke(store, hostile, now=NOW)
        assert await store.session(hostile) is None
        assert await store.session("AAA") == record()


async def test_a_watch_begins_with_a_sign_of_life():
    """The first batch comes at once, empty when nothing changed: who watches knows that the store is there."""
    async with opened() as store:
        watch = store.watch((await store.snapshot()).revision)
        assert (await anext(watch)).rows == ()
        await watch.aclose()


async def test_a_batch_holds_all_that_came_since_the_last_look(monkeypatch):
    """Revocations between two looks come in one batch, in their order, with the last one's revision."""
    monkeypatch.setattr(embedded, "POLL", 0)
    async with opened() as store:
        names = ["CCC", "AAA", "BBB"]
        for name in names:
            await store.record_session(record(name))
        start = (await store.snapshot()).revision
        watch = store.watch(start)
        await anext(watch)
        for name in names:
            await revoke(store, name, now=NOW)
        batch = await anext(watch)
        assert [row.name for row in batch.rows] == names
        assert batch.revision == start + 3 == (await store.snapshot()).revision
        await watch.aclose()


async def test_who_is_revoked_again_for_longer_is_not_lifted(monkeypatch):
    """A session issued anew under the same key, and revoked again, stays revoked when the first expiry comes."""
    monkeypatch.setattr(embedded, "POLL", 0)
    monkeypatch.setattr(embedded.time, "time", lambda: NOW)
    async with opened(slack=0) as store:
        watch = store.watch((await store.snapshot()).revision)
        for life in (600, 3600):
            await store.record_session(record(life=life))
            await revoke(store, "AAA", now=NOW)
            ((kind, name, value),) = [(row.kind, row.name, row.value) for row in (await anext(watch)).rows]
            assert CODEC.decode(kind, name, value) == Revocation("AAA", NOW, NOW + life)
        monkeypatch.setattr(embedded.time, "time", lambda: NOW + 601)
        assert (await anext(watch)).rows == ()
        monkeypatch.setattr(embedded.time, "time", lambda: NOW + 3601)
        assert [(row.name, row.value) for row in (await anext(watch)).rows] == [("AAA", None)]
        await watch.aclose()


async def test_a_process_hears_its_own_change_at_once(path, monkeypatch):
    """Who changes something does not wait for the next look of its watch; another process's change is found by looking."""
    monkeypatch.setattr(embedded, "POLL", 3600)
    async with opened(path) as store, opened(path) as other, asyncio.timeout(30):
        for name in ("AAA", "BBB", "CCC"):
            await store.record_session(record(name))
        watch = store.watch((await store.snapshot()).revision)
        await anext(watch)
        heard = asyncio.ensure_future(anext(watch))  # noqa: TID251 - awaited below
        await asyncio.sleep(0)
        await revoke(store, "AAA", now=NOW)
        assert [row.name for row in (await heard).rows] == ["AAA"]
        await revoke(other, "BBB", now=NOW)
        await revoke(store, "CCC", now=NOW)
        assert [row.name for row in (await anext(watch)).rows] == ["BBB", "CCC"]
        await watch.aclose()
