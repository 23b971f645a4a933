"""minio-py in the client matrix."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance


def test_minio_py(matrix):
    """Every call of its client ends as it does directly."""
    matrix.must_agree("minio_py.py")
