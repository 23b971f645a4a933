"""pyiceberg in the client matrix."""

from __future__ import annotations

import pytest

from tests.clients.conftest import installed

pytestmark = pytest.mark.conformance


def test_pyiceberg(matrix):
    """A table is made, changed and read as it is directly."""
    python = installed(".venv-clients/bin/python", "`make conformance` makes it")
    matrix.must_agree("pyiceberg_calls.py", python)
