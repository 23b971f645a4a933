"""Headers that change what S3 does: encryption keys, conditions, ranges, overrides; the store's answer is the oracle."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from email.utils import formatdate
from urllib.parse import quote

import pytest

from gateway.s3.operations import table
from tests.clients.payloads import Answer, Side, exchange, sign
from tests.clients.test_tls import secure
from tests.servers.processes import BACKEND, ROOT_PASSWORD, ROOT_USER, GatewayProcess
from tests.servers.recording import RecordingBackend

__all__ = ["secure"]  # a fixture: a gateway that speaks TLS before the store

ROOT = {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD}
BODY = b"0123456789" * 10
ETAG = f'"{hashlib.md5(BODY).hexdigest()}"'
KEY = bytes(range(32))
CUSTOMER = {
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
    "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),
}
SOURCE = {name.replace("x-amz-", "x-amz-copy-source-", 1): value for name, value in CUSTOMER.items()}
KMS = {
    "x-amz-server-side-encryption": "aws:kms:dsse",
    "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:123456789012:key/a+b/c=",
    "x-amz-server-side-encryption-context": base64.b64encode(json.dumps({"a": "b"}).encode()).decode(),
    "x-amz-server-side-encryption-bucket-key-enabled": "true",
}
ENCRYPTION = {**CUSTOMER, **SOURCE, **KMS}


@pytest.fixture(scope="module")
def backend():
    """A backend that records every byte."""
    server = RecordingBackend()
    yield server
    server.close()


@pytest.fixture(scope="module")
def edge(servers, backend):
    """A gateway before the recording backend, behind a proxy that ends TLS."""
    server = GatewayProcess(servers / "headers", backend.endpoint, MINIO_GW_TRUSTED_PROXIES="127.0.0.0/8").start()
    yield Side.of(server.endpoint, ROOT)
    server.close()


def encrypting() -> list[tuple[str, str, str, dict[str, str]]]:
    """Return (operation, method, target, headers) of every operation of the model that knows an encryption header."""
    found = []
    for operations in table().values():
        for operation in operations:
            known = {name: value for name, value in ENCRYPTION.items() if name in operation.headers}
            query = [*operation.static, *((name, "1") for name in sorted(operation.needs_query))]
            text = "&".join(f"{name}={value}" for name, value in query)
            target = {"service": "/", "bucket": "/bkt", "object": "/bkt/k"}[operation.level] + (
                f"?{text}" if text else ""
            )
            needed = {n: "/bkt/source" if n == "x-amz-copy-source" else "v" for n in operation.needs_headers}
            if known:
                found.append((operation.name, operation.method, target, {**needed, **known}))
    return found


def test_the_model_has_the_operations_we_think_of():
    """The list below is not empty by mistake."""
    names = {name for name, *_ in encrypting()}
    assert names >= {"GetObject", "HeadObject", "PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy",
                     "CompleteMultipartUpload", "SelectObjectContent", "GetObjectAttributes", "ListParts"}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "target", "headers"), [pytest.param(*rest, id=name) for name, *rest in encrypting()]
)
def test_encryption_headers_cross_intact(edge, backend, method, target, headers):
    """SSE-C and SSE-KMS headers reach the backend as they were signed, when the proxy says that TLS protected them."""
    backend.requests.clear()
    signed = sign(edge, method, target, headers) | {"X-Forwarded-Proto": "https"}
    assert exchange(edge, method, target, signed).status == 200
    sent = backend.signed[0].headers
    assert {n: v for n, v in sent.items() if "encryption" in n} == {
        n: v for n, v in headers.items() if "encryption" in n
    }
    assert all(name in sent["authorization"] for name in headers if "encryption" in name)


@pytest.mark.parametrize("proto", ["http", ""])
@pytest.mark.parametrize("name", [*CUSTOMER, *SOURCE])
def test_customer_keys_over_plain_http_are_refused(edge, backend, name, proto):
    """A key that crossed a network in the clear is S3's InvalidRequest, and goes no further."""
    backend.requests.clear()
    headers = {name: ENCRYPTION[name]} | ({"x-amz-copy-source": "/bkt/source"} if "source" in name else {})
    signed = sign(edge, "PUT", "/bkt/k", headers) | ({"X-Forwarded-Proto": proto} if proto else {})
    answer = exchange(edge, "PUT", "/bkt/k", signed)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert b"secure connection" in answer.body
    assert not backend.signed


def test_managed_keys_need_no_tls(edge, backend):
    """SSE-S3 and SSE-KMS name keys and hold none: they cross whatever the connection."""
    backend.requests.clear()
    assert exchange(edge, "PUT", "/bkt/k", sign(edge, "PUT", "/bkt/k", KMS)).status == 200
    assert {n: v for n, v in backend.signed[0].headers.items() if "encryption" in n} == KMS


@pytest.fixture(scope="module")
def store(weed):
    """The store itself: the oracle."""
    return Side.of(weed.endpoint, {"accessKey": BACKEND.access_key_id, "secretKey": BACKEND.secret.reveal()})


@pytest.fixture(scope="module")
def through(gateway, app_credentials):
    """The gateway, with temporary credentials."""
    return Side.of(gateway.endpoint, app_credentials)


@pytest.fixture(scope="module")
def bucket(direct):
    """A bucket with one object."""
    name = f"headers-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    direct.put_object(Bucket=name, Key="k", Body=BODY, ContentType="text/x-test", CacheControl="no-cache")
    yield name
    for found in direct.list_objects_v2(Bucket=name).get("Contents", []):
        direct.delete_object(Bucket=name, Key=found["Key"])
    direct.delete_bucket(Bucket=name)


def test_customer_keys_work_over_tls(secure, store, bucket):
    """An object encrypted with the client's key comes back with that key, and with no other, through TLS."""
    side = Side.of(secure.endpoint, ROOT, secure.trust)
    target = f"/{bucket}/encrypted"
    put = exchange(side, "PUT", target, sign(side, "PUT", target, CUSTOMER), BODY)
    direct = exchange(store, "PUT", target + "2", sign(store, "PUT", target + "2", CUSTOMER), BODY)
    assert (put.status, put.code) == (direct.status, direct.code) == (200, "")
    got = exchange(side, "GET", target, sign(side, "GET", target, CUSTOMER))
    assert (got.status, got.body) == (200, BODY)
    assert got.headers["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    for other in ("", "2"):
        without = [exchange(s, "GET", target + other, sign(s, "GET", target + other)) for s in (side, store)]
        assert len({(a.status, a.code) for a in without}) == 1
        assert without[0].status == 400


SEEN = ("etag", "content-length", "content-range", "content-type", "accept-ranges", "last-modified", "cache-control",
        "content-disposition", "content-encoding", "content-language", "expires")  # fmt: skip


def seen(answer: Answer) -> tuple:
    """Return what a client goes by: of an error its code, of anything else its headers and its body."""
    if answer.code:
        return answer.status, answer.code
    headers = {name: answer.headers.get(name) for name in SEEN}
    body = answer.body
    if (headers["content-type"] or "").startswith("multipart/byteranges"):
        boundary = headers["content-type"].partition("boundary=")[2]
        headers["content-type"] = headers["content-type"].replace(boundary, "B")
        body = body.replace(boundary.encode(), b"B")
    return answer.status, headers, re.sub(rb"<LastModified>.*?</LastModified>", b"", body)


def both(store, through, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> tuple:
    """Return what both sides answer, which must be the same."""
    answers = [seen(exchange(s, method, target, sign(s, method, target, headers), body)) for s in (store, through)]
    assert answers[1] == answers[0]
    return answers[1]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("given", "status"),
    [("bytes=0-0", 206), ("bytes=10-19", 206), ("bytes=95-", 206), ("bytes=-5", 206), ("bytes=50-5000", 206), ("bytes=0-1,5-6", None),
     ("bytes=100-", 416), ("bytes=-0", None), ("bytes=5-1", None), ("bytes=x", None), ("items=0-1", None), ("", None)],
)  # fmt: skip
def test_ranges(store, through, bucket, method, given, status):
    """Every kind of Range, good, beyond the end, or senseless, gets the store's own answer."""
    answer = both(store, through, method, f"/{bucket}/k", {"Range": given})
    assert status in {None, answer[0]} or method == "HEAD"  # this store leaves a HEAD's Range aside


PAST, FUTURE = "Sat, 01 Jan 2000 00:00:00 GMT", formatdate(4102444800, usegmt=True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [({"If-Match": ETAG}, 200), ({"If-Match": '"x"'}, 412), ({"If-Match": f'"x", {ETAG}'}, None), ({"If-Match": "*"}, 200),
     ({"If-None-Match": ETAG}, 304), ({"If-None-Match": '"x"'}, 200), ({"If-None-Match": "*"}, 304),
     ({"If-Modified-Since": PAST}, 200), ({"If-Modified-Since": FUTURE}, None), ({"If-Modified-Since": "x"}, None),
     ({"If-Unmodified-Since": PAST}, 412), ({"If-Unmodified-Since": FUTURE}, 200),
     ({"If-Match": ETAG, "Range": "bytes=1-2"}, 206), ({"If-Range": ETAG, "Range": "bytes=1-2"}, 206), ({"If-Range": '"x"', "Range": "bytes=1-2"}, None)],
)  # fmt: skip
def test_conditional_reads(store, through, bucket, method, headers, status):
    """Conditions on a read are decided by the store; its 304, 412 and 200 come back as they are."""
    answer = both(store, through, method, f"/{bucket}/k", headers)
    assert status in {None, answer[0]} or (method == "HEAD" and "Range" in headers)


def test_the_condition_of_a_range_reaches_the_backend(edge, backend):
    """If-Range crosses with its Range: a download that is resumed must not get a part of another object."""
    backend.requests.clear()
    given = {"Range": "bytes=1-2", "If-Range": ETAG}
    exchange(edge, "GET", "/bkt/k", sign(edge, "GET", "/bkt/k", given))
    assert {n: backend.signed[0].headers[n.lower()] for n in given} == given


@pytest.mark.parametrize(
    ("headers", "key", "status"),
    [({"If-None-Match": "*"}, "k", 412), ({"If-None-Match": "*"}, "new", 200), ({"If-Match": ETAG}, "k", 200), ({"If-Match": '"x"'}, "k", 412),
     ({"If-Match": ETAG}, "new", None), ({"If-None-Match": ETAG}, "k", None)],
)  # fmt: skip
def test_conditional_writes(store, through, direct, bucket, headers, key, status):
    """A condition on a PUT is the store's to decide: no client overwrites what it must not."""
    outcomes = []
    for side in (store, through):
        direct.put_object(Bucket=bucket, Key="k", Body=BODY, ContentType="text/x-test", CacheControl="no-cache")
        direct.delete_object(Bucket=bucket, Key="new")
        answer = exchange(side, "PUT", f"/{bucket}/{key}", sign(side, "PUT", f"/{bucket}/{key}", headers), BODY)
        outcomes.append((answer.status, answer.code, answer.headers.get("etag")))
    assert outcomes[1] == outcomes[0]
    assert status in {None, outcomes[1][0]}
    direct.put_object(Bucket=bucket, Key="k", Body=BODY, ContentType="text/x-test", CacheControl="no-cache")


@pytest.mark.parametrize("header", ["match", "none-match", "modified-since", "unmodified-since"])
@pytest.mark.parametrize("holds", [True, False])
def test_conditional_copies(store, through, bucket, header, holds):
    """x-amz-copy-source-if-… reach the store, which decides."""
    good = {"match": ETAG, "none-match": '"x"', "modified-since": PAST, "unmodified-since": FUTURE}
    bad = {"match": '"x"', "none-match": ETAG, "modified-since": FUTURE, "unmodified-since": PAST}
    headers = {"x-amz-copy-source": f"/{bucket}/k", f"x-amz-copy-source-if-{header}": (good if holds else bad)[header]}
    answers = [
        exchange(s, "PUT", f"/{bucket}/copy", sign(s, "PUT", f"/{bucket}/copy", headers)) for s in (store, through)
    ]
    assert len({(a.status, a.code, b"CopyObjectResult" in a.body) for a in answers}) == 1
    if holds:
        assert answers[1].status == 200


OVERRIDES = {
    "response-content-type": "text/x-ümlaut; a=b",
    "response-content-disposition": 'attachment; filename="a b+c.txt"',
    "response-content-encoding": "x-coding",
    "response-content-language": "de, en",
    "response-cache-control": "max-age=1, private",
    "response-expires": FUTURE,
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("names", [[name] for name in OVERRIDES] + [list(OVERRIDES)], ids=len)
def test_response_overrides(store, through, bucket, method, names):
    """response-… parameters of a signed read change the answer's headers exactly as the store changes them."""
    values = {name: OVERRIDES[name].encode().decode("ascii", "ignore") for name in names}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())
    answer = both(store, through, method, f"/{bucket}/k?{query}", {})
    assert answer[0] == 200
    assert {name: answer[1][name.removeprefix("response-")] for name in names} == values
