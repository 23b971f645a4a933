"""Policies + one question -> Allow or Deny. An explicit Deny wins; nothing said is a Deny.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
What cannot be known (a variable without value, a condition value that does not parse) falls to the safe side: the
statement does not apply when it allows, and applies when it denies. A variable's value is literal text and names one
thing: with a `*` it matches a star only, and with a `/` (or as `.` or `..`) it is no value (trap 58).
An admin:, sts: or kms: action is on no S3 resource, so `*` on `arn:aws:s3:::*` does not allow administration; a Deny so
written does deny it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from iam.conditions import Condition, glob, is_template, resolve
from iam.model import AccessRequest, Allow, Decision, Deny, UnknownFact
from iam.policy import RESOURCELESS, Policy, Statement


class _About(NamedTuple):
    """A statement that is about an action: its name in reasons, whether it is so on every resource, what it gives."""

    statement: Statement
    name: str
    everywhere: bool
    allow: Allow | None


_ACTIONS_KEPT = 512  # more than there are; a name that no table has must not fill the memory


def decide(policies: Iterable[Policy], request: AccessRequest) -> Decision:
    """Return the decision of all the policies together; the reason names the policy and the statement."""
    allowed: Allow | None = None
    for number, policy in enumerate(policies):
        for about in policy.about.get(request.action) or _about(policy, request.action):
            statement = about.statement
            if (statement.allow and allowed) or not _applies(about, request):
                continue
            if about.allow is None:
                named = f"{policy.id or f'policy {number}'}/{about.name}"
                return Deny(f"{named} denies {request.action} on {request.resource}")
            allowed = about.allow if policy.id else Allow(f"policy {number}/{about.name} allows {request.action}")
    if allowed is None and request.deny_only:
        return Allow(f"nothing denies {request.action} to whom it is about")
    return allowed or Deny(f"no statement allows {request.action} on {request.resource}")


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
    name = statement.sid or f"statement {number}"
    allow = Allow(f"{policy.id}/{name} allows {action}") if statement.allow else None
    return _About(statement, name, statement.everywhere and action.lower().startswith("s3:"), allow)


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
    return (about.everywhere or _resource(statement, request, unknown=unknown)) and (
        not statement.conditions
        or all(_condition(condition, request, unknown=unknown) for condition in statement.conditions)
    )


def _action(statement: Statement, action: str) -> bool:
    if statement.not_actions:
        return not _any_action(statement.not_actions, action)
    return _any_action(statement.actions, action)


def _any_action(patterns: Sequence[str], action: str) -> bool:
    return any(glob((pattern,)).fullmatch(action) for pattern in patterns)


def _resource(statement: Statement, request: AccessRequest, *, unknown: bool) -> bool:
    """Judge a bucket action on `arn:aws:s3:::bucket`, as AWS does: `bucket/*` does not grant listing."""
    action = request.action.lower()
    if _names_resourceless(statement, action):
        return True
    if statement.allow and action.startswith(RESOURCELESS):
        return "*" in statement.resources
    patterns = statement.not_resources or statement.resources
    hits = [_matches(pattern, request) for pattern in patterns]
    if not statement.not_resources:
        return any(unknown if hit is None else hit for hit in hits)
    return True not in hits and (unknown or None not in hits)


def _names_resourceless(statement: Statement, action: str) -> bool:
    """Return whether the statement names an admin:, sts: or kms: action itself: its resources are then about others."""
    return action.startswith(RESOURCELESS) and any(
        pattern.startswith(RESOURCELESS) and glob((pattern,)).fullmatch(action) for pattern in statement.actions
    )


def _matches(pattern: str, request: AccessRequest) -> bool | None:
    pieces = resolve(pattern, lambda name: _value(name, request)) if is_template(pattern) else (pattern,)
    return None if pieces is None else glob(pieces).fullmatch(request.resource) is not None


def _condition(condition: Condition, request: AccessRequest, *, unknown: bool) -> bool:
    holds = condition.holds(request.context, lambda name: _value(name, request))
    return unknown if holds is None else holds


def _value(name: str, request: AccessRequest) -> str | None:
    """Return the single value of a variable; none, an unknown, an empty, an ambiguous or a path-like one is no value."""
    try:
        values = request.context.values(name) or ()
    except UnknownFact:
        return None
    usable = len(values) == 1 and "/" not in values[0] and values[0] not in {"", ".", ".."}
    return values[0] if usable else None
