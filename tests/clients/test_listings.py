"""Filtered listings (MINIO_GW_LIST_FILTER=on): page by page, a caller sees what the store lists minus what is not for him.

The oracle is the store itself: the same call direct, filtered here.
"""

from __future__ import annotations

import json
import uuid

import boto3
import pytest

from tests.conftest import s3_client
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess

KEYS = [
    *(f"secret/{i:02}" for i in range(12)),
    *(f"mine/{i}" for i in range(5)),
    "a/hidden", "mine/with space+plus", "mine/ümlaut&<x>", "mint", "z/mine", "top",
]  # fmt: skip
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:ListMultipartUploadParts"],
         "Resource": ["arn:aws:s3:::*/mine/*", "arn:aws:s3:::*/top"]},
        {"Effect": "Allow", "Action": ["s3:ListBucketVersions", "s3:ListBucketMultipartUploads"], "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*",
         "Condition": {"StringLike": {"s3:prefix": ["", "mine/*", "m*"]}}},
    ],
}  # fmt: skip


def may_read(key: str) -> bool:
    return key.startswith("mine/") or key == "top"


def may_list(prefix: str) -> bool:
    return prefix in {"", "mine/"} or prefix.startswith("m")


@pytest.fixture(scope="module")
def filtering(servers, weed):
    """A gateway that filters listings."""
    server = GatewayProcess(servers / "filtering", weed.endpoint, MINIO_GW_LIST_FILTER="on").start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def bucket(direct):
    """A bucket with keys for the caller and for others, and uploads of both."""
    name = f"filter-{uuid.uuid4().hex[:12]}"
    direct.create_bucket(Bucket=name)
    for key in KEYS:
        direct.put_object(Bucket=name, Key=key, Body=b"x")
    for key in ("mine/up", "secret/up", "zz/up"):
        direct.create_multipart_upload(Bucket=name, Key=key)
    return name


@pytest.fixture(scope="module")
def narrow(filtering):
    """A client whose session policy lets it see a part."""
    sts = boto3.client("sts", endpoint_url=filtering.endpoint, region_name="us-east-1", aws_access_key_id=ROOT_USER,
                       aws_secret_access_key=ROOT_PASSWORD)  # fmt: skip
    found = sts.assume_role(
        RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="narrow", Policy=json.dumps(POLICY)
    )["Credentials"]
    return s3_client(
        filtering.endpoint,
        {
            "accessKey": found["AccessKeyId"],
            "secretKey": found["SecretAccessKey"],
            "sessionToken": found["SessionToken"],
        },
    )


def listed(client, operation: str, entries: tuple[str, ...], pages: list, **how) -> tuple[list[str], list[str]]:
    """Return keys and common prefixes over all pages, as botocore's paginator walks them."""
    keys, prefixes = [], []
    for page in client.get_paginator(operation).paginate(**how):
        pages.append(page)
        keys += [one["Key"] for name in entries for one in page.get(name, ())]
        prefixes += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
    return keys, prefixes


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    "how", [{"Prefix": ""}, {"Prefix": "", "Delimiter": "/"}, {"Prefix": "mine/"}, {"Prefix": "m", "Delimiter": "/"}]
)
@pytest.mark.parametrize(
    ("operation", "entries"),
    [
        ("list_objects_v2", ("Contents",)),
        ("list_objects", ("Contents",)),
        ("list_object_versions", ("Versions", "DeleteMarkers")),
        ("list_multipart_uploads", ("Uploads",)),
    ],
)
def test_pages_are_those_of_the_store_without_what_is_hidden(narrow, direct, bucket, operation, entries, how, size):
    """Every page size walks to the end, shows all that may be seen, once, and names nothing else anywhere."""
    config = {"PaginationConfig": {"PageSize": size}}
    whole = listed(direct, operation, entries, [], Bucket=bucket, **how)
    pages: list = []
    keys, prefixes = listed(narrow, operation, entries, pages, Bucket=bucket, **how, **config)
    assert sorted(keys) == sorted(key for key in whole[0] if may_read(key))
    assert sorted(set(prefixes)) == sorted(prefix for prefix in set(whole[1]) if may_list(prefix))
    for page in pages:
        page.pop("NextContinuationToken", None)
        page.pop("ContinuationToken", None)
        said = json.dumps({n: v for n, v in page.items() if n != "ResponseMetadata"}, default=str)
        assert "secret" not in said
        assert "hidden" not in said
        if "KeyCount" in page:
            assert page["KeyCount"] == len(page.get("Contents", ())) + len(page.get("CommonPrefixes", ()))


def test_the_owner_sees_all(filtering, direct, bucket):
    """The root account's listings are the store's."""
    root = s3_client(filtering.endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD})
    seen = [one["Key"] for one in root.list_objects_v2(Bucket=bucket)["Contents"]]
    assert seen == [one["Key"] for one in direct.list_objects_v2(Bucket=bucket)["Contents"]]


@pytest.fixture(scope="module")
def versions(direct):
    """A bucket with many versions and delete markers of its keys, and several uploads of each, seen ones between hidden ones."""
    name = f"versions-{uuid.uuid4().hex[:12]}"
    direct.create_bucket(Bucket=name)
    direct.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    keys, ids = ("hidden/a", "mine/a", "mine/b", "secret/a", "zz"), []
    for key in keys:
        for number in range(4):
            direct.put_object(Bucket=name, Key=key, Body=b"%d" % number)
            if number % 2 and key != "mine/b":
                direct.delete_object(Bucket=name, Key=key)
        ids += [(key, direct.create_multipart_upload(Bucket=name, Key=key)["UploadId"]) for _ in range(3)]
    yield name
    for key, upload in ids:
        direct.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload)
    for page in direct.get_paginator("list_object_versions").paginate(Bucket=name):
        for one in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            direct.delete_object(Bucket=name, Key=one["Key"], VersionId=one["VersionId"])
    direct.delete_bucket(Bucket=name)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 1000])
@pytest.mark.parametrize(("operation", "entries", "member"), [
    ("list_object_versions", ("Versions", "DeleteMarkers"), "VersionId"), ("list_multipart_uploads", ("Uploads",), "UploadId"),
])  # fmt: skip
def test_what_has_one_name_is_listed_once(narrow, direct, versions, operation, entries, member, size):
    """Versions, delete markers and uploads of one key, over pages that end within it, are each on one page."""

    def found(client, **how):
        pages = client.get_paginator(operation).paginate(Bucket=versions, **how)
        return sorted((one["Key"], one[member]) for page in pages for name in entries for one in page.get(name, ()))

    whole = [one for one in found(direct) if may_read(one[0])]
    assert found(narrow, PaginationConfig={"PageSize": size}) == whole
    assert len(whole) > 5
