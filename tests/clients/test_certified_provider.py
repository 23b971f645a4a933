"""The OpenID-certified provider from npm: its RS256 at+jwt tokens become sessions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from client_grants import assume_role_with_client_grants, get_token

from tests.conftest import s3_client
from tests.servers.processes import GatewayProcess, Process, free_port, until

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".tools" / "oidc-provider"


@pytest.fixture
def provider(tmp_path):
    """A running certified provider."""
    node = shutil.which("node")
    if node is None or not (INSTALLED / "node_modules").is_dir():
        pytest.skip("no oidc-provider here; deploy/tools/install-oidc-provider.sh installs it where Node is")
    port = free_port()
    server = Process(
        [node, "tests/servers/oidc_provider/server.mjs", str(port), str(INSTALLED)], tmp_path / "provider.log"
    ).start()
    until(lambda: "listening" in server.text or server.popen.poll() is not None, "the provider listens")
    assert server.popen.poll() is None, server.text
    yield f"http://127.0.0.1:{port}"
    server.stop()


def test_certified_provider(provider, tmp_path, weed):
    """Its client_credentials token, found through discovery and checked for issuer and audience, gives a working session."""
    gateway = GatewayProcess(
        tmp_path / "gateway",
        weed.endpoint,
        MINIO_IDENTITY_OPENID_CONFIG_URL=f"{provider}/.well-known/openid-configuration",
        MINIO_IDENTITY_OPENID_CLIENT_ID="urn:minio-gw",
    ).start()
    try:
        token = get_token(f"{provider}/token", "certified", "certified-secret")
        credentials = assume_role_with_client_grants(gateway.endpoint, token["access_token"], int(token["expires_in"]))
        assert "Buckets" in s3_client(gateway.endpoint, credentials).list_buckets()
    finally:
        gateway.close()
