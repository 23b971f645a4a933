"""The watcher over a real store whose troubles a test switches: the view stays in force, and becomes true again."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager

import pytest

from iam import codec, embedded, watch
from iam.embedded import EmbeddedStore
from iam.records import Kind
from iam.store import SessionRecord, StoreUnavailable, WatchLost, Write
from iam.watch import Watcher
from tests.servers.iam import CODEC, revoke
from tests.servers.proxy import eventually

NOW = int(time.time())


class Troubled(EmbeddedStore):
    """The real store in memory; while `trouble` is set, listing and watching raise it. Counts both."""

    def __init__(self) -> None:
        super().__init__(None)
        self.trouble: BaseException | None = None
        self.lists = 0
        self.watches: list[int] = []

    async def snapshot(self):
        self.lists += 1
        if self.trouble:
            raise self.trouble
        return await super().snapshot()

    async def watch(self, after, **how):
        self.watches.append(after)
        async for batch in super().watch(after, **how):
            if self.trouble:
                raise self.trouble
            yield batch
            if self.trouble:
                raise self.trouble

    async def issue(self, *names: str, revoked: bool = True) -> None:
        for name in names:
            await self.record_session(SessionRecord(name, "", "", "", NOW, NOW + 3600))
            if revoked:
                await revoke(self, name, now=NOW)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look and pause briefly: the tests are about order, not about seconds."""
    monkeypatch.setattr(embedded, "POLL", 0.005)
    monkeypatch.setattr(watch, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(watch, "_LONGEST_PAUSE", 0.01)


@pytest.fixture
async def store():
    """An open store without trouble."""
    one = Troubled()
    await one.open()
    yield one
    await one.close()


@asynccontextmanager
async def watching(store):
    """A running watcher."""
    watcher = Watcher(store, CODEC)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(watcher.run())
        yield watcher
        running.cancel()


async def test_before_the_first_list_nothing_is_known(store):
    """A watcher that has not listed is neither loaded nor current, and says so instead of passing an empty view off as true."""
    watcher = Watcher(store, CODEC)
    assert (watcher.is_loaded, watcher.current, watcher.view.revision) == (False, False, 0)


async def test_list_then_watch_from_there(store):
    """One list, then one watch from that very revision; what comes after is applied."""
    await store.issue("AAA")
    async with watching(store) as watcher:
        await watcher.loaded()
        assert watcher.view.is_revoked("AAA")
        await store.issue("BBB")
        await eventually(lambda: watcher.view.is_revoked("BBB"), "applied")
        assert watcher.current
        assert watcher.view.revision == (await store.snapshot()).revision
    assert store.lists == 2  # the watcher's one, and this test's
    assert len(store.watches) == 1


async def test_a_store_away_at_the_start_is_waited_for(store):
    """Without a first list the watcher is not loaded; it tries until the store is there."""
    store.trouble = StoreUnavailable("away")
    await store.issue("AAA")
    async with watching(store) as watcher:
        await eventually(lambda: store.lists > 2, "tried again")
        assert not watcher.is_loaded
        store.trouble = None
        await watcher.loaded()
        assert watcher.view.is_revoked("AAA")


async def test_trap_51_the_last_view_stays_in_force(store):
    """While the store is away what was revoked stays revoked, and the watcher is no longer current."""
    await store.issue("AAA")
    async with watching(store) as watcher:
        await eventually(lambda: watcher.current, "current")
        store.trouble = StoreUnavailable("away")
        await eventually(lambda: not watcher.current, "noticed")
        assert watcher.view.is_revoked("AAA")
        await store.issue("BBB")
        store.trouble = None
        await eventually(lambda: watcher.view.is_revoked("BBB"), "caught up")
        assert watcher.current


async def test_a_short_break_is_resumed_not_listed(store):
    """A store that was away is watched from the last batch on: nothing is listed again, nothing is left out."""
    async with watching(store) as watcher:
        await eventually(lambda: watcher.current, "current")
        await store.issue("AAA")
        await eventually(lambda: watcher.view.is_revoked("AAA"), "seen")
        seen = watcher.view.revision
        store.trouble = StoreUnavailable("away")
        await eventually(lambda: not watcher.current, "noticed")
        await store.issue("BBB")
        store.trouble = None
        await eventually(lambda: watcher.view.is_revoked("BBB"), "caught up")
    assert store.lists == 1
    assert set(store.watches[1:]) == {seen}


@pytest.mark.parametrize(
    "trouble", [WatchLost("compacted"), ZeroDivisionError("nobody foresaw it")], ids=["lost", "unforeseen"]
)
async def test_doubt_means_list_again(store, trouble):
    """A watch that may have missed something, and an error nobody foresaw, make the watcher list again."""
    async with watching(store) as watcher:
        await eventually(lambda: watcher.current, "current")
        store.trouble = trouble
        await eventually(lambda: not watcher.current, "noticed")
        store.trouble = None
        await store.issue("AAA")
        await eventually(lambda: watcher.view.is_revoked("AAA") and watcher.current, "listed")
    assert store.lists > 1


async def test_a_long_silence_means_list_again(store, monkeypatch):
    """After a break longer than RESUME somebody may have restored a backup: the watcher lists, though nothing was lost."""
    async with watching(store) as watcher:
        await eventually(lambda: watcher.current, "current")
        lists = store.lists
        monkeypatch.setattr(watch, "RESUME", 0.0)
        store.trouble = StoreUnavailable("away")
        await eventually(lambda: store.lists > lists, "lists")
        store.trouble = None
        await eventually(lambda: watcher.current, "current again")


async def test_silence_makes_the_view_old(store, monkeypatch):
    """A watch that says nothing for STALE seconds is not current, though nobody told it of a break."""
    async with watching(store) as watcher:
        await eventually(lambda: watcher.current, "current")
        monkeypatch.setattr(watch, "STALE", 0.0)
        assert not watcher.current


async def test_the_pauses_grow_to_their_bound(store, monkeypatch):
    """A store that is away is not asked in a busy loop: each pause is twice the last one, up to the longest."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 12:
            raise asyncio.CancelledError

    monkeypatch.setattr(watch.asyncio, "sleep", sleep)
    monkeypatch.setattr(watch.random, "uniform", lambda _low, high: high)
    store.trouble = StoreUnavailable("away")
    with pytest.raises(asyncio.CancelledError):
        await Watcher(store, CODEC).run()
    assert pauses[:4] == [0.002, 0.004, 0.008, 0.01]
    assert set(pauses[4:]) == {0.01}


async def test_an_interruption_is_told_once(store, caplog):
    """The log has one line when the watch breaks and one when it is back, however long it took."""
    caplog.set_level(logging.WARNING)
    async with watching(store) as watcher:
        await eventually(lambda: watcher.current, "current")
        store.trouble = StoreUnavailable("away for a while")
        tries = len(store.watches)
        await eventually(lambda: len(store.watches) > tries + 3, "tried again and again")
        store.trouble = None
        await eventually(lambda: watcher.current, "back")
    told = [entry.getMessage() for entry in caplog.records]
    assert told == [
        "the IAM store's watch is interrupted: away for a while", "the IAM store's watch is back",
    ]  # fmt: skip


async def test_a_revocation_that_cannot_be_read_revokes_and_is_told(store, caplog):
    """Junk under a key in the list revokes that key, and the log says which."""
    await store.issue("AAA")
    await store._run(lambda: store._db.execute("UPDATE records SET value = x'ff'"))
    async with watching(store) as watcher:
        await watcher.loaded()
        assert watcher.view.is_revoked("AAA")
    assert "the record 'revocations/AAA' cannot be read" in caplog.text


async def test_a_record_that_nobody_foresaw_keeps_no_other_from_being_read(store, monkeypatch):
    """What breaks the reader itself falls to its safe side, in the list and in the watch; what comes behind it is read."""

    def breaks(*_):
        raise ZeroDivisionError

    async def put(kind, name):
        await store.swap([Write(kind, name, b'{"version":1}')])

    monkeypatch.setattr(codec, "_PLAIN", {**codec._PLAIN, Kind.EPOCH: breaks, Kind.GROUP: breaks})
    await put(Kind.EPOCH, "alice")
    await put(Kind.GROUP, "devs")
    await store.issue("AAA")
    async with watching(store) as watcher:
        await eventually(lambda: watcher.is_loaded, "listed")
        assert watcher.view.is_revoked("x", "alice", 1)
        assert watcher.view.is_revoked("AAA")
        await put(Kind.EPOCH, "bob")
        await store.issue("BBB")
        await eventually(lambda: watcher.view.is_revoked("BBB"), "goes on")
        assert watcher.view.is_revoked("x", "bob", 1)
        assert watcher.unreadable == {"epochs/alice", "epochs/bob", "groups/devs"}


async def test_very_many_unreadable_records_are_not_all_named(store, caplog):
    """A store of another key fills no log: the first records that cannot be read are named, and that there are more."""
    await store.swap([Write(Kind.USER, f"user{n}", b"junk") for n in range(3 * watch._TOLD)])
    async with watching(store) as watcher:
        await watcher.loaded()
        assert len(watcher.unreadable) == 3 * watch._TOLD
    told = [entry.getMessage() for entry in caplog.records if "cannot be read" in entry.getMessage()]
    assert len(told) == watch._TOLD + 1
    assert "minio_gw_iam_unreadable_records" in told[-1]


async def test_who_waits_for_a_revision_and_leaves_is_forgotten(store):
    """A caller that goes away while it waits for the view leaves nothing behind."""
    async with watching(store) as watcher:
        waiting = asyncio.get_running_loop().create_task(watcher.reached(10**9))
        await eventually(lambda: watcher._waiters, "waits")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert watcher._waiters == []


async def test_a_view_in_hand_is_never_changed(store):
    """Who took the view before a change keeps it as it was: a request never sees half of one."""
    async with watching(store) as watcher:
        await watcher.loaded()
        held = watcher.view
        await store.issue("AAA")
        await eventually(lambda: watcher.view.is_revoked("AAA"), "seen")
        assert not held.is_revoked("AAA")


async def test_cancelling_ends_it(store):
    """A watcher that is cancelled ends, also in the middle of trouble: it has one owner."""
    store.trouble = StoreUnavailable("away")
    running = asyncio.get_running_loop().create_task(Watcher(store, CODEC).run())
    await eventually(lambda: store.lists > 1, "running")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
