"""obstore in the client matrix."""

from __future__ import annotations

import pytest

from tests.clients.conftest import installed

pytestmark = pytest.mark.conformance


def test_obstore(matrix):
    """The whole interface of Rust's object_store ends as it does directly."""
    python = installed(".venv-clients/bin/python", "`make conformance` makes it")
    matrix.must_agree("obstore_calls.py", python)
