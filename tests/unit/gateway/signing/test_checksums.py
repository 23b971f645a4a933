"""checksums: the published check values, and no body passes that differs from a digest its request names."""

from __future__ import annotations

import base64
import hashlib

import pytest
import xxhash
from botocore.httpchecksum import _CHECKSUM_CLS
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadDigest, InvalidDigest, InvalidRequest, S3Error, XAmzContentSHA256Mismatch
from gateway.signing.checksums import HEADERS, BodyCheck, new, verify_body

NAMES = (
    "crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256", "sha512", "xxhash3", "xxhash64", "xxhash128",
)  # fmt: skip
BODY = b"<Delete><Object><Key>a</Key></Object></Delete>"


def b64(name: str, body: bytes = BODY) -> str:
    """Return a checksum as its header carries it."""
    checksum = new(name)
    checksum.update(body)
    return checksum.base64()


def md5(body: bytes) -> str:
    """Return a Content-MD5."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("crc32", "cbf43926"),
        ("crc32c", "e3069283"),
        ("crc64nvme", "ae8b14860a799888"),
        ("md5", "25f9e794323b453885f5181f1b624d0b"),
        ("sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ("sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ],
)
def test_published_check_values_are_reproduced(name: str, expected: str) -> None:
    """The check value of "123456789" is the one its specification publishes."""
    checksum = new(name)
    checksum.update(b"123456789")
    assert checksum.digest().hex() == expected
    assert base64.b64decode(checksum.base64()).hex() == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), "8a9136aa"),
        (b"\xff" * 32, "62a8ab43"),
        (bytes(range(32)), "46dd794e"),
        (bytes(range(31, -1, -1)), "113fdb5c"),
    ],
)
def test_crc32c_reproduces_the_examples_of_rfc_3720(data: bytes, expected: str) -> None:
    """The CRC-32C examples of RFC 3720 appendix B.4 come out."""
    checksum = new("crc32c")
    checksum.update(data)
    assert checksum.digest().hex() == expected


@given(st.lists(st.binary(max_size=40), max_size=6), st.sampled_from(NAMES))
def test_pieces_do_not_matter(pieces: list[bytes], name: str) -> None:
    """A body fed in pieces has the checksum of the whole."""
    checksum = new(name)
    for piece in pieces:
        checksum.update(piece)
    assert checksum.base64() == b64(name, b"".join(pieces))


def reflected_crc(data: bytes, polynomial: int, bits: int) -> bytes:
    """Return a reflected CRC bit by bit, as its specification words it."""
    value = ones = (1 << bits) - 1
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
    return (value ^ ones).to_bytes(bits // 8, "big")


@given(st.binary(max_size=300))
def test_other_implementations_agree(data: bytes) -> None:
    """The CRCs are those of their polynomials (RFC 3720, NVM Command Set), the xxHashes those of their own library."""
    expected = {
        "crc32c": reflected_crc(data, 0x82F63B78, 32),
        "crc64nvme": reflected_crc(data, 0x9A6C9329AC4BC9B5, 64),
        "xxhash64": xxhash.xxh64_digest(data),
        "xxhash3": xxhash.xxh3_64_digest(data),
        "xxhash128": xxhash.xxh3_128_digest(data),
    }
    for name, digest in expected.items():
        assert b64(name, data) == base64.b64encode(digest).decode()


def test_every_algorithm_of_the_model_is_known() -> None:
    """Each name of the model's ChecksumAlgorithm is ours, and botocore computes the same wherever it computes at all."""
    algorithms = Loader().load_service_model("s3", "service-2")["shapes"]["ChecksumAlgorithm"]["enum"]
    assert {name.lower() for name in algorithms} == set(NAMES)
    assert {f"x-amz-checksum-{name}" for name in NAMES} == HEADERS
    assert set(NAMES) - {"md5"} == set(_CHECKSUM_CLS)
    for name, oracle in _CHECKSUM_CLS.items():
        assert b64(name) == oracle().handle(BODY)


def test_an_algorithm_nobody_knows_is_refused() -> None:
    """An unknown name raises InvalidRequest, and only then."""
    with pytest.raises(InvalidRequest):
        new("adler32")
    with pytest.raises(InvalidRequest):
        verify_body(BODY, {"x-amz-checksum-adler32": "AAAAAAAAAAA="})
    with pytest.raises(InvalidRequest):
        verify_body(BODY, {"x-amz-sdk-checksum-algorithm": "ADLER32"})


@pytest.mark.parametrize("name", NAMES)
def test_a_trailer_is_compared_at_the_end(name: str) -> None:
    """A body that passes in pieces is judged by the trailer that follows it: right, wrong, malformed or missing."""

    def passed(trailers: dict[str, str]) -> None:
        check = BodyCheck({"x-amz-trailer": header}, (header,))
        check.update(BODY[:9])
        check.update(BODY[9:])
        check.finish(trailers)

    header = f"x-amz-checksum-{name}"
    passed({header: b64(name)})
    with pytest.raises(BadDigest):
        passed({header: b64(name, b"other")})
    for malformed in ({header: "AAA"}, {header: ""}, {}):
        with pytest.raises(InvalidRequest):
            passed(malformed)


def test_a_checksum_in_header_and_trailer_is_refused() -> None:
    """Header and trailer together are two checksums, of one algorithm or of two."""
    for trailer in ("x-amz-checksum-crc32", "x-amz-checksum-sha1"):
        with pytest.raises(InvalidRequest, match="single"):
            BodyCheck({"x-amz-checksum-crc32": b64("crc32")}, (trailer,))


@pytest.mark.parametrize("name", NAMES)
def test_a_body_that_fits_its_checksum_passes_and_any_other_does_not(name: str) -> None:
    """Every algorithm accepts the body it was computed over, and refuses one changed bit."""
    headers = {f"x-amz-checksum-{name}": b64(name), "x-amz-sdk-checksum-algorithm": name.upper()}
    verify_body(BODY, headers)
    with pytest.raises(BadDigest):
        verify_body(bytes([BODY[0] ^ 1]) + BODY[1:], headers)


@pytest.mark.parametrize("value", ["", "AAAA", "====", "not base64!", "AAAAAA==\n", "AAAAAB==", "é", "AAAAAAAA"])
def test_a_malformed_checksum_is_refused(value: str) -> None:
    """A checksum of another length, or not written as base64 writes it, raises InvalidRequest."""
    with pytest.raises(InvalidRequest):
        verify_body(BODY, {"x-amz-checksum-crc32": value})


def test_headers_about_checksums_are_no_checksums() -> None:
    """x-amz-checksum-mode, -type and -algorithm carry no digest and are left alone."""
    verify_body(
        BODY,
        {"x-amz-checksum-mode": "ENABLED", "x-amz-checksum-type": "FULL_OBJECT", "x-amz-checksum-algorithm": "CRC32"},
    )


def test_two_checksums_are_refused() -> None:
    """S3 takes a single x-amz-checksum- header."""
    with pytest.raises(InvalidRequest, match="single"):
        verify_body(BODY, {"x-amz-checksum-crc32": b64("crc32"), "x-amz-checksum-sha1": b64("sha1")})


@pytest.mark.parametrize(
    "headers", [{"x-amz-sdk-checksum-algorithm": "CRC32"}, {"x-amz-trailer": "x-amz-checksum-crc32"}]
)
def test_a_checksum_announced_must_be_there(headers: dict[str, str]) -> None:
    """A promise of a checksum without the checksum is refused; with it (header or trailer), checked."""
    with pytest.raises(InvalidRequest):
        verify_body(BODY, headers)
    verify_body(BODY, {**headers, "x-amz-checksum-crc32": b64("crc32")})
    with pytest.raises(BadDigest):
        verify_body(BODY, {**headers, "x-amz-checksum-crc32": b64("crc32", b"other")})


def test_md5_announced_may_come_as_content_md5() -> None:
    """The algorithm MD5 is satisfied by Content-MD5."""
    verify_body(BODY, {"x-amz-sdk-checksum-algorithm": "MD5", "content-md5": md5(BODY)})


def test_content_md5_malformed_and_different_are_told_apart() -> None:
    """InvalidDigest for what is no MD5, BadDigest for another body's."""
    verify_body(BODY, {"content-md5": md5(BODY)})
    for malformed in ("", "abc", base64.b64encode(b"short").decode(), md5(BODY) + "\n", md5(BODY).rstrip("=")):
        with pytest.raises(InvalidDigest):
            verify_body(BODY, {"content-md5": malformed})
    with pytest.raises(BadDigest):
        verify_body(BODY, {"content-md5": md5(b"other")})


def test_trap_08_a_body_that_differs_from_its_signed_hash_is_refused() -> None:
    """A hexadecimal x-amz-content-sha256 must be the body's; the named modes say nothing here."""
    verify_body(BODY, {"x-amz-content-sha256": hashlib.sha256(BODY).hexdigest()})
    verify_body(BODY, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    with pytest.raises(XAmzContentSHA256Mismatch) as caught:
        verify_body(BODY, {"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()})
    assert caught.value.elements["S3ComputedContentSHA256"] == hashlib.sha256(BODY).hexdigest()


@given(st.binary(max_size=64), st.dictionaries(st.sampled_from(
    ["content-md5", "x-amz-content-sha256", "x-amz-trailer", "x-amz-sdk-checksum-algorithm",
     *(f"x-amz-checksum-{name}" for name in NAMES)]), st.text(max_size=90)))  # fmt: skip
def test_nothing_but_an_s3_error_escapes(body: bytes, headers: dict[str, str]) -> None:
    """Whatever the headers hold, the answer is an S3Error, or every digest in them was right."""
    try:
        verify_body(body, headers)
    except S3Error:
        return
    assert all(
        headers[n] == b64(n.removeprefix("x-amz-checksum-"), body) for n in headers if n.startswith("x-amz-checksum-")
    )
    assert headers.get("content-md5", md5(body)) == md5(body)
