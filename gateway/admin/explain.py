"""Why is somebody allowed or refused something? Asked of the authorizer of all requests, for the operator only.

A question about a key is decided with the rights of now. A past request is told as it was decided, and decided again: with the caller
and the facts that it had, and the policies of now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.admin import explanations
from gateway.admin.call import AdminCall, Body, Reply, Route, utc
from gateway.admin.errors import XMinioAdminConfigBadJSON, XMinioAdminInvalidArgument, XMinioAdminNoSuchRequest
from gateway.admin.explanations import BadQuestion
from gateway.admin.office import Office
from gateway.errors import S3Error
from gateway.printable import plain
from gateway.s3.context import RequestContext
from gateway.stories import readings
from gateway.turns.denials import Denial
from iam.model import AccessRequest, Deny, Principal, PrincipalType
from iam.verdicts import Explanation

_QUESTION = ("as", "anonymous", "action", "resource", "context")
_PARTLY = (
    "This process has not seen the session itself, only its record: what is only in its token is not known here (its session "
    "policy, its tags, its groups, other claims), so that the answer to it may be another one."
)
_OTHERWISE = "The store may read this as something else, and all of it must be allowed: "


async def explain(call: AdminCall, office: Office) -> Reply:
    """Explain what a key, or nobody, may do now."""
    asking = call.document(*_QUESTION)
    key, anonymous = asking.text("as"), asking.flag("anonymous")
    if bool(key) == anonymous:
        raise XMinioAdminInvalidArgument("Name an access key by `as`, or say `anonymous`, and one of them only.")
    context, now = _context(asking.members.get("context") or {}), int(office.now())
    try:
        principal, notes = await _who(call, office, key)
    except S3Error as error:
        told = explanations.unauthentic(key, f"{error.code}: {error.reason or error.text}")
        return Reply({**told, "notes": [], "words": explanations.words(told)})
    try:
        question = explanations.question(principal, asking.text("action"), asking.text("resource"), context, now=now)
    except BadQuestion as error:
        raise XMinioAdminInvalidArgument(str(error)) from None
    return Reply(await _explained(call, office, question, notes))


async def explain_past(call: AdminCall, office: Office) -> Reply:
    """Explain a request that this process has refused lately."""
    denial = office.insight.denials.find(call.one("request-id"))
    if denial is None:
        raise XMinioAdminNoSuchRequest
    notes = [
        "Of a past request: the caller, the names of its policies and the facts are those of then, what these policies say is of now.",
        f"Told by process {office.process}, which refused it; every process knows its own refusals only.",
    ]
    if denial.asked is None:
        told = explanations.unauthentic(denial.line.access_key_id, f"{denial.line.error}: {denial.line.reason}")
        told |= {"decidedBy": "no policy", "notes": notes[1:]}
    else:
        told = await _explained(call, office, denial.asked, notes)
    told["decided"] = decided = _decided(denial)
    first = plain(
        f"request {decided['requestId']} of {decided['time']}: {decided['operation']} {decided['method']} {decided['path']}"
    )
    then = plain(f"refused then: {decided['error']}: {decided['reason']}")
    told["words"] = "\n".join((first, then, told.get("words") or explanations.words(told)))
    return Reply(told)


def _decided(denial: Denial) -> dict[str, Any]:
    """Return how a request was refused, as the log tells it."""
    line = denial.line
    return {
        "requestId": line.request_id, "time": utc(denial.at), "method": line.method, "path": line.path, "operation": line.operation,
        "sourceIp": line.source_ip, "accessKey": line.access_key_id, "status": line.status, "error": line.error, "reason": line.reason,
    }  # fmt: skip


async def _explained(call: AdminCall, office: Office, question: AccessRequest, notes: list[str]) -> dict[str, Any]:
    """Explain a question as a request's is decided: about everything that the store may read in it, the first refusal of all."""
    read = (question,) if call.asker.world.amazon else readings.of(question)
    if isinstance(read, Deny):
        found = Explanation(read, "what the store reads")
    else:
        question, found = await _decided_first(call, office, read)
    if isinstance(read, tuple) and len(read) > 1:
        notes = [*notes, _OTHERWISE + ", ".join(f"{one.action} on {one.resource}" for one in read)]
    told = explanations.document(question, found, office.policies(), office.view())
    text = "\n".join([explanations.words(told, found), *(f"note: {note}" for note in notes)])
    return {**told, "notes": notes, "words": text}


async def _decided_first(
    call: AdminCall, office: Office, read: Sequence[AccessRequest]
) -> tuple[AccessRequest, Explanation]:
    """Return the question that is refused, and why; the first, and why it is allowed, where all are."""
    explained = []
    for one in read:
        question, lost = await _with_tags(call, office, one)
        found = await call.asker.world.authorizer.explain(question)
        if lost:
            found = Explanation(Deny("the object's tags could not be read"), "tags", found.session, found.policies)
        explained.append((question, found))
        if not found:
            return explained[-1]
    return explained[0]


async def _with_tags(call: AdminCall, office: Office, question: AccessRequest) -> tuple[AccessRequest, bool]:
    """Return the question with the tags of the object where a policy names them, as a request would have; whether they are lost."""
    context = question.context
    if not (question.key and isinstance(context, RequestContext) and context.existing_tags is None):
        return question, False
    if not call.asker.world.authorizer.wants_existing_tags(question):
        return question, False
    (tags,) = await office.insight.tags_of([(question.bucket, question.key, context.version_id)])
    return (
        (question, True) if tags is None else (question._replace(context=context._replace(existing_tags=tags)), False)
    )


async def _who(call: AdminCall, office: Office, key: str) -> tuple[Principal, list[str]]:
    """Return who a key is, as a request with it would find; what is not known of it. Raises an S3Error where it is refused."""
    world, insight = call.asker.world, office.insight
    if not key:
        return Principal(PrincipalType.ANONYMOUS, policies=world.anonymous_policies), []
    token = insight.token_of(key)
    view = office.view()
    if token or key == office.root_access_key or key in view.users or key in view.accounts:
        return world.lookup(key, token)[1], []
    record = await office.store.session(key)
    if record is None:
        return world.lookup(key, "")[1], []
    return insight.recorded(record), [_PARTLY]


def _context(given: Any) -> dict[str, tuple[str, ...]]:
    """Return condition keys with their values: each a text, or a list of texts."""
    if not isinstance(given, dict):
        raise XMinioAdminConfigBadJSON("The member context must be an object.")
    found = {}
    for name, value in given.items():
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
            raise XMinioAdminConfigBadJSON("The values of context must be texts, or lists of texts.")
        found[name] = tuple(values)
    return found


_ACTION = ("admin:Explain",)
ROUTES = (
    Route("POST", "/explain", _ACTION, explain, body=Body.JSON, answer=Body.JSON, about=("as", "action", "resource")),
    Route("GET", "/explain", _ACTION, explain_past, needs=("request-id",), answer=Body.JSON, about=("request-id",)),
)  # fmt: skip
