"""The client matrix's two ends."""

from __future__ import annotations

import re
import sys
import urllib.request
from pathlib import Path

import pytest

from gateway.errors import InternalError, ServiceUnavailable, SlowDown
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
    """Runs a client's program at both ends, keeps what came of it, and fails on what nobody has explained.

    A client asks again after a failure and shows nothing of it, so the gateway's own failures are read from its metrics.
    """

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def must_agree(self, program: str, *interpreter: str | Path, **environment: str) -> Comparison:
        """Run a program of `tests/clients/programs`; skip where its interpreter is not installed."""
        command = [str(word) for word in interpreter] or [sys.executable]
        before = own_failures(self._ends.through[0])
        found = run([*command, str(PROGRAMS / program)], self._ends, environment)
        found.save(Path(program).stem)
        assert found.direct, "no call passed directly: the program tests nothing"
        assert not found.findings, "\n".join(
            f"{d.call}\n  direct  {d.direct}\n  through {d.through}" for d in found.findings
        )
        assert own_failures(self._ends.through[0]) == before, "the gateway failed, and the client asked again"
        return found


def own_failures(endpoint: str) -> list[str]:
    """Return the gateway's counters of answers that tell of a failure of its own, not of its backend's or the client's."""
    codes = "|".join(error.__name__ for error in (InternalError, ServiceUnavailable, SlowDown))
    with urllib.request.urlopen(f"{endpoint}/minio/v2/metrics/cluster", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sorted(line for line in lines if re.search(rf'^minio_gw_errors_total{{.*code="({codes})"', line))


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
