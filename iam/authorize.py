"""May they? `AllOf(session policy, OPA | IAM policies)`; no answer is a denial.

`decide_now` answers without waiting, or returns None: then `decide` must be awaited. Neither raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from iam.evaluate import decide
from iam.model import AccessRequest, Allow, Decision, Deny, PrincipalType
from iam.policy import Policy, PolicyError, parse

_PARSED_AT_MOST = 4096


class Authorizer(Protocol):
    """Whoever can answer an AccessRequest."""

    def decide_now(self, request: AccessRequest) -> Decision | None:
        """Return the decision, or None when it must be awaited."""
        ...

    async def decide(self, request: AccessRequest) -> Decision:
        """Return the decision. Never raises: trouble is a Deny with its reason."""
        ...

    async def ready(self) -> str | None:
        """Return None when decisions can be had, else why not."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class IamPolicies:
    """IAM policies in process: the owner may all, others what their named policies say."""

    def __init__(self, policies: Callable[[], Mapping[str, Policy]]) -> None:
        self._policies = policies

    def decide_now(self, request: AccessRequest) -> Decision:
        """Decide by the principal's policies; a name without a policy contributes nothing."""
        principal = request.principal
        if principal.owner:
            return Allow("owner")
        known = self._policies()
        named = [known[name] for name in principal.policies if name in known]
        if not named:
            return Deny(f"none of the principal's policies exists: {', '.join(principal.policies) or '(none named)'}")
        return decide(named, request)

    async def decide(self, request: AccessRequest) -> Decision:
        """Decide, as `decide_now`."""
        return self.decide_now(request)

    async def ready(self) -> str | None:  # noqa: PLR6301
        """Return None: policies in process are always there."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""


class AllOf:
    """The session policy AND the rest: a session can narrow, never widen (trap 29)."""

    def __init__(self, rest: Authorizer) -> None:
        self._rest = rest
        self._parsed: dict[str, Policy | None] = {}

    def decide_now(self, request: AccessRequest) -> Decision | None:
        """Deny at once what the session policy denies, or what nobody may ask; else ask the rest."""
        bound = self._bound(request)
        return bound if bound is not None else self._rest.decide_now(request)

    async def decide(self, request: AccessRequest) -> Decision:
        """Decide, waiting for the rest where it must."""
        bound = self._bound(request)
        return bound if bound is not None else await self._rest.decide(request)

    async def ready(self) -> str | None:
        """Return whether the rest is ready."""
        return await self._rest.ready()

    async def close(self) -> None:
        """Close the rest."""
        await self._rest.close()

    def _bound(self, request: AccessRequest) -> Deny | None:
        principal = request.principal
        if principal.type is PrincipalType.ANONYMOUS and not principal.policies:
            return Deny("anonymous requests are not allowed here")
        if principal.session_policy is None:
            return None
        policy = self._policy(principal.session_policy)
        if policy is None:
            return Deny("the session policy does not parse")
        decision = decide((policy,), request)
        return None if decision else Deny(f"session policy: {decision.reason}")

    def _policy(self, text: str) -> Policy | None:
        if text not in self._parsed:
            if len(self._parsed) >= _PARSED_AT_MOST:
                self._parsed.clear()
            try:
                self._parsed[text] = parse(text)
            except PolicyError:
                self._parsed[text] = None
        return self._parsed[text]
