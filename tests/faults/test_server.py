"""`minio-gw server DIR`: a real store, kept running, its keys its own."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from tests.conftest import s3_client
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, Process, free_port, http_status, until


def children(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]


def test_server_restarts_its_store_and_keeps_the_data(tmp_path):
    """When the store is killed it comes back by itself with the data, and SIGTERM ends both."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gateway.cli",
        "server",
        "--address",
        f"127.0.0.1:{port}",
        "--certs-dir",
        str(tmp_path / "certs"),
        str(tmp_path / "data"),
    ]
    server = Process(
        command, tmp_path / "server.log", {"MINIO_ROOT_USER": ROOT_USER, "MINIO_ROOT_PASSWORD": ROOT_PASSWORD}
    ).start()
    endpoint = f"http://127.0.0.1:{port}"
    try:
        until(lambda: http_status(f"{endpoint}/minio/health/ready") == 200, "the server is ready")
        s3 = s3_client(endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD})
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="k", Body=b"kept")
        keys = Path(tmp_path / "data" / ".minio-gw" / "backend-keys.json")
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600
        [store] = children(server.popen.pid)
        os.kill(store, signal.SIGKILL)
        until(lambda: children(server.popen.pid) not in ([], [store]), "the store is started again")

        def kept() -> bool:
            try:
                return s3.get_object(Bucket="kept", Key="k")["Body"].read() == b"kept"
            except Exception:
                return False

        until(kept, "the data is back")
        assert "the store ended with status" in server.text
    finally:
        left = children(server.popen.pid)
        assert server.stop() == 0
    assert left
    assert all(not Path(f"/proc/{pid}").exists() for pid in left)
