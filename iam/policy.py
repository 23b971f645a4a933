"""IAM policy documents: parse, and say exactly what is wrong.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html. `parse` returns a Policy or raises
PolicyError with every problem and its place (`Statement[0].Condition.Bool.aws:SecureTransport`). What we do not
understand is a problem, never ignored: an unknown member (Principal belongs to documents of buckets and roles), a member
given twice, a condition operator, key or variable we cannot evaluate, an empty list. As in MinIO, Version may be left out,
and variables then work too; a policy that says 2008-10-17 has none, so a `${` in one is a problem and not a literal nobody
meant. Texts that recur in thousands of policies are kept once. docs/policies.md is the language for its users.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from sys import intern
from types import MappingProxyType
from typing import Any, NoReturn

from iam.condition_keys import is_known_key, names_existing_tags
from iam.conditions import Condition, fault, parse_operator
from iam.patterns import variables
from iam.principals import EVERYBODY, account_fault, parse_principals

MAX_DOCUMENT = 20_480  # characters: AWS's largest policies fit

_ARN = "arn:aws:s3:::"
_DOCUMENT_MEMBERS = frozenset({"Version", "Id", "ID", "Statement"})
_STATEMENT_MEMBERS = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})
_PRINCIPAL_MEMBERS = frozenset({"Principal", "NotPrincipal"})
#: Services whose actions are on no S3 resource, so that their statements need none.
RESOURCELESS = ("admin:", "sts:", "kms:")


class PolicyError(Exception):
    """A document that is not a policy; `problems` names each place and fault."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: `actions` or `not_actions`, `resources` or `not_resources`; action patterns are in lower case.

    `principals` or `not_principals` are of bucket-style documents (iam.principals); one without either is about whoever has it.
    """

    allow: bool
    sid: str = ""
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
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


def parse(text: str, *, limit: int = MAX_DOCUMENT, principals: bool = False) -> Policy:
    """Parse a policy document of at most `limit` characters. Raises PolicyError, with every problem.

    With `principals` the document is of a bucket or a role: every statement says whom it is about. Without, it belongs to
    an identity, and a statement that names others is a problem.
    """
    if len(text) > limit:
        raise PolicyError((f"document: longer than {limit} characters",))
    try:
        document, problems = _read(text)
        policy = _document(document, problems, principals=principals)
    except RecursionError as error:
        raise PolicyError((f"document: nested too deep: {error}",)) from None
    if problems:
        raise PolicyError(tuple(problems))
    return replace(policy, text=text)


def _read(text: str) -> tuple[Any, list[str]]:
    """Return the JSON value of a text, and what is given twice in it. Raises PolicyError, RecursionError."""
    doubled: list[_Doubled] = []
    try:
        document = json.loads(
            text, object_pairs_hook=lambda pairs: _object(pairs, doubled), parse_constant=_refuse_constant
        )
    except ValueError as error:
        raise PolicyError((f"document: not JSON: {error}",)) from None
    return document, list(_given_twice(document, "")) if doubled else []


class _Doubled(dict[str, Any]):
    """A JSON object with members that were given twice (RFC 8259 section 4 leaves open what that means)."""

    twice: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]], doubled: list[_Doubled]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    found = _Doubled(members)
    counts = Counter(name for name, _ in pairs)
    found.twice = tuple(sorted(name for name, count in counts.items() if count > 1))
    doubled.append(found)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _given_twice(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, _Doubled):
        yield from (f"{_join(place, name)}: given twice" for name in value.twice)
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _given_twice(member, _join(place, name))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _given_twice(member, f"{place}[{number}]")


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _document(document: Any, problems: list[str], *, principals: bool) -> Policy:
    if not isinstance(document, dict):
        problems.append("document: must be an object")
        return Policy(())
    problems += [f"{name}: unknown member" for name in sorted(document.keys() - _DOCUMENT_MEMBERS)]
    problems += _version(document)
    # MinIO writes the name of a document so, whatever its author wrote; it means nothing but itself.
    spelled = "ID" if "ID" in document else "Id"
    name = _name(document, spelled, spelled, problems)
    if {"Id", "ID"} <= document.keys():
        problems.append("ID: given twice, as Id too")
    given = document.get("Statement")
    if isinstance(given, dict):
        return Policy((_statement(given, "Statement", problems, principals=principals),), name)
    if not isinstance(given, list) or not given:
        problems.append("Statement: must be a statement or a list of them, not empty")
        return Policy(())
    places = [(statement, f"Statement[{number}]") for number, statement in enumerate(given)]
    return Policy(tuple([_statement(s, place, problems, principals=principals) for s, place in places]), name)


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


def _statement(value: Any, place: str, problems: list[str], *, principals: bool) -> Statement:
    if not isinstance(value, dict):
        problems.append(f"{place}: must be an object")
        return Statement(allow=False)
    problems += _members(value, place, principals=principals)
    actions, not_actions = (_actions(value, name, place, problems) for name in ("Action", "NotAction"))
    resources, not_resources = (_resources(value, name, place, problems) for name in ("Resource", "NotResource"))
    _one_of(value, place, problems)
    who, not_who = _principals(value, place, problems) if principals else ((), ())
    return Statement(
        allow=value.get("Effect") == "Allow",
        sid=_name(value, "Sid", f"{place}.Sid", problems),
        actions=actions,
        not_actions=not_actions,
        resources=resources,
        not_resources=not_resources,
        conditions=_conditions(value["Condition"], f"{place}.Condition", problems) if "Condition" in value else (),
        principals=who,
        not_principals=not_who,
    )


def _members(value: dict[str, Any], place: str, *, principals: bool) -> Iterator[str]:
    """Yield what is wrong with the members there are, and with the effect."""
    for name in sorted(value.keys() - _STATEMENT_MEMBERS):
        if name not in _PRINCIPAL_MEMBERS:
            yield f"{place}.{name}: unknown member"
        elif not principals:
            yield f"{place}.{name}: unknown member in an identity's policy, which is about whoever has it"
    if value.get("Effect") not in ("Allow", "Deny"):
        yield f"{place}.Effect: must be Allow or Deny"


def _principals(value: dict[str, Any], place: str, problems: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html."""
    if ("Principal" in value) == ("NotPrincipal" in value):
        problems.append(f"{place}: needs Principal or NotPrincipal, and one of them only")
        return (), ()
    if "Principal" in value:
        return parse_principals(value["Principal"], f"{place}.Principal", problems), ()
    excepted = parse_principals(value["NotPrincipal"], f"{place}.NotPrincipal", problems)
    if value.get("Effect") == "Allow":
        problems.append(f"{place}.NotPrincipal: only in a Deny; with Allow it would be for everybody else in the world")
    if EVERYBODY in excepted:
        problems.append(f"{place}.NotPrincipal: excepts everybody, so that the statement is about nobody")
    return (), excepted


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
    actions = tuple([intern(action.lower()) for action in _strings(value, member, place, problems)])
    problems += [f"{place}.{member}: {action!r} is no action we know a service of" for action in actions
                 if action != "*" and not action.startswith(("s3:", *RESOURCELESS))]  # fmt: skip
    problems += [
        f"{place}.{member}: {action!r} has a variable; actions have none" for action in actions if "${" in action
    ]
    return actions


def _resources(value: dict[str, Any], member: str, place: str, problems: list[str]) -> tuple[str, ...]:
    resources = _strings(value, member, place, problems)
    for resource in resources:
        if resource != "*" and (not resource.startswith(_ARN) or resource == _ARN):
            problems.append(f"{place}.{member}: {resource!r} is no S3 ARN")
        wrong = _wrong_variables(resource)
        if wrong:
            problems.append(f"{place}.{member}: {resource!r} {wrong}")
    return resources


def _wrong_variables(text: str) -> str:
    """Return what is wrong with the variables of a text, "" when nothing is."""
    if "${" not in text:
        return ""
    try:
        unknown = [name for name in variables(text) if not is_known_key(name)]
    except ValueError as error:
        return str(error)
    return f"has the variable ${{{unknown[0]}}}, a key that no request here has" if unknown else ""


def _strings(value: dict[str, Any], member: str, place: str, problems: list[str]) -> tuple[str, ...]:
    if member not in value:
        return ()
    given = value[member]
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts):
        return tuple(map(intern, texts))
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
    texts = tuple([intern(_as_text(value)) for value in values])
    faults = [(text, fault(base, text) or _wrong_variables(text) or account_fault(key, text)) for text in texts]
    problems += [f"{place}: {text!r} {wrong}" for text, wrong in faults if wrong]
    return Condition(intern(base), intern(key), texts, if_exists, quantifier)


def _as_text(value: str | bool | float) -> str:  # noqa: FBT001 - what JSON has
    return str(value).lower() if isinstance(value, bool) else str(value)


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
