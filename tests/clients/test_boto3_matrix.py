"""boto3 in the client matrix: every operation of the service model."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance


def test_every_operation_of_the_model(matrix):
    """Each of the model's operations has the same outcome through the gateway as directly."""
    matrix.must_agree("boto3_model.py")
