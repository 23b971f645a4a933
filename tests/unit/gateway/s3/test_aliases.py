"""aliases: what else a store may read in a key."""

from __future__ import annotations

import posixpath
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.s3 import aliases


def cleaned(key: str) -> str:
    """Return a key as a path without dot segments; what ends with a slash still does."""
    found = posixpath.normpath(key) if key else ""
    return "" if found == "." else found + ("/" if key.endswith("/") and not found.endswith("/") else "")


#: What stores do to keys, as each would write it.
FOLDINGS = [
    lambda key: key.replace("\\", "/"),
    lambda key: re.sub("/+", "/", key),
    lambda key: key.lstrip("/"),
    lambda key: re.sub("/+", "/", "/" + key.replace("\\", "/"))[1:],
    cleaned,
]
TEXTS = st.text("ab./\\", max_size=10) | st.lists(
    st.sampled_from(["a", "b", "/", "//", "\\", ".", "..", "/../", ".git", "...", "é"]), max_size=8
).map("".join)  # fmt: skip


@given(TEXTS, st.lists(st.sampled_from(FOLDINGS), max_size=4))
@example("z/..\\\\bob/x", [FOLDINGS[0], FOLDINGS[4]])
@example("a//../b", [FOLDINGS[4]])
def test_trap_17_whatever_a_store_makes_of_a_key_is_among_its_readings(key, foldings):
    """In any order and number; but for slashes at the ends, of which a store may drop all or none."""
    stored = key
    for fold in foldings:
        stored = fold(stored)
    found = aliases.readings(key)
    if found is None:
        return
    ends = {one.strip("/") for one in found}
    assert stored.strip("/") in ends
    if stored != key and stored.strip("/") != key.strip("/"):
        assert aliases.is_odd_prefix(key)


@given(TEXTS)
def test_what_is_not_odd_has_one_reading(key):
    """The one look that is spent on every key overlooks nothing; and readings of readings are readings."""
    found = aliases.readings(key)
    if not aliases.is_odd_prefix(key):
        assert found == {key}
    for other in found or ():
        assert aliases.readings(other) <= found


@pytest.mark.parametrize(
    "key", ["..", "../a", "a/../..", "a/../../b", "..\\a", "a\\..\\..\\b", "/..", "//../a", "a//../../b"]
)
def test_a_key_that_may_lead_out_of_its_bucket_does(key):
    """With any store's slashes and however the dots are resolved."""
    assert aliases.readings(key) is None
    assert aliases.leads_out(key)


@pytest.mark.parametrize("key", ["/", "//", "\\", ".", "./", "a/..", "a\\..", "/./"])
def test_a_key_that_may_be_none_is_no_key(key):
    """What is left may be the bucket itself."""
    assert aliases.leads_out(key)


@pytest.mark.parametrize(
    "key",
    ["a", "a/", "a/b", "a/.git/c", ".a", "...", "a..b", "a/..b", "a/b..", "é/ü", "a b", "a%2Fb", "a//b", "a/../b"],
)
def test_other_keys_are_in_their_bucket(key):
    """Dots in names are names."""
    assert not aliases.leads_out(key)


def test_a_version_is_known_by_its_name():
    """SeaweedFS keeps versions as objects of such names."""
    assert aliases.version_of("a/b.versions/v_0a1b") == ("a/b", "0a1b")
    assert aliases.version_of("a.versions/v_0.versions/v_1") == ("a.versions/v_0", "1")
    for key in (
        "a.versions",
        "a.versions/",
        "a.versions/0a",
        ".versions/v_0a",
        "a.versions/v_",
        "a/versions/v_0a",
        "a.versions/v_0/c",
    ):
        assert aliases.version_of(key) is None


def test_unfinished_uploads_are_known_by_their_place():
    """At the bucket's top and nowhere else."""
    assert aliases.of_uploads(["a", ".uploads/0/1.part"])
    assert aliases.of_uploads([".uploads"])
    assert not aliases.of_uploads(["a/.uploads/0", ".uploadsome", "uploads/0"])


def test_dots_of_any_slashes_are_seen():
    """Where such segments are refused they are refused in both spellings."""
    assert aliases.has_dots("a\\..\\b")
    assert aliases.has_dots("./a")
    assert not aliases.has_dots("a/..b/.c")
