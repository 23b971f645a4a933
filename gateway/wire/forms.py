"""Texts with holes: which words a later text has where a known one has its own, and a text with other words in it.

    Form       a known text and where its words stand; `words` of a text that is the same outside of them, else None
    Template   what a function wrote about marked words; `fill` writes the same about others

Everything here is bytes, compared and copied by C code: a head of two kilobytes is recognized in two microseconds. (decision 0009)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

_MARK = re.compile(rb"\x00([0-9]+)\x00")


class Hole(NamedTuple):
    """A place of a text, from `start` to `end` (bytes), that may hold any word of `alphabet`, a regular expression."""

    start: int
    end: int
    alphabet: bytes


class Form:
    """A text with holes, in their order."""

    __slots__ = ("_match", "fixed")

    def __init__(self, text: bytes, holes: Sequence[Hole]) -> None:
        starts = [0, *(hole.end for hole in holes)]
        ends = [*(hole.start for hole in holes), len(text)]
        self.fixed = tuple(text[start:end] for start, end in zip(starts, ends, strict=True))
        # What stands between the holes is skipped by its length, then compared: the pattern is the same for many clients.
        lengths = tuple(map(len, self.fixed))
        stops = tuple(piece[:1] for piece in self.fixed[1:])
        self._match = _pattern(lengths, tuple(hole.alphabet for hole in holes), stops).fullmatch

    def words(self, text: bytes) -> tuple[bytes, ...] | None:
        """Return the words in a text's holes, None when the text is another one."""
        match = self._match(text)
        if match is None:
            return None
        pieces: tuple[bytes, ...] = match.groups()
        return pieces[1::2] if pieces[::2] == self.fixed else None


@lru_cache(maxsize=512)
def _pattern(lengths: tuple[int, ...], alphabets: tuple[bytes, ...], stops: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Return the pattern of such a text. It takes time of the text's length only.

    Skips alone would fit anywhere, and a text that is another one be tried at every place of every hole, each with each. So a
    hole gives nothing back once it is filled (`(?>`), and what follows it begins with its own first byte.
    """
    text = b"(.{%d})" % lengths[0]
    for length, alphabet, stop in zip(lengths[1:], alphabets, stops, strict=True):
        text += b"((?>%b))(%b.{%d})" % (alphabet, re.escape(stop), length - len(stop))
    return re.compile(text, re.DOTALL)


def picker(places: Sequence[int]) -> Callable[[Sequence[bytes]], tuple[bytes, ...]]:
    """Return a function that returns the words at these places, in their order."""
    if len(places) == 1:  # where itemgetter returns no tuple
        return lambda words: (words[places[0]],)
    return itemgetter(*places) if places else lambda _: ()


def mark(number: int) -> str:
    """Return what stands for a word while a template is being written."""
    return f"\x00{number}\x00"


class Template:
    """A text about marked words."""

    __slots__ = ("_picks", "_text")

    def __init__(self, marked: bytes) -> None:
        numbers = [int(number) for number in _MARK.findall(marked)]
        self._text = _MARK.sub(b"%b", marked.replace(b"%", b"%%"))
        self._picks = picker(numbers)

    def fill(self, words: Sequence[bytes]) -> bytes:
        """Return the text about these words."""
        text: bytes = self._text % self._picks(words)
        return text
