"""Start a policy server on loopback: the real `opa` where it is, else OPA's own engine behind a small HTTP server.

`opa` is looked for in MINIO_GW_TEST_OPA, `.tools/opa` (deploy/tools/install-opa.sh) and PATH; the engine in
`.tools/opa-engine` (deploy/tools/install-opa-engine.sh). Without both, the test is skipped and says what to run.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / ".tools" / "opa-engine"
DEADLINE = 20.0  # seconds for a server to accept connections


@dataclass(frozen=True)
class OpaServer:
    """A running server: `url` without a path, `kind` "opa" or "engine"."""

    url: str
    kind: str
    process: subprocess.Popen[bytes]

    def close(self) -> None:
        """Stop the server and wait until it is gone; calling it again does nothing."""
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def opa_kind() -> str:
    """Return what tests would run: "opa <path>", "engine", or "none"."""
    binary = _binary()
    if binary:
        return f"opa {binary}"
    return "engine" if ENGINE.is_dir() else "none"


def start_opa(policies: Mapping[str, str], tmp_path: Path, *, port: int = 0) -> OpaServer:
    """Start a server with the Rego texts by file name (`authz.rego`); skip the test where there is none.

    `port` is for a server that comes back where it was; 0 takes a free one.
    """
    folder = tmp_path / "opa-policies"
    folder.mkdir(exist_ok=True)
    for name, text in policies.items():
        (folder / name).write_text(text)
    port = port or _free_port()
    binary = _binary()
    if not binary and not ENGINE.is_dir():
        pytest.skip("no policy engine: run deploy/tools/install-opa.sh (Go) or deploy/tools/install-opa-engine.sh")
    log = tmp_path / "opa.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            _command(binary, port, folder), stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    server = OpaServer(f"http://127.0.0.1:{port}", "opa" if binary else "engine", process)
    try:
        _wait(process, port, log)
    except BaseException:
        server.close()
        raise
    return server


def _binary() -> str | None:
    named = os.environ.get("MINIO_GW_TEST_OPA")
    local = ROOT / ".tools" / "opa"
    return named or (str(local) if local.is_file() else shutil.which("opa"))


def _command(binary: str | None, port: int, folder: Path) -> list[str]:
    if not binary:
        return [sys.executable, str(Path(__file__).with_name("opa_engine.py")), str(ENGINE), str(port), str(folder)]
    quiet = ["--log-level", "error", "--disable-telemetry"]
    return [binary, "run", "--server", "--addr", f"127.0.0.1:{port}", *quiet, str(folder)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end, pause = time.monotonic() + DEADLINE, threading.Event()
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            pause.wait(0.02)
        else:
            return
    raise RuntimeError(f"the policy server did not start: {log.read_text(errors='replace')[-2000:]}")
