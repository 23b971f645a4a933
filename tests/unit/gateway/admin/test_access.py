"""access: who asks, and what the authorizer is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.admin.access import identify
from gateway.errors import AccessDenied, S3Error, XAmzContentSHA256Mismatch
from gateway.signing.sigv4 import EMPTY_SHA256
from iam.model import AccessRequest, Allow, Deny
from tests.unit.gateway.signers import ANN, EVE, signed
from tests.unit.gateway.storied import world


class Asked:
    """An authorizer that remembers what it was asked, and answers later."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed
        self.questions: list[AccessRequest] = []

    def decide_now(self, request):
        return None

    async def decide(self, request):
        self.questions.append(request)
        return Allow() if request.action in self.allowed else Deny(f"not {request.action}")


def asker(authorizer, who=ANN, target="/minio/admin/v3/list-users"):
    request, now = signed("GET", target, who=who, payload=EMPTY_SHA256)
    return identify(request, world(authorizer), now=now)


async def test_the_question_is_about_no_bucket():
    """An action, the principal and the facts of the request; bucket and key are empty, own affairs are marked."""
    authorizer = Asked("admin:ListUsers")
    await asker(authorizer).must(("admin:ListUsers",), own=True)
    (asked,) = authorizer.questions
    assert (asked.action, asked.bucket, asked.key, asked.deny_only) == ("admin:ListUsers", "", "", True)
    assert asked.principal.parent == "ann@idp"
    assert asked.context.values("aws:SourceIp") == ("192.0.2.7",)
    assert asked.context.values("s3:authType") == ("REST-HEADER",)


async def test_one_of_several_actions_is_enough():
    """They are asked in turn until one is allowed; when none is, the reasons of all are kept for the log."""
    authorizer = Asked("b")
    await asker(authorizer).must(("a", "b", "c"))
    assert [q.action for q in authorizer.questions] == ["a", "b"]
    with pytest.raises(AccessDenied) as refused:
        await asker(authorizer).must(("a", "c"))
    assert refused.value.reason == "not a; not c"


def test_identities():
    """A session stands for its parent; its secret is its own."""
    found = asker(Asked(), EVE)
    assert (found.identity, found.is_derived, found.secret == EVE.secret) == ("eve@idp", True, True)
    with pytest.raises(XAmzContentSHA256Mismatch):
        found.check_body(b"another")
    found.check_body(b"")


@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"])
def test_only_a_hash_covers_a_body(payload):
    """Whatever S3 allows besides is no administration call."""
    headers = {"x-amz-decoded-content-length": "0"} if payload.startswith("STREAMING") else {}
    request, now = signed("GET", "/minio/admin/v3/list-users", headers, payload=payload)
    with pytest.raises(S3Error) as refused:
        identify(request, world(Asked()), now=now)
    assert refused.value.code == "AccessDenied"


@pytest.mark.parametrize("region", ["", "eu-west-1"])
def test_any_region_will_do(region):
    """As in MinIO: its clients sign for no region when they are not told one, also where S3 has one."""
    request, now = signed("GET", "/minio/admin/v3/list-users", payload=EMPTY_SHA256, region=region)
    found = identify(request, replace(world(Asked()), region="us-east-1"), now=now)
    assert found.principal.owner
