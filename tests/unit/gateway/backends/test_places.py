"""places: one name, one place; no place has two names unless that is declared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.places import Place, Places, Rule, store_of
from gateway.errors import NoSuchBucket

NAMES = st.text("ab-1.", min_size=1, max_size=6)
PATTERNS = st.lists(st.text("ab-", max_size=2), min_size=1, max_size=3).map("*".join).filter(bool)


def rules():
    """Return a strategy of rule lists as the file makes them: two stores, renames, prefixes, sharing, a default or none."""
    one = st.tuples(PATTERNS, st.sampled_from("xyz"), NAMES, st.sampled_from(["", "p/", "p/q/", "r/"]), st.booleans())

    def rule(parts) -> Rule:
        name, backend, bucket, prefix, shared = parts
        to = {0: bucket, 1: f"{bucket}*"}.get(name.count("*"), "") if shared or len(bucket) % 2 else ""
        return Rule(name, backend, "one" if backend in "xy" else "two", to, prefix, shared)

    default = st.sampled_from([(), (Rule("*", "x", "one"),)])
    return st.tuples(st.lists(one.map(rule), max_size=4), default).map(lambda both: (*both[0], *both[1]))


def found(places: Places, name: str) -> Place | None:
    try:
        return places.of(name)
    except NoSuchBucket:
        return None


RULES = (
    Rule("photos", "b", "sb", "real-photos"),
    Rule("team", "b", "sb", "shared", "teams/a/"),
    Rule("logs-*", "b", "sb", "acme-*"),
    Rule("*", "a", "sa"),
)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("photos", Place("b", "real-photos")),
        ("team", Place("b", "shared", "teams/a/")),
        ("logs-2026", Place("b", "acme-2026")),
        ("logs-", Place("b", "acme-")),
        ("real-photos", Place("a", "real-photos")),
        ("Photos", Place("a", "Photos")),
        ("photos.", Place("a", "photos.")),
    ],
)
def test_the_first_rule_that_matches_gives_the_place(name, place):
    """A name, a pattern, the default; only * is special, and case counts."""
    assert Places(RULES).of(name) == place


def test_a_bucket_of_no_rule_does_not_exist():
    """Without a default a name that nobody mapped is NoSuchBucket, each time it is asked for."""
    places = Places(RULES[:3])
    for _ in range(2):
        with pytest.raises(NoSuchBucket):
            places.of("other")


@pytest.mark.parametrize(
    ("earlier", "name"),
    [
        (Rule("photos", "a", "sa", "real"), "real"),
        (Rule("team", "a", "sa", "real", "p/"), "real"),
        (Rule("logs-*", "a", "sa", "acme-*"), "acme-x"),
        (Rule("photos", "other-door", "sa", "real"), "real"),
    ],
)
def test_a_place_that_belongs_to_another_name_cannot_be_reached_by_a_pattern(earlier, name):
    """A policy for the one name would not hold for the other; a second backend with the same endpoint is no way around."""
    places = Places((earlier, Rule("*", "a", "sa")))
    with pytest.raises(NoSuchBucket):
        places.of(name)
    assert places.of("something-else") == Place("a", "something-else")
    assert list(places.names("a", name)) == ([earlier.name.replace("*", "x")] if earlier.backend == "a" else [])


@pytest.mark.parametrize(("one", "other", "alone"), [("p/", "q/", True), ("p/", "p/q/", False), ("", "p/", False), ("p/", "pq/", True)])  # fmt: skip
def test_prefixes_overlap_when_one_begins_with_the_other(one, other, alone):
    """Two prefixes of one bucket are two places when neither is inside the other."""
    places = Places((Rule("n1", "a", "sa", "real", one), Rule("n2", "a", "sa", "real", other)))
    assert (found(places, "n2") is not None) is alone
    assert places.owner("n2") == (None if alone else "n1")


@pytest.mark.parametrize(("first", "second", "both"), [(True, True, True), (True, False, False), (False, True, False)])
def test_sharing_is_declared_by_both(first, second, both):
    """One of two names cannot give away the other's place."""
    places = Places((Rule("n1", "a", "sa", "real", shared=first), Rule("n2", "a", "sa", "real", shared=second)))
    assert (found(places, "n2") is not None) is both


@given(rules(), st.lists(NAMES, min_size=2, max_size=8, unique=True))
def test_no_place_has_two_names_unless_both_are_shared(listed, names):
    """Whatever the rules: two names that overlap in one store belong to rules that are both declared shared."""
    places = Places(listed)
    stores = {rule.backend: rule.store for rule in listed}
    owned = [(name, place, places._rule(name)[1]) for name in names if (place := found(places, name))]
    for i, (_, one, rule) in enumerate(owned):
        for _, other, second in owned[:i]:
            same = stores[one.backend] == stores[other.backend] and one.bucket == other.bucket
            overlap = one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
            assert not (same and overlap) or (rule.shared and second.shared)


@given(rules(), NAMES)
def test_a_name_comes_back_from_its_place(listed, name):
    """What a backend lists is shown under the names that lead there, and under no other."""
    places = Places(listed)
    place = found(places, name)
    if place is not None:
        assert name in places.names(place.backend, place.bucket)
    for backend in "xyz":
        for back in places.names(backend, name):
            assert places.of(back) == Place(backend, name, places._rule(back)[1].prefix)


@given(st.lists(NAMES, min_size=1, max_size=40))
def test_what_is_kept_is_what_is_found(names):
    """The memory of places changes nothing, and is bounded."""
    places = Places(RULES)
    assert [places.of(name) for name in names] == [Places(RULES).of(name) for name in names]


def test_the_memory_is_bounded(monkeypatch):
    """A client that invents names does not fill the memory."""
    monkeypatch.setattr("gateway.backends.places.KEPT", 10)
    places = Places(RULES)
    for i in range(100):
        places.of(f"n{i}")
    assert len(places._known) <= 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("http", "store:80"), ("http", "STORE"), True),
        (("https", "store"), ("https", "store:443"), True),
        (("https", "store"), ("http", "store"), False),
        (("http", "store:9000"), ("http", "store:9001"), False),
        (("http", "localhost:9000"), ("http", "127.0.0.1:9000"), True),
        (("http", "[::1]"), ("http", "localhost"), True),
        (("http", "127.0.0.12:9000"), ("http", "127.0.0.1:9000"), False),
        (("https", "s3.amazonaws.com"), ("https", "s3.eu-west-1.amazonaws.com"), True),
        (("https", "s3.amazonaws.com"), ("https", "s3.cn-north-1.amazonaws.com.cn"), False),
        (("https", "s3.amazonaws.com"), ("https", "amazonaws.com.example.org"), False),
    ],
)
def test_two_doors_of_one_store(one, other, same):
    """Endpoints are compared as what they lead to: case, default ports, and Amazon's one name space."""
    assert (store_of(*one) == store_of(*other)) is same
