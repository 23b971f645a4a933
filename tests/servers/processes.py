"""Real servers as subprocesses: started on free loopback ports, waited for, stopped. Nothing here sleeps blindly."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.processes.store_server import free_ports, identities, weed_command
from iam.model import Credentials, Secret
from tests.servers.leaks import leaks

ROOT = Path(__file__).parents[2]
ROOT_USER, ROOT_PASSWORD = "rootaccess", "root-secret-of-the-tests"
BACKEND = Credentials("BACKENDKEY", Secret("backend-secret-of-the-tests"))


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until a condition holds; fail loudly at the deadline."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {seconds} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


def http_status(url: str) -> int:
    """Return the status of a GET, 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@dataclass
class Process:
    """One server process and the file its output goes to."""

    command: Sequence[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    popen: subprocess.Popen | None = None

    def start(self) -> Process:
        """Start it (again). What a test did not come to stop, interrupted while it started say, ends with this process."""
        if self.popen is None:
            atexit.register(self.stop, signal.SIGKILL)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MINIO_"))}
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(
                list(self.command), stdout=out, stderr=out, env={**inherited, **self.env}, cwd=ROOT
            )
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait until it is gone."""
        if self.popen is None:
            return 0
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(40)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(10)

    @property
    def text(self) -> str:
        """Everything it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Weed:
    """SeaweedFS with one identity."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "s3.json").write_text(identities(BACKEND))
        # Its ports are free when they are chosen; on a busy machine another test may be faster, and it ends.
        if not any(self._started(directory, directory / f"data{i}") for i in range(3)):
            raise RuntimeError(self.process.text[-2000:])

    def _started(self, directory: Path, data: Path) -> bool:
        data.mkdir()
        ports = free_ports()
        self.endpoint = f"http://127.0.0.1:{ports.s3}"
        command = weed_command(data, ports, directory / "s3.json")
        self.process = Process(command, directory / "weed.log").start()
        ended = lambda: self.process.popen.poll() is not None  # noqa: E731
        try:
            until(lambda: http_status(self.endpoint) in {200, 403} or ended(), "SeaweedFS answers")
        except TimeoutError:
            self.close()
            raise
        return not ended()

    def close(self) -> None:
        """Kill it: its graceful stop takes long, and its data goes with the test."""
        self.process.stop(signal.SIGKILL)


class DevIssuer:
    """The development OpenID provider."""

    def __init__(self, directory: Path, *clients: str, lifetime: int = 3600) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        arguments = [word for client in clients for word in ("--client", client)]
        log = directory / "issuer.log"
        command = [sys.executable, "examples/dev_issuer.py", *arguments, "--lifetime", str(lifetime)]
        self.process = Process(command, log).start()
        until(lambda: '{"issuer"' in self.process.text and self.process.text.endswith("\n"), "the issuer is ready")
        self.urls = json.loads(next(line for line in self.process.text.splitlines() if line.startswith("{")))

    def close(self) -> None:
        self.process.stop()


class GatewayProcess:
    """A real `minio-gw gateway s3` process."""

    def __init__(self, directory: Path, endpoint: str, *words: str, **env: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        settings = {
            "MINIO_ROOT_USER": ROOT_USER, "MINIO_ROOT_PASSWORD": ROOT_PASSWORD,
            "AWS_ACCESS_KEY_ID": BACKEND.access_key_id, "AWS_SECRET_ACCESS_KEY": BACKEND.secret.reveal(),
            "MINIO_GW_OPENID_AUDIENCES": "account",  # the development provider's tokens have it
        } | env  # fmt: skip
        command = [sys.executable, "-m", "gateway.cli", "gateway", "s3", "--address", f"127.0.0.1:{self.port}",
                   "--certs-dir", str(directory / "certs"), *words, endpoint]  # fmt: skip
        self.process = Process(command, directory / "gateway.log", settings)

    def start(self, *, ready: bool = True) -> GatewayProcess:
        """Start it and wait until it is ready (or only alive)."""
        self.process.start()
        path = "/minio/health/ready" if ready else "/minio/health/live"
        until(
            lambda: http_status(self.endpoint + path) == 200 or self.process.popen.poll() is not None,
            "the gateway is ready",
        )
        if self.process.popen.poll() is not None:
            raise RuntimeError(self.process.text)
        return self

    def close(self) -> int:
        """Stop it, and hold that it has printed no secret (trap 54), whatever it was used for."""
        code = self.process.stop()
        assert not (found := self.told()), f"{self.process.log} tells {found}"
        return code

    def told(self) -> set[str]:
        """Return which of its secrets, or which token or signature, it has printed."""
        given = {n: v for n, v in self.process.env.items() if _SECRET_NAME.search(n) and len(v) >= 8}
        found = {name for name, _ in leaks(given, [("its output", self.process.text.encode())])}
        return found | {match[0][:16] for match in _TOKENS.finditer(self.process.text)}


_SECRET_NAME = re.compile(r"(?:SECRET|PASSWORD|MASTER_KEY|AUTH_TOKEN)(?!.*_FILE$)")
_TOKENS = re.compile(r"eyJ[\w-]{16,}\.[\w-]{16,}|Signature=[0-9a-fA-F]{64}")


def run(coroutine):
    """Run a coroutine from a test that is not one."""
    return asyncio.run(coroutine)
