"""Arguments that have a form of their own."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

import pytest

from gateway.commands.command import moment, seconds


@pytest.mark.parametrize(
    ("text", "life"), [("90s", timedelta(seconds=90)), ("5m", timedelta(minutes=5)), ("12h", timedelta(hours=12)), ("30d", timedelta(days=30))]
)  # fmt: skip
def test_a_length_counts_from_now(text, life):
    """`12h` is twelve hours from now, in UTC."""
    before = datetime.now(UTC).replace(microsecond=0)
    assert before + life <= datetime.fromisoformat(moment(text)) <= datetime.now(UTC) + life


def test_a_time_is_taken_as_it_is():
    """A time with its zone comes out in UTC."""
    assert moment("2030-01-31T12:00:00Z") == "2030-01-31T12:00:00Z"
    assert moment("2030-01-31T12:00:00+02:00") == "2030-01-31T10:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "0h",
        "-1h",
        "1w",
        "2030-01-31",
        "2030-01-31T12:00:00",
        "tomorrow",
        "9999999d",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_anything_else_is_refused(text):
    """A time without a zone would be another one on another machine; one that no calendar has is none."""
    with pytest.raises(ArgumentTypeError):
        moment(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e9", "soon"])
def test_what_is_no_time_to_wait_is_refused(text):
    """A timeout is a number of seconds, above nothing and at most a day."""
    with pytest.raises(ArgumentTypeError):
        seconds(text)


def test_a_time_to_wait_may_be_a_part_of_a_second():
    """Tests and scripts wait as long as they want."""
    assert (seconds("0.5"), seconds("30")) == (0.5, 30.0)
