"""AWS Signature Version 4: parse what a request claims, canonicalize, sign, compare.

Pure functions over text; what clients repeat (a credential, a second, a list of signed headers) is worked out once. S3 signs
the path as it is: no normalization, no second encoding; the caller passes the canonical URI. Every refusal is an S3Error.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and .../sigv4-query-string-auth.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import quote

from gateway.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidArgument,
    InvalidRequest,
    RequestTimeTooSkewed,
    S3Error,
    SignatureDoesNotMatch,
)
from gateway.signing.digests import hmac_hex, hmac_state, sha256_hex

ALGORITHM = "AWS4-HMAC-SHA256"
ASYMMETRIC_ALGORITHM = "AWS4-ECDSA-P256-SHA256"  # SigV4A, recognized only to be refused by its name
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MAX_SKEW = 900  # seconds either way
MAX_EXPIRES = 604_800  # seconds: seven days

_UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]*")
_UNRESERVED_OR_SLASH = re.compile(r"[A-Za-z0-9\-._~/]*")
_SCOPE_DATE = re.compile(r"/([0-9]{8})/[^/]*/[^/]+/aws4_request")
_KEPT_TEXT = 1024  # characters of a text that is remembered
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
TIMESTAMP = r"[0-9]{8}T(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z"
_TIMESTAMP = re.compile(TIMESTAMP)
_SIGNED_HEADERS = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]+(?:;[a-z0-9!#$%&'*+\-.^_`|~]+)*")
# The scope's parts hold no "/" and no line end: the scope is one line of the string to sign, and unambiguous. An access key
# may contain "/": the scope is the last four parts (trap 16). The region may be empty: MinIO's SDKs sign STS calls so.
_CREDENTIAL = re.compile(
    r"([\x21-\x7e]{1,128})/([0-9]{8})/([\x21-\x2e\x30-\x7e]{0,64})/([\x21-\x2e\x30-\x7e]{1,64})/aws4_request"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """A credential scope: `date` (YYYYMMDD), `region`, `service`."""

    date: str
    region: str
    service: str
    text: str = field(init=False, compare=False)  # as the string to sign carries it

    def __post_init__(self) -> None:
        """Write the text once."""
        object.__setattr__(self, "text", f"{self.date}/{self.region}/{self.service}/aws4_request")


class SignatureClaim(NamedTuple):
    """What a request says about its own signature; nothing of it is verified yet.

    `timestamp` is ISO 8601 basic (`YYYYMMDDTHHMMSSZ`), `expires` in seconds and not for header signatures; `presigned`
    and `form` say where the signature stood.
    """

    access_key_id: str
    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    expires: int | None = None
    presigned: bool = False
    form: bool = False


def parse_authorization(value: str, timestamp: str) -> SignatureClaim:
    """Parse an Authorization header; `timestamp` is the value of x-amz-date.

    The three fields may come in any order, spaces around the commas are optional. Raises AuthorizationHeaderMalformed,
    AccessDenied (no usable date, or host not signed) or InvalidRequest (SigV4A).
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html
    """
    named, _, signature = value.rpartition("Signature=")
    known = _named(named) if len(named) <= _KEPT_TEXT else None
    if known is None or not _SIGNATURE.fullmatch(signature) or not _is_of_day(timestamp, known.scope.date):
        return _parsed(value, timestamp)
    return SignatureClaim(known.access_key_id, known.scope, known.signed_headers, signature, timestamp)


@lru_cache(maxsize=1024)
def _named(text: str) -> SignatureClaim | None:
    """Return what an Authorization header claims before its signature, None when that is not well formed."""
    date = _SCOPE_DATE.search(text)
    try:
        return _parsed(f"{text}Signature={'0' * 64}", f"{date[1]}T000000Z") if date else None
    except S3Error:
        return None


@lru_cache(maxsize=1024)
def _is_of_day(timestamp: str, date: str) -> bool:
    return timestamp[:8] == date and _TIMESTAMP.fullmatch(timestamp) is not None


def _parsed(value: str, timestamp: str) -> SignatureClaim:
    algorithm, _, rest = value.partition(" ")
    _check_algorithm(algorithm, AuthorizationHeaderMalformed)
    fields = _fields(rest)
    if fields.keys() != {"Credential", "SignedHeaders", "Signature"}:
        raise AuthorizationHeaderMalformed(
            "The authorization header must have Credential, SignedHeaders and Signature."
        )
    if not _TIMESTAMP.fullmatch(timestamp):
        raise AccessDenied(
            "AWS authentication requires a valid Date or x-amz-date header", reason="malformed x-amz-date"
        )
    return _claim(fields, timestamp, None, AuthorizationHeaderMalformed)


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.strip(" ").partition("=")
        if not equals or name in fields:
            raise AuthorizationHeaderMalformed(reason="a field without a value, or twice")
        fields[name] = value
    return fields


def parse_presigned(query: Sequence[tuple[str, str]]) -> SignatureClaim:
    """Parse the parameters of a presigned request (decoded names and values).

    Raises AuthorizationQueryParametersError, AccessDenied (host not signed) or InvalidRequest (SigV4A).
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    fields: dict[str, str] = {}
    for name, value in query:
        if name.startswith("X-Amz-"):
            if name[6:] in fields:
                raise AuthorizationQueryParametersError(f"{name} was given more than once.")
            fields[name[6:]] = value
    _check_algorithm(fields.get("Algorithm", ""), AuthorizationQueryParametersError)
    if not fields.keys() >= {"Credential", "SignedHeaders", "Signature", "Date", "Expires"}:
        raise AuthorizationQueryParametersError(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if not _TIMESTAMP.fullmatch(fields["Date"]):
        raise AuthorizationQueryParametersError(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"."
        )
    return _claim(fields, fields["Date"], _expires(fields["Expires"]), AuthorizationQueryParametersError)


def parse_form(fields: Mapping[str, str]) -> SignatureClaim:
    """Parse the fields of a POST form, names in lower case. What they sign is the policy, so that there are no headers.

    The signing key is one day's, and good for seven: so is what it signed. Raises InvalidArgument or InvalidRequest.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html
    """
    _check_algorithm(fields["x-amz-algorithm"], InvalidArgument)
    access_key_id, scope = _credential(fields["x-amz-credential"], InvalidArgument)
    timestamp, signature = fields["x-amz-date"], fields["x-amz-signature"]
    if not _TIMESTAMP.fullmatch(timestamp) or scope.date != timestamp[:8]:
        raise InvalidArgument("x-amz-date must be \"yyyyMMdd'T'HHmmss'Z'\", of the day that the credential names.")
    if not _SIGNATURE.fullmatch(signature):
        raise InvalidArgument("x-amz-signature must be 64 lower-case hexadecimal digits.")
    return SignatureClaim(access_key_id, scope, (), signature, timestamp, MAX_EXPIRES, form=True)


def _check_algorithm(algorithm: str, bad: type[S3Error]) -> None:
    if algorithm == ASYMMETRIC_ALGORITHM:
        raise InvalidRequest(f"SigV4A is not supported. Please use {ALGORITHM}.", reason="SigV4A")
    if algorithm != ALGORITHM:
        raise bad(f"The algorithm must be {ALGORITHM}.")


def _expires(text: str) -> int:
    # isdigit alone would take other scripts' digits; the length keeps int() from reading a book.
    if not (text.isascii() and text.isdigit() and len(text) <= 7):
        raise AuthorizationQueryParametersError("X-Amz-Expires should be a number between 1 and 604800.")
    if not 1 <= int(text) <= MAX_EXPIRES:
        raise AuthorizationQueryParametersError("X-Amz-Expires must be between 1 and 604800 seconds.")
    return int(text)


def _claim(fields: Mapping[str, str], timestamp: str, expires: int | None, bad: type[S3Error]) -> SignatureClaim:
    access_key_id, scope = _credential(fields["Credential"], bad)
    if scope.date != timestamp[:8]:
        raise bad("The date in the credential scope does not match the date of the request.")
    if not _SIGNATURE.fullmatch(fields["Signature"]):
        raise bad(reason="signature is not 64 lower-case hexadecimal digits")
    signed = _signed_headers(fields["SignedHeaders"], bad)
    return SignatureClaim(access_key_id, scope, signed, fields["Signature"], timestamp, expires, expires is not None)


def _credential(text: str, bad: type[S3Error]) -> tuple[str, Scope]:
    match = _CREDENTIAL.fullmatch(text)
    if match is None:
        raise bad('The credential is malformed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    return match[1], Scope(match[2], match[3], match[4])


def _signed_headers(text: str, bad: type[S3Error]) -> tuple[str, ...]:
    """Split SignedHeaders; without `host` the request could be replayed at another server (trap 5)."""
    signed = text.split(";")
    if not _SIGNED_HEADERS.fullmatch(text) or signed != sorted(set(signed)):
        raise bad("SignedHeaders must be lower-case, sorted and unique.")
    if "host" not in signed:
        raise AccessDenied("The host header must be signed.", reason="host not in SignedHeaders")
    return tuple(signed)


def check_time(claim: SignatureClaim, now: int) -> None:
    """Refuse what was signed too long ago, or for later. `now` in seconds since the epoch.

    Raises RequestTimeTooSkewed (header) or AccessDenied (presigned, or a timestamp that is no date).
    """
    signed_at = epoch(claim.timestamp)
    if claim.expires is None:
        if is_skewed(claim.timestamp, now):
            raise RequestTimeTooSkewed(RequestTime=claim.timestamp, MaxAllowedSkewMilliseconds=str(MAX_SKEW * 1000))
        return
    if signed_at > now + MAX_SKEW:
        raise AccessDenied("Request is not valid yet", reason="presigned for the future")
    if now > signed_at + claim.expires:
        raise AccessDenied("Request has expired", reason="presigned URL expired")


def is_skewed(timestamp: str, now: int) -> bool:
    """Return whether a header signature's time is too far from now, either way. Raises AccessDenied when it is no date."""
    return abs(now - epoch(timestamp)) > MAX_SKEW


def signature_age_ms(claim: SignatureClaim, now: int) -> int:
    """Return how long ago the request was signed, in milliseconds, never less than 0 (condition key s3:signatureAge)."""
    return age_ms(claim.timestamp, now)


def age_ms(timestamp: str, now: int) -> int:
    """Return how long ago a timestamp was at `now` (epoch seconds), in milliseconds, never less than 0. Raises AccessDenied."""
    return max(0, now - epoch(timestamp)) * 1000


@lru_cache(maxsize=1024)
def epoch(timestamp: str) -> int:
    """Return the seconds since the epoch of a timestamp. Raises AccessDenied when it is no date."""
    try:
        return int(datetime.fromisoformat(timestamp).timestamp())
    except ValueError:
        raise AccessDenied("The request's date is not a date.", reason="impossible timestamp") from None


def uri_encode(text: str | bytes, *, slash: bool) -> str:
    """Percent-encode all but RFC 3986's unreserved characters, `/` too if `slash`; surrogate escapes stand for their bytes."""
    if isinstance(text, str):
        if (_UNRESERVED if slash else _UNRESERVED_OR_SLASH).fullmatch(text):
            return text
        text = text.encode("utf-8", "surrogateescape")
    return quote(text, safe="-._~" if slash else "-._~/")


def canonical_query(pairs: Iterable[tuple[str, str]], *, as_sent: bool = False) -> str:
    """Return the canonical query of decoded pairs, X-Amz-Signature left out; `as_sent`: values of one name unsorted (MinIO's Go)."""
    encoded = [(uri_encode(n, slash=True), uri_encode(v, slash=True)) for n, v in pairs if n != "X-Amz-Signature"]
    encoded.sort(key=itemgetter(0) if as_sent else None)
    return "&".join(f"{name}={value}" for name, value in encoded)


def canonical_headers(headers: Mapping[str, str], signed_headers: Sequence[str]) -> str:
    """Return the signed headers as `name:value` lines. `headers` by lower-case name, duplicates joined by `,` already.

    Values are trimmed and runs of whitespace become one space, as botocore and MinIO do it. A signed header that is
    absent raises SignatureDoesNotMatch: what was signed is not what was sent.
    """
    values_of, lines, _ = _lines(tuple(signed_headers))
    try:
        values = values_of(headers)
    except KeyError as missing:
        raise SignatureDoesNotMatch(reason=f"the signed header {missing.args[0]} is not in the request") from None
    text: str = lines % values
    if text.isascii() and text.count("\n") == len(signed_headers) and not _may_fold(text):
        return text
    return lines % tuple(" ".join(headers[name].split()) for name in signed_headers)


@lru_cache(maxsize=1024)
def _lines(names: tuple[str, ...]) -> tuple[Callable[[Mapping[str, str]], Any], str, str]:
    """Return what takes the values of these headers, the lines to put them into, and the list of their names."""
    lines = "".join(f"{name.replace('%', '%%')}:%s\n" for name in names)
    return itemgetter(*names) if names else (lambda _: ()), lines, ";".join(names)


def _may_fold(text: str) -> bool:
    """Return whether whitespace in ASCII lines may be more than single spaces between words."""
    if " " in text and ("  " in text or " \n" in text or ": " in text):
        return True
    return (
        "\t" in text or "\r" in text or "\x0b" in text or "\x0c" in text
        or "\x1c" in text or "\x1d" in text or "\x1e" in text or "\x1f" in text
    )  # fmt: skip


def canonical_request(
    method: str, uri: str, query: str, headers: Mapping[str, str], signed_headers: Sequence[str], payload_hash: str
) -> str:
    """Return the canonical request; `uri` and `query` are canonical already. Raises as canonical_headers does."""
    names = tuple(signed_headers)
    return f"{method}\n{uri}\n{query}\n{canonical_headers(headers, names)}\n{_lines(names)[2]}\n{payload_hash}"


def string_to_sign(timestamp: str, scope: Scope, canonical: str) -> str:
    """Return the string to sign for a canonical request."""
    return f"{ALGORITHM}\n{timestamp}\n{scope.text}\n{sha256_hex(canonical.encode('utf-8', 'surrogateescape'))}"


class SigningKey:
    """A derived signing key, ready to sign: HMAC-SHA256 (RFC 2104) with both pads absorbed already."""

    __slots__ = ("_state",)

    def __init__(self, key: bytes) -> None:
        self._state = hmac_state(key)

    def sign(self, text: str | bytes) -> str:
        """Return the signature of a text: 64 lower-case hexadecimal digits."""
        return hmac_hex(self._state, text if isinstance(text, bytes) else text.encode())

    def __repr__(self) -> str:
        return "SigningKey(***)"


def signing_key(secret: str, scope: Scope) -> SigningKey:
    """Derive the signing key of a secret for one day, region and service."""
    key = ("AWS4" + secret).encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return SigningKey(key)


class SigningKeys:
    """Derived signing keys, kept: four HMACs saved per request. Bounded; emptied when full."""

    def __init__(self, maxsize: int = 4096) -> None:
        self._maxsize = maxsize
        self._keys: dict[tuple[str, str, str, str], SigningKey] = {}

    def get(self, secret: str, scope: Scope) -> SigningKey:
        """Return the signing key, derived at most once; keyed by the secret itself, so no two can mix (trap 63)."""
        what = (secret, scope.date, scope.region, scope.service)
        key = self._keys.get(what)
        if key is None:
            if len(self._keys) >= self._maxsize:
                self._keys.clear()
            key = self._keys[what] = signing_key(secret, scope)
        return key

    def __repr__(self) -> str:
        return f"SigningKeys({len(self._keys)} of {self._maxsize})"


def matches(expected: str, given: str) -> bool:
    """Compare two signatures in constant time (CWE-208)."""
    return hmac.compare_digest(expected.encode(), given.encode())


@lru_cache(maxsize=256)
def _ordered(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names))


def sign_headers(  # noqa: PLR0913 - everything a signature covers
    method: str,
    uri: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    *,
    key: SigningKey,
    scope: Scope,
    access_key_id: str,
    timestamp: str,
) -> tuple[str, str]:
    """Sign a request with all the given headers; return the Authorization value and the signature."""
    names = _ordered(tuple(headers))
    canonical = canonical_request(method, uri, query, headers, names, payload_hash)
    signature = key.sign(string_to_sign(timestamp, scope, canonical))
    claimed = f"Credential={access_key_id}/{scope.text}, SignedHeaders={_lines(names)[2]}"
    return f"{ALGORITHM} {claimed}, Signature={signature}", signature
