"""`--workers`: real gateway processes that are killed, refused, renewed and stopped; none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.processes import supervisor
from gateway.processes.inheritance import listen
from gateway.processes.supervisor import WORKER_MARK, Place, Supervisor, Worker, supervise
from gateway.settings.config import load
from tests.servers.certificates import certificate
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
    monkeypatch.setattr(supervisor, "Supervisor", Watched)
    monkeypatch.setattr(Watched, "latest", None)
    return monkeypatch


class Watched(Supervisor):
    """The real one; the test can see it."""

    latest: Supervisor | None = None

    def __init__(self, *args) -> None:
        super().__init__(*args)
        Watched.latest = self


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
            if parent == os.getpid() and f"{WORKER_MARK}=".encode() in path.joinpath("environ").read_bytes():
                found.add(int(path.name))
        except (OSError, ValueError):
            continue  # it ended meanwhile
    return found


def workers() -> list[int]:
    """Return the pids of the workers that have said that they serve, place by place."""
    places = Watched.latest._places if Watched.latest else []
    return [place.worker.process.pid for place in places if place.worker and place.worker.serves.is_set()]


def is_free(port: int) -> bool:
    """Return whether nobody listens on a loopback port."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return not any(line.split()[1] == wanted and line.split()[3] == "0A" for line in lines)


@asynccontextmanager
async def supervised(config, *more: str):
    """A supervisor; it is told to stop at the end if it has not ended, and its workers must be gone."""
    running = asyncio.get_running_loop().create_task(supervise(config, words(config, *more)))
    await eventually(lambda: Watched.latest and Watched.latest._living, "it has begun, and hears signals", 30)
    try:
        yield running
    finally:
        if not running.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(asyncio.wait({running}), 30)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)
        assert children() == set()


async def test_workers_share_a_port_and_a_store_and_end_together(tmp_path):
    """N processes listen on one port with one private store; SIGTERM ends all of them, with 0, and removes the store."""
    made = config()
    async with supervised(made) as running:
        await eventually(lambda: len(workers()) == 2, "both serve", 30)
        (shared,) = tmp_path.glob("minio-gw-*")
        assert shared.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in shared.glob("*.sqlite")] == ["iam.sqlite"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(running, 20) == 0
    assert not shared.exists()
    assert is_free(made.port)


async def test_a_worker_that_dies_is_replaced(caplog):
    """A killed worker is told in the log and replaced; the other one goes on."""
    made = config()
    async with supervised(made) as running:
        await eventually(lambda: len(workers()) == 2, "both serve", 30)
        before = children()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: len(children()) == 2 and victim not in children(), "replaced", 30)
        await eventually(lambda: len(workers()) == 2, "both serve again", 30)
        await eventually(lambda: before - {victim} < children(), "one is the old one", 30)
        assert not running.done()
    assert "a worker ended with status -9; it is replaced" in caplog.text
    assert caplog.text.count("; it is replaced") == 1, caplog.text


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
        await eventually(lambda: len(workers()) == 1, "it serves", 30)
        assert list(tmp_path.glob("minio-gw-*")) == []
    assert (folder / "iam.sqlite").exists()


class Hammer:
    """Clients that never pause: `new` ask on a connection of their own each time, `kept` on one until an answer says close."""

    def __init__(self, port: int, *, tls: bool) -> None:
        self.port = port
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls else None
        if self.tls is not None:
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.failures: list[str] = []
        self.answers = {"new": 0, "kept": 0}
        self._stop = False

    async def run(self, kind: str) -> None:
        """Ask until told to stop."""
        reader = writer = None
        while not self._stop:
            try:
                async with asyncio.timeout(20):
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls)
                    writer.write(b"GET /bucket/key HTTP/1.1\r\nHost: x\r\n\r\n")
                    closes = await self._answer(reader)
            except (OSError, EOFError, TimeoutError, AssertionError) as error:
                self.failures.append(f"{kind}: {error!r}")
                closes = True
            if (closes or kind == "new") and writer is not None:
                writer.close()
                reader = writer = None
            self.answers[kind] += 1
        if writer is not None:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        """Read one answer, which is a refusal; return whether the connection ends with it."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 403"), head
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        return b"connection: close" in head

    @asynccontextmanager
    async def going(self):
        """Hammer meanwhile: four clients of each kind."""
        async with asyncio.TaskGroup() as group:
            for kind in ("new", "kept") * 4:
                group.create_task(self.run(kind))
            try:
                yield self
            finally:
                self._stop = True


@pytest.mark.parametrize(
    ("times", "tls"),
    [(2, False), pytest.param(10, False, marks=pytest.mark.slow), pytest.param(3, True, marks=pytest.mark.slow)],
)
async def test_a_rolling_reload_loses_no_request(times, tls, tmp_path):
    """While every worker is replaced, again and again, no connection is refused or reset and no request is left unanswered."""
    if tls:
        certificate(tmp_path / "certs")
    made = config()
    async with supervised(made):
        await eventually(lambda: len(workers()) == 2, "both serve", 30)
        async with Hammer(made.port, tls=tls).going() as hammer:
            for _ in range(times):
                before = set(workers())
                os.kill(os.getpid(), signal.SIGHUP)
                await eventually(lambda old=before: len(set(workers()) - old) == 2, "both are new", 60)
                await eventually(lambda old=before: not old & children(), "the old ones are gone", 60)
    assert hammer.failures == []
    assert min(hammer.answers.values()) > 50 * times


async def test_a_reload_that_cannot_start_leaves_the_old_ones(environ, tmp_path, caplog):
    """With settings that are wrong now the old workers go on, and it is said; mended, the next reload works."""
    settings = tmp_path / "settings"
    settings.write_text("MINIO_GW_DRAIN=1\n")
    environ.setenv("MINIO_CONFIG_ENV_FILE", str(settings))
    async with supervised(config()) as running:
        await eventually(lambda: len(workers()) == 2, "both serve", 30)
        before = workers()
        settings.write_text("MINIO_GW_DRAIN=soon\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: "a new worker cannot serve (status 2)" in caplog.text, "it is said", 30)
        assert workers() == before
        os.kill(before[0], signal.SIGKILL)
        await eventually(lambda: "a worker ended with status 2; it is replaced" in caplog.text, "it is tried again", 30)
        assert not running.done()
        settings.write_text("MINIO_GW_DRAIN=1\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: len(set(workers()) - set(before)) == 2, "both are new", 60)


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
    place = Place(listen("127.0.0.1", 0))
    assert await Supervisor([place], [], dict(os.environ), 1).run() == 1
    place.close()
    assert (tmp_path / "python.runs").read_text().count("x") == supervisor._TRIES
    assert "a worker cannot start (status -9)" in caplog.text


async def test_a_pause_ends_with_the_order_to_stop():
    """Who is told to stop between two tries stops at once, not after the pause."""
    stop = asyncio.Event()
    pausing = asyncio.get_running_loop().create_task(supervisor._stopped_within(stop, 60))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(pausing, 5)


async def test_a_worker_that_a_reload_has_overtaken_leaves():
    """While a dead worker's place is filled a reload may fill it: its worker stays, and the other one is told to leave."""
    renewed, started = Worker(None, 0.0), Worker(None, 0.0)

    class Overtaken(Supervisor):
        async def _start(self, place: Place, *, takes_over: bool) -> Worker:
            place.worker = renewed
            return started

    place = Place([])
    await Overtaken([place], [], {}, 1.0)._fill(place)
    assert place.worker is renewed
    assert started.leave.is_set()
    assert not renewed.leave.is_set()
