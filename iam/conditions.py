"""Condition blocks: operators, with IfExists, ForAllValues and ForAnyValue. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
All conditions of a statement must hold; any listed value of a key suffices. `parse` refuses an operator, a key or a
value that we do not understand, since a condition that silently never holds turns a Deny into nothing. What cannot be
known when a request comes (a variable without value, a client's `max-keys=many`) is None, and the evaluation falls to
the safe side; it is None only where it matters: a value that another listed one matches is known to match.
"""

from __future__ import annotations

import base64
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from iam.model import Context, UnknownFact
from iam.patterns import Pieces, matches, read_template, resolve, split

Test = Callable[[str, Pieces], bool]

_NUMBER = re.compile(r"[+-]?[0-9]{1,400}(\.[0-9]{1,400})?")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_YEAR = re.compile(r"[0-9]{4}")
_ARN_PARTS = 6


def _like(actual: str, expected: Pieces) -> bool:
    return matches(expected, actual)


def _arn_like(actual: str, expected: Pieces) -> bool:
    """Compare part by part: no wildcard reaches over a colon of the first five, and no value brings one there."""
    ours, theirs = actual.split(":", _ARN_PARTS - 1), split(expected, ":", _ARN_PARTS - 1)
    if len(theirs) != _ARN_PARTS or any(":" in value for part in theirs[:-1] for value in part[1::2]):
        raise ValueError("a variable's value would change the shape of the ARN")
    return len(ours) == len(theirs) and all(matches(e, a) for a, e in zip(ours, theirs, strict=True))


def _text(compare: Callable[[str, str], bool]) -> Test:
    return lambda actual, expected: compare(actual, "".join(expected))


def _number(compare: Callable[[Decimal, Decimal], bool]) -> Test:
    return lambda actual, expected: compare(_decimal(actual), _decimal("".join(expected)))


def _date(compare: Callable[[Decimal, Decimal], bool]) -> Test:
    return lambda actual, expected: compare(_epoch(actual), _listed_date("".join(expected)))


def _decimal(text: str) -> Decimal:
    """Read a number exactly: two that differ in their twentieth digit are not equal."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return Decimal(text)


def _epoch(text: str) -> Decimal:
    """Read an ISO 8601 date (UTC when it names no zone; a month is its first day) or epoch seconds, which may have a fraction."""
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    moment = datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text)
    try:
        return Decimal((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except OverflowError as error:
        raise ValueError("not a date") from error


@lru_cache(maxsize=1024)
def _listed_date(text: str) -> Decimal:
    """Read a policy's date. A year alone would be a second of 1970, which nobody means."""
    if _YEAR.fullmatch(text):
        raise ValueError("not a date: a year alone")
    return _epoch(text)


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    """Read a policy's address or CIDR; ::ffff:10.0.0.0/104 is 10.0.0.0/8, in the request as in the policy."""
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


def _address(text: str) -> IPv4Address | IPv6Address:
    """Read a request's address: on a dual-stack socket 10.0.0.1 comes as ::ffff:10.0.0.1."""
    address = ip_address(text)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _in_network(actual: str, expected: Pieces) -> bool:
    return _address(actual) in _network("".join(expected))


def _same_ignoring_case(actual: str, expected: str) -> bool:
    return actual.lower() == expected.lower()


def _bool(text: str) -> str:
    lower = text.lower()
    if lower not in {"true", "false"}:
        raise ValueError("not a boolean")
    return lower


def _same_bool(actual: str, expected: str) -> bool:
    return _bool(actual) == _bool(expected)


def _same_binary(actual: str, expected: str) -> bool:
    return actual.encode() == base64.b64decode(expected, validate=True)


def _comparisons(kind: str, test: Callable[[Callable[[Decimal, Decimal], bool]], Test]) -> dict[str, tuple[Test, bool]]:
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


def _arn(text: str) -> None:
    if len(split(_pieces(text), ":", _ARN_PARTS - 1)) != _ARN_PARTS:
        raise ValueError("not an ARN")


def _pieces(text: str) -> Pieces:
    """Return a text's pieces as they would be, with a value that changes nothing in place of each variable."""
    return tuple(part if isinstance(part, str) else "v" for part in read_template(text))


#: What a listed value must be, by the beginning of the operator's name, and what to say when it is not; each raises ValueError.
_SHAPES: dict[str, tuple[Callable[[str], object], str]] = {
    "Numeric": (_decimal, "a number such as 10 or -0.5"),
    "Date": (_listed_date, "a date such as 2026-01-31, 2026-01-31T12:00:00Z or epoch seconds"),
    "Bool": (_bool, "true or false"),
    "Null": (_bool, "true or false"),
    "Binary": (lambda text: base64.b64decode(text, validate=True), "base64"),
    "IpAddress": (_network, "an address or a CIDR such as 203.0.113.0/24 or 2001:db8::/32"),
    "NotIpAddress": (_network, "an address or a CIDR such as 203.0.113.0/24 or 2001:db8::/32"),
    "Arn": (_arn, "an ARN of six parts, as in arn:aws:iam:::user/*"),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key; `quantifier` is "", "ForAllValues" or "ForAnyValue"."""

    operator: str
    key: str
    values: tuple[str, ...]
    if_exists: bool = False
    quantifier: str = ""

    @property
    def name(self) -> str:
        """Return the operator as the document writes it: `ForAllValues:StringLikeIfExists`."""
        quantifier = f"{self.quantifier}:" if self.quantifier else ""
        return f"{quantifier}{self.operator}{'IfExists' if self.if_exists else ''}"

    def holds(self, context: Context) -> bool | None:
        """Return whether it holds; None when that cannot be known (an unset variable, a value of another shape)."""
        try:
            actual = context.values(self.key)
            if self.operator == "Null":
                return (not actual) == (self.values[0].lower() == "true")
            expected = [resolve(value, context.values) for value in self.values]
        except UnknownFact:
            return None
        if actual:
            return self._compare(actual, expected)
        return None if None in expected else self._holds_without_key()

    def _holds_without_key(self) -> bool:
        """Return the answer for a request that lacks the key: negated operators hold, ForAnyValue does not (AWS)."""
        if self.quantifier:
            return self.if_exists or self.quantifier == "ForAllValues"
        return self.if_exists or _TESTS[self.operator][1]

    def _compare(self, actual: tuple[str, ...], expected: Sequence[Pieces | None]) -> bool | None:
        test, negated = _TESTS[self.operator]
        if len(actual) == 1:
            hit = _any(test, actual[0], expected)
            held = hit if hit is None or not negated else not hit
        else:
            hits = [_any(test, value, expected) for value in actual]
            held = _joined([hit if hit is None else hit != negated for hit in hits], every=self._every(negated))
        # AWS takes an empty text for no value here, and then ForAllValues holds: not by our reading, so nobody can know.
        return None if held is False and self.quantifier == "ForAllValues" and not any(actual) else held

    def _every(self, negated: bool) -> bool:  # noqa: FBT001 - of the operator's table
        return self.quantifier == "ForAllValues" or (negated and not self.quantifier)


def _any(test: Test, actual: str, expected: Sequence[Pieces | None]) -> bool | None:
    """Return whether a listed value matches; None when none does and one could not be compared."""
    unknown = False
    for pieces in expected:
        try:
            if pieces is not None and test(actual, pieces):
                return True
            unknown = unknown or pieces is None
        except ValueError:
            unknown = True
    return None if unknown else False


def _joined(hits: Sequence[bool | None], *, every: bool) -> bool | None:
    """Return whether all (or any) hold; what is not known decides only when the others do not."""
    if (not every) in hits:
        return not every
    return None if None in hits else every


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
    beginning = next((name for name in _SHAPES if operator_name.startswith(name)), "")
    if "${" in value:
        wrong = _broken(value)
        if wrong or beginning != "Arn":
            return wrong or ("cannot be a variable here" if operator_name == "Null" else None)
    if beginning:
        shape, good = _SHAPES[beginning]
        try:
            shape(value)
        except ValueError:
            return f"is no value for {operator_name}: it must be {good}"
    return None


def _broken(text: str) -> str | None:
    """Return what is wrong with the variables in a text."""
    try:
        read_template(text)
    except ValueError as error:
        return str(error)
    return None
