"""polars in the client matrix."""

from __future__ import annotations

import pytest

from tests.clients.conftest import installed

pytestmark = pytest.mark.conformance


def test_polars(matrix):
    """Tables are written, scanned and sunk as they are directly."""
    python = installed(".venv-clients/bin/python", "`make conformance` makes it")
    matrix.must_agree("polars_calls.py", python)
