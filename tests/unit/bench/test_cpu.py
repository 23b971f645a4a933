"""CPU time is that of whole trees, and of nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from bench.cpu import (
    TICK,
    Machine,
    Stat,
    anywhere,
    metered,
    parse_machine,
    parse_stat,
    pinned,
    tree_cpu,
    tree_of,
    tree_pss,
)

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_a_command_with_brackets_and_blanks_is_read():
    """A process may call itself anything; the numbers behind its name count."""
    words = " ".join(["S", "7", *["0"] * 9, "1", "2", "3", "4", *["9"] * 30])
    assert parse_stat(f"42 (a) b) {words}") == Stat(7, 10)


def test_a_tree_is_everybody_below():
    """Children of children belong to a tree, others do not."""
    everyone = {1: Stat(0, 0), 2: Stat(1, 0), 3: Stat(2, 0), 4: Stat(1, 0), 5: Stat(4, 0)}
    assert tree_of(2, everyone) == {2, 3}
    assert tree_of(1, everyone) == {1, 2, 3, 4, 5}


def test_the_time_of_a_grandchild_counts():
    """A child that works, and has been waited for, is its parent's cost."""
    with metered({"me": os.getpid()}) as meter:
        subprocess.run([sys.executable, "-c", BURN], check=True)
    assert 0.27 <= meter.cpu["me"] < 3, "the kernel counts in ticks of 10 ms, rounded down for each process"
    assert meter.seconds > 0.2


def test_a_server_that_died_has_no_result():
    """The cost of a process that is gone is not nothing: it is an error."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(KeyError):
        tree_cpu(child.pid)


def test_idle_and_waiting_are_not_busy():
    """Busy is user, nice, system and interrupts; stolen is a column of its own."""
    assert parse_machine("cpu  1 2 4 800 1600 8 16 32 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n") == (31 / TICK, 32 / TICK)


def test_the_machine_is_at_least_as_busy_as_we_are():
    """What this process spends is in the machine's time and in ours."""
    before = Machine.now()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    passed = Machine.now().since(before)
    assert passed.ours >= 0.28
    assert passed.busy >= passed.ours - 0.05  # each is counted in ticks


def test_what_is_started_while_pinned_stays_there():
    """A server that is started on a CPU runs there, and we are free again."""
    before = os.sched_getaffinity(0)
    one = min(before)
    with pinned(one):
        asked = "import os; print(*os.sched_getaffinity(0))"
        told = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout
    assert told.split() == [str(one)]
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU")
def test_who_is_bound_may_start_somebody_elsewhere():
    """The run stays on the load's CPU and starts each contender on the other one: they do not share."""
    before = sorted(os.sched_getaffinity(0))
    with pinned(before[1]):
        with pinned(before[0]):
            assert os.sched_getaffinity(0) == {before[0]}
        assert os.sched_getaffinity(0) == {before[1]}
    assert os.sched_getaffinity(0) == set(before)


def test_anywhere_is_on_every_cpu_also_where_somebody_asks_for_one():
    """What is started within `anywhere` is bound nowhere, and what is started after it where it was."""
    everywhere = os.sched_getaffinity(0)
    (first, *_) = sorted(everywhere)
    with pinned(first):
        with anywhere(), pinned(first):
            assert os.sched_getaffinity(0) == everywhere
        assert os.sched_getaffinity(0) == {first}
    assert os.sched_getaffinity(0) == everywhere


def test_memory_is_that_of_the_tree():
    """What a process holds shows in its tree's memory."""
    before = tree_pss(os.getpid())
    held = os.urandom(40 << 20)
    assert 35 < tree_pss(os.getpid()) - before < 60
    assert len(held) == 40 << 20
