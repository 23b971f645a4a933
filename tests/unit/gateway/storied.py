"""What the tests of stories share: a small world, and plans and refusals of its requests."""

from __future__ import annotations

import base64
import json
from hashlib import md5, sha256

import pytest

from gateway.errors import S3Error
from gateway.s3.xml import DeleteEntry, render_delete
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.case import World
from gateway.stories.story import begin
from iam.authorize import AllOf, IamPolicies
from iam.policy import parse
from tests.unit.gateway.signers import ANN, lookup, signed

ANNS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "s3:PutObject"], "Resource": ["arn:aws:s3:::ann", "arn:aws:s3:::ann/*"]},
        {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::ann/mine/*"},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::old/*", "Condition": {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}},
    ],
}  # fmt: skip
OPEN = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::pub/*"}]}  # fmt: skip
POLICIES = {"ann": parse(json.dumps(ANNS)), "open": parse(json.dumps(OPEN))}
LOCAL = AllOf(IamPolicies(lambda: POLICIES))


def world(authorizer=LOCAL, **how) -> World:
    return World(lookup, authorizer, SigningKeys(), **how)


def plan_of(request, now, where=None):
    return begin(request, where or world(), now)


def refusal(request, now, where=None) -> S3Error:
    """Return the error that ends this request's story before any plan."""
    with pytest.raises(S3Error) as refused:
        begin(request, where or world(), now)
    return refused.value


def delete(*keys: str, body: bytes | None = None, quiet: bool = False, headers=None, **how):
    """Return a signed DeleteObjects request, its time, and its body."""
    document = render_delete(tuple(DeleteEntry(key) for key in keys), quiet=quiet) if body is None else body
    digest = {"Content-MD5": base64.b64encode(md5(document).digest()).decode()}
    how = {"who": ANN, "payload": sha256(document).hexdigest()} | how
    return *signed("POST", "/ann?delete=", {"Content-Length": str(len(document)), **digest, **(headers or {})}, **how), document  # fmt: skip
