"""Several backends (MINIO_GW_BACKENDS): two real stores behind one gateway, each call compared with the same call direct."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from contextlib import suppress

import boto3
import pytest
from botocore.exceptions import ClientError

from iam.model import Credentials, Secret
from tests.conftest import s3_client
from tests.servers.processes import BACKEND, ROOT_PASSWORD, ROOT_USER, GatewayProcess, Weed, http_status, until
from tests.unit.gateway.signers import sign

STORE = {"accessKey": BACKEND.access_key_id, "secretKey": BACKEND.secret.reveal()}
ROOT = {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD}
PAIR = {"STORE_ACCESS_KEY": BACKEND.access_key_id, "STORE_SECRET_KEY": BACKEND.secret.reveal()}
NAMES = 'credentials = { env = "STORE" }'
FILE = """
default = "main"
[backends.main]
endpoint = "{main}"
{names}
[backends.second]
endpoint = "{second}"
{names}
[[buckets]]
name = "photos"
backend = "second"
bucket = "real-photos"
[[buckets]]
name = "team"
backend = "second"
bucket = "shared"
prefix = "teams/team-a/"
[[buckets]]
name = "other-team"
backend = "second"
bucket = "shared"
prefix = "teams/team-b/"
[[buckets]]
name = "pages"
backend = "second"
bucket = "shared"
prefix = "teams/team-c/deep/"
[[buckets]]
name = "logs-*"
backend = "second"
bucket = "acme-*"
"""
TEAM = "teams/team-a/"
KEYS = ["a", "a b+c%", "dir/x", "dir/y/z", "dir/ümlaut&<é>", "dir2/x", "z'(1)!*~"]


@pytest.fixture(scope="module")
def second(servers):
    """The second store."""
    server = Weed(servers / "second")
    yield server
    server.close()


def make_gateway(servers, name: str, text: str, **env: str) -> GatewayProcess:
    file = servers / f"{name}.toml"
    file.write_text(text)
    return GatewayProcess(
        servers / name, "", MINIO_GW_BACKENDS=str(file), MINIO_PROMETHEUS_AUTH_TYPE="public", **PAIR, **env
    )


@pytest.fixture(scope="module")
def several(servers, weed, second):
    """A gateway before both stores."""
    server = make_gateway(
        servers, "several", FILE.format(main=weed.endpoint, second=second.endpoint, names=NAMES)
    ).start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def client(several):
    return s3_client(several.endpoint, ROOT, retries={"max_attempts": 0})


@pytest.fixture(scope="module")
def there(second):
    """A client directly at the second store."""
    return s3_client(second.endpoint, STORE, retries={"max_attempts": 0})


@pytest.fixture(scope="module")
def buckets(client, there, direct):
    """The buckets of all names, and a neighbour that nobody of `team` may see."""
    there.create_bucket(Bucket="shared")
    there.put_object(Bucket="shared", Key="teams/secret", Body=b"no")
    there.put_object(Bucket="shared", Key="teams/team-ab", Body=b"no")
    client.create_bucket(Bucket="photos")
    client.create_bucket(Bucket="logs-2026")
    client.create_bucket(Bucket="plain")
    client.put_object(Bucket="other-team", Key="secret", Body=b"no")
    return ["logs-2026", "other-team", "pages", "photos", "plain", "team"]


def narrow(several, policy: dict):
    """Return a client with a session policy."""
    sts = boto3.client("sts", endpoint_url=several.endpoint, region_name="us-east-1", aws_access_key_id=ROOT_USER,
                       aws_secret_access_key=ROOT_PASSWORD)  # fmt: skip
    found = sts.assume_role(
        RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="narrow", Policy=json.dumps(policy)
    )
    names = {"accessKey": "AccessKeyId", "secretKey": "SecretAccessKey", "sessionToken": "SessionToken"}
    return s3_client(
        several.endpoint,
        {ours: found["Credentials"][name] for ours, name in names.items()},
        retries={"max_attempts": 0},
    )


def code_of(call, *args, **how) -> str:
    """Return the code of the error that a call must end with."""
    with pytest.raises(ClientError) as refused:
        call(*args, **how)
    return refused.value.response["Error"]["Code"]


VOLATILE = {"LastModified", "Date", "UploadId", "Initiated", "NextContinuationToken", "ContinuationToken", "VersionId", "RequestId",
            "HostId", "HTTPHeaders", "RetryAttempts", "NextUploadIdMarker", "Location"}  # fmt: skip
SEEN = {
    "content-type",
    "etag",
    "content-length",
    "cache-control",
    "x-amz-meta-a",
    "content-range",
    "x-amz-tagging-count",
}


def steady(value, bucket: str):
    """Return an answer without what differs from call to call, and with one name for every bucket."""
    if isinstance(value, dict):
        headers = value.get("HTTPHeaders")
        # An empty Prefix is left out of some listings by the store; S3 always writes it, and so do we.
        kept = {n: steady(v, bucket) for n, v in value.items() if n not in VOLATILE and (n, v) != ("Prefix", "")}
        return kept | (
            {
                "headers": {
                    n: v for n, v in headers.items() if n in SEEN and "xml" not in headers.get("content-type", "")
                }
            }
            if headers
            else {}
        )
    if isinstance(value, list):
        return [steady(item, bucket) for item in value]
    if hasattr(value, "read"):
        return value.read()
    return re.sub(rf"(?<![\w-]){bucket}(?![\w-])", "BUCKET", value) if isinstance(value, str) else value


def calls(bucket: str):
    """Return the calls of the comparison, in order; each takes a client and what the ones before it answered."""

    def each(operation: str, **how):
        return operation, lambda _: {"Bucket": bucket} | how

    yield each("head_bucket")
    yield each("get_bucket_location")
    yield each("list_objects_v2")
    for key in KEYS:
        yield each(
            "put_object", Key=key, Body=key.encode() * 9, Metadata={"a": "b"}, CacheControl="no-store", Tagging="t=1"
        )
    for key in KEYS:
        yield each("get_object", Key=key)
    yield each("get_object", Key="a", Range="bytes=2-4")
    yield each("head_object", Key="dir/x")
    yield each("head_object", Key="nope")
    yield each("get_object", Key="nope & <none>")
    yield each("get_object", Key="a", IfMatch='"x"')
    yield each("get_object_tagging", Key="a b+c%")
    yield each("put_object_tagging", Key="a", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    for operation in ("list_objects", "list_objects_v2", "list_object_versions"):
        for how in ({}, {"Prefix": "dir/"}, {"Delimiter": "/"}, {"Prefix": "d", "Delimiter": "/"}, {"Prefix": "none"}, {"MaxKeys": 2},
                    {"MaxKeys": 1, "Delimiter": "/"}, {"Prefix": "../"}, {"Prefix": "dir/\u00fc"}):  # fmt: skip
            yield each(operation, **how)
    yield each("list_objects_v2", StartAfter="dir/x")
    yield each("list_objects_v2", ContinuationToken="forged")
    yield each("list_objects", Marker="dir/x", MaxKeys=2)
    yield each("list_objects", Marker="dir/", Delimiter="/")
    yield each("list_object_versions", KeyMarker="dir/x")
    yield each("copy_object", Key="dir/copy", CopySource={"Bucket": bucket, "Key": "a b+c%"})
    yield each("copy_object", Key="x", CopySource={"Bucket": bucket, "Key": "missing"})
    yield each("create_multipart_upload", Key="up/load ü")
    made = {"Bucket": bucket, "Key": "up/load ü"}
    yield "upload_part", lambda got: made | {"UploadId": got["UploadId"], "PartNumber": 1, "Body": b"p" * 5_300_000}
    yield (
        "upload_part_copy",
        lambda got: made | {"UploadId": got["UploadId"], "PartNumber": 2, "CopySource": f"{bucket}/dir/x"},
    )
    yield "list_parts", lambda got: made | {"UploadId": got["UploadId"]}
    yield each("list_multipart_uploads")
    yield each("list_multipart_uploads", Prefix="up/")
    yield "complete_multipart_upload", lambda got: made | {"UploadId": got["UploadId"], "MultipartUpload": {"Parts": [
        {"PartNumber": 1, "ETag": got["ETag"]}, {"PartNumber": 2, "ETag": got["CopyPartResult"]["ETag"]}]}}  # fmt: skip
    yield "list_parts", lambda got: made | {"UploadId": got["UploadId"]}
    yield each("head_object", Key="up/load ü")
    yield each("delete_objects", Delete={"Objects": [{"Key": key} for key in (*KEYS[:4], "not there", "up/load ü")]})
    yield each("delete_objects", Delete={"Objects": [{"Key": "z'(1)!*~"}], "Quiet": True})
    yield each("delete_object", Key="dir2/x")
    yield each("list_objects_v2")


def story(client, bucket: str) -> list:
    """Return what every call answered, refusals included."""
    told, got = [], {}
    for operation, how in calls(bucket):
        try:
            answer = getattr(client, operation)(**how(got))
            got |= {n: answer[n] for n in ("UploadId", "ETag", "CopyPartResult") if n in answer}
        except ClientError as error:
            answer = error.response
        told.append((operation, steady(answer, bucket)))
    return told


@pytest.mark.parametrize("bucket", ["team", "photos"])
def test_a_renamed_and_prefixed_bucket_is_like_any_other(client, there, buckets, bucket):
    """Every call through the gateway answers what the same call answers at a bucket of the store's own.

    Times, ids and the URL of the endpoint aside; a continuation token that nobody made is the one intended difference.
    """
    own = f"own-{uuid.uuid4().hex[:12]}"
    there.create_bucket(Bucket=own)
    with suppress(ClientError):
        client.delete_object(Bucket=bucket, Key="dir/copy")
    expected, seen = story(there, own), story(client, bucket)
    differing = [(a, b) for a, b in zip(expected, seen, strict=True) if a != b]
    if bucket == "team":
        ((_, refused),) = [pair for pair in differing if pair[1][1].get("Error", {}).get("Code") == "InvalidArgument"]
        assert refused[1]["Error"]["Message"] == "The continuation token provided is incorrect"
        differing = [pair for pair in differing if pair[1] is not refused]
    assert differing == []


def test_keys_are_where_the_place_says(client, there, buckets):
    """The object is behind the prefix in the real bucket, and nowhere else."""
    client.put_object(Bucket="team", Key="where/ü", Body=b"x")
    assert there.get_object(Bucket="shared", Key=f"{TEAM}where/ü")["Body"].read() == b"x"
    client.put_object(Bucket="logs-2026", Key="k", Body=b"y")
    assert there.get_object(Bucket="acme-2026", Key="k")["Body"].read() == b"y"


@pytest.mark.parametrize("prefix", ["", "../", "..", "/", "//", "../team-b/", "teams/", "%2e%2e/", ".", "../../"])
def test_nothing_beside_the_prefix_is_listed(client, buckets, prefix):
    """Whatever prefix, marker and delimiter: no neighbour's key or prefix is in the answer."""
    client.put_object(Bucket="team", Key="mine", Body=b"x")
    for delimiter in ("", "/"):
        pages = [
            client.list_objects_v2(Bucket="team", Prefix=prefix, Delimiter=delimiter),
            client.list_objects(Bucket="team", Prefix="", Marker=prefix, Delimiter=delimiter),
            client.list_objects_v2(Bucket="team", StartAfter=prefix, Delimiter=delimiter),
            client.list_object_versions(Bucket="team", Prefix=prefix, Delimiter=delimiter),
        ]
        for page in pages:
            page.pop("ResponseMetadata")
            text = str({n: v for n, v in page.items() if n not in {"Prefix", "Marker", "StartAfter"}})
            assert "secret" not in text
            assert "team-" not in text
            assert "shared" not in text


@pytest.mark.parametrize(
    "key", ["../secret", "../team-b/secret", "x/../../secret", ".", "..", "a/./b", "%2e%2e/secret/.."]
)
def test_no_key_leads_out_of_the_prefix(client, there, buckets, key):
    """A key with dot segments is refused for every method before the backend hears of it."""
    for operation, how in (("get_object", {}), ("put_object", {"Body": b"x"}), ("delete_object", {}), ("get_object_tagging", {}),
                           ("copy_object", {"CopySource": "team/mine"})):  # fmt: skip
        assert code_of(getattr(client, operation), Bucket="team", Key=key, **how) == "InvalidRequest"
    for source in ("team/../secret", "team/x/%2E%2e/../secret"):
        assert code_of(client.copy_object, Bucket="team", Key="stolen", CopySource=source) == "InvalidArgument"
    assert there.get_object(Bucket="shared", Key="teams/secret")["Body"].read() == b"no"


def test_operations_on_the_bucket_behind_a_prefix_are_refused(client, buckets):
    """What would change or show the whole real bucket is refused with a clear error, and the bucket is still there."""
    team = {"Bucket": "team"}
    assert code_of(client.delete_bucket, **team) == "MethodNotAllowed"
    assert code_of(client.create_bucket, **team) == "MethodNotAllowed"
    assert (
        code_of(client.put_bucket_versioning, **team, VersioningConfiguration={"Status": "Enabled"})
        == "MethodNotAllowed"
    )
    assert code_of(client.get_bucket_lifecycle_configuration, **team) == "MethodNotAllowed"
    assert code_of(client.put_bucket_policy, **team, Policy="{}") == "NotImplemented"
    assert code_of(client.get_bucket_policy, Bucket="photos") == "NotImplemented"
    assert client.get_bucket_versioning(**team)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_renamed_bucket_is_made_and_deleted_by_its_name(client, there, buckets):
    """CreateBucket, HeadBucket, DeleteBucket of a pattern's bucket act on the bucket of the backend's name."""
    assert client.create_bucket(Bucket="logs-tmp")["Location"] == "/logs-tmp"
    there.head_bucket(Bucket="acme-tmp")
    client.head_bucket(Bucket="logs-tmp")
    client.delete_bucket(Bucket="logs-tmp")
    assert code_of(there.head_bucket, Bucket="acme-tmp") == "404"
    assert code_of(client.head_bucket, Bucket="logs-tmp") == "404"


def names(answer) -> list[str]:
    return [bucket["Name"] for bucket in answer["Buckets"]]


def test_buckets_of_all_backends_are_one_list(client, direct, there, buckets):
    """Each bucket under its name here, once, sorted, with the backend's own date; what has no name here is not shown."""
    answer = client.list_buckets()
    listed = names(answer)
    assert listed == sorted(set(listed))
    assert set(listed) == {*buckets, *names(direct.list_buckets())}
    assert not {"shared", "real-photos", "acme-2026"} & set(listed)
    assert answer["Owner"]["ID"] == "gateway"
    dates = {bucket["Name"]: bucket["CreationDate"] for bucket in answer["Buckets"]}
    assert dates["photos"] == next(
        b["CreationDate"] for b in there.list_buckets()["Buckets"] if b["Name"] == "real-photos"
    )


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("prefix", [None, "p", "team", "none-such"])
def test_pages_of_buckets_meet(client, buckets, size, prefix):
    """Walking the pages across backends shows the whole list, in order, once."""
    how = {"Prefix": prefix} if prefix is not None else {}
    pages = list(client.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": size}, **how))
    whole = [name for name in names(client.list_buckets()) if name.startswith(prefix or "")]
    assert [name for page in pages for name in names(page)] == whole
    assert all(len(names(page)) <= size for page in pages)


def test_policies_know_the_names_of_the_gateway_only(several, client, buckets):
    """Who may use `team` may not use the bucket and prefix behind it by any other name; his list of buckets is filtered."""
    client.put_object(Bucket="team", Key="mine", Body=b"x")
    resources = ["arn:aws:s3:::team", "arn:aws:s3:::team/*", "arn:aws:s3:::shared/*", "arn:aws:s3:::shared"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": resources}]}
    session = narrow(several, policy)
    assert session.get_object(Bucket="team", Key="mine")["Body"].read() == b"x"
    assert names(session.list_buckets()) == ["team"]
    assert code_of(session.get_object, Bucket="other-team", Key="secret") == "AccessDenied"
    assert code_of(session.copy_object, Bucket="team", Key="c", CopySource="other-team/secret") == "AccessDenied"
    # `shared` is a bucket of the default backend here, which has none of this name.
    assert code_of(session.get_object, Bucket="shared", Key=f"{TEAM}mine") == "NoSuchBucket"


def test_one_name_for_one_place(servers, weed, client, buckets):
    """Where the default backend has the renamed bucket too, its real name does not exist: a policy could be walked around."""
    text = FILE.format(main=weed.endpoint, second=weed.endpoint, names=NAMES)
    gateway = make_gateway(servers, "one-store", text).start()
    try:
        root = s3_client(gateway.endpoint, ROOT, retries={"max_attempts": 0})
        name = f"logs-{uuid.uuid4().hex[:8]}"
        root.create_bucket(Bucket=name)
        root.put_object(Bucket=name, Key="k", Body=b"x")
        for real in (name.replace("logs", "acme"), "real-photos", "shared"):
            assert code_of(root.list_objects_v2, Bucket=real) == "NoSuchBucket"
            assert code_of(root.create_bucket, Bucket=real) == "NoSuchBucket"
            assert code_of(root.copy_object, Bucket=name, Key="c", CopySource=f"{real}/k") == "NoSuchBucket"
            assert real not in names(root.list_buckets())
        assert name in names(root.list_buckets())
    finally:
        gateway.close()


COPIES = [
    ("plain", "team"),
    ("team", "plain"),
    ("photos", "plain"),
    ("plain", "logs-2026"),
    ("team", "photos"),
    ("photos", "team"),
]


@pytest.mark.parametrize(("source", "to"), COPIES)
@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_copies_carry_what_s3_carries(client, buckets, source, to, size):
    """Across backends as within one: bytes, metadata and tags are the source's, or the request's where it says REPLACE."""
    client.put_object(
        Bucket=source, Key="from/ü +", Body=b"s" * size, Metadata={"a": "b"}, ContentType="text/x", Tagging="t=1&u=%26"
    )
    copied = client.copy_object(Bucket=to, Key="copies/to &", CopySource={"Bucket": source, "Key": "from/ü +"})
    found = client.get_object(Bucket=to, Key="copies/to &")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (b"s" * size, {"a": "b"}, "text/x")
    assert copied["CopyObjectResult"]["ETag"].strip('"') == found["ETag"].strip('"')
    assert abs((copied["CopyObjectResult"]["LastModified"] - found["LastModified"]).total_seconds()) < 5
    tags = client.get_object_tagging(Bucket=to, Key="copies/to &")["TagSet"]
    assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("t", "1"), ("u", "&")]
    client.copy_object(Bucket=to, Key="copies/to &", CopySource={"Bucket": source, "Key": "from/ü +"}, MetadataDirective="REPLACE",
                       Metadata={"c": "d"}, ContentType="text/y", TaggingDirective="REPLACE", Tagging="v=2")  # fmt: skip
    found = client.get_object(Bucket=to, Key="copies/to &")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (b"s" * size, {"c": "d"}, "text/y")
    assert client.get_object_tagging(Bucket=to, Key="copies/to &")["TagSet"] == [{"Key": "v", "Value": "2"}]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"CopySourceIfMatch": '"x"'}, "PreconditionFailed"),
        ({"CopySourceIfNoneMatch": "ETAG"}, "PreconditionFailed"),
        ({"CopySourceIfModifiedSince": "2099-01-01"}, "PreconditionFailed"),
        ({"CopySourceIfUnmodifiedSince": "2001-01-01"}, "PreconditionFailed"),
        ({"CopySource": "plain/none"}, "NoSuchKey"),
        ({"CopySource": "no-such-bucket-here/k"}, "NoSuchBucket"),
        ({"MetadataDirective": "KEEP"}, "InvalidArgument"),
    ],
)
def test_copies_that_cannot_be_are_refused(client, direct, buckets, how, code):
    """Conditions on the source and missing sources end as within one store, and nothing is written."""
    etag = client.put_object(Bucket="plain", Key="cond", Body=b"x")["ETag"]
    how = {n: etag if v == "ETAG" else v for n, v in how.items()}
    assert code_of(client.copy_object, **({"Bucket": "team", "Key": "never", "CopySource": "plain/cond"} | how)) == code
    assert code_of(client.head_object, Bucket="team", Key="never") == "404"


def test_a_copy_across_of_what_is_not_there_tells_no_more(several, client, buckets):
    """To who may read the source, and not list it, it is 403 as within one backend; so are a renamed bucket's and a prefix's keys."""
    reads = {"Effect": "Allow", "Action": ["s3:GetObject*", "s3:PutObject*"], "Resource": "arn:aws:s3:::*"}
    lists = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::*"}
    listing = {"Condition": {"StringLike": {"s3:prefix": "mine/*"}}}
    reader = narrow(several, {"Version": "2012-10-17", "Statement": [reads, lists | listing]})
    for source, to in COPIES:
        for key, code in (("absent", "AccessDenied"), ("mine/absent", "NoSuchKey")):
            named = {"Bucket": source, "Key": key}
            assert code_of(reader.copy_object, Bucket=to, Key="copies/none", CopySource=named) == code
            assert code_of(reader.get_object, **named) == code
    assert code_of(client.copy_object, Bucket="team", Key="c", CopySource="plain/none") == "NoSuchKey"


def test_parts_are_copied_across(client, buckets):
    """UploadPartCopy takes whole sources and ranges; a range that the source does not have is refused."""
    body = bytes(range(256)) * 24_000
    client.put_object(Bucket="plain", Key="big", Body=body)
    upload = {"Bucket": "team", "Key": "made of parts"}
    upload |= {"UploadId": client.create_multipart_upload(**upload)["UploadId"]}
    parts = []
    for number, how in enumerate(({"CopySourceRange": f"bytes=0-{5_300_000 - 1}"}, {}), 1):
        answer = client.upload_part_copy(**upload, PartNumber=number, CopySource="plain/big", **how)
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    for wrong in (f"bytes=5-{len(body)}", "bytes=5-", "bytes=-5", "5-6", "bytes=9-5"):
        refused = code_of(
            client.upload_part_copy, **upload, PartNumber=3, CopySource="plain/big", CopySourceRange=wrong
        )
        assert refused in {"InvalidArgument", "InvalidRange"}
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert client.get_object(Bucket="team", Key="made of parts")["Body"].read() == body[:5_300_000] + body


def test_the_log_and_the_metrics_name_the_backend(several, client, buckets):
    """An operator sees which backend a request went to."""
    key = uuid.uuid4().hex
    client.put_object(Bucket="team", Key=key, Body=b"x")
    client.copy_object(Bucket="plain", Key=key, CopySource=f"team/{key}")

    def told():
        return [line for line in several.process.text.splitlines() if key in line]

    until(lambda: len(told()) == 2, "both lines are written")  # the second after its answer's last byte
    lines = told()
    assert "PutObject 200 PUT /team/" in lines[0]
    assert lines[0].endswith(" at=second")
    assert lines[1].endswith(" at=second>main")
    text = urllib.request.urlopen(f"{several.endpoint}/minio/v2/metrics/cluster").read().decode()
    assert 'minio_gw_backend_requests_total{backend="second",status="200"}' in text
    assert 'minio_gw_backend_requests_total{backend="second>main",status="200"}' in text


def test_no_backend_may_be_missing_from_the_list(servers, weed):
    """With one backend away ListBuckets is an error, not a shorter list; readiness says which; the other one serves on."""
    text = FILE.format(main=weed.endpoint, second="http://127.0.0.1:9", names=NAMES)
    gateway = make_gateway(servers, "one-away", text).start(ready=False)
    try:
        root = s3_client(gateway.endpoint, ROOT, retries={"max_attempts": 0})
        assert code_of(root.list_buckets) == "ServiceUnavailable"
        assert code_of(root.get_object, Bucket="team", Key="k") == "ServiceUnavailable"
        root.list_objects_v2(Bucket=names(s3_client(weed.endpoint, STORE).list_buckets())[0])
        assert http_status(f"{gateway.endpoint}/minio/health/ready") == 503
        with pytest.raises(urllib.error.HTTPError) as unready:
            urllib.request.urlopen(f"{gateway.endpoint}/minio/health/ready")
        reasons = json.loads(unready.value.read())["reasons"]
        assert [reason.partition(":")[0] for reason in reasons] == ["backend second"]
    finally:
        gateway.close()


def test_a_wrong_file_is_told_before_anybody_listens(servers, weed):
    """Every problem of the file is printed with its place and a remedy, and the gateway does not start."""
    text = FILE.format(main=weed.endpoint, second="ftp://x", names=NAMES).replace('"photos"', '"pho/tos"')
    gateway = make_gateway(servers, "wrong", text)
    gateway.process.start()
    assert gateway.process.popen.wait(30) == 2
    told = gateway.process.text
    assert "MINIO_GW_BACKENDS: backends.second.endpoint" in told
    assert "MINIO_GW_BACKENDS: buckets 1.name" in told
    assert told.count("Remedy:") == 2
    assert BACKEND.secret.reveal() not in told


def test_conditions_on_tags_look_at_the_place(several, client, buckets):
    """The tags that a policy asks about are those of the object behind the name, at the backend where it is."""
    for bucket in ("team", "plain"):
        client.put_object(Bucket=bucket, Key="tagged/yes", Body=b"x", Tagging="open=yes")
        client.put_object(Bucket=bucket, Key="tagged/no", Body=b"x", Tagging="open=no")
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": "*",
         "Condition": {"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}},
        {"Effect": "Allow", "Action": ["s3:PutObject*", "s3:GetObjectTagging"], "Resource": "*"},
    ]}  # fmt: skip
    session = narrow(several, policy)
    for bucket, other in (("team", "plain"), ("plain", "team")):
        assert session.get_object(Bucket=bucket, Key="tagged/yes")["Body"].read() == b"x"
        assert code_of(session.get_object, Bucket=bucket, Key="tagged/no") == "AccessDenied"
        assert code_of(session.copy_object, Bucket=other, Key="c", CopySource=f"{bucket}/tagged/no") == "AccessDenied"
        session.copy_object(Bucket=other, Key="c", CopySource=f"{bucket}/tagged/yes")
        deleted = session.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": "tagged/yes"}, {"Key": "tagged/no"}]}
        )
        assert [one["Key"] for one in deleted["Deleted"]] == ["tagged/yes"]
        assert [(one["Key"], one["Code"]) for one in deleted["Errors"]] == [("tagged/no", "AccessDenied")]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(("operation", "entries"), [("list_objects_v2", "Contents"), ("list_objects", "Contents"), ("list_object_versions", "Versions")])  # fmt: skip
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_pages_behind_a_prefix_meet(filtering, client, buckets, operation, entries, size, delimiter):
    """Page by page, filtered by policy or not, a caller sees every key he may see, once, and no other."""
    keys = [
        *(f"hidden/{i}" for i in range(4)),
        "open/a",
        "open/b c",
        "open/d/e",
        "openly",
        "z",
    ]  # not +: the store does not encode NextMarker
    for key in keys:
        client.put_object(Bucket="pages", Key=key, Body=b"x")
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketVersions"], "Resource": "arn:aws:s3:::pages"},
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": ["arn:aws:s3:::pages/open*"]},
    ]}  # fmt: skip
    root = s3_client(filtering.endpoint, ROOT)
    for caller, wanted in ((root, keys), (narrow(filtering, policy), [key for key in keys if key.startswith("open")])):
        pages = list(
            caller.get_paginator(operation).paginate(
                Bucket="pages", Delimiter=delimiter, PaginationConfig={"PageSize": size}
            )
        )
        seen = [one["Key"] for page in pages for one in page.get(entries, ())]
        assert seen == [key for key in wanted if not delimiter or delimiter not in key]
        shared = {one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ())}
        assert shared == ({"hidden/", "open/"} if delimiter else set())


@pytest.fixture(scope="module")
def filtering(servers, weed, second):
    """Another gateway over the same places, which filters listings and knows virtual hosts."""
    text = FILE.format(main=weed.endpoint, second=second.endpoint, names=NAMES)
    server = make_gateway(servers, "filtering-several", text, MINIO_GW_LIST_FILTER="on", MINIO_DOMAIN="gw.test").start()
    yield server
    server.close()


def test_forms_and_presigned_urls_reach_the_place(client, there, buckets):
    """A POST form and a presigned URL name the gateway's bucket, and act behind the prefix."""
    post = client.generate_presigned_post("team", "forms/${filename}")
    boundary = uuid.uuid4().hex
    fields = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in post["fields"].items()
    )
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\nform\r\n--{boundary}--\r\n'
    request = urllib.request.Request(
        post["url"], (fields + file).encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    with urllib.request.urlopen(request) as told:
        assert told.status == 204
        assert "shared" not in str(told.headers)
        assert "teams" not in str(told.headers)
    assert there.get_object(Bucket="shared", Key=f"{TEAM}forms/f.txt")["Body"].read() == b"form"
    url = client.generate_presigned_url("get_object", Params={"Bucket": "team", "Key": "forms/f.txt"})
    with urllib.request.urlopen(url) as told:
        assert told.read() == b"form"


def test_virtual_hosts_reach_the_place(filtering, there, buckets):
    """bucket.domain is the gateway's bucket, wherever it is."""
    port = filtering.port
    headers = sign("PUT", "/vh/%C3%BC", host=f"team.gw.test:{port}", who=Credentials(ROOT_USER, Secret(ROOT_PASSWORD)))
    request = urllib.request.Request(f"http://127.0.0.1:{port}/vh/%C3%BC", b"x", headers, method="PUT")
    with urllib.request.urlopen(request) as told:
        assert told.status == 200
    assert there.get_object(Bucket="shared", Key=f"{TEAM}vh/ü")["Body"].read() == b"x"


def test_a_browsers_preflight_is_asked_at_the_place(several, second, there, buckets):
    """The CORS configuration of the real bucket answers for the name, as it answers at the store itself."""
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://page.test"]}
    there.create_bucket(Bucket="acme-cors")
    there.put_bucket_cors(Bucket="acme-cors", CORSConfiguration={"CORSRules": [rule]})
    headers = {"Origin": "https://page.test", "Access-Control-Request-Method": "GET"}
    told = []
    for url in (
        f"{several.endpoint}/logs-cors/k",
        f"{second.endpoint}/acme-cors/k",
        f"{several.endpoint}/team",
        f"{second.endpoint}/shared",
    ):
        with urllib.request.urlopen(urllib.request.Request(url, method="OPTIONS", headers=headers)) as answer:
            told.append({n.lower(): v for n, v in answer.headers.items() if n.lower().startswith("access-control-")})
    assert told[0] == told[1]
    assert told[0]["access-control-allow-origin"] == "https://page.test"
    assert told[2] == told[3] != {}
