"""The request's story, as one straight function: who, what, may they, then a plan.

No I/O here. Where something must be awaited (a body to read, a decision from elsewhere, the backend's answer) the plan says
so and carries the rest of the story in `then`; the shell awaits it and goes on:

    S3Request -> authenticate -> resolve -> required -> authorize -> Forward

Operations whose body or answer decides have a story of their own: `gateway.stories.copying`, `gateway.stories.deletion`,
`gateway.stories.documents`, `gateway.stories.listings`; so have forms, which carry their signature in the body: `gateway.stories.post_form`,
and a browser's preflight, which has none: `gateway.stories.cors`.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

from gateway.errors import IncompleteBody, InvalidRequest, InvalidTag, MissingContentLength
from gateway.s3 import aliases, dialect
from gateway.s3.actions import Need, required
from gateway.s3.authenticate import Caller, authenticate
from gateway.s3.operations import Operation, resolve, settled
from gateway.s3.request import S3Request
from gateway.stories import copying, cors, deletion, documents, listings, post_form
from gateway.stories.answers import translation
from gateway.stories.case import Case, World
from gateway.stories.plans import Plan

_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_STORIES = {
    **dict.fromkeys(documents.OPERATIONS, documents.with_document),
    "CopyObject": copying.copy_object,
    "DeleteObjects": deletion.delete_objects,
    "ListBuckets": listings.list_buckets,
    **dict.fromkeys(listings.OF_KEYS, listings.list_keys),
}


def begin(request: S3Request, world: World, now: int) -> Plan:
    """Tell the story of one request. Raises S3Error, always before anything has gone to the backend."""
    if request.method == "OPTIONS" and cors.is_preflight(request):
        return cors.preflight(request)
    if request.method == "POST" and post_form.is_post_form(request):
        return post_form.begin(request, world)
    region = "" if _is_before_the_region(request) else world.region
    caller = authenticate(request, world.lookup, world.keys, now=now, region=region)
    if caller.claim is None:
        caller = _anonymous_with_policies(request, caller, world)
    operation = resolve(request)
    case = Case(settled(request, operation) if request.query else request, operation, caller, world, now)
    _check_length(request, caller)
    _check_tags(case.request)
    if not world.amazon and aliases.leads_out(request.path.key):
        raise InvalidRequest("The key must not lead out of its bucket.", reason="a key that a store could read as none")
    return _STORIES.get(operation.name, _plain)(case)


def _plain(case: Case) -> Plan:
    """Most operations: every need allowed, then sent as it came."""
    request, operation = case.request, case.operation
    edit = translation(operation, request, case.world.region)
    return case.must(needs_of(operation, request, case.world), lambda: case.forward(edit=edit))


def is_plain(operation: Operation) -> bool:
    """Return whether an operation's story is that of most: nothing decides but its head."""
    return operation.name not in _STORIES


def needs_of(operation: Operation, request: S3Request, world: World) -> tuple[Need, ...]:
    """Return every action that a request with a plain story needs."""
    needs = required(operation, request)
    if operation.static and not world.amazon:
        needs += dialect.twins(operation, request)
    return needs


def _is_before_the_region(request: S3Request) -> bool:
    """Return whether a client asks what it asks to learn the region: where a bucket is, and which there are. MinIO took any region for both."""
    path = request.path
    return request.method == "GET" and not path.key and (not path.bucket or "location" in request.parameters)


def _anonymous_with_policies(request: S3Request, caller: Caller, world: World) -> Caller:
    if any(name.startswith("response-") for name in request.parameters):
        raise InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
    return caller._replace(principal=replace(caller.principal, policies=world.anonymous_policies))


def _check_tags(request: S3Request) -> None:
    """Refuse two tags of one name: a policy would be content with either, and stores keep the one or the other."""
    if "x-amz-tagging" in request.headers:
        names = [name for name, _ in parse_qsl(request.headers["x-amz-tagging"], keep_blank_values=True)]
        if len(set(names)) < len(names):
            raise InvalidTag("Cannot provide multiple Tags with the same key", reason="a tag given twice")


def _check_length(request: S3Request, caller: Caller) -> None:
    """Refuse a body of unknown length, unless aws-chunked framing gives one, and one where S3 knows none.

    A body behind a GET could be read by the store as the next request of a connection that many clients share.
    """
    headers = request.headers
    if "content-length" not in headers and "transfer-encoding" not in headers and not caller.mode.chunked:
        return
    coded = "transfer-encoding" in headers
    if request.method in _BODILESS and (coded or request.content_length):
        raise InvalidRequest("This operation takes no body.", reason=f"{request.method} with a body")
    if coded and not caller.mode.chunked:
        raise MissingContentLength
    if caller.mode.chunked and not coded and not request.content_length:
        raise IncompleteBody(reason="aws-chunked without a body")
