"""A gateway with a region, asked by clients that do not know it: as at MinIO, they learn it and go on."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config
from minio import Minio

from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess
from tests.traps.raw import ask

BUCKET = "regional"


@pytest.fixture(scope="module")
def abroad(servers, weed):
    """A gateway whose region is none that clients take by themselves."""
    server = GatewayProcess(servers / "abroad", weed.endpoint, MINIO_REGION_NAME="eu-west-1").start()
    s3 = client(server, "eu-west-1")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    yield server
    server.close()


def client(gateway, region: str):
    return boto3.client(
        "s3", endpoint_url=gateway.endpoint, region_name=region, aws_access_key_id=ROOT_USER,
        aws_secret_access_key=ROOT_PASSWORD, config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [lambda s3: s3.list_buckets(), lambda s3: s3.get_bucket_location(Bucket=BUCKET), lambda s3: s3.head_bucket(Bucket=BUCKET),
     lambda s3: s3.head_object(Bucket=BUCKET, Key="k"), lambda s3: s3.get_object(Bucket=BUCKET, Key="k"), lambda s3: s3.list_objects_v2(Bucket=BUCKET)],
    ids=["buckets", "location", "bucket", "head", "get", "list"],
)  # fmt: skip
def test_boto3_finds_the_region(abroad, call):
    """A client of us-east-1 is told the region, also where an answer has no document, and signs again by itself."""
    assert call(client(abroad, "us-east-1"))["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_minio_py_finds_the_region(abroad):
    """minio-py asks for the bucket's location with us-east-1 first, as MinIO let it."""
    minio = Minio(abroad.endpoint.removeprefix("http://"), ROOT_USER, ROOT_PASSWORD, secure=False)
    assert BUCKET in [bucket.name for bucket in minio.list_buckets()]
    assert [one.object_name for one in minio.list_objects(BUCKET)] == ["k"]
    assert minio.get_object(BUCKET, "k").data == b"x"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", f"/{BUCKET}"), ("GET", f"/{BUCKET}/k"), ("GET", f"/{BUCKET}/k?location"), ("PUT", f"/{BUCKET}?location"),
     ("DELETE", f"/{BUCKET}"), ("HEAD", f"/{BUCKET}"), ("HEAD", f"/{BUCKET}?location")],
)  # fmt: skip
def test_every_other_call_needs_the_region(abroad, method, target):
    """Only what clients ask to learn the region may be signed for another one."""
    answer = ask(abroad, method, target)
    assert answer.status == 400
    assert answer.code == ("" if method == "HEAD" else "AuthorizationHeaderMalformed")
    assert answer.headers["x-amz-bucket-region"] == "eu-west-1"
