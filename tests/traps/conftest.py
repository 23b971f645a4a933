"""What the traps share: a backend that records every byte, and a real gateway process in front of it."""

from __future__ import annotations

import pytest

from tests.conftest import credentials_for
from tests.servers.processes import GatewayProcess
from tests.servers.recording import RecordingBackend


@pytest.fixture(scope="module")
def backend():
    """A backend that records every byte."""
    server = RecordingBackend()
    yield server
    server.close()


@pytest.fixture(scope="module")
def edge(tmp_path_factory, backend, issuer):
    """A gateway in front of the recording backend."""
    server = GatewayProcess(
        tmp_path_factory.mktemp("edge"),
        backend.endpoint,
        MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_DOMAIN="s3.example.test",
    ).start()
    yield server
    server.close()


@pytest.fixture
def recorded(backend):
    """The signed requests that reach the backend during one test."""
    backend.requests.clear()
    return lambda: backend.signed


@pytest.fixture(scope="module")
def session(edge, issuer):
    """Temporary credentials of this gateway."""
    return credentials_for(edge, issuer)
