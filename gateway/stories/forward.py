"""The request that goes to the backend, rebuilt from the one that was verified and authorized.

Headers and query parameters cross by the operation's allow-list only, so no client credential, token, signature or
unknown header can (trap 53). The path is the canonical URI that the client's signature covered.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import md5, sha256
from typing import NamedTuple

from gateway.errors import InvalidRequest
from gateway.s3.actions import copy_source
from gateway.s3.authenticate import Caller
from gateway.s3.decoding import decoder, describes_body, incoming, plain, trailer_names
from gateway.s3.operations import AUTH_PARAMETERS, Operation, is_hoisted
from gateway.s3.request import Names, S3Request
from gateway.signing.chunk_chain import ChunkChain
from gateway.signing.chunked import SignedRelay, UnsignedRelay
from gateway.signing.sigv4 import EMPTY_SHA256, Scope, SigningKeys, canonical_query, sign_headers, uri_encode
from iam.model import Credentials

_LOOPBACK = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Target:
    """The backend as a request sees it: `authority` (host[:port]), `region`, and whether buckets are virtual hosts.

    `aws_chunked`: whether it takes aws-chunked framing; else bodies are decoded.
    """

    authority: str
    region: str
    secure: bool
    virtual_host: bool = False
    aws_chunked: bool = True


class UpstreamRequest(NamedTuple):
    """What is sent: `url` absolute and exactly as signed; `length` of the body in bytes (None: no body).

    `relay` re-frames or decodes an aws-chunked body; `body` replaces the client's body when it was rebuilt.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    length: int | None
    relay: UnsignedRelay | SignedRelay | None = None
    body: bytes | None = None


def build(
    request: S3Request,
    operation: Operation,
    caller: Caller,
    *,
    target: Target,
    credentials: Credentials,
    keys: SigningKeys,
    now: int,
    body: bytes | None = None,
) -> UpstreamRequest:
    """Return the request for the backend, signed with the backend's credentials.

    `body` replaces the client's body (already verified by the story); then its own hash and MD5 are sent.
    """
    decoding = None
    if body is None and caller.mode.chunked and not target.aws_chunked:
        decoding = decoder(request, caller)
        request, caller = plain(request, caller)
    if request.names.customer_keys:
        _check_customer_keys(request, target)
    host, path = place(request, caller, target)
    query = _query(request, operation) if request.query else []
    headers = _headers(request, operation, caller)
    payload_hash = caller.payload_hash
    if body is not None:
        payload_hash = _replace_body(headers, body)
        query = [(n, v) for n, v in query if not describes_body(n.lower())]
    elif "x-amz-copy-source" in operation.needs_headers:
        headers["x-amz-copy-source"] = _copy_source(request)
    url, chain = _Signer(target, credentials, keys, now).sign(
        request.method, host, path, query, headers, payload_hash
    )  # fmt: skip
    if body is not None:
        return UpstreamRequest(request.method, url, headers, len(body), None, body)
    through = decoding or (relay(request, caller, chain()) if caller.mode.chunked else None)
    return UpstreamRequest(request.method, url, headers, request.content_length, through)


def own(
    method: str,
    bucket: str,
    key: str = "",
    query: Sequence[tuple[str, str]] = (),
    *,
    target: Target,
    credentials: Credentials,
    keys: SigningKeys,
    now: int,
) -> UpstreamRequest:
    """Return a request without a body that the gateway makes for itself; `key` decoded."""
    host, path = _located(bucket, "/" + uri_encode(key, slash=False), target)
    headers: dict[str, str] = {}
    url, _ = _Signer(target, credentials, keys, now).sign(method, host, path, list(query), headers, EMPTY_SHA256)
    return UpstreamRequest(method, url, headers, None)


def wire_head(request: UpstreamRequest, *, streams: bool) -> bytes:
    """Return the request's head as it goes over the wire, with its empty line; `streams`: a body follows."""
    target = request.url[request.url.index("/", 8) :]
    fields = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
    length = ""
    if streams and request.length is None:
        length = "transfer-encoding: chunked\r\n"
    elif request.length or request.method in {"PUT", "POST"}:
        length = f"content-length: {request.length or 0}\r\n"
    return f"{request.method} {target} HTTP/1.1\r\n{fields}{length}\r\n".encode()


class _Signer(NamedTuple):
    """Signs requests for the backend at one moment; `now` in epoch seconds."""

    target: Target
    credentials: Credentials
    keys: SigningKeys
    now: int

    def sign(
        self,
        method: str,
        host: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        payload_hash: str,
    ) -> tuple[str, Callable[[], ChunkChain]]:
        """Sign, in these headers; return the URL, and what makes the chain that the request's chunks are signed with."""
        timestamp, scope = moment(self.now, self.target.region)
        headers["host"], headers["x-amz-date"], headers["x-amz-content-sha256"] = host, timestamp, payload_hash
        if self.credentials.session_token:
            headers["x-amz-security-token"] = self.credentials.session_token.reveal()
        key = self.keys.get(self.credentials.secret.reveal(), scope)
        headers["authorization"], signature = sign_headers(
            method, path, canonical_query(query) if query else "", headers, payload_hash,
            key=key, scope=scope, access_key_id=self.credentials.access_key_id, timestamp=timestamp,
        )  # fmt: skip
        url = f"{'https' if self.target.secure else 'http'}://{host}{path}" + (f"?{_encoded(query)}" if query else "")
        return url, lambda: ChunkChain(key, timestamp, scope, signature)


@lru_cache(maxsize=256)
def moment(now: int, region: str) -> tuple[str, Scope]:
    """Return a second as signatures write it, and the scope of what is signed then."""
    timestamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return timestamp, Scope(timestamp[:8], region, "s3")


def relay(request: S3Request, caller: Caller, outgoing: ChunkChain) -> UnsignedRelay | SignedRelay | None:
    """Return what carries an aws-chunked body over, verifying it; None for a plain body."""
    if not caller.mode.chunked or caller.decoded_length is None:
        return None
    trailers = trailer_names(request, caller.mode)
    chain = incoming(caller)
    if chain is None:
        return UnsignedRelay(caller.decoded_length, trailers)
    return SignedRelay(caller.decoded_length, chain, outgoing, trailers)


def _check_customer_keys(request: S3Request, target: Target) -> None:
    """Refuse encryption keys of the client's (SSE-C) where they would cross a network in the clear, as S3 does.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
    """
    if not (request.secure and (target.secure or _LOOPBACK.fullmatch(target.authority))):
        raise InvalidRequest(
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
            reason="SSE-C over plain HTTP " + ("to the backend" if request.secure else "from the client"),
        )


def place(request: S3Request, caller: Caller, target: Target) -> tuple[str, str]:
    """Return host and path at the backend (trap 61: the bucket is the one that was judged, wherever it stood)."""
    rest = caller.target if request.path.virtual_host else "/" + caller.target[1:].partition("/")[2]
    return _located(request.path.bucket, rest, target)


def _located(bucket: str, rest: str, target: Target) -> tuple[str, str]:
    """Return host and path of a bucket ("" for none) and what follows it, as the target addresses buckets."""
    if not bucket:
        return target.authority, "/"
    if target.virtual_host and "." not in bucket:
        return f"{bucket}.{target.authority}", rest
    return target.authority, f"/{bucket}{rest if rest != '/' else ''}"


def _query(request: S3Request, operation: Operation) -> list[tuple[str, str]]:
    return [
        (n, v) for n, v in request.query
        if n not in AUTH_PARAMETERS and (n in operation.query or is_hoisted(n, operation))
    ]  # fmt: skip


def _encoded(query: list[tuple[str, str]]) -> str:
    return "&".join(f"{uri_encode(n, slash=True)}={uri_encode(v, slash=True)}" for n, v in query)


#: Where a browser's page is from: the store adds its bucket's CORS headers by it, and decides nothing else.
_OF_A_PAGE = frozenset({"origin"})


@lru_cache(maxsize=1024)
def _crossing(operation: Operation, names: Names) -> tuple[str, ...]:
    """Return which of a request's headers cross."""
    return tuple(
        name
        for name in names.order
        if name in operation.headers or name in _OF_A_PAGE or (operation.metadata and name.startswith("x-amz-meta-"))
    )


def _headers(request: S3Request, operation: Operation, caller: Caller) -> dict[str, str]:
    given = request.headers
    headers = {name: given[name] for name in _crossing(operation, request.names)}
    if not caller.mode.chunked and "x-amz-decoded-content-length" in headers:
        del headers["x-amz-decoded-content-length"]
    if not caller.mode.chunked and "x-amz-trailer" in headers:
        del headers["x-amz-trailer"]
    return headers


def _replace_body(headers: dict[str, str], body: bytes) -> str:
    """Describe the rebuilt body instead of the client's; return its hash."""
    for name in [n for n in headers if describes_body(n)]:
        del headers[name]
    headers["content-md5"] = base64.b64encode(md5(body, usedforsecurity=False).digest()).decode()
    return sha256(body).hexdigest()


def _copy_source(request: S3Request) -> str:
    """Write the source again from what was authorized, encoded once."""
    source = copy_source(request.header("x-amz-copy-source"))
    version = f"?versionId={uri_encode(source.version, slash=True)}" if source.version else ""
    return f"{source.bucket}/{uri_encode(source.key, slash=False)}{version}"
