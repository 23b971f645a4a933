"""The keeper over real stores: one founding however many gateways start, and master keys replaced under running ones."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from iam import embedded, keeper
from iam.changes import Changes
from iam.codec import Codec
from iam.embedded import EmbeddedStore
from iam.keeper import Keeper
from iam.model import Secret
from iam.records import DATA_KEY, Kind
from iam.seal import Seal, master_of
from iam.store import Write
from iam.watch import Watcher
from tests.servers.iam import changes
from tests.servers.proxy import eventually

OLD, NEW = master_of("the old text", "test"), master_of("the new text", "test")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look often: the tests are about order, not about seconds."""
    monkeypatch.setattr(embedded, "POLL", 0.005)
    monkeypatch.setattr(keeper, "_PAUSE", 0.005)
    monkeypatch.setattr(keeper, "LOOK", 0.005)


class Tries(EmbeddedStore):
    """A store that counts what is tried to be written."""

    swaps = 0

    async def swap(self, writes, checks=()):
        self.swaps += 1
        return await super().swap(writes, checks)


class Unreadable(EmbeddedStore):
    """A store whose records were written by a later version when they are read one by one."""

    async def get(self, kind, name):
        row = await super().get(kind, name)
        return row and replace(row, value=row.value.replace(b'"version":1', b'"version":2'))


class Gateway:
    """What of a gateway has to do with the store's keys."""

    def __init__(self, path, *masters, store=None):
        self.store = store or EmbeddedStore(path)
        self.codec = Codec(Seal(masters, os.urandom))
        self.watcher = Watcher(self.store, self.codec)
        self.changes = changes(self.store, lambda: self.watcher.view, self.watcher.reached, codec=self.codec)
        self.keeper = Keeper(self.store, self.codec, self.watcher, self.changes, lambda: Seal(masters, os.urandom))


@asynccontextmanager
async def running(path, *masters, store=None):
    """A gateway whose watcher and keeper run."""
    gateway = Gateway(path, *masters, store=store)
    await gateway.store.open()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.run()) for one in (gateway.watcher, gateway.keeper)]
        yield gateway
        for task in tasks:
            task.cancel()
    await gateway.store.close()


@pytest.fixture
def path(tmp_path):
    """The file of a store that nobody has opened yet."""
    return tmp_path / "iam.sqlite"


async def test_gateways_that_start_at_once_found_one_store(path):
    """Five gateways on an empty store end with the same data key and the same one session key."""
    async with running(path, OLD) as a, running(path, OLD) as b, running(path, OLD) as c:
        await asyncio.gather(*(one.keeper.founded() for one in (a, b, c)))
        assert len(a.watcher.view.keys) == 1
        assert a.watcher.view.keys == b.watcher.view.keys == c.watcher.view.keys
        await a.changes.put_user("alice", secret=Secret("alices-secret"))
        await eventually(lambda: "alice" in c.watcher.view.users, "seen")
        assert c.watcher.view.users["alice"].secret == Secret("alices-secret")


async def test_a_restart_finds_what_was_there(path):
    """A gateway that starts again has the same session key, so that sessions of before go on."""
    async with running(path, OLD) as one:
        await one.keeper.founded()
        before = one.watcher.view.keys
    async with running(path, OLD) as one:
        await one.keeper.founded()
        assert one.watcher.view.keys == before


async def test_another_master_key_founds_nothing(path, caplog):
    """A gateway with the wrong root pair says so, is never founded, and changes nothing."""
    async with running(path, OLD) as one:
        await one.keeper.founded()
        before = (await one.store.snapshot()).rows
    async with running(path, NEW) as other:
        await eventually(lambda: "another master key" in caplog.text, "told")
        assert not other.keeper._founded.is_set()
        assert dict(other.watcher.view.keys) == {}
        assert (await other.store.snapshot()).rows == before


async def test_a_data_key_that_is_wrapped_for_us_later_opens_what_was_there(path, caplog):
    """Who could read nothing reads it all then, without a restart: a user, his rights and what was revoked."""
    async with running(path, OLD) as one:
        await one.keeper.founded()
        await one.changes.put_user("alice", secret=Secret("alices-secret"))
        await one.changes.attach("alice", ["readonly"])
        before = one.watcher.view
    async with running(path, NEW) as late:
        await eventually(lambda: "another master key" in caplog.text, "told")
        assert not late.watcher.view.users
        assert late.watcher.view.attachments["user/alice"].broken
        async with running(path, NEW, OLD):
            await late.keeper.founded()
            await eventually(lambda: late.watcher.view.users == before.users, "read")
        assert late.watcher.view.attachments == before.attachments
        assert not late.watcher.unreadable


async def test_a_data_key_that_cannot_be_read_ends_nobody(path, caplog):
    """A gateway before a data key of a later version says so once, makes no session key, and goes on when it can be read."""
    async with running(path, OLD) as one:
        await one.keeper.founded()
        row = await one.store.get(Kind.SEAL, DATA_KEY)
        (kid,) = one.watcher.view.keys
        later = row.value.replace(b'"version":1', b'"version":2')
        await one.store.swap([Write(Kind.SEAL, DATA_KEY, later), Write(Kind.KEY, kid, None)])
    tries = Tries(path)
    async with running(path, OLD, store=tries) as other:
        await eventually(lambda: tries.swaps > 3, "tried again and again")
        assert dict(other.watcher.view.keys) == {}
        assert caplog.text.count("data key cannot be read") == 1
        await other.store.swap([Write(Kind.SEAL, DATA_KEY, row.value)])
        await other.keeper.founded()


async def test_a_watch_that_lags_at_the_founding_ends_nobody(path, monkeypatch):
    """Whose own founding has not come back yet seals nothing by a key that he does not know, and waits for it."""
    late = asyncio.Event()

    class Late(Tries):
        async def watch(self, after, **how):
            await late.wait()
            async for batch in super().watch(after, **how):
                yield batch

    async def waits_little(self, revision, within=0.01):
        await reached(self, revision, within)

    reached = Watcher.reached
    monkeypatch.setattr(Watcher, "reached", waits_little)
    store = Late(path)
    async with running(path, OLD, store=store) as one:
        await eventually(lambda: store.swaps > 3, "founded, and looked again")
        assert not one.keeper._founded.is_set()
        late.set()
        await one.keeper.founded()
        assert len(one.watcher.view.keys) == 1


async def test_a_data_key_that_is_unreadable_when_renewed_ends_nobody(path, caplog):
    """What the view knows and the store has meanwhile in a form of later versions is told, not the end of the process."""
    async with running(path, OLD) as one:
        await one.keeper.founded()
    async with running(path, NEW, OLD, store=Unreadable(path)):
        await eventually(lambda: "its version is not ours" in caplog.text, "told")
        await eventually(lambda: caplog.text.count("cannot be looked after") > 1, "tried again")


async def test_the_master_key_is_rotated_under_a_running_gateway(path):
    """Old, then new with the old named, then new alone: each step has the same keys, and the old one opens nothing any more."""
    async with running(path, OLD) as first:
        await first.keeper.founded()
        keys = first.watcher.view.keys
        async with running(path, NEW, OLD) as second:
            await second.keeper.founded()
            assert second.watcher.view.keys == keys
            await second.changes.put_user("alice", secret=Secret("alices-secret"))
            await eventually(lambda: "alice" in first.watcher.view.users, "seen by who knows the old key only")
        async with running(path, NEW) as third:
            await third.keeper.founded()
            assert third.watcher.view.users["alice"].secret == Secret("alices-secret")
    async with running(path, OLD) as late:
        await eventually(lambda: "another master key" in late.codec.seal.trouble, "told")


async def test_a_store_without_session_keys_gets_one(path):
    """When somebody has removed every key a start makes another."""
    async with running(path, OLD) as one:
        await one.keeper.founded()
        (kid,) = one.watcher.view.keys
        await one.watcher.reached(await one.store.swap([Write(Kind.KEY, kid, None)]))
    async with running(path, OLD) as one:
        await one.keeper.founded()
        assert set(one.watcher.view.keys) != {kid}


async def test_a_store_that_is_wiped_under_running_gateways_is_founded_again(path):
    """What is sealed after the wipe is read after a restart: nothing is sealed by a data key that is stored nowhere."""
    async with running(path, OLD) as one, running(path, OLD) as other:
        await asyncio.gather(one.keeper.founded(), other.keeper.founded())
        (kid,) = one.watcher.view.keys
        await one.store.swap([Write(Kind.SEAL, DATA_KEY, None), Write(Kind.KEY, kid, None)])
        for gateway in (one, other):
            await eventually(lambda g=gateway: g.watcher.view.keys and kid not in g.watcher.view.keys, "founded again")
        await other.changes.put_user("alice", secret=Secret("alices-secret"))
        await eventually(lambda: "alice" in one.watcher.view.users, "seen")
    async with running(path, OLD) as one:
        await one.keeper.founded()
        assert one.watcher.view.users["alice"].secret == Secret("alices-secret")


async def test_a_gateway_whose_master_key_comes_late_has_what_the_others_have(path):
    """Who could not open the data key when it listed, and can when another has wrapped it anew, reads all again and makes no key."""
    async with running(path, OLD) as first:
        await first.keeper.founded()
        await first.changes.put_user("alice", secret=Secret("alices-secret"))
        async with running(path, NEW) as early:
            await eventually(lambda: "another master key" in early.codec.seal.trouble, "told")
            async with running(path, NEW, OLD) as second:
                await asyncio.gather(second.keeper.founded(), early.keeper.founded())
                assert early.watcher.view.users["alice"].secret == Secret("alices-secret")
                assert early.watcher.view.keys == second.watcher.view.keys == first.watcher.view.keys
                assert early.watcher.unreadable == frozenset()


async def test_a_data_key_that_is_lost_under_running_gateways_is_written_again(path):
    """What is sealed in the store stays readable after a restart, when of all the data key alone was removed."""
    async with running(path, OLD) as one:
        await one.keeper.founded()
        await one.changes.put_user("alice", secret=Secret("alices-secret"))
        keys, record = one.watcher.view.keys, one.watcher.view.seals[DATA_KEY]
        await one.watcher.reached(await one.store.swap([Write(Kind.SEAL, DATA_KEY, None)]))
        await eventually(lambda: DATA_KEY in one.watcher.view.seals, "written again")
        assert one.watcher.view.seals[DATA_KEY] == record
    async with running(path, OLD) as one:
        await one.keeper.founded()
        assert one.watcher.view.keys == keys
        assert one.watcher.view.users["alice"].secret == Secret("alices-secret")


async def test_another_data_key_beside_ours_changes_nothing(path):
    """A record among the data keys that has not their one name is not believed, whatever it says, and troubles nobody."""
    async with running(path, OLD) as one:
        await one.keeper.founded()
        before = one.watcher.view.seals
        strange = b'{"version":1,"id":"x","wraps":{"k":[1,"AAAA"]}}'
        await one.watcher.reached(await one.store.swap([Write(Kind.SEAL, "other", strange)]))
        assert (one.codec.seal.trouble, one.watcher.view.seals) == ("", before)


async def test_what_nobody_foresaw_ends_no_gateway(path, monkeypatch, caplog):
    """An error in looking after the keys is told, and it is tried again: the process that serves everybody goes on."""
    tries = 0

    async def breaks(self):
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ZeroDivisionError
        return ()

    monkeypatch.setattr(Changes, "prune_keys", breaks)
    async with running(path, OLD) as one:
        await eventually(lambda: tries == 3, "tried again")
        await one.keeper.founded()
    assert caplog.text.count("nobody foresaw") == 2
