"""The patterns of the policy language: `*`, `?`, `${variables}` and their defaults. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
A variable's value is literal text that names one thing. What is absent, empty, or could name more than itself (wildcards,
slashes, `.` and `..`, control characters) is no value (trap 58): the text that holds it is then not known, and whoever asks
falls to the safe side. A default, `${aws:PrincipalTag/team, 'none'}`, stands in for an absent value only, never for a bad one.
A pattern matches in time proportional to text times pattern: session policies come from users.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

#: A text with its variables resolved: even pieces as written (wildcards work), odd ones values (literal, trap 58).
Pieces = tuple[str, ...]

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_INSIDE = re.compile(r"([^\s,'](?:[^,']*[^\s,'])?)(?:,\s*'([^'*?$]+)')?")
_ESCAPES = {"*": "*", "?": "?", "$": "$"}
_WILD = re.compile(r"[*?]")
_HOSTILE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff*?/]")
_KEPT = 4096  # texts read once; each is some hundred bytes


class Variable(NamedTuple):
    """A variable in a text: the condition key it names, and its author's default."""

    name: str
    default: str | None = None


def read_template(text: str) -> tuple[str | Variable, ...]:
    """Return the parts of a text: even ones as written, odd ones variables, escapes being plain texts. Raises ValueError."""
    parts = _VARIABLE.split(text)
    if any("${" in part for part in parts[::2]):
        raise ValueError("has a `${` without a variable's name and `}`")
    return tuple(_variable(part) if number % 2 else part for number, part in enumerate(parts))


def _variable(inside: str) -> str | Variable:
    if inside in _ESCAPES:
        return _ESCAPES[inside]
    match = _INSIDE.fullmatch(inside)
    if not match:
        raise ValueError(f"has `${{{inside}}}`, which is neither ${{key}} nor ${{key, 'default'}} with a plain default")
    return Variable(match[1], match[2])


#: The same, kept: for texts that were found good, and that many requests are judged by.
template = lru_cache(maxsize=_KEPT)(read_template)


def variables(text: str) -> tuple[str, ...]:
    """Return the names of the variables in a text. Raises ValueError for a text that is no template."""
    return tuple(part.name for part in read_template(text) if isinstance(part, Variable))


def is_value(text: str) -> bool:
    """Return whether a text may stand for a variable: it names one thing, and nothing beside it."""
    return bool(text) and text not in {".", ".."} and not _HOSTILE.search(text)


def resolve(text: str, values_of: Callable[[str], tuple[str, ...] | None]) -> Pieces | None:
    """Return the pieces of a text, each variable replaced once; None when a variable has no one good value.

    `values_of` returns what a request has of a condition key, None when it has nothing; then the default counts.
    """
    if "${" not in text:
        return (text,)
    pieces: list[str] = []
    for part in template(text):
        value = _value(part, values_of) if isinstance(part, Variable) else part
        if value is None:
            return None
        pieces.append(value)
    return tuple(pieces)


def _value(variable: Variable, values_of: Callable[[str], tuple[str, ...] | None]) -> str | None:
    values = values_of(variable.name)
    if not values:
        return variable.default
    return values[0] if len(values) == 1 and is_value(values[0]) else None


def matches(pieces: Pieces, text: str) -> bool:
    """Return whether a whole text matches pieces: `*` is any text, `?` any one character.

    Each text between two stars is taken at its first place and never reconsidered: right for this language, and the reason
    why `*a*a*a*a*b` costs no exponential time.
    """
    if len(pieces) == 1:
        segments = _segments(pieces[0])
        return glob(pieces).fullmatch(text) is not None if segments is None else _in_order(segments, text)
    if any(map(_WILD.search, pieces[1::2])):  # an escape, ${*}: values have no wildcards
        return glob(pieces).fullmatch(text) is not None
    pattern = "".join(pieces)
    return glob((pattern,)).fullmatch(text) is not None if "?" in pattern else _in_order(pattern.split("*"), text)


@lru_cache(maxsize=_KEPT)
def _segments(pattern: str) -> tuple[str, ...] | None:
    """Return the texts between the stars, None when a `?` needs more than comparing texts."""
    return None if "?" in pattern else tuple(pattern.split("*"))


def _in_order(segments: Sequence[str], text: str) -> bool:
    head, tail = segments[0], segments[-1]
    if len(segments) == 1:
        return head == text
    at, end = len(head), len(text) - len(tail)
    if at > end or not text.startswith(head) or not text.endswith(tail):
        return False
    for segment in segments[1:-1]:
        at = text.find(segment, at, end)
        if at < 0:
            return False
        at += len(segment)
    return True


@lru_cache(maxsize=2048)
def glob(pieces: Pieces) -> re.Pattern[str]:
    """Compile pieces; use with `fullmatch`. An atomic group for each text between two stars, so that none is reconsidered."""
    parts = [""]
    for number, piece in enumerate(pieces):
        for text in [piece] if number % 2 else re.split(r"(\*+|\?)", piece):
            if number % 2 or text[:1] not in {"*", "?"}:
                parts[-1] += re.escape(text)
            elif text == "?":
                parts[-1] += "."
            else:
                parts.append("")
    if len(parts) == 1:
        return re.compile(parts[0], re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in parts[1:-1] if part)
    return re.compile(f"{parts[0]}{middle}.*{parts[-1]}", re.DOTALL)


def split(pieces: Pieces, separator: str, most: int) -> list[Pieces]:
    """Split pieces at the separators that are written, at `most` of them: those within values are text."""
    found: list[list[str]] = [[""]]
    for number, piece in enumerate(pieces):
        if number % 2:
            found[-1] += [piece, ""]
            continue
        first, *others = piece.split(separator, most - len(found) + 1)
        found[-1][-1] += first
        found += [[other] for other in others]
    return [tuple(part) for part in found]
