"""Who may not list a bucket is not told which keys are not there (decision 0017): 403 and not 404, as at AWS, at the real store."""

from __future__ import annotations

import uuid

import pytest
from botocore.exceptions import ClientError

from tests.conftest import s3_client
from tests.traps.raw import Wire, ask, narrowed, presigned, signed, written

#: Ways to ask for a key's content or what belongs to it; each is 404 NoSuchKey where there is none.
READS = [
    ("GET", ""),
    ("HEAD", ""),
    ("GET", "?tagging"),
    ("GET", "?attributes"),
    ("GET", "?acl"),
    ("GET", "?versionId=null"),
]
MISSING = ["absent", "mine/absent", "mine-too", "a b+ü"]


@pytest.fixture(scope="module")
def bucket(direct):
    """A bucket with two objects."""
    name = f"missing-{uuid.uuid4().hex[:8]}"
    direct.create_bucket(Bucket=name)
    for key in ("there", "mine/there"):
        direct.put_object(Bucket=name, Key=key, Body=b"1")
    yield name
    for key in ("there", "mine/there"):
        direct.delete_object(Bucket=name, Key=key)
    direct.delete_bucket(Bucket=name)


@pytest.fixture(scope="module")
def reader(gateway, issuer, bucket):
    """Who may read and write all, and list nothing but what is his."""
    own = f"arn:aws:s3:::{bucket}"
    return narrowed(
        gateway, issuer,
        {"Effect": "Allow", "Action": ["s3:Get*", "s3:PutObject", "s3:DeleteObject"], "Resource": f"{own}/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": own, "Condition": {"StringLike": {"s3:prefix": "mine/*"}}},
    )  # fmt: skip


@pytest.fixture(scope="module")
def lister(gateway, issuer, bucket):
    """Who may list all, too."""
    return narrowed(
        gateway, issuer, {"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}
    )  # fmt: skip


def target(bucket: str, key: str, query: str = "") -> str:
    """Return the target of a key."""
    return f"/{bucket}/{key.replace(' ', '%20').replace('+', '%2B').replace('ü', '%C3%BC')}{query}"


def answered(gateway, who, method: str, asked: str, times: int = 4):
    """Return the answer to a request; from the third time on it is a habit's, and nothing may differ."""
    attributes = {"x-amz-object-attributes": "ETag"} if "attributes" in asked else {}
    answers = [ask(gateway, method, asked, attributes, who=who) for _ in range(times)]
    assert len({(answer.status, answer.code) for answer in answers}) == 1
    return answers[-1]


@pytest.mark.parametrize(("method", "query"), READS)
@pytest.mark.parametrize("key", MISSING)
def test_a_missing_key_is_403_to_who_may_not_list_it(gateway, bucket, reader, lister, method, query, key):
    """Whoever may list it is told 404, and what the document says is the store's."""
    asked = target(bucket, key, query)
    told = answered(gateway, lister, method, asked)
    assert told.status == 404
    found = answered(gateway, reader, method, asked)
    expected = 404 if key.startswith("mine/") else 403
    assert (found.status, found.code) == (
        expected,
        told.code if expected == 404 or method == "HEAD" else "AccessDenied",
    )


@pytest.mark.parametrize("key", ["there", "mine/there"])
def test_what_is_there_is_read_as_before(gateway, bucket, reader, key):
    """By name; no right to list is asked for."""
    assert answered(gateway, reader, "GET", target(bucket, key)).body == b"1"


def test_a_presigned_url_tells_no_more(gateway, bucket, reader, lister):
    """The token in the query is who asks, also when the listing is asked about."""
    for who, status in ((reader, 403), (lister, 404)):
        url = presigned(gateway, "GET", target(bucket, "absent"), who)
        for _ in range(3):
            with Wire(gateway.port) as wire:
                assert wire.send(written("GET", url, {"Host": f"127.0.0.1:{gateway.port}"})).answer().status == status


def test_a_connection_goes_on_after_it(gateway, bucket, reader):
    """What is behind a refusal in a pipeline is answered, in order."""
    keys = ["there", "absent", "mine/absent", "there", "absent", "there"]
    heads = [
        written("GET", target(bucket, key), signed(gateway, "GET", target(bucket, key), who=reader)) for key in keys
    ]
    with Wire(gateway.port) as wire:
        for _ in range(3):
            wire.send(b"".join(heads))
            assert [wire.answer().status for _ in keys] == [200, 403, 404, 200, 403, 200]


def test_a_copy_of_what_is_not_there_tells_no_more(gateway, bucket, reader, lister):
    """The listing is that of the source's bucket."""
    for who, key, code in (
        (reader, "absent", "AccessDenied"),
        (reader, "mine/absent", "NoSuchKey"),
        (lister, "absent", "NoSuchKey"),
    ):
        client = s3_client(
            gateway.endpoint, {"accessKey": who.access_key, "secretKey": who.secret_key, "sessionToken": who.token}
        )
        with pytest.raises(ClientError) as refused:
            client.copy_object(
                Bucket=bucket, Key="mine/to", CopySource={"Bucket": bucket, "Key": key}, TaggingDirective="REPLACE"
            )
        assert refused.value.response["Error"]["Code"] == code


def test_a_missing_bucket_is_told(gateway, issuer):
    """Names of buckets are no secret of a bucket's; a HEAD, which has no document, is taken for one of a key."""
    who = narrowed(gateway, issuer, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::*"})
    assert answered(gateway, who, "GET", "/no-such-bucket-here/k").code == "NoSuchBucket"
    assert answered(gateway, who, "HEAD", "/no-such-bucket-here/k").status == 403
