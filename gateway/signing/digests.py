"""SHA-256 and HMAC-SHA256 as signatures write them: in hexadecimal. From our own C where it was built (decision 0013), else hashlib.

    sha256_hex(data)         of one text
    sha256_each(pieces)      of many: side by side, in half the time
    hmac_state(key)          what a key leaves behind in both hashes of RFC 2104; as secret as the key
    hmac_hex(state, text)    a signature with it

hashlib is what is right: every one of these is held to it. OpenSSL spends more time on finding and copying its contexts than on the
few hundred bytes that a request signs, and takes one piece at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

Bytes = bytes | bytearray | memoryview
_BLOCK = 64  # bytes of a block of SHA-256


def _sha256_hex(data: Bytes) -> str:
    return sha256(data).hexdigest()


def _sha256_each(pieces: list[Bytes]) -> list[str]:
    return [sha256(piece).hexdigest() for piece in pieces]


def _hmac_state(key: bytes) -> Any:
    if len(key) > _BLOCK:
        raise ValueError(f"a key is at most {_BLOCK} bytes")
    block = key.ljust(_BLOCK, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def _hmac_hex(state: Any, text: bytes) -> str:
    inner, outer = state[0].copy(), state[1].copy()
    inner.update(text)
    outer.update(inner.digest())
    found: str = outer.hexdigest()
    return found


sha256_hex: Callable[[Bytes], str] = _sha256_hex
sha256_each: Callable[[list[Bytes]], list[str]] = _sha256_each
hmac_state: Callable[[bytes], Any] = _hmac_state
hmac_hex: Callable[[Any, bytes], str] = _hmac_hex
try:
    from gateway.signing import _lanes
except ImportError:  # not compiled, or this processor has no instructions for it
    SIDE_BY_SIDE = False
else:
    SIDE_BY_SIDE = True
    sha256_hex, sha256_each, hmac_state, hmac_hex = (
        _lanes.sha256_hex,
        _lanes.sha256_each,
        _lanes.hmac_state,
        _lanes.hmac_hex,
    )
