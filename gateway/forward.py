"""The request that goes to the backend, rebuilt from the one that was verified and authorized.

Headers and query parameters cross by the operation's allow-list only, so no client credential, token, signature or
unknown header can (trap 53). The path is the canonical URI that the client's signature covered.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5, sha256

from gateway.actions import copy_source
from gateway.authenticate import Caller, PayloadMode
from gateway.chunked import ChunkChain, SignedRelay, UnsignedRelay
from gateway.operations import AUTH_PARAMETERS, Operation
from gateway.request import S3Request
from gateway.sigv4 import Scope, SigningKeys, canonical_query, sign_headers, uri_encode
from iam.model import Credentials

#: What an S3 answer may carry to the client; hop-by-hop headers (RFC 9110 section 7.6.1) and cookies are not among it.
_ANSWER_HEADERS = frozenset({
    "accept-ranges", "age", "allow", "cache-control", "content-disposition", "content-encoding", "content-language",
    "content-length", "content-md5", "content-range", "content-type", "etag", "expires", "last-modified", "location",
    "retry-after", "vary",
})  # fmt: skip
_ANSWER_PREFIXES = ("x-amz-",)
#: Ours instead of the backend's.
_ANSWER_NEVER = frozenset({"x-amz-request-id", "x-amz-id-2", "x-amz-security-token"})


@dataclass(frozen=True, slots=True)
class Target:
    """The backend as a request sees it: `authority` (host[:port]), `region`, and whether buckets are virtual hosts."""

    authority: str
    region: str
    secure: bool
    virtual_host: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is sent: `url` absolute and exactly as signed; `length` of the body in bytes (None: no body).

    `relay` re-frames an aws-chunked body; `body` replaces the client's body when it was rebuilt.
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
    host, path = _place(request, caller, target)
    query = _query(request, operation)
    headers = _headers(request, operation, caller)
    payload_hash = caller.payload_hash
    if body is not None:
        payload_hash = _replace_body(headers, body)
    elif "copy-source" in "".join(operation.needs_headers):
        headers["x-amz-copy-source"] = _copy_source(request)
    timestamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    headers |= {"host": host, "x-amz-date": timestamp, "x-amz-content-sha256": payload_hash}
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token.reveal()
    scope = Scope(timestamp[:8], target.region, "s3")
    key = keys.get(credentials.secret.reveal(), scope)
    authorization, signature = sign_headers(
        request.method, path, canonical_query(query), headers, payload_hash,
        key=key, scope=scope, access_key_id=credentials.access_key_id, timestamp=timestamp,
    )  # fmt: skip
    headers["authorization"] = authorization
    chain = ChunkChain(key, timestamp, scope, signature)
    return UpstreamRequest(
        request.method,
        f"{'https' if target.secure else 'http'}://{host}{path}" + (f"?{_encoded(query)}" if query else ""),
        headers,
        len(body) if body is not None else request.content_length,
        None if body is not None else relay(request, caller, chain),
        body,
    )


def relay(request: S3Request, caller: Caller, outgoing: ChunkChain) -> UnsignedRelay | SignedRelay | None:
    """Return what carries an aws-chunked body over, verifying it; None for a plain body."""
    if not caller.mode.chunked or caller.decoded_length is None:
        return None
    trailers = trailer_names(request, caller.mode)
    if caller.claim is None or not caller.mode.chain:
        return UnsignedRelay(caller.decoded_length, trailers)
    claim = caller.claim
    incoming = ChunkChain(caller.signing_key, claim.timestamp, claim.scope, claim.signature)
    return SignedRelay(caller.decoded_length, incoming, outgoing, trailers)


def trailer_names(request: S3Request, mode: PayloadMode) -> tuple[str, ...]:
    """Return the trailers announced in x-amz-trailer, lower case."""
    if mode is PayloadMode.SIGNED:
        return ()
    return tuple(name.strip().lower() for name in request.header("x-amz-trailer").split(",") if name.strip())


def answer_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the backend's headers that the client may see."""
    kept = [(n, v) for n, v in headers if _may_answer(n.lower())]
    return [(n, v) for n, v in (_without_framing(*pair) for pair in kept) if v or n.lower() != "content-encoding"]


def _without_framing(name: str, value: str) -> tuple[str, str]:
    """Take aws-chunked out of Content-Encoding: it was the framing of an upload, and some stores keep it (trap 12)."""
    if name.lower() != "content-encoding" or "aws-chunked" not in value:
        return name, value
    return name, ",".join(part for part in (p.strip() for p in value.split(",")) if part != "aws-chunked")


def _may_answer(name: str) -> bool:
    return name not in _ANSWER_NEVER and (name in _ANSWER_HEADERS or name.startswith(_ANSWER_PREFIXES))


def _place(request: S3Request, caller: Caller, target: Target) -> tuple[str, str]:
    """Return host and path at the backend (trap 61: the bucket is the one that was judged, wherever it stood)."""
    bucket = request.path.bucket
    if not bucket:
        return target.authority, "/"
    rest = caller.target if request.path.virtual_host else "/" + caller.target[1:].partition("/")[2]
    if target.virtual_host and "." not in bucket:
        return f"{bucket}.{target.authority}", rest
    return target.authority, f"/{bucket}{rest}" if rest != "/" or request.path.key else f"/{bucket}"


def _query(request: S3Request, operation: Operation) -> list[tuple[str, str]]:
    return [(n, v) for n, v in request.query if n in operation.query and n not in AUTH_PARAMETERS]


def _encoded(query: list[tuple[str, str]]) -> str:
    return "&".join(f"{uri_encode(n, slash=True)}={uri_encode(v, slash=True)}" for n, v in query)


def _headers(request: S3Request, operation: Operation, caller: Caller) -> dict[str, str]:
    allowed = operation.headers
    headers = {
        n: v for n, v in request.headers.items() if n in allowed or (operation.metadata and n.startswith("x-amz-meta-"))
    }
    if not caller.mode.chunked:
        headers.pop("x-amz-decoded-content-length", None)
        headers.pop("x-amz-trailer", None)
    return headers


def _replace_body(headers: dict[str, str], body: bytes) -> str:
    """Describe the rebuilt body instead of the client's; return its hash."""
    for name in [n for n in headers if n.startswith("x-amz-checksum-") or n in _FRAMING]:
        del headers[name]
    headers["content-md5"] = base64.b64encode(md5(body, usedforsecurity=False).digest()).decode()
    return sha256(body).hexdigest()


_FRAMING = frozenset(
    {"content-encoding", "x-amz-trailer", "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm"}
)


def _copy_source(request: S3Request) -> str:
    """Write the source again from what was authorized, encoded once."""
    source = copy_source(request.header("x-amz-copy-source"))
    version = f"?versionId={uri_encode(source.version, slash=True)}" if source.version else ""
    return f"{source.bucket}/{uri_encode(source.key, slash=False)}{version}"
