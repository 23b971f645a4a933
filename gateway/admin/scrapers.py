"""Who may read the metrics: bearers of the tokens that `mc admin prometheus generate` writes (MINIO_PROMETHEUS_AUTH_TYPE=jwt).

A token is a JWT of one of the gateway's own access keys (root's, a user's, a service account's): `iss` is "prometheus", `sub` the access key, `exp`
its end, signed HS512 with the key's secret, so that nothing has to be issued or kept. It proves who asks; whether he may is asked of the
same authorizer as all of administration: admin:Prometheus. It ends with its secret, with its bearer, or with `exp` (mc: a hundred years).
"""

from __future__ import annotations

from typing import Any

import jwt

from gateway.errors import AccessDenied, S3Error
from gateway.s3.context import RequestContext
from gateway.s3.request import S3Request
from gateway.stories.case import World
from iam.model import AccessRequest, Principal

ACTION = "admin:Prometheus"
ALGORITHM, ISSUER = "HS512", "prometheus"
LONGEST = 4096  # bytes of a token
_KEY = 64  # bytes; HMAC fills a shorter key with zeros itself (RFC 2104 section 2), jwt would rather be given it
_CLAIMS = ["exp", "iss", "sub"]


async def admit(request: S3Request, world: World, *, now: int) -> Principal:
    """Return who reads the metrics. Raises AccessDenied."""
    principal = bearer(request.header("authorization"), world)
    facts = RequestContext(
        request.headers, request.query, principal, request.source_ip, request.secure, now, raw_headers=world.raw_headers, operation=ACTION
    )  # fmt: skip
    question = AccessRequest(principal, ACTION, "", "", facts)
    decision = await world.authorizer.decide(question)
    if not decision:
        raise AccessDenied(reason=decision.reason, asked=question)
    return principal


def bearer(authorization: str, world: World) -> Principal:
    """Return whose token stands in a header. Raises AccessDenied, with the kind of trouble and nothing of the token as its reason."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST:
        raise AccessDenied(reason="metrics: no bearer token")
    try:
        subject = _claims(token, "", {"verify_signature": False, "require": _CLAIMS})["sub"]
        if not isinstance(subject, str):  # unverified, it may be anything
            raise jwt.InvalidTokenError
        credentials, principal = world.lookup(subject, "")
        _claims(token, credentials.secret.reveal(), {"require": _CLAIMS})
    except S3Error as error:
        raise AccessDenied(reason=f"metrics: {error.reason or error.code}") from None
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise AccessDenied(reason=f"metrics: {type(error).__name__}") from None
    return principal


def _claims(token: str, secret: str, options: Any) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(
        token, secret.encode().ljust(_KEY, b"\0"), algorithms=[ALGORITHM], issuer=ISSUER, options=options
    )
    return found
