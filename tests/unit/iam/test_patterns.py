"""Patterns and variables: what matches, and what is no value."""

import re
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.patterns import Variable, glob, is_value, matches, resolve, split, template, variables


def filled(text, **facts):
    """Return a text's pieces; facts by name with `__` for the colon."""
    known = {name.replace("__", ":"): value for name, value in facts.items()}
    return resolve(text, known.get)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_matches_what_the_standard_library_says(pattern, text):
    """The shell's globbing, without its brackets, is the oracle for `*` and `?`."""
    assert matches((pattern,), text) is bool(re.match(translate(pattern), text))


@given(st.lists(st.text("ab*", max_size=4), min_size=1, max_size=5), st.text("ab*", max_size=8))
def test_comparing_texts_and_the_expression_agree(pieces, text):
    """However a pattern is split into pieces, both ways to match it give one answer."""
    pieces = tuple(pieces)
    assert matches(pieces, text) is bool(glob(pieces).fullmatch(text))


@given(st.text("ab*?[.\n", max_size=4), st.text("ab*?[.\n", min_size=1, max_size=4))
def test_a_literal_in_a_pattern_matches_itself_only(value, other):
    """Whatever an odd piece holds, its place in the pattern is that text."""
    pattern = ("home/", value, "/x")
    assert matches(pattern, f"home/{value}/x")
    assert matches(pattern, f"home/{other}/x") is (value == other)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [("a*", "a", True), ("*a", "ba", True), ("a*a", "a", False), ("*", "", True), ("**", "x", True), ("", "", True),
     ("", "a", False), ("a*b*c", "acb", False), ("a*b*c", "abbc", True), ("*b*", "abc", True), ("ab*ba", "aba", False)],
)  # fmt: skip
def test_patterns(pattern, text, expected):
    """A star is any text, none too; beginning and end may not share characters."""
    assert matches((pattern,), text) is expected


def test_variables_are_found():
    """A text is its written parts and its variables; escapes are text."""
    assert template("a/${jwt:sub}/${*}") == ("a/", Variable("jwt:sub"), "/", "*", "")
    assert template("${aws:PrincipalTag/cost center, 'no team'}")[1] == Variable(
        "aws:PrincipalTag/cost center", "no team"
    )
    assert variables("${?}${aws:username}-${jwt:sub,'x'}") == ("aws:username", "jwt:sub")


@pytest.mark.parametrize(
    "text",
    ["${aws:username", "${}", "${ aws:username}", "${aws:username }", "${a, b}", "${a, ''}", "${a, '*'}", "${a, 'b?'}",
     "${a, 'b'c}", "${a,}", "${'a'}", "${a, 'b', 'c'}", "${a, '$'}", "$${", "${a${b}}"],
)  # fmt: skip
def test_what_is_no_variable_is_said(text):
    """A variable that is not closed, not named, or whose default is no plain text is a fault."""
    with pytest.raises(ValueError, match="has"):
        template(text)


@pytest.mark.parametrize("value", ["", "*", "a*", "b?b", "../", "..", ".", "a/b", "a\n", "\x00", "\ud800", "\x7f"])
def test_trap_58_what_could_name_more_than_itself_is_no_value(value):
    """An empty, wildcard, path-like or control text is no value, and a default does not come to its help."""
    assert not is_value(value)
    assert filled("home/${jwt:sub}/*", jwt__sub=(value,)) is None
    assert filled("home/${jwt:sub, 'guest'}/*", jwt__sub=(value,)) is None


@pytest.mark.parametrize("value", ["ann", "ann@corp", "uid=ann,dc=x", "{other}", "${jwt:name}", "...", "a b", "Ünï"])
def test_a_value_is_taken_as_it_is(value):
    """Other texts are values; what looks like a variable in one is text."""
    assert filled("home/${jwt:sub}/*", jwt__sub=(value,), jwt__name=("bob",)) == ("home/", value, "/*")


def test_a_default_is_for_what_is_absent():
    """The author's text stands in when the request has no such key, not when it has two values."""
    text = "teams/${aws:PrincipalTag/team, 'none'}/*"
    assert filled(text) == ("teams/", "none", "/*")
    assert resolve(text, {"aws:PrincipalTag/team": ("red",)}.get) == ("teams/", "red", "/*")
    assert resolve(text, {"aws:PrincipalTag/team": ("red", "blue")}.get) is None
    assert resolve("teams/${aws:PrincipalTag/team}/*", {}.get) is None


def test_values_are_not_split():
    """Only separators that are written count, and only so many."""
    assert split(("a:b:", "c:d", ":e:f"), ":", 3) == [("a",), ("b",), ("", "c:d", ""), ("e:f",)]


def test_many_stars_cost_no_exponential_time():
    """Neither way to match backtracks: this would not end."""
    assert not matches(("*a" * 200 + "*b",), "a" * 1023)
    assert not matches(("*a" * 200 + "?*b",), "a" * 1023)
