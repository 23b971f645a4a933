"""A browser's preflight crosses as three headers on a path, and nothing else of it does."""

from __future__ import annotations

import pytest

from gateway.s3.request import parse
from gateway.signing.sigv4 import EMPTY_SHA256, SigningKeys
from gateway.stories.forward import Target, build
from iam.model import Credentials, PrincipalType, Secret
from tests.unit.gateway.storied import plan_of, refusal

ASKS = [("Host", "h"), ("Origin", "https://a.test"), ("Access-Control-Request-Method", "PUT")]
NOW = 1_767_225_600
TARGET = Target("store:1", "us-east-1", secure=False)


def preflight(target="/buc/k", *more, headers=ASKS):
    """Return a preflight's request."""
    return parse("OPTIONS", target, [*headers, *more], source_ip="127.0.0.1")


def crossing(request):
    """Return what the backend would get."""
    plan = plan_of(request, NOW)
    keys = Credentials("BACKEND", Secret("secret"))
    return build(plan.request, plan.operation, plan.caller, target=TARGET, credentials=keys, keys=SigningKeys(), now=NOW)  # fmt: skip


def test_a_preflight_crosses_with_its_three_headers_only():
    """Cookies, credentials, metadata and the query of the coming request stay here; nobody asked is anybody."""
    request = preflight(
        "/buc/a%20b?X-Amz-Signature=1&X-Amz-Security-Token=t&versionId=v", ("Cookie", "c"), ("Authorization", "AWS4-HMAC-SHA256 x"),
        ("Access-Control-Request-Headers", "x-amz-date"), ("x-amz-meta-a", "b"), ("x-amz-security-token", "t"),
    )  # fmt: skip
    sent = crossing(request)
    assert (sent.method, sent.url, sent.length) == ("OPTIONS", "http://store:1/buc/a%20b", None)
    assert set(sent.headers) == {
        "host", "origin", "access-control-request-method", "access-control-request-headers", "x-amz-date",
        "x-amz-content-sha256", "authorization",
    }  # fmt: skip
    assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=BACKEND/")
    assert sent.headers["x-amz-content-sha256"] == EMPTY_SHA256
    assert plan_of(request, NOW).caller.principal.type is PrincipalType.ANONYMOUS


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (preflight(headers=ASKS[:1]), "BadRequest"),
        (preflight(headers=ASKS[:2]), "BadRequest"),
        (preflight(headers=[ASKS[0], ASKS[2]]), "BadRequest"),
        (preflight("/"), "MethodNotAllowed"),
        (preflight("/buc/k", ("Content-Length", "3")), "InvalidRequest"),
        (preflight("/buc/k", ("Transfer-Encoding", "chunked")), "InvalidRequest"),
    ],
)
def test_what_is_no_preflight_never_reaches_the_backend(request_, code):
    """Without an origin, a method or a bucket there is no question, and a question has no body."""
    assert refusal(request_, NOW).code == code
