"""rclone in the client matrix."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance


def test_rclone(matrix):
    """Copy, sync, check and the rest end as they do directly."""
    matrix.must_agree("rclone_calls.py")
