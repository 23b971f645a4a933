"""boto3 in the client matrix: the whole service model, objects, versions and documents, presigned URLs."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.conformance


def test_every_operation_of_the_model(matrix):
    """Each of the model's operations has the same outcome through the gateway as directly."""
    matrix.must_agree("boto3_model.py")


def test_objects(matrix):
    """Awkward keys, headers, ranges, conditions, checksums, parts, copies, tags, listings: the same at both ends."""
    matrix.must_agree("boto3_objects.py")


def test_versions_and_documents(matrix):
    """Versions, object lock, and what a bucket's documents say: the same at both ends."""
    matrix.must_agree("boto3_versions.py")


def test_presigned_urls_and_plain_http(matrix):
    """Presigned URLs of every method and signed requests that no SDK makes: the same at both ends."""
    matrix.must_agree("boto3_presigned.py")
