"""The store in one file: whose it is, who may open it at once, what a later program wrote, and what leaves it in time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
import sys
from contextlib import aclosing
from functools import partial
from pathlib import Path

import pytest

from iam import embedded
from iam.embedded import EmbeddedStore
from iam.store import StoreUnavailable, WatchLost
from tests.contracts.test_stores import NOW, File, opened, record, watching
from tests.servers.iam import revoke
from tests.servers.proxy import eventually


async def test_the_file_belongs_to_its_user_alone(tmp_path):
    """The file and its companions are readable by nobody else, even when they were before."""
    path = tmp_path / "new" / "store.sqlite"
    async with opened(File(path)) as store:
        await store.record_session(record())
        modes = {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert modes == {0o600}
    path.chmod(0o644)
    async with opened(File(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_another_process_can_revoke(tmp_path):
    """The admin command is a process of its own: its revocation is in force here within a second of its end."""
    path = tmp_path / "store.sqlite"
    program = (
        "import asyncio, pathlib, sys\nfrom iam.embedded import EmbeddedStore\nfrom tests.servers.iam import revoke\nasync def main():\n"
        "    store = EmbeddedStore(pathlib.Path(sys.argv[1]))\n    await store.open()\n"
        "    await revoke(store, 'AKEYAKEYAKEY', now=1)\n    await store.close()\nasyncio.run(main())\n"
    )
    async with opened(File(path)) as store, watching(store) as watcher:
        await store.record_session(record())
        root = Path(__file__).parents[2]
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, path], check=True, cwd=root)
        assert await eventually(lambda: watcher.view.is_revoked("AKEYAKEYAKEY"), "seen") < 1


@pytest.mark.parametrize("time_", range(30))
async def test_many_may_open_a_new_file_at_once(tmp_path, time_):
    """Stores that start together do not trip over each other's first steps."""
    stores = [EmbeddedStore(tmp_path / "store.sqlite") for _ in range(8)]
    await asyncio.gather(*(one.open() for one in stores))
    await asyncio.gather(*(one.record_session(record(f"KEY{i}")) for i, one in enumerate(stores)))
    assert len(await stores[0].sessions()) == 8
    await asyncio.gather(*(one.close() for one in stores))


OPENED_BY_MANY = """
import asyncio, sys
from pathlib import Path
from iam.embedded import EmbeddedStore
async def main():
    print("ready", flush=True)
    for path in sys.stdin:
        store = EmbeddedStore(Path(path.strip()))
        await store.open()
        await store.ping()
        await store.close()
        print("done", flush=True)
asyncio.run(main())
"""


def test_many_processes_may_open_a_new_file_at_once(tmp_path):
    """Workers that start together do not trip over each other's first steps, nor over one's end."""
    root = Path(__file__).parents[2]
    start = partial(subprocess.Popen, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(start([sys.executable, "-c", OPENED_BY_MANY])) for _ in range(6)]
        assert [one.stdout.readline() for one in workers] == ["ready\n"] * 6
        for i in range(50):
            for one in workers:
                print(tmp_path / f"{i}.sqlite", file=one.stdin, flush=True)
            assert [one.stdout.readline() for one in workers] == ["done\n"] * 6
        for one in workers:
            one.stdin.close()


async def test_a_file_of_another_version_is_refused(tmp_path):
    """A file written by a later program is left alone, with a reason."""
    path = tmp_path / "store.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    store = EmbeddedStore(path)
    with pytest.raises(StoreUnavailable, match="another version"):
        await store.open()
    await store.close()


async def test_what_has_expired_is_removed_in_time(tmp_path, monkeypatch):
    """Expired records do not pile up: a write removes them, and a watch from before is lost."""
    monkeypatch.setattr(embedded, "PURGE", -1.0)
    async with opened(File(tmp_path / "store.sqlite"), slack=0) as store:
        start = (await store.snapshot()).revision
        await store.record_session(record("AAA", life=1))
        await revoke(store, "AAA", now=NOW)
        await store.record_session(record("BBB", life=1))
        async with aclosing(store.watch(start)) as batches:
            async with asyncio.timeout(10):
                while [(row.name, row.value) for row in (await anext(batches)).rows] != [("AAA", None)]:
                    pass
        await store.record_session(record("CCC"))
        assert await store._run(lambda: store._rows("SELECT access_key_id FROM sessions")) == [("CCC",)]
        monkeypatch.setattr(embedded.time, "time", lambda: NOW + 2 * embedded.HEARD)
        await anext(store.watch((await store.snapshot()).revision))
        assert await store._run(lambda: store._rows("SELECT * FROM records")) == []
        with pytest.raises(WatchLost):
            await anext(store.watch(start))
