"""What people see of an answer: plain columns, and nothing in them that speaks to the terminal. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.printable import plain

NEVER = "1970-01-01T00:00:00Z"  # MinIO's expiration of what has none


def cell(value: Any) -> str:
    """Return a member of a JSON document in one cell: `-` for nothing."""
    match value:
        case None | "" | []:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return plain(", ".join(str(one) for one in value))
        case dict() if value:
            return plain(", ".join(f"{name}={one}" for name, one in value.items()))
        case dict():
            return "-"
        case _:
            return "never" if value == NEVER else plain(str(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows under their columns' names, aligned; the last column as long as it is."""
    lines = [list(columns), *([cell(value) for value in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths) for line in lines)


def members(pairs: Mapping[str, Any]) -> str:
    """Return one thing's members, each on a line."""
    width = max((len(name) for name in pairs), default=0) + 1
    return "\n".join(f"{f'{name}:':<{width}} {cell(value)}" for name, value in pairs.items())


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    *first, last = cells
    padded = [text + " " * (width - _width(text)) for text, width in zip(first, widths, strict=False)]
    return "  ".join([*padded, last])


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes (Unicode Standard Annex 11)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
