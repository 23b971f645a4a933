"""One verified request before the authorizer: what the stories of all operations have in common.

A `Case` knows who asks for which operation; it turns needs into questions, asks them, and makes plans. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from gateway.errors import AccessDenied, InternalError, MalformedXML, ServiceUnavailable
from gateway.s3.actions import Need, copy_source, required
from gateway.s3.authenticate import Caller, Lookup, token_of
from gateway.s3.context import RequestContext, Tags
from gateway.s3.operations import Operation
from gateway.s3.request import S3Request
from gateway.signing.sigv4 import SigningKeys, signature_age_ms
from gateway.stories import answers, readings
from gateway.stories.plans import Answer, Forward, NeedsBody, NeedsDecisions, NeedsTags, Plan, Reply
from iam.authorize import Authorizer
from iam.model import AccessRequest, Decision, Deny, PrincipalType

Given = TypeVar("Given")


@dataclass(frozen=True)
class World:
    """What the story depends on; all of it is wired in `app`. `amazon`: the store knows every operation that there is."""

    lookup: Lookup
    authorizer: Authorizer
    keys: SigningKeys
    region: str = ""
    anonymous_policies: tuple[str, ...] = ()
    raw_headers: bool = False
    filter_listings: bool = False
    amazon: bool = False


class Case(NamedTuple):
    """One request: verified, its operation known. `now` in epoch seconds.

    `told` and `location` are what its document says (`gateway.stories.documents`).
    """

    request: S3Request
    operation: Operation
    caller: Caller
    world: World
    now: int
    told: Mapping[str, str] = MappingProxyType({})
    location: str = ""

    def ask(self, needs: Sequence[Need], then: Callable[[Sequence[Decision]], Plan]) -> Plan:
        """Ask the authorizer; when every answer is there at once, go on without waiting."""
        return self.ask_all(tuple([self.question(need) for need in needs]), then)

    def ask_all(self, questions: tuple[AccessRequest, ...], then: Callable[[Sequence[Decision]], Plan]) -> Plan:
        """Ask these questions, as `ask`, about everything that the store may read in them."""
        if self.world.amazon or readings.are_single(questions):
            return self._ask_these(questions, then)
        groups = readings.groups(questions)
        asked = tuple([one for group in groups if not isinstance(group, Deny) for one in group])
        return self._ask_these(asked, lambda decisions: then(readings.joined(groups, decisions)))

    def _ask_these(self, questions: tuple[AccessRequest, ...], then: Callable[[Sequence[Decision]], Plan]) -> Plan:
        """Ask these questions; the tags that a policy names are read before, and only then."""
        wants = self.world.authorizer.wants_existing_tags
        wanted = [question for question in questions if question.key and wants(question)]
        if not wanted:
            return self._decide(questions, then)
        objects = tuple(dict.fromkeys(map(_object, wanted)))

        def read(found: Sequence[Tags | None]) -> Plan:
            tags = dict(zip(objects, found, strict=True))
            lost = [_object(q) in tags and tags[_object(q)] is None for q in questions]
            known = tuple(_tagged(q, tags) for q, gone in zip(questions, lost, strict=True) if not gone)
            return self._decide(known, lambda decisions: then(_with_refusals(decisions, lost)))

        return NeedsTags(self.operation, self.caller, objects, self.after(read))

    def _decide(self, questions: tuple[AccessRequest, ...], then: Callable[[Sequence[Decision]], Plan]) -> Plan:
        decisions = []
        for question in questions:
            decision = self.world.authorizer.decide_now(question)
            if decision is None:
                return NeedsDecisions(self.operation, self.caller, questions, self.after(then))
            decisions.append(decision)
        return then(decisions)

    def after(self, then: Callable[[Given], Plan]) -> Callable[[Given], Plan]:
        """Return how the story goes on after a wait: only for who still is who asked. A wait may be long, and a session end in it."""

        def waited(given: Given) -> Plan:
            is_still(self.request, self.caller, self.world)
            return then(given)

        return waited

    def read(self, limit: int, then: Callable[[bytes], Plan]) -> Plan:
        """Read the body before anybody is asked; nobody's is not read where nobody may anything: it would fill the memory."""
        principal = self.caller.principal
        if principal.type is PrincipalType.ANONYMOUS and not principal.policies:
            asked = self.question(required(self.operation, self.request)[0])
            raise AccessDenied(reason="anonymous, and no policy is for anonymous requests", asked=asked)
        return NeedsBody(self.operation, self.caller, limit, self.after(then))

    def must(self, needs: Sequence[Need], then: Callable[[], Plan]) -> Plan:
        """Go on when every need is allowed. Raises AccessDenied, now or when the decisions are there."""
        questions = self._about(needs)
        if self._are_allowed(questions):
            return then()

        def judged(decisions: Sequence[Decision]) -> Plan:
            for question, decision in zip(questions, decisions, strict=True):
                if not decision:
                    raise AccessDenied(reason=decision.reason, asked=question)
            return then()

        return self._ask_these(questions, judged)

    def _about(self, needs: Sequence[Need]) -> tuple[AccessRequest, ...]:
        """Return the questions about needs, and about all that the store may read in them. Raises AccessDenied."""
        questions = tuple([self.question(need) for need in needs])
        if self.world.amazon or readings.are_single(questions):
            return questions
        found: list[AccessRequest] = []
        for question in questions:
            read = readings.of(question)
            if isinstance(read, Deny):
                raise AccessDenied(reason=read.reason, asked=question)
            found += read
        return tuple(found)

    def _are_allowed(self, questions: Sequence[AccessRequest]) -> bool:
        """Return whether all this is allowed by what can be decided at once. Raises AccessDenied."""
        authorizer = self.world.authorizer
        for question in questions:
            if question.key and authorizer.wants_existing_tags(question):
                return False
            decision = authorizer.decide_now(question)
            if decision is None:
                return False
            if not decision:
                raise AccessDenied(reason=decision.reason, asked=question)
        return True

    def question(self, need: Need) -> AccessRequest:
        """Return what the authorizer is asked about a need."""
        return AccessRequest(self.caller.principal, need.action, need.bucket, need.key, self.facts(need))

    def facts(self, need: Need) -> RequestContext:
        """Return the facts that a policy may ask about."""
        request, claim = self.request, self.caller.claim
        return RequestContext(
            request.headers, request.query, self.caller.principal, request.source_ip, request.secure, self.now,
            "AWS4-HMAC-SHA256" if claim else "", self.caller.auth_type,
            signature_age_ms(claim, self.now) if claim else None, self.world.raw_headers,
            need.version, self.location, self.operation.name, self.operation.headers, self._told(),
            None if need.key else (),
        )  # fmt: skip

    def _told(self) -> Mapping[str, str]:
        """Return what speaks in place of headers; a copy's source as it is written for the backend, never as it came."""
        if "x-amz-copy-source" not in self.operation.needs_headers:
            return self.told
        source = copy_source(self.request.header("x-amz-copy-source"))
        version = f"?versionId={source.version}" if source.version else ""
        return {**self.told, "x-amz-copy-source": f"{source.bucket}/{source.key}{version}"}

    def forward(
        self,
        body: bytes | None = None,
        *,
        request: S3Request | None = None,
        edit: Callable[[bytes], bytes] | None = None,
        then: Callable[[Answer], Plan] | None = None,
    ) -> Forward:
        """Return the plan to send this case's request, or another one in its name."""
        after = (lambda answer: _understood(answer, then)) if then is not None else None
        return Forward(request or self.request, self.operation, self.caller, body, edit, after)

    def reply(self, body: bytes, answer: Answer | None = None) -> Reply:
        """Return the plan to answer with this document, under the backend's headers when it was asked."""
        return Reply(self.operation, self.caller, body, headers=answers.edited(answer.headers) if answer else ())


def is_still(request: S3Request, caller: Caller, world: World) -> None:
    """Hold that a caller is who he was. Raises as `authenticate`, ServiceUnavailable when rights or secret are others now.

    A form's token is among its fields, which are gone by then; it is looked up behind its file (`post_form`).
    """
    claim = caller.claim
    if claim is None or claim.form:
        return
    credentials, principal = world.lookup(claim.access_key_id, token_of(request, claim))
    key = world.keys.get(credentials.secret.reveal(), claim.scope)
    turned = caller.signing_key is not None and key.sign("") != caller.signing_key.sign("")
    if turned or principal != caller.principal:
        raise another_asks()


def another_asks() -> ServiceUnavailable:
    """Return the refusal of a request whose caller has another secret, or other rights, than before it waited."""
    return ServiceUnavailable("Please try again.", reason="who asks has changed while the request waited")


def _object(question: AccessRequest) -> tuple[str, str, str]:
    """Return the object that a question is about, in the version that it names."""
    context = question.context
    return question.bucket, question.key, context.version_id if isinstance(context, RequestContext) else ""


def _tagged(question: AccessRequest, tags: Mapping[tuple[str, str, str], Tags | None]) -> AccessRequest:
    context, found = question.context, tags.get(_object(question))
    if found is None or not isinstance(context, RequestContext):
        return question
    return question._replace(context=context._replace(existing_tags=found))


def _with_refusals(decisions: Sequence[Decision], lost: Sequence[bool]) -> list[Decision]:
    """Return the decisions in the questions' order, a Deny for each whose object's tags could not be read."""
    given = iter(decisions)
    return [Deny("the object's tags could not be read") if gone else next(given) for gone in lost]


def _understood(answer: Answer, then: Callable[[Answer], Plan]) -> Plan:
    """Go on with an answer; one that is not what S3 answers is the backend's mistake, not the client's."""
    try:
        return then(answer)
    except MalformedXML as error:
        raise InternalError(reason=f"the backend's answer: {error.reason}") from error
