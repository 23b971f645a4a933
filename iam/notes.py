"""What is told to an administrator about keys and records when many of them move at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell: about which key or record, and what; never a secret."""

    about: str
    text: str


def told(notes: Iterable[Note]) -> list[dict[str, str]]:
    """Return notes as JSON's words."""
    return [{"about": note.about, "text": note.text} for note in notes]
