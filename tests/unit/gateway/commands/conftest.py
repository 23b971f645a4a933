"""A real gateway process, and `minio-gw admin` against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import cli
from tests.servers.processes import ROOT, ROOT_PASSWORD, ROOT_USER, GatewayProcess
from tests.servers.recording import RecordingBackend

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*"}],
}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """A gateway in front of a store that takes everything."""
    backend = RecordingBackend()
    server = GatewayProcess(tmp_path_factory.mktemp("administrated"), backend.endpoint, MINIO_GW_JSON="on").start()
    yield server
    server.close()
    backend.close()


@pytest.fixture
def environ(monkeypatch):
    """An environment without anything of ours or AWS's."""
    for name in os.environ:
        if name.startswith(("MINIO_", "AWS_")):
            monkeypatch.delenv(name)
    return monkeypatch


class Admin:
    """`minio-gw admin` in this process."""

    def __init__(self, gateway: GatewayProcess, environ: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
        self.gateway, self.environ, self._capsys, self._folder = gateway, environ, capsys, tmp_path
        environ.setenv("MINIO_GW_ADMIN_URL", gateway.endpoint)
        self.become(ROOT_USER, ROOT_PASSWORD)

    def become(self, access_key: str, secret_key: str, token: str = "") -> None:
        """Let this one make the calls that follow."""
        for name in ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"):
            self.environ.delenv(name, raising=False)
        self.environ.setenv("AWS_ACCESS_KEY_ID", access_key)
        self.environ.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
        self.environ.setenv("AWS_SESSION_TOKEN", token)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run a command; return its status, output and errors."""
        self._capsys.readouterr()
        status = cli.main(["admin", *words])
        return (status, *self._capsys.readouterr())

    def __call__(self, *words: str):
        """Return the document of a command that is done."""
        status, out, err = self.run(*words, "--json")
        assert (status, err) == (0, "")
        assert out.count("\n") == 1
        return json.loads(out)

    def process(self, *words: str) -> tuple[int, str, str]:
        """Run a command in a process of its own, as a user does; return its status, output and errors."""
        environ = {"PATH": os.environ["PATH"], "HOME": str(self._folder)}
        environ |= {name: value for name, value in os.environ.items() if name.startswith(("MINIO_", "AWS_"))}
        argv = [sys.executable, "-m", "gateway.cli", "admin", *words]
        done = subprocess.run(argv, env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def text(self, *words: str) -> str:
        """Return what people see of a command that is done."""
        status, out, err = self.run(*words)
        assert (status, err) == (0, "")
        assert all(line.isprintable() for line in out.splitlines())
        return out

    def refused(self, *words: str, status: int = 1):
        """Return what programs are told of a command that fails, and has printed nothing else."""
        ended, out, err = self.run(*words, "--json")
        assert (ended, out) == (status, "")
        return json.loads(err)

    def file(self, name: str, text: str) -> str:
        """Return the path of a file with this text."""
        path = self._folder / name
        path.write_text(text)
        return str(path)

    def user(self, name: str, *policies: str) -> tuple[str, str]:
        """Make a user with these policies; return its keys."""
        secret = f"secret-of-{name}"
        self("user", "add", name, "--new-secret-file", self.file("secret", secret + "\n"))
        if policies:
            self("policy", "attach", *policies, "--user", name)
        return name, secret

    def policy(self, name: str, document=POLICY) -> str:
        """Put a policy; return the file that it is in."""
        path = self.file(f"{name}.json", json.dumps(document))
        self("policy", "put", name, path)
        return path


@pytest.fixture
def admin(gateway, environ, capsys, tmp_path):
    """Root's command line."""
    return Admin(gateway, environ, capsys, tmp_path)
