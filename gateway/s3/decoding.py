"""aws-chunked uploads for a backend that does not take the framing: the payload alone is sent, as a plain request.

A stream lets its last piece out only when framing, chunk signatures and every digest it names are verified (`decoder`). A
payload of MAX_WHOLE bytes at most is decoded first and takes its checksum along as a header: an empty one has no last
piece to hold back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

from gateway.errors import InvalidRequest
from gateway.s3.authenticate import Caller, PayloadMode
from gateway.s3.request import S3Request
from gateway.signing import chunked
from gateway.signing.checksums import HEADERS, BodyCheck
from gateway.signing.chunk_chain import ChunkChain
from gateway.signing.chunked import SignedRelay, UnsignedRelay

MAX_WHOLE = 2**20  # bytes of a payload that is decoded before its request is sent

#: What describes the framing, and what must stand beside the checksum it names.
FRAMING = frozenset(
    {"content-encoding", "x-amz-trailer", "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm"}
)


def comes_whole(caller: Caller) -> bool:
    """Return whether a body must be decoded before its request is sent."""
    return caller.decoded_length is not None and caller.decoded_length <= MAX_WHOLE


def decoder(request: S3Request, caller: Caller) -> UnsignedRelay | SignedRelay:
    """Return what decodes an aws-chunked body, and lets its end out when every digest that it names is verified.

    Raises as BodyCheck: what is wrong already in the head.
    """
    trailers = trailer_names(request, caller.mode)
    return chunked.decoder(
        caller.decoded_length or 0, trailers, incoming(caller), BodyCheck(digests(request), trailers)
    )


def plain(
    request: S3Request, caller: Caller, payload: bytes | None = None, trailers: Mapping[str, str] | None = None
) -> tuple[S3Request, Caller]:
    """Return an aws-chunked request as if its payload had come without framing.

    `payload`, when it is there, and the `trailers` that came after it are then covered by the signature.
    """
    headers = {n: v for n, v in request.headers.items() if n not in FRAMING} | dict(trailers or {})
    encoding = without_framing(request.header("content-encoding"))
    if encoding:
        headers["content-encoding"] = encoding
    algorithm = request.header("x-amz-sdk-checksum-algorithm")
    if f"x-amz-checksum-{algorithm.lower()}" in headers:
        headers["x-amz-sdk-checksum-algorithm"] = algorithm
    headers["content-length"] = str(caller.decoded_length)
    mode, payload_hash = PayloadMode.UNSIGNED, PayloadMode.UNSIGNED.value
    if payload is not None:
        mode, payload_hash = PayloadMode.HEX, sha256(payload).hexdigest()
    return replace(request, headers=headers), caller._replace(mode=mode, payload_hash=payload_hash, decoded_length=None)


def without_framing(encoding: str) -> str:
    """Take aws-chunked out of a Content-Encoding: it is the framing of an upload, and some stores keep it (trap 12)."""
    if "aws-chunked" not in encoding:
        return encoding
    return ",".join(part for part in (p.strip() for p in encoding.split(",")) if part not in {"", "aws-chunked"})


def incoming(caller: Caller) -> ChunkChain | None:
    """Return the chain of the client's chunk signatures, None when the chunks are unsigned."""
    if caller.claim is None or caller.signing_key is None or not caller.mode.chain:
        return None
    return ChunkChain(caller.signing_key, caller.claim.timestamp, caller.claim.scope, caller.claim.signature)


def digests(request: S3Request) -> Mapping[str, str]:
    """Return the headers, and the checksums of a presigned URL's query, where SDKs write them, as headers."""
    if "X-Amz-Signature" not in request.parameters:
        return request.headers
    return {**request.headers, **{n.lower(): v for n, v in request.query if describes_body(n.lower())}}


def describes_body(name: str) -> bool:
    """Return whether a header or hoisted parameter (lower case) is about the bytes of the client's body."""
    return name.startswith("x-amz-checksum-") or name in FRAMING


def trailer_names(request: S3Request, mode: PayloadMode) -> tuple[str, ...]:
    """Return the trailers announced in x-amz-trailer, lower case: checksums, no other header may come so late."""
    if mode is PayloadMode.SIGNED:
        return ()
    names = tuple(name.strip().lower() for name in request.header("x-amz-trailer").split(",") if name.strip())
    if not HEADERS.issuperset(names):
        raise InvalidRequest("The value specified in the x-amz-trailer header is not supported")
    return names
