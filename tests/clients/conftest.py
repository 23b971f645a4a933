"""The client matrix's two ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clients.matrix import PROGRAMS, ROOT, Comparison, Ends, run
from tests.conftest import credentials_for
from tests.servers.processes import BACKEND


@pytest.fixture(scope="session")
def ends(weed, gateway, issuer, tmp_path_factory):
    """The store with its own keys, and the gateway with temporary ones."""
    keys = {"accessKey": BACKEND.access_key_id, "secretKey": BACKEND.secret.reveal()}
    through = (gateway.endpoint, credentials_for(gateway, issuer, "app"))
    return Ends((weed.endpoint, keys), through, tmp_path_factory.mktemp("matrix"))


class Matrix:
    """Runs a client's program at both ends, keeps what came of it, and fails on what nobody has explained."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def must_agree(self, program: str, *interpreter: str | Path, **environment: str) -> Comparison:
        """Run a program of `tests/clients/programs`; skip where its interpreter is not installed."""
        command = [str(word) for word in interpreter] or [sys.executable]
        found = run([*command, str(PROGRAMS / program)], self._ends, environment)
        found.save(Path(program).stem)
        assert found.direct, "no call passed directly: the program tests nothing"
        assert not found.findings, "\n".join(
            f"{d.call}\n  direct  {d.direct}\n  through {d.through}" for d in found.findings
        )
        return found


@pytest.fixture
def matrix(ends):
    """The client matrix."""
    return Matrix(ends)


def installed(path: str, how: str) -> Path:
    """Return a client's file under the project's folder; skip, saying how to get it, where it is not there."""
    found = ROOT / path
    if not found.exists():
        pytest.skip(f"{path} is not there: {how}")
    return found
