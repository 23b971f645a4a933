"""The aws cli in the client matrix."""

from __future__ import annotations

import pytest

from tests.clients.conftest import installed

pytestmark = pytest.mark.conformance


def test_aws_cli(matrix):
    """`aws s3` and `aws s3api` end as they do directly."""
    python = installed(".venv-awscli/bin/python", "`make conformance` makes it")
    matrix.must_agree("awscli_calls.py", python)
