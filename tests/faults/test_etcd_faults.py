"""What happens when etcd, or the way to it, fails: real members, really killed; a real proxy, really cut."""

import asyncio
import functools
import time
import uuid
from contextlib import aclosing, asynccontextmanager

import pytest

from iam import etcd, etcd_cluster, keys
from iam.etcd import EtcdStore
from iam.model import Secret
from iam.records import Kind
from iam.store import EtcdSettings, SessionRecord, StoreUnavailable, WatchLost
from iam.watch import STALE, Watcher
from tests.servers.etcd import Etcd, make_pki
from tests.servers.iam import CODEC, revoke
from tests.servers.proxy import Proxy, eventually

NOW = int(time.time())
# Bytes after which the way to etcd is cut. etcd sends a backlog in messages of 1,000 revisions, about 170 kB of ours:
# once in the middle of the first message, then twice in the middle of the one after.
BUDGETS = [115_000, 250_000, 250_000]
STS_PATIENCE = 5.0  # seconds that an STS call may take at most, however etcd fails


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three real members, for the whole module."""
    with Etcd(tmp_path_factory.mktemp("three"), 3) as cluster:
        yield cluster


@pytest.fixture
def cluster(three):
    """The three members, all running whatever the test before did."""
    three.start()
    return three


@pytest.fixture
def prefix():
    """A path prefix of this test's own."""
    return f"{uuid.uuid4().hex}/"


@asynccontextmanager
async def opened(endpoints, prefix, **settings):
    """Open a store."""
    store = EtcdStore(EtcdSettings(tuple(endpoints), prefix, **settings))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def watching(store):
    """Run a Watcher until the block ends; it starts current."""
    watcher = Watcher(store, CODEC)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watcher.run())
        await eventually(lambda: watcher.current, "current")
        yield watcher
        task.cancel()


def record(name):
    """Return a session record of an hour."""
    now = int(time.time())
    return SessionRecord(name, "sub", "https://idp", "AssumeRole", now, now + 3600, {})


async def issue_and_revoke(store, name):
    """Record a session and revoke it."""
    await store.record_session(record(name))
    await revoke(store, name, now=NOW)


def _small(options, size):
    """Return gRPC's options with another bound on what is received."""
    return [(name, size if name == "grpc.max_receive_message_length" else value) for name, value in options]


async def timed(awaitable):
    """Return the seconds that this took, and its error if it is StoreUnavailable."""
    started = time.monotonic()
    try:
        await awaitable
    except StoreUnavailable as error:
        return time.monotonic() - started, error
    return time.monotonic() - started, None


async def each(call, items):
    """Call for every item, two hundred at a time."""
    items = list(items)
    for begin in range(0, len(items), 200):
        await asyncio.gather(*map(call, items[begin : begin + 200]))


async def follow(store, after, count):
    """Return `count` changes after a revision, watching again after the last batch whenever the store is away."""
    changes, revision, breaks = [], after, 0
    async with asyncio.timeout(60):
        while len(changes) < count:
            try:
                async with aclosing(store.watch(revision)) as batches:
                    while len(changes) < count:
                        batch = await anext(batches)
                        changes += batch.rows
                        revision = batch.revision
            except StoreUnavailable:
                breaks += 1
    return changes, breaks


async def test_the_member_in_use_is_killed(cluster, prefix):
    """The next write goes to another member within an STS call's patience, and nothing recorded before is gone."""
    async with opened(cluster.endpoints, prefix) as store, watching(store) as watcher:
        await issue_and_revoke(store, "BEFORE")
        await asyncio.to_thread(cluster.kill, store._cluster._good)
        seconds, error = await timed(issue_and_revoke(store, "AFTER"))
        assert error is None
        assert seconds < STS_PATIENCE
        await eventually(lambda: watcher.view.is_revoked("AFTER"), "seen")
        assert watcher.view.is_revoked("BEFORE")
        assert len(await store.sessions()) == 2


async def test_the_leader_is_killed(cluster, prefix):
    """Writes are back within seconds of the leader's death: an election and no more."""
    async with opened(cluster.endpoints, prefix) as store, watching(store) as watcher:
        await issue_and_revoke(store, "BEFORE")
        leader = await asyncio.to_thread(cluster.leader)
        await asyncio.to_thread(cluster.kill, leader)
        started = time.monotonic()
        while (await timed(store.record_session(record("AFTER"))))[1] is not None:
            assert time.monotonic() - started < 2 * STS_PATIENCE
        assert time.monotonic() - started < 2 * STS_PATIENCE
        await revoke(store, "AFTER", now=NOW)
        await eventually(lambda: watcher.view.is_revoked("AFTER"), "seen")


async def test_all_members_are_away_and_come_back(cluster, prefix):
    """Without etcd a call fails quickly and what was revoked stays revoked; with etcd back, all goes on by itself."""
    async with opened(cluster.endpoints, prefix) as store, watching(store) as watcher:
        await issue_and_revoke(store, "BEFORE")
        await eventually(lambda: watcher.view.is_revoked("BEFORE"), "seen")
        await asyncio.to_thread(cluster.kill, *cluster.members)
        for call in (store.record_session(record("LOST")), store.ping(), store.sessions(), store.snapshot()):
            seconds, error = await timed(call)
            assert error is not None
            assert seconds < STS_PATIENCE
        await eventually(lambda: not watcher.current, "known not to be current")
        assert watcher.view.is_revoked("BEFORE")
        await asyncio.to_thread(cluster.start)
        assert await eventually(lambda: watcher.current, "current again") < STS_PATIENCE
        await issue_and_revoke(store, "AFTER")
        await eventually(lambda: watcher.view.is_revoked("AFTER"), "seen")
        assert watcher.view.is_revoked("BEFORE")


async def test_one_slow_member_does_not_eat_the_deadline(cluster, prefix):
    """When the member in use keeps silent (SIGSTOP), the same call is answered by another one."""
    first = (await asyncio.to_thread(cluster.leader) + 1) % 3
    endpoints = [cluster.endpoints[(first + turn) % 3] for turn in range(3)]
    async with opened(endpoints, prefix) as store:
        await store.record_session(record("BEFORE"))
        cluster.freeze(first)
        try:
            seconds, error = await timed(store.record_session(record("AFTER")))
            again, _ = await timed(store.record_session(record("AGAIN")))
        finally:
            cluster.thaw(first)
        assert error is None
        assert 1 < seconds < 3, "half of the three seconds were the silent member's"
        assert again < 1, "the silent member is not asked first any more"


async def test_many_calls_at_once_survive_a_kill(cluster, prefix):
    """Five hundred sessions issued while the member in use dies are all recorded, each call within its patience."""
    async with opened(cluster.endpoints, prefix) as store:
        await store.record_session(record("FIRST"))
        leader = await asyncio.to_thread(cluster.leader)
        victim = store._cluster._good = (leader + 1) % 3
        names = [f"KEY{i:03}" for i in range(500)]
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(timed(store.record_session(record(name)))) for name in names]
            await eventually(calls[0].done, "the calls are under way")
            await asyncio.to_thread(cluster.kill, victim)
        results = [call.result() for call in calls]
        assert [error for _, error in results if error] == []
        assert max(seconds for seconds, _ in results) < STS_PATIENCE
        assert sorted(r.access_key_id for r in await store.sessions()) == sorted(["FIRST", *names])


async def test_a_burst_does_not_collapse(cluster, prefix):
    """Of far more calls than etcd can take, many are served, the others are turned away unsent, and then all is well.

    Without a bound every call of such a burst timed out, at every member in turn, and none was served.
    """
    names = [f"KEY{i:05}" for i in range(12_000)]
    async with opened(cluster.endpoints, prefix) as store:
        results = await asyncio.gather(*(timed(store.record_session(record(name))) for name in names))
        errors = [str(error) for _, error in results if error]
        assert set(errors) <= {"too many calls wait for etcd"}
        assert len(names) - len(errors) >= 500
        assert len(await store.sessions()) == len(names) - len(errors)
        seconds, error = await timed(store.record_session(record("AFTER")))
        assert error is None
        assert seconds < 1


async def test_sessions_that_need_a_lease_do_not_queue_for_a_silent_etcd(tmp_path, prefix):
    """While etcd says nothing, each of many who need a new lease is refused within an STS call's patience, not one after another."""
    with Etcd(tmp_path / "one") as cluster:
        async with opened(cluster.endpoints, prefix) as store:
            await store.ping()
            cluster.freeze(0)
            told = await asyncio.gather(*(timed(store.record_session(record(f"KEY{n}"))) for n in range(10)))
            cluster.thaw(0)
            assert all(error for _, error in told)
            assert max(seconds for seconds, _ in told) < STS_PATIENCE
            await store.record_session(record("AFTER"))


async def test_a_cut_watch_loses_nothing_of_its_backlog(cluster, prefix):
    """3,000 revocations missed, the way to etcd cut again and again while they are caught up: 3,000 arrive, once each."""
    names = [f"KEY{i:04}" for i in range(3000)]
    async with Proxy(cluster.client_ports[0]) as proxy, opened(cluster.endpoints, prefix) as writer:
        await each(writer.record_session, map(record, names))
        async with opened([proxy.endpoint], prefix) as store:
            start = (await store.snapshot()).revision
            await each(functools.partial(revoke, writer, now=NOW), names)
            proxy.budgets = BUDGETS.copy()
            changes, breaks = await follow(store, start, 3000)
    assert sorted(row.name for row in changes if row.kind is Kind.REVOCATION) == names
    assert proxy.cuts == breaks == len(BUDGETS)


async def test_a_watcher_that_was_cut_off_catches_up(cluster, prefix):
    """The same through the Watcher: 3,000 revocations while its only way is cut are all in force when it is back."""
    names = [f"KEY{i:04}" for i in range(3000)]
    async with Proxy(cluster.client_ports[0]) as proxy, opened(cluster.endpoints, prefix) as writer:
        await each(writer.record_session, map(record, names))
        async with opened([proxy.endpoint], prefix) as store, watching(store) as watcher:
            lists = count_snapshots(store)
            proxy.refusing = True
            proxy.cut()
            await eventually(lambda: not watcher.current, "noticed")
            await each(functools.partial(revoke, writer, now=NOW), names)
            assert not watcher.view.revocations
            proxy.budgets = [*BUDGETS, *BUDGETS[1:]]  # a connection for calls takes some of them, and lives
            proxy.refusing = False
            await eventually(lambda: len(watcher.view.revocations) == 3000, "caught up", 30)
            assert proxy.cuts > 1
            assert lists == [], "a short break is resumed, not listed again"


def count_snapshots(store):
    """Return a list that grows with every snapshot that this store takes from now on."""
    taken, snapshot = [], store.snapshot

    async def counted():
        taken.append(1)
        return await snapshot()

    store.snapshot = counted
    return taken


async def test_trap_51_a_black_hole_is_noticed(cluster, prefix):
    """A watch whose connection swallows everything is known to be dead within seconds, and lives again when it heals."""
    async with Proxy(cluster.client_ports[0]) as proxy, opened(cluster.endpoints, prefix) as writer:
        await writer.record_session(record("AKEY"))
        async with opened([proxy.endpoint], prefix) as store, watching(store) as watcher:
            proxy.swallowing = True
            assert await eventually(lambda: not watcher.current, "noticed") < STALE + 1
            await revoke(writer, "AKEY", now=NOW)
            assert not watcher.view.is_revoked("AKEY"), "the black hole let something through"
            proxy.swallowing = False
            assert await eventually(lambda: watcher.view.is_revoked("AKEY"), "in force") < STS_PATIENCE
            await eventually(lambda: watcher.current, "current")


async def test_trap_51_a_black_hole_on_the_way_to_one_member_is_left(cluster, prefix):
    """With other members to go to, the watch leaves a black hole by itself and revocations arrive."""
    async with Proxy(cluster.client_ports[0]) as proxy, opened(cluster.endpoints, prefix) as writer:
        await writer.record_session(record("AKEY"))
        async with (
            opened([proxy.endpoint, *cluster.endpoints[1:]], prefix) as store,
            watching(store) as watcher,
        ):
            assert proxy.connections, "the proxied member is the one in use"
            proxy.swallowing = True
            await revoke(writer, "AKEY", now=NOW)
            assert await eventually(lambda: watcher.view.is_revoked("AKEY"), "in force") < STALE + 1
            assert proxy.swallowing


async def test_calls_leave_a_connection_that_died_silently(cluster, prefix):
    """With one endpoint whose connection is a black hole but whose address works again, the next call but one succeeds."""
    async with Proxy(cluster.client_ports[0]) as first, opened([first.endpoint], prefix, timeout=1.0) as store:
        await store.record_session(record("BEFORE"))
        first.swallowing = True
        seconds, error = await timed(store.record_session(record("LOST")))
        assert error is not None
        assert seconds < 1.5
        port, dead = first.port, first.connections
        first._server.close()  # the address is taken over; the old connections stay open and swallow
        async with Proxy(cluster.client_ports[0]) as second:
            first._server = await asyncio.start_server(second._serve, "127.0.0.1", port)
            seconds, error = await timed(store.record_session(record("AFTER")))
            assert error is None
            assert dead, "the old connection was still open"


async def test_a_delayed_watch_is_not_taken_for_dead(cluster, prefix):
    """A way to etcd that is slow (300 ms) but alive keeps its watch: no reconnecting, only later news."""
    async with Proxy(cluster.client_ports[0]) as proxy, opened(cluster.endpoints, prefix) as writer:
        proxy.delay = 0.3
        async with opened([proxy.endpoint], prefix) as store, watching(store) as watcher:
            before, since = proxy.accepted, watcher.last_seen
            await eventually(lambda: watcher.last_seen > since + etcd.SILENCE + 1, "signs of life go on", 20)
            assert proxy.accepted == before
            await issue_and_revoke(writer, "AKEY")
            assert await eventually(lambda: watcher.view.is_revoked("AKEY"), "in force") < 1


async def test_records_that_fit_into_no_message_are_read_all_the_same(cluster, prefix, monkeypatch):
    """Records of more than a gRPC message, ours or a stranger's, are listed in smaller pages, also when a watch missed them."""
    monkeypatch.setattr(etcd_cluster, "_OPTIONS", (*_small(etcd_cluster._OPTIONS, 2**20),))

    def fill(kind):
        for n in range(12):
            cluster.put(f"{keys.records(prefix)}{kind}/huge{n}".encode(), b"x" * 200_000)

    await asyncio.to_thread(fill, "groups")
    async with opened(cluster.endpoints, prefix) as store:
        async with watching(store) as watcher:
            assert len(watcher.unreadable) == 12
        after = watcher.view.revision
        await asyncio.to_thread(fill, "users")
        with pytest.raises(WatchLost, match="larger than max"):
            await asyncio.wait_for(follow(store, after, 12), 20)
        async with watching(store) as watcher:
            await eventually(lambda: len(watcher.unreadable) == 24, "listed")


async def test_changes_that_come_right_behind_each_other_are_taken_together(cluster, prefix):
    """A burst is few batches, each change once and in order: each batch makes a new view, which costs all who ask."""
    async with opened(cluster.endpoints, prefix) as store:
        snapshot = await store.snapshot()
        async with aclosing(store.watch(snapshot.revision, fresh=True)) as batches:
            await anext(batches)
            names = [f"p{n}" for n in range(200)]
            for name in names:  # this blocks the loop: meanwhile they pile up
                cluster.put(f"{keys.records(prefix)}policies/{name}".encode(), b"{}")
            found = []
            async for batch in batches:
                found += [batch.rows] if batch.rows else []
                if sum(map(len, found)) == len(names):
                    break
    assert [row.name for rows in found for row in rows] == names
    assert len(found) < len(names) / 4


async def test_a_compaction_during_a_break_makes_the_watcher_list_again(cluster, prefix):
    """When etcd forgot the history that a cut-off watcher needs, it lists again: nothing revoked meanwhile is lost."""
    async with (
        Proxy(cluster.client_ports[0]) as proxy,
        opened(cluster.endpoints, prefix) as writer,
        opened([proxy.endpoint], prefix) as store,
        watching(store) as watcher,
    ):
        lists, revision = count_snapshots(store), watcher.view.revision
        proxy.refusing = True
        proxy.cut()
        await eventually(lambda: not watcher.current, "noticed")
        for name in ("AAA", "BBB"):
            await issue_and_revoke(writer, name)
        await asyncio.to_thread(lambda: cluster.compact(cluster.revision()))
        proxy.refusing = False
        await eventually(lambda: watcher.current and len(watcher.view.revocations) == 2, "listed again")
        assert lists == [1]
        with pytest.raises(WatchLost, match="compacted"):
            await follow(store, revision, 1)


async def test_a_watcher_costs_nothing_while_etcd_is_down(tmp_path, prefix):
    """With nobody to talk to a watcher uses next to no processor time: no busy loop."""
    with Etcd(tmp_path / "etcd") as cluster:
        async with opened(cluster.endpoints, prefix) as store, watching(store) as watcher:
            await asyncio.to_thread(cluster.kill, 0)
            await eventually(lambda: not watcher.current, "noticed")
            used, started = time.process_time(), time.monotonic()
            await eventually(lambda: time.monotonic() - started > 4, "four seconds have passed")
            # The waiting loop above looks a hundred times a second; it is measured along, and forgiven.
            assert (time.process_time() - used) / 4 < 0.05
            await asyncio.to_thread(cluster.start)
            assert await eventually(lambda: watcher.current, "healed") < STS_PATIENCE


async def test_an_etcd_that_was_wiped_is_noticed(tmp_path, prefix):
    """An etcd that comes back empty, at an earlier revision, is listed again instead of being waited for in vain."""
    with Etcd(tmp_path / "old") as cluster:
        async with opened(cluster.endpoints, prefix) as store, watching(store) as watcher:
            for name in ("AAA", "BBB", "CCC"):
                await issue_and_revoke(store, name)
            await eventually(lambda: len(watcher.view.revocations) == 3, "seen")
            await asyncio.to_thread(cluster.kill, 0)
            cluster.folder = tmp_path / "new"
            cluster.folder.mkdir()
            await asyncio.to_thread(cluster.start)
            await eventually(lambda: watcher.current and not watcher.view.revocations, "listed again")
            await issue_and_revoke(store, "DDD")
            await eventually(lambda: watcher.view.is_revoked("DDD"), "in force")


async def test_a_member_without_a_leader_ends_its_watch(cluster, prefix):
    """The last member of three has no leader: the watch on it ends and the watcher is not current, though it answers."""
    async with opened(cluster.endpoints, prefix) as store, watching(store) as watcher:
        others = [m for m in cluster.members if m != store._cluster._good]
        await asyncio.to_thread(cluster.kill, *others)
        assert await eventually(lambda: not watcher.current, "noticed") < 2 * STALE
        seconds, error = await timed(store.ping())
        assert error is not None
        assert seconds < STS_PATIENCE


async def test_client_certificates(tmp_path, prefix):
    """Over TLS with a client certificate everything works; without the certificate, or another CA, nothing does."""
    pki = make_pki(tmp_path)
    ours = {"ca_file": pki.ca, "client_cert": pki.client, "client_cert_key": pki.client_key}
    (tmp_path / "other").mkdir()
    theirs = make_pki(tmp_path / "other")
    with Etcd(tmp_path / "etcd", tls=pki) as cluster:
        async with opened(cluster.endpoints, prefix, **ours) as store, watching(store) as watcher:
            await issue_and_revoke(store, "AKEY")
            await eventually(lambda: watcher.view.is_revoked("AKEY"), "seen")
        for wrong in ({"ca_file": pki.ca}, ours | {"ca_file": theirs.ca}, {"ca_file": None}):
            async with opened(cluster.endpoints, prefix, timeout=1.0, **wrong) as store:
                with pytest.raises(StoreUnavailable):
                    await store.ping()
        strangers = {"ca_file": pki.ca, "client_cert": theirs.client, "client_cert_key": theirs.client_key}
        async with opened(cluster.endpoints, prefix, timeout=1.0, **strangers) as store:
            with pytest.raises(StoreUnavailable):
                await store.ping()


async def test_renewed_certificates_are_used_without_a_restart(tmp_path, prefix):
    """When the certificate files are replaced, the next connection uses the new ones."""
    pki, mine = make_pki(tmp_path), tmp_path / "mine"
    mine.mkdir()
    wrong = make_pki(mine)
    settings = {"ca_file": wrong.ca, "client_cert": wrong.client, "client_cert_key": wrong.client_key}
    with Etcd(tmp_path / "etcd", tls=pki) as cluster:
        async with opened(cluster.endpoints, prefix, **settings) as store:
            with pytest.raises(StoreUnavailable):
                await store.ping()
            for ours, theirs in ((wrong.ca, pki.ca), (wrong.client, pki.client), (wrong.client_key, pki.client_key)):
                ours.write_bytes(theirs.read_bytes())
            await store.ping()


async def test_a_missing_certificate_is_named(tmp_path, prefix):
    """A certificate file that is not there is an error that names it, at the start."""
    store = EtcdStore(EtcdSettings(("https://127.0.0.1:1",), prefix, ca_file=tmp_path / "nowhere.pem"))
    with pytest.raises(StoreUnavailable, match=r"nowhere\.pem"):
        await store.open()
    await store.close()


async def test_tokens_of_etcd_users_are_renewed(tmp_path, prefix):
    """An etcd user's token that expired, or that etcd forgot in a restart, is renewed: calls and watches go on."""
    with Etcd(
        tmp_path / "etcd", options=("--auth-token-ttl", "1", "--bcrypt-cost", "4", "--log-level", "info")
    ) as cluster:
        _make_users(cluster, prefix)
        user = {"username": "gateway", "password": Secret("gateway-password")}
        async with opened(cluster.endpoints, prefix, **user) as store, watching(store) as watcher:
            await issue_and_revoke(store, "AAA")
            await eventually(lambda: watcher.view.is_revoked("AAA"), "seen")
            token = store._cluster._token
            await eventually(lambda: "deleted a simple token" in cluster.log(0), "the token expired", 15)
            await issue_and_revoke(store, "BBB")
            assert store._cluster._token not in {None, token}
            await eventually(lambda: watcher.view.is_revoked("BBB"), "seen")
            await asyncio.to_thread(cluster.kill, 0)
            await asyncio.to_thread(cluster.start)
            await issue_and_revoke(store, "CCC")
            await eventually(lambda: watcher.view.is_revoked("CCC"), "seen")


async def test_a_wrong_password_is_said_and_not_shown(tmp_path, prefix):
    """A user whom etcd does not know, or who may not, is refused at once, and the password is in no error."""
    with Etcd(tmp_path / "etcd", options=("--bcrypt-cost", "4")) as cluster:
        _make_users(cluster, prefix)
        async with opened(cluster.endpoints, prefix, username="gateway", password=Secret("hunter2-hunter2")) as store:
            seconds, error = await timed(store.ping())
            assert seconds < STS_PATIENCE
            assert "authentication failed" in str(error)
            assert "hunter2" not in repr(error)
        user = {"username": "gateway", "password": Secret("gateway-password")}
        async with opened(cluster.endpoints, "elsewhere/", **user) as store:
            seconds, error = await timed(store.record_session(record("AAA")))
            assert "permission denied" in str(error)


async def test_a_user_where_etcd_wants_none_yet(cluster, prefix):
    """A user configured before etcd's authentication is switched on is no obstacle."""
    async with opened(cluster.endpoints, prefix, username="gateway", password=Secret("x")) as store:
        await issue_and_revoke(store, "AAA")


def _make_users(cluster, prefix):
    """Switch authentication on, with one user who may use one prefix."""
    root = keys.sessions(prefix).removesuffix("sessions/")
    for words in (
        "user add root:root-password", "role add root", "user grant-role root root", "role add ours",
        f"role grant-permission --prefix ours readwrite {root}", "user add gateway:gateway-password",
        "user grant-role gateway ours", "auth enable",
    ):  # fmt: skip
        cluster.etcdctl(*words.split())
