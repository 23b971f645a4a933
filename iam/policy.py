"""IAM policy documents: parse, and say exactly what is wrong.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html. `parse` raises PolicyError with every
problem and its place; a member we do not know is a problem, never ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from iam.conditions import Condition, parse_operator

MAX_DOCUMENT = 20_480  # characters: MinIO's and AWS's largest policies fit


class PolicyError(Exception):
    """A document that is not a policy; `problems` names each place and fault."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; exactly one of actions/not_actions, and of resources/not_resources, is in use."""

    allow: bool
    sid: str = ""
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy document."""

    statements: tuple[Statement, ...]


_STATEMENT_MEMBERS = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})
_ACTION_SERVICES = ("s3:", "admin:", "sts:", "kms:", "s3express:")


def parse(text: str) -> Policy:
    """Parse a policy document. Raises PolicyError."""
    if len(text) > MAX_DOCUMENT:
        raise PolicyError((f"document: longer than {MAX_DOCUMENT} characters",))
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise PolicyError((f"document: not JSON: {error}",)) from None
    problems: list[str] = []
    statements = _document(document, problems)
    if problems:
        raise PolicyError(tuple(problems))
    return Policy(tuple(statements))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a member is given twice")
    return dict(pairs)


def _document(document: Any, problems: list[str]) -> list[Statement]:
    if not isinstance(document, dict):
        problems.append("document: must be an object")
        return []
    problems += [f"{name}: unknown member" for name in document.keys() - {"Version", "Id", "Statement"}]
    if document.get("Version", "2012-10-17") not in {"2012-10-17", "2008-10-17"}:
        problems.append("Version: must be 2012-10-17")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        problems.append("Statement: must be a statement or a list of them")
        return []
    return [_statement(s, f"Statement[{i}]", problems) for i, s in enumerate(statements)]


def _statement(value: Any, place: str, problems: list[str]) -> Statement:
    if not isinstance(value, dict):
        problems.append(f"{place}: must be an object")
        return Statement(allow=False)
    problems += [f"{place}.{name}: unknown member" for name in sorted(value.keys() - _STATEMENT_MEMBERS)]
    if value.get("Effect") not in {"Allow", "Deny"}:
        problems.append(f"{place}.Effect: must be Allow or Deny")
    if not isinstance(value.get("Sid", ""), str):
        problems.append(f"{place}.Sid: must be a string")
    if ("Action" in value) == ("NotAction" in value):
        problems.append(f"{place}: needs Action or NotAction, and one of them only")
    actions, not_actions = (_strings(value, n, place, problems) for n in ("Action", "NotAction"))
    problems += [f"{place}.Action: {a!r} is no action" for a in (*actions, *not_actions) if not _is_action(a)]
    resources, not_resources = (_strings(value, n, place, problems) for n in ("Resource", "NotResource"))
    if "Resource" in value and "NotResource" in value:
        problems.append(f"{place}: needs Resource or NotResource, and one of them only")
    if not resources and not not_resources and not all(a.startswith(("admin:", "sts:", "kms:")) for a in actions):
        problems.append(f"{place}: needs Resource or NotResource")
    problems += [f"{place}.Resource: {r!r} is no S3 ARN" for r in (*resources, *not_resources)
                 if r != "*" and not r.startswith("arn:aws:s3:::")]  # fmt: skip
    conditions = _conditions(value.get("Condition", {}), f"{place}.Condition", problems)
    return Statement(value.get("Effect") == "Allow", str(value.get("Sid", "")), actions, not_actions, resources,
                     not_resources, conditions)  # fmt: skip


def _is_action(action: str) -> bool:
    return action == "*" or action.lower().startswith(_ACTION_SERVICES)


def _strings(value: dict[str, Any], name: str, place: str, problems: list[str]) -> tuple[str, ...]:
    given = value.get(name, [])
    texts = [given] if isinstance(given, str) else given
    good = isinstance(texts, list) and all(isinstance(t, str) and t for t in texts) and (texts or name not in value)
    if not good:
        problems.append(f"{place}.{name}: must be a string or a list of strings, not empty")
        return ()
    return tuple(texts)


def _conditions(value: Any, place: str, problems: list[str]) -> tuple[Condition, ...]:
    if not isinstance(value, dict):
        problems.append(f"{place}: must be an object")
        return ()
    found: list[Condition] = []
    for name, keys in value.items():
        operator = parse_operator(name)
        if operator is None or not isinstance(keys, dict) or not keys:
            problems.append(f"{place}.{name}: unknown operator" if operator is None else f"{place}.{name}: must be an object")
            continue
        found += [_condition(operator, key, given, f"{place}.{name}.{key}", problems) for key, given in keys.items()]
    return tuple(found)


def _condition(operator: tuple[str, bool, str], key: str, given: Any, place: str, problems: list[str]) -> Condition:
    values = given if isinstance(given, list) else [given]
    if not values or not all(isinstance(v, str | bool | int | float) for v in values):
        problems.append(f"{place}: must be a value or a list of values, not empty")
        values = [""]
    texts = tuple(str(v).lower() if isinstance(v, bool) else str(v) for v in values)
    return Condition(operator[0], key, texts, operator[1], operator[2])


def _canned(actions: tuple[str, ...], resources: tuple[str, ...] = ("arn:aws:s3:::*",)) -> Policy:
    return Policy((Statement(allow=True, actions=actions, resources=resources),))


#: MinIO's canned policies, as its users know them (readonly may not list).
CANNED: Mapping[str, Policy] = MappingProxyType({
    "readonly": _canned(("s3:GetBucketLocation", "s3:GetObject")),
    "readwrite": _canned(("s3:*",)),
    "writeonly": _canned(("s3:PutObject",)),
    "diagnostics": _canned(("admin:Profiling", "admin:ServerTrace", "admin:ConsoleLog", "admin:ServerInfo", "admin:TopLocksInfo",
                            "admin:OBDInfo", "admin:BandwidthMonitor", "admin:Prometheus"), ("*",)),
    "consoleAdmin": _canned(("admin:*", "kms:*", "s3:*"), ("*",)),
})  # fmt: skip
