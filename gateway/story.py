"""The request's story, as one straight function: who, what, may they, then a plan.

No I/O here. Where something must be awaited (a body to read, a decision from elsewhere) the plan says so and carries the
rest of the story in `then`; the shell awaits it and goes on:

    S3Request -> authenticate -> resolve -> required -> authorize -> Forward
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.actions import Need, needs_of_delete, required
from gateway.authenticate import Caller, Lookup, PayloadMode, authenticate
from gateway.checksums import verify_body
from gateway.chunked import ChunkChain, read_all
from gateway.context import RequestContext
from gateway.errors import AccessDenied, IncompleteBody, InvalidRequest, MissingContentLength
from gateway.forward import trailer_names
from gateway.operations import Operation, resolve
from gateway.request import S3Request
from gateway.sigv4 import SigningKeys, signature_age_ms
from gateway.xml import DeleteEntry, parse_delete, render_delete
from iam.authorize import Authorizer
from iam.model import AccessRequest, Decision, PrincipalType

MAX_XML = 2 * 2**20  # bytes of a body that the gateway itself reads


@dataclass(frozen=True)
class World:
    """What the story depends on; all of it is wired in `app`."""

    lookup: Lookup
    authorizer: Authorizer
    keys: SigningKeys
    region: str = ""
    anonymous_policies: tuple[str, ...] = ()
    raw_headers: bool = False


@dataclass(frozen=True)
class Forward:
    """Send it.

    `body` replaces the client's; `refused` are DeleteObjects entries to report as denied; `keep` says which buckets a
    ListBuckets answer may show (None: all), `reason` why it may not show all.
    """

    operation: Operation
    caller: Caller
    body: bytes | None = None
    refused: tuple[DeleteEntry, ...] = ()
    keep: Callable[[Sequence[str]], NeedsDecisions] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Refused:
    """Every key of a DeleteObjects was refused: answered here, the backend is not asked."""

    operation: Operation
    caller: Caller
    refused: tuple[DeleteEntry, ...]


@dataclass(frozen=True)
class NeedsBody:
    """The body must be read first, `limit` bytes at most."""

    operation: Operation
    caller: Caller
    limit: int
    then: Callable[[bytes], Plan]


@dataclass(frozen=True)
class NeedsDecisions:
    """These questions must be answered first, in their order."""

    operation: Operation
    caller: Caller
    questions: tuple[AccessRequest, ...]
    then: Callable[[Sequence[Decision]], Plan]


Plan = Forward | Refused | NeedsBody | NeedsDecisions


def begin(request: S3Request, world: World, now: int) -> Plan:
    """Tell the story of one request. Raises S3Error, always before anything has gone to the backend."""
    caller = authenticate(request, world.lookup, world.keys, now=now, region=world.region)
    caller = _anonymous_with_policies(request, caller, world)
    operation = resolve(request)
    _check_length(request, caller)
    if operation.name == "DeleteObjects":
        return NeedsBody(operation, caller, MAX_XML, lambda body: _delete(request, operation, caller, world, now, body))
    needs = required(operation, request)
    if operation.name == "ListBuckets":
        return _ask(
            request, operation, caller, world, now, needs, lambda d: _list(request, operation, caller, world, now, d)
        )
    return _ask(request, operation, caller, world, now, needs, lambda decisions: _all(operation, caller, decisions))


def _anonymous_with_policies(request: S3Request, caller: Caller, world: World) -> Caller:
    if caller.principal.type is not PrincipalType.ANONYMOUS:
        return caller
    if any(name.startswith("response-") for name in request.parameters):
        raise InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
    return replace(caller, principal=replace(caller.principal, policies=world.anonymous_policies))


def _check_length(request: S3Request, caller: Caller) -> None:
    """Refuse a body of unknown length, unless aws-chunked framing gives one."""
    if "transfer-encoding" in request.headers and not caller.mode.chunked:
        raise MissingContentLength
    if caller.mode.chunked and "transfer-encoding" not in request.headers and not request.content_length:
        raise IncompleteBody(reason="aws-chunked without a body")


def _ask(
    request: S3Request,
    operation: Operation,
    caller: Caller,
    world: World,
    now: int,
    needs: Sequence[Need],
    then: Callable[[Sequence[Decision]], Plan],
) -> Plan:
    """Ask the authorizer; when every answer is there at once, go on without waiting."""
    questions = tuple(_question(request, caller, world, now, need) for need in needs)
    decisions = []
    for question in questions:
        decision = world.authorizer.decide_now(question)
        if decision is None:
            return NeedsDecisions(operation, caller, questions, then)
        decisions.append(decision)
    return then(decisions)


def _question(request: S3Request, caller: Caller, world: World, now: int, need: Need) -> AccessRequest:
    claim = caller.claim
    context = RequestContext(
        request.headers, request.query, caller.principal, request.source_ip, request.secure, now,
        signature_version="AWS4-HMAC-SHA256" if claim else "", auth_type=caller.auth_type,
        signature_age_ms=signature_age_ms(claim, now) if claim else None, raw_headers=world.raw_headers,
        version_id=need.version,
    )  # fmt: skip
    return AccessRequest(caller.principal, need.action, need.bucket, need.key, context)


def _all(operation: Operation, caller: Caller, decisions: Sequence[Decision]) -> Plan:
    for decision in decisions:
        if not decision:
            raise AccessDenied(reason=decision.reason)
    return Forward(operation, caller)


def _list(
    request: S3Request, operation: Operation, caller: Caller, world: World, now: int, decisions: Sequence[Decision]
) -> Plan:
    """ListBuckets: who may not list all is shown the buckets where he may list or ask the location (minio.md 8.1)."""
    if decisions[0]:
        return Forward(operation, caller)
    if caller.principal.type is PrincipalType.ANONYMOUS:
        raise AccessDenied(reason=decisions[0].reason)

    def keep(names: Sequence[str]) -> NeedsDecisions:
        needs = [Need(action, name) for name in names for action in ("s3:ListBucket", "s3:GetBucketLocation")]
        questions = tuple(_question(request, caller, world, now, need) for need in needs)
        return NeedsDecisions(operation, caller, questions, lambda _: Forward(operation, caller))

    return Forward(operation, caller, keep=keep, reason=decisions[0].reason)


def _delete(request: S3Request, operation: Operation, caller: Caller, world: World, now: int, body: bytes) -> Plan:
    """DeleteObjects: every key judged, the document rebuilt from those allowed (trap 28)."""
    entries, quiet = parse_delete(_payload(request, caller, body))
    bucket = request.path.bucket
    needs = [needs_of_delete(bucket, entry.key, entry.version) for entry in entries]
    if request.header("x-amz-bypass-governance-retention").lower() == "true":
        needs += [Need("s3:BypassGovernanceRetention", bucket, entry.key) for entry in entries]

    def then(decisions: Sequence[Decision]) -> Plan:
        verdicts = [all(decisions[i :: len(entries)]) for i in range(len(entries))]
        refused = tuple(e for e, allowed in zip(entries, verdicts, strict=True) if not allowed)
        allowed = tuple(e for e, good in zip(entries, verdicts, strict=True) if good)
        if not allowed:
            return Refused(operation, caller, refused)
        return Forward(operation, caller, render_delete(allowed, quiet=quiet), refused)

    return _ask(request, operation, caller, world, now, needs, then)


def _payload(request: S3Request, caller: Caller, body: bytes) -> bytes:
    """Return the verified payload of a body that was read whole."""
    trailers: Mapping[str, str] = {}
    if caller.mode.chunked and caller.decoded_length is not None:
        chain = None
        if caller.mode.chain and caller.claim is not None:
            claim = caller.claim
            chain = ChunkChain(caller.signing_key, claim.timestamp, claim.scope, claim.signature)
        body, trailers = read_all(body, caller.decoded_length, trailer_names(request, caller.mode), chain)
    pinned = {"x-amz-content-sha256": caller.payload_hash} if caller.mode is PayloadMode.HEX else {}
    verify_body(body, {**request.headers, **trailers, **pinned})
    return body
