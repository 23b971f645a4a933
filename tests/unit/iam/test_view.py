"""The IAM view: immutable, and equal to the changes applied in order."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.model import Secret
from iam.records import Attachment, Epoch, Group, Kind, PolicyDocument, Revocation, User
from iam.view import Gone, IamView

NAMES = st.sampled_from(["AAA", "BBB", "CCC"])
CHANGES = st.lists(
    st.builds(Revocation, NAMES, st.integers(0, 9), st.integers(0, 9))
    | st.builds(User, NAMES, st.just(Secret("secret-key")), st.booleans())
    | st.builds(Group, NAMES, st.lists(NAMES).map(tuple), st.booleans())
    | st.builds(Attachment, NAMES, st.lists(NAMES).map(tuple), st.booleans())
    | st.builds(Gone, st.sampled_from([Kind.REVOCATION, Kind.USER, Kind.GROUP]), NAMES)
)


def revoked(name, expires_at=9):
    return Revocation(name, 1, expires_at)


def test_an_empty_view_revokes_nothing():
    """Before anything is known nothing is revoked, and the revision says so."""
    assert not IamView().is_revoked("AAA")
    assert IamView().revision == 0


def test_a_revocation_is_in_force_until_it_is_lifted():
    """Revoked means refused, lifted means no longer, and other keys are not touched."""
    view = IamView().apply([revoked("AAA"), revoked("BBB")], 7)
    assert view.is_revoked("AAA")
    assert view.revision == 7
    lifted = view.apply([Gone(Kind.REVOCATION, "AAA")], 8)
    assert not lifted.is_revoked("AAA")
    assert lifted.is_revoked("BBB")


def test_a_view_never_changes():
    """Who holds a view keeps what it said: neither its fields nor its mapping can be changed."""
    view = IamView().apply([revoked("AAA")], 7)
    view.apply([Gone(Kind.REVOCATION, "AAA")], 8)
    assert view.is_revoked("AAA")
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.revision = 9
    with pytest.raises(TypeError):
        view.revocations["BBB"] = 1


def test_lifting_what_is_not_there_is_nothing():
    """A change that arrives twice does no harm."""
    assert IamView().apply([Gone(Kind.REVOCATION, "AAA")], 2) == IamView(2)


@given(CHANGES, st.integers(0, 20))
def test_batches_do_not_matter(changes, cut):
    """The same changes in one batch or in two give the same view."""
    whole = IamView().apply(changes, 5)
    assert IamView().apply(changes[:cut], 4).apply(changes[cut:], 5) == whole


@given(CHANGES)
def test_the_last_word_about_each_record_counts(changes):
    """A record is in the view exactly when the last change about it wrote it, as it wrote it."""
    view, last = IamView().apply(changes, 5), {}
    for change in changes:
        if isinstance(change, User):
            last[change.name] = change
        elif isinstance(change, Gone) and change.kind is Kind.USER:
            last.pop(change.name, None)
    assert dict(view.users) == last


def test_an_epoch_ends_what_was_issued_until_then():
    """Sessions of the parent issued up to the moment are refused, later ones and others' are not; a type ends its own only."""
    view = IamView().apply([Epoch("alice", 1000, {"ci": 2000}, 9)], 3)
    assert view.is_revoked("AAA", "alice", 1000)
    assert not view.is_revoked("AAA", "alice", 1001)
    assert not view.is_revoked("AAA", "bob", 1)
    assert view.is_revoked("AAA", "alice", 2000, "ci")
    assert not view.is_revoked("AAA", "alice", 2001, "ci")
    assert not view.is_revoked("AAA", "alice", 1500, "web")


def test_groups_of_a_user_are_the_enabled_ones():
    """A disabled group is none of the user's, and leaving it ends the membership."""
    view = IamView().apply([Group("devs", ("alice",)), Group("ops", ("alice", "bob"), enabled=False)], 3)
    assert view.groups_of("alice") == ("devs",)
    assert view.groups_of("bob") == ()
    assert view.apply([Group("devs", ())], 4).groups_of("alice") == ()
    assert view.apply([Gone(Kind.GROUP, "devs")], 4).groups_of("alice") == ()


def test_attached_policies_are_those_of_the_subject_and_its_groups():
    """Each name once, in order; users and groups of one name are apart; what cannot be read takes all rights."""
    view = IamView().apply(
        [
            Attachment("alice", ("a", "b")),
            Attachment("alice", ("g",), group=True),
            Attachment("devs", ("b", "c"), group=True),
        ],
        3,
    )
    assert view.attached("alice", ("devs",)) == ("a", "b", "c")
    assert view.attached("alice") == ("a", "b")
    assert view.attached("nobody") == ()
    broken = view.apply([Attachment("devs", (), group=True, broken=True)], 4)
    assert broken.attached("alice", ("devs",)) is None
    assert broken.attached("alice") == ("a", "b")


def test_a_change_costs_the_tables_it_touches_only():
    """A view shares with the next one whatever the change did not touch."""
    view = IamView().apply([User("alice", Secret("secret-key")), PolicyDocument("p", "{}")], 3)
    after = view.apply([revoked("AAA")], 4)
    assert after.users is view.users
    assert after.policies is view.policies


@given(CHANGES)
def test_memberships_follow_the_groups(changes):
    """However groups came to be what they are, each user is in those that name it, once and by name."""
    view = IamView()
    for change in changes:
        view = view.apply([change], 1)
    found = {}
    for name in sorted(view.groups):
        for member in dict.fromkeys(view.groups[name].members):
            found.setdefault(member, []).append(name)
    assert view.memberships == {member: tuple(names) for member, names in found.items()}


def test_a_group_that_changes_costs_no_other_group():
    """The members of groups that stay as they are are not looked at again: there may be hundreds of thousands."""
    looks = 0

    class Counted(tuple):
        __slots__ = ()

        def __iter__(self):
            nonlocal looks
            looks += 1
            return super().__iter__()

    view = IamView().apply([Group("large", Counted(["alice", "bob"])), Group("small", ("bob",))], 1)
    assert looks > 0
    looks = 0
    view = view.apply([Group("small", ("carol",))], 2)
    assert looks == 0
    assert view.memberships == {"alice": ("large",), "bob": ("large",), "carol": ("small",)}
