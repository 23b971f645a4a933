"""What the gateway does with each operation of S3's model, as one table to review.

    python tests/golden/table.py > tests/golden/actions.json     after a change that a human has looked at

Every line is found out by asking the code with requests made of the operation's own wire form: nothing is copied from a
table by hand, so that a new botocore, a new header or a changed rule shows here and nowhere else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from botocore.loaders import Loader  # noqa: E402

from gateway.errors import S3Error  # noqa: E402
from gateway.s3.actions import Need, needs_of_annotations, needs_of_tags, required  # noqa: E402
from gateway.s3.authenticate import Caller, PayloadMode  # noqa: E402
from gateway.s3.operations import _BODY_HEADERS, REFUSED, Operation, resolve, table  # noqa: E402
from gateway.s3.request import S3Request, parse  # noqa: E402
from gateway.signing.sigv4 import SigningKeys  # noqa: E402
from gateway.stories.case import Case, World  # noqa: E402
from gateway.stories.documents import _KINDS  # noqa: E402
from iam.authorize import IamPolicies  # noqa: E402
from iam.condition_keys import KEYS  # noqa: E402
from iam.model import Principal, PrincipalType  # noqa: E402

PATHS = {"service": "/", "bucket": "/bucket", "object": "/bucket/key"}
SOURCE = "source/key"
#: Values that mean something; every other header and parameter is sent as "1".
VALUES = {
    "x-amz-copy-source": SOURCE, "x-amz-tagging": "a=1", "x-amz-tagging-directive": "COPY",
    "x-amz-object-annotation-directive": "COPY", "x-amz-bypass-governance-retention": "true",
    "x-amz-bucket-object-lock-enabled": "true", "x-amz-object-lock-retain-until-date": "2026-01-02T00:00:00Z",
}  # fmt: skip
#: Condition keys of every request; a row names only those that depend on the operation.
ALWAYS = ("aws:", "jwt:", "ldap:", "sts:", "s3:authtype", "s3:signature", "s3:x-amz-content-sha256")


def actions_table() -> dict[str, dict[str, object]]:
    """Return the whole table: operation -> what it is, what it needs, what policies can ask about it."""
    rows: dict[str, dict[str, object]] = {
        operation.name: row(operation) for found in table().values() for operation in found
    }
    rows |= {name: {"refused": why, "answer": refusal(name)} for name, why in REFUSED.items()}
    body = {"headers that cross": sorted(_BODY_HEADERS)}
    return {"(every operation with a body)": body} | dict(sorted(rows.items())) | minios_own()


def row(operation: Operation) -> dict[str, object]:
    """Return one operation's row; members that say nothing are left out."""
    plain = needs(operation)
    found: dict[str, object] = {"request": wire(operation), "needs": plain}
    if "versionId" in operation.query:
        found["with versionId"] = needs(operation, query={"versionId": "1"})
    if "x-amz-copy-source" in operation.needs_headers:
        found["with a source version"] = needs(operation, headers={"x-amz-copy-source": f"{SOURCE}?versionId=1"})
    if operation.name == "CopyObject":
        given = request_of(operation, {}, {})
        carried = (*needs_of_tags(given), *needs_of_annotations(given))
        found["what it carries needs"] = [f"{need.action} on {resource(need)}" for need in carried]
    more = {name: [n for n in needs(operation, headers={name: value(name)}) if n not in plain]
            for name in sorted(operation.headers - operation.needs_headers)}  # fmt: skip
    found["headers that need more"] = {name: extra for name, extra in more.items() if extra}
    found["parameters that cross"] = sorted(operation.query - {n for n, _ in operation.static} - operation.needs_query)
    found["headers that cross"] = sorted(operation.headers - operation.needs_headers - _BODY_HEADERS)
    found["condition keys"] = keys(operation)
    return {name: part for name, part in found.items() if part}


def wire(operation: Operation) -> str:
    """Return the wire form: method, level, fixed and required parameters, required headers."""
    query = [*(f"{n}={v}" if v else n for n, v in operation.static), *(f"{n}=…" for n in sorted(operation.needs_query))]
    headers = "".join(f", {name}" for name in sorted(operation.needs_headers))
    return f"{operation.method} {operation.level}{'?' if query else ''}{'&'.join(query)}{headers}"


def needs(operation: Operation, *, query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> list[str]:  # fmt: skip
    """Return what a request of this operation needs, as `action on resource`."""
    request = request_of(operation, query or {}, headers or {})
    assert resolve(request) is operation
    return [f"{need.action} on {resource(need)}" for need in required(operation, request)]


def resource(need: Need) -> str:
    """Name a need's resource as the row does."""
    where = "the source" if need.bucket == "source" else "the object" if need.key else "the bucket"
    return where if need.bucket else "everything"


def request_of(operation: Operation, query: dict[str, str], headers: dict[str, str]) -> S3Request:
    """Return a request in the operation's wire form, with more parameters and headers."""
    given = dict(operation.static) | dict.fromkeys(operation.needs_query, "1") | query
    text = "&".join(f"{quote(n)}={quote(v)}" for n, v in given.items())
    fields = {"host": "h"} | {name: value(name) for name in operation.needs_headers} | headers
    return parse(operation.method, f"{PATHS[operation.level]}?{text}", fields.items(), source_ip="192.0.2.1")


def value(header: str) -> str:
    """Return a value that a header may have."""
    return VALUES.get(header, "1")


def keys(operation: Operation) -> list[str]:
    """Return the condition keys that a request of this operation can fill, beside those that every request fills."""
    everything = request_of(
        operation, dict.fromkeys(operation.query - {n for n, _ in operation.static}, "1"),
        {name: value(name) for name in operation.headers},
    )  # fmt: skip
    principal = Principal(PrincipalType.ASSUMED_ROLE, "AK")
    caller = Caller(principal, PayloadMode.UNSIGNED, "UNSIGNED-PAYLOAD", everything.target)
    world = World(lambda *_: (_ for _ in ()).throw(AssertionError), IamPolicies(dict), SigningKeys())
    told, location = from_document(operation)
    case = Case(everything, operation, caller, world, 1767225600, told, location)
    context = case.question(required(operation, everything)[0]).context
    found = [key for key in sorted(KEYS) if not key.startswith(ALWAYS) and context.values(key) is not None]
    return found + list(tag_families(operation, told))


def from_document(operation: Operation) -> tuple[Mapping[str, str], str]:
    """Return what a document with all that the operation's may have would tell."""
    kind = _KINDS.get(operation.name)
    if kind is None:
        return {}, ""
    return kind.tells(
        tuple((path, "1") for path in sorted(kind.paths))
    ), "1" if "LocationConstraint" in kind.paths else ""


def tag_families(operation: Operation, told: Mapping[str, str]) -> Iterator[str]:
    """Return the families of keys about tags."""
    if operation.level == "object":
        yield "s3:existingobjecttag/…"
    if "x-amz-tagging" in operation.headers or "x-amz-tagging" in told:
        yield "s3:requestobjecttag/…"


def refusal(name: str) -> str:
    """Return how a request in a refused operation's wire form is answered, or which operation it reads as."""
    spec = Loader().load_service_model("s3", "service-2")["operations"][name]
    path = spec["http"]["requestUri"].replace("{Bucket}", "bucket").replace("{Key+}", "key")
    return answer(parse(spec["http"]["method"], path, [("host", "h")], source_ip=""))


#: What MinIO does beside S3's model (minio.md section 8), and why it is not done here.
MINIOS_OWN = [
    ("GET", "/bucket?events=s3:ObjectCreated:*", {}, "ListenBucketNotification: an answer without end, of MinIO only"),
    ("GET", "/?events=s3:ObjectCreated:*", {}, "ListenNotification: as above, and about every bucket at once"),
    ("PUT", "/bucket/key", {"x-amz-meta-snowball-auto-extract": "true"}, "unpacks an archive into keys that nobody judged"),
    ("DELETE", "/bucket/key", {"x-minio-force-delete": "true"}, "deletes every key beneath a prefix, judged by one"),
    ("DELETE", "/bucket", {"x-minio-force-delete": "true"}, "deletes a bucket with what is in it"),
]  # fmt: skip


def minios_own() -> dict[str, dict[str, object]]:
    """Return the rows of MinIO's own requests: each refused before anybody is asked."""
    rows: dict[str, dict[str, object]] = {}
    for method, target, headers, why in MINIOS_OWN:
        name = f"MinIO: {method} {target}{''.join(f', {n}: {v}' for n, v in headers.items())}"
        rows[name] = {
            "refused": why,
            "answer": answer(parse(method, target, [("host", "h"), *headers.items()], source_ip="")),
        }
    return rows


def answer(request: S3Request) -> str:
    """Return the error of a request, or which operation it reads as."""
    try:
        return f"as {resolve(request).name}"
    except S3Error as error:
        return f"{error.status} {error.code}"


def render() -> str:
    """Return the golden file's text."""
    rows = [f" {text(name)}: {{\n{lines(found, 2)}\n }}" for name, found in actions_table().items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def lines(members: dict[str, object], depth: int) -> str:
    """Return an object's members, one a line."""
    return ",\n".join(f"{' ' * depth}{text(name)}: {member(part, depth)}" for name, part in members.items())


def member(part: object, depth: int) -> str:
    """Return a member's value: objects over several lines, lists on one."""
    return f"{{\n{lines(part, depth + 1)}\n{' ' * depth}}}" if isinstance(part, dict) else text(part)


def text(part: object) -> str:
    """Return a value as JSON that can be read."""
    return json.dumps(part, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(render())
