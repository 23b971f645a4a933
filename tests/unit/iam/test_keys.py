"""The key layout: where records are, and that no name leaves its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam import keys
from iam.records import Kind


@pytest.mark.parametrize("prefix", ["", "team-a/", "team-a", "ü/"])
def test_the_path_prefix_is_glued_in_front(prefix):
    """MINIO_ETCD_PATH_PREFIX precedes every key as it is: nothing is added between."""
    assert keys.sessions(prefix) == prefix + "minio-gw/v1/sessions/"
    assert keys.records(prefix) == prefix + "minio-gw/v1/iam/"


@pytest.mark.parametrize("name", ["ABC", "A" * 128, "0Z9a", "ABCDEFGHIJKLMNOPQRST"])
def test_access_keys_are_names(name):
    """Letters and digits, 3 to 128 of them, may be part of a key."""
    assert keys.is_name(name)


@pytest.mark.parametrize(
    "name", ["", "AB", "A" * 129, "ABC\n", "A/B", "../ABC", "A B", "ABC\0", "ÄBC", "ABC\u0663", "A*C", "A.C", "A-C"]
)
def test_everything_else_is_no_name(name):
    """No separator, dot, control character, newline at the end or foreign digit may be part of a key."""
    assert not keys.is_name(name)


@given(st.text())
def test_a_name_never_leaves_its_prefix(name):
    """Whatever is a name gives a key that is exactly one level below its prefix."""
    if keys.is_name(name):
        assert "/" not in name
        assert name.isascii()
        assert name.isalnum()


@given(st.binary(min_size=1, max_size=4), st.binary(max_size=8), st.booleans())
def test_the_range_of_a_prefix_is_that_prefix(prefix, other, below):
    """A key is in [prefix, range_end) exactly when it starts with the prefix."""
    key = prefix + other if below else other
    end = keys.range_end(prefix)
    assert (prefix <= key and (end == b"\0" or key < end)) == key.startswith(prefix)


def test_the_range_of_the_last_prefix_goes_to_the_end():
    """A prefix without a successor ends at etcd's "last key", a zero byte."""
    assert keys.range_end(b"\xff\xff") == b"\0"
    assert keys.range_end(b"a\xff") == b"b"


@given(st.sampled_from(Kind), st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_a_records_key_says_kind_and_name(kind, name):
    """Any name, whatever separators it holds, makes a key one level below its kind, and is read back from it."""
    key = keys.record(kind, name)
    assert key.count("/") == 1
    assert keys.parse_record(key) == (kind, name)


@pytest.mark.parametrize(
    "key", ["", "users", "users/", "nobody/AAA", "users/a/b", "users/%zz", "users/a b", "users/%61"]
)
def test_other_keys_are_not_ours(key):
    """A key of another kind, without a name, or not written as we write it, is no record."""
    assert keys.parse_record(key) is None
