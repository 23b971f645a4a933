"""The chain of signatures over the chunks of one body, aws-chunked: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html."""

from __future__ import annotations

from gateway.signing.sigv4 import EMPTY_SHA256, Scope, SigningKey


class ChunkChain:
    """The chain of chunk signatures: each covers the one before it, the first the request's (`seed_signature`).

    `key` is the derived signing key, `timestamp` and `scope` those of the request.
    """

    def __init__(self, key: SigningKey, timestamp: str, scope: Scope, seed_signature: str) -> None:
        self._sign = key.sign
        self._head = f"{timestamp}\n{scope.text}"
        self._previous = seed_signature

    def chunk(self, content_hash: str) -> str:
        """Return the signature of the next chunk, given the SHA-256 of its data in hexadecimal."""
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self._head}\n{self._previous}\n{EMPTY_SHA256}\n{content_hash}"
        self._previous = self._sign(text.encode())
        return self._previous

    def trailer(self, content_hash: str) -> str:
        """Return the signature of the trailers, given the SHA-256 of their lines in hexadecimal."""
        text = f"AWS4-HMAC-SHA256-TRAILER\n{self._head}\n{self._previous}\n{content_hash}"
        self._previous = self._sign(text.encode())
        return self._previous
