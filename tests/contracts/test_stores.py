"""One contract, every store: SQLite in memory, SQLite in a file, a real etcd member."""

import asyncio
import re
import sqlite3
import time
import uuid
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from iam import bulk, embedded, etcd, etcd_cluster, keys
from iam.codec import FOREVER, encode_session, record_key
from iam.embedded import EmbeddedStore
from iam.etcd import EtcdStore
from iam.model import Secret
from iam.records import Attachment, Group, Kind, Revocation, ServiceAccount, User
from iam.refusals import NoSuchSession
from iam.store import (
    Check,
    Conflict,
    EtcdSettings,
    Row,
    SessionRecord,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    WatchLost,
    Write,
)
from iam.watch import Watcher
from tests.servers.etcd import Etcd
from tests.servers.iam import CODEC, revocations, revoke
from tests.servers.iam import changes as changes_of
from tests.servers.proxy import eventually

NOW = int(time.time())
AWKWARD = ["", "AB", "../AKEY", "A/B", "AKEY\n", "AKEY\0", "A KEY", "ÄKEY", "%2e%2e", "A" * 129, "\udcff" * 4]


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    """One real etcd member."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


class Memory:
    """SQLite in memory: "another" store is the same object, there being no other way to its data."""

    def __init__(self):
        self.store = None

    def make(self, **options):
        self.store = self.store or EmbeddedStore(None, **{k: v for k, v in options.items() if k == "slack"})
        return self.store

    async def write(self, kind, name, value):
        await self.store._run(lambda: _write_row(self.store._db, kind, name, value))

    async def compact(self):
        await self.store._run(lambda: self.store._db.execute("UPDATE state SET compacted = revision"))


class File(Memory):
    """SQLite in a file; every store is a connection of its own."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def make(self, **options):
        return EmbeddedStore(self.path, **{k: v for k, v in options.items() if k == "slack"})

    async def write(self, kind, name, value):
        with sqlite3.connect(self.path, isolation_level=None) as db:
            _write_row(db, kind, name, value)
        db.close()

    async def compact(self):
        with sqlite3.connect(self.path, isolation_level=None) as db:
            db.execute("UPDATE state SET compacted = revision")
        db.close()


class OverEtcd:
    """etcd; every store has channels and leases of its own."""

    def __init__(self, cluster):
        self.cluster, self.prefix = cluster, f"{uuid.uuid4().hex}/"

    def make(self, **options):
        return EtcdStore(EtcdSettings(self.cluster.endpoints, self.prefix), **options)

    async def write(self, kind, name, value):
        key = (
            keys.sessions(self.prefix) + name
            if kind == "sessions"
            else keys.records(self.prefix) + keys.record(kind, name)
        )
        await asyncio.to_thread(self.cluster.put, key.encode(), value)

    async def compact(self):
        await asyncio.to_thread(lambda: self.cluster.compact(self.cluster.revision()))


def _write_row(db, kind, name, value):
    db.execute("BEGIN IMMEDIATE")
    if kind == "sessions":
        db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (name, FOREVER, value))
    else:
        db.execute("UPDATE state SET revision = revision + 1")
        db.execute(
            "INSERT OR REPLACE INTO records SELECT ?, ?, ?, revision, ? FROM state", (kind, name, value, FOREVER)
        )
    db.execute("COMMIT")


@pytest.fixture(params=["memory", "file", "etcd"])
def kind(request, tmp_path):
    """One kind of store: how to make one, and how others write into its data."""
    if request.param == "etcd":
        return OverEtcd(request.getfixturevalue("member"))
    return Memory() if request.param == "memory" else File(tmp_path / "iam" / "store.sqlite")


@asynccontextmanager
async def opened(kind, **options):
    """Open one more store over the same data."""
    store = kind.make(**options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(kind):
    """An open store."""
    async with opened(kind) as one:
        yield one


@asynccontextmanager
async def watching(store):
    """Run a Watcher until the block ends."""
    watcher = Watcher(store, CODEC)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watcher.run())
        await asyncio.wait_for(watcher.loaded(), 10)
        yield watcher
        task.cancel()


def record(name="AKEYAKEYAKEY", life=3600, **members):
    """Return a session record that began now."""
    now = int(time.time())
    return SessionRecord(name, "sub", "https://idp", "AssumeRole", now, now + life, {"sub": "x"} | members)


async def collect(store, after, count):
    """Return the first `count` changes after a revision, and where that leaves the watch."""
    changes, revision = [], after
    async with asyncio.timeout(30), aclosing(store.watch(after)) as batches:
        while len(changes) < count:
            batch = await anext(batches)
            assert batch.revision >= revision, "a watch goes forward"
            changes += batch.rows
            revision = batch.revision
    return changes, revision


async def test_what_is_recorded_is_found(kind, store):
    """A recorded session is found by its key and in the list, by this store and by any other over the same data."""
    first, second = record("BBB", groups=["ü", 1]), record("AAA")
    await store.record_session(first)
    await store.record_session(second)
    assert await store.session("BBB") == first
    assert await store.sessions() == [second, first]
    if type(kind) is not Memory:
        async with opened(kind) as other:
            assert await other.sessions() == [second, first]


async def test_what_is_not_recorded_is_not_found(store):
    """An unknown access key has no session, and an empty store lists none."""
    await store.record_session(record("AAAA"))
    assert await store.session("AAA") is None
    assert await store.session("AAAAA") is None
    assert [r.access_key_id for r in await store.sessions()] == ["AAAA"]


async def test_sessions_of_some_parents_are_found_among_all(store, monkeypatch):
    """Only theirs are returned, from whichever piece; of nobody there are none."""
    for module in (etcd, embedded):
        monkeypatch.setattr(module, "SESSIONS_AT_ONCE", 2)
    for number in range(7):
        await store.record_session(replace(record(f"AAA{number}"), parent=f"parent{number % 3}"))
    assert [r.access_key_id for r in await store.sessions({"parent1"})] == ["AAA1", "AAA4"]
    assert [r.access_key_id for r in await store.sessions(("parent1", "parent2"))] == ["AAA1", "AAA2", "AAA4", "AAA5"]
    assert await store.sessions(()) == []
    assert len(await store.sessions()) == 7


async def test_sessions_are_read_in_pieces(kind, store, monkeypatch, caplog):
    """All sessions are told, however many pages they are on, expired ones too, and others have their turn between two pages."""
    monkeypatch.setattr(type(store).__module__ + ".SESSIONS_AT_ONCE", 3)
    assert [page async for page in store.session_pages() if page] == []
    names = [f"KEY{number:02}" for number in range(20)]
    for name in names:
        await store.record_session(record(name))
    await store.record_session(record("EXPIRED", life=-5))
    await kind.write("sessions", "JUNKSESSION", b"\xff{{")
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as group:
        other = group.create_task(others())
        pages = [[one.access_key_id for one in page] async for page in store.session_pages()]
        assert [name for page in pages for name in page] == ["EXPIRED", *names]
        assert max(map(len, pages)) == 3
        assert [one.access_key_id for one in await store.sessions()] == names
        other.cancel()
    assert turns >= 20 // 3
    assert "JUNKSESSION" in caplog.text


async def test_the_same_session_again_replaces_the_record(store):
    """Recording twice, as a repeated call would, leaves one record: the last."""
    await store.record_session(record("AAA", n=1))
    await store.record_session(record("AAA", n=2))
    assert [r.claims["n"] for r in await store.sessions()] == [2]


async def test_an_expired_session_is_not_found(store):
    """A session that has expired is neither found nor listed, though its record may still lie there."""
    await store.record_session(record("AAA", life=-5))
    assert await store.session("AAA") is None
    assert await store.sessions() == []


async def test_only_what_is_recorded_can_be_revoked(store):
    """Revoking an unknown session is an error and revokes nothing."""
    with pytest.raises(NoSuchSession):
        await revoke(store, "AAA", now=NOW)
    assert revocations(await store.snapshot()) == ()


async def test_a_revocation_lasts_as_long_as_its_session(store):
    """A revocation carries the session's expiry, and doing it twice leaves one."""
    session = record("AAA")
    await store.record_session(session)
    assert await revoke(store, "AAA", now=NOW) == Revocation("AAA", NOW, session.expires_at)
    await revoke(store, "AAA", now=NOW)
    assert revocations(await store.snapshot()) == (Revocation("AAA", NOW, session.expires_at),)


@pytest.mark.parametrize("name", AWKWARD, ids=ascii)
async def test_awkward_names_are_refused(store, name):
    """No access key that could leave its place is written, looked up or revoked."""
    with pytest.raises(StoreError):
        await store.record_session(record(name))
    with pytest.raises(NoSuchSession):
        await revoke(store, name, now=NOW)
    assert await store.session(name) is None
    assert await store.sessions() == []


async def test_trap_51_a_revocation_is_seen_by_others_within_a_second(kind, store):
    """What one gateway revokes, another gateway's view refuses less than one second later, every time."""
    names = [f"KEY{i}" for i in range(5)]
    for name in names:
        await store.record_session(record(name))
    async with opened(kind) as other, watching(other) as watcher:
        for name in names:
            assert not watcher.view.is_revoked(name)
            await revoke(store, name, now=NOW)
            assert await eventually(lambda name=name: watcher.view.is_revoked(name), "seen") < 1


async def test_a_new_watcher_knows_old_revocations(kind, store):
    """A gateway that starts later knows what was revoked before, and that it is current."""
    await store.record_session(record("AAA"))
    await revoke(store, "AAA", now=NOW)
    async with opened(kind) as other, watching(other) as watcher:
        assert watcher.view.is_revoked("AAA")
        await eventually(lambda: watcher.current, "current")


async def test_a_watch_resumes_where_it_ended(store):
    """A watch after the last batch's revision brings what came since: nothing twice, nothing left out."""
    names = [f"KEY{i}" for i in range(6)]
    for name in names:
        await store.record_session(record(name))
    start = (await store.snapshot()).revision
    for name in names[:3]:
        await revoke(store, name, now=NOW)
    changes, revision = await collect(store, start, 3)
    assert [c.name for c in changes] == names[:3]
    for name in names[3:]:
        await revoke(store, name, now=NOW)
    changes, _ = await collect(store, revision, 3)
    assert [c.name for c in changes] == names[3:]


async def test_between_snapshot_and_watch_there_is_no_gap(kind, store, monkeypatch):
    """Snapshots taken while 1,000 sessions are revoked, each with the watch after it, know every revocation once."""
    monkeypatch.setattr(etcd_cluster, "PAGE", 7)  # many pages, all at one revision
    monkeypatch.setattr(embedded, "POLL", 0.01)
    names = [f"KEY{i:04}" for i in range(1000)]
    await asyncio.gather(*(store.record_session(record(name)) for name in names))

    async def write():
        for begin in range(0, len(names), 20):
            await asyncio.gather(*(revoke(store, name, now=NOW) for name in names[begin : begin + 20]))

    async def read(other, begin):
        snapshot = await other.snapshot()
        while len(revocations(snapshot)) < begin:
            snapshot = await other.snapshot()
        known = [r.access_key_id for r in revocations(snapshot)]
        changes, _ = await collect(other, snapshot.revision, len(names) - len(known))
        return known + [c.name for c in changes], len(known)

    async with opened(kind) as other, asyncio.TaskGroup() as group:
        readers = [group.create_task(read(other, begin)) for begin in (0, 1, 100, 300, 700)]
        group.create_task(write())
    for reader in readers:
        assert sorted(reader.result()[0]) == names
    assert any(0 < reader.result()[1] < len(names) for reader in readers), "a snapshot fell between the writes"


async def test_a_revocation_ends_after_its_session(kind):
    """Once its session has expired a revocation vanishes: from the watch, from the view, from the snapshot."""
    async with opened(kind, slack=0, **({"window": 1} if isinstance(kind, OverEtcd) else {})) as store:
        await store.record_session(record("AAA", life=2))
        await store.record_session(record("BBB", life=3600))
        start = (await store.snapshot()).revision
        await revoke(store, "AAA", now=NOW)
        await revoke(store, "BBB", now=NOW)
        async with watching(store) as watcher:
            assert watcher.view.is_revoked("AAA")
            changes, _ = await collect(store, start, 3)
            assert [(c.name, c.value is not None) for c in changes] == [("AAA", True), ("BBB", True), ("AAA", False)]
            await eventually(lambda: not watcher.view.is_revoked("AAA"), "vanished from the view")
            assert watcher.view.is_revoked("BBB")
        assert [r.access_key_id for r in revocations(await store.snapshot())] == ["BBB"]


async def test_a_revocation_in_the_slack_still_counts(store):
    """A revocation outlives its session by the slack, for a gateway whose clock is behind."""
    await store.record_session(record("AAA", life=-890))
    await revoke(store, "AAA", now=NOW)
    assert [r.access_key_id for r in revocations(await store.snapshot())] == ["AAA"]


async def test_junk_in_the_store_is_survived_and_fails_closed(kind, store, caplog):
    """A session that cannot be read is skipped; a revocation that cannot be read revokes; the watch goes on."""
    await store.record_session(record("GOOD"))
    await kind.write("sessions", "JUNKSESSION", b"\xff{{")
    await kind.write("sessions", "LIAR", encode_session(record("GOOD")))
    assert [r.access_key_id for r in await store.sessions()] == ["GOOD"]
    assert await store.session("JUNKSESSION") is None
    assert "JUNKSESSION" in caplog.text
    await kind.write("revocations", "JUNKBEFORE", b'{"version":1,"revokedAt":1,"expiresAt":1e999}')
    async with opened(kind) as other, watching(other) as watcher:
        assert watcher.view.is_revoked("JUNKBEFORE")
        await kind.write("revocations", "JUNKAFTER", b"[" * 50_000)
        await eventually(lambda: watcher.view.is_revoked("JUNKAFTER"), "fails closed")
        await revoke(store, "GOOD", now=NOW)
        await eventually(lambda: watcher.view.is_revoked("GOOD"), "goes on")
    assert "JUNKAFTER" in caplog.text


async def test_who_can_write_in_the_store_gives_himself_nothing(kind, store, caplog):
    """A record that was put in, changed or moved by hand has no proof: it is told, and gives nobody anything (decision 0018)."""
    async with watching(store) as watcher:
        own = changes_of(store, lambda: watcher.view, watcher.reached)
        await own.put_user("alice", secret=Secret("alices-secret"))
        await own.put_user("eve", secret=Secret("eves-secret"))
        await own.create_account("eve", access_key_id="EVESKEY1", secret=Secret("her-other-secret"))
        await own.attach("alice", ["consoleAdmin"])
        alices = await store.get(Kind.ATTACHMENT, "user/alice")
        key = await store.get(Kind.ACCOUNT, "EVESKEY1")
        forged = [
            ("attachments", "user/eve", b'{"version":1,"subject":"eve","policies":["consoleAdmin"],"group":false}'),
            ("attachments", "user/eve", alices.value.replace(b'"alice"', b'"eve"')),
            ("attachments", "user/eve", alices.value),
            ("policies", "readonly", b'{"version":1,"name":"readonly","text":"{}"}'),
            ("groups", "admins", b'{"version":1,"name":"admins","members":["eve"],"enabled":true}'),
        ]
        for sort, name, value in forged:
            await replace_row(kind, store, sort, name, value)
            await eventually(lambda place=f"{sort}/{name}": place in watcher.unreadable, "told")
        await replace_row(kind, store, "service-accounts", "EVESKEY1", key.value.replace(b'"eve"', b'"alice"'))
        await eventually(lambda: "EVESKEY1" not in watcher.view.accounts, "none")
        view = watcher.view
        assert view.attachments["user/eve"].broken
        assert not view.attachments["user/eve"].policies
        assert not view.policies["readonly"].text
        assert "admins" not in view.groups
        assert view.attachments["user/alice"].policies == ("consoleAdmin",)
        await own.set_policies("eve", ["readwrite"])
        assert watcher.view.attachments["user/eve"].policies == ("readwrite",)
    assert "no gateway of this store wrote it so" in caplog.text


async def replace_row(kind, store, sort, name, value):
    """Put bytes in the place of a record, as somebody does who is no gateway."""
    row = await store.get(Kind(sort), name)
    if row is not None:
        await store.swap([Write(Kind(sort), name, None, row.revision)])
    await kind.write(sort, name, value)


async def test_a_quiet_watch_gives_signs_of_life(store):
    """When nothing happens a watch says so every second or so: silence means that it is dead."""
    snapshot = await store.snapshot()
    async with aclosing(store.watch(snapshot.revision, origin=snapshot.origin, fresh=True)) as batches:
        for _ in range(3):
            batch = await asyncio.wait_for(anext(batches), 2)
            assert (batch.revision, batch.rows) == (snapshot.revision, ())


async def test_a_resumed_watch_is_current_once_it_has_brought_what_was_missed(store):
    """Until then it gives no sign of life that counts, so that nobody takes an old view for the present one."""
    start = (await store.snapshot()).revision
    async with aclosing(store.watch(start)) as batches:
        await anext(batches)
    for number in range(300):
        await store.swap([Write(Kind.POLICY, f"policy{number}", b"x")])
    missed = []
    async with asyncio.timeout(20), aclosing(store.watch(start)) as batches:
        async for batch in batches:
            missed += [row.name for row in batch.rows]
            if batch.current:
                break
    assert missed == [f"policy{number}" for number in range(300)]


async def test_somebody_elses_snapshot_makes_no_resumed_watch_current(kind, store):
    """An administrator's dry run reads all records, too; who resumes a watch there still has a past to hear of."""
    start = (await store.snapshot()).revision
    async with opened(kind) as other:
        for _ in range(3):
            await bulk.put(store, CODEC, [], root_access_key="rootkey", now=NOW, dry_run=True)
            names = {f"policy{uuid.uuid4().hex}" for _ in range(300)}
            await asyncio.gather(*(other.swap([Write(Kind.POLICY, name, b"x")]) for name in names))
            async with asyncio.timeout(20), aclosing(store.watch(start)) as batches:
                async for batch in batches:
                    names -= {row.name for row in batch.rows}
                    if batch.current:
                        break
            assert names == set()
            start = batch.revision
            await store.snapshot()


async def test_a_watch_of_another_origin_is_lost(member):
    """A cluster that is not the one which was listed has other records under the same revisions."""
    async with opened(OverEtcd(member)) as store:
        snapshot = await store.snapshot()
        async with aclosing(store.watch(snapshot.revision, origin=snapshot.origin ^ 1)) as batches:
            with pytest.raises(WatchLost, match="another cluster"):
                await asyncio.wait_for(anext(batches), 5)
        async with aclosing(store.watch(snapshot.revision, origin=snapshot.origin)) as batches:
            await asyncio.wait_for(anext(batches), 5)


async def test_a_watch_of_the_future_is_lost(store):
    """A revision the store has not reached means another store, or one set back: list again."""
    async with aclosing(store.watch((await store.snapshot()).revision + 1000)) as batches:
        with pytest.raises(WatchLost):
            await asyncio.wait_for(anext(batches), 5)


async def test_a_watch_from_before_a_compaction_is_lost(kind, store):
    """History that the store has forgotten cannot be watched: list again."""
    start = (await store.snapshot()).revision
    for name in ("AAA", "BBB"):
        await store.record_session(record(name))
        await revoke(store, name, now=NOW)
    await kind.compact()
    with pytest.raises(WatchLost):
        await collect(store, start, 1_000)
    assert len(revocations(await store.snapshot())) == 2


async def test_opening_and_closing_twice_does_no_harm(kind):
    """Both may be repeated; a store that is closed, or was never opened, says that it is unavailable."""
    store = kind.make()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    await store.open()
    await store.open()
    await store.ping()
    await store.close()
    await store.close()
    for call in (store.ping(), store.snapshot(), store.record_session(record()), anext(store.watch(1))):
        with pytest.raises(StoreUnavailable):
            await call


async def test_a_watcher_survives_what_nobody_foresaw(kind, store, caplog):
    """An error that is no StoreError makes the watcher list again; it does not end it."""

    class Clumsy(type(store)):
        falls = 2

        async def snapshot(self):
            if self.falls:
                self.falls -= 1
                raise ZeroDivisionError
            return await super().snapshot()

    await store.record_session(record("AAA"))
    store.__class__ = Clumsy
    async with watching(store) as watcher:
        await revoke(store, "AAA", now=NOW)
        await eventually(lambda: watcher.view.is_revoked("AAA"), "seen")
    assert "ZeroDivisionError" in caplog.text


async def test_a_thousand_sessions_share_a_lease(member):
    """Sessions of one expiry window lie under one lease, one put each, however many are recorded at once."""
    kind = OverEtcd(member)
    async with opened(kind) as store:
        expiry = (int(time.time()) // etcd.WINDOW + 3) * etcd.WINDOW
        before = member.revision()
        sessions = [SessionRecord(f"KEY{i}", "", "", "", NOW, expiry + i % 7, {}) for i in range(1000)]
        await asyncio.gather(*(store.record_session(one) for one in sessions))
    found = member.get(keys.sessions(kind.prefix).encode())
    assert len(found) == 1000
    assert len({kv.lease for kv in found}) == 1
    assert found[0].lease
    assert member.revision() - before == 1000


async def test_a_lease_that_etcd_forgot_is_granted_anew(member):
    """When the shared lease is gone, the next session is recorded all the same, under a new one."""
    kind = OverEtcd(member)
    async with opened(kind) as store:
        await store.record_session(record("AAA"))
        (first,) = member.get(keys.sessions(kind.prefix).encode())
        await asyncio.to_thread(member.revoke_lease, first.lease)
        await store.record_session(record("BBB"))
        (second,) = member.get(keys.sessions(kind.prefix).encode())
        assert second.lease not in {0, first.lease}
        assert [r.access_key_id for r in await store.sessions()] == ["BBB"]


async def test_a_lease_that_was_granted_by_a_wrong_clock_is_granted_anew(member, monkeypatch):
    """A clock that was an hour ahead and is set right: what is written then lies under a lease that lasts as long as its session."""
    kind, now, ahead = OverEtcd(member), time.time, [3600]
    monkeypatch.setattr(etcd, "time", SimpleNamespace(time=lambda: now() + ahead[0], monotonic=time.monotonic))
    expiry = int(now()) + 7200
    async with opened(kind) as store:
        await store.record_session(SessionRecord("BEFORE", "", "", "", NOW, expiry, {}))
        ahead[0] = 0
        await store.record_session(SessionRecord("AFTER", "", "", "", NOW, expiry, {}))
        await revoke(store, "AFTER")
    for found in (
        member.get(keys.sessions(kind.prefix).encode() + b"AFTER"),
        member.get(keys.records(kind.prefix).encode()),
    ):
        left = await asyncio.to_thread(member.etcdctl, "lease", "timetolive", f"{found[0].lease:x}")
        assert int(re.search(r"remaining\((\d+)s\)", left)[1]) > 7200


async def test_prefixes_do_not_see_each_other(member):
    """Two installations in one etcd share nothing, even when one prefix begins with the other."""
    ours, theirs = OverEtcd(member), OverEtcd(member)
    theirs.prefix = ours.prefix + "x"
    async with opened(ours) as store, opened(theirs) as other:
        await other.record_session(record("AAA"))
        await revoke(other, "AAA", now=NOW)
        assert await store.sessions() == []
        assert revocations(await store.snapshot()) == ()


def _row(name="ALICE", value=b"1", **options):
    return Write(Kind.USER, name, value, **options)


async def test_a_record_is_written_read_and_removed(kind, store):
    """What was swapped in is got with its revision by every store over the same data, and after its removal it is not there."""
    revision = await store.swap([_row(expected=0)])
    assert await store.get(Kind.USER, "ALICE") == Row(Kind.USER, "ALICE", b"1", revision)
    assert await store.get(Kind.GROUP, "ALICE") is None
    assert (await store.snapshot()).rows == (Row(Kind.USER, "ALICE", b"1", revision),)
    assert await store.swap([_row(value=None, expected=revision)]) > revision
    assert await store.get(Kind.USER, "ALICE") is None
    assert (await store.snapshot()).rows == ()


async def test_a_swap_is_all_or_nothing(store):
    """One write, or one check, that does not find the revision it expects stops all the others."""
    first = await store.swap([_row("A-1", expected=0)])
    before = await store.snapshot()
    for checks in (
        [Check(Kind.USER, "A-1", first + 1)],
        [Check(Kind.USER, "NOBODY", first)],
        [Check(Kind.USER, "A-1", 0)],
    ):
        with pytest.raises(Conflict):
            await store.swap([_row("B-1", expected=0)], checks)
    with pytest.raises(Conflict):
        await store.swap([_row("B-1"), _row("A-1", b"2", expected=first - 1)])
    assert (await store.snapshot()).rows == before.rows
    await store.swap([_row("B-1", expected=0)], [Check(Kind.USER, "A-1", first), Check(Kind.USER, "NOBODY", 0)])


async def test_of_many_who_change_one_record_at_once_none_is_lost(kind, store):
    """Thirty writers that read, add one and swap, again on conflict, add thirty."""

    async def add_one(one):
        while True:
            row = await one.get(Kind.USER, "COUNT")
            number = int(row.value) + 1 if row else 1
            try:
                await one.swap([_row("COUNT", b"%d" % number, expected=row.revision if row else 0)])
            except Conflict:
                continue
            return

    async with opened(kind) as other:
        await asyncio.gather(*(add_one((store, other)[i % 2]) for i in range(30)))
        assert (await store.get(Kind.USER, "COUNT")).value == b"30"


@pytest.mark.parametrize(
    "name", ["uid=a,ou=b c,dc=d", "../x", "a/b", "ü", "a%2Fb", "*", "a b", "openid:corp:x|y", "'; --"]
)
async def test_any_name_keeps_its_place(kind, store, name):
    """A subject's name may hold any separator: it is got back under that very name and no other."""
    await store.swap([_row(name, expected=0)])
    assert (await store.get(Kind.USER, name)).value == b"1"
    assert [row.name for row in (await store.snapshot()).rows] == [name]
    changes, _ = await collect(store, (await store.snapshot()).revision - 1, 1)
    assert [row.name for row in changes] == [name]


async def test_changes_of_one_swap_arrive_together(store):
    """All writes of one transaction are in one batch of the watch, removals among them."""
    await store.swap([_row("A-1"), _row("B-1")])
    start = (await store.snapshot()).revision
    await store.swap([_row("A-1", None), _row("C-1", b"3")])
    async with asyncio.timeout(10), aclosing(store.watch(start)) as batches:
        async for batch in batches:
            if batch.rows:
                break
    assert sorted((row.name, row.value) for row in batch.rows) == [("A-1", None), ("C-1", b"3")]


async def put(store, *records):
    """Write records, in as many transactions as they need."""
    for begin in range(0, len(records), 20):
        some = records[begin : begin + 20]
        await store.swap([Write(*record_key(one), CODEC.encode(one)) for one in some])


@pytest.mark.parametrize(("groups", "others"), [(150, 0), (40, 2500)], ids=["many", "large"])
async def test_a_user_of_however_many_groups_can_be_removed(store, groups, others):
    """Memberships go in as many transactions as the store needs, be it their number or their size, and a new user has none of them."""
    members = tuple(f"somebody-{number:09}" for number in range(others))
    await put(
        store,
        User("alice", Secret("a-secret-key")),
        *(ServiceAccount(f"key{n}", Secret("12345678"), "alice") for n in range(100)),
    )
    await put(store, *(Group(f"group{number}", ("alice", *members)) for number in range(groups)))
    async with watching(store) as watcher:
        own = changes_of(store, lambda: watcher.view, watcher.reached)
        await own.remove_user("alice")
        assert "alice" not in watcher.view.users
        assert "alice" not in watcher.view.memberships
        assert {len(group.members) for group in watcher.view.groups.values()} == {others}
        assert dict(watcher.view.accounts) == {}
        await put(store, *(Group(f"group{number}", ("alice", *members)) for number in range(groups)))
        await eventually(lambda: len(watcher.view.memberships.get("alice", ())) == groups, "seen")
        await own.put_user("alice", secret=Secret("another-alice"))
        assert "alice" not in watcher.view.memberships


async def test_hundreds_of_users_and_their_rights_are_taken_over(store):
    """An import's transactions, with all that they check and take away, are of a size that the store takes."""
    names = [f"user{number:03}" for number in range(100)]
    records = [
        *(User(name, Secret("12345678")) for name in names),
        *(Attachment(name, ("readonly",)) for name in names),
    ]
    done = await bulk.put(store, CODEC, [*records, *map(Group, names)], root_access_key="rootkey", now=NOW)
    assert (len(done.created), done.kept, done.skipped) == (300, (), ())


async def test_what_the_store_never_takes_is_refused(member):
    """A transaction of too many parts, or too large a one, is no matter of trying again."""
    async with opened(OverEtcd(member)) as store:
        for writes in (
            [_row(f"A-{n}") for n in range(200)],
            [_row(value=b"x" * 1_600_000)],
            [_row(value=b"x" * 4_000_000)],
        ):
            with pytest.raises(StoreRefused):
                await store.swap(writes)
