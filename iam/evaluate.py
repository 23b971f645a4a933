"""Policies + one question -> Allow or Deny. An explicit Deny wins; nothing said is a Deny.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
What cannot be known (a variable without value, a condition value that does not parse) falls to the safe side: the
statement does not apply when it allows, and applies when it denies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from iam.conditions import wildcard
from iam.model import AccessRequest, Allow, Decision, Deny
from iam.policy import Policy, Statement

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERALS = {"*": "*", "?": "?", "$": "$"}


def decide(policies: Iterable[Policy], request: AccessRequest) -> Decision:
    """Return the decision of all the policies together; the reason names the statement."""
    allowed: Allow | None = None
    for policy in policies:
        for number, statement in enumerate(policy.statements):
            if statement.allow and allowed is not None:
                continue
            if _applies(statement, request):
                name = statement.sid or f"statement {number}"
                if not statement.allow:
                    return Deny(f"{name} denies {request.action} on {request.resource}")
                allowed = Allow(f"{name} allows {request.action}")
    return allowed or Deny(f"no statement allows {request.action} on {request.resource}")


def _applies(statement: Statement, request: AccessRequest) -> bool:
    unknown = not statement.allow
    return (
        _action(statement, request.action)
        and _resource(statement, request, unknown=unknown)
        and all(
            unknown if holds is None else holds
            for holds in (c.holds(request.context, lambda text: _expand_text(text, request)) for c in statement.conditions)
        )
    )


def _action(statement: Statement, action: str) -> bool:
    if statement.not_actions:
        return not any(wildcard(p, ignore_case=True).fullmatch(action) for p in statement.not_actions)
    return any(wildcard(p, ignore_case=True).fullmatch(action) for p in statement.actions)


def _resource(statement: Statement, request: AccessRequest, *, unknown: bool) -> bool:
    if not statement.resources and not statement.not_resources:
        return not request.action.startswith("s3:")
    # A bucket action is judged on arn:aws:s3:::bucket, as AWS does: `bucket/*` does not grant listing.
    if statement.not_resources:
        hits = [_matches(p, request) for p in statement.not_resources]
        return unknown if None in hits else not any(hits)
    hits = [_matches(p, request) for p in statement.resources]
    return any(unknown if hit is None else hit for hit in hits)


def _matches(pattern: str, request: AccessRequest) -> bool | None:
    if "${" not in pattern:
        return wildcard(pattern).fullmatch(request.resource) is not None
    expanded = _expand_pattern(pattern, request)
    return None if expanded is None else expanded.fullmatch(request.resource) is not None


def _expand_pattern(pattern: str, request: AccessRequest) -> re.Pattern[str] | None:
    """Replace variables by their values taken literally, so that a claim of `*` matches only a star (trap 58)."""
    out, at = "", 0
    for match in _VARIABLE.finditer(pattern):
        value = _LITERALS.get(match[1]) or _value(match[1], request)
        if value is None:
            return None
        out += wildcard(pattern[at : match.start()]).pattern + re.escape(value)
        at = match.end()
    return re.compile(out + wildcard(pattern[at:]).pattern, re.DOTALL)


def _expand_text(text: str, request: AccessRequest) -> str | None:
    for name in _VARIABLE.findall(text):
        value = _LITERALS.get(name) or _value(name, request)
        if value is None:
            return None
        # In a StringLike pattern the value's own wildcards would widen it; such a value is unknown instead.
        if name not in _LITERALS and ("*" in value or "?" in value):
            return None
        text = text.replace("${" + name + "}", value)
    return text


def _value(name: str, request: AccessRequest) -> str | None:
    """Return the single value of a variable; none, an empty or an ambiguous one is no value."""
    values = request.context.values(name) or ()
    hostile = len(values) != 1 or not values[0] or "/" in values[0] or values[0] in {".", ".."}
    return None if hostile else values[0]
