"""Condition operators, one table row per rule."""

import re
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.conditions import Condition, fault, glob, is_known_key, parse_operator


class One:
    """A context where every key has the given values."""

    def __init__(self, values):
        self._values = values

    def values(self, key):
        return self._values

    def document(self):
        return {}


def holds(name, listed, actual):
    """Return whether an operator holds between the listed values and the request's."""
    base, if_exists, quantifier = parse_operator(name)
    values = (listed,) if isinstance(listed, str) else listed
    given = (actual,) if isinstance(actual, str) else actual
    return Condition(base, "s3:prefix", values, if_exists, quantifier).holds(One(given), lambda _: None)


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
        ("ArnLike", "arn:*", "arn:aws:iam::1:role/x", False),
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


def test_a_variable_in_an_arn_cannot_change_its_shape():
    """A value with a colon or a wildcard makes an ARN comparison unknown."""
    condition = Condition("ArnLike", "s3:prefix", ("arn:aws:iam::${jwt:n}:role/x",))
    context = One(("arn:aws:iam::1:role/x",))
    assert condition.holds(context, lambda _: "1") is True
    assert [condition.holds(context, lambda _, v=v: v) for v in ("*", "1:role/x", "?")] == [None, None, None]


def test_variables_are_allowed_where_values_are_checked():
    """A variable is checked when its value is there, except for Null, which asks about presence."""
    assert fault("NumericEquals", "${jwt:limit}") is None
    assert fault("Null", "${jwt:limit}") is not None


def test_known_keys_ignore_case():
    """Condition keys have no case; a family needs a name; a key that no request here has is not known."""
    assert all(map(is_known_key, ["AWS:sourceip", "jwt:anything", "s3:ExistingObjectTag/a", "s3:VersionId"]))
    assert not any(map(is_known_key, ["jwt:", "s3:ExistingObjectTag/", "aws:SourceVpc", "prefix", "s3:x-amz-other"]))


def test_literal_pieces_do_not_become_patterns():
    """Odd pieces are values: their wildcards match themselves only."""
    assert glob(("a/", "*", "/*")).fullmatch("a/*/b")
    assert not glob(("a/", "*", "/*")).fullmatch("a/x/b")


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_matches_what_the_standard_library_says(pattern, text):
    """The shell's globbing, without its brackets, is the oracle for `*` and `?`."""
    assert bool(glob((pattern,)).fullmatch(text)) is bool(re.match(translate(pattern), text))


@given(st.text("ab*?[.\n", max_size=4), st.text("ab*?[.\n", min_size=1, max_size=4))
def test_a_value_in_a_pattern_matches_itself_only(value, other):
    """Whatever a claim holds, its place in the pattern is the claim's own text."""
    pattern = glob(("home/", value, "/x"))
    assert pattern.fullmatch(f"home/{value}/x")
    assert bool(pattern.fullmatch(f"home/{other}/x")) is (value == other)
