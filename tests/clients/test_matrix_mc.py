"""mc, MinIO's client, in the client matrix, where its binary was built."""

from __future__ import annotations

import pytest

from tests.clients.conftest import installed

pytestmark = pytest.mark.conformance


def test_mc(matrix):
    """Mc's commands end as they do directly."""
    matrix.must_agree("mc_calls.py", MATRIX_PROGRAM=str(installed(".tools/mc", "deploy/tools/install-mc.sh, with Go")))
