"""Condition operators, one table row per rule."""

import pytest

from iam.conditions import _TESTS, Condition, fault, parse_operator
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
        # an empty list is no value
        ("StringEquals", "a", (), False),
        ("StringNotEquals", "a", (), True),
        ("ForAllValues:StringEquals", "a", (), True),
        ("ForAnyValue:StringEquals", "a", (), False),
        ("Null", "true", (), True),
        ("Null", "false", (), False),
        ("Null", "true", "", False),
        # an empty text is a value, but under ForAllValues AWS takes it for none
        ("StringEquals", "", "", True),
        ("StringNotEquals", "a", "", True),
        ("ForAllValues:StringEquals", "a", "", None),
        ("ForAllValues:StringEquals", ("a", ""), "", True),
        ("ForAllValues:StringEquals", "a", ("", "a"), False),
        # a match is known, whatever another listed value is
        ("StringEquals", ("${jwt:sub}", "a"), "a", True),
        ("StringNotEquals", ("${jwt:sub}", "a"), "a", False),
        ("StringEquals", ("${jwt:sub}", "a"), "b", None),
        ("ForAllValues:StringEquals", ("${jwt:sub}", "a"), ("a", "b"), None),
        ("ForAnyValue:StringEquals", ("${jwt:sub}", "a"), ("b", "a"), True),
        ("NumericLessThan", "10", ("x", "5"), True),
        ("ForAllValues:NumericLessThan", "10", ("x", "5"), None),
        ("ForAllValues:NumericLessThan", "10", ("x", "50"), False),
        # numbers are exact, dates have many forms
        ("NumericEquals", "9007199254740993", "9007199254740992", False),
        ("NumericEquals", "1" + "0" * 399, "2" + "0" * 399, False),
        ("NumericEquals", "1" + "0" * 399, "2" + "0" * 400, None),
        ("NumericEquals", "-0.5", "-0.50", True),
        ("NumericLessThan", "10", "1e1", None),
        ("DateLessThan", "2026-02", "2026-01-31T23:59:59Z", True),
        ("DateEquals", "1767225600", "2026-01-01T00:00:00.000Z", True),
        ("DateGreaterThan", "1767225599.5", "1767225600", True),
        ("DateEquals", "2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00Z", True),
        ("DateLessThan", "2026-01-01", "99999-01-01", None),
        ("BoolIfExists", "true", None, True),
        ("BoolIfExists", "true", "false", False),
        ("Bool", "true", None, False),
        ("NumericNotEqualsIfExists", "1", None, True),
        ("NotIpAddress", "10.0.0.0/8", None, True),
        ("IpAddress", "10.0.0.0/8", None, False),
        ("IpAddress", "2001:db8::/32", "2001:DB8:0:0::1", True),
        ("IpAddress", "203.0.113.0", "203.0.113.0", True),
        ("NotIpAddress", ("10.0.0.0/8", "192.0.2.0/24"), "192.0.2.9", False),
        ("ArnLike", "arn:aws:s3:::b/*/x", "arn:aws:s3:::b/a/b/x", True),
        ("ArnLike", "arn:aws:*:*:*:*", "arn:aws:s3:::b", True),
        ("ArnLike", "arn:aws:s3:::b", "b", False),
        ("ArnEquals", "arn:aws:s3:::?", "arn:aws:s3:::b", True),
        ("ArnLike", "${jwt:sub}", "arn:aws:s3:::b", None),
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


@pytest.mark.parametrize("name", sorted(_TESTS))
@pytest.mark.parametrize("quantifier", ["", "ForAllValues:", "ForAnyValue:"])
@pytest.mark.parametrize("suffix", ["", "IfExists"])
def test_every_operator_has_every_form(name, quantifier, suffix):
    """Each of AWS's operators is known with both quantifiers and IfExists, and says of a missing key what AWS documents."""
    spelled = f"{quantifier}{name}{suffix}"
    base, if_exists, found = parse_operator(spelled)
    assert Condition(base, "s3:prefix", ("1",), if_exists, found).name == spelled
    missing = {"": "Not" in name, "ForAllValues:": True, "ForAnyValue:": False}[quantifier] or bool(suffix)
    assert holds(spelled, "1", None) is missing


def test_the_operators_are_awss():
    """The list of the reference, whole: nothing is missing and nothing is our own."""
    kinds = {
        "String": ["Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike"],
        "Numeric": ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"],
        "Date": ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"],
        "Arn": ["Equals", "NotEquals", "Like", "NotLike"],
        "": ["Bool", "BinaryEquals", "IpAddress", "NotIpAddress"],
    }
    assert set(_TESTS) == {f"{kind}{name}" for kind, names in kinds.items() for name in names}
    assert parse_operator("Null") == ("Null", False, "")


@pytest.mark.parametrize("name", sorted(_TESTS))
def test_what_nobody_has_read_is_unknown(name):
    """A key, or a variable, whose value was not looked up can neither hold nor be absent, under any operator."""
    for quantifier in ("", "ForAllValues", "ForAnyValue"):
        assert Condition(name, "s3:unread", ("1",), True, quantifier).holds(One(None)) is None
        assert Condition(name, "s3:prefix", ("${s3:unread}",), True, quantifier).holds(One(("1",))) is None
    assert Condition("Null", "s3:unread", ("true",)).holds(One(None)) is None


def test_a_variable_in_an_arn_cannot_change_its_shape():
    """A value with a colon, where a part of the ARN would end, or with a wildcard makes the comparison unknown."""
    for value, expected in (("1", True), ("2", False), ("*", None), ("?", None), ("1:role/x", None), ("1:x", None)):
        assert holds("ArnLike", "arn:aws:iam::${jwt:n}:role/x", "arn:aws:iam::1:role/x", jwt__n=value) is expected
    assert holds("ArnLike", "arn:aws:iam:::user/${jwt:n}", "arn:aws:iam:::user/openid:a", jwt__n="openid:a") is True


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("NumericEquals", "ten", "a number such as"),
        ("NumericEquals", "1e3", "a number such as"),
        ("DateLessThan", "2026", "a date such as"),
        ("DateLessThan", "tomorrow", "a date such as"),
        ("Bool", "yes", "true or false"),
        ("Null", "1", "true or false"),
        ("BinaryEquals", "a", "base64"),
        ("NotIpAddress", "10.0.0.0/33", "an address or a CIDR"),
        ("ArnLike", "alice", "an ARN of six parts"),
        ("ArnLike", "*", "an ARN of six parts"),
        ("ArnEquals", "${jwt:arn}", "an ARN of six parts"),
        ("StringLike", "${jwt:", "has a `${`"),
        ("StringLike", "${jwt:sub, x}", "neither"),
    ],
)
def test_a_value_that_is_none_is_said(name, value, wrong):
    """The fault says what the operator takes."""
    assert wrong in fault(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("NumericEquals", "-1.5"), ("DateLessThan", "2026-01-31T12:00:00Z"), ("DateLessThan", "2026-01"), ("DateLessThan", "0"),
     ("Bool", "True"), ("ArnLike", "arn:aws:iam:::user/${aws:username}"), ("IpAddress", "::1"), ("StringLike", "${*}")],
)  # fmt: skip
def test_good_values_are_good(name, value):
    """What AWS's reference shows is taken."""
    assert fault(name, value) is None


def test_variables_are_allowed_where_values_are_checked():
    """A variable is checked when its value is there, except for Null, which asks about presence."""
    assert fault("NumericEquals", "${jwt:limit}") is None
    assert fault("Null", "${jwt:limit}") is not None
