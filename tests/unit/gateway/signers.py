"""Requests as clients make them: botocore signs, the gateway's own parser reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from gateway.errors import InvalidAccessKeyId, InvalidTokenId
from gateway.s3.request import S3Request, parse
from gateway.signing.sigv4 import EMPTY_SHA256
from iam.model import Credentials, Principal, PrincipalType, Secret

HOST = "gw.example.test"
REGION = "us-east-1"
UNSIGNED = "UNSIGNED-PAYLOAD"
ROOT = Credentials("ROOTKEY", Secret("root-secret"))
ANN = Credentials("ANNKEY", Secret("ann-secret"), Secret("ann-token"))
EVE = Credentials("EVEKEY", Secret("eve-secret"), Secret("eve-token"))
PRINCIPALS = {
    "ROOTKEY": Principal(PrincipalType.ACCOUNT, "ROOTKEY", owner=True),
    "ANNKEY": Principal(PrincipalType.ASSUMED_ROLE, "ANNKEY", claims={"sub": "ann"}, policies=("ann",), parent="ann@idp"),
    "EVEKEY": Principal(PrincipalType.ASSUMED_ROLE, "EVEKEY", claims={"sub": "eve"}, parent="eve@idp"),
}  # fmt: skip


def lookup(access_key_id: str, token: str) -> tuple[Credentials, Principal]:
    """Return who a key and its token are, as the gateway's identities do."""
    found = next((one for one in (ROOT, ANN, EVE) if one.access_key_id == access_key_id), None)
    if found is None:
        raise InvalidAccessKeyId
    if token != (found.session_token.reveal() if found.session_token else ""):
        raise InvalidTokenId
    return found, PRINCIPALS[access_key_id]


def boto(who: Credentials) -> BotoCredentials:
    """Return credentials as botocore takes them."""
    token = who.session_token.reveal() if who.session_token else None
    return BotoCredentials(who.access_key_id, who.secret.reveal(), token)


def sign(
    method: str, target: str, headers: Mapping[str, str] | None = None, *, who: Credentials = ROOT, host: str = HOST,
    payload: str | None = UNSIGNED, region: str = REGION, service: str = "s3",
) -> dict[str, str]:  # fmt: skip
    """Return the headers that botocore signs, all of the given ones and host; `payload` None: no payload header."""
    request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers or {}))
    if payload is not None:
        request.headers["X-Amz-Content-SHA256"] = payload
    signer = SigV4Auth(boto(who), service, region)
    signer._normalize_url_path = lambda path: path
    signer.payload = lambda request: payload or EMPTY_SHA256
    signer.add_auth(request)
    return {"Host": host, **dict(request.headers.items())}


def read(method: str, target: str, headers: Mapping[str, str] | None = None, **how) -> S3Request:
    """Return a request as a turn hands it to the story."""
    return parse(method, target, {"Host": HOST, **(headers or {})}.items(), source_ip="192.0.2.7", **how)


def signed(
    method: str, target: str, headers: Mapping[str, str] | None = None, *, unsigned: Mapping[str, str] | None = None, **how
) -> tuple[S3Request, int]:  # fmt: skip
    """Return a signed request and the second at which it was signed; `unsigned` headers are added afterwards."""
    sent = sign(method, target, headers, **how)
    return read(method, target, sent | dict(unsigned or {})), epoch(sent["X-Amz-Date"])


def presigned_target(
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    *,
    who: Credentials = ROOT,
    expires: int = 60,
    payload: str = UNSIGNED,
) -> str:
    """Return the path and query of a URL that botocore presigned."""
    request = AWSRequest(method, f"http://{HOST}{target}", headers=dict(headers or {}))
    signer = S3SigV4QueryAuth(boto(who), "s3", REGION, expires=expires)
    signer.payload = lambda request: payload
    signer.add_auth(request)
    parts = urlsplit(request.url)
    return f"{parts.path}?{parts.query}"


def presigned(method: str, target: str, headers: Mapping[str, str] | None = None, **how) -> tuple[S3Request, int]:
    """Return a request that botocore presigned (`how`: as `presigned_target`), and the second at which it was."""
    found = presigned_target(method, target, headers, **how)
    return read(method, found, headers), epoch(dict(parse_qsl(urlsplit(found).query))["X-Amz-Date"])


def whole_target(request: S3Request) -> str:
    """Return a request's path and query, as text again."""
    return f"{request.target}?{urlencode(request.query, quote_via=quote, safe='')}"


def epoch(timestamp: str) -> int:
    """Return the second that a SigV4 timestamp names."""
    return int(datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
