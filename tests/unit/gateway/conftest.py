"""Fixtures of the gateway's unit tests."""

from __future__ import annotations

import pytest

from iam.authorize import AllOf
from iam.opa import OpaAuthorizer, OpaSettings
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.storied import world


@pytest.fixture
async def remote():
    """A world whose decisions are elsewhere: a real OPA authorizer, which nobody is to ask in these tests."""
    authorizer = OpaAuthorizer(OpaSettings("http://127.0.0.1:9/v1/data/authz"))
    yield world(AllOf(authorizer))
    await authorizer.close()


@pytest.fixture
def store():
    """A store that records every byte."""
    server = RecordingBackend()
    yield server
    server.close()
