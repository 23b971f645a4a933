"""The envelope: what is sealed opens here only, and the keys around it can be changed without anybody noticing."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.records import Kind
from iam.seal import CannotOpen, Seal, master_of

OLD, NEW, NEXT = (master_of(text, "test") for text in ("the old text", "the new text", "the next text"))


def seal(*masters, record=None):
    one = Seal(masters, os.urandom)
    if record is not None:
        one.learn(record)
    return one


@pytest.fixture(scope="module")
def record():
    """A data key wrapped by the old master key, made at second 100."""
    return seal(OLD).create(100)


@given(st.binary(), st.text())
def test_what_is_sealed_is_opened(text, name):
    """Any text under any name comes back as it was, and never twice in the same bytes."""
    record = seal(OLD).create(1)
    one, other = seal(OLD, record=record), seal(OLD, record=record)
    sealed = one.seal(Kind.USER, name, text)
    assert other.open(Kind.USER, name, sealed) == text
    assert one.seal(Kind.USER, name, text) != sealed


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place, change):
    """Sealed bytes that were changed anywhere do not open."""
    import base64

    one = seal(OLD, record=seal(OLD).create(1))
    data = bytearray(base64.b64decode(one.seal(Kind.USER, "alice", b"x" * 40)))
    data[place % len(data)] ^= change
    with pytest.raises(CannotOpen):
        one.open(Kind.USER, "alice", base64.b64encode(data).decode())


@pytest.mark.parametrize("sealed", ["", "AAAA", "not base64!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_junk_does_not_open(record, sealed):
    """What is no sealed text is CannotOpen and nothing else."""
    with pytest.raises(CannotOpen):
        seal(OLD, record=record).open(Kind.USER, "alice", sealed)


def test_trap_67_there_is_no_default_key(record):
    """Without the master key that wrapped it the data key is not had, and who does not have it seals and opens nothing."""
    for one in (seal(), seal(NEW, record=record), seal(record=record)):
        assert not one.is_known
        with pytest.raises(CannotOpen):
            one.seal(Kind.USER, "alice", b"x")
    assert "another master key" in seal(NEW, record=record).trouble


def test_the_master_key_is_replaced_in_two_steps(record):
    """With old and new the wrap of the new is added; with the new alone the old's is taken away, and then opens no more."""
    both = seal(NEW, OLD, record=record)
    sealed = seal(OLD, record=record).seal(Kind.USER, "alice", b"secret")
    assert both.open(Kind.USER, "alice", sealed) == b"secret"
    added = both.renewed(record, 200)
    assert set(added.wraps) == {OLD.id, NEW.id}
    assert both.renewed(added, 201) is None
    alone = seal(NEW, record=added)
    assert alone.open(Kind.USER, "alice", sealed) == b"secret"
    left = alone.renewed(added, 300)
    assert set(left.wraps) == {NEW.id}
    assert not seal(OLD, record=left).is_known


def test_who_still_has_the_old_key_does_not_undo_the_new(record):
    """A gateway that starts again with the old key only leaves the younger wrap: it is the next step's."""
    added = seal(NEW, OLD, record=record).renewed(record, 200)
    assert seal(OLD, record=added).renewed(added, 300) is None


def test_who_cannot_open_renews_nothing(record):
    """A gateway with another key neither reads nor rewraps the data key."""
    assert seal(NEXT, NEW).renewed(record, 200) is None


def test_keys_of_different_origins_are_different():
    """The same text as a master key and as a root pair gives two keys, and two texts give two."""
    assert len({master_of(text, purpose).key for text in ("a", "b") for purpose in ("x", "y")}) == 4
    assert "key=" not in repr(OLD)
