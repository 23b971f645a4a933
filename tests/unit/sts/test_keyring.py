"""The keyring of a view: which key mints when, and which open."""

from __future__ import annotations

from iam.records import KeyRecord, Kind
from iam.view import Gone, IamView
from sts.keyring import Keys, keyring_of

KEYS = {kid: KeyRecord(kid, b"s" * 64, b"d" * 64, at, at) for kid, at in (("aa", 100), ("bb", 200), ("cc", 300))}


def test_the_youngest_key_whose_time_has_come_mints():
    """Before its time a key opens and does not mint, unless there is no other; from then on it is the one."""
    for now, current, until in ((99, "aa", 100), (100, "aa", 200), (250, "bb", 300), (300, "cc", 2**53)):
        ring, end = keyring_of(KEYS, now)
        assert (ring.current, set(ring.keys), end) == (current, {"aa", "bb", "cc"}, until)


def test_without_keys_there_is_an_empty_ring():
    """A view without keys mints nothing and opens nothing."""
    ring, _ = keyring_of({}, 5)
    assert (ring.current, dict(ring.keys)) == ("", {})


def test_two_gateways_agree_about_keys_of_one_second():
    """Two keys of the same second have an order that does not depend on who looks."""
    twins = {kid: KeyRecord(kid, b"", b"", 1, 1) for kid in ("bb", "aa")}
    assert keyring_of(twins, 1)[0].current == keyring_of(dict(reversed(twins.items())), 1)[0].current == "bb"


def test_the_ring_follows_view_and_clock():
    """The same object while nothing changes; another when a key's time comes or the view's keys change."""
    now, view = [150], [IamView().apply(KEYS.values(), 1)]
    keys = Keys(lambda: view[0], lambda: now[0])
    first = keys()
    assert first.current == "aa"
    assert keys() is first
    now[0] = 200
    assert keys().current == "bb"
    view[0] = view[0].apply([Gone(Kind.KEY, "bb")], 2)
    assert keys().current == "aa"
    assert "bb" not in keys().keys
