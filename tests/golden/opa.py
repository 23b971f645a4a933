"""What a policy service is asked about each kind of request, in MinIO's shape, one file each to review.

    python tests/golden/opa.py        writes tests/golden/opa_inputs/ anew, after a change that a human has looked at

The requests are those of a federated session, at a fixed second; MINIO_GW_OPA_EXISTING_TAGS is on, and every object is
tagged color=red, so that what a policy may say about tags can be seen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from gateway.s3.authenticate import Caller, PayloadMode  # noqa: E402
from gateway.s3.operations import resolve  # noqa: E402
from gateway.s3.request import parse  # noqa: E402
from gateway.signing.sigv4 import SigningKeys, parse_authorization  # noqa: E402
from gateway.stories.case import Case, World  # noqa: E402
from gateway.stories.plans import NeedsBody, NeedsDecisions, NeedsTags  # noqa: E402
from gateway.stories.story import _STORIES, _plain  # noqa: E402
from iam.authorize import AllOf  # noqa: E402
from iam.model import Credentials, Principal, PrincipalType, Secret  # noqa: E402
from iam.opa import OpaAuthorizer, OpaSettings  # noqa: E402
from iam.opa_questions import opa_input  # noqa: E402

FOLDER = Path(__file__).parent / "opa_inputs"
NOW = 1767225605  # 2026-01-01T00:00:05Z, five seconds after it was signed
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=SESSIONKEY/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="
    + "0" * 64
)
SENT = {
    "Host": "s3.example.test", "User-Agent": "client/1", "X-Amz-Date": "20260101T000000Z",
    "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD", "X-Amz-Security-Token": "token", "Authorization": AUTHORIZATION,
}  # fmt: skip
ALICE = Principal(
    PrincipalType.ASSUMED_ROLE, "SESSIONKEY", claims={"sub": "alice", "iss": "https://idp.example.test", "groups": ["staff"],
    "preferred_username": "alice", "email_verified": True}, groups=("staff",), parent="alice@idp",
)  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One request; `body` where its operation's story reads one."""

    name: str
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


def subresource(name: str, *methods: str) -> Iterator[Example]:
    """Yield a request for a bucket's sub-resource by each method."""
    for method in methods:
        yield Example(f"bucket-{name.partition('&')[0]}-{method.lower()}", method, f"/team?{name}")


DELETE = "<Delete><Object><Key>a</Key></Object><Object><Key>dir/b</Key><VersionId>v1</VersionId></Object></Delete>"
REGION = "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
TAGGING = "<Tagging><TagSet><Tag><Key>color</Key><Value>blue</Value></Tag></TagSet></Tagging>"
RETENTION = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2026-02-01T00:00:00Z</RetainUntilDate></Retention>"
WRITE = {
    "x-amz-tagging": "color=blue&size=1", "x-amz-acl": "private", "x-amz-storage-class": "STANDARD_IA",
    "x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
    "x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2026-02-01T00:00:00Z",
    "x-amz-object-lock-legal-hold": "ON", "x-amz-meta-note": "n", "If-None-Match": "*",
}  # fmt: skip
EXAMPLES = (
    Example("list-buckets", "GET", "/"),
    Example("create-bucket", "PUT", "/team"),
    Example("create-bucket-location", "PUT", "/team", body=REGION),
    Example("create-bucket-locked", "PUT", "/team", {"x-amz-bucket-object-lock-enabled": "true", "x-amz-acl": "private"}),
    Example("head-bucket", "HEAD", "/team"),
    Example("delete-bucket", "DELETE", "/team"),
    Example("list-objects", "GET", "/team?prefix=home%2F&delimiter=%2F&max-keys=10"),
    Example("list-objects-v2", "GET", "/team?list-type=2&prefix=home%2F&delimiter=%2F&start-after=a"),
    Example("list-object-versions", "GET", "/team?versions&prefix=home%2F"),
    Example("list-multipart-uploads", "GET", "/team?uploads&prefix=home%2F"),
    Example("delete-objects", "POST", "/team?delete", body=DELETE),
    Example("delete-objects-bypass", "POST", "/team?delete", {"x-amz-bypass-governance-retention": "true"}, DELETE),
    *subresource("acl", "GET", "PUT"), *subresource("policy", "GET", "PUT", "DELETE"), *subresource("policyStatus", "GET"),
    *subresource("cors", "GET", "PUT", "DELETE"), *subresource("lifecycle", "GET", "PUT", "DELETE"),
    *subresource("versioning", "GET", "PUT"), *subresource("tagging", "GET", "PUT", "DELETE"),
    *subresource("encryption", "GET", "PUT", "DELETE"), *subresource("object-lock", "GET", "PUT"),
    *subresource("replication", "GET", "PUT", "DELETE"), *subresource("notification", "GET", "PUT"),
    *subresource("website", "GET", "PUT", "DELETE"), *subresource("logging", "GET", "PUT"),
    *subresource("accelerate", "GET", "PUT"), *subresource("requestPayment", "GET", "PUT"), *subresource("location", "GET"),
    *subresource("inventory", "GET"), *subresource("inventory&id=1", "PUT"), *subresource("analytics", "GET"),
    *subresource("metrics", "GET"), *subresource("intelligent-tiering", "GET"),
    *subresource("ownershipControls", "GET", "PUT"), *subresource("publicAccessBlock", "GET", "PUT"),
    Example("get-object", "GET", "/team/dir/a%20b"),
    Example("get-object-version", "GET", "/team/k?versionId=v1&response-content-type=text%2Fhtml", {"Range": "bytes=0-9"}),
    Example("get-object-customer-key", "GET", "/team/k", {"x-amz-server-side-encryption-customer-algorithm": "AES256",
            "x-amz-server-side-encryption-customer-key": "c2VjcmV0"}),
    Example("head-object", "HEAD", "/team/k"),
    Example("put-object", "PUT", "/team/k", {"Content-Type": "text/plain"}),
    Example("put-object-with-everything", "PUT", "/team/k", WRITE),
    Example("copy-object", "PUT", "/team/k", {"x-amz-copy-source": "/source/dir/k", "x-amz-metadata-directive": "COPY"}),
    Example("copy-object-version", "PUT", "/team/k", {"x-amz-copy-source": "/source/k?versionId=v1",
            "x-amz-tagging-directive": "REPLACE", "x-amz-tagging": "a=1", "x-amz-object-annotation-directive": "EXCLUDE"}),
    Example("delete-object", "DELETE", "/team/k"),
    Example("delete-object-version", "DELETE", "/team/k?versionId=v1", {"x-amz-bypass-governance-retention": "true"}),
    Example("create-multipart-upload", "POST", "/team/k?uploads", {"x-amz-tagging": "color=blue"}),
    Example("upload-part", "PUT", "/team/k?partNumber=1&uploadId=u"),
    Example("upload-part-copy", "PUT", "/team/k?partNumber=1&uploadId=u", {"x-amz-copy-source": "/source/k"}),
    Example("complete-multipart-upload", "POST", "/team/k?uploadId=u"),
    Example("abort-multipart-upload", "DELETE", "/team/k?uploadId=u"),
    Example("list-parts", "GET", "/team/k?uploadId=u"),
    Example("object-acl-get", "GET", "/team/k?acl"),
    Example("object-acl-put", "PUT", "/team/k?acl&versionId=v1", {"x-amz-acl": "public-read"}),
    Example("object-tagging-get", "GET", "/team/k?tagging&versionId=v1"),
    Example("object-tagging-put", "PUT", "/team/k?tagging", body=TAGGING),
    Example("object-tagging-delete", "DELETE", "/team/k?tagging"),
    Example("object-retention-get", "GET", "/team/k?retention"),
    Example("object-retention-put", "PUT", "/team/k?retention", {"x-amz-bypass-governance-retention": "true"}, RETENTION),
    Example("object-legal-hold-get", "GET", "/team/k?legal-hold"),
    Example("object-legal-hold-put", "PUT", "/team/k?legal-hold", body="<LegalHold><Status>ON</Status></LegalHold>"),
    Example("object-attributes", "GET", "/team/k?attributes&versionId=v1", {"x-amz-object-attributes": "ETag"}),
    Example("select-object-content", "POST", "/team/k?select&select-type=2"),
    Example("restore-object", "POST", "/team/k?restore", body="<RestoreRequest><Days>1</Days></RestoreRequest>"),
)  # fmt: skip


def questions(example: Example) -> list[dict[str, object]]:
    """Return what the policy service is asked about a request, in order."""
    length = {"Content-Length": str(len(example.body))} if example.body else {}
    request = parse(
        example.method, example.target, (SENT | example.headers | length).items(), source_ip="192.0.2.7", secure=True
    )
    claim = parse_authorization(AUTHORIZATION, SENT["X-Amz-Date"])
    caller = Caller(ALICE, PayloadMode.UNSIGNED, "UNSIGNED-PAYLOAD", request.target, claim)
    # At Amazon's own store: what an operation needs where it may be taken for another one is `gateway.s3.dialect`'s.
    world = World(lambda key, _: (Credentials(key, Secret("")), ALICE), authorizer(), SigningKeys(), amazon=True)
    case = Case(request, resolve(request), caller, world, NOW)
    plan = _STORIES.get(case.operation.name, _plain)(case)
    while not isinstance(plan, NeedsDecisions):
        if isinstance(plan, NeedsBody):
            plan = plan.then(example.body.encode())
        elif isinstance(plan, NeedsTags):
            plan = plan.then([(("color", "red"),)] * len(plan.objects))
        else:
            raise AssertionError(f"{example.name}: nobody was asked")  # noqa: TRY004 - an example that shows nothing
    return [opa_input(question) for question in plan.questions]


@cache
def authorizer() -> AllOf:
    """Return the authorizer that asks a policy service; nobody answers here, since nothing is sent."""
    return AllOf(OpaAuthorizer(OpaSettings("http://127.0.0.1:9/", existing_tags=True)))


def render(example: Example) -> str:
    """Return the golden file's text: the request, then each question's input with its conditions one a line."""
    request = f"{example.method} {example.target}" + "".join(f", {n}: {v}" for n, v in example.headers.items())
    whole = {"request": request} | ({"document": example.body} if example.body else {})
    whole["questions"] = questions(example)
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False).replace("[\n     ", "[").replace("\n    ]", "]") + "\n"  # fmt: skip


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for one in EXAMPLES:
        (FOLDER / f"{one.name}.json").write_text(render(one))
