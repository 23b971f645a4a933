"""call: documents and times, read strictly."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.call import AT_ONCE, Document, utc
from gateway.admin.errors import XMinioAdminConfigBadJSON, XMinioAdminInvalidArgument


def read(body, *members) -> Document:
    return Document.read(body if isinstance(body, bytes) else json.dumps(body).encode(), members)


def test_null_is_like_absent():
    """MinioAdmin sends null for what it was not given."""
    found = read({"a": None, "b": None, "c": None, "d": None}, "a", "b", "c", "d")
    assert (found.text("a"), found.flag("b"), found.texts("c"), found.moment("d")) == ("", False, (), None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"a"',
        b"{",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": {"b": 1, "b": 2}}',
        b"\xff",
        b"[" * 100_000,
        b'{"b": 1}',
        b'{"a": "\\ud800"}',
        b'{"a": ["x", {"\\udfff": 1}]}',
    ],
)
def test_what_is_no_object_of_these_members_is_refused(body):
    """Other JSON, broken, repeated, unknown and deep members: one code for all."""
    with pytest.raises(XMinioAdminConfigBadJSON):
        read(body, "a")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_is_taken_or_refused(value):
    """Whatever a member is, each way to read it gives its type or an error of a client's."""
    found = read({"a": value}, "a")
    kinds = {
        found.text: str,
        found.flag: bool,
        found.texts: tuple,
        found.json_text: str | None,
        found.moment: int | None,
    }
    for ask, kind in kinds.items():
        with contextlib.suppress(XMinioAdminConfigBadJSON, XMinioAdminInvalidArgument):
            assert isinstance(ask("a"), kind)


def test_long_lists_are_refused():
    """They would not fit into one transaction of the store."""
    names = [str(n) for n in range(AT_ONCE)]
    assert read({"a": names}, "a").texts("a") == tuple(names)
    with pytest.raises(XMinioAdminInvalidArgument):
        read({"a": [*names, "one more"]}, "a").texts("a")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2030-01-01T00:00:00Z", 1_893_456_000),
        ("2030-01-01T02:00:00+02:00", 1_893_456_000),
        ("2030-01-01T00:00:00.123456789Z", 1_893_456_000),
        ("0001-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_times_are_read(text, seconds):
    """RFC 3339 with any zone and fraction; Go's zero time and the epoch's mean never."""
    assert read({"a": text}, "a").moment("a") == seconds


@pytest.mark.parametrize(
    "text",
    [
        "2030",
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-13-01T00:00:00Z",
        "20300101T000000Z",
        "soon",
        "2030-W01-1T00:00:00Z",
    ],
)
def test_other_times_are_refused(text):
    """A time without its zone could mean any."""
    with pytest.raises(XMinioAdminInvalidArgument):
        read({"a": text}, "a").moment("a")


def test_times_are_written():
    """In UTC; never is the epoch, and what no calendar has is its last moment."""
    assert utc(10**30) == utc(2**53) == "9999-12-31T23:59:59Z"
    assert (utc(1_893_456_000), utc(None), utc(0)) == (
        "2030-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
    )
