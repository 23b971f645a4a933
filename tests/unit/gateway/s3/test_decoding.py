"""decoding: to a backend without aws-chunked goes a plain request, which says nothing of the framing."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from gateway.errors import InvalidRequest
from gateway.s3.authenticate import authenticate
from gateway.s3.decoding import comes_whole, plain, without_framing
from gateway.s3.operations import resolve
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.forward import build
from tests.unit.gateway.signers import UNSIGNED, lookup, signed
from tests.unit.gateway.stories.test_forward import BACKEND, PLAIN, TRAILER, botos_authorization, forwarded


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("aws-chunked", ""),
        ("gzip", "gzip"),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, aws-chunked , br", "gzip,br"),
        ("", ""),
        ("a , b", "a , b"),
    ],
)
def test_only_the_framing_is_taken_out_of_an_encoding(given, left):
    """aws-chunked goes, every other coding stays; without it nothing is touched."""
    assert without_framing(given) == left


@pytest.mark.parametrize("name", ["x-amz-meta-late", "x-amz-acl", "x-amz-checksum-mode", "content-type", "host"])
def test_no_header_but_a_checksum_may_come_as_a_trailer(name):
    """A trailer that is no checksum is refused: nobody has judged it when it comes."""
    headers = {
        "x-amz-decoded-content-length": "2",
        "x-amz-trailer": f"x-amz-checksum-crc32,{name}",
        "Content-Length": "9",
    }
    request, now = signed("PUT", "/bkt/k", headers, payload=TRAILER)
    with pytest.raises(InvalidRequest, match="x-amz-trailer"):
        forwarded(request, now)


DECODING = replace(PLAIN, aws_chunked=False)


@pytest.mark.parametrize(
    ("encoding", "left"),
    [("aws-chunked", None), ("gzip, aws-chunked", "gzip"), ("aws-chunked,gzip", "gzip"), ("", None)],
)
def test_a_decoded_stream_says_nothing_of_its_framing(encoding, left):
    """To a backend without aws-chunked the payload goes at its own length, unsigned, its encoding kept."""
    headers = {"x-amz-decoded-content-length": "2", "x-amz-trailer": "x-amz-checksum-crc32", "Content-Length": "44",
               "x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-meta-a": "1", "Content-Encoding": encoding}  # fmt: skip
    sent = forwarded(*signed("PUT", "/bkt/k", headers, payload=TRAILER), DECODING)
    assert (sent.length, sent.body) == (2, None)
    assert {n: v for n, v in sent.headers.items() if n not in {"authorization", "x-amz-date", "host"}} == {
        "x-amz-content-sha256": UNSIGNED, "x-amz-meta-a": "1",
    } | ({"content-encoding": left} if left else {})  # fmt: skip
    assert sent.headers["authorization"] == botos_authorization(sent, BACKEND)
    assert sent.relay.feed(b"2\r\nab\r\n0\r\nx-amz-checksum-crc32:noNIbQ==\r\n\r\n") == b"ab"
    with pytest.raises(InvalidRequest):
        sent.relay.feed(b"more")


def test_a_small_decoded_body_takes_its_checksum_along():
    """A payload that is there is covered by its hash, and its trailer becomes a header."""
    crc = {"x-amz-checksum-crc32": "noNIbQ=="}
    headers = {
        "x-amz-decoded-content-length": "2",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-sdk-checksum-algorithm": "CRC32",
    }
    request, now = signed("PUT", "/bkt/k", headers, payload=TRAILER)
    caller = authenticate(request, lookup, SigningKeys(), now=now)
    assert comes_whole(caller)
    assert not comes_whole(caller._replace(decoded_length=None))
    assert not comes_whole(caller._replace(decoded_length=2**20 + 1))
    small, caller = plain(request, caller, b"ab", crc)
    sent = build(small, resolve(small), caller, target=DECODING, credentials=BACKEND, keys=SigningKeys(), now=now)
    assert (sent.length, sent.relay) == (2, None)
    assert sent.headers["x-amz-content-sha256"] == sha256(b"ab").hexdigest()
    assert {n: sent.headers[n] for n in crc} == crc
    assert sent.headers["x-amz-sdk-checksum-algorithm"] == "CRC32"
    assert not sent.headers.keys() & {"x-amz-trailer", "x-amz-decoded-content-length"}
