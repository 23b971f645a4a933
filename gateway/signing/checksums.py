"""Checksums: the digests that S3 knows, and the check of a body against every digest its request names.

`new(name)` returns a Checksum: `update(data)` as often as needed, then `base64()` as the header x-amz-checksum-<name>
carries it. `BodyCheck` follows a body that passes, `verify_body` judges one that is there. Only bodies that the gateway
itself reads or decodes are checked here; all others stream past with their checksums left to the backend.

hashlib and zlib have six of the ten algorithms; the others come from awscrt, AWS's own and the one library that has all
of them (it is what the SDKs compute with): CRC64NVME at 0.07 s a GiB, where a table in Python takes 100 s.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from awscrt import checksums as crt

from gateway.errors import BadDigest, InvalidDigest, InvalidRequest, XAmzContentSHA256Mismatch
from gateway.signing.sigv4 import matches

_HEX64 = re.compile(r"[0-9a-f]{64}")
PREFIX = "x-amz-checksum-"
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


class _XxHash(Checksum):
    """One of the xxHash family: `state` has awscrt's update and finalize."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def update(self, data: bytes) -> None:
        self._state.update(data)

    def digest(self) -> bytes:
        return bytes(self._state.finalize())


_MAKERS: Mapping[str, Callable[[], Checksum]] = {
    "crc32": lambda: _Crc(zlib.crc32, 4),
    "crc32c": lambda: _Crc(crt.crc32c, 4),
    "crc64nvme": lambda: _Crc(crt.crc64nvme, 8),
    "md5": lambda: _Hash("md5"),
    "sha1": lambda: _Hash("sha1"),
    "sha256": lambda: _Hash("sha256"),
    "sha512": lambda: _Hash("sha512"),
    "xxhash3": lambda: _XxHash(crt.XXHash.new_xxhash3_64()),
    "xxhash64": lambda: _XxHash(crt.XXHash.new_xxhash64()),
    "xxhash128": lambda: _XxHash(crt.XXHash.new_xxhash3_128()),
}
#: The headers (and trailers) that carry a checksum.
HEADERS = frozenset(PREFIX + name for name in _MAKERS)


def new(name: str) -> Checksum:
    """Return a fresh checksum by its S3 name in lower case (`crc64nvme`). Raises InvalidRequest when it is unknown."""
    maker = _MAKERS.get(name)
    if maker is None:
        raise InvalidRequest("The checksum algorithm is not supported.", reason=f"checksum algorithm {name[:40]!r}")
    return maker()


class BodyCheck:
    """Checks a body while it passes: `update` with each piece, `finish` with the trailers that came after it.

    `headers` by lower-case name; `trailers` are the names that will follow the body. Raises InvalidRequest (an unknown
    algorithm, a malformed checksum, two checksums, one announced and not sent) or InvalidDigest (no MD5) at once.
    """

    def __init__(self, headers: Mapping[str, str], trailers: Iterable[str] = ()) -> None:
        given = {name: headers[name] for name in headers if name.startswith(PREFIX) and name not in _NOT_VALUES}
        names = {*given, *trailers}
        if len(names) > 1 or not given.keys().isdisjoint(trailers):
            raise InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
        _check_announced(headers, names)
        self._trailing = frozenset(trailers)
        self._running = {name: new(name.removeprefix(PREFIX)) for name in names}
        self._expected = {name: _expected(name, self._running[name], value) for name, value in given.items()}
        self._md5 = _content_md5(headers)
        self._sha256 = _payload_hash(headers)

    def update(self, data: bytes) -> None:
        """Add bytes of the payload."""
        for checksum in self._running.values():
            checksum.update(data)
        for other in (self._md5, self._sha256):
            if other is not None:
                other[0].update(data)

    def finish(self, trailers: Mapping[str, str] | None = None) -> None:
        """Compare. Raises XAmzContentSHA256Mismatch, BadDigest or, for a malformed trailer, InvalidRequest."""
        if self._sha256 is not None:
            _check_payload_hash(*self._sha256)
        if self._md5 is not None:
            _check_md5(*self._md5)
        for name in self._trailing:
            self._expected[name] = _expected(name, self._running[name], (trailers or {}).get(name, ""))
        for name, expected in self._expected.items():
            if expected != self._running[name].digest():
                algorithm = name.removeprefix(PREFIX).upper()
                raise BadDigest(f"The {algorithm} you specified did not match the calculated checksum.")


def verify_body(body: bytes, headers: Mapping[str, str]) -> None:
    """Check a body against every digest in `headers` (by lower-case name; add the trailers of a chunked body).

    Raises XAmzContentSHA256Mismatch, InvalidDigest (malformed Content-MD5), BadDigest (another digest differs), or
    InvalidRequest (an unknown algorithm, a malformed checksum, two checksums, or one announced and not sent).
    """
    check = BodyCheck(headers)
    check.update(body)
    check.finish()


def _payload_hash(headers: Mapping[str, str]) -> tuple[Checksum, str] | None:
    """Return what checks a signed hash; None for UNSIGNED-PAYLOAD and STREAMING-..., where other proofs cover it."""
    given = headers.get("x-amz-content-sha256", "")
    return (new("sha256"), given) if _HEX64.fullmatch(given) else None


def _check_payload_hash(checksum: Checksum, given: str) -> None:
    computed = checksum.digest().hex()
    if not matches(computed, given):
        raise XAmzContentSHA256Mismatch(ClientComputedContentSHA256=given, S3ComputedContentSHA256=computed)


def _content_md5(headers: Mapping[str, str]) -> tuple[Checksum, str] | None:
    given = headers.get("content-md5")
    if given is None:
        return None
    if len(_decoded(given) or b"") != 16:
        raise InvalidDigest
    return new("md5"), given


def _check_md5(checksum: Checksum, given: str) -> None:
    if checksum.base64() != given:
        raise BadDigest(ExpectedDigest=given, CalculatedDigest=checksum.base64())


def _check_announced(headers: Mapping[str, str], names: set[str]) -> None:
    """Refuse a checksum that the request promises (in a trailer, or by its algorithm) and does not bring."""
    promised = {part.strip().lower() for part in headers.get("x-amz-trailer", "").split(",")}
    algorithm = headers.get("x-amz-sdk-checksum-algorithm", "").lower()
    if algorithm:
        new(algorithm)
        promised.add(PREFIX + algorithm)
    brought = {*names, PREFIX + "md5"} if "content-md5" in headers else names
    missing = {name for name in promised if name.startswith(PREFIX)} - brought
    if missing:
        raise InvalidRequest(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found.",
            reason=f"missing {', '.join(sorted(missing))}",
        )


def _expected(name: str, checksum: Checksum, given: str) -> bytes:
    """Return the digest that a header or trailer names."""
    expected = _decoded(given)
    if expected is None or len(expected) != len(checksum.digest()):
        raise InvalidRequest(f"Value for {name} header is invalid.")
    return expected


def _decoded(text: str) -> bytes | None:
    """Decode base64 strictly: None for anything that encoding would not have written."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if base64.b64encode(decoded).decode("ascii") == text else None
