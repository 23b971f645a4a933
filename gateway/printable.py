"""Texts that somebody else chose, made safe for a terminal and for a line. Pure."""

from __future__ import annotations


def plain(text: str) -> str:
    """Return a text in which what is no printable character, or changes the order of others, is written as its escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def plain_lines(text: str) -> str:
    """Return a text of several lines, each of them plain."""
    return "\n".join(plain(line) for line in text.split("\n"))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
