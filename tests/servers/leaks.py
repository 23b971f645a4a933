"""A search for secrets in what a program printed, answered and stored: as they are, and in the encodings in which they hide."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote_to_bytes

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){8,}")


def forms(secret: bytes) -> set[bytes]:
    """Return what a secret looks like: as it is, quoted, as JSON, in hexadecimal, within Base64 at each of the three places."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode()}
    if secret.isascii():
        text = secret.decode()
        found |= {quote(text, safe="").encode(), quote_plus(text).encode(), json.dumps(text)[1:-1].encode()}
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The first and last characters depend on the neighbours: what is between them does not.
            whole = encode(bytes(before) + secret).rstrip(b"=")
            found.add(whole[-(-before * 8 // 6) : len(whole) - 1])
    return {form for form in found if len(form) >= 8}


def decoded(data: bytes) -> Iterator[bytes]:
    """Yield the data, and what parts of it say in URL encoding, Base64 and hexadecimal."""
    yield data
    if b"%" in data:
        yield unquote_to_bytes(data)
    for piece in _BASE64.findall(data):
        for alphabet in (None, b"-_"):
            try:
                yield base64.b64decode(piece + b"=" * (-len(piece.rstrip(b"=")) % 4), alphabet)
            except (binascii.Error, ValueError):
                continue
    for piece in _HEX.findall(data):
        yield bytes.fromhex(piece.decode())


def leaks(secrets: Mapping[str, str | bytes], told: Iterable[tuple[str, bytes]]) -> set[tuple[str, str]]:
    """Return which secret stands where, by their names; `told` are (where, bytes)."""
    looked_for = {
        name: forms(secret.encode() if isinstance(secret, str) else secret) for name, secret in secrets.items()
    }
    found = set()
    for where, data in told:
        for piece in decoded(data):
            found |= {(name, where) for name, needles in looked_for.items() if any(n in piece for n in needles)}
    return found
