"""Routing: the most specific operation, or a refusal; and every operation has its actions."""

from __future__ import annotations

import pytest

from gateway.actions import ACTIONS, copy_source, required
from gateway.checksums import HEADERS
from gateway.errors import S3Error
from gateway.operations import resolve, table
from gateway.request import parse


def request(method: str, target: str, **headers: str):
    pairs = [("host", "h"), *((n.replace("_", "-"), v) for n, v in headers.items())]
    return parse(method, target, pairs, source_ip="127.0.0.1")


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation", "actions"),
    [
        ("GET", "/", {}, "ListBuckets", ["s3:ListAllMyBuckets"]),
        ("GET", "/buc", {}, "ListObjects", ["s3:ListBucket"]),
        ("GET", "/buc?list-type=2&prefix=a", {}, "ListObjectsV2", ["s3:ListBucket"]),
        ("GET", "/buc?versions", {}, "ListObjectVersions", ["s3:ListBucketVersions"]),
        ("GET", "/buc?analytics", {}, "ListBucketAnalyticsConfigurations", ["s3:GetAnalyticsConfiguration"]),
        ("GET", "/buc?analytics&id=1", {}, "GetBucketAnalyticsConfiguration", ["s3:GetAnalyticsConfiguration"]),
        ("DELETE", "/buc?policy", {}, "DeleteBucketPolicy", ["s3:DeleteBucketPolicy"]),
        ("DELETE", "/buc", {}, "DeleteBucket", ["s3:DeleteBucket"]),
        ("GET", "/buc/k", {}, "GetObject", ["s3:GetObject"]),
        ("GET", "/buc/k?versionId=v", {}, "GetObject", ["s3:GetObjectVersion"]),
        ("GET", "/buc/k?x-id=GetObject", {}, "GetObject", ["s3:GetObject"]),
        ("GET", "/buc/k?uploadId=u", {}, "ListParts", ["s3:ListMultipartUploadParts"]),
        ("PUT", "/buc/k", {}, "PutObject", ["s3:PutObject"]),
        ("PUT", "/buc/k", {"x_amz_tagging": "a=1"}, "PutObject", ["s3:PutObject", "s3:PutObjectTagging"]),
        ("PUT", "/buc/k", {"x_amz_copy_source": "/src/k%20"}, "CopyObject", ["s3:PutObject", "s3:GetObject"]),
        ("PUT", "/buc/k?partNumber=1&uploadId=u", {}, "UploadPart", ["s3:PutObject"]),
        (
            "PUT",
            "/buc/k?partNumber=1&uploadId=u",
            {"x_amz_copy_source": "src/k?versionId=v"},
            "UploadPartCopy",
            ["s3:PutObject", "s3:GetObjectVersion"],
        ),
        ("POST", "/buc/k?uploads", {}, "CreateMultipartUpload", ["s3:PutObject"]),
        ("POST", "/buc/k?uploadId=u", {}, "CompleteMultipartUpload", ["s3:PutObject"]),
        ("DELETE", "/buc/k?uploadId=u", {}, "AbortMultipartUpload", ["s3:AbortMultipartUpload"]),
        ("DELETE", "/buc/k?versionId=v", {}, "DeleteObject", ["s3:DeleteObjectVersion"]),
        ("POST", "/buc?delete", {}, "DeleteObjects", ["s3:DeleteObject"]),
        ("HEAD", "/buc", {}, "HeadBucket", ["s3:ListBucket"]),
        ("POST", "/buc/k?select&select-type=2", {}, "SelectObjectContent", ["s3:GetObject"]),
    ],
)
def test_operation_and_actions(method, target, headers, operation, actions):
    """A request is exactly this operation and needs exactly these actions."""
    one = request(method, target, **headers)
    found = resolve(one)
    assert found.name == operation
    assert [need.action for need in required(found, one)] == actions


@pytest.mark.parametrize(
    "target",
    ["/buc?ACL", "/buc?unknown", "/buc?acl&policy", "/buc/k?acl=x", "/buc/k?uploads", "/buc?acl&x=1", "/?prefixx=1"],
)
def test_trap_62_unknown_parameters_never_fall_through(target):
    """A parameter that the operation does not know is refused, whatever the method."""
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        with pytest.raises(S3Error) as refused:
            resolve(request(method, target))
        assert refused.value.status in {405, 501}


def test_every_operation_has_its_actions():
    """The routing table and the action table name the same operations."""
    assert {o.name for found in table().values() for o in found} == set(ACTIONS)


def test_every_subresource_routes_to_its_own_operation():
    """A request made of an operation's own wire form is that operation."""
    for (method, level), operations in table().items():
        for operation in operations:
            query = [*(f"{n}={v}" for n, v in operation.static), *(f"{n}=x" for n in operation.needs_query)]
            path = {"service": "/", "bucket": "/buc", "object": "/buc/key"}[level]
            headers = dict.fromkeys(operation.needs_headers, "src/key")
            assert (
                resolve(
                    parse(method, f"{path}?{'&'.join(query)}", [("host", "h"), *headers.items()], source_ip="")
                ).name
                == operation.name
            )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "/",
        "bucket",
        "bucket/",
        "/b%2Fk",
        "b/../x/k",
        "b/%2e%2e/x",
        "b/k?x=1",
        "b/k?versionId=a&x",
        "arn:aws:s3:::b/k",
        "../b/k",
        "b/%ff",
    ],
)
def test_trap_24_copy_source_is_split_then_decoded(value):
    """A copy source that is empty, escapes its bucket or carries more than a version is refused."""
    with pytest.raises(S3Error):
        copy_source(value)


def test_a_range_keeps_its_condition():
    """If-Range, which the model lacks, crosses wherever Range does and nowhere else."""
    for operations in table().values():
        for operation in operations:
            assert ("if-range" in operation.headers) == ("range" in operation.headers)


def test_every_body_may_carry_every_checksum():
    """Each header of a checksum crosses with every PUT and POST, and those that describe the framing."""
    for operations in table().values():
        for operation in operations:
            if operation.method in {"PUT", "POST"}:
                assert operation.headers >= HEADERS | {"content-md5", "x-amz-trailer", "x-amz-decoded-content-length"}
