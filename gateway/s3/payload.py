"""The payload of a body that was read whole: unframed, and verified against every digest it carries."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.s3.authenticate import Caller, PayloadMode
from gateway.s3.decoding import digests, incoming, trailer_names
from gateway.s3.request import S3Request
from gateway.signing.checksums import verify_body
from gateway.signing.chunk_chain import ChunkChain
from gateway.signing.chunked import decoder


def verified(request: S3Request, caller: Caller, body: bytes) -> bytes:
    """Return the payload. Raises the S3Error of whatever does not hold: framing, chunk signature, digest."""
    trailers: Mapping[str, str] = {}
    if caller.mode.chunked and caller.decoded_length is not None:
        names = trailer_names(request, caller.mode)
        body, trailers = read_all(body, caller.decoded_length, names, incoming(caller))
    pinned = {"x-amz-content-sha256": caller.payload_hash} if caller.mode is PayloadMode.HEX else {}
    verify_body(body, {**digests(request), **trailers, **pinned})
    return body


def read_all(
    body: bytes, decoded_length: int, trailers: tuple[str, ...], chain: ChunkChain | None
) -> tuple[bytes, Mapping[str, str]]:
    """Return payload and trailers of a small, whole aws-chunked body: XML that the gateway reads. Raises as the relays do."""
    relay = decoder(decoded_length, trailers, chain)
    payload = relay.feed(body)
    relay.finish()
    return payload, relay.trailers
