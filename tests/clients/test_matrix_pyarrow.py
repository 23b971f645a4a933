"""pyarrow's S3FileSystem in the client matrix."""

from __future__ import annotations

import pytest

from tests.clients.conftest import installed

pytestmark = pytest.mark.conformance


def test_pyarrow(matrix):
    """Files, directories and data sets of the AWS SDK for C++ end as they do directly."""
    python = installed(".venv-clients/bin/python", "`make conformance` makes it")
    matrix.must_agree("pyarrow_calls.py", python)
