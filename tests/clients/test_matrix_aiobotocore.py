"""Aiobotocore in the client matrix."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance


def test_aiobotocore(matrix):
    """Coroutines, many at a time, end as they do directly."""
    matrix.must_agree("aiobotocore_calls.py")
