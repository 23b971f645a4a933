"""Keycloak in development mode with the realm of deploy/keycloak: started on a free port, administered over its REST API."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import httpx

from tests.servers.processes import Process, free_port, http_status, until

ROOT = Path(__file__).parents[2]
ADMIN, PASSWORD, CLIENT_SECRET = "admin", "admin-of-the-tests", "s3-lab-secret-of-the-tests"
REALM = "minio"


def installed() -> Path | None:
    """Return where deploy/tools/install-keycloak.sh put it, None where it is not, or cannot run."""
    found = sorted((ROOT / ".tools" / "keycloak").glob("keycloak-*/bin/kc.sh"))
    return found[-1].parents[1] if found and shutil.which("java") else None


def _linked(source: str, target: str) -> str:
    """Link a file, or copy it to another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


class Keycloak:
    """One server; its home is a copy of links, so that nothing is written where it is installed."""

    def __init__(self, home: Path, directory: Path) -> None:
        directory.mkdir(parents=True)
        copy = directory / "keycloak"
        shutil.copytree(home, copy, copy_function=_linked, ignore=shutil.ignore_patterns("data", "quarkus"))
        # What it builds for itself at the start is written there.
        shutil.rmtree(copy / "lib" / "quarkus", ignore_errors=True)
        shutil.copytree(home / "lib" / "quarkus", copy / "lib" / "quarkus")
        imported = copy / "data" / "import"
        imported.mkdir(parents=True)
        shutil.copy(ROOT / "deploy/keycloak/realm-minio.json", imported)
        port, management = free_port(), free_port()
        self.base = f"http://127.0.0.1:{port}"
        self.realm = f"{self.base}/realms/{REALM}"
        self.config_url = f"{self.realm}/.well-known/openid-configuration"
        self.token_url = f"{self.realm}/protocol/openid-connect/token"
        command = [
            "sh", str(copy / "bin/kc.sh"), "start-dev", "--import-realm", "--http-host=127.0.0.1", f"--http-port={port}",
            f"--http-management-port={management}",
        ]  # fmt: skip
        settings = {
            "S3_LAB_SECRET": CLIENT_SECRET, "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN, "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
            "JAVA_OPTS_APPEND": "-Xmx512m",
        }  # fmt: skip
        self.process = Process(command, directory / "keycloak.log", settings).start()
        ended = lambda: self.process.popen.poll() is not None  # noqa: E731
        try:
            until(lambda: http_status(self.config_url) == 200 or ended(), "Keycloak answers", 600)
        finally:
            if http_status(self.config_url) != 200:
                self.close()
        if ended():
            raise RuntimeError(self.process.text[-2000:])

    def close(self) -> None:
        """Kill it: kc.sh becomes the Java process, and its data goes with the test."""
        self.process.stop(signal.SIGKILL)

    def admin(self, method: str, path: str, **more) -> httpx.Response:
        """Return the answer of the realm's administration."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": ADMIN, "password": PASSWORD}
        master = f"{self.base}/realms/master/protocol/openid-connect/token"
        token = httpx.post(master, data=form, timeout=30).json()["access_token"]
        address = f"{self.base}/admin/realms/{REALM}{path}"
        answer = httpx.request(method, address, headers={"Authorization": f"Bearer {token}"}, timeout=30, **more)
        assert answer.status_code < 300, answer.text
        return answer

    def new_key(self) -> None:
        """Sign with a new key from now on; those before stay published."""
        config = {
            "priority": ["200"],
            "enabled": ["true"],
            "active": ["true"],
            "keySize": ["2048"],
            "algorithm": ["RS256"],
        }
        component = {
            "name": "new",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": config,
        }
        self.admin("POST", "/components", json=component)

    def withdraw_old_keys(self) -> None:
        """Publish the new key alone."""
        keys = self.admin("GET", "/components", params={"type": "org.keycloak.keys.KeyProvider"}).json()
        for key in keys:
            if key["providerId"] == "rsa-generated" and key["name"] != "new":
                self.admin("DELETE", f"/components/{key['id']}")
