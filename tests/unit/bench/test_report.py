"""What was measured is told as it is: medians, spreads, goals that can be missed."""

from __future__ import annotations

import pytest

from bench.report import Goal, Results, goal_table, judge, number, placed, report, spread, table

OURS, THEIRS = ("GET", "us", "cost"), ("GET", "them", "cost")


def results(ours: list[float], theirs: list[float]) -> Results:
    found = Results()
    for one in ours:
        found.add(*OURS, one)
    for one in theirs:
        found.add(*THEIRS, one)
    return found


def test_a_spread_is_median_least_and_most():
    """Of several rounds the median is told with the least and the most."""
    assert spread([3.0, 1.0, 40.0]) == "3.00 [1.00-40.0]"
    assert spread([2.5]) == "2.50"
    assert spread([]) == "-"


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (45.67, "45.7"), (1.234, "1.23"), (0.0456, "0.046")])
def test_numbers_have_three_digits(value, text):
    """A number has as many digits as mean something."""
    assert number(value) == text


def test_a_ratio_is_that_of_the_medians():
    """A ratio compares medians, and its spread is that of the rounds."""
    assert judge(Goal("", OURS, 2.0, THEIRS), results([10, 30, 20], [10, 10, 5]))[2:] == ("**2.00** [1.00-4.00]", "yes")


def test_a_goal_that_is_missed_says_no():
    """A hair above the limit is missed; a hair below the least allowed too."""
    assert judge(Goal("", OURS, 2.0, THEIRS), results([20.1], [10]))[3] == "**no**"
    assert judge(Goal("", OURS, 3.0, THEIRS, least=True), results([29.9], [10]))[3] == "**no**"
    assert judge(Goal("", OURS, 3.0, THEIRS, least=True), results([30], [10]))[3] == "yes"


def test_a_difference_is_ours_less_theirs():
    """What is added over another is the difference of the medians."""
    assert judge(Goal("", OURS, 0.3, THEIRS, "more"), results([0.75], [0.25]))[2:] == ("**0.500**", "**no**")


def test_a_value_stands_alone():
    """A goal without another's number compares ours."""
    told = judge(Goal("", OURS, 80, kind="value"), results([52.7], []))
    assert told == ("52.7", "", "**52.7**", "yes")


@pytest.mark.parametrize(("ours", "theirs"), [([], [1.0]), ([1.0], []), ([1.0], [0.0])])
def test_what_was_not_measured_is_not_met(ours, theirs):
    """Without both numbers, or over a nothing, no goal is met."""
    assert judge(Goal("", OURS, 1.0, THEIRS), results(ours, theirs))[2:] == ("-", "not measured")


def test_a_load_that_was_not_asked_for_is_left_out():
    """A run of some sections tells the goals of those only."""
    goals = [Goal("asked", OURS, 1.0, THEIRS), Goal("not asked", ("PUT", "us", "cost"), 1.0, THEIRS)]
    told = "\n".join(goal_table(goals, results([1.0], [1.0])))
    assert "| asked |" in told
    assert "not asked" not in told


def test_a_table_has_a_row_for_each_contender():
    """Every contender has a row, and a dash in a column of another's."""
    found = results([1.0], [2.0])
    found.add("GET", "them", "rate", 5.0)
    assert list(table(found, "GET"))[2:] == ["| us | 1.00 | - |", "| them | 2.00 | 5.00 |"]


def test_a_report_tells_what_failed_and_what_was_left_out():
    """A peer that was not there and a section that failed are in the report, not only in the log."""
    found = results([1.0], [2.0])
    found.missing["caddy"] = "not installed"
    found.failed["tls"] = "no"
    told = report([], found)
    assert "Left out: caddy (not installed)." in told
    assert "**Failed: tls: no**" in told


def test_a_load_of_one_row_stands_upright():
    """Many columns of one row are read downwards."""
    found = results([1.0], [])
    found.add("GET", "us", "rate", 5.0)
    assert list(table(found, "GET")) == ["| GET | us |", "|---|---:|", "| cost | 1.00 |", "| rate | 5.00 |"]


def test_a_run_beside_other_work_says_so():
    """Figures of a busy machine carry a warning that names the sections; those of a quiet one do not."""
    found = results([1.0], [2.0])
    found.noise["small"] = {"seconds": 1, "others": 3, "stolen": 0, "load": 1}
    assert "not quiet" not in report([], found)
    found.noise["tls"] = {"seconds": 1, "others": 30, "stolen": 0, "load": 1}
    assert "**The machine was not quiet (tls)" in report([], found)


def test_latencies_of_a_generator_that_was_late_say_so():
    """Where most of a latency is lateness of the request itself, nothing is said about who answered."""
    found = results([1.0], [2.0])
    for row, left in (("ours", [0.2, 0.3]), ("theirs", [50.0, 60.0])):
        for latency, late in zip([1.0, 80.0], left, strict=True):
            found.add("steady", row, "p99, ms", latency)
            found.add("steady", row, "left late, p99, ms", late)
    assert "**steady, theirs: requests left up to 55.0 ms late" in report([], found)
    assert "steady, ours: requests left" not in report([], found)


def test_figures_go_between_their_markers():
    """Fresh figures replace the old ones and nothing else."""
    document = "before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n"
    assert placed(document, "new\n") == "before\n<!-- figures -->\n\nnew\n\n<!-- /figures -->\nafter\n"
    assert placed(placed(document, "new\n"), "new\n") == placed(document, "new\n")


def test_a_document_without_markers_is_refused():
    """Figures are not lost silently."""
    with pytest.raises(ValueError, match="figures"):
        placed("nothing", "new\n")
