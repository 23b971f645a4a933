"""Payload modes as SDKs use them: uploads of unknown length, multipart checksums, batch deletes, and boto3 over TLS."""

from __future__ import annotations

import hashlib
import io
import os
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.clients.payloads import (
    ALGORITHMS,
    SIGNED,
    SIGNED_TRAILER,
    UNSIGNED_TRAILER,
    Side,
    Upload,
    checksum,
    exchange,
    get,
    sign,
)
from tests.clients.test_tls import over_tls
from tests.servers.processes import BACKEND, ROOT_PASSWORD, ROOT_USER

ROOT = {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD}
BODY = os.urandom(3 * 2**19)


@pytest.fixture(scope="module")
def store(weed):
    """The store itself: the oracle."""
    return Side.of(weed.endpoint, {"accessKey": BACKEND.access_key_id, "secretKey": BACKEND.secret.reveal()})


@pytest.fixture(scope="module")
def through(gateway, app_credentials):
    """The gateway, with temporary credentials."""
    return Side.of(gateway.endpoint, app_credentials)


@pytest.fixture(scope="module")
def decoding(servers, weed):
    """A gateway that speaks TLS and decodes aws-chunked."""
    server = over_tls(servers / "decoding-tls", weed.endpoint, MINIO_GW_BACKEND_AWS_CHUNKED="off")
    yield Side.of(server.endpoint, ROOT, server.trust)
    server.close()


@pytest.fixture(scope="module")
def bucket(direct):
    """A bucket, emptied and removed afterwards."""
    name = f"sdk-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    yield name
    while found := direct.list_objects_v2(Bucket=name).get("Contents"):
        direct.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in found]})
    direct.delete_bucket(Bucket=name)


@pytest.mark.parametrize("body", [b"", b"short", BODY], ids=len)
@pytest.mark.parametrize("mode", [UNSIGNED_TRAILER, SIGNED, SIGNED_TRAILER])
def test_uploads_of_unknown_length(store, through, decoding, bucket, mode, body):
    """aws-chunked inside Transfer-Encoding: chunked, as SDKs send a stream, is stored as the store itself stores it."""
    upload = Upload(mode, body, "" if mode == SIGNED else "CRC32", "trailer")
    found = []
    for side in (store, through, decoding):
        target = f"/{bucket}/{uuid.uuid4().hex}"
        headers = sign(side, "PUT", target, upload.head())
        framed = upload.framed(headers, side.keys)
        pieces = [framed[at : at + 5000] for at in range(0, len(framed), 5000)]
        connection = side.connect()
        connection.request(
            "PUT", target, iter(pieces), {**headers, "Transfer-Encoding": "chunked"}, encode_chunked=True
        )
        answer = connection.getresponse()
        answer.read()
        connection.close()
        found.append((answer.status, answer.getheader("etag"), get(store, target).body == body))
    assert found[1] == found[0]
    assert found[2] == (200, f'"{hashlib.md5(body).hexdigest()}"', True)


@pytest.mark.parametrize("body", [b"short", BODY], ids=len)
@pytest.mark.parametrize("mode", [UNSIGNED_TRAILER, SIGNED, SIGNED_TRAILER])
@pytest.mark.parametrize("end", ["cut", "wrong"])
def test_trap_11_an_upload_of_unknown_length_is_whole_or_no_object(store, through, decoding, bucket, mode, body, end):
    """Without a length to fall short of, a body that is cut or whose end is wrong still never becomes an object."""
    upload = Upload(mode, body, "" if mode == SIGNED else "CRC32", "trailer", chunk=2**19)
    for side in (through, decoding):
        target = f"/{bucket}/{uuid.uuid4().hex}"
        headers = sign(side, "PUT", target, upload.head())
        framed = upload.framed(headers, side.keys)
        if end == "cut":
            framed = framed[:-2]
        elif mode == SIGNED:
            at = framed.rindex(b"chunk-signature=") + 20
            framed = framed[:at] + (b"0" if framed[at : at + 1] != b"0" else b"1") + framed[at + 1 :]
        else:
            framed = framed.replace(upload.value.encode(), checksum("CRC32", b"other").encode())
        connection = side.connect()
        pieces = [framed[at : at + 5000] for at in range(0, len(framed), 5000)]
        connection.request(
            "PUT", target, iter(pieces), {**headers, "Transfer-Encoding": "chunked"}, encode_chunked=True
        )
        assert connection.getresponse().status in {400, 403}
        connection.close()
        assert get(store, target).status == 404


@pytest.mark.parametrize(("algorithm", "kind"), [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC32C", "COMPOSITE"),
                                                 ("CRC64NVME", "FULL_OBJECT"), ("SHA256", "COMPOSITE")])  # fmt: skip
def test_multipart_uploads_with_checksums(s3, direct, bucket, algorithm, kind):
    """The checksums of a multipart upload, of its parts and of the whole, are the store's own through the gateway."""
    parts = [os.urandom(5 * 2**20), b"the end"]

    def upload(client) -> list:
        key, name = uuid.uuid4().hex, f"Checksum{algorithm}"
        made = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm=algorithm, ChecksumType=kind)
        where = {"Bucket": bucket, "Key": key, "UploadId": made["UploadId"]}
        sent = [
            client.upload_part(**where, PartNumber=i, Body=part, ChecksumAlgorithm=algorithm)
            for i, part in enumerate(parts, 1)
        ]
        listed = [
            {"PartNumber": i, "ETag": one["ETag"], name: checksum(algorithm, part)}
            for i, (one, part) in enumerate(zip(sent, parts, strict=True), 1)
        ]
        wrong = [{**listed[0], name: checksum(algorithm, b"other")}, listed[1]]
        try:
            client.complete_multipart_upload(**where, MultipartUpload={"Parts": wrong})
            refused = ""
        except ClientError as error:
            refused = error.response["Error"]["Code"]
        if refused:
            client.complete_multipart_upload(**where, MultipartUpload={"Parts": listed}, ChecksumType=kind)
        head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return [
            [one.get(name) for one in sent],
            refused,
            head.get(name),
            head.get("ChecksumType"),
            head["ContentLength"],
        ]

    expected = upload(direct)
    assert upload(s3) == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("mode", "place"), [("HEX", "header"), ("UNSIGNED-PAYLOAD", "header"), (UNSIGNED_TRAILER, "trailer"),
                                             (SIGNED, "header"), (SIGNED_TRAILER, "trailer")])  # fmt: skip
def test_a_batch_delete_is_verified_here(through, direct, bucket, mode, place, algorithm):
    """A body that the gateway reads is checked by it, with every algorithm: wrong deletes nothing, right deletes."""
    key = uuid.uuid4().hex
    direct.put_object(Bucket=bucket, Key=key, Body=b"x")
    upload = Upload(mode, f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode(), algorithm, place)
    for attempt, status, left in ((upload.wrong(), 400, 1), (upload, 200, 0)):
        headers = sign(through, "POST", f"/{bucket}?delete=", attempt.head())
        answer = exchange(through, "POST", f"/{bucket}?delete=", headers, attempt.framed(headers, through.keys))
        assert (answer.status, answer.code) == (status, "BadDigest" if left else "")
        assert direct.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"] == left


def boto(side: Side):
    """Return a boto3 client over TLS, as any user makes it."""
    return boto3.client(
        "s3", endpoint_url=side.endpoint, region_name="us-east-1", aws_access_key_id=side.keys.access_key,
        aws_secret_access_key=side.keys.secret_key, verify=side.trust,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )  # fmt: skip


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("body", [b"", b"short", BODY], ids=len)
def test_boto3_through_a_decoding_gateway(decoding, direct, bucket, algorithm, body):
    """boto3's default uploads over TLS (unsigned trailers) are stored without framing; small ones keep their checksum."""
    client, key = boto(decoding), uuid.uuid4().hex
    etag = client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm=algorithm)["ETag"]
    found = direct.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert (found["ETag"], found["Body"].read() == body, found.get("ContentEncoding")) == (etag, True, None)
    assert found.get(f"Checksum{algorithm}") == (None if body is BODY else checksum(algorithm, body))
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == body


def test_boto3_transfers_through_a_decoding_gateway(decoding, direct, bucket):
    """The transfer manager's parts, sent at once and each with its trailer, come together right."""
    body, key = os.urandom(17 * 2**20), uuid.uuid4().hex
    boto(decoding).upload_fileobj(io.BytesIO(body), bucket, key)
    assert (
        hashlib.sha256(direct.get_object(Bucket=bucket, Key=key)["Body"].read()).digest()
        == hashlib.sha256(body).digest()
    )
