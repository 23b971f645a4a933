"""Policies about tags, against a real store: the tags of the version asked for decide, and a copy carries none by stealth."""

from __future__ import annotations

import json
import urllib.request
import uuid
from urllib.error import HTTPError

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conftest import credentials_for, s3_client
from tests.servers.opa import start_opa
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess

RED = {"StringEquals": {"s3:ExistingObjectTag/color": "red"}}


def error(call, **kwargs) -> str:
    """Return the code of the error a call ends in, "" when it ends in none."""
    try:
        call(**kwargs)
    except ClientError as found:
        return found.response["Error"]["Code"]
    return ""


def session(gateway, *statements) -> dict[str, str]:
    """Return root's credentials narrowed to these statements."""
    sts = boto3.client(
        "sts", endpoint_url=gateway.endpoint, region_name="us-east-1",
        aws_access_key_id=ROOT_USER, aws_secret_access_key=ROOT_PASSWORD,
    )  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*"} | one for one in statements]}
    found = sts.assume_role(
        RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="narrow", Policy=json.dumps(policy)
    )
    keys = found["Credentials"]
    return {
        "accessKey": keys["AccessKeyId"],
        "secretKey": keys["SecretAccessKey"],
        "sessionToken": keys["SessionToken"],
    }


@pytest.fixture
def narrowed(gateway):
    """Return a client of a session with these statements."""
    return lambda *statements: s3_client(gateway.endpoint, session(gateway, *statements))


@pytest.fixture
def bucket(s3):
    """A bucket, emptied afterwards."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=name, Key=entry["Key"], VersionId=entry["VersionId"])
    s3.delete_bucket(Bucket=name)


def test_the_tags_of_an_object_decide(s3, bucket, narrowed):
    """Red objects may be read, written over and deleted; others, untagged ones and missing ones may not."""
    for key, tagging in (("red", "color=red"), ("blue", "color=blue"), ("plain", "")):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging=tagging)
    reader = narrowed({"Action": ["s3:GetObject", "s3:DeleteObject"], "Condition": RED})
    assert reader.get_object(Bucket=bucket, Key="red")["Body"].read() == b"x"
    assert [error(reader.get_object, Bucket=bucket, Key=key) for key in ("blue", "plain", "gone")] == [
        "AccessDenied"
    ] * 3
    answer = reader.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in ("red", "blue", "plain")]})
    assert [found["Key"] for found in answer["Deleted"]] == ["red"]
    assert [found["Key"] for found in answer["Errors"]] == ["blue", "plain"]


def test_the_tags_of_the_version_asked_for_decide(s3, bucket, narrowed):
    """A version that was red may be read by its id, though the object is blue now."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    red = s3.put_object(Bucket=bucket, Key="k", Body=b"red", Tagging="color=red")["VersionId"]
    blue = s3.put_object(Bucket=bucket, Key="k", Body=b"blue", Tagging="color=blue")["VersionId"]
    reader = narrowed({"Action": ["s3:GetObject", "s3:GetObjectVersion"], "Condition": RED})
    assert reader.get_object(Bucket=bucket, Key="k", VersionId=red)["Body"].read() == b"red"
    assert error(reader.get_object, Bucket=bucket, Key="k", VersionId=blue) == "AccessDenied"
    assert error(reader.get_object, Bucket=bucket, Key="k") == "AccessDenied"


def test_trap_26_a_version_needs_the_right_to_versions(s3, bucket, narrowed):
    """s3:GetObject reads the object as it is, and no version of it, not even the same one."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
    reader = narrowed({"Action": ["s3:GetObject", "s3:GetObjectTagging", "s3:DeleteObject"]})
    assert reader.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    for call in (reader.get_object, reader.head_object, reader.get_object_tagging, reader.delete_object):
        assert error(call, Bucket=bucket, Key="k", VersionId=version) in {"AccessDenied", "403"}


def test_a_copy_carries_no_tags_by_stealth(s3, bucket, narrowed):
    """Who may not read tags copies an untagged object, and a tagged one only when its tags are left behind."""
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="secret=1")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    writer = narrowed({"Action": ["s3:GetObject", "s3:PutObject"]})
    source = {"Bucket": bucket, "Key": "tagged"}
    assert error(writer.copy_object, Bucket=bucket, Key="copy", CopySource=f"{bucket}/plain") == ""
    assert error(writer.copy_object, Bucket=bucket, Key="copy", CopySource=source) == "AccessDenied"
    assert error(writer.copy_object, Bucket=bucket, Key="copy", CopySource=source, TaggingDirective="REPLACE") == ""
    tagger = narrowed({"Action": ["s3:GetObject", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging"]})
    assert error(tagger.copy_object, Bucket=bucket, Key="copy", CopySource=source) == ""


def test_what_a_document_says_is_judged_and_arrives(gateway, s3, bucket, narrowed):
    """Tags in a document decide like tags in a header, and the store has them afterwards; so has a bucket its region."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    only_red = {"StringEquals": {"s3:RequestObjectTag/color": "red"}}
    tagger = narrowed({"Action": "s3:PutObjectTagging", "Condition": only_red})
    tags = lambda value: {"TagSet": [{"Key": "color", "Value": value}]}  # noqa: E731
    assert error(tagger.put_object_tagging, Bucket=bucket, Key="k", Tagging=tags("blue")) == "AccessDenied"
    assert error(tagger.put_object_tagging, Bucket=bucket, Key="k", Tagging=tags("red")) == ""
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags("red")["TagSet"]
    maker = narrowed(
        {"Action": "s3:CreateBucket", "Condition": {"StringEquals": {"s3:LocationConstraint": "eu-west-1"}}}
    )
    name = f"l-{uuid.uuid4().hex[:12]}"
    assert error(maker.create_bucket, Bucket=name) == "AccessDenied"
    assert error(maker.create_bucket, Bucket=name, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}) == "AccessDenied"  # fmt: skip
    assert error(maker.create_bucket, Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}) == ""
    s3.delete_bucket(Bucket=name)


def test_headers_in_a_presigned_url_need_their_rights(gateway, s3, bucket):
    """A presigned PUT with x-amz-* headers in its query, as the SDK for JavaScript makes it, works for who has the rights."""

    def put(credentials: dict[str, str], extra: str) -> int:
        url = f"{gateway.endpoint}/{bucket}/js?x-id=PutObject&x-amz-sdk-checksum-algorithm=CRC32{extra}"
        request = AWSRequest("PUT", url)
        keys = Credentials(credentials["accessKey"], credentials["secretKey"], credentials["sessionToken"])
        S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=60).add_auth(request)
        try:
            with urllib.request.urlopen(urllib.request.Request(request.url, data=b"js", method="PUT")) as answer:
                return answer.status
        except HTTPError as refused:
            return refused.code

    writer = session(gateway, {"Action": "s3:PutObject"})
    assert put(writer, "") == 200
    assert s3.get_object(Bucket=bucket, Key="js")["Body"].read() == b"js"
    assert put(writer, "&x-amz-tagging=a%3D1") == 403
    assert put(writer, "&x-amz-acl=public-read") == 403
    assert put(writer, "&x-amz-unknown=1") == 501
    tagger = session(gateway, {"Action": ["s3:PutObject", "s3:PutObjectTagging"]})
    assert put(tagger, "&x-amz-tagging=a%3D1&x-amz-meta-note=n") == 200
    assert s3.get_object_tagging(Bucket=bucket, Key="js")["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert s3.head_object(Bucket=bucket, Key="js")["Metadata"] == {"note": "n"}


REGO = """package gw
default allow := false
allow if input.owner
allow if {
    input.action == "s3:GetObject"
    input.conditions["ExistingObjectTag/color"][_] == "red"
}
allow if {
    input.action == "s3:PutObjectTagging"
    not "color" in input.conditions.RequestObjectTagKeys
}
"""


def test_opa_judges_by_the_tags_of_an_object(servers, weed, issuer, s3, bucket):
    """With MINIO_GW_OPA_EXISTING_TAGS a Rego policy sees the tags; those of a document it sees anyway."""
    opa = start_opa({"gw.rego": REGO}, servers)
    front = GatewayProcess(
        servers / "opa-tags", weed.endpoint, MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_IAM_OPA_URL=f"{opa.url}/v1/data/gw", MINIO_GW_OPA_EXISTING_TAGS="on",
    ).start()  # fmt: skip
    try:
        client = s3_client(front.endpoint, credentials_for(front, issuer, "app"))
        s3.put_object(Bucket=bucket, Key="red", Body=b"x", Tagging="color=red")
        s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
        assert client.get_object(Bucket=bucket, Key="red")["Body"].read() == b"x"
        assert error(client.get_object, Bucket=bucket, Key="plain") == "AccessDenied"
        for key, code in (("size", ""), ("color", "AccessDenied")):
            tags = {"TagSet": [{"Key": key, "Value": "1"}]}
            assert error(client.put_object_tagging, Bucket=bucket, Key="plain", Tagging=tags) == code
    finally:
        front.close()
        opa.close()


def test_trap_32_a_copy_does_not_tag_itself_public(narrowed, s3, bucket):
    """Who may give class=public only copies nothing of class=secret by saying so, unless the copy really is given that tag."""
    public = {"StringEquals": {"s3:RequestObjectTag/class": "public"}}
    plain = ["s3:GetObject", "s3:PutObject", "s3:GetObjectTagging"]
    tagger = narrowed({"Action": plain}, {"Action": "s3:PutObjectTagging", "Condition": public})
    s3.put_object(Bucket=bucket, Key="secret", Body=b"s", Tagging="class=secret")
    copy = {"Bucket": bucket, "CopySource": f"{bucket}/secret", "Tagging": "class=public"}
    assert error(tagger.copy_object, Key="a", **copy) == "AccessDenied"
    assert error(tagger.copy_object, Key="a", TaggingDirective="COPY", **copy) == "AccessDenied"
    tagger.copy_object(Key="a", TaggingDirective="REPLACE", **copy)
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "class", "Value": "public"}]
