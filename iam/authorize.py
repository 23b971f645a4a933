"""May they? `AllOf(session policy, OPA | IAM policies)`, anonymous requests by IAM policies in any case; no answer is a denial.

`decide_now` answers without waiting, or returns None: then `decide` must be awaited. Neither raises: an error on the
way to a decision is a Deny, its kind in the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol, Self

from iam.evaluate import asks_existing_tags, decide
from iam.evaluate import explain as explained
from iam.model import AccessRequest, Allow, Decision, Deny, Principal, PrincipalType
from iam.policy import Policy, PolicyError, parse
from iam.verdicts import Explanation, Verdict

_NAMES_AT_MOST = 1024  # lists of policy names kept; claims choose them
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

    async def explain(self, request: AccessRequest) -> Explanation:
        """Return the decision that `decide` gives, and why, for the operator. Never raises."""
        ...

    async def ready(self) -> str | None:
        """Return None when decisions can be had, else why not."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class _Named(NamedTuple):
    """The policies that a principal names: those that exist, the names of the others, whether one asks about tags."""

    policies: tuple[Policy, ...]
    missing: str
    existing_tags: bool

    @classmethod
    def of(cls, names: tuple[str, ...], known: Mapping[str, Policy]) -> Self:
        """Return what these names find."""
        policies = tuple(known[name] for name in names if name in known)
        missing = ", ".join(name for name in names if name not in known)
        return cls(policies, missing, any(policy.existing_tags for policy in policies))


class IamPolicies:
    """IAM policies in process: the owner may all, others what their named policies say.

    `policies` returns the policies by name, as they are at the moment of the question; another mapping when they change.
    """

    def __init__(self, policies: Callable[[], Mapping[str, Policy]]) -> None:
        self._policies = policies
        self._known: Mapping[str, Policy] | None = None
        self._found: dict[tuple[str, ...], _Named] = {}

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

    async def explain(self, request: AccessRequest) -> Explanation:
        """Explain by every statement of the principal's policies."""
        decision = self.decide_now(request)
        if request.principal.owner:
            return Explanation(decision, "owner")
        try:
            named = self._named(request.principal.policies)
            verdict, missing = explained(named.policies, request), named.missing
        except Exception:  # noqa: BLE001 - the decision says no, and why
            return Explanation(decision, "policies")
        return Explanation(decision, "policies", policies=verdict, missing=tuple(filter(None, missing.split(", "))))

    def wants_existing_tags(self, request: AccessRequest) -> bool:
        """Return whether one of the principal's policies could apply and names them."""
        if request.principal.owner:
            return False
        try:
            named = self._named(request.principal.policies)
        except Exception:  # noqa: BLE001 - the decision will say no, and why
            return False
        return named.existing_tags and asks_existing_tags(named.policies, request)

    async def ready(self) -> str | None:
        """Return None: policies in process are always there."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""

    def _judge(self, request: AccessRequest) -> Decision:
        named = self._named(request.principal.policies)
        if not named.policies and not _may_be_nobody(request):
            return Deny(f"none of the principal's policies exists: {named.missing or '(none named)'}")
        decision = decide(named.policies, request)
        if named.missing:
            return replace(decision, reason=f"{decision.reason}; no such policy: {named.missing}")
        return decision

    def _named(self, names: tuple[str, ...]) -> _Named:
        """Return the policies of these names, found once for as long as the policies are the same."""
        known = self._policies()
        if known is not self._known:
            self._known = known
            self._found.clear()
        found = self._found.get(names)
        if found is None:
            if len(self._found) >= _NAMES_AT_MOST:
                self._found.clear()
            found = self._found[names] = _Named.of(names, known)
        return found


class AnonymousApart:
    """Anonymous requests by IAM policies, everybody else's by the policy service, which is never asked about them.

    As in MinIO, where the bucket's policy let them in beside OPA: Rego that was written for it takes every caller for somebody.
    """

    def __init__(self, anonymous: IamPolicies, rest: Authorizer) -> None:
        self._anonymous, self._rest = anonymous, rest

    def decide_now(self, request: AccessRequest) -> Decision | None:
        """Decide by whom it is for."""
        return self._of(request).decide_now(request)

    async def decide(self, request: AccessRequest) -> Decision:
        """Decide by whom it is for, waiting where it must."""
        return await self._of(request).decide(request)

    async def explain(self, request: AccessRequest) -> Explanation:
        """Explain by whom it is for."""
        return await self._of(request).explain(request)

    def wants_existing_tags(self, request: AccessRequest) -> bool:
        """Return whether who it is for wants them."""
        return self._of(request).wants_existing_tags(request)

    async def ready(self) -> str | None:
        """Return whether the rest is ready."""
        return await self._rest.ready()

    async def close(self) -> None:
        """Close the rest."""
        await self._rest.close()

    def _of(self, request: AccessRequest) -> Authorizer:
        return self._anonymous if request.principal.type is PrincipalType.ANONYMOUS else self._rest


def _may_be_nobody(request: AccessRequest) -> bool:
    """Return whether somebody without any policy may ask: for a session, whose rights may come later; not for administration.

    As in MinIO; an attachment that cannot be read, which may have denied it, is no policy either.
    """
    return request.deny_only and request.action.startswith("sts:")


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

    async def explain(self, request: AccessRequest) -> Explanation:
        """Explain by both, also by the rest where the session policy has denied already."""
        denied, rest = self._denied(request), await self._rest.explain(request)
        found = replace(rest, session=self._verdict(request))
        if denied is None:
            return found
        by = "default" if _is_nobody(request.principal) else "session policy"
        return replace(found, decision=denied, by=by)

    def wants_existing_tags(self, request: AccessRequest) -> bool:
        """Return whether the session policy names them, or the rest wants them."""
        text = request.principal.session_policy
        if text is not None:
            session = self._policy(text)
            if session is not None and session.existing_tags and asks_existing_tags((session,), request):
                return True
        return self._rest.wants_existing_tags(request)

    async def ready(self) -> str | None:
        """Return whether the rest is ready."""
        return await self._rest.ready()

    async def close(self) -> None:
        """Close the rest."""
        await self._rest.close()

    def _denied(self, request: AccessRequest) -> Deny | None:
        principal = request.principal
        if _is_nobody(principal):
            return Deny("anonymous, and no policy is for anonymous requests")
        if principal.session_policy is None:
            return None
        try:
            return self._session(principal.session_policy, request)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the answer is no
            return Deny(f"session policy: {type(error).__name__}")

    def _session(self, text: str, request: AccessRequest) -> Deny | None:
        """Judge by the session policy alone: here neither the owner nor one's own affairs have a shortcut (CVE-2025-62506)."""
        policy = self._policy(text)
        if policy is None:
            return Deny("the session policy does not parse")
        decision = decide((policy,), request._replace(deny_only=False))
        return Deny(f"session policy: {decision.reason}") if isinstance(decision, Deny) else None

    def _verdict(self, request: AccessRequest) -> Verdict | None:
        """Return what each statement of the session policy says, None without one that can be read."""
        text = request.principal.session_policy
        if text is None:
            return None
        try:
            policy = self._policy(text)
            return explained((policy,), request._replace(deny_only=False)) if policy is not None else None
        except Exception:  # noqa: BLE001 - the decision says no, and why
            return None

    def _policy(self, text: str) -> Policy | None:
        if text not in self._parsed:
            if len(self._parsed) >= _PARSED_AT_MOST:
                self._parsed.pop(next(iter(self._parsed)))
            try:
                self._parsed[text] = parse(text)
            except PolicyError:
                self._parsed[text] = None
        return self._parsed[text]


def _is_nobody(principal: Principal) -> bool:
    return principal.type is PrincipalType.ANONYMOUS and not principal.policies
