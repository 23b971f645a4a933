"""The JavaScript clients in the client matrix, where Node is."""

from __future__ import annotations

import shutil

import pytest

from tests.clients.conftest import installed

pytestmark = pytest.mark.conformance


@pytest.fixture
def node():
    """Return the path of Node."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node is not installed")
    return found


@pytest.fixture
def modules():
    """Return the folder with the clients' modules."""
    return str(installed(".tools/npm-clients/node_modules", "deploy/tools/install-npm-clients.sh").parent)


@pytest.mark.parametrize("program", ["aws_sdk_js.mjs", "minio_js.mjs"])
def test_javascript(matrix, node, modules, program):
    """The AWS SDK for JavaScript and minio-js end as they do directly."""
    matrix.must_agree(program, node, MATRIX_MODULES=modules)
