"""A copy from one backend to another is whole or not at all, whatever its source does meanwhile."""

from __future__ import annotations

import contextlib
import re
import threading

import pytest

from gateway.backends import crossing
from gateway.backends.backend import Backend
from gateway.backends.endpoints import BackendSettings
from gateway.backends.exchange import Exchange
from gateway.backends.places import Places, Rule
from gateway.backends.seal import Seal
from gateway.backends.stores import Stores
from gateway.signing.sigv4 import SigningKeys
from gateway.wire import answer as wire_answer
from gateway.wire import plane
from iam.model import Secret
from tests.servers.processes import BACKEND
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.front import serve

HEAD = "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
COPY = {"x-amz-copy-source": "/from/k"}


def answer(length: int, body: bytes, more: str = "") -> bytes:
    """Return an answer that announces a length and hangs up after these bytes."""
    return HEAD.format(length=length, more=more).encode() + body


@pytest.fixture
async def across(weed):
    """A gateway with a scripted source, a real store, and another scripted destination."""
    source, taker = RecordingBackend(), RecordingBackend()
    async with contextlib.AsyncExitStack() as stack:
        front = await serve(stack, source.endpoint)
        keys, places = SigningKeys(), {"from": source.endpoint, "real": weed.endpoint, "taker": taker.endpoint}
        exchanges = {
            name: Exchange(
                Backend(BackendSettings(url, "us-east-1", "path", "root", name=name), BACKEND, front.plane.pool, keys),
                keys,
            )
            for name, url in places.items()
        }
        rules = [Rule("from", "from", "a", "hidden", "deep/"), Rule("taker", "taker", "b"), Rule("*", "real", "c")]
        stores = Stores(Places(rules), exchanges, Seal(Secret("root-secret")))
        front.desk.backend = stores
        front.source, front.taker = source, taker
        yield front
    source.close()
    taker.close()


@pytest.fixture
def bucket(direct):
    """A bucket of the real store."""
    name = "across-target"
    with contextlib.suppress(direct.exceptions.BucketAlreadyOwnedByYou, direct.exceptions.BucketAlreadyExists):
        direct.create_bucket(Bucket=name)
    return name


def keys_of(direct, bucket: str) -> list[str]:
    return [one["Key"] for one in direct.list_objects_v2(Bucket=bucket).get("Contents", ())]


@pytest.mark.parametrize("there", [0, 1, 50_000, 99_999])
async def test_a_source_that_breaks_off_leaves_no_object(across, direct, bucket, there):
    """The destination was told the whole length: short of it there is no object, and the client hears of it."""
    across.source.answer = answer(100_000, b"x" * there)
    told = await across.call("PUT", f"/{bucket}/cut-{there}", COPY)
    assert (told.status, told.code) == (503, "ServiceUnavailable")
    assert f"cut-{there}" not in keys_of(direct, bucket)
    across.source.answer = answer(100_000, b"x" * 100_000)
    assert (await across.call("PUT", f"/{bucket}/whole-{there}", COPY)).status == 200
    assert direct.get_object(Bucket=bucket, Key=f"whole-{there}")["Body"].read() == b"x" * 100_000


async def test_what_the_destination_sees_of_a_source_that_breaks_off(across):
    """A request whose body is short of its Content-Length: no store takes that for an upload."""
    length = 2**24  # more than any buffer between them, so that a part of it has gone on
    across.source.answer = answer(length, b"x" * (length // 2))
    assert (await across.call("PUT", "/taker/k", COPY)).status == 503
    (upload,) = across.taker.signed
    assert upload.headers["content-length"] == str(length)
    assert len(upload.body) < length
    assert not upload.complete


async def test_the_source_is_read_at_its_place(across):
    """The read goes to the bucket and prefix behind the name, signed for that backend, with the copy's conditions."""
    across.source.answer = answer(1, b"x", 'x-amz-version-id: v1\r\nETag: "e"\r\nx-amz-meta-a: b\r\nx-secret: no\r\n')
    conditions = {"x-amz-copy-source-if-match": '"e"', "x-amz-copy-source-range": "bytes=0-0"}
    told = await across.call(
        "PUT", "/taker/k", {**COPY, **conditions, "x-amz-storage-class": "GLACIER", "x-amz-checksum-crc32": "AAAAAA=="}
    )
    assert told.status == 200
    assert told.headers["x-amz-copy-source-version-id"] == "v1"
    (read,), (write,) = across.source.signed, across.taker.signed
    assert read.line == "GET /hidden/deep/k HTTP/1.1"
    assert read.headers["if-match"] == '"e"'
    assert "range" not in read.headers  # CopyObject has none; only a part's copy has
    assert write.line == "PUT /taker/k HTTP/1.1"
    assert (write.headers["x-amz-meta-a"], write.headers["x-amz-storage-class"]) == ("b", "GLACIER")
    assert (
        not {"x-secret", "x-amz-checksum-crc32", "x-amz-copy-source", "x-amz-copy-source-if-match"}
        & write.headers.keys()
    )
    assert write.body == b"x"


@pytest.mark.parametrize("directive", ["COPY", "REPLACE"])
@pytest.mark.parametrize(("kept", "sent"), [("aws-chunked", None), ("gzip,aws-chunked", "gzip"), ("gzip", "gzip")])
async def test_trap_12_framing_is_no_encoding_of_a_copy(across, directive, kept, sent):
    """aws-chunked that a store kept, or that a client says again, is not written as the copy's Content-Encoding."""
    said = {
        "COPY": f"Content-Encoding: {kept}\r\nContent-Language: source\r\n",
        "REPLACE": "Content-Encoding: br\r\nContent-Language: source\r\n",
    }
    across.source.answer = answer(1, b"x", said[directive])
    headers = {"content-encoding": kept if directive == "REPLACE" else "br", "content-language": "asked"}
    told = await across.call("PUT", "/taker/k", {**COPY, **headers, "x-amz-metadata-directive": directive})
    assert told.status == 200
    (write,) = across.taker.signed
    assert write.headers.get("content-encoding") == sent
    assert write.headers["content-language"] == {"COPY": "source", "REPLACE": "asked"}[directive]


@pytest.mark.parametrize("operation", ["/taker/k", "/taker/k?partNumber=1&uploadId=u"])
async def test_a_source_above_five_gib_is_refused(across, operation):
    """As S3 refuses it, before the destination hears of anything."""
    across.source.answer = answer(crossing.MAX_COPY + 1, b"x")
    told = await across.call("PUT", operation, COPY)
    assert (told.status, told.code) == (400, "InvalidRequest")
    assert b"5368709120" in told.body
    assert across.taker.signed == []


@pytest.mark.parametrize("side", ["x-amz-copy-source-", "x-amz-"])
async def test_customer_keys_do_not_cross_in_the_clear(across, side):
    """Keys of the client's for either side (SSE-C) are refused over plain HTTP, as for any request; neither side sees one."""
    across.source.answer = answer(1, b"x")
    told = await across.call("PUT", "/taker/k", {**COPY, f"{side}server-side-encryption-customer-key": "c2VjcmV0"})
    assert (told.status, told.code) == (400, "InvalidRequest")
    assert across.taker.signed == []
    assert "c2VjcmV0" not in str(across.source.requests)


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 500, "InternalError"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 412, "PreconditionFailed"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", 500, "InternalError"),
        (answer(1, b"x", "x-amz-tagging-count: 1\r\n"), 500, "InternalError"),
        (b"", 503, "ServiceUnavailable"),
    ],
)
async def test_a_source_that_cannot_be_copied_is_an_error(across, head, status, code):
    """No length, a failed condition, a redirect, tags that cannot be read, no answer: the destination hears of nothing."""
    across.source.answer = head
    told = await across.call("PUT", "/taker/k", COPY)
    assert (told.status, told.code) == (status, code)
    assert across.taker.signed == []


async def test_an_error_of_either_side_tells_nothing_of_its_place(across):
    """The client sees the backend's code with the gateway's names."""
    document = b"<Error><Code>NoSuchKey</Code><Message>hidden/deep/k</Message><Key>deep/k</Key><BucketName>hidden</BucketName></Error>"
    across.source.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(document) + document
    told = await across.call("PUT", "/taker/k", COPY)
    assert (told.status, told.code) == (404, "NoSuchKey")
    assert b"hidden" not in told.body
    assert b"deep" not in told.body


async def test_a_destination_that_refuses_is_the_answer(across):
    """What the destination says to the upload is what the copy's client hears."""
    across.source.answer = answer(1, b"x")
    document = b"<Error><Code>QuotaExceeded</Code><Message>full</Message></Error>"
    across.taker.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(document) + document
    told = await across.call("PUT", "/taker/k", COPY)
    assert (told.status, told.code) == (403, "QuotaExceeded")


@pytest.mark.parametrize("whole", [True, False])
async def test_a_long_copy_keeps_its_client(across, monkeypatch, whole):
    """White space comes while a copy runs, then the result, or an Error document after the 200, as S3 does it."""
    monkeypatch.setattr(wire_answer, "PATIENCE", 0.02)
    monkeypatch.setattr(plane, "TICK", 0.01)
    seen, scripted = threading.Event(), answer(10, b"x" * (10 if whole else 9))
    across.source.answer = lambda _: scripted if seen.wait(30) else b""
    url, begin = f"http://127.0.0.1:{across.port}/taker/k", b'<?xml version="1.0" encoding="UTF-8"?>\n  '
    async with across.client.put(url, headers=across.headers("PUT", "/taker/k", COPY)) as told:
        assert told.status == 200
        assert await told.content.readexactly(len(begin)) == begin
        seen.set()
        body = (await told.read()).strip()
    code = "" if whole else "ServiceUnavailable"
    assert re.match(rb"<(\w+)", body)[1] == (b"CopyObjectResult" if whole else b"Error")
    assert (b"<LastModified>" if whole else b"<Code>ServiceUnavailable</Code>") in body
    assert b"<?xml" not in body
    assert (await across.lines())[-1]["error"] == code
