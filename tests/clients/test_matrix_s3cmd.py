"""s3cmd in the client matrix."""

from __future__ import annotations

import pytest

from tests.clients.conftest import installed

pytestmark = pytest.mark.conformance


def test_s3cmd(matrix):
    """Every command ends as it does directly."""
    python = installed(".venv-clients/bin/python", "`make conformance` makes it")
    matrix.must_agree("s3cmd_calls.py", python)
