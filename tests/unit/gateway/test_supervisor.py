"""`--workers`: real gateway processes that are killed, refused and stopped; none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import supervisor
from gateway.config import load
from gateway.supervisor import WORKER_MARK, supervise
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, free_port
from tests.servers.proxy import eventually

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="children are found in /proc")


@pytest.fixture(autouse=True)
def environ(monkeypatch, tmp_path):
    """The environment that workers inherit: a root pair, nothing of AWS's, temporary folders in the test's own."""
    for name in os.environ:
        if name.startswith(("MINIO_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MINIO_ROOT_USER", ROOT_USER)
    monkeypatch.setenv("MINIO_ROOT_PASSWORD", ROOT_PASSWORD)
    monkeypatch.setenv("MINIO_CERTS_DIR", str(tmp_path / "certs"))
    monkeypatch.setattr(supervisor.tempfile, "tempdir", str(tmp_path))
    return monkeypatch


def config(*, workers: int = 2, **environ: str):
    """A configuration of a gateway with workers."""
    settings = {**os.environ, "MINIO_GW_WORKERS": str(workers), "MINIO_ADDRESS": f"127.0.0.1:{free_port()}", **environ}
    return load("gateway", {}, "http://127.0.0.1:9", settings, Path.read_text, lambda _: [])


def words(config, *more: str) -> list[str]:
    return ["--quiet", "gateway", "s3", "--address", f"{config.host}:{config.port}", *more, "http://127.0.0.1:9"]


def children() -> set[int]:
    """Return the pids of this process's children that are workers."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and f"{WORKER_MARK}=1".encode() in path.joinpath("environ").read_bytes():
                found.add(int(path.name))
        except (OSError, ValueError):
            continue  # it ended meanwhile
    return found


def listening(port: int) -> int:
    """Return how many sockets listen on a loopback port."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1] == wanted and line.split()[3] == "0A" for line in lines)


@asynccontextmanager
async def supervised(config, *more: str):
    """A supervisor; it is told to stop at the end if it has not ended, and its workers must be gone."""
    running = asyncio.get_running_loop().create_task(supervise(config, words(config, *more)))
    try:
        yield running
    finally:
        if not running.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(asyncio.wait({running}), 30)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
        assert children() == set()


async def test_workers_share_a_port_and_a_store_and_end_together(tmp_path):
    """N processes listen on one port with one private store; SIGTERM ends all of them, with 0, and removes the store."""
    made = config()
    async with supervised(made) as running:
        await eventually(lambda: listening(made.port) == 2, "both listen", 30)
        (shared,) = tmp_path.glob("minio-gw-*")
        assert shared.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in shared.glob("*.sqlite")] == ["iam.sqlite"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(running, 20) == 0
    assert not shared.exists()
    assert listening(made.port) == 0


async def test_a_worker_that_dies_is_replaced(caplog):
    """A killed worker is told in the log and replaced; the other one goes on."""
    made = config()
    async with supervised(made) as running:
        await eventually(lambda: listening(made.port) == 2, "both listen", 30)
        before = children()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: len(children()) == 2 and victim not in children(), "replaced", 30)
        await eventually(lambda: listening(made.port) == 2, "both listen again", 30)
        assert before - {victim} < children()
        assert not running.done()
    assert "a worker ended with status -9; it is replaced" in caplog.text


async def test_a_worker_that_is_misconfigured_ends_everything():
    """A worker that says its configuration is wrong is not tried again: the parent ends with that status."""
    async with supervised(config(), "--workers", "none") as running:
        assert await asyncio.wait_for(running, 20) == supervisor.WRONG_CONFIGURATION


async def test_a_store_of_the_operators_is_left_alone(environ, tmp_path):
    """With a folder configured no temporary one is made, and the folder stays."""
    folder = tmp_path / "data"
    environ.setenv("MINIO_GW_DATA_DIR", str(folder))
    made = config(workers=1)
    async with supervised(made):
        await eventually(lambda: listening(made.port) == 1, "it listens", 30)
        assert list(tmp_path.glob("minio-gw-*")) == []
    assert (folder / "iam.sqlite").exists()


async def python(script: str) -> asyncio.subprocess.Process:
    """A process that runs a script and has said that it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"{script}\nprint('ready', flush=True)\ntime.sleep(60)", stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_the_order_to_stop_is_handed_on():
    """A running worker gets SIGTERM and its own end is what is returned."""
    process = await python("import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))")
    stop = asyncio.Event()
    stop.set()
    assert await supervisor._until(process, stop, 20) == 7


async def test_a_deaf_worker_is_killed_after_the_bound():
    """A worker that does not end within its drain is killed: the parent never waits for ever."""
    process = await python("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    stop = asyncio.Event()
    stop.set()
    assert await supervisor._until(process, stop, 0.2) == -signal.SIGKILL


async def test_a_worker_that_never_starts_is_given_up(monkeypatch, tmp_path, caplog):
    """Five quick ends in a row end everything; a worker that a signal killed must not look like success."""
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE", 0.01)
    killed = tmp_path / "python"
    killed.write_text('#!/bin/sh\necho x >> "$0.runs"\nkill -9 $$\n')
    killed.chmod(0o700)
    monkeypatch.setattr(supervisor.sys, "executable", str(killed))
    stop = asyncio.Event()
    assert await supervisor._keep([], dict(os.environ), stop, 1) == 1
    assert stop.is_set()
    assert (tmp_path / "python.runs").read_text().count("x") == supervisor._TRIES
    assert "a worker cannot start (status -9)" in caplog.text


async def test_a_pause_ends_with_the_order_to_stop():
    """Who is told to stop between two tries stops at once, not after the pause."""
    stop = asyncio.Event()
    pausing = asyncio.get_running_loop().create_task(supervisor._stopped_within(stop, 60))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(pausing, 5)
