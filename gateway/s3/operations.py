"""Which S3 operation is this? The table comes from botocore's service model; the most specific match wins.

An operation matches when method and level (service, bucket, object) are its own and every static or required query
parameter and required header is there. A parameter that the matched operation does not know is refused: it belongs
to another operation or to nobody, and guessing is how `DELETE /b?policy` came to delete a bucket (traps 22 and 62).

`resolve` raises NotImplemented or MethodNotAllowed. The same model gives each operation its allow-list of headers and
query parameters (`gateway.stories.forward`). A presigned URL may carry x-amz-* headers as parameters, as several SDKs write them:
`settled` makes headers of them before anything is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from botocore.loaders import Loader

from gateway import errors
from gateway.errors import InvalidArgument, MethodNotAllowed
from gateway.s3.request import S3Request
from gateway.signing import checksums

#: Operations of the model that have no row in the table, and why.
REFUSED: dict[str, str] = {
    "GetBucketLifecycle": "superseded: GetBucketLifecycleConfiguration has the same wire form",
    "PutBucketLifecycle": "superseded: PutBucketLifecycleConfiguration has the same wire form",
    "GetBucketNotification": "superseded: GetBucketNotificationConfiguration has the same wire form",
    "PutBucketNotification": "superseded: PutBucketNotificationConfiguration has the same wire form",
    "CreateSession": "answers with credentials of the backend, which would lead past the gateway (directory buckets only)",
    "ListDirectoryBuckets": "belongs to the endpoint s3express-control; without its own parameter it reads as ListBuckets",
    "RenameObject": "directory buckets only, whose sessions are refused; deletes its source under no action of its own",
    "WriteGetObjectResponse": "belongs to the endpoint s3-object-lambda, spoken to by functions behind it, not by clients",
}

#: Headers by which MinIO does more than the operation says, to keys that nobody judged (minio.md section 8).
_BEYOND = frozenset({"x-amz-meta-snowball-auto-extract", "x-minio-force-delete"})

#: Parameters that authenticate (consumed here) or only name the operation for logs (`x-id`, AWS SDK for JavaScript).
AUTH_PARAMETERS = frozenset({
    "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature",
    "X-Amz-Security-Token", "X-Amz-Content-Sha256", "x-id",
})  # fmt: skip

#: Headers that never count as parameters: they choose the operation, say who asks or what the body is, or are keys.
_HEADERS_ONLY = frozenset(name.lower() for name in AUTH_PARAMETERS) | {
    "x-amz-copy-source", "x-amz-copy-source-server-side-encryption-customer-key", "x-amz-decoded-content-length",
    "x-amz-object-attributes", "x-amz-server-side-encryption-customer-key", "x-amz-trailer", *_BEYOND,
}  # fmt: skip

#: Parameters of MinIO's that its own clients send everywhere and that change nothing but what the answer tells.
_TOLD_BY_MINIO = {"GetBucketLifecycleConfiguration": frozenset({"withUpdatedAt"})}

#: A parameter of MinIO's that its clients send with listings (`mc mirror -a`, `mc find --metadata`): to be told metadata and tags of keys,
#: which nobody has judged. It never reaches the store, and the listing is S3's own, as these clients get it from AWS.
_LEFT_OUT = {name: frozenset({"metadata"}) for name in ("ListObjects", "ListObjectsV2", "ListObjectVersions")}
_NONE: frozenset[str] = frozenset()

_CHECKSUMS = ("x-amz-checksum-", "x-amz-sdk-checksum-")

#: Framing and integrity headers of any request with a body.
_BODY_HEADERS = checksums.HEADERS | {
    "content-type", "content-md5", "content-encoding", "x-amz-sdk-checksum-algorithm", "x-amz-trailer",
    "x-amz-decoded-content-length",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each, in the table
class Operation:
    """One operation of the S3 API: its wire form and what may cross with it.

    `static` are query parameters with a fixed value (`list-type=2`; "" for a bare sub-resource), `needs_query` and
    `needs_headers` the required ones, `query` and `headers` (lower case) everything the operation knows.
    """

    name: str
    method: str
    level: str
    static: tuple[tuple[str, str], ...]
    needs_query: frozenset[str]
    needs_headers: frozenset[str]
    query: frozenset[str]
    headers: frozenset[str]
    metadata: bool

    @property
    def weight(self) -> int:
        """Return how specific the match is."""
        return len(self.static) + len(self.needs_query) + len(self.needs_headers)

    def matches(self, given: Mapping[str, str], headers: frozenset[str]) -> bool:
        """Return whether everything this operation requires is in a request's parameters and headers."""
        return (
            all(given.get(name) == value for name, value in self.static)
            and self.needs_query <= given.keys()
            and self.needs_headers <= headers
        )


def resolve(request: S3Request) -> Operation:
    """Return the one operation that this request is."""
    level = "object" if request.path.key else "bucket" if request.path.bucket else "service"
    choosing = request.names.all & _choosing()
    given = request.parameters
    found = _matching(request.method, level, given, choosing) if given else _bare(request.method, level, choosing)
    if found is None:
        raise MethodNotAllowed(reason=f"no operation for {request.method} on {level} level")
    if given:
        _check_parameters(request, found)
    if not _BEYOND.isdisjoint(request.headers):
        _check_beyond(request)
    return found


def _matching(method: str, level: str, given: Mapping[str, str], headers: frozenset[str]) -> Operation | None:
    candidates = table().get((method, level), ())
    return next((operation for operation in candidates if operation.matches(given, headers)), None)


@lru_cache(maxsize=256)
def _bare(method: str, level: str, headers: frozenset[str]) -> Operation | None:
    """Return the operation of a request without parameters; only these headers may choose it."""
    return _matching(method, level, {}, headers)


@cache
def _choosing() -> frozenset[str]:
    """Return the headers that operations require."""
    return frozenset().union(*(operation.needs_headers for group in table().values() for operation in group))


def _check_beyond(request: S3Request) -> None:
    for name in sorted(_BEYOND):
        if request.header(name).lower() not in {"", "false"}:
            raise errors.NotImplemented(reason=f"header {name}")


def named(name: str, method: str, level: str) -> Operation:
    """Return an operation by its name; `method` and `level` say where it stands in the table."""
    return next(operation for operation in table()[method, level] if operation.name == name)


def settled(request: S3Request, operation: Operation) -> S3Request:
    """Return the request with the headers that a presigned URL carries in its query where they belong.

    They are judged as headers, so the store must take them for headers: one that ignores them in a query would copy the tags
    that were to be replaced, or keep in clear what was to be encrypted. What only describes the body stays where it is: no
    policy asks about it, and SDKs compute checksums of an empty body into URLs, which some stores ignore there.
    """
    if "X-Amz-Signature" not in request.parameters:
        return request
    moved = {
        n: n.lower() for n, _ in request.query if is_hoisted(n, operation) and not n.lower().startswith(_CHECKSUMS)
    }
    if not moved:
        return request
    headers = {lower: request.parameters[name] for name, lower in moved.items()}
    query = tuple((name, value) for name, value in request.query if name not in moved)
    return replace(request, headers={**request.headers, **headers}, query=query)


def is_beyond(header: str) -> bool:
    """Return whether a header's value may make more of an operation than it says."""
    return header in _BEYOND


def is_hoisted(name: str, operation: Operation) -> bool:
    """Return whether a parameter is one of the operation's headers, written into a presigned URL."""
    lower = name.lower()
    if not lower.startswith("x-amz-") or lower in _HEADERS_ONLY:
        return False
    return lower in operation.headers or (operation.metadata and lower.startswith("x-amz-meta-"))


def _check_parameters(request: S3Request, operation: Operation) -> None:
    """Refuse what the operation does not know, and a header that is given twice because it is a parameter too."""
    known = operation.query | _LEFT_OUT.get(operation.name, _NONE)
    others = [name for name in request.parameters if name not in known and name not in AUTH_PARAMETERS]
    seen = set(request.headers) if others else set()
    for name in others:
        if "X-Amz-Signature" not in request.parameters or not is_hoisted(name, operation):
            _check_headers(request, operation)
            raise errors.NotImplemented(reason=f"parameter {name!r} is unknown to {operation.name}")
        if name.lower() in seen:
            raise InvalidArgument(f"{name} was given more than once.", reason="header and parameter")
        seen.add(name.lower())


def _check_headers(request: S3Request, found: Operation) -> None:
    """Name the header that is missing, where the parameters are those of an operation that needs one: GetObjectAttributes."""
    given = request.parameters
    for other in table()[found.method, found.level]:
        missing = sorted(other.needs_headers.difference(request.headers))
        if (
            missing
            and other.static
            and given.keys() - AUTH_PARAMETERS <= other.query
            and other.matches(given, other.needs_headers)
        ):
            raise InvalidArgument(f"The header {missing[0]} is missing.", reason=f"{other.name} without {missing[0]}")


@cache
def table() -> dict[tuple[str, str], tuple[Operation, ...]]:
    """Return the operations by method and level, the most specific first."""
    model = Loader().load_service_model("s3", "service-2")
    grouped: dict[tuple[str, str], list[Operation]] = {}
    for name, spec in model["operations"].items():
        if name not in REFUSED:
            operation = _operation(name, spec, model["shapes"])
            grouped.setdefault((operation.method, operation.level), []).append(operation)
    return {place: tuple(sorted(found, key=lambda o: -o.weight)) for place, found in grouped.items()}


def _operation(name: str, spec: dict[str, Any], shapes: dict[str, Any]) -> Operation:
    path, _, query = spec["http"]["requestUri"].partition("?")
    static = tuple((n, v) for n, _, v in (piece.partition("=") for piece in query.split("&") if piece))
    shape = shapes[spec["input"]["shape"]] if "input" in spec else {"members": {}}
    places = [(m["location"], m["locationName"], n in shape.get("required", ()))
              for n, m in shape["members"].items() if "location" in m]  # fmt: skip
    headers = {place.lower() for where, place, _ in places if where == "header"} - {"content-length"}
    if "range" in headers:
        # Not in the model; but a range without its condition could be a part of another object (RFC 9110 section 13.1.5).
        headers |= {"if-range"}
    body = _BODY_HEADERS if "payload" in shape or spec["http"]["method"] in {"PUT", "POST"} else frozenset()
    return Operation(
        name=name,
        method=spec["http"]["method"],
        level="object" if "{Key+}" in path else "bucket" if "{Bucket}" in path else "service",
        static=static,
        needs_query=frozenset(p for where, p, must in places if where == "querystring" and must),
        needs_headers=frozenset(p.lower() for where, p, must in places if where == "header" and must),
        query=frozenset(p for where, p, _ in places if where == "querystring")
        | {n for n, _ in static}
        | _TOLD_BY_MINIO.get(name, frozenset()),
        headers=frozenset(headers) | body,
        metadata=any(where == "headers" for where, _, _ in places),
    )
