"""s3fs in the client matrix."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance


def test_s3fs(matrix):
    """A file system's calls end as they do directly."""
    matrix.must_agree("s3fs_calls.py")
