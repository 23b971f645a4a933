"""Changes of more records than one transaction holds: over a real etcd, which bounds it, and SQLite, which does not."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager

import pytest

from iam import bulk
from iam.codec import record_key
from iam.embedded import EmbeddedStore
from iam.endings import new_key
from iam.etcd import EtcdStore
from iam.model import Secret
from iam.records import Attachment, Group, User
from iam.refusals import NoSuchGroup, NoSuchUser, Unfinished
from iam.store import EtcdSettings, StoreUnavailable, Write
from iam.watch import Watcher
from tests.servers.etcd import Etcd
from tests.servers.iam import CODEC
from tests.servers.iam import changes as changes_of

NOW = int(time.time())
SECRET = Secret("12345678")


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    """One real etcd member."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@asynccontextmanager
async def opened(store):
    """Give an open store."""
    await store.open()
    yield store
    await store.close()


def _in_etcd(member) -> EtcdStore:
    """Return a store of one test alone."""
    return EtcdStore(EtcdSettings(tuple(member.endpoints), path_prefix=f"/{uuid.uuid4()}"))


@pytest.fixture
async def in_etcd(member):
    """An open store in etcd."""
    async with opened(_in_etcd(member)) as store:
        yield store


@pytest.fixture(params=["etcd", "sqlite"])
async def store(request, member):
    """An open store of each kind."""
    async with opened(_in_etcd(member) if request.param == "etcd" else EmbeddedStore(None)) as one:
        yield one


@asynccontextmanager
async def changing(store):
    """Give changes of a store, and the watcher that sees them."""
    watcher = Watcher(store, CODEC)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watcher.run())
        await asyncio.wait_for(watcher.loaded(), 10)
        yield changes_of(store, lambda: watcher.view, watcher.reached), watcher
        task.cancel()


async def put(store, *records, **options):
    """Import records."""
    return await bulk.put(store, CODEC, records, root_access_key="rootkey", now=NOW, **options)


def users(count: int, length: int = 0) -> list[User]:
    """Return users with names of a length."""
    return [User(f"u{number:05}".ljust(length, "x"), SECRET) for number in range(count)]


class Ending:
    """A store that is away after some writes; `between` is done before the last of them."""

    def __init__(self, store, writes: int, between=None) -> None:
        self._store, self._left, self._between = store, writes, between

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def swap(self, writes, checks=()):
        """Write, as long as the store is there."""
        if not self._left:
            raise StoreUnavailable("it is away")
        self._left -= 1
        if not self._left and self._between:
            await self._between()
        return await self._store.swap(writes, checks)


async def test_hundreds_of_users_are_put_into_a_group_at_once(store):
    """However many there are, all of them are members, of a new group and of one that is there; the same again adds nobody."""
    everybody = users(500)
    names = tuple(user.name for user in everybody)
    await put(store, *everybody)
    async with changing(store) as (changes, watcher):
        for members in (names[:200], names, names):
            await changes.add_members("everybody", members)
            assert watcher.view.groups["everybody"].members == members
        await changes.remove_members("everybody", names)
        assert watcher.view.groups["everybody"].members == ()


async def test_a_stranger_among_many_keeps_all_of_them_out(in_etcd):
    """That all are users is looked at before the first is put in."""
    names = [user.name for user in users(200)]
    await put(in_etcd, *users(200))
    async with changing(in_etcd) as (changes, _):
        with pytest.raises(NoSuchUser, match="zzz-nobody"):
            await changes.add_members("everybody", [*names, "zzz-nobody"])
    assert not [row for row in (await in_etcd.snapshot()).rows if row.name == "everybody"]


async def test_what_breaks_off_says_how_far_it_came_and_goes_on(in_etcd):
    """A store that goes away half way: who is in is told by number, nobody else is, and the same call again puts in the rest."""
    names = tuple(user.name for user in users(200))
    await put(in_etcd, *users(200))
    async with changing(Ending(in_etcd, 2)) as (changes, _):
        with pytest.raises(Unfinished, match="128 of 200 users were put into the group; the same call again goes on"):
            await changes.add_members("everybody", names)
    async with changing(in_etcd) as (changes, watcher):
        assert watcher.view.groups["everybody"].members == names[:128]
        await changes.add_members("everybody", names)
        assert watcher.view.groups["everybody"].members == names


async def test_a_group_that_another_removes_meanwhile_is_not_made_again(in_etcd):
    """Half of a call's members do not make anew what another administrator has just removed."""
    names = [user.name for user in users(200)]
    await put(in_etcd, *users(200))
    async with changing(in_etcd) as (other, _):

        async def removed() -> None:
            await other.remove_members("everybody", names)
            await other.remove_group("everybody")

        async with changing(Ending(in_etcd, 2, removed)) as (changes, _):
            with pytest.raises(Unfinished, match="64 of 200") as told:
                await changes.add_members("everybody", names)
        assert isinstance(told.value.__cause__, NoSuchGroup)
    assert not [row for row in (await in_etcd.snapshot()).rows if row.name == "everybody"]


async def test_an_import_is_split_as_the_store_needs(store):
    """Records that are large together are all written, by as many transactions as it takes."""
    everybody = users(1500, 60)
    groups = [Group(f"group{number:02}", tuple(user.name for user in everybody)) for number in range(40)]
    done = await put(store, *everybody, *groups)
    assert (len(done.created), done.kept, done.skipped) == (1540, (), ())
    async with changing(store) as (_, watcher):
        assert {len(group.members) for group in watcher.view.groups.values()} == {1500}


async def test_an_import_leaves_out_what_the_store_never_takes(in_etcd):
    """One record that is too large keeps no other out, and nothing is attached to what is not there."""
    everybody = users(13_000, 128)
    huge = [Group(f"huge{number:02}", tuple(user.name for user in everybody)) for number in range(9)]
    rights = [Attachment(name, ("readonly",), group=True) for name in ("huge00", "small")]
    await put(in_etcd, *everybody)
    done = await put(in_etcd, *huge, Group("small"), *rights)
    assert set(done.created) == {"groups/small", "attachments/group/small"}
    assert {note.about: note.text for note in done.skipped} == {
        **{f"groups/{group.name}": "it is larger than the store takes" for group in huge},
        "attachments/group/huge00": "there is no such group",
    }


async def test_an_import_that_breaks_off_says_how_far_it_came(in_etcd):
    """What was written is told by number, stays, and is unchanged to the same import again."""
    records = users(100)
    with pytest.raises(Unfinished, match="80 of 100 records were written; the same import again goes on"):
        await put(Ending(in_etcd, 2), *records)
    done = await put(in_etcd, *records)
    assert (len(done.created), len(done.unchanged)) == (20, 80)


async def test_hundreds_of_session_keys_are_pruned(in_etcd):
    """Who rotated often has more old keys than one transaction removes; all go, but for those that mint."""
    old = [new_key(NOW - 9000 + number, settle=0) for number in range(200)]
    for key in old:
        await in_etcd.swap([Write(*record_key(key), CODEC.encode(key))])
    async with changing(in_etcd) as (changes, watcher):
        assert set(await changes.prune_keys()) == {key.kid for key in old[:-1]}
        assert set(watcher.view.keys) == {old[-1].kid}
