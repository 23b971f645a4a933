"""The addresses of an origin: back-off, choice, what the name says, and the order of those who wait. Nothing is connected."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.group import FIRST_BACKOFF, LONGEST_BACKOFF, Group, Limits
from gateway.wire.steps import Origin

HOSTS = ["192.0.2.1", "192.0.2.2", "2001:db8::3"]
TWO = Limits(connections=2, waiting=2, wait=5.0)


def group(hosts=HOSTS, limits: Limits = TWO) -> Group:
    """Return a group whose name says these addresses."""
    made = Group(Origin("s3.test", 443), limits, 0.0)
    assert made.renew(hosts) == []
    return made


@given(st.lists(st.floats(0.0, 200.0), max_size=40))
def test_an_address_is_passed_over_for_longer_and_longer(pauses):
    """Each failure after the back-off doubles the next, up to its bound; failures within it change nothing."""
    address, now, expected = group().addresses[0], 0.0, 0.0
    for pause in pauses:
        now += pause
        counts = not address.failures or now >= address.due
        assert address.failed(now) == (not expected)
        if counts:
            expected = min(expected * 2 or FIRST_BACKOFF, LONGEST_BACKOFF)
            assert address.due == now + expected
    assert address.reached() == bool(pauses)
    assert not address.failures


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=3, max_size=3), st.sets(st.integers(0, 2)))
def test_the_next_address_is_the_best_there_is(states, tried):
    """A well one with the fewest requests and with room, never one that was tried; a failed one only when none is well."""
    some = group()
    for address, (opening, fails) in zip(some.addresses, states, strict=True):
        address.opening = opening
        if fails:
            address.failed(1.0)
    before = [some.addresses[i] for i in tried]
    left = [a for a in some.addresses if a not in before]
    well = [a for a in left if not a.failures]
    allowed = [a for a in well or left if a.opening < 2]
    chosen = some.next(before)
    assert (chosen is None) == (not allowed)
    if chosen is not None:
        assert chosen in allowed
        assert not well or chosen.load == min(a.load for a in allowed)


def test_equals_take_turns():
    """Among addresses with the same load the one that was not chosen for longest is next."""
    some = group(limits=Limits())
    assert [some.next().host for _ in range(6)] == HOSTS * 2


@given(st.lists(st.lists(st.sampled_from(HOSTS), min_size=1), min_size=1))
def test_a_name_says_what_it_says_now(names):
    """Addresses are those of the last answer, each once and in its order; one that stays keeps what is known of it."""
    some = group()
    some.addresses[0].failed(1.0)
    first = some.addresses[0]
    for hosts in names:
        before = dict(some.known)
        some.renew(hosts)
        assert [a.host for a in some.addresses] == list(dict.fromkeys(hosts))
        assert all(before.get(a.host) in {None, a} for a in some.addresses)
        assert all(a.listed for a in some.addresses)
        assert (some.only is None) == (len(set(hosts)) > 1)
    if all(first.host in hosts for hosts in names):
        assert first.failures == 1


def test_an_address_that_left_is_known_while_it_has_connections():
    """What is still open to an address counts when the name says it again."""
    some = group()
    first, second, third = some.addresses
    first.opening = 1
    some.renew(HOSTS[2:])
    assert list(some.known.values()) == [first, third]
    some.renew(HOSTS)
    assert some.known[HOSTS[0]] is first
    assert some.known[HOSTS[1]] is not second


@pytest.mark.parametrize(("host", "fixed"), [("127.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("s3.test", False), ("1.2.3", False)])  # fmt: skip
def test_an_address_is_no_name(host, fixed):
    """IPv4 and IPv6 addresses, with a zone too, are never looked up."""
    assert Group(Origin(host, 443), TWO, 0.0).fixed == fixed


async def test_who_waits_is_served_in_order_and_sent_away_in_time():
    """The first to come is the first to be served; who went is skipped; who waits too long, or as one too many, is told."""
    some, loop = group(), asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(5)]
    assert [some.wait(future, float(i)) for i, future in enumerate(futures[:3])] == [True, True, False]
    futures[0].cancel()
    assert some.first() is futures[1]
    assert some.first() is None
    assert some.wait(futures[2], 10.0)
    assert some.wait(futures[3], 11.0)
    some.forget(futures[2])
    assert some.waiting == 1
    assert some.wait(futures[4], 14.0)
    some.give_up(16.0)
    assert not futures[3].done()
    some.give_up(16.5)
    assert (futures[3].result(), futures[4].done(), some.waiting) == (None, False, 1)


def test_what_is_probed():
    """One that failed when its time has come, and one without an idle connection; none twice, none that is full, no lone one."""
    some = group()
    failed, full, empty = some.addresses
    failed.failed(10.0)
    full.opening = 2
    assert some.to_probe(10.5) == [empty]
    empty.probed = True
    assert some.to_probe(11.0) == [failed]
    some.renew(HOSTS[:1])
    assert some.to_probe(11.0) == []
