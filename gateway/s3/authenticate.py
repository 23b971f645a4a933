"""Who is it? S3Request + credentials lookup + now -> Caller, or an S3Error.

Every request takes this one road, whatever its payload mode (traps 1 to 3 and 66): header signature, presigned
signature, or none at all; never two of them. The payload mode is chosen here too, since it is part of what is signed.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, Self

from gateway import errors
from gateway.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    InvalidArgument,
    InvalidRequest,
    MissingContentLength,
    SignatureDoesNotMatch,
)
from gateway.s3.request import S3Request
from gateway.signing.sigv4 import (
    EMPTY_SHA256,
    TIMESTAMP,
    SignatureClaim,
    SigningKey,
    SigningKeys,
    canonical_query,
    canonical_request,
    check_time,
    matches,
    parse_authorization,
    parse_presigned,
    string_to_sign,
)
from iam.model import Credentials, Principal, PrincipalType

_HEX64 = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(TIMESTAMP)
_PRESIGN_MARKS = frozenset({"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"})
_SIGV2_MARKS = frozenset({"AWSAccessKeyId", "Signature"})
MAX_DECODED_LENGTH = 5 * 2**40  # one PUT: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html

#: access key id and presented token ("" for none) -> the credentials and the principal behind them, or an S3Error.
Lookup = Callable[[str, str], tuple[Credentials, Principal]]


class PayloadMode(StrEnum):
    """How the body is covered: the values of x-amz-content-sha256, `HEX` for a hash.

    `chunked`: the body is in aws-chunked framing; `chain`: every chunk carries a signature.
    """

    chunked: bool
    chain: bool

    def __new__(cls, value: str, chunked: bool = False, chain: bool = False) -> Self:  # noqa: FBT001, FBT002 - enum's way
        """Make one of the members below."""
        mode = str.__new__(cls, value)
        mode._value_, mode.chunked, mode.chain = value, chunked, chain
        return mode

    HEX = "HEX"
    UNSIGNED = "UNSIGNED-PAYLOAD"
    UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER", True
    SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", True, True
    SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", True, True


_MODES = {mode.value: mode for mode in PayloadMode if mode is not PayloadMode.HEX} | {EMPTY_SHA256: PayloadMode.HEX}


class Caller(NamedTuple):
    """A verified caller and what was learnt while verifying.

    `payload_hash` is the value that the signature covers, `target` the canonical URI it covers (sent on exactly so),
    `decoded_length` the payload's length in bytes when the body is aws-chunked, `signing_key` the key for chunk signatures.
    """

    principal: Principal
    mode: PayloadMode
    payload_hash: str
    target: str
    claim: SignatureClaim | None = None
    decoded_length: int | None = None
    signing_key: SigningKey | None = None

    @property
    def auth_type(self) -> str:
        """Return the value of the condition key s3:authType."""
        if self.claim is None:
            return ""
        if self.claim.form:
            return "POST"
        return "REST-QUERY-STRING" if self.claim.presigned else "REST-HEADER"


def authenticate(
    request: S3Request,
    lookup: Lookup,
    keys: SigningKeys,
    *,
    now: int,
    service: str = "s3",
    region: str = "",
    payload: str = "",
) -> Caller:
    """Return who signed the request.

    `service` is the service of the credential scope, `region` the only one accepted ("" for any), `payload` overrides
    the payload hash (STS signs the hash of its form and sends no x-amz-content-sha256). Raises an S3Error.
    """
    claim = _claim(request) if request.query else _header_claim(request)
    if claim is None:
        return _anonymous(request)
    check_scope(claim, service, region)
    token = token_of(request, claim) if request.query else request.headers.get("x-amz-security-token", "")
    credentials, principal = lookup(claim.access_key_id, token)
    check_time(claim, now)
    _check_all_signed(request, claim)
    payload_hash = payload or _payload_hash(request, claim)
    mode = _MODES.get(payload_hash) or _mode(payload_hash)
    key = keys.get(credentials.secret.reveal(), claim.scope)
    target = _signed_target(request, claim, payload_hash, key)
    if target is None:
        raise SignatureDoesNotMatch(reason=f"signature of {claim.access_key_id} differs")
    length = _decoded_length(request) if mode.chunked else None
    return Caller(principal, mode, payload_hash, target, claim, length, key)


def _claim(request: S3Request) -> SignatureClaim | None:
    """Return what the request claims, None for an anonymous one; two claims are none (trap 7)."""
    authorization = request.header("authorization")
    parameters = request.parameters
    presigned = not _PRESIGN_MARKS.isdisjoint(parameters)
    if authorization and presigned:
        raise InvalidArgument("Only one auth mechanism allowed.", reason="header and query signature together")
    if not presigned and parameters.keys() >= _SIGV2_MARKS:
        raise _sigv2()
    return parse_presigned(request.query) if presigned else _header_claim(request)


def _header_claim(request: S3Request) -> SignatureClaim | None:
    """Return what the Authorization header claims, None where there is none."""
    authorization = request.headers.get("authorization")
    if not authorization:
        return None
    if authorization.startswith("AWS "):
        raise _sigv2()
    if not authorization.startswith("AWS4-"):
        raise InvalidRequest("The authorization mechanism you have provided is not supported.", reason="not SigV4")
    timestamp = request.headers.get("x-amz-date")
    if not timestamp:
        return _dated_claim(authorization, request.header("date"))
    return parse_authorization(authorization, timestamp)


def _dated_claim(authorization: str, date: str) -> SignatureClaim:
    """Return the claim of a request whose time is in Date, in the form of x-amz-date, and signed: no other header need be."""
    if not _TIMESTAMP.fullmatch(date):
        raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header", reason="no x-amz-date")
    claim = parse_authorization(authorization, date)
    if "date" not in claim.signed_headers:
        raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header", reason="unsigned Date")
    return claim


def _sigv2() -> InvalidRequest:
    return InvalidRequest(
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        reason="SigV2",
    )


def _anonymous(request: S3Request) -> Caller:
    if request.header("x-amz-security-token") or "X-Amz-Security-Token" in request.parameters:
        raise AccessDenied(reason="a session token without a signature")
    mode = _mode(request.header("x-amz-content-sha256") or PayloadMode.UNSIGNED)
    if mode.chain:
        raise AccessDenied(reason="signed chunks without a signature")
    payload_hash = request.header("x-amz-content-sha256") or PayloadMode.UNSIGNED.value
    principal = Principal(PrincipalType.ANONYMOUS)
    length = _decoded_length(request) if mode.chunked else None
    return Caller(principal, mode, payload_hash, request.canonical_target, None, length)


def check_scope(claim: SignatureClaim, service: str, region: str) -> None:
    """Refuse a signature for another service, or for another region than ours ("": any). AuthorizationHeaderMalformed."""
    if claim.scope.service != service:
        raise AuthorizationHeaderMalformed(f"The credential scope's service must be '{service}'.")
    if region and claim.scope.region != region:
        raise AuthorizationHeaderMalformed(
            f"The region '{claim.scope.region}' is wrong; expecting '{region}'.", Region=region
        )  # SDKs read <Region> and sign again


def token_of(request: S3Request, claim: SignatureClaim) -> str:
    """Return the session token: in the query of a presigned request, else in the header. Both are covered.

    Raises InvalidRequest when it stands elsewhere, or twice.
    """
    header, query = request.header("x-amz-security-token"), request.parameters.get("X-Amz-Security-Token", "")
    if header and query:
        raise InvalidRequest("The session token was given twice.", reason="token in header and query")
    if query and not claim.presigned:
        raise InvalidRequest(
            "The session token belongs in the header.", reason="token in the query of a header signature"
        )
    return header or query


def _check_all_signed(request: S3Request, claim: SignatureClaim) -> None:
    """Refuse x-amz-* headers that the signature does not cover: somebody else may have added them (trap 4)."""
    stray = request.names.amazon.difference(claim.signed_headers)
    if stray:
        raise AccessDenied(
            "There were headers present in the request which were not signed", HeadersNotSigned=", ".join(sorted(stray))
        )


def _payload_hash(request: S3Request, claim: SignatureClaim) -> str:
    header = request.headers.get("x-amz-content-sha256", "")
    if not claim.presigned:
        return header or EMPTY_SHA256
    pinned = request.parameters.get("X-Amz-Content-Sha256", "")
    if header and pinned and header != pinned:
        raise InvalidRequest("The payload hash was given twice.", reason="payload hash in header and query")
    return pinned or header or PayloadMode.UNSIGNED.value


def _mode(payload_hash: str) -> PayloadMode:
    mode = _MODES.get(payload_hash)
    if mode is not None:
        return mode
    if _HEX64.fullmatch(payload_hash):
        return PayloadMode.HEX
    if payload_hash.startswith("STREAMING-"):
        raise errors.NotImplemented(
            "Signature Version 4A (ECDSA) is not implemented." if "ECDSA" in payload_hash else None,
            reason=f"payload mode {payload_hash[:60]}",
        )
    raise InvalidArgument("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- mode or a valid sha256 value.")


def _signed_target(request: S3Request, claim: SignatureClaim, payload_hash: str, key: SigningKey) -> str | None:
    """Return the canonical URI that the signature covers, None when it covers none of them."""
    for query in _canonical_queries(request):
        for target in request.canonical_targets:
            canonical = canonical_request(
                request.method, target, query, request.headers, claim.signed_headers, payload_hash
            )
            expected = key.sign(string_to_sign(claim.timestamp, claim.scope, canonical))
            if matches(expected, claim.signature):
                return target
    return None


def _canonical_queries(request: S3Request) -> tuple[str, ...]:
    """Return the canonical queries that a signature may cover: two where a parameter was given more than once."""
    if not request.query:
        return ("",)
    canonical = canonical_query(request.query)
    if len(request.parameters) == len(request.query):
        return (canonical,)
    return canonical, canonical_query(request.query, as_sent=True)


def _decoded_length(request: S3Request) -> int:
    value = request.header("x-amz-decoded-content-length")
    if not value:
        raise MissingContentLength(reason="no x-amz-decoded-content-length")
    if not (value.isascii() and value.isdigit() and len(value) < 20) or int(value) > MAX_DECODED_LENGTH:
        raise InvalidArgument("x-amz-decoded-content-length is not a length.")
    return int(value)
