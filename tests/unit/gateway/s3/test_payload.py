"""payload: a body read whole is unframed, and every digest it came with is checked."""

from __future__ import annotations

import base64
from hashlib import md5, sha256
from urllib.parse import quote
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadDigest, S3Error
from gateway.s3.authenticate import authenticate
from gateway.s3.payload import verified
from gateway.signing.sigv4 import SigningKeys
from tests.unit.gateway.signers import lookup, presigned, signed
from tests.unit.gateway.signing.test_chunked import encode_unsigned

TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def payload(body: bytes, headers: dict[str, str], mode: str) -> bytes:
    """Return what is read of a body, with a signature over these headers."""
    request, now = signed("POST", "/bucket?delete", {"Content-Length": str(len(body)), **headers}, payload=mode)
    return verified(request, authenticate(request, lookup, SigningKeys(), now=now), body)


def crc(body: bytes) -> str:
    return base64.b64encode(crc32(body).to_bytes(4, "big")).decode()


@given(st.binary(max_size=300), st.booleans())
def test_a_digest_says_whether_the_body_is_whole(body, good):
    """The body comes back as it is when its digests are its own, and never otherwise."""
    digested = body if good else body + b"!"
    claims = [
        ({}, sha256(digested).hexdigest()),
        ({"Content-MD5": base64.b64encode(md5(digested).digest()).decode()}, "UNSIGNED-PAYLOAD"),
        ({"x-amz-checksum-crc32": crc(digested)}, "UNSIGNED-PAYLOAD"),
    ]
    for headers, mode in claims:
        if good:
            assert payload(body, headers, mode) == body
        else:
            with pytest.raises(S3Error):
                payload(body, headers, mode)


@pytest.mark.parametrize("good", [True, False])
def test_a_trailer_counts_as_a_header(good):
    """aws-chunked framing is taken off, and its trailing checksum is of the payload."""
    body = b"<Delete/>"
    trailer = crc(body if good else b"other")
    framed = encode_unsigned([body], [("x-amz-checksum-crc32", trailer)])
    headers = {"x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": "x-amz-checksum-crc32", "Content-Encoding": "aws-chunked"}  # fmt: skip
    if good:
        assert payload(framed, headers, TRAILER) == body
    else:
        with pytest.raises(S3Error):
            payload(framed, headers, TRAILER)


@pytest.mark.parametrize("place", ["x-amz-checksum-crc32", "X-Amz-Checksum-Crc32"])
@pytest.mark.parametrize("good", [True, False])
def test_a_checksum_in_a_presigned_url_counts_as_a_header(good, place):
    """SDKs write the checksum of a body that they presign into the URL: it is checked there, too."""
    body = b"<Delete/>"
    target = (
        f"/bucket?delete=&{place}={quote(crc(body if good else b'other'), safe='')}&x-amz-sdk-checksum-algorithm=CRC32"
    )
    request, now = presigned("POST", target)
    caller = authenticate(request, lookup, SigningKeys(), now=now)
    if good:
        assert verified(request, caller, body) == body
    else:
        with pytest.raises(BadDigest):
            verified(request, caller, body)
