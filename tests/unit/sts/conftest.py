"""Servers that the tests of sts share."""

from __future__ import annotations

import pytest

from tests.servers.slapd import Slapd


@pytest.fixture(scope="session")
def slapd(tmp_path_factory):
    """A real directory."""
    server = Slapd(tmp_path_factory.mktemp("slapd") / "one")
    yield server
    server.close()
