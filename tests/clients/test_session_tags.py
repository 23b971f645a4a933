"""Session tags by boto3 through a real gateway: a variable opens what it names, and a bad value opens nothing."""

from __future__ import annotations

import json
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import s3_client
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER


@pytest.fixture
def tagged(gateway):
    """Return a client of root's session with these tags and statements."""

    def client(tags, *statements):
        sts = boto3.client(
            "sts", endpoint_url=gateway.endpoint, region_name="us-east-1",
            aws_access_key_id=ROOT_USER, aws_secret_access_key=ROOT_PASSWORD,
        )  # fmt: skip
        keys = sts.assume_role(
            RoleArn="arn:aws:iam::123456789012:role/r",
            RoleSessionName="tagged",
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}),
        )["Credentials"]
        found = {"accessKey": keys["AccessKeyId"], "secretKey": keys["SecretAccessKey"]}
        return s3_client(gateway.endpoint, found | {"sessionToken": keys["SessionToken"]})

    return client


@pytest.fixture
def bucket(s3):
    """A bucket, emptied afterwards."""
    name = f"st-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    for one in s3.list_objects_v2(Bucket=name).get("Contents", ()):
        s3.delete_object(Bucket=name, Key=one["Key"])
    s3.delete_bucket(Bucket=name)


def put(client, bucket, key) -> str:
    """Return the code of the error that an upload ends in, "" when it ends in none."""
    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    except ClientError as found:
        return found.response["Error"]["Code"]
    return ""


def test_trap_58_a_session_reaches_its_own_teams_folder(tagged, bucket):
    """The tag's folder is open, the neighbour's is not; without a tag the default's is, with a bad one none."""
    own = {
        "Effect": "Allow",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team, 'all'}}/*",
    }
    red, untagged = tagged({"team": "red"}, own), tagged({}, own)
    assert [put(red, bucket, key) for key in ("red/k", "blue/k", "all/k")] == ["", "AccessDenied", "AccessDenied"]
    assert [put(untagged, bucket, key) for key in ("all/k", "red/k")] == ["", "AccessDenied"]
    bad = tagged({"team": "../red"}, own)
    assert {put(bad, bucket, key) for key in ("red/k", "all/k", "x/k")} == {"AccessDenied"}


def test_who_is_behind_and_since_when(tagged, bucket):
    """aws:PrincipalArn, aws:PrincipalTag and aws:TokenIssueTime have this session's values."""
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    conditions = {
        "ArnEquals": {"aws:PrincipalArn": "arn:aws:iam:::root"},
        "StringEquals": {"aws:PrincipalTag/Team": "red"},
        "DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01"},
        "Null": {"aws:FederatedProvider": "true"},
    }
    assert put(tagged({"team": "red"}, everything | {"Condition": conditions}), bucket, "k") == ""
    for name, wrong in (
        ("ArnEquals", {"aws:PrincipalArn": "arn:aws:iam:::user/*"}),
        ("StringEquals", {"aws:PrincipalTag/team": "blue"}),
        ("DateLessThan", {"aws:TokenIssueTime": "2020-01-01"}),
        ("Null", {"aws:TokenIssueTime": "true"}),
    ):
        client = tagged({"team": "red"}, everything | {"Condition": conditions | {name: wrong}})
        assert put(client, bucket, "k") == "AccessDenied", name
