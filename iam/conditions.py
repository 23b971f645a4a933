"""Condition blocks: operator -> {key: values}; all must hold, any value of a key suffices.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html. An operator we do
not know is refused when the policy is parsed, never ignored. Supported: String*, Numeric*, Date*, Bool, IpAddress,
Arn* and Null, with IfExists, ForAllValues: and ForAnyValue:.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address, ip_network

from iam.model import Context

Test = Callable[[str, str], bool]


@cache
def wildcard(pattern: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile a pattern in which `*` is any text and `?` any character; runs of stars collapse."""
    pieces = re.split(r"(\*+|\?)", pattern)
    text = "".join(".*" if p.startswith("*") else "." if p == "?" else re.escape(p) for p in pieces)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _like(actual: str, expected: str) -> bool:
    return wildcard(expected).fullmatch(actual) is not None


def _number(compare: Callable[[float, float], bool]) -> Test:
    return lambda actual, expected: compare(float(actual), float(expected))


def _date(compare: Callable[[float, float], bool]) -> Test:
    return lambda actual, expected: compare(_epoch(actual), _epoch(expected))


def _epoch(text: str) -> float:
    """Read an ISO 8601 date or epoch seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _in_network(actual: str, expected: str) -> bool:
    return ip_address(actual) in ip_network(expected, strict=False)


def _same_case(actual: str, expected: str) -> bool:
    return actual.casefold() == expected.casefold()


#: Operator -> (test of one value, whether it is a negated one: then no value may match).
_TESTS: dict[str, tuple[Test, bool]] = {
    "StringEquals": (operator.eq, False),
    "StringNotEquals": (operator.eq, True),
    "StringEqualsIgnoreCase": (_same_case, False),
    "StringNotEqualsIgnoreCase": (_same_case, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "ArnEquals": (_like, False),
    "ArnLike": (_like, False),
    "ArnNotEquals": (_like, True),
    "ArnNotLike": (_like, True),
    "BinaryEquals": (operator.eq, False),
    "Bool": (_same_case, False),
    "IpAddress": (_in_network, False),
    "NotIpAddress": (_in_network, True),
    "NumericEquals": (_number(operator.eq), False),
    "NumericNotEquals": (_number(operator.eq), True),
    "NumericLessThan": (_number(operator.lt), False),
    "NumericLessThanEquals": (_number(operator.le), False),
    "NumericGreaterThan": (_number(operator.gt), False),
    "NumericGreaterThanEquals": (_number(operator.ge), False),
    "DateEquals": (_date(operator.eq), False),
    "DateNotEquals": (_date(operator.eq), True),
    "DateLessThan": (_date(operator.lt), False),
    "DateLessThanEquals": (_date(operator.le), False),
    "DateGreaterThan": (_date(operator.gt), False),
    "DateGreaterThanEquals": (_date(operator.ge), False),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key."""

    operator: str
    key: str
    values: tuple[str, ...]
    if_exists: bool = False
    quantifier: str = ""

    def holds(self, context: Context, expand: Callable[[str], str | None]) -> bool | None:
        """Return whether it holds; None when it cannot be known (a value that does not parse, a variable unset)."""
        actual = context.values(self.key)
        if self.operator == "Null":
            return (actual is None) == (self.values[0].lower() == "true")
        expected = [expand(value) for value in self.values]
        if None in expected:
            return None
        test, negated = _TESTS[self.operator]
        if actual is None:
            return self.if_exists or negated or self.quantifier == "ForAllValues"
        try:
            hits = [any(test(a, e) for e in expected if e is not None) != negated for a in actual]
        except ValueError:
            return None
        return all(hits) if self.quantifier == "ForAllValues" or (negated and not self.quantifier) else any(hits)


def parse_operator(name: str) -> tuple[str, bool, str] | None:
    """Return (operator, if_exists, quantifier) of a condition operator's name, None when we do not know it."""
    quantifier, colon, rest = name.rpartition(":")
    if colon and quantifier not in {"ForAllValues", "ForAnyValue"}:
        return None
    base = rest.removesuffix("IfExists")
    if base == "Null" and rest == base:
        return base, False, quantifier
    return (base, base != rest, quantifier) if base in _TESTS else None
