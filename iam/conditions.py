"""Condition blocks and the patterns of the policy language: `*`, `?` and `${variables}`.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
All conditions of a statement must hold; any listed value of a key suffices. `parse` refuses an operator, a key or a
value that we do not understand, since a condition that silently never holds turns a Deny into nothing. What cannot be
known when a request comes (a variable without value, a client's `max-keys=many`) is None, and the evaluation falls to
the safe side. A pattern matches in time proportional to text times pattern: session policies come from users.
"""

from __future__ import annotations

import base64
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from iam.model import Context, UnknownFact

#: A text with its variables resolved: even pieces as written (wildcards work), odd ones values (literal, trap 58).
Pieces = tuple[str, ...]
Test = Callable[[str, Pieces], bool]

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_ESCAPES = {"*": "*", "?": "?", "$": "$"}
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_ARN_PARTS = 6


def resolve(text: str, value_of: Callable[[str], str | None]) -> Pieces | None:
    """Return the pieces of a text, each variable replaced once; None when a variable has no value."""
    pieces = _VARIABLE.split(text)
    for i in range(1, len(pieces), 2):
        value = _ESCAPES.get(pieces[i]) or value_of(pieces[i])
        if not value:
            return None
        pieces[i] = value
    return tuple(pieces)


def is_template(text: str) -> bool:
    """Return whether a text names variables."""
    return _VARIABLE.search(text) is not None


def is_broken_template(text: str) -> bool:
    """Return whether a `${` is left that names no variable, as in `${aws:username`."""
    return "${" in _VARIABLE.sub("", text)


@lru_cache(maxsize=2048)
def glob(pieces: Pieces) -> re.Pattern[str]:
    """Compile pieces in which `*` is any text and `?` any one character; use with `fullmatch`.

    Each text between two stars is taken at its first place and never reconsidered (an atomic group): right for this
    language, and the reason why `*a*a*a*a*b` costs no exponential time.
    """
    parts = [""]
    for number, piece in enumerate(pieces):
        for text in [piece] if number % 2 else re.split(r"(\*+|\?)", piece):
            if number % 2 or text[:1] not in {"*", "?"}:
                parts[-1] += re.escape(text)
            elif text == "?":
                parts[-1] += "."
            else:
                parts.append("")
    if len(parts) == 1:
        return re.compile(parts[0], re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in parts[1:-1] if part)
    return re.compile(f"{parts[0]}{middle}.*{parts[-1]}", re.DOTALL)


def _like(actual: str, expected: Pieces) -> bool:
    return glob(expected).fullmatch(actual) is not None


def _arn_like(actual: str, expected: Pieces) -> bool:
    """Compare part by part: no wildcard reaches over a colon of the first five."""
    if any(set("*?:") & set(value) for value in expected[1::2]):
        raise ValueError("a variable's value would change the shape of the ARN")
    ours, theirs = (text.split(":", _ARN_PARTS - 1) for text in (actual, "".join(expected)))
    return len(ours) == len(theirs) and all(_like(a, (e,)) for a, e in zip(ours, theirs, strict=True))


def _text(compare: Callable[[str, str], bool]) -> Test:
    return lambda actual, expected: compare(actual, "".join(expected))


def _number(compare: Callable[[float, float], bool]) -> Test:
    return lambda actual, expected: compare(_float(actual), _float("".join(expected)))


def _date(compare: Callable[[float, float], bool]) -> Test:
    return lambda actual, expected: compare(_epoch(actual), _epoch("".join(expected)))


def _float(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return float(text)


def _epoch(text: str) -> float:
    """Read an ISO 8601 date (UTC when it names no zone) or epoch seconds."""
    if _NUMBER.fullmatch(text):
        return float(text)
    moment = datetime.fromisoformat(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except OverflowError as error:
        raise ValueError("not a date") from error


def _in_network(actual: str, expected: Pieces) -> bool:
    network = ip_network("".join(expected), strict=False)
    address = ip_address(actual)
    # ::ffff:10.0.0.1 is 10.0.0.1 on a dual-stack socket, in the request as in the policy.
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        network = IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return address in network


def _same_ignoring_case(actual: str, expected: str) -> bool:
    return actual.lower() == expected.lower()


def _bool(text: str) -> str:
    if text.lower() not in {"true", "false"}:
        raise ValueError("not a boolean")
    return text.lower()


def _same_bool(actual: str, expected: str) -> bool:
    return _bool(actual) == _bool(expected)


def _same_binary(actual: str, expected: str) -> bool:
    return actual.encode() == base64.b64decode(expected, validate=True)


def _comparisons(kind: str, test: Callable[[Callable[[float, float], bool]], Test]) -> dict[str, tuple[Test, bool]]:
    return {
        f"{kind}Equals": (test(operator.eq), False),
        f"{kind}NotEquals": (test(operator.eq), True),
        f"{kind}LessThan": (test(operator.lt), False),
        f"{kind}LessThanEquals": (test(operator.le), False),
        f"{kind}GreaterThan": (test(operator.gt), False),
        f"{kind}GreaterThanEquals": (test(operator.ge), False),
    }


#: Operator -> (test of one value, whether it is negated: then no listed value may match).
_TESTS: dict[str, tuple[Test, bool]] = {
    "StringEquals": (_text(operator.eq), False),
    "StringNotEquals": (_text(operator.eq), True),
    "StringEqualsIgnoreCase": (_text(_same_ignoring_case), False),
    "StringNotEqualsIgnoreCase": (_text(_same_ignoring_case), True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "ArnEquals": (_arn_like, False),
    "ArnLike": (_arn_like, False),
    "ArnNotEquals": (_arn_like, True),
    "ArnNotLike": (_arn_like, True),
    "BinaryEquals": (_text(_same_binary), False),
    "Bool": (_text(_same_bool), False),
    "IpAddress": (_in_network, False),
    "NotIpAddress": (_in_network, True),
    **_comparisons("Numeric", _number),
    **_comparisons("Date", _date),
}

#: What a listed value must be, by the beginning of the operator's name; each raises ValueError.
_SHAPES: dict[str, Callable[[str], object]] = {
    "Numeric": _float,
    "Date": _epoch,
    "Bool": _bool,
    "Null": _bool,
    "Binary": lambda text: base64.b64decode(text, validate=True),
    "IpAddress": lambda text: ip_network(text, strict=False),
    "NotIpAddress": lambda text: ip_network(text, strict=False),
}

_KEYS = frozenset(
    [f"aws:{name}" for name in (
        "currenttime", "epochtime", "groups", "principaltype", "referer", "securetransport", "sourceip", "useragent",
        "userid", "username",
    )]
    + [f"s3:{name}" for name in (
        "annotation-prefix", "authtype", "delimiter", "if-match", "if-none-match", "locationconstraint",
        "max-annotation-results", "max-keys", "object-lock-event-hold", "object-lock-event-hold-duration-days",
        "object-lock-legal-hold", "object-lock-mode", "object-lock-remaining-retention-days",
        "object-lock-retain-until-date", "objectcreationoperation", "prefix", "requestobjecttagkeys", "signatureage",
        "signatureversion", "versionid", "x-amz-acl", "x-amz-bucket-namespace", "x-amz-content-sha256",
        "x-amz-copy-source", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp",
        "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-metadata-directive", "x-amz-object-annotation-directive",
        "x-amz-object-if-match", "x-amz-object-ownership", "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-storage-class", "x-amz-website-redirect-location",
    )]
    + ["sts:durationseconds"],
)  # fmt: skip
_EXISTING_TAG = "s3:existingobjecttag/"
_KEY_FAMILIES = ("jwt:", "ldap:", "s3:requestobjecttag/", _EXISTING_TAG)


def is_known_key(key: str) -> bool:
    """Return whether a request can have this condition key (any case)."""
    lower = key.lower()
    return lower in _KEYS or any(lower.startswith(family) and lower != family for family in _KEY_FAMILIES)


def names_existing_tags(text: str) -> bool:
    """Return whether a key is about the tags of the object as it is, or a text has a variable that is."""
    lower = text.lower()
    return lower.startswith(_EXISTING_TAG) or f"${{{_EXISTING_TAG}" in lower


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key; `quantifier` is "", "ForAllValues" or "ForAnyValue"."""

    operator: str
    key: str
    values: tuple[str, ...]
    if_exists: bool = False
    quantifier: str = ""

    def holds(self, context: Context, value_of: Callable[[str], str | None]) -> bool | None:
        """Return whether it holds; None when that cannot be known (an unset variable, a value of another shape)."""
        try:
            actual = context.values(self.key)
        except UnknownFact:
            return None
        if self.operator == "Null":
            return (actual is None) == (self.values[0].lower() == "true")
        expected = [pieces for value in self.values if (pieces := resolve(value, value_of)) is not None]
        if len(expected) != len(self.values):
            return None
        return self._holds_without_key() if actual is None else self._compare(actual, expected)

    def _holds_without_key(self) -> bool:
        """Return the answer for a request that lacks the key: negated operators hold, ForAnyValue does not (AWS)."""
        if self.quantifier:
            return self.if_exists or self.quantifier == "ForAllValues"
        return self.if_exists or _TESTS[self.operator][1]

    def _compare(self, actual: tuple[str, ...], expected: Sequence[Pieces]) -> bool | None:
        test, negated = _TESTS[self.operator]
        try:
            hits = [any(test(a, e) for e in expected) != negated for a in actual]
        except ValueError:
            return None
        return all(hits) if self.quantifier == "ForAllValues" or (negated and not self.quantifier) else any(hits)


def parse_operator(name: str) -> tuple[str, bool, str] | None:
    """Return (operator, if_exists, quantifier) of a condition operator's name, None when we do not know it."""
    quantifier, colon, rest = name.rpartition(":")
    if colon and quantifier not in {"ForAllValues", "ForAnyValue"}:
        return None
    if name == "Null":
        return name, False, ""
    base = rest.removesuffix("IfExists")
    return (base, base != rest, quantifier) if base in _TESTS else None


def fault(operator_name: str, value: str) -> str | None:
    """Return what is wrong with a listed value of an operator, None when it is good."""
    if is_broken_template(value):
        return "has a `${` without a variable's name and `}`"
    if is_template(value):
        return "cannot be a variable here" if operator_name == "Null" else None
    for beginning, shape in _SHAPES.items():
        if operator_name.startswith(beginning):
            try:
                shape(value)
            except ValueError:
                return f"is no value for {operator_name}"
    return None
