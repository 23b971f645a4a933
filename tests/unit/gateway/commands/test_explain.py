"""`minio-gw admin explain …` against a real gateway, with what boto3 was told."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

ALWAYS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def s3(admin, name: str, secret: str):
    """Return a client of S3 as any user makes it."""
    return boto3.client(
        "s3", endpoint_url=admin.gateway.endpoint, region_name="us-east-1", aws_access_key_id=name, aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )  # fmt: skip


def test_what_a_key_may(admin):
    """In words and as a document: the decision, who decided it, and every statement."""
    admin.policy("explained")
    admin.user("eva", "explained")
    told = admin("explain", "--as", "eva", "s3:GetObject", "photos/cat")
    assert (told["allowed"], told["reason"]) == (True, "explained/Read allows s3:GetObject")
    assert told["caller"]["policies"] == [{"name": "explained", "exists": True, "from": ["attached to eva"]}]
    assert admin.text("explain", "--as", "eva", "s3:PutObject", "photos/cat").splitlines() == [
        "s3:PutObject on arn:aws:s3:::photos/cat",
        "DENIED by policies: no statement allows s3:PutObject on arn:aws:s3:::photos/cat",
        "caller: eva (User)",
        "  policy explained, attached to eva",
        "policies: denied: no statement allows s3:PutObject on arn:aws:s3:::photos/cat",
        "  - explained/Read (Allow) does not apply: Action does not hold: the request has 's3:PutObject', the statement lists 's3:getobject'",
    ]
    assert not admin("explain", "--anonymous", "s3:GetObject", "photos/cat")["allowed"]
    assert not admin("explain", "--as", "eva", "admin:ListUsers")["allowed"]
    assert admin("explain", "--as", "nobody-here", "s3:GetObject", "photos/cat")["decidedBy"] == "authentication"


def test_facts_of_the_request(admin):
    """What a condition asks about is given by --context, a list by giving it again."""
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "StringLike": {"s3:prefix": "a/*"}}
    admin.policy("conditioned", {**ALWAYS, "Statement": [{**ALWAYS["Statement"][0], "Condition": condition}]})
    admin.user("elf", "conditioned")
    question = ["explain", "--as", "elf", "s3:ListBucket", "photos", "--context", "s3:prefix=a/b"]
    assert not admin(*question)["allowed"]
    assert admin(*question, "--context", "aws:SourceIp=10.1.2.3")["allowed"]
    assert not admin(*question, "--context", "aws:SourceIp=11.1.2.3")["allowed"]
    assert admin.refused(*question, "--context", "aws:username=root")["code"] == "XMinioAdminInvalidArgument"


def test_a_request_that_was_refused(admin):
    """The id that the client was given leads to the reason, which the client was not given."""
    client = s3(admin, *admin.user("eli"))
    with pytest.raises(ClientError) as refused:
        client.get_object(Bucket="photos", Key="cat")
    request_id = refused.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert "polic" not in str(refused.value)
    told = admin("explain", "--request-id", request_id)
    assert (told["allowed"], told["decided"]["accessKey"], told["decided"]["path"]) == (False, "eli", "/photos/cat")
    assert told["request"]["facts"]["aws:SourceIp"] == ["127.0.0.1"]
    text = admin.text("explain", "--request-id", request_id)
    assert text.startswith(f"request {request_id} of ")
    assert "refused then: AccessDenied: none of the principal's policies exists" in text
    assert f"Told by process {admin.gateway.process.popen.pid}" in text


@pytest.mark.parametrize("key", ["cat", "a b", "ümlaut/猫", "x%20y", "a+b"])
def test_the_explanation_is_what_happens(admin, key):
    """Whatever the object is called: explain says of it what a client then sees."""
    admin.policy(
        "some",
        {**ALWAYS, "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*a*"}]},
    )
    client = s3(admin, *admin.user("emma", "some"))
    try:
        client.get_object(Bucket="photos", Key=key)
        happened = True
    except ClientError:
        happened = False
    assert admin("explain", "--as", "emma", "s3:GetObject", f"photos/{key}")["allowed"] == happened
    admin("policy", "detach", "some", "--user", "emma")


@pytest.mark.parametrize(
    "words",
    [(), ("s3:GetObject", "b/k"), ("--as", "x"), ("--as", "x", "--anonymous", "s3:GetObject"), ("--request-id", "1", "s3:GetObject"),
     ("--request-id", "1", "--as", "x")],
    ids=" ".join,
)  # fmt: skip
def test_half_a_question(admin, words):
    """Who and what must be clear: status 2."""
    assert admin.refused("explain", *words, status=2)["message"]


def test_an_id_that_nobody_knows(admin):
    """A request of another process, or of long ago, is not found, and the answer says what to do."""
    told = admin.refused("explain", "--request-id", "0000000000000000")
    assert (told["code"], told["status"]) == ("XMinioAdminNoSuchRequest", 404)
