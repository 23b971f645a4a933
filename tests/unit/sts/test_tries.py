"""How often somebody may fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts.tries import Tries


def test_trap_43_a_burst_and_then_one_at_a_time():
    """So many tries at once, then one each interval, and who is refused is told how long to wait; others are not concerned."""
    tries = Tries(3, 10.0)
    assert [tries.take("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]
    assert tries.take("a", 4.0) == pytest.approx(6.0)
    assert tries.take("b", 4.0) == 0.0
    assert tries.take("a", 10.0) == 0.0
    assert tries.take("a", 10.0) == pytest.approx(10.0)


def test_what_did_not_fail_does_not_count():
    """A token that is given back is there again, and never more than the burst."""
    tries = Tries(2, 10.0)
    for _ in range(100):
        assert tries.take("a", 0.0) == 0.0
        tries.give_back("a")
    tries.give_back("a")
    tries.give_back("never seen")
    assert [tries.take("a", 0.0) == 0.0 for _ in range(3)] == [True, True, False]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=60))
def test_no_more_than_the_rate_in_any_span(steps):
    """Whatever the times of the tries, those let through are at most the burst and what time has given since."""
    tries, now, taken = Tries(4, 5.0), 0.0, dict.fromkeys("abc", 0)
    for name, pause in steps:
        now += pause
        taken[name] += tries.take(name, now) == 0.0
        assert taken[name] <= 4 + now / 5.0 + 1e-6


def test_trap_43_memory_is_bounded():
    """Any number of names takes the memory of so many; the names tried last are the ones remembered."""
    tries = Tries(1, 1000.0, capacity=100)
    for number in range(10_000):
        tries.take(f"name {number}", float(number) / 1e6)
    assert len(tries) == 100
    assert tries.take("name 9999", 0.01) > 0
    assert tries.take("name 5", 0.01) == 0.0
