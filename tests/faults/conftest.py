"""What the faults of the data plane share: a backend that does what it is told, and a gateway before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.front import Front
from tests.servers.scripted import ScriptedBackend


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedBackend]:
    """A backend that does what it is told."""
    server = ScriptedBackend()
    yield server
    server.close()


@pytest.fixture(scope="session")
def patient(tmp_path_factory, scripted) -> Iterator[Front]:
    """A gateway whose clocks play no part in a test."""
    with Front(tmp_path_factory.mktemp("patient"), scripted) as server:
        yield server
