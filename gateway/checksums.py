"""Checksums: the digests that S3 knows, and the check of a small body against every digest its request names.

`new(name)` returns a Checksum: `update(data)` as often as needed, then `base64()` as the header x-amz-checksum-<name>
carries it. `verify_body` is for the bodies that the gateway reads itself (a few MiB of XML); objects stream past, with
their checksums left to the backend. CRC32C and CRC64NVME are table-driven Python, about 100 ns a byte.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache

from gateway.errors import BadDigest, InvalidDigest, InvalidRequest, XAmzContentSHA256Mismatch
from gateway.sigv4 import matches

_HEX64 = re.compile(r"[0-9a-f]{64}")
_PREFIX = "x-amz-checksum-"
#: Headers with the prefix that say something about a checksum but carry none.
_NOT_VALUES = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"})


class Checksum(ABC):
    """One running checksum."""

    @abstractmethod
    def update(self, data: bytes) -> None:
        """Add bytes."""

    @abstractmethod
    def digest(self) -> bytes:
        """Return the checksum of all bytes so far, most significant byte first."""

    def base64(self) -> str:
        """Return the digest as S3's headers carry it."""
        return base64.b64encode(self.digest()).decode("ascii")


class _Hash(Checksum):
    """A digest of hashlib's."""

    def __init__(self, name: str) -> None:
        # Integrity, not secrecy: MD5 and SHA-1 must work on FIPS machines too.
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return self._hash.digest()


class _Crc(Checksum):
    """A cyclic redundancy check: `step(data, value)` continues from a finished value, as zlib.crc32 does."""

    def __init__(self, step: Callable[[bytes, int], int], size: int) -> None:
        self._step = step
        self._size = size
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def _crc32c(data: bytes, value: int) -> int:
    """CRC-32C: polynomial 1EDC6F41, reflected (RFC 3720 section 12.1)."""
    return _reflected(data, value, _table(0x82F63B78), 0xFFFFFFFF)


def _crc64nvme(data: bytes, value: int) -> int:
    """CRC-64/NVME: polynomial AD93D23594C93659, reflected (NVM Command Set Specification, section 5.2.1.3.4)."""
    return _reflected(data, value, _table(0x9A6C9329AC4BC9B5), 0xFFFFFFFFFFFFFFFF)


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    """Return the 256 remainders of a reflected polynomial."""
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (polynomial if value & 1 else 0) for value in table]
    return tuple(table)


def _reflected(data: bytes, value: int, table: tuple[int, ...], ones: int) -> int:
    value ^= ones
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ ones


_MAKERS: Mapping[str, Callable[[], Checksum]] = {
    "crc32": lambda: _Crc(zlib.crc32, 4),
    "crc32c": lambda: _Crc(_crc32c, 4),
    "crc64nvme": lambda: _Crc(_crc64nvme, 8),
    "md5": lambda: _Hash("md5"),
    "sha1": lambda: _Hash("sha1"),
    "sha256": lambda: _Hash("sha256"),
    "sha512": lambda: _Hash("sha512"),
}


def new(name: str) -> Checksum:
    """Return a fresh checksum by its S3 name in lower case (`crc64nvme`). Raises InvalidRequest when it is unknown."""
    maker = _MAKERS.get(name)
    if maker is None:
        raise InvalidRequest("The checksum algorithm is not supported.", reason=f"checksum algorithm {name[:40]!r}")
    return maker()


def verify_body(body: bytes, headers: Mapping[str, str]) -> None:
    """Check a body against every digest in `headers` (by lower-case name; add the trailers of a chunked body).

    Raises XAmzContentSHA256Mismatch, InvalidDigest (malformed Content-MD5), BadDigest (another digest differs), or
    InvalidRequest (an unknown algorithm, a malformed checksum, two checksums, or one announced and not sent).
    """
    _check_payload_hash(body, headers.get("x-amz-content-sha256", ""))
    if "content-md5" in headers:
        _check_md5(body, headers["content-md5"])
    names = [name for name in headers if name.startswith(_PREFIX) and name not in _NOT_VALUES]
    if len(names) > 1:
        raise InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    _check_announced(headers, names)
    for name in names:
        _check_checksum(body, name, headers[name])


def _check_payload_hash(body: bytes, given: str) -> None:
    if not _HEX64.fullmatch(given):
        return  # UNSIGNED-PAYLOAD or STREAMING-...: other proofs cover the body
    computed = hashlib.sha256(body).hexdigest()
    if not matches(computed, given):
        raise XAmzContentSHA256Mismatch(ClientComputedContentSHA256=given, S3ComputedContentSHA256=computed)


def _check_md5(body: bytes, given: str) -> None:
    computed = new("md5")
    computed.update(body)
    expected = _decoded(given)
    if expected is None or len(expected) != len(computed.digest()):
        raise InvalidDigest
    if expected != computed.digest():
        raise BadDigest(ExpectedDigest=given, CalculatedDigest=computed.base64())


def _check_announced(headers: Mapping[str, str], names: list[str]) -> None:
    """Refuse a checksum that the request promises (in a trailer, or by its algorithm) and does not bring."""
    promised = {part.strip().lower() for part in headers.get("x-amz-trailer", "").split(",")}
    algorithm = headers.get("x-amz-sdk-checksum-algorithm", "").lower()
    if algorithm:
        new(algorithm)
        promised.add(_PREFIX + algorithm)
    brought = {*names, _PREFIX + "md5"} if "content-md5" in headers else {*names}
    missing = {name for name in promised if name.startswith(_PREFIX)} - brought
    if missing:
        raise InvalidRequest(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found.",
            reason=f"missing {', '.join(sorted(missing))}",
        )


def _check_checksum(body: bytes, name: str, given: str) -> None:
    computed = new(name.removeprefix(_PREFIX))
    computed.update(body)
    expected = _decoded(given)
    if expected is None or len(expected) != len(computed.digest()):
        raise InvalidRequest(f"Value for {name} header is invalid.")
    if expected != computed.digest():
        raise BadDigest(
            f"The {name.removeprefix(_PREFIX).upper()} you specified did not match the calculated checksum."
        )


def _decoded(text: str) -> bytes | None:
    """Decode base64 strictly: None for anything that encoding would not have written."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if base64.b64encode(decoded).decode("ascii") == text else None
