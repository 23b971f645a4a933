"""The IAM view: immutable, and equal to the changes applied in order."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.view import IamView, Lifted, Revoked

NAMES = st.sampled_from(["AAA", "BBB", "CCC"])
CHANGES = st.lists(st.builds(Revoked, NAMES, st.integers(0, 9)) | st.builds(Lifted, NAMES))


def test_an_empty_view_revokes_nothing():
    """Before anything is known nothing is revoked, and the revision says so."""
    assert not IamView().is_revoked("AAA")
    assert IamView().revision == 0


def test_a_revocation_is_in_force_until_it_is_lifted():
    """Revoked means refused, lifted means no longer, and other keys are not touched."""
    view = IamView().apply([Revoked("AAA", 9), Revoked("BBB", 9)], 7)
    assert view.is_revoked("AAA")
    assert view.revision == 7
    lifted = view.apply([Lifted("AAA")], 8)
    assert not lifted.is_revoked("AAA")
    assert lifted.is_revoked("BBB")


def test_a_view_never_changes():
    """Who holds a view keeps what it said: neither its fields nor its mapping can be changed."""
    view = IamView().apply([Revoked("AAA", 9)], 7)
    view.apply([Lifted("AAA")], 8)
    assert view.is_revoked("AAA")
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.revision = 9
    with pytest.raises(TypeError):
        view.revocations["BBB"] = 1


def test_lifting_what_is_not_there_is_nothing():
    """A change that arrives twice does no harm."""
    assert IamView().apply([Lifted("AAA")], 2) == IamView(2, {})


@given(CHANGES, st.integers(0, 20))
def test_batches_do_not_matter(changes, cut):
    """The same changes in one batch or in two give the same view, and the last word about each key counts."""
    whole = IamView().apply(changes, 5)
    assert IamView().apply(changes[:cut], 4).apply(changes[cut:], 5) == whole
    last = {change.access_key_id: change for change in changes}
    for name in ("AAA", "BBB", "CCC"):
        assert whole.is_revoked(name) == isinstance(last.get(name), Revoked)
