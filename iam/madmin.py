"""MinIO's encrypted admin bodies, which are also its encrypted values in etcd (2019-11 to 2021-04). Pure.

    salt (32) | scheme (1) | nonce prefix (8) | fragments of 16384 bytes, each followed by its tag of 16 bytes

A fragment's nonce is the prefix and its number, little endian. Number 0 seals nothing; its tag is not sent, but goes, behind a
byte that marks the last fragment, into the associated data of all that follow: none can be cut off, moved or repeated.

A call takes 64 MiB and some tens of milliseconds for Argon2id (RFC 9106): an event loop hands it to a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

SIZE_LIMIT = 262272  # bytes of an encrypted body that MinIO's server reads

_SALT, _PREFIX, _TAG, _FRAGMENT = 32, 8, 16, 16384
_HEADER = _SALT + 1 + _PREFIX
_MORE, _LAST = b"\x00", b"\x80"


class Undecryptable(ValueError):
    """The bytes were not encrypted with this password in a scheme that is known, or are not whole."""


class Scheme(IntEnum):
    """How the key is derived and what seals; the value is the byte that says so."""

    ARGON2ID_AES = 0
    ARGON2ID_CHACHA20 = 1
    PBKDF2_AES = 2


_SCHEMES: frozenset[int] = frozenset(Scheme)


def encrypt(
    password: str, data: bytes, *, random: Callable[[int], bytes], scheme: Scheme = Scheme.ARGON2ID_AES
) -> bytes:
    """Return data encrypted with a password; `random` returns that many unpredictable bytes."""
    salt, prefix = random(_SALT), random(_PREFIX)
    cipher = _cipher(scheme, password, salt)
    seal = cipher.encrypt(_nonce(prefix, 0), b"", b"")
    fragments = (
        cipher.encrypt(_nonce(prefix, number), data[start:end], mark + seal)
        for number, start, end, mark in _fragments(len(data), _FRAGMENT)
    )
    return b"".join((salt, bytes([scheme]), prefix, *fragments))


def decrypt(password: str, data: bytes, *, limit: int | None = SIZE_LIMIT) -> bytes:
    """Return what was encrypted with a password; `limit` bounds the encrypted bytes. Raises Undecryptable."""
    if len(data) < _HEADER + _TAG:
        raise Undecryptable("it is too short")
    if limit is not None and len(data) > limit:
        raise Undecryptable(f"it has more than {limit} bytes")
    salt, scheme, prefix, body = data[:_SALT], data[_SALT], data[_SALT + 1 : _HEADER], data[_HEADER:]
    if scheme not in _SCHEMES:
        raise Undecryptable(f"its scheme {scheme} is not known")
    cipher = _cipher(Scheme(scheme), password, salt)
    seal = cipher.encrypt(_nonce(prefix, 0), b"", b"")
    try:
        return b"".join(
            cipher.decrypt(_nonce(prefix, number), body[start:end], mark + seal)
            for number, start, end, mark in _fragments(len(body), _FRAGMENT + _TAG)
        )
    except InvalidTag:
        raise Undecryptable("the password is another, or the bytes were changed") from None


def looks_encrypted(data: bytes) -> bool:
    """Return whether bytes have the form; only their password tells for certain."""
    return len(data) >= _HEADER + _TAG and data[_SALT] in _SCHEMES


def _cipher(scheme: Scheme, password: str, salt: bytes) -> AESGCM | ChaCha20Poly1305:
    key = _key(scheme, password.encode(), salt)
    return ChaCha20Poly1305(key) if scheme is Scheme.ARGON2ID_CHACHA20 else AESGCM(key)


def _key(scheme: Scheme, password: bytes, salt: bytes) -> bytes:
    """Return the key of 32 bytes, at the costs that MinIO fixed.

    Not with OpenSSL's Argon2id (of `cryptography` 50): with lanes, two calls at once wait for each other for ever.
    """
    if scheme is Scheme.PBKDF2_AES:
        return PBKDF2HMAC(SHA256(), 32, salt, iterations=8192).derive(password)
    return hash_secret_raw(password, salt, time_cost=1, memory_cost=65536, parallelism=4, hash_len=32, type=Type.ID)


def _nonce(prefix: bytes, number: int) -> bytes:
    return prefix + number.to_bytes(4, "little")


def _fragments(length: int, size: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield number, start, end and mark of each fragment of so many bytes; of nothing there is one, the last."""
    starts = range(0, max(length, 1), size)
    for number, start in enumerate(starts, 1):
        yield number, start, start + size, _LAST if number == len(starts) else _MORE
