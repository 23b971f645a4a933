"""May they? `AllOf(session policy, OPA | IAM policies)`; no answer is a denial.

`decide_now` answers without waiting, or returns None: then `decide` must be awaited. Neither raises: an error on the
way to a decision is a Deny, its kind in the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from iam.evaluate import asks_existing_tags, decide
from iam.model import AccessRequest, Allow, Decision, Deny, PrincipalType
from iam.policy import Policy, PolicyError, parse

_PARSED_AT_MOST = 256  # session policies kept parsed; each may be some kilobytes


class Authorizer(Protocol):
    """Whoever can answer an AccessRequest."""

    def decide_now(self, request: AccessRequest) -> Decision | None:
        """Return the decision, or None when it must be awaited."""
        ...

    async def decide(self, request: AccessRequest) -> Decision:
        """Return the decision. Never raises: trouble is a Deny with its reason."""
        ...

    def wants_existing_tags(self, request: AccessRequest) -> bool:
        """Return whether the tags of the object as it is must be in the context before the question is asked."""
        ...

    async def ready(self) -> str | None:
        """Return None when decisions can be had, else why not."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class IamPolicies:
    """IAM policies in process: the owner may all, others what their named policies say.

    `policies` returns the policies by name, as they are at the moment of the question.
    """

    def __init__(self, policies: Callable[[], Mapping[str, Policy]]) -> None:
        self._policies = policies

    def decide_now(self, request: AccessRequest) -> Decision:
        """Decide by the principal's policies; a name without a policy contributes nothing."""
        if request.principal.owner:
            return Allow("owner")
        try:
            return self._judge(request)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the answer is no
            return Deny(f"policies: {type(error).__name__}")

    async def decide(self, request: AccessRequest) -> Decision:
        """Decide, as `decide_now`."""
        return self.decide_now(request)

    def wants_existing_tags(self, request: AccessRequest) -> bool:
        """Return whether one of the principal's policies could apply and names them."""
        if request.principal.owner:
            return False
        try:
            known = self._policies()
        except Exception:  # noqa: BLE001 - the decision will say no, and why
            return False
        named = [known[name] for name in request.principal.policies if name in known and known[name].existing_tags]
        return bool(named) and asks_existing_tags(named, request)

    async def ready(self) -> str | None:
        """Return None: policies in process are always there."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""

    def _judge(self, request: AccessRequest) -> Decision:
        names = request.principal.policies
        known = self._policies()
        named = [known[name] for name in names if name in known]
        if not named:
            return Deny(f"none of the principal's policies exists: {', '.join(names) or '(none named)'}")
        decision = decide(named, request)
        missing = ", ".join(name for name in names if name not in known)
        return replace(decision, reason=f"{decision.reason}; no such policy: {missing}") if missing else decision


class AllOf:
    """The session policy AND the rest: a session policy can narrow, never widen (trap 29)."""

    def __init__(self, rest: Authorizer) -> None:
        self._rest = rest
        self._parsed: dict[str, Policy | None] = {}

    def decide_now(self, request: AccessRequest) -> Decision | None:
        """Deny at once what the session policy denies, or what nobody may ask; else ask the rest."""
        denied = self._denied(request)
        return self._rest.decide_now(request) if denied is None else denied

    async def decide(self, request: AccessRequest) -> Decision:
        """Decide, waiting for the rest where it must."""
        denied = self._denied(request)
        return await self._rest.decide(request) if denied is None else denied

    def wants_existing_tags(self, request: AccessRequest) -> bool:
        """Return whether the session policy names them, or the rest wants them."""
        text = request.principal.session_policy
        session = self._policy(text) if text is not None else None
        named = session is not None and session.existing_tags and asks_existing_tags((session,), request)
        return named or self._rest.wants_existing_tags(request)

    async def ready(self) -> str | None:
        """Return whether the rest is ready."""
        return await self._rest.ready()

    async def close(self) -> None:
        """Close the rest."""
        await self._rest.close()

    def _denied(self, request: AccessRequest) -> Deny | None:
        principal = request.principal
        if principal.type is PrincipalType.ANONYMOUS and not principal.policies:
            return Deny("anonymous, and no policy is for anonymous requests")
        if principal.session_policy is None:
            return None
        try:
            return self._session(principal.session_policy, request)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the answer is no
            return Deny(f"session policy: {type(error).__name__}")

    def _session(self, text: str, request: AccessRequest) -> Deny | None:
        """Judge by the session policy alone: here not even the owner has a shortcut."""
        policy = self._policy(text)
        if policy is None:
            return Deny("the session policy does not parse")
        decision = decide((policy,), request)
        return Deny(f"session policy: {decision.reason}") if isinstance(decision, Deny) else None

    def _policy(self, text: str) -> Policy | None:
        if text not in self._parsed:
            if len(self._parsed) >= _PARSED_AT_MOST:
                self._parsed.pop(next(iter(self._parsed)))
            try:
                self._parsed[text] = parse(text)
            except PolicyError:
                self._parsed[text] = None
        return self._parsed[text]
