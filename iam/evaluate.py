"""Policies + one question -> Allow or Deny. An explicit Deny wins; nothing said is a Deny.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
What cannot be known (a variable without value, a condition value that does not parse) falls to the safe side: the
statement does not apply when it allows, and applies when it denies. A variable's value is literal text that names one
thing (iam.patterns, trap 58).
An admin:, sts: or kms: action is on no S3 resource, so `*` on `arn:aws:s3:::*` does not allow administration; a Deny so
written does deny it.
`explain` tells of every statement what `decide` made of it, by the same tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from iam.conditions import Condition
from iam.model import AccessRequest, Allow, Decision, Deny, UnknownFact
from iam.patterns import matches, resolve
from iam.policy import RESOURCELESS, Policy, Statement
from iam.principals import arn_of, is_about, is_excepted
from iam.verdicts import Finding, Step, Verdict


class _About(NamedTuple):
    """A statement that is about an action: its name in reasons, whether nothing but the action counts, what it gives."""

    statement: Statement
    name: str
    everywhere: bool
    always: bool
    allow: Allow | None


_ACTIONS_KEPT = 512  # more than there are; a name that no table has must not fill the memory


def decide(policies: Iterable[Policy], request: AccessRequest) -> Decision:
    """Return the decision of all the policies together; the reason names the policy and the statement."""
    allowed: Allow | None = None
    for number, policy in enumerate(policies):
        found = policy.about.get(request.action)
        for about in _about(policy, request.action) if found is None else found:
            if (about.allow and allowed) or not (about.always or _applies(about, request)):
                continue
            if about.allow is None:
                return _denial(_name(policy, number), about.name, request)
            allowed = about.allow if policy.id else _allowance(_name(policy, number), about.name, request.action)
    return allowed or _unsaid(request)


def _name(policy: Policy, number: int) -> str:
    return policy.id or f"policy {number}"


def _allowance(policy: str, statement: str, action: str) -> Allow:
    return Allow(f"{policy}/{statement} allows {action}")


def _denial(policy: str, statement: str, request: AccessRequest) -> Deny:
    return Deny(f"{policy}/{statement} denies {request.action} on {request.resource}")


def _unsaid(request: AccessRequest) -> Decision:
    if request.deny_only:
        return Allow(f"nothing denies {request.action} to whom it is about")
    return Deny(f"no statement allows {request.action} on {request.resource}")


def _about(policy: Policy, action: str) -> tuple[_About, ...]:
    """Return the statements that are about an action, in their order: the same for every request for it."""
    lower = action.lower()
    found = tuple(
        _described(policy, number, statement, action)
        for number, statement in enumerate(policy.statements)
        if _action(statement, lower)
    )
    if len(policy.about) < _ACTIONS_KEPT:
        policy.about[action] = found
    return found


def _described(policy: Policy, number: int, statement: Statement, action: str) -> _About:
    name = _statement_name(statement, number)
    everywhere = statement.everywhere and action.lower().startswith("s3:")
    always = everywhere and not (statement.conditions or statement.principals or statement.not_principals)
    return _About(statement, name, everywhere, always, _allowance(policy.id, name, action) if statement.allow else None)


def _statement_name(statement: Statement, number: int) -> str:
    return statement.sid or f"statement {number}"


def asks_existing_tags(policies: Iterable[Policy], request: AccessRequest) -> bool:
    """Return whether a statement that is about this action and resource names the tags of the object as it is."""
    return any(
        statement.existing_tags
        and _action(statement, request.action.lower())
        and _resource(statement, request, unknown=True)
        for policy in policies
        for statement in policy.statements
    )


def _applies(about: _About, request: AccessRequest) -> bool:
    statement = about.statement
    unknown = not statement.allow
    if not (about.everywhere or _resource(statement, request, unknown=unknown)) or not _who(statement, request):
        return False
    for condition in statement.conditions:
        holds = condition.holds(request.context)
        if not (unknown if holds is None else holds):
            return False
    return True


def _who(statement: Statement, request: AccessRequest) -> bool:
    if statement.principals:
        return is_about(statement.principals, request.principal, deny=not statement.allow)
    return not (statement.not_principals and is_excepted(statement.not_principals, request.principal))


def _action(statement: Statement, action: str) -> bool:
    if statement.not_actions:
        return not _any_action(statement.not_actions, action)
    return _any_action(statement.actions, action)


def _any_action(patterns: Sequence[str], action: str) -> bool:
    return any(matches((pattern,), action) for pattern in patterns)


def _resource(statement: Statement, request: AccessRequest, *, unknown: bool) -> bool:
    """Judge a bucket action on `arn:aws:s3:::bucket`, as AWS does: `bucket/*` does not grant listing."""
    holds = _resource_holds(statement, request)
    return unknown if holds is None else holds


def _resource_holds(statement: Statement, request: AccessRequest) -> bool | None:
    """Return whether the statement is about the resource; None when that cannot be known."""
    action = request.action
    if not action.startswith("s3:"):
        action = action.lower()
        if _names_resourceless(statement, action):
            return True
        if statement.allow and action.startswith(RESOURCELESS):
            return "*" in statement.resources
    hit = _any_resource(statement.not_resources or statement.resources, request)
    return hit if hit is None or not statement.not_resources else not hit


def _any_resource(patterns: Sequence[str], request: AccessRequest) -> bool | None:
    """Return whether a pattern matches the resource; None when none does and one has a variable without value."""
    resource, unknown = request.resource, False
    for pattern in patterns:
        pieces = _pieces(pattern, request)
        if pieces is None:
            unknown = True
        elif matches(pieces, resource):
            return True
    return None if unknown else False


def _pieces(pattern: str, request: AccessRequest) -> tuple[str, ...] | None:
    if "${" not in pattern:
        return (pattern,)
    try:
        return resolve(pattern, request.context.values)
    except UnknownFact:
        return None


def _names_resourceless(statement: Statement, action: str) -> bool:
    """Return whether the statement names an admin:, sts: or kms: action itself: its resources are then about others."""
    return action.startswith(RESOURCELESS) and any(
        pattern.startswith(RESOURCELESS) and matches((pattern,), action) for pattern in statement.actions
    )


def explain(policies: Iterable[Policy], request: AccessRequest) -> Verdict:
    """Return the decision that `decide` gives, and of every statement whether it applies and what kept it from that.

    Everything is looked at, also what no longer counts: for the operator's question why, not for every request.
    """
    policies = tuple(policies)
    steps = tuple(
        _step(_name(policy, number), _statement_name(statement, place), statement, request)
        for number, policy in enumerate(policies)
        for place, statement in enumerate(policy.statements)
    )
    return Verdict(_outcome(steps, request), steps)


def _outcome(steps: Sequence[Step], request: AccessRequest) -> Decision:
    applied = [step for step in steps if step.applied]
    for step in applied:
        if not step.allow:
            return _denial(step.policy, step.statement, request)
    return _allowance(applied[0].policy, applied[0].statement, request.action) if applied else _unsaid(request)


def _step(policy: str, name: str, statement: Statement, request: AccessRequest) -> Step:
    findings = tuple(_findings(statement, request))
    applied = not any(finding.known or statement.allow for finding in findings)
    return Step(policy, name, statement.allow, applied, findings)


def _findings(statement: Statement, request: AccessRequest) -> Iterator[Finding]:
    """Yield every element that does not hold, or of which that cannot be known."""
    if not _action(statement, request.action.lower()):
        yield _finding("Action", statement.actions, statement.not_actions, request.action)
    if not _who(statement, request):
        yield _finding("Principal", statement.principals, statement.not_principals, arn_of(request.principal))
    about = _resource_holds(statement, request)
    if not about:
        found = _finding("Resource", statement.resources, statement.not_resources, request.resource)
        yield Finding(found.element, found.listed, found.actual, known=about is not None)
    for condition in statement.conditions:
        holds = condition.holds(request.context)
        if not holds:
            actual = _actual(condition, request)
            yield Finding("Condition", condition.values, actual, holds is not None, condition.name, condition.key)


def _finding(element: str, named: tuple[str, ...], others: tuple[str, ...], actual: str) -> Finding:
    return Finding(f"Not{element}" if others else element, others or named, (actual,) if actual else None)


def _actual(condition: Condition, request: AccessRequest) -> tuple[str, ...] | None:
    try:
        return request.context.values(condition.key)
    except UnknownFact:
        return None
