"""Condition operators, one table row per rule."""

import pytest

from iam.conditions import Condition, fault, parse_operator
from iam.model import UnknownFact


class One:
    """A context where s3:prefix has the given values, and variables those of `facts`."""

    def __init__(self, values, **facts):
        self._facts = {"s3:prefix": values} | {name.replace("__", ":"): (value,) for name, value in facts.items()}

    def values(self, key):
        if key == "s3:unread":
            raise UnknownFact(key)
        return self._facts.get(key)

    def document(self):
        return {}


def holds(name, listed, actual, **facts):
    """Return whether an operator holds between the listed values and the request's."""
    base, if_exists, quantifier = parse_operator(name)
    values = (listed,) if isinstance(listed, str) else listed
    given = (actual,) if isinstance(actual, str) else actual
    return Condition(base, "s3:prefix", values, if_exists, quantifier).holds(One(given, **facts))


@pytest.mark.parametrize(
    ("name", "listed", "actual", "expected"),
    [
        ("StringEquals", ("a", "b"), "b", True),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "a", "A", False),
        ("StringNotEquals", ("a", "b"), "b", False),
        ("StringNotEquals", ("a", "b"), "c", True),
        ("StringEqualsIgnoreCase", "a", "A", True),
        ("StringNotEqualsIgnoreCase", "a", "A", False),
        ("StringLike", "a*?c", "abbc", True),
        ("StringLike", "a*?c", "ac", False),
        ("StringNotLike", "a*", "ab", False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericNotEquals", "10", "11", True),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "9", False),
        ("NumericGreaterThanEquals", "10", "10", True),
        ("NumericLessThan", "10", "many", None),
        ("NumericLessThan", "10", "nan", None),
        ("NumericLessThan", "10", "1_0", None),
        ("NumericLessThan", "10", "٣", None),
        ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", True),
        ("DateNotEquals", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", False),
        ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", True),
        ("DateLessThanEquals", "2026-01-01", "2026-01-01T00:00:00Z", True),
        ("DateGreaterThan", "2026-01-01", "2025-12-31", False),
        ("DateGreaterThanEquals", "2026-01-01", "2026-01-01", True),
        ("DateLessThan", "2026-01-01", "yesterday", None),
        ("Bool", "true", "TRUE", True),
        ("Bool", "false", "true", False),
        ("Bool", "false", "", None),
        ("BinaryEquals", "aGk=", "hi", True),
        ("BinaryEquals", "aGk=", "aGk=", False),
        ("IpAddress", ("10.0.0.0/8", "::1"), "10.1.2.3", True),
        ("IpAddress", "10.0.0.1", "10.0.0.2", False),
        ("IpAddress", "10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("IpAddress", "::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("IpAddress", "::ffff:10.0.0.0/104", "::ffff:10.1.2.3", True),
        ("IpAddress", "::ffff:10.0.0.0/104", "11.1.2.3", False),
        ("IpAddress", "::/0", "10.1.2.3", False),
        ("IpAddress", "::/0", "::ffff:10.1.2.3", False),
        ("IpAddress", "fd00::/8", "fd12::1", True),
        ("IpAddress", "10.0.0.0/8", "nowhere", None),
        ("NotIpAddress", "10.0.0.0/8", "11.1.2.3", True),
        ("NotIpAddress", "10.0.0.0/8", "::ffff:10.1.2.3", False),
        ("ArnEquals", "arn:aws:iam::*:role/x", "arn:aws:iam::1:role/x", True),
        ("ArnLike", "arn:aws:iam::1:role/*", "arn:aws:iam::1:role/a:b", True),
        ("ArnLike", "arn:*", "arn:aws:iam::1:role/x", None),
        ("ArnNotEquals", "arn:aws:iam::1:role/x", "arn:aws:iam::2:role/x", True),
        ("ArnNotLike", "arn:aws:iam::*:role/x", "arn:aws:iam::2:role/x", False),
        ("Null", "true", None, True),
        ("Null", "true", "a", False),
        ("Null", "false", "a", True),
        ("StringEquals", "a", None, False),
        ("StringNotEquals", "a", None, True),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", "b", False),
        ("ForAllValues:StringEquals", ("a", "b"), ("a", "b"), True),
        ("ForAllValues:StringEquals", ("a", "b"), ("a", "c"), False),
        ("ForAllValues:StringEquals", "a", None, True),
        ("ForAnyValue:StringEquals", "a", ("c", "a"), True),
        ("ForAnyValue:StringEquals", "a", ("c", "d"), False),
        ("ForAnyValue:StringEquals", "a", None, False),
        ("ForAnyValue:StringNotEquals", "a", None, False),
        ("ForAnyValue:StringNotEquals", "a", ("a", "b"), True),
        ("ForAllValues:StringNotEquals", "a", ("a", "b"), False),
        ("ForAnyValue:StringEqualsIfExists", "a", None, True),
        ("StringNotEquals", "a", ("b", "a"), False),
        ("StringEquals", "${jwt:sub}", "a", None),
        ("StringNotEquals", "${jwt:sub}", None, None),
    ],
)
def test_operators(name, listed, actual, expected):
    """Each operator says yes, no, or (None) that it cannot be known, as AWS documents it."""
    assert holds(name, listed, actual) is expected


@pytest.mark.parametrize(
    "name", ["stringequals", "IfExists", "NullIfExists", "ForAnyValue:Null", ":Bool", "Bool:Bool", ""]
)
def test_unknown_operators_are_not_guessed(name):
    """A name that AWS does not have, in exactly that spelling, is no operator."""
    assert parse_operator(name) is None


def test_variables_are_allowed_where_values_are_checked():
    """A variable is checked when its value is there, except for Null, which asks about presence."""
    assert fault("NumericEquals", "${jwt:limit}") is None
    assert fault("Null", "${jwt:limit}") is not None
