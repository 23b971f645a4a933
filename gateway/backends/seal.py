"""Tokens of paging that a client carries but cannot read or write: a backend's own may name a key behind our prefix. Pure.

AES-SIV (RFC 5297) with the bucket as associated data: no nonce is needed, and every gateway with the same root pair opens them.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.errors import InvalidArgument
from iam.model import Secret

_PURPOSE = b"minio-gw paging tokens v1"


class Seal:
    """Closes and opens tokens with a key of its own, derived from the root account's secret."""

    def __init__(self, root: Secret) -> None:
        key = HKDF(SHA256(), 64, salt=None, info=_PURPOSE).derive(root.reveal().encode())
        self._cipher = AESSIV(key)

    def close(self, token: str, about: str) -> str:
        """Return a sealed token, good for listings of `about` only."""
        return base64.urlsafe_b64encode(self._cipher.encrypt(token.encode(), [about.encode()])).decode()

    def open(self, sealed: str, about: str) -> str:
        """Return the token. Raises InvalidArgument for one that was not sealed for this."""
        try:
            return self._cipher.decrypt(base64.urlsafe_b64decode(sealed.encode()), [about.encode()]).decode()
        except (binascii.Error, InvalidTag, ValueError):
            raise InvalidArgument("The continuation token provided is incorrect") from None
