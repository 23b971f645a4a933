"""Every payload mode with every checksum algorithm: at the store, through the gateway, and through one that decodes."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from itertools import accumulate
from urllib.parse import urlsplit

import pytest

from tests.clients.payloads import (
    ALGORITHMS,
    MODES,
    SIGNED,
    SIGNED_TRAILER,
    UNSIGNED_TRAILER,
    Side,
    Upload,
    checksum,
    exchange,
    get,
    put,
    sign,
)
from tests.servers.processes import BACKEND, ROOT_PASSWORD, ROOT_USER, GatewayProcess
from tests.servers.recording import RecordingBackend

SMALL, LARGE = os.urandom(100_000), os.urandom(3 * 2**19)  # sent whole, and in a stream, by a gateway that decodes
ROOT = {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD}
#: Where a checksum may stand. A trailer mode without a trailer and a trailer without its mode are other tests.
PLACES = [(mode, "trailer" if mode.endswith("TRAILER") else "header") for mode in MODES]


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
    """A gateway that decodes aws-chunked."""
    server = GatewayProcess(servers / "decoding", weed.endpoint, MINIO_GW_BACKEND_AWS_CHUNKED="off").start()
    yield Side.of(server.endpoint, ROOT)
    server.close()


@pytest.fixture(scope="module")
def bucket(direct):
    """A bucket, emptied and removed afterwards."""
    name = f"payload-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    yield name
    while found := direct.list_objects_v2(Bucket=name).get("Contents"):
        direct.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in found]})
    direct.delete_bucket(Bucket=name)


@pytest.fixture
def outcome(store, bucket):
    """What an upload comes to: the answer, and the object that is then at the store."""

    def of(side, upload):
        target = f"/{bucket}/{uuid.uuid4().hex}"
        answer, found = put(side, target, upload), get(store, target)
        kept = found.body == upload.body if found.status == 200 else None
        return answer.status, answer.code, answer.headers.get("etag"), answer.checksums, kept, found.headers.get("etag")

    return of


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("mode", "place"), [*PLACES, (UNSIGNED_TRAILER, "header")])
def test_a_checksum_is_treated_as_the_store_treats_it(outcome, store, through, mode, place, algorithm):
    """Right or wrong, header or trailer: same answer, same ETag, same checksums, same bytes; wrong leaves no object."""
    upload = Upload(mode, SMALL, algorithm, place)
    assert outcome(through, upload) == outcome(store, upload)
    refused = outcome(through, upload.wrong())
    assert refused == outcome(store, upload.wrong())
    assert (refused[0], refused[4]) == (400, None)


@pytest.mark.parametrize("body", [b"", b"x", SMALL, LARGE], ids=len)
@pytest.mark.parametrize("mode", MODES)
def test_a_payload_is_stored_as_it_is(outcome, store, through, decoding, mode, body):
    """In each mode, at each size, the payload is stored, with the store's own ETag; decoding makes no difference."""
    upload = Upload(mode, body, "CRC32", "trailer") if mode.endswith("TRAILER") else Upload(mode, body)
    expected = outcome(store, upload)
    assert expected[0] == 200
    assert outcome(through, upload) == expected
    found = outcome(decoding, upload)
    assert found[:3] + found[4:] == expected[:3] + expected[4:]
    assert found[4:] == (True, f'"{hashlib.md5(body).hexdigest()}"')


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("mode", "place"), [(m, p) for m, p in PLACES if m.startswith("STREAMING-")])
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=len)
def test_a_decoding_gateway_verifies_every_checksum(outcome, store, decoding, mode, place, algorithm, body):
    """It accepts what is right and the store does not refuse; what is wrong is a BadDigest and no object."""
    upload = Upload(mode, body, algorithm, place)
    found, expected = outcome(decoding, upload), outcome(store, upload)
    if place == "trailer" and body is LARGE:
        # The store is not told of the checksum, which came too late: it can neither keep nor refuse it.
        assert (found[0], found[4], found[5]) == (200, True, f'"{hashlib.md5(body).hexdigest()}"')
    else:
        assert found == expected
    refused = outcome(decoding, upload.wrong())
    assert (refused[:2], refused[4]) == ((400, "BadDigest"), None) or place == "header"
    assert (refused[0], refused[4]) == (400, None)


@pytest.mark.parametrize("side", ["through", "decoding"])
@pytest.mark.parametrize("mode", MODES[2:])
def test_trap_12_no_framing_is_kept(request, store, bucket, side, mode):
    """No part of the framing is in the object read through the gateway, whatever was said of other encodings."""
    side = request.getfixturevalue(side)
    for encoding, left in (("aws-chunked", None), ("gzip,aws-chunked", "gzip")):
        target = f"/{bucket}/{uuid.uuid4().hex}"
        upload = Upload(mode, SMALL, "CRC32", "trailer") if mode.endswith("TRAILER") else Upload(mode, SMALL)
        headers = sign(side, "PUT", target, {**upload.head(), "content-encoding": encoding})
        assert exchange(side, "PUT", target, headers, upload.framed(headers, side.keys)).status == 200
        found = get(side, target)
        assert (found.body == SMALL, found.headers.get("content-encoding")) == (True, left)


@pytest.mark.parametrize(
    "mode", ["STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"]
)
def test_ecdsa_is_refused_by_name(through, bucket, mode):
    """Signature V4A's payload modes are refused with S3's NotImplemented, which says what is missing."""
    headers = sign(through, "PUT", f"/{bucket}/k", {"X-Amz-Content-SHA256": mode, "x-amz-decoded-content-length": "1"})
    answer = exchange(through, "PUT", f"/{bucket}/k", headers, b"1\r\nx\r\n0\r\n\r\n")
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert b"ECDSA" in answer.body


@pytest.fixture(scope="module")
def backend():
    """A backend that records every byte."""
    server = RecordingBackend()
    yield server
    server.close()


@pytest.fixture(scope="module")
def recorded(servers, backend):
    """A decoding gateway before the recording backend."""
    server = GatewayProcess(servers / "recorded", backend.endpoint, MINIO_GW_BACKEND_AWS_CHUNKED="off").start()
    yield Side.of(server.endpoint, ROOT)
    server.close()


def whole_ones(backend) -> list:
    """Return the requests that came whole; the head of one cut earlier may still arrive."""
    return [r for r in backend.signed if r.complete]


def framing(upload: Upload, body: bytes) -> list[int]:
    """Return the positions of a framed body's framing bytes, its end left out."""
    head = len(body) - len(upload.body)
    assert head > 0
    chunks = [upload.body[at : at + upload.chunk] for at in range(0, len(upload.body), upload.chunk)]
    places, at = [], 0
    for chunk in chunks:
        start = body.index(chunk, at)
        places += range(at, start)
        at = start + len(chunk)
    return [*places, *range(at, len(body))]


@pytest.mark.parametrize("mode", [UNSIGNED_TRAILER, SIGNED, SIGNED_TRAILER])
def test_trap_11_a_decoded_upload_cut_anywhere_is_no_object(recorded, backend, mode):
    """Cut at each byte of its framing, a small upload does not reach the backend, a large one stays short there."""
    for body, chunk in ((b"small body", 6), (LARGE, 2**19)):
        upload = Upload(mode, body, "" if mode == SIGNED else "CRC64NVME", "trailer", chunk=chunk)
        signed = sign(recorded, "PUT", "/bkt/k", upload.head())
        whole = upload.framed(signed, recorded.keys)
        backend.requests.clear()
        for end in framing(upload, whole):
            answer = exchange(recorded, "PUT", "/bkt/k", signed, whole[:end])
            assert (end, answer.status, answer.code) == (end, 400, "IncompleteBody")
        if body is LARGE:
            assert backend.signed
            assert not whole_ones(backend)
            assert {r.headers["content-length"] for r in backend.signed} == {str(len(LARGE))}
        else:
            assert not backend.signed
        backend.requests.clear()
        assert exchange(recorded, "PUT", "/bkt/k", signed, whole).status == 200
        assert [r.body == body for r in whole_ones(backend)] == [True]


@pytest.mark.parametrize("body", [b"small body", LARGE], ids=len)
@pytest.mark.parametrize("mode", [UNSIGNED_TRAILER, SIGNED_TRAILER])
def test_trap_11_a_connection_that_ends_leaves_no_object(recorded, backend, mode, body):
    """A client that goes away at the framing's last bytes, its length not reached, leaves the payload short."""
    upload = Upload(mode, body, "CRC32", "trailer", chunk=2**19)
    signed = sign(recorded, "PUT", "/bkt/k", upload.head())
    whole = upload.framed(signed, recorded.keys)
    host, _, port = urlsplit(recorded.endpoint).netloc.rpartition(":")
    lines = ["PUT /bkt/k HTTP/1.1", f"Host: {host}:{port}", f"Content-Length: {len(whole)}"]
    head = "\r\n".join([*lines, *(f"{n}: {v}" for n, v in signed.items()), "", ""]).encode()
    backend.requests.clear()
    for end in framing(upload, whole)[-60:]:
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(head + whole[:end])
            client.shutdown(socket.SHUT_WR)
            answer = client.makefile("rb").read()
        assert answer == b"" or b"<Code>IncompleteBody</Code>" in answer
    assert not whole_ones(backend)


def bad_ends(upload: Upload, whole: bytes) -> dict[str, bytes]:
    """Return a framed body with every kind of wrong end."""
    value, other = upload.value.encode(), checksum(upload.checksum, b"other").encode()
    line = f"{upload.name}:".encode() + value
    return {
        "other": whole.replace(value, other),
        "shorter": whole.replace(value, value[:-4]),
        "empty": whole.replace(value, b""),
        "missing": whole.replace(line + b"\r\n", b""),
        "twice": whole.replace(line, line + b"\r\n" + line),
        "renamed": whole.replace(upload.name.encode(), b"x-amz-checksum-sha1"),
        "another": whole.replace(line, line + b"\r\nx-amz-acl:public-read"),
        "more": whole + b"x",
        "spaced name": whole.replace(line, line.replace(b":", b" :")),
    }


@pytest.mark.parametrize("body", [b"", b"small body", LARGE], ids=len)
@pytest.mark.parametrize("mode", [UNSIGNED_TRAILER, SIGNED_TRAILER])
def test_trap_10_a_decoded_upload_with_a_wrong_end_is_no_object(recorded, backend, mode, body):
    """Whatever is wrong with the trailer, the backend does not get the whole payload."""
    upload = Upload(mode, body, "CRC32C", "trailer", chunk=2**20)
    signed = sign(recorded, "PUT", "/bkt/k", upload.head())
    for name, framed in bad_ends(upload, upload.framed(signed, recorded.keys)).items():
        backend.requests.clear()
        answer = exchange(recorded, "PUT", "/bkt/k", signed, framed)
        assert (name, answer.status in {400, 403}) == (name, True)
        assert not whole_ones(backend)


@pytest.mark.parametrize("mode", [SIGNED, SIGNED_TRAILER])
def test_trap_10_a_decoded_chunk_is_verified(recorded, backend, mode):
    """A chunk, first, later or last, whose bytes or signature changed is refused; the payload stays short."""
    upload = Upload(mode, LARGE, "" if mode == SIGNED else "SHA256", "trailer", chunk=2**19)
    signed = sign(recorded, "PUT", "/bkt/k", upload.head())
    whole = upload.framed(signed, recorded.keys)
    heads = [0, *accumulate(len(part) for part in whole.split(b";chunk-signature=")[:-1])]
    assert len(heads) == 5
    for nth in range(1, len(heads)):
        at = heads[nth] + (nth - 1) * len(b";chunk-signature=") + len(b";chunk-signature=")
        backend.requests.clear()
        changed = whole[:at] + (b"0" if whole[at : at + 1] != b"0" else b"1") + whole[at + 1 :]
        answer = exchange(recorded, "PUT", "/bkt/k", signed, changed)
        assert (nth, answer.status, answer.code) == (nth, 403, "SignatureDoesNotMatch")
        assert not whole_ones(backend)


def test_a_decoded_stream_is_unsigned_and_a_small_body_is_hashed(recorded, backend):
    """A stream is UNSIGNED-PAYLOAD at its decoded length; a small body comes with its hash and its checksum."""
    for body in (b"", b"small body", LARGE):
        backend.requests.clear()
        assert put(recorded, "/bkt/k", Upload(UNSIGNED_TRAILER, body, "XXHASH128", "trailer")).status == 200
        [sent] = [r.headers for r in whole_ones(backend)]
        small = body is not LARGE
        assert sent["content-length"] == str(len(body))
        assert sent["x-amz-content-sha256"] == (hashlib.sha256(body).hexdigest() if small else "UNSIGNED-PAYLOAD")
        assert sent.get("x-amz-checksum-xxhash128") == (checksum("XXHASH128", body) if small else None)
        assert not sent.keys() & {
            "content-encoding",
            "x-amz-trailer",
            "x-amz-decoded-content-length",
            "transfer-encoding",
        }
