"""AWS Signature Version 4: parse what a request claims, canonicalize, sign, compare.

Pure functions over text. S3 signs the path as it is: no normalization, no second encoding; the caller passes the
canonical URI. https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and
.../sigv4-query-string-auth.html. Every refusal is an S3Error with the code AWS uses.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

from gateway.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    RequestTimeTooSkewed,
    S3Error,
)

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MAX_SKEW = 900  # seconds either way
MAX_EXPIRES = 604_800  # seconds: seven days

_UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]*")
_UNRESERVED_OR_SLASH = re.compile(r"[A-Za-z0-9\-._~/]*")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]+")
_SPACES = re.compile(r"[ \t]+")
_ACCESS_KEY = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Scope:
    """A credential scope: `date` (YYYYMMDD), `region`, `service`."""

    date: str
    region: str
    service: str

    @property
    def text(self) -> str:
        """Return the scope as the string to sign carries it."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True, slots=True)
class SignatureClaim:
    """What a request says about its own signature; nothing of it is verified yet.

    `timestamp` is ISO 8601 basic (`YYYYMMDDTHHMMSSZ`), `expires` in seconds and only for presigned requests.
    """

    access_key_id: str
    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    expires: int | None = None
    presigned: bool = False


def parse_authorization(value: str, timestamp: str) -> SignatureClaim:
    """Parse an Authorization header; `timestamp` is the value of x-amz-date."""
    bad = AuthorizationHeaderMalformed
    algorithm, _, rest = value.partition(" ")
    if algorithm != ALGORITHM:
        raise bad(f"The algorithm must be {ALGORITHM}.")
    fields: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, text = part.strip(" ").partition("=")
        if not equals or name in fields:
            raise bad(reason="a field without a value, or twice")
        fields[name] = text
    if fields.keys() != {"Credential", "SignedHeaders", "Signature"}:
        raise bad("The authorization header must have Credential, SignedHeaders and Signature.")
    return _claim(fields["Credential"], fields["SignedHeaders"], fields["Signature"], timestamp, None, bad)


def parse_presigned(query: Sequence[tuple[str, str]]) -> SignatureClaim:
    """Parse the parameters of a presigned request (decoded names and values)."""
    bad = AuthorizationQueryParametersError
    fields: dict[str, str] = {}
    for name, value in query:
        if name in fields and name.startswith("X-Amz-"):
            raise bad(f"{name} was given more than once.")
        fields[name] = value
    if fields.get("X-Amz-Algorithm") != ALGORITHM:
        raise bad(f"X-Amz-Algorithm only supports {ALGORITHM}.")
    names = ("X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date", "X-Amz-Expires")
    if any(name not in fields for name in names):
        raise bad("Query-string authentication version 4 requires X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
                  "X-Amz-Date, X-Amz-SignedHeaders and X-Amz-Expires parameters.")  # fmt: skip
    credential, headers, signature, timestamp, expires = (fields[name] for name in names)
    return _claim(credential, headers, signature, timestamp, _expires(expires), bad)


def _expires(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 7):
        raise AuthorizationQueryParametersError("X-Amz-Expires should be a number between 1 and 604800.")
    if not 1 <= int(text) <= MAX_EXPIRES:
        raise AuthorizationQueryParametersError("X-Amz-Expires must be between 1 and 604800 seconds.")
    return int(text)


def _claim(  # noqa: PLR0913, PLR0917 - the parts of a claim
    credential: str, headers: str, signature: str, timestamp: str, expires: int | None, bad: type[S3Error]
) -> SignatureClaim:
    # An access key may contain "/": the scope is the last four parts.
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request" or not _ACCESS_KEY.fullmatch(parts[0]):
        raise bad('The credential is malformed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    if not _TIMESTAMP.fullmatch(timestamp):
        raise bad('The date must be in the ISO8601 Long Format "yyyyMMdd\'T\'HHmmss\'Z\'".')
    if parts[1] != timestamp[:8]:
        raise bad("The date in the credential scope does not match the date of the request.")
    if not _SIGNATURE.fullmatch(signature):
        raise bad(reason="signature is not 64 hexadecimal digits")
    signed = tuple(headers.split(";"))
    if list(signed) != sorted(set(signed)) or not all(_HEADER_NAME.fullmatch(name) for name in signed):
        raise bad("SignedHeaders must be lower-case, sorted and unique.")
    if "host" not in signed:
        raise AccessDenied("The host header must be signed.", reason="host not in SignedHeaders")
    return SignatureClaim(parts[0], Scope(*parts[1:4]), signed, signature, timestamp, expires, expires is not None)


def check_time(claim: SignatureClaim, now: int) -> None:
    """Refuse what was signed too long ago, or for later. `now` in seconds since the epoch."""
    signed_at = _epoch(claim.timestamp)
    if claim.expires is None:
        if abs(now - signed_at) > MAX_SKEW:
            raise RequestTimeTooSkewed(RequestTime=claim.timestamp, MaxAllowedSkewMilliseconds=str(MAX_SKEW * 1000))
        return
    if signed_at > now + MAX_SKEW:
        raise AccessDenied("Request is not valid yet", reason="presigned for the future")
    if now > signed_at + claim.expires:
        raise AccessDenied("Request has expired", reason="presigned URL expired")


def _epoch(timestamp: str) -> int:
    try:
        return int(datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise AccessDenied("The request's date is not a date.", reason="impossible timestamp") from None


def uri_encode(text: str | bytes, *, slash: bool) -> str:
    """Percent-encode all but the unreserved characters of RFC 3986; `slash` says whether `/` is encoded too."""
    if isinstance(text, str) and (_UNRESERVED if slash else _UNRESERVED_OR_SLASH).fullmatch(text):
        return text
    return quote(text, safe="-._~" if slash else "-._~/")


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the canonical query of decoded pairs, X-Amz-Signature left out."""
    encoded = [(uri_encode(n, slash=True), uri_encode(v, slash=True)) for n, v in pairs if n != "X-Amz-Signature"]
    encoded.sort()
    return "&".join(f"{name}={value}" for name, value in encoded)


def canonical_request(  # noqa: PLR0913, PLR0917 - the six lines of a canonical request
    method: str, uri: str, query: str, headers: Mapping[str, str], signed_headers: Sequence[str], payload_hash: str
) -> str:
    """Return the canonical request. `headers` by lower-case name; a signed one that is absent raises AccessDenied."""
    lines = []
    for name in signed_headers:
        value = headers.get(name)
        if value is None:
            raise AccessDenied(f"The signed header {name} is not in the request.", reason="signed header absent")
        if "  " in value or "\t" in value:
            value = _SPACES.sub(" ", value)
        lines.append(f"{name}:{value.strip()}\n")
    return f"{method}\n{uri}\n{query}\n{''.join(lines)}\n{';'.join(signed_headers)}\n{payload_hash}"


def string_to_sign(timestamp: str, scope: Scope, canonical: str) -> str:
    """Return the string to sign for a canonical request."""
    return f"{ALGORITHM}\n{timestamp}\n{scope.text}\n{sha256(canonical.encode('utf-8', 'surrogateescape')).hexdigest()}"


def signing_key(secret: str, scope: Scope) -> bytes:
    """Derive the signing key of a secret for one day, region and service."""
    key = ("AWS4" + secret).encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class SigningKeys:
    """Derived signing keys, kept: four HMACs saved per request. Bounded; emptied when full."""

    def __init__(self, maxsize: int = 4096) -> None:
        self._maxsize = maxsize
        self._keys: dict[tuple[str, Scope], bytes] = {}

    def get(self, secret: str, scope: Scope) -> bytes:
        """Return the signing key, derived at most once; keyed by the secret itself, so no two can mix (trap 63)."""
        key = self._keys.get((secret, scope))
        if key is None:
            if len(self._keys) >= self._maxsize:
                self._keys.clear()
            key = self._keys[secret, scope] = signing_key(secret, scope)
        return key

    def __repr__(self) -> str:
        return f"SigningKeys({len(self._keys)} of {self._maxsize})"


def sign_string(key: bytes, text: str) -> str:
    """Return the signature of a text: 64 lower-case hexadecimal digits."""
    return hmac.digest(key, text.encode(), "sha256").hex()


def matches(expected: str, given: str) -> bool:
    """Compare two signatures in constant time (CWE-208)."""
    return hmac.compare_digest(expected.encode(), given.encode())


def sign_headers(  # noqa: PLR0913 - everything a signature covers
    method: str,
    uri: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    *,
    key: bytes,
    scope: Scope,
    access_key_id: str,
    timestamp: str,
) -> tuple[str, str]:
    """Sign a request with all the given headers; return the Authorization value and the signature."""
    names = sorted(headers)
    canonical = canonical_request(method, uri, query, headers, names, payload_hash)
    signature = sign_string(key, string_to_sign(timestamp, scope, canonical))
    credential = f"{access_key_id}/{scope.text}"
    return f"{ALGORITHM} Credential={credential}, SignedHeaders={';'.join(names)}, Signature={signature}", signature
