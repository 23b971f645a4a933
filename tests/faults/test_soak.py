"""Two minutes of `make soak`: everything at once, and nothing grows."""

from __future__ import annotations

import pytest

from tests.faults.soak import soak


@pytest.mark.slow
def test_two_minutes_of_everything(tmp_path):
    """Good requests and every fault at once: clients see what they must, and what the gateway holds comes back to its level."""
    assert soak(tmp_path, minutes=2, seed=7) == []
