"""100,000 users and 10,000 policies: how long a gateway needs to know them all, and what they cost in memory.

Measured in a process of its own that does what a gateway does at its start. Its processor time is judged, since the clock on the
wall of a busy machine says nothing; memory is what the process has more of (RSS), divided by the number of records.
`python -m tests.contracts.test_large_view PATH` measures the store of a file.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from iam.codec import Codec, record_key
from iam.embedded import EmbeddedStore
from iam.etcd import EtcdStore
from iam.model import Secret
from iam.policy import CANNED
from iam.policy_book import PolicyBook
from iam.records import Attachment, PolicyDocument, Record, User
from iam.seal import Seal
from iam.store import EtcdSettings, IamStore, Write
from iam.view import IamView
from iam.watch import Watcher
from tests.servers.etcd import Etcd
from tests.servers.iam import MASTER
from tests.servers.processes import ROOT

USERS, POLICIES = 100_000, 10_000
SECONDS, BYTES = 5.0, 2048  # what a load may take, and what a record may cost
CHANGE = 0.05  # seconds of the event loop that one change may take while the view is so large


@dataclass(frozen=True)
class Measured:
    """What one load took: processor and wall seconds, bytes of memory with policies parsed and before that, seconds of a change."""

    seconds: float
    wall: float
    records: int
    view: int
    parsed: int
    change: float


def everybody() -> Iterator[Record]:
    """Yield the records: users with secrets as MinIO makes them, policies of two statements over a prefix of their own."""
    for number in range(USERS):
        yield User(f"user-{number:06}", Secret(f"{number:040x}"), updated_at=1_800_000_000)
    for number in range(POLICIES):
        own = f"arn:aws:s3:::bucket-{number:05}"
        statements = [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": [f"{own}/*"]},
            {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [own],
             "Condition": {"StringLike": {"s3:prefix": ["home/${aws:username}/*"]}}},
        ]  # fmt: skip
        text = json.dumps({"Version": "2012-10-17", "Statement": statements})
        yield PolicyDocument(f"policy-{number:05}", text, 1_800_000_000, 1_800_000_000)


async def fill(store: IamStore, at_once: int) -> None:
    """Write everything, in transactions of so many records."""
    seal = Seal((MASTER,), os.urandom)
    key = seal.create(1)
    seal.learn(key)
    codec, records = Codec(seal), [key, *everybody()]
    await store.open()
    for begin in range(0, len(records), at_once):
        some = records[begin : begin + at_once]
        await store.swap([Write(*record_key(record), codec.encode(record)) for record in some])
    await store.close()


async def measure(store: IamStore) -> Measured:
    """Load a store's view as a gateway does, parse its policies, make one change."""
    watcher = Watcher(store, Codec(Seal((MASTER,), os.urandom)))
    await store.open()
    before, cpu, wall = memory(), time.process_time(), time.perf_counter()
    task = asyncio.get_running_loop().create_task(watcher.run())
    await watcher.loaded()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    loaded = memory()
    book = PolicyBook(CANNED, lambda: watcher.view)()
    assert sum(len(book[name].statements) for name in watcher.view.policies) == 2 * POLICIES
    parsed, change = memory(), changing(watcher.view)
    task.cancel()
    await store.close()
    records = len(watcher.view.users) + len(watcher.view.policies)
    return Measured(cpu, wall, records, loaded - before, parsed - before, change)


def changing(view: IamView) -> float:
    """Return the seconds of one change of a user and one of an attachment."""
    began = time.process_time()
    view.apply([User("user-000000", Secret("another-secret")), Attachment("user-000000", ("policy-00000",))], 2)
    return time.process_time() - began


def memory() -> int:
    """Return the bytes that this process has (resident), after what is garbage is gone."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_a_process(where: str) -> Measured:
    """Measure in a fresh process."""
    command = [sys.executable, "-m", "tests.contracts.test_large_view", where]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return Measured(**json.loads(done.stdout))


def a_store(where: str) -> IamStore:
    """Return the store of a file, or of an etcd's URL."""
    return EtcdStore(EtcdSettings((where,), "large/", timeout=30)) if "://" in where else EmbeddedStore(Path(where))


@pytest.fixture(scope="module", params=["embedded", "etcd"])
def measured(request, tmp_path_factory) -> Iterator[Measured]:
    """What a load of each store takes."""
    folder = tmp_path_factory.mktemp("large")
    if request.param == "embedded":
        asyncio.run(fill(a_store(str(folder / "iam.sqlite")), 5000))
        yield in_a_process(str(folder / "iam.sqlite"))
        return
    with Etcd(folder) as cluster:
        asyncio.run(fill(a_store(cluster.endpoints[0]), 100))
        yield in_a_process(cluster.endpoints[0])


@pytest.mark.slow
def test_a_large_view_loads_in_seconds(measured):
    """100,000 users and 10,000 policies are known within five seconds."""
    assert measured.records == USERS + POLICIES
    assert measured.seconds < SECONDS, measured


@pytest.mark.slow
def test_a_record_costs_two_kibibytes_at_most(measured):
    """A user or a policy costs at most 2 KiB of memory on average, with every policy parsed."""
    assert measured.parsed / measured.records < BYTES, measured


@pytest.mark.slow
def test_a_change_of_a_large_view_is_soon_done(measured):
    """Requests wait no longer than a moment while a large view changes."""
    assert measured.change < CHANGE, measured


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(measure(a_store(sys.argv[1]))))))
