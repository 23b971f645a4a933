"""What narrows a session: the caller's policy and the policies that PolicyArns names, as one document. Pure.

As at AWS a session may what its identity may and the union of these allows
(https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session). The named policies are kept by
their content, not by their name: who changes or replaces a policy later cannot widen sessions that were narrowed by it, a
policy that is removed does not leave them without any, and every gateway, and OPA, judges by what the token says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from iam.conditions import Condition
from iam.policy import Policy, Statement


def narrowed(own: str | None, named: Iterable[Policy]) -> str | None:
    """Return the session policy (compact JSON) of a call's Policy and its PolicyArns; None when nothing narrows."""
    given = list(named)
    if not given:
        return own
    statements = _statements(own) + [statement(one) for policy in given for one in policy.statements]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"), ensure_ascii=False)


def _statements(own: str | None) -> list[Any]:
    found = json.loads(own)["Statement"] if own is not None else []
    return found if isinstance(found, list) else [found]


def statement(one: Statement) -> dict[str, Any]:
    """Return a parsed statement as its author could have written it. Raises ValueError for one that is about others."""
    if one.principals or one.not_principals:
        raise ValueError("a statement with principals narrows no session")
    lists = {
        "Action": one.actions, "NotAction": one.not_actions,
        "Resource": one.resources, "NotResource": one.not_resources,
    }  # fmt: skip
    found: dict[str, Any] = {"Effect": "Allow" if one.allow else "Deny"}
    found |= {name: values[0] if len(values) == 1 else list(values) for name, values in lists.items() if values}
    if one.sid:
        found["Sid"] = one.sid
    if one.conditions:
        found["Condition"] = _conditions(one.conditions)
    return found


def _conditions(conditions: tuple[Condition, ...]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for condition in conditions:
        quantifier = f"{condition.quantifier}:" if condition.quantifier else ""
        name = f"{quantifier}{condition.operator}{'IfExists' if condition.if_exists else ''}"
        found.setdefault(name, {})[condition.key] = list(condition.values)
    return found
