"""IAM policy documents: parse, and say exactly what is wrong.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html. `parse` returns a Policy or raises
PolicyError with every problem and its place (`Statement[0].Condition.Bool.aws:SecureTransport`). What we do not
understand is a problem, never ignored: an unknown member (Principal belongs to bucket policies), a member given twice,
a condition operator or key we cannot evaluate, an empty list. As in MinIO, Version may be left out, and variables then
work too; a policy that says 2008-10-17 has none, so a `${` in one is a problem and not a literal nobody meant.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NoReturn

from iam.conditions import Condition, fault, is_broken_template, is_known_key, names_existing_tags, parse_operator

MAX_DOCUMENT = 20_480  # characters: AWS's largest policies fit

_ARN = "arn:aws:s3:::"
_DOCUMENT_MEMBERS = frozenset({"Version", "Id", "Statement"})
_STATEMENT_MEMBERS = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})
#: Services whose actions are on no S3 resource, so that their statements need none.
RESOURCELESS = ("admin:", "sts:", "kms:")


class PolicyError(Exception):
    """A document that is not a policy; `problems` names each place and fault."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: `actions` or `not_actions`, `resources` or `not_resources`; action patterns are in lower case."""

    allow: bool
    sid: str = ""
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    existing_tags: bool = field(init=False, compare=False)
    everywhere: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Note whether it names `s3:ExistingObjectTag/…`: nobody fetches tags for a statement that does not.

        And whether it is about every S3 resource, so that nobody need compare.
        """
        texts = [*self.resources, *self.not_resources, *(text for c in self.conditions for text in (c.key, *c.values))]
        object.__setattr__(self, "existing_tags", any(map(names_existing_tags, texts)))
        every = not self.not_resources and not {"*", f"{_ARN}*"}.isdisjoint(self.resources)
        object.__setattr__(self, "everywhere", every)


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy document; `id` only names it in the reasons of decisions, `text` is what was parsed.

    `about` is for `iam.evaluate`: which statements are about an action, worked out once.
    """

    statements: tuple[Statement, ...]
    id: str = ""
    text: str = field(default="", compare=False, repr=False)
    existing_tags: bool = field(init=False, compare=False)
    about: dict[str, Any] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Note whether a statement names `s3:ExistingObjectTag/…`."""
        object.__setattr__(self, "existing_tags", any(statement.existing_tags for statement in self.statements))


def parse(text: str, *, limit: int = MAX_DOCUMENT) -> Policy:
    """Parse a policy document of at most `limit` characters. Raises PolicyError, with every problem."""
    if len(text) > limit:
        raise PolicyError((f"document: longer than {limit} characters",))
    try:
        document = json.loads(text, object_pairs_hook=_Object, parse_constant=_refuse_constant)
        problems = list(_given_twice(document, ""))
    except (ValueError, RecursionError) as error:
        raise PolicyError((f"document: not JSON: {error}",)) from None
    policy = _document(document, problems)
    if problems:
        raise PolicyError(tuple(problems))
    return replace(policy, text=text)


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its members were given twice (RFC 8259 section 4 leaves that open)."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.twice = sorted(name for name, count in counts.items() if count > 1)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _given_twice(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, _Object):
        yield from (f"{_join(place, name)}: given twice" for name in value.twice)
        for name, member in value.items():
            yield from _given_twice(member, _join(place, name))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _given_twice(member, f"{place}[{number}]")


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _document(document: Any, problems: list[str]) -> Policy:
    if not isinstance(document, dict):
        problems.append("document: must be an object")
        return Policy(())
    problems += [f"{name}: unknown member" for name in sorted(document.keys() - _DOCUMENT_MEMBERS)]
    problems += _version(document)
    name = _name(document, "Id", "Id", problems)
    given = document.get("Statement")
    if isinstance(given, dict):
        return Policy((_statement(given, "Statement", problems),), name)
    if not isinstance(given, list) or not given:
        problems.append("Statement: must be a statement or a list of them, not empty")
        return Policy(())
    return Policy(tuple(_statement(s, f"Statement[{i}]", problems) for i, s in enumerate(given)), name)


def _version(document: dict[str, Any]) -> list[str]:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html."""
    version = document.get("Version", "")
    if version not in ("", "2008-10-17", "2012-10-17"):
        return ["Version: must be 2012-10-17 or 2008-10-17"]
    if version == "2008-10-17" and any("${" in text for text in _texts(document.get("Statement"))):
        return ["Version: 2008-10-17 has no variables; a policy that uses `${` must say 2012-10-17"]
    return []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _texts(member)


def _name(value: dict[str, Any], member: str, place: str, problems: list[str]) -> str:
    name = value.get(member, "")
    if isinstance(name, str):
        return name
    problems.append(f"{place}: must be a string")
    return ""


def _statement(value: Any, place: str, problems: list[str]) -> Statement:
    if not isinstance(value, dict):
        problems.append(f"{place}: must be an object")
        return Statement(allow=False)
    problems += [f"{place}.{name}: unknown member" for name in sorted(value.keys() - _STATEMENT_MEMBERS)]
    effect = value.get("Effect")
    if effect not in ("Allow", "Deny"):
        problems.append(f"{place}.Effect: must be Allow or Deny")
    actions, not_actions = (_actions(value, name, place, problems) for name in ("Action", "NotAction"))
    resources, not_resources = (_resources(value, name, place, problems) for name in ("Resource", "NotResource"))
    _one_of(value, place, problems)
    return Statement(
        allow=effect == "Allow",
        sid=_name(value, "Sid", f"{place}.Sid", problems),
        actions=actions,
        not_actions=not_actions,
        resources=resources,
        not_resources=not_resources,
        conditions=_conditions(value.get("Condition", {}), f"{place}.Condition", problems),
    )


def _one_of(value: dict[str, Any], place: str, problems: list[str]) -> None:
    if ("Action" in value) == ("NotAction" in value):
        problems.append(f"{place}: needs Action or NotAction, and one of them only")
    given = ("Resource" in value) + ("NotResource" in value)
    if given > 1 or (given == 0 and not _is_resourceless(value.get("Action"))):
        problems.append(f"{place}: needs Resource or NotResource, and one of them only")


def _is_resourceless(given: Any) -> bool:
    actions = [given] if isinstance(given, str) else given
    return isinstance(actions, list) and all(isinstance(a, str) and a.lower().startswith(RESOURCELESS) for a in actions)


def _actions(value: dict[str, Any], member: str, place: str, problems: list[str]) -> tuple[str, ...]:
    actions = tuple(action.lower() for action in _strings(value, member, place, problems))
    problems += [f"{place}.{member}: {action!r} is no action we know a service of" for action in actions
                 if action != "*" and not action.startswith(("s3:", *RESOURCELESS))]  # fmt: skip
    return actions


def _resources(value: dict[str, Any], member: str, place: str, problems: list[str]) -> tuple[str, ...]:
    resources = _strings(value, member, place, problems)
    problems += [f"{place}.{member}: {resource!r} is no S3 ARN" for resource in resources
                 if resource != "*" and (not resource.startswith(_ARN) or resource == _ARN)]  # fmt: skip
    broken = [resource for resource in resources if is_broken_template(resource)]
    problems += [f"{place}.{member}: {resource!r} has a `${{` without a name and `}}`" for resource in broken]
    return resources


def _strings(value: dict[str, Any], member: str, place: str, problems: list[str]) -> tuple[str, ...]:
    if member not in value:
        return ()
    given = value[member]
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts):
        return tuple(texts)
    problems.append(f"{place}.{member}: must be a string or a list of strings, not empty")
    return ()


def _conditions(value: Any, place: str, problems: list[str]) -> tuple[Condition, ...]:
    if not isinstance(value, dict):
        problems.append(f"{place}: must be an object")
        return ()
    found: list[Condition] = []
    for name, keys in value.items():
        operator = parse_operator(name)
        if operator is None:
            problems.append(f"{place}.{name}: unknown operator")
        elif not isinstance(keys, dict) or not keys:
            problems.append(f"{place}.{name}: must be an object, not empty")
        else:
            found += [
                _condition(operator, key, given, f"{place}.{name}.{key}", problems) for key, given in keys.items()
            ]
    return tuple(found)


def _condition(operator: tuple[str, bool, str], key: str, given: Any, place: str, problems: list[str]) -> Condition:
    base, if_exists, quantifier = operator
    values = given if isinstance(given, list) else [given]
    if not is_known_key(key):
        problems.append(f"{place}: a key that no request here has")
    if not values or not all(isinstance(value, str | bool | int | float) for value in values):
        problems.append(f"{place}: must be a value or a list of values, not empty")
        values = []
    if base == "Null" and len(values) > 1:
        problems.append(f"{place}: must be one value")
    texts = tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
    faults = [(text, fault(base, text)) for text in texts]
    problems += [f"{place}: {text!r} {wrong}" for text, wrong in faults if wrong]
    return Condition(base, key, texts, if_exists, quantifier)


def _canned(name: str, actions: tuple[str, ...], resource: str = f"{_ARN}*") -> Policy:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": [resource]}
    return replace(parse(json.dumps({"Version": "2012-10-17", "Statement": [statement]})), id=name)


#: MinIO's canned policies, as its users know them (readonly may not list).
CANNED: Mapping[str, Policy] = MappingProxyType({
    policy.id: policy
    for policy in (
        _canned("readonly", ("s3:GetBucketLocation", "s3:GetObject")),
        _canned("readwrite", ("s3:*",)),
        _canned("writeonly", ("s3:PutObject",)),
        _canned("diagnostics", (
            "admin:Profiling", "admin:ServerTrace", "admin:ConsoleLog", "admin:ServerInfo", "admin:TopLocksInfo",
            "admin:OBDInfo", "admin:BandwidthMonitor", "admin:Prometheus",
        ), "*"),
        _canned("consoleAdmin", ("admin:*", "kms:*", "s3:*"), "*"),
    )
})  # fmt: skip
