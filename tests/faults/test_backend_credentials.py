"""Backend credentials from AWS's chain: they turn while the gateway serves, and no request fails for it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.servers.processes import GatewayProcess
from tests.servers.recording import RecordingBackend
from tests.traps.test_traps import send, signed


class Handler(BaseHTTPRequestHandler):
    """Container credentials (ECS, EKS pod identity): each answer is a new key that soon expires."""

    def do_GET(self) -> None:
        self.server.given += 1
        soon = datetime.now(UTC) + timedelta(minutes=5)
        keys = {
            "AccessKeyId": f"TURN{self.server.given}",
            "SecretAccessKey": "s" * 20,
            "Token": f"token{self.server.given}",
            "Expiration": soon.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        body = json.dumps(keys).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def metadata():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.given = 0
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
    server.server_close()


def test_credentials_turn_without_a_failed_request(tmp_path, metadata):
    """Every request is signed with credentials that are good, the session token with them, while they turn."""
    backend = RecordingBackend()
    url = f"http://127.0.0.1:{metadata.server_address[1]}/creds"
    gateway = GatewayProcess(
        tmp_path,
        backend.endpoint,
        AWS_CONTAINER_CREDENTIALS_FULL_URI=url,
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_EC2_METADATA_DISABLED="true",
    ).start()
    try:
        for i in range(5):
            assert send(gateway, "GET", f"/bkt/k{i}", signed(gateway, "GET", f"/bkt/k{i}"))[0] == 200
        found = [
            (r.headers["authorization"].split("Credential=")[1].split("/")[0], r.headers["x-amz-security-token"])
            for r in backend.signed
        ]
        assert len(found) == 5
        assert len(set(found)) > 1, "the credentials have turned"
        assert all(key.removeprefix("TURN") == token.removeprefix("token") for key, token in found)
    finally:
        gateway.close()
        backend.close()
