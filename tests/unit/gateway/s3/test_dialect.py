"""An operation needs the action of whatever a store that does not know it would do instead."""

from __future__ import annotations

import pytest

from gateway.errors import AccessDenied
from gateway.s3.dialect import twins
from gateway.s3.operations import resolve, table
from gateway.s3.request import parse
from gateway.stories.plans import Forward
from iam.authorize import AllOf, IamPolicies
from iam.policy import parse as policy
from tests.unit.gateway.signers import ANN, signed
from tests.unit.gateway.storied import plan_of, refusal, world


@pytest.mark.parametrize(
    ("method", "target", "actions"),
    [
        ("DELETE", "/buc?analytics&id=1", ["s3:DeleteBucket"]),
        ("PUT", "/buc?website", ["s3:CreateBucket"]),
        ("GET", "/buc?notification", ["s3:ListBucket"]),
        ("GET", "/buc/k?torrent", ["s3:GetObject"]),
        ("GET", "/buc/k?annotation&annotationName=n&versionId=v", ["s3:GetObjectVersion"]),
        ("PUT", "/buc/k?annotation&annotationName=n", ["s3:PutObject"]),
        ("PUT", "/buc/k?encryption", ["s3:PutObject"]),
        ("DELETE", "/buc/k?annotation&annotationName=n&versionId=v", ["s3:DeleteObjectVersion"]),
        ("PUT", "/buc?encryption", []),
        ("DELETE", "/buc?policy", []),
        ("PUT", "/buc/k?tagging", []),
        ("GET", "/buc/k", []),
        ("PUT", "/buc", []),
    ],
)
def test_trap_62_what_is_left_of_an_operation_is_needed_too(method, target, actions):
    """The plain twin of a rare sub-resource is needed, on the same resource; one that every store knows has none."""
    request = parse(method, target, [("host", "h")], source_ip="")
    found = twins(resolve(request), request)
    assert [need.action for need in found] == actions
    assert {(need.bucket, need.key) for need in found} <= {(request.path.bucket, request.path.key)}


def test_every_rare_operation_has_its_twin():
    """Every operation of a rare sub-resource has one: none is left out by its method."""
    rare = {"abac", "analytics", "annotation", "inventory", "metrics", "torrent", "website"}
    for (method, level), operations in table().items():
        for operation in operations:
            if method != "POST" and {n for n, _ in operation.static} & rare:
                path = "/buc/k" if level == "object" else "/buc"
                assert twins(operation, parse(method, path, [("host", "h")], source_ip="")), operation.name


def test_the_twin_is_asked_for_unless_the_store_is_amazons():
    """With its own action alone, a torrent is refused at any store but Amazon's, which knows it for what it is."""
    torrents = policy(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObjectTorrent","Resource":"*"}]}'
    )
    alone = AllOf(IamPolicies(lambda: {"ann": torrents}))
    request, now = signed("GET", "/ann/k?torrent=", who=ANN)
    assert isinstance(refusal(request, now, world(alone)), AccessDenied)
    assert isinstance(plan_of(request, now, world(alone, amazon=True)), Forward)
