"""Claims and tags as the values of condition keys: keys have no case, claims and tags have one. Pure.

What is there and has no one obvious text is unknown, which is not absent (trap 58): else a claim that is an object would pass
for none, and a Deny that asks for it would let go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iam.model import UnknownFact


def values_of(facts: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """Return the values of a claim or tag by its name, or by its only spelling in another case; None when there is none.

    Raises UnknownFact where there are several spellings and none is the name's, and for a value that is no text.
    """
    value = facts.get(name)
    if type(value) is str:
        return (value,)
    if value is None:
        spelled = [other for other in facts if other.lower() == name.lower()]
        if len(spelled) > 1:
            raise UnknownFact(name)
        value = facts[spelled[0]] if spelled else None
    if value is None or value == []:
        return None
    texts = texts_of(value)
    if not texts:
        raise UnknownFact(name)
    return texts


def texts_of(value: Any) -> tuple[str, ...]:
    """Return a claim's values as texts; () for what has no one obvious text."""
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, str | int):
        return (str(value),)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return ()
