"""A browser's preflight: may a page of that origin make such a request? The bucket's CORS configuration answers, at the store.

The browser asks without credentials, with the URL it is going to use (a presigned one too); S3 answers to anybody, from the
configuration alone. So the question crosses as three headers on a path, nothing else: no query, no body, no signature of the
client's. The request that follows is judged like any other. https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html
"""

from __future__ import annotations

from gateway.errors import BadRequest, InvalidRequest, MethodNotAllowed
from gateway.s3.authenticate import Caller, PayloadMode
from gateway.s3.operations import Operation
from gateway.s3.request import S3Request
from gateway.signing.sigv4 import EMPTY_SHA256
from gateway.stories.plans import Forward
from iam.model import Principal, PrincipalType

_ASKS = frozenset({"origin", "access-control-request-method"})
_NONE: frozenset[str] = frozenset()


def is_preflight(request: S3Request) -> bool:
    """Return whether a request is the browser's question; no operation of S3 has its method."""
    return request.method == "OPTIONS"


def preflight(request: S3Request) -> Forward:
    """Return the plan to hand the question on.

    Raises BadRequest when it is no question, InvalidRequest when it has a body, MethodNotAllowed outside a bucket.
    """
    if not request.path.bucket:
        raise MethodNotAllowed(reason="a preflight outside a bucket")
    if not request.header("origin"):
        raise BadRequest("Insufficient information. Origin request header needed.")
    if not request.header("access-control-request-method"):
        raise BadRequest("Invalid Access-Control-Request-Method: null")
    if request.content_length or "transfer-encoding" in request.headers:
        raise InvalidRequest("A preflight has no body.", reason="OPTIONS with a body")
    nobody = Caller(Principal(PrincipalType.ANONYMOUS), PayloadMode.HEX, EMPTY_SHA256, request.canonical_target)
    return Forward(request, _operation(request), nobody)


def _operation(request: S3Request) -> Operation:
    level = "object" if request.path.key else "bucket"
    known = _ASKS | {"access-control-request-headers"}
    return Operation("OptionsObject", "OPTIONS", level, (), _NONE, _ASKS, _NONE, known, metadata=False)
