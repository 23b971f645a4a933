"""Which S3 operation is this? The table comes from botocore's service model; the most specific match wins.

An operation matches when method and level (service, bucket, object) are its own and every static or required query
parameter and required header is there. A parameter that the matched operation does not know is refused: it belongs
to another operation or to nobody, and guessing is how `DELETE /b?policy` came to delete a bucket (traps 22 and 62).

`resolve` raises NotImplemented or MethodNotAllowed. The same model gives each operation its allow-list of headers and
query parameters (`gateway.forward`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.loaders import Loader

from gateway import checksums, errors
from gateway.errors import MethodNotAllowed
from gateway.request import S3Request

#: Superseded twins (same wire form as a newer operation), and those of other endpoints or of directory buckets.
_LEFT_OUT = frozenset({
    "GetBucketLifecycle", "PutBucketLifecycle", "GetBucketNotification", "PutBucketNotification",
    "WriteGetObjectResponse", "ListDirectoryBuckets", "CreateSession", "RenameObject",
})  # fmt: skip

#: Parameters that authenticate (consumed here) or only name the operation for logs (`x-id`, AWS SDK for JavaScript).
AUTH_PARAMETERS = frozenset({
    "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature",
    "X-Amz-Security-Token", "X-Amz-Content-Sha256", "x-id",
})  # fmt: skip

#: Framing and integrity headers of any request with a body.
_BODY_HEADERS = checksums.HEADERS | {
    "content-type", "content-md5", "content-encoding", "x-amz-sdk-checksum-algorithm", "x-amz-trailer",
    "x-amz-decoded-content-length",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
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

    def matches(self, request: S3Request) -> bool:
        """Return whether everything this operation requires is in the request."""
        given = request.parameters
        return (
            all(given.get(name) == value for name, value in self.static)
            and self.needs_query <= given.keys()
            and self.needs_headers <= request.headers.keys()
        )


def resolve(request: S3Request) -> Operation:
    """Return the one operation that this request is."""
    level = "object" if request.path.key else "bucket" if request.path.bucket else "service"
    candidates = table().get((request.method, level), ())
    found = next((operation for operation in candidates if operation.matches(request)), None)
    if found is None:
        raise MethodNotAllowed(reason=f"no operation for {request.method} on {level} level")
    for name, _ in request.query:
        if name not in found.query and name not in AUTH_PARAMETERS:
            raise errors.NotImplemented(reason=f"parameter {name!r} is unknown to {found.name}")
    return found


def named(name: str, method: str, level: str) -> Operation:
    """Return an operation by its name; `method` and `level` say where it stands in the table."""
    return next(operation for operation in table()[method, level] if operation.name == name)


@cache
def table() -> dict[tuple[str, str], tuple[Operation, ...]]:
    """Return the operations by method and level, the most specific first."""
    model = Loader().load_service_model("s3", "service-2")
    grouped: dict[tuple[str, str], list[Operation]] = {}
    for name, spec in model["operations"].items():
        if name not in _LEFT_OUT:
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
        query=frozenset(p for where, p, _ in places if where == "querystring") | {n for n, _ in static},
        headers=frozenset(headers) | body,
        metadata=any(where == "headers" for where, _, _ in places),
    )
