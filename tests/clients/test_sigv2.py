"""Signature Version 2 stays refused, in its three places, with the words that AWS has for it and clients know."""

from __future__ import annotations

import urllib.error
import urllib.request
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.clients.payloads import Side, exchange
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess
from tests.servers.recording import RecordingBackend

SENTENCE = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."


@pytest.fixture(scope="module")
def backend():
    """A backend that records every byte."""
    server = RecordingBackend()
    yield server
    server.close()


@pytest.fixture(scope="module")
def edge(servers, backend, issuer):
    """A gateway before the recording backend."""
    server = GatewayProcess(servers / "sigv2", backend.endpoint, MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"])
    server.start()
    yield server
    server.close()


@pytest.fixture(params=["root", "session"])
def old(request, edge, issuer):
    """A boto3 client that signs by Version 2, with the root account's keys or with a session's."""
    from tests.conftest import credentials_for

    found = (
        {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD}
        if request.param == "root"
        else credentials_for(edge, issuer)
    )
    return boto3.client(
        "s3", endpoint_url=edge.endpoint, region_name="us-east-1", aws_access_key_id=found["accessKey"],
        aws_secret_access_key=found["secretKey"], aws_session_token=found.get("sessionToken"),
        config=Config(signature_version="s3", s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )  # fmt: skip


CALLS = [
    ("list_buckets", {}),
    ("list_objects_v2", {"Bucket": "bkt"}),
    ("get_object", {"Bucket": "bkt", "Key": "k"}),
    ("put_object", {"Bucket": "bkt", "Key": "k", "Body": b"body"}),
    ("delete_object", {"Bucket": "bkt", "Key": "k"}),
    ("create_multipart_upload", {"Bucket": "bkt", "Key": "k"}),
]


@pytest.mark.parametrize(("call", "given"), CALLS, ids=[name for name, _ in CALLS])
def test_header_signatures_are_refused(old, backend, call, given):
    """boto3 that signs headers by Version 2 is told InvalidRequest and which version to use; the backend hears nothing."""
    backend.requests.clear()
    seen = []
    old.meta.events.register("before-send.s3", lambda request, **_: seen.append(request.headers["Authorization"]))
    with pytest.raises(ClientError) as refused:
        getattr(old, call)(**given)
    assert (seen[0] if isinstance(seen[0], str) else seen[0].decode()).startswith("AWS ")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    error = refused.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("InvalidRequest", SENTENCE)
    assert not backend.signed


def test_a_head_is_refused_by_its_status(old, backend):
    """A HEAD has no body to say why: 400 alone."""
    backend.requests.clear()
    with pytest.raises(ClientError) as refused:
        old.head_object(Bucket="bkt", Key="k")
    assert refused.value.response["Error"]["Code"] == "400"
    assert not backend.signed


@pytest.mark.parametrize(
    ("call", "method"), [("get_object", "GET"), ("put_object", "PUT"), ("delete_object", "DELETE")]
)
def test_presigned_urls_are_refused(old, backend, call, method):
    """A URL presigned by Version 2 is refused in the same words."""
    backend.requests.clear()
    url = old.generate_presigned_url(call, {"Bucket": "bkt", "Key": "k"}, ExpiresIn=60)
    assert "AWSAccessKeyId=" in url
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, method=method))
    with refused.value as answer:
        body = answer.read().decode()
    assert (refused.value.code, "<Code>InvalidRequest</Code>" in body, SENTENCE in body) == (400, True, True)
    assert not backend.signed


def test_post_forms_are_refused(old, edge, backend):
    """A form whose policy is signed by Version 2 is refused and reaches nobody."""
    backend.requests.clear()
    made = old.generate_presigned_post("bkt", "k", ExpiresIn=60)
    assert {"AWSAccessKeyId", "signature"} <= made["fields"].keys()
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in made["fields"].items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nbody\r\n--{boundary}--\r\n'
    )
    side = Side.of(edge.endpoint, {"accessKey": "nobody", "secretKey": "nothing"})
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = exchange(side, "POST", "/bkt", headers, "".join(parts).encode())
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert not backend.signed


def test_no_mixture_of_versions_passes(edge, backend):
    """Version 2 beside a good Version 4 signature, in the header or in the URL, is refused: one request, one signature."""
    from tests.clients.payloads import sign

    backend.requests.clear()
    side = Side.of(edge.endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD})
    target = f"/bkt/k?AWSAccessKeyId={ROOT_USER}&Signature=c2lnbmF0dXJl&Expires=4102444800"
    assert exchange(side, "GET", target, sign(side, "GET", target)).code == "InvalidRequest"
    url = boto3.client(
        "s3", endpoint_url=edge.endpoint, region_name="us-east-1", aws_access_key_id=ROOT_USER,
        aws_secret_access_key=ROOT_PASSWORD, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    ).generate_presigned_url("get_object", {"Bucket": "bkt", "Key": "k"})  # fmt: skip
    answer = exchange(side, "GET", url.removeprefix(edge.endpoint), {"Authorization": f"AWS {ROOT_USER}:c2lnbmF0dXJl"})
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert not backend.signed


@pytest.mark.parametrize("version", ["s3v4a", "s3v4a-query"])
def test_version_4a_is_refused_by_name(edge, backend, version):
    """Signature V4A (ECDSA), which nobody but AWS's own regions verifies, is refused in words that name it."""
    backend.requests.clear()
    client = boto3.client(
        "s3", endpoint_url=edge.endpoint, region_name="us-east-1", aws_access_key_id=ROOT_USER,
        aws_secret_access_key=ROOT_PASSWORD,
        config=Config(signature_version="s3v4a", s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )  # fmt: skip
    if version == "s3v4a":
        with pytest.raises(ClientError) as refused:
            client.put_object(Bucket="bkt", Key="k", Body=b"x")
        error = refused.value.response["Error"]
        found = error["Code"], error["Message"]
    else:
        url = client.generate_presigned_url("get_object", {"Bucket": "bkt", "Key": "k"})
        assert "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256" in url
        side = Side.of(edge.endpoint, {"accessKey": "nobody", "secretKey": "nothing"})
        answer = exchange(side, "GET", url.removeprefix(edge.endpoint), {})
        found = answer.code, answer.body.decode()
    assert found[0] == "InvalidRequest"
    assert "SigV4A is not supported. Please use AWS4-HMAC-SHA256." in found[1]
    assert not backend.signed
