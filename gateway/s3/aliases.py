r"""What else a store may read in a key: stores that keep objects in folders take keys for paths (docs/decisions/0016).

SeaweedFS reads `\` as `/`, takes `//` for `/` and drops a slash in front; others clean dot segments too. Amazon and Ceph do
none of that: `a//b` is a key of its own there. So such a key is not refused, it has several *readings*, and who uses it must be
allowed all of them. SeaweedFS also shows under names of its own what is no object of S3: versions, and parts of uploads. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_DOTS = re.compile(r"(?:^|/)(?:\.\.?(?:/|\Z)|\.uploads(?:/|\Z))")
_RUN = re.compile(r"//+")
_VERSION = re.compile(r"(.+)\.versions/v_([^/]+)", re.DOTALL)


def is_odd(key: str) -> bool:
    """Return whether a store might read a key as another one; nearly none is."""
    return key.endswith("/") or ".versions/v_" in key or is_odd_prefix(key)


def is_odd_prefix(prefix: str) -> bool:
    """Return whether a store might read a listing's prefix as another one. Most end with a slash: that is nothing odd."""
    if "//" in prefix or "\\" in prefix or prefix.startswith("/"):
        return True
    return ("/." in prefix or prefix.startswith(".")) and _DOTS.search(prefix) is not None


def readings(key: str) -> frozenset[str] | None:
    """Return everything that a key may be read as, itself too; None when one of it leads out of the bucket."""
    found, out = _folded(key)
    return None if out else found


def readings_of_prefix(prefix: str) -> frozenset[str]:
    """Return everything that a listing's prefix may be read as in its bucket, itself too: it selects keys, and leads nowhere."""
    return _folded(prefix)[0]


@lru_cache(maxsize=64)  # a batch asks about each of its keys two or three times
def _folded(text: str) -> tuple[frozenset[str], bool]:
    """Return a text and what can be made of it, and whether some of that leads out."""
    found, left, out = {text}, [text], False
    while left:
        one = left.pop()
        resolved = _resolved(one)
        if resolved is None:
            out, resolved = True, one
        for other in (one.replace("\\", "/"), _RUN.sub("/", one).removeprefix("/"), resolved):
            if other not in found:
                found.add(other)
                left.append(other)
    return frozenset(found), out


def leads_out(key: str) -> bool:
    """Return whether a key may be read as something outside of its bucket, or as the bucket itself: `DELETE /b//` removes it."""
    if not is_odd(key):
        return False
    found = readings(key)
    return found is None or "" in found


def version_of(key: str) -> tuple[str, str] | None:
    """Return the key and the version id that a key is SeaweedFS's own name of, None for any other."""
    found = _VERSION.fullmatch(key)
    return (found[1], found[2]) if found else None


def of_uploads(texts: Iterable[str]) -> bool:
    """Return whether one of these is a place where SeaweedFS keeps the parts of unfinished uploads."""
    return any(text == ".uploads" or text.startswith(".uploads/") for text in texts)


def has_dots(key: str) -> bool:
    """Return whether a segment of a key is `.` or `..`, of whichever slashes."""
    return not {".", ".."}.isdisjoint(key.replace("\\", "/").split("/"))


def _resolved(text: str) -> str | None:
    """Return a text without its dot segments, None when they lead out of it."""
    if "." not in text:
        return text
    kept: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            if not kept:
                return None
            kept.pop()
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)
