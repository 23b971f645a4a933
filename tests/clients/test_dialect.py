"""No operation that crosses is carried out as another one by a store that does not know it."""

from __future__ import annotations

import contextlib
import json
import uuid

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from client_grants import get_token

from tests.clients.programs.model_arguments import least, of_operation
from tests.conftest import s3_client

MODEL = Loader().load_service_model("s3", "service-2")
SECRET = b"bytes that only GetObject may show"
PLAIN_ACTIONS = [
    "s3:CreateBucket", "s3:DeleteBucket", "s3:ListBucket", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject",
    "s3:DeleteObject", "s3:DeleteObjectVersion",
]  # fmt: skip
#: What the effects below are, by right.
PLAIN = frozenset({
    "CopyObject", "CreateBucket", "DeleteBucket", "DeleteObject", "DeleteObjects", "GetObject", "PutObject",
})  # fmt: skip


def level(operation: str) -> str:
    """Return where an operation's target lies."""
    path = MODEL["operations"][operation]["http"]["requestUri"].partition("?")[0]
    return "object" if "{Key+}" in path else "bucket" if "{Bucket}" in path else "service"


SUBRESOURCES = sorted(
    name for name in MODEL["operations"]
    if name not in PLAIN and level(name) != "service" and name != "WriteGetObjectResponse"
)  # fmt: skip


@pytest.fixture
def names(direct):
    """An empty bucket, one with an object, and a name that is no bucket's; all gone afterwards."""
    mark = uuid.uuid4().hex[:8]
    found = {"empty": f"dia-{mark}-e", "full": f"dia-{mark}-f", "none": f"dia-{mark}-n"}
    direct.create_bucket(Bucket=found["empty"])
    direct.create_bucket(Bucket=found["full"])
    direct.put_object(Bucket=found["full"], Key="k", Body=SECRET)
    yield found
    direct.delete_object(Bucket=found["full"], Key="k")
    for bucket in found.values():
        try:
            direct.delete_bucket(Bucket=bucket)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchBucket"  # noqa: PT017 - a bucket may be gone already


@pytest.fixture(scope="module")
def narrow(gateway, issuer):
    """A client that may do all but the plain operations themselves; `narrow.seen` collects what its answers show."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "NotAction": PLAIN_ACTIONS, "Resource": "arn:aws:s3:::*"}],
    }
    sts = boto3.client("sts", endpoint_url=gateway.endpoint, region_name="us-east-1", aws_access_key_id="any",
                       aws_secret_access_key="any")  # fmt: skip
    found = sts.assume_role_with_web_identity(
        RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="narrow", Policy=json.dumps(policy),
        WebIdentityToken=get_token(issuer.urls["token"], "app", "app-secret")["access_token"],
    )["Credentials"]  # fmt: skip
    client = s3_client(gateway.endpoint, {
        "accessKey": found["AccessKeyId"], "secretKey": found["SecretAccessKey"], "sessionToken": found["SessionToken"],
    })  # fmt: skip
    seen: list[bytes] = []

    def keep(response_dict, **_):
        body = response_dict["body"]
        seen.append(body.read() if hasattr(body, "read") else body)

    client.meta.events.register("before-parse.s3", keep)
    return client, seen


def shown(narrow, operation: str, bucket: str) -> bytes:
    """Make a call; return every byte that came back, whatever botocore makes of it."""
    client, seen = narrow
    arguments = of_operation(operation, least(MODEL, operation), bucket=bucket, upload="none")
    if "Key" in arguments:
        arguments["Key"] = "k"
    seen.clear()
    with contextlib.suppress(ClientError, BotoCoreError):
        getattr(client, xform_name(operation))(**arguments)
    return b"".join(seen)


@pytest.mark.parametrize("operation", SUBRESOURCES)
def test_a_subresource_never_makes_reads_writes_or_deletes_what_it_is_about(narrow, direct, names, operation):
    """Who may do all but the plain operations makes and removes no bucket, and sees, changes and deletes no object."""
    if level(operation) == "bucket":
        shown(narrow, operation, names["empty"])
        shown(narrow, operation, names["none"])
        buckets = {b["Name"] for b in direct.list_buckets()["Buckets"]}
        assert names["empty"] in buckets
        assert names["none"] not in buckets
        return
    answer = shown(narrow, operation, names["full"])
    assert SECRET not in answer
    assert direct.get_object(Bucket=names["full"], Key="k")["Body"].read() == SECRET
