"""Fixtures of the whole suite: real servers, one of each per session."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, settings

# A busy machine is not a wrong answer: no test of ours is about how long one example took.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from client_grants import assume_role_with_client_grants, get_token  # noqa: E402

from tests.servers.processes import BACKEND, DevIssuer, GatewayProcess, Weed  # noqa: E402


def pytest_runtest_setup():
    """End the servers of a session that is told to end, as of one that is interrupted; a test that ran a gateway in this process has set it back."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Return a folder for the servers of this session."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def weed(servers):
    """A real S3 store."""
    server = Weed(servers / "weed")
    yield server
    server.close()


@pytest.fixture(scope="session")
def issuer(servers):
    """A real OpenID provider with three clients."""
    server = DevIssuer(
        servers / "issuer", "app:app-secret:readwrite", "reader:reader-secret:readonly", "nobody:nobody-secret:"
    )
    yield server
    server.close()


@pytest.fixture(scope="session")
def gateway(servers, weed, issuer):
    """A real gateway in front of the store, trusting the provider."""
    server = GatewayProcess(
        servers / "gateway", weed.endpoint, MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_DOMAIN="s3.example.test", MINIO_GW_DATA_DIR=str(servers / "gateway" / "data"),
        MINIO_PROMETHEUS_AUTH_TYPE="public",
    ).start()  # fmt: skip
    yield server
    server.close()


def credentials_for(gateway, issuer, client: str = "app") -> dict[str, str]:
    """Return temporary credentials, got as a client gets them."""
    token = get_token(issuer.urls["token"], client, f"{client}-secret")
    return assume_role_with_client_grants(gateway.endpoint, token["access_token"], 3600)


def s3_client(endpoint: str, credentials: dict[str, str], **config):
    """Return a boto3 client as any user makes it."""
    config = {"retries": {"max_attempts": 1}, "s3": {"addressing_style": "path"}} | config
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=credentials["accessKey"],
        aws_secret_access_key=credentials["secretKey"], aws_session_token=credentials.get("sessionToken"),
        config=Config(signature_version="s3v4", **config),
    )  # fmt: skip


@pytest.fixture(scope="session")
def app_credentials(gateway, issuer):
    """Temporary credentials with the readwrite policy."""
    return credentials_for(gateway, issuer, "app")


@pytest.fixture(scope="session")
def s3(gateway, app_credentials):
    """A boto3 client through the gateway, with temporary credentials."""
    return s3_client(gateway.endpoint, app_credentials)


@pytest.fixture(scope="session")
def direct(weed):
    """A boto3 client directly at the store: the oracle."""
    return s3_client(weed.endpoint, {"accessKey": BACKEND.access_key_id, "secretKey": BACKEND.secret.reveal()})


def pytest_report_header() -> str:
    """Say which policy engine the tests ask."""
    from tests.servers.opa import opa_kind

    return f"policy engine: {opa_kind()}"
