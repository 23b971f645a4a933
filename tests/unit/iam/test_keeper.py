"""The keeper over real stores: one founding however many gateways start, and master keys replaced under running ones."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest

from iam import embedded, keeper
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


class Gateway:
    """What of a gateway has to do with the store's keys."""

    def __init__(self, path, *masters):
        self.store = EmbeddedStore(path)
        self.codec = Codec(Seal(masters, os.urandom))
        self.watcher = Watcher(self.store, self.codec)
        self.changes = changes(self.store, lambda: self.watcher.view, self.watcher.reached, codec=self.codec)
        self.keeper = Keeper(self.store, self.codec, self.watcher, self.changes, lambda: Seal(masters, os.urandom))


@asynccontextmanager
async def running(path, *masters):
    """A gateway whose watcher and keeper run."""
    gateway = Gateway(path, *masters)
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
