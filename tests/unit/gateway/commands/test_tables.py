"""What people see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.tables import cell, members, table

TEXTS = st.text(max_size=12)


def test_columns_are_aligned():
    """Each column is as wide as its widest cell, the last one ends where its text does."""
    assert table(("A", "B"), [("long", 1), ("x", "y")]).splitlines() == ["A     B", "long  1", "x     y"]
    assert table(("A", "B"), []) == "A  B"


def test_wide_characters_take_two_columns():
    """Columns line up for people who write in Japanese, too; a combining mark takes none."""
    assert table(("A", "B"), [("猫", 1), ("e\u0301", 2)]).splitlines() == ["A   B", "猫  1", "e\u0301   2"]


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
def test_nothing_in_a_table_speaks_to_the_terminal(rows):
    """Whatever names say, each row is one line of printable characters: no escape, no new line, nothing that turns the text around."""
    lines = table(("A", "B"), rows).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)


@given(st.dictionaries(st.sampled_from(["a", "long name"]), TEXTS))
def test_nothing_in_members_does(pairs):
    """The same holds of one thing's members."""
    lines = members(pairs).split("\n") if pairs else []
    assert len(lines) == len(pairs)
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), ("", "-"), ([], "-"), (True, "yes"), (False, "no"), (["a", 1], "a, 1"), ({"a": 1}, "a=1"), (0, "0"),
     ("1970-01-01T00:00:00Z", "never"), ("\x1b[2J", "\\x1b[2J"), ("a\u202eb", "a\\u202eb")],
)  # fmt: skip
def test_cells(value, text):
    """Members of JSON read as people write them."""
    assert cell(value) == text
