"""What a store reads as another key is judged as that key too: a Deny holds at the real store, however a key is spelt (trap 17)."""

from __future__ import annotations

import re
import uuid
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import s3_client
from tests.traps.raw import Wire, ask, narrowed, presigned, written

BOBS = b"bytes of Bob's"
TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>evil</Value></Tag></TagSet></Tagging>"
#: Spellings of `bob/x` that SeaweedFS takes for it, that others do, or that both refuse.
SPELLINGS = [
    "/bob/x", "//bob/x", "bob//x", "bob\\x", "\\bob\\x", "bob\\/x", "/bob\\\\x", "./bob/x", "bob/./x", "z/../bob/x", "bob/y/../x",
    ".\\bob\\x", "z\\..\\bob\\x", "z/..//bob/x", "bob//y/../x", "/./bob/x",
]  # fmt: skip
#: Spellings that some operations take for it.
FOLDERS = ["bob/x/", "bob\\x\\", "/bob/x//"]


@pytest.fixture(scope="module")
def bucket(direct):
    """A bucket with an object of Bob's, which is as it was afterwards."""
    name = f"odd-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    direct.put_object(Bucket=name, Key="bob/x", Body=BOBS, Tagging="a=b")
    yield name
    empty(direct, name)


def empty(direct, name: str) -> None:
    """Remove a bucket and what is in it."""
    for page in direct.get_paginator("list_object_versions").paginate(Bucket=name):
        for one in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            direct.delete_object(Bucket=name, Key=one["Key"], VersionId=one["VersionId"])
    direct.delete_bucket(Bucket=name)


@pytest.fixture(scope="module")
def eve(gateway, issuer, bucket):
    """Who may do everything in the bucket, but nothing with Bob's objects."""
    own = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    listing = {"StringLike": {"s3:prefix": ["bob", "bob/*"]}}
    return narrowed(
        gateway, issuer,
        {"Effect": "Allow", "Action": "s3:*", "Resource": own},
        {"Effect": "Deny", "Action": "s3:*", "Resource": f"{own[0]}/bob/*"},
        {"Effect": "Deny", "Action": ["s3:ListBucket", "s3:ListBucketVersions"], "Resource": own[0], "Condition": listing},
    )  # fmt: skip


def path(bucket: str, key: str) -> str:
    """Return the target of a key as AWS's clients write it."""
    return f"/{bucket}/{quote(key, safe='/~')}"


def untouched(direct, bucket: str) -> None:
    """Hold that Bob's object is what it was."""
    assert direct.get_object(Bucket=bucket, Key="bob/x")["Body"].read() == BOBS
    assert direct.get_object_tagging(Bucket=bucket, Key="bob/x")["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert [one["Key"] for one in direct.list_objects_v2(Bucket=bucket)["Contents"]] == ["bob/x"]


@pytest.mark.parametrize("key", [*SPELLINGS, *FOLDERS])
def test_trap_17_a_denied_key_is_denied_however_it_is_spelt(gateway, direct, bucket, eve, key):
    """Reads, writes, deletions, tags, uploads and batches of another spelling of Bob's key reach nothing of his."""
    target = path(bucket, key)
    calls = [
        ("GET", target, b""), ("GET", f"{target}?tagging", b""), ("PUT", f"{target}?tagging", TAGS), ("PUT", target, b"evil"),
        ("DELETE", f"{target}?tagging", b""), ("DELETE", target, b""), ("DELETE", f"{target}?versionId=null", b""),
        ("POST", f"{target}?uploads", b""), ("GET", f"{target}?acl", b""),
        ("POST", f"/{bucket}?delete", b"<Delete><Object><Key>%b</Key></Object></Delete>" % key.encode()),
        ("POST", f"/{bucket}?delete", b"<Delete><Object><Key>%b</Key><VersionId>null</VersionId></Object></Delete>" % key.encode()),
    ]  # fmt: skip
    for method, asked, body in calls:
        answer = ask(gateway, method, asked, body=body, who=eve)
        assert answer.status in {400, 403} or b"<Code>AccessDenied</Code>" in answer.body, (method, asked, answer.body)
        assert BOBS not in answer.body
    with Wire(gateway.port) as wire:
        answer = wire.send(
            written("GET", presigned(gateway, "GET", target, eve), {"Host": f"127.0.0.1:{gateway.port}"})
        ).answer()
    assert answer.status in {400, 403}
    untouched(direct, bucket)


@pytest.mark.parametrize("encoded", [quote, lambda key, safe: key])
@pytest.mark.parametrize("key", [*SPELLINGS, *FOLDERS])
def test_trap_17_a_denied_source_is_not_copied_however_it_is_spelt(gateway, direct, bucket, eve, key, encoded):
    """A copy, or a part that is one, takes nothing of Bob's along."""
    source = {"x-amz-copy-source": f"/{bucket}/{encoded(key, safe='/')}"}
    for target in (f"/{bucket}/mine", f"/{bucket}/mine?partNumber=1&uploadId=any"):
        assert ask(gateway, "PUT", target, source, who=eve).status in {400, 403}
    untouched(direct, bucket)
    assert ask(gateway, "GET", f"/{bucket}/mine", who=eve).status == 404


@pytest.mark.parametrize("key", [*SPELLINGS, "bob//${filename}", "/bob/${filename}"])
def test_trap_17_a_form_writes_no_denied_key_however_it_is_spelt(gateway, direct, bucket, eve, key):
    """A browser's form is a PutObject of the key in it, by the rights of who signed it."""
    signer = s3_client(
        gateway.endpoint, {"accessKey": eve.access_key, "secretKey": eve.secret_key, "sessionToken": eve.token}
    )
    form = signer.generate_presigned_post(bucket, key)
    answer = httpx.post(f"{gateway.endpoint}/{bucket}", data=form["fields"], files={"file": ("x", b"evil")})
    assert answer.status_code in {400, 403}, answer.text
    untouched(direct, bucket)


@pytest.mark.parametrize("prefix", ["/bob/", "//bob/", "bob//", "/bob", "bob\\", "./bob/", "z/../bob/", "bob/./"])
def test_trap_17_a_denied_prefix_is_denied_however_it_is_spelt(gateway, bucket, eve, prefix):
    """A listing by another spelling of Bob's prefix shows nothing of his; of any other prefix it does not fail."""
    for listing in ("list-type=2&", "", "versions&"):
        answer = ask(gateway, "GET", f"/{bucket}?{listing}prefix={quote(prefix, safe='')}", who=eve)
        assert (answer.status, b"bob/x" in answer.body) == (403, False)
        assert ask(gateway, "GET", f"/{bucket}?{listing}prefix=alice%2F%2F", who=eve).status == 200


def test_trap_17_a_key_of_slashes_is_no_name_of_the_bucket(gateway, direct, bucket, issuer):
    """SeaweedFS takes `DELETE /bucket//` for DeleteBucket; a right to delete objects must not remove the bucket."""
    direct.create_bucket(Bucket=f"{bucket}-b")
    who = narrowed(gateway, issuer, {"Effect": "Allow", "Action": "s3:*Object*", "Resource": "*"})
    for key in ("/", "//", "\\", "./", "a/..", "%2F"):
        answer = ask(gateway, "DELETE", f"/{bucket}-b/{key if '%' in key else quote(key, safe='/')}", who=who)
        assert (answer.status, answer.code) == (400, "InvalidRequest")
    direct.delete_bucket(Bucket=f"{bucket}-b")


def test_an_odd_key_of_ones_own_is_used_as_ever(gateway, issuer, direct, bucket):
    """Keys that stores read in several ways are not refused to who may use all of their readings."""
    own = {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/ann/*"}
    ann = narrowed(gateway, issuer, own)
    for key in ("ann//a", "ann/b\\c", "ann/d/", "ann/"):
        assert ask(gateway, "PUT", path(bucket, key), body=b"", who=ann).status == 200, key
        assert ask(gateway, "GET", path(bucket, key), who=ann).status == 200, key
        assert ask(gateway, "DELETE", path(bucket, key), who=ann).status == 204, key
    assert ask(gateway, "PUT", path(bucket, "/ann/a"), who=ann).status == 403


@pytest.fixture
def versioned(direct):
    """A bucket that keeps versions, two of one key in it, and their ids, the old one first."""
    name = f"odd-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    direct.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    ids = [direct.put_object(Bucket=name, Key="a", Body=body)["VersionId"] for body in (b"old", b"new")]
    yield name, ids
    empty(direct, name)


def test_trap_26_a_stores_own_name_of_a_version_is_that_version(gateway, issuer, direct, versioned):
    """Who may not read, copy, overwrite or delete versions may not do so where SeaweedFS keeps them either."""
    name, (old, _) = versioned
    plain = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:GetObjectTagging",
        "s3:PutObjectTagging",
        "s3:ListBucket",
    ]
    who = narrowed(gateway, issuer, {"Effect": "Allow", "Action": plain, "Resource": "*"})
    for key in (f"a.versions/v_{old}", f"a.versions//v_{old}", f"a.versions\\v_{old}", f"/a.versions/v_{old}"):
        target = path(name, key)
        for method, asked, headers in (
            ("GET", target, {}), ("DELETE", target, {}), ("DELETE", f"{target}?versionId=null", {}), ("PUT", target, {}),
            ("GET", f"{target}?tagging", {}), ("PUT", f"/{name}/mine", {"x-amz-copy-source": quote(f"/{name}/{key}", safe="/")}),
        ):  # fmt: skip
            assert ask(gateway, method, asked, headers, who=who).status == 403, (method, asked)
        document = b"<Delete><Object><Key>%b</Key></Object></Delete>" % key.encode()
        assert b"<Code>AccessDenied</Code>" in ask(gateway, "POST", f"/{name}?delete", body=document, who=who).body
    assert direct.get_object(Bucket=name, Key="a", VersionId=old)["Body"].read() == b"old"
    assert ask(gateway, "GET", f"/{name}/a", who=who).body == b"new"
    reader = narrowed(
        gateway, issuer, {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": "*"}
    )
    assert ask(gateway, "GET", path(name, f"a.versions/v_{old}"), who=reader).body == b"old"


def test_trap_17_an_unfinished_upload_is_read_by_nobody(gateway, issuer, direct, bucket, eve):
    """SeaweedFS keeps parts as objects under `.uploads/`; neither a listing nor a read shows Bob's."""
    upload = direct.create_multipart_upload(Bucket=bucket, Key="bob/mp")["UploadId"]
    try:
        direct.upload_part(Bucket=bucket, Key="bob/mp", UploadId=upload, PartNumber=1, Body=BOBS)
        listed = direct.list_objects_v2(Bucket=bucket, Prefix=f".uploads/{upload}/")["Contents"]
        part = next(one["Key"] for one in listed if one["Key"].endswith(".part"))
        for prefix in (f".uploads/{upload}/", f"/.uploads//{upload}/"):
            answer = ask(gateway, "GET", f"/{bucket}?list-type=2&prefix={quote(prefix, safe='')}", who=eve)
            assert (answer.status, re.findall(rb"<Key>", answer.body)) == (403, [])
        for key in (part, f"/{part}", part.replace("/", "\\"), part.replace("/", "//")):
            for method in ("GET", "PUT", "DELETE"):
                assert ask(gateway, method, path(bucket, key), who=eve).status == 403, (method, key)
            source = {"x-amz-copy-source": quote(f"/{bucket}/{key}", safe="/")}
            assert ask(gateway, "PUT", f"/{bucket}/mine", source, who=eve).status == 403
        assert direct.list_parts(Bucket=bucket, Key="bob/mp", UploadId=upload)["Parts"][0]["Size"] == len(BOBS)
        assert ask(gateway, "GET", path(bucket, part)).body == BOBS  # root's own
    finally:
        direct.abort_multipart_upload(Bucket=bucket, Key="bob/mp", UploadId=upload)
