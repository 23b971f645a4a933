"""What a command of `minio-gw admin` is: its words, what it takes, what it does, and what it shows."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.commands.client import AdminClient

_LIFE = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Shown:
    """What a command answers: `document` for programs, `text` for people, made safe for a terminal already."""

    document: Any
    text: str


@dataclass(frozen=True)
class Argument:
    """One argument of argparse's: its names and the keywords of `add_argument`."""

    names: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def argument(*names: str, **options: Any) -> Argument:
    """Return an argument."""
    return Argument(names, options)


@dataclass(frozen=True)
class Command:
    """One command: `words` after `admin`; of `choice` one argument at most may be given, or must be (`must_choose`)."""

    words: tuple[str, ...]
    help: str
    run: Callable[[AdminClient, Namespace], Shown]
    arguments: tuple[Argument, ...] = ()
    choice: tuple[Argument, ...] = ()
    must_choose: bool = False


#: A file that is named on the command line; completion offers files for these.
FILE: Mapping[str, Any] = {"type": Path, "metavar": "FILE"}


def moment(text: str) -> str:
    """Return a time (RFC 3339) that is given as one, or as a length from now: `90m`, `12h`, `30d`. For argparse."""
    try:
        at = _moment(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        pass
    raise ArgumentTypeError(f"{text!r} is neither a length (90m, 12h, 30d) nor a time (2030-01-31T12:00:00Z)")


def _moment(text: str) -> datetime:
    found = _LIFE.fullmatch(text)
    if found is None:
        return datetime.fromisoformat(text)
    return datetime.now(UTC) + timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def seconds(text: str) -> float:
    """Return a time to wait: more than nothing, a day at most. For argparse."""
    try:
        given = float(text)
    except ValueError:
        given = 0.0
    if not 0 < given <= _UNITS["d"]:  # neither is what is no number
        raise ArgumentTypeError(f"{text!r} is no number of seconds above 0 and up to {_UNITS['d']}")
    return given
