"""boto3, the same calls through the gateway and directly at the store: a difference would be ours."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.request
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.conftest import s3_client


@pytest.fixture(params=["gateway", "direct"])
def client(request, s3, direct):
    """The client under test, and its oracle."""
    return s3 if request.param == "gateway" else direct


@pytest.fixture
def bucket(client):
    """A fresh bucket, emptied and removed afterwards."""
    name = f"b-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield name
    while found := client.list_objects_v2(Bucket=name).get("Contents"):
        client.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in found]})
    client.delete_bucket(Bucket=name)


AWKWARD = [
    "plain",
    "with space",
    "plus+sign",
    "percent%20text",
    "a//b",
    "ümläut/日本",
    "tilde~!*'()",
    "q?x=1&y",
    "a=b;c@d:e,f$",
]


@pytest.mark.parametrize("key", AWKWARD)
def test_object_comes_back_as_it_went(client, bucket, key):
    """Any key's object is stored, found, read and deleted under exactly that key."""
    body = os.urandom(3000)
    client.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"colour": "blue"}, ContentType="text/x-test")
    head = client.head_object(Bucket=bucket, Key=key)
    assert (head["ContentLength"], head["Metadata"], head["ContentType"]) == (3000, {"colour": "blue"}, "text/x-test")
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == body
    assert client.get_object(Bucket=bucket, Key=key, Range="bytes=10-19")["Body"].read() == body[10:20]
    client.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(ClientError) as missing:
        client.get_object(Bucket=bucket, Key=key)
    assert missing.value.response["Error"]["Code"] == "NoSuchKey"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_stored(client, bucket, algorithm):
    """An upload with a checksum keeps it."""
    client.put_object(Bucket=bucket, Key="k", Body=b"checked", ChecksumAlgorithm=algorithm)
    head = client.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"]


def test_listings(client, bucket):
    """Both listings, with prefix, delimiter and paging, show what is there."""
    for i in range(12):
        client.put_object(Bucket=bucket, Key=f"d{i % 3}/k{i:02}", Body=b"x")
    assert bucket in [b["Name"] for b in client.list_buckets()["Buckets"]]
    found = client.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in found["CommonPrefixes"]] == ["d0/", "d1/", "d2/"]
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix="d1/", PaginationConfig={"PageSize": 2}
    )
    assert [o["Key"] for p in pages for o in p["Contents"]] == ["d1/k01", "d1/k04", "d1/k07", "d1/k10"]
    assert len(client.list_objects(Bucket=bucket)["Contents"]) == 12


def test_copy(client, bucket):
    """A copy has the source's bytes, awkward source keys included."""
    client.put_object(Bucket=bucket, Key="from here+there", Body=b"copied")
    client.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from here+there"})
    assert client.get_object(Bucket=bucket, Key="to")["Body"].read() == b"copied"


def test_delete_objects(client, bucket):
    """Many keys are deleted at once and reported."""
    keys = [f"k{i}&<>" for i in range(20)]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == sorted(keys)
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_multipart(client, bucket):
    """A multipart upload, with a copied part, is put together right; an aborted one leaves nothing."""
    part = os.urandom(5 * 2**20)
    client.put_object(Bucket=bucket, Key="source", Body=part)
    upload = client.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    one = client.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=part)
    two = client.upload_part_copy(
        Bucket=bucket, Key="big", UploadId=upload, PartNumber=2, CopySource=f"{bucket}/source"
    )
    three = client.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=3, Body=b"end")
    assert len(client.list_parts(Bucket=bucket, Key="big", UploadId=upload)["Parts"]) == 3
    parts = [
        {"PartNumber": i + 1, "ETag": e}
        for i, e in enumerate([one["ETag"], two["CopyPartResult"]["ETag"], three["ETag"]])
    ]
    client.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    body = client.get_object(Bucket=bucket, Key="big")["Body"].read()
    assert hashlib.sha256(body).digest() == hashlib.sha256(part + part + b"end").digest()
    other = client.create_multipart_upload(Bucket=bucket, Key="never")["UploadId"]
    client.abort_multipart_upload(Bucket=bucket, Key="never", UploadId=other)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


def test_upload_fileobj(client, bucket):
    """The transfer manager's concurrent multipart upload works."""
    body = os.urandom(20 * 2**20)
    client.upload_fileobj(io.BytesIO(body), bucket, "managed")
    assert client.get_object(Bucket=bucket, Key="managed")["Body"].read() == body


def test_presigned_get_and_put(client, bucket):
    """Presigned URLs work in any HTTP client, for reading and for writing."""
    put = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "p q+r"}, ExpiresIn=60)
    with urllib.request.urlopen(
        urllib.request.Request(put, b"presigned", {"Content-Type": ""}, method="PUT")
    ) as answer:
        assert answer.status == 200
    get = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "p q+r"}, ExpiresIn=60)
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == b"presigned"


def test_conditional_requests(client, bucket):
    """If-None-Match on a read and on a write are the store's answers."""
    etag = client.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    with pytest.raises(ClientError) as same:
        client.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag)
    assert same.value.response["ResponseMetadata"]["HTTPStatusCode"] == 304
    with pytest.raises(ClientError) as exists:
        client.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    assert exists.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def test_tagging_and_bucket_subresources(client, bucket):
    """Object tags and bucket sub-resources go through; what the bucket lacks is the store's own error."""
    client.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=2")
    assert len(client.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]) == 2
    client.delete_object_tagging(Bucket=bucket, Key="k")
    client.get_bucket_location(Bucket=bucket)
    with pytest.raises(ClientError) as missing:
        client.get_bucket_policy(Bucket=bucket)
    assert missing.value.response["Error"]["Code"] == "NoSuchBucketPolicy"


def test_missing_bucket_and_head(client):
    """A missing bucket is NoSuchBucket, and a HEAD says so with its status alone."""
    with pytest.raises(ClientError) as missing:
        client.list_objects_v2(Bucket="there-is-none-such")
    assert missing.value.response["Error"]["Code"] == "NoSuchBucket"
    with pytest.raises(ClientError) as head:
        client.head_bucket(Bucket="there-is-none-such")
    assert head.value.response["Error"]["Code"] == "404"


def test_virtual_host_style(gateway, app_credentials, s3):
    """A bucket in the Host header is served under MINIO_DOMAIN."""
    import http.client

    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    name = f"v-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k/x", Body=b"virtual")
    host = f"{name}.s3.example.test"
    request = AWSRequest("GET", f"http://{host}/k/x")
    keys = Credentials(app_credentials["accessKey"], app_credentials["secretKey"], app_credentials["sessionToken"])
    S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    connection.request("GET", "/k/x", headers={**dict(request.headers.items()), "Host": host})
    assert connection.getresponse().read() == b"virtual"
    connection.close()
    s3.delete_object(Bucket=name, Key="k/x")
    s3.delete_bucket(Bucket=name)


def test_root_credentials_work(gateway):
    """The root account may do everything."""
    from tests.servers.processes import ROOT_PASSWORD, ROOT_USER

    root = s3_client(gateway.endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD})
    assert "Buckets" in root.list_buckets()
