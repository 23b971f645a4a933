"""One verified request before the authorizer: what the stories of all operations have in common.

A `Case` knows who asks for which operation; it turns needs into questions, asks them, and makes plans. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway import answers
from gateway.actions import Need
from gateway.authenticate import Caller, Lookup
from gateway.context import RequestContext
from gateway.errors import AccessDenied, InternalError, MalformedXML
from gateway.operations import Operation
from gateway.plans import Answer, Forward, NeedsDecisions, Plan, Reply
from gateway.request import S3Request
from gateway.sigv4 import SigningKeys, signature_age_ms
from iam.authorize import Authorizer
from iam.model import AccessRequest, Decision


@dataclass(frozen=True)
class World:
    """What the story depends on; all of it is wired in `app`."""

    lookup: Lookup
    authorizer: Authorizer
    keys: SigningKeys
    region: str = ""
    anonymous_policies: tuple[str, ...] = ()
    raw_headers: bool = False
    filter_listings: bool = False


@dataclass(frozen=True)
class Case:
    """One request: verified, its operation known. `now` in epoch seconds."""

    request: S3Request
    operation: Operation
    caller: Caller
    world: World
    now: int

    def ask(self, needs: Sequence[Need], then: Callable[[Sequence[Decision]], Plan]) -> Plan:
        """Ask the authorizer; when every answer is there at once, go on without waiting."""
        return self.ask_all(tuple(self.question(need) for need in needs), then)

    def ask_all(self, questions: tuple[AccessRequest, ...], then: Callable[[Sequence[Decision]], Plan]) -> Plan:
        """Ask these questions, as `ask`."""
        decisions = []
        for question in questions:
            decision = self.world.authorizer.decide_now(question)
            if decision is None:
                return NeedsDecisions(self.operation, self.caller, questions, then)
            decisions.append(decision)
        return then(decisions)

    def must(self, needs: Sequence[Need], then: Callable[[], Plan]) -> Plan:
        """Go on when every need is allowed. Raises AccessDenied, now or when the decisions are there."""

        def judged(decisions: Sequence[Decision]) -> Plan:
            for decision in decisions:
                if not decision:
                    raise AccessDenied(reason=decision.reason)
            return then()

        return self.ask(needs, judged)

    def question(self, need: Need) -> AccessRequest:
        """Return what the authorizer is asked about a need."""
        request, claim = self.request, self.caller.claim
        context = RequestContext(
            request.headers, request.query, self.caller.principal, request.source_ip, request.secure, self.now,
            signature_version="AWS4-HMAC-SHA256" if claim else "", auth_type=self.caller.auth_type,
            signature_age_ms=signature_age_ms(claim, self.now) if claim else None, raw_headers=self.world.raw_headers,
            version_id=need.version,
        )  # fmt: skip
        return AccessRequest(self.caller.principal, need.action, need.bucket, need.key, context)

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


def _understood(answer: Answer, then: Callable[[Answer], Plan]) -> Plan:
    """Go on with an answer; one that is not what S3 answers is the backend's mistake, not the client's."""
    try:
        return then(answer)
    except MalformedXML as error:
        raise InternalError(reason=f"the backend's answer: {error.reason}") from error
