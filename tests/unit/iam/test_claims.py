"""Claims as values of keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.claims import values_of
from iam.model import UnknownFact


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", ("a",)), ("", ("",)), (7, ("7",)), (True, ("true",)), (["a", "b"], ("a", "b")), ([], None), (None, None)],
)
def test_values(value, expected):
    """Texts, numbers, booleans and lists of texts are values; an empty list and null are none."""
    assert values_of({"x": value}, "x") == expected
    assert values_of({"X": value}, "x") == expected


@pytest.mark.parametrize("value", [{}, {"a": 1}, 1.5, ["a", 1], [["a"]], ("a",)])
def test_trap_58_no_text_is_unknown(value):
    """A value without an obvious text is not absent."""
    with pytest.raises(UnknownFact):
        values_of({"x": value}, "x")


def test_two_spellings_are_no_value_for_a_third():
    """Where claims differ in case only, a key must name one of them exactly; else it is unknown which is meant."""
    claims = {"team": "red", "Team": "blue"}
    assert (values_of(claims, "team"), values_of(claims, "Team")) == (("red",), ("blue",))
    with pytest.raises(UnknownFact):
        values_of(claims, "TEAM")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from(["a", "A", "b"]), JSON), st.sampled_from(["a", "A", "b", "B", "c"]))
def test_any_claims_have_values_none_or_are_unknown(claims, name):
    """Nothing else is raised, and values are texts, one at least."""
    try:
        values = values_of(claims, name)
    except UnknownFact:
        return
    assert values is None or (len(values) > 0 and all(isinstance(value, str) for value in values))
