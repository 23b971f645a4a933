"""Search filters (RFC 4515) with places for what a caller says: no text of his can change a filter's shape (trap 43). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sansldap import LDAPFilter

_UNSAFE = re.compile(r"[\x00-\x1f()*\\\x7f]")
_PLACE = re.compile("%([a-z])")
#: What no attribute, rule or operator may hold, but every value.
_PROBE = "*)(x"


def escape(value: str) -> str:
    """Return a text as a filter writes it in a value (RFC 4515 section 3)."""
    return _UNSAFE.sub(lambda match: f"\\{ord(match[0]):02x}", value)


def fill(template: str, values: Mapping[str, str]) -> LDAPFilter:
    """Return the filter with `%<letter>` replaced by the value of that letter, in one pass: what a value holds is no place.

    Raises ValueError when the template is no filter.
    """
    text = _PLACE.sub(lambda match: escape(values[match[1]]) if match[1] in values else match[0], template)
    return LDAPFilter.from_string(text)


def problem_of(template: str, letters: str) -> str:
    """Return why a template cannot be used, "" when it can: a filter that names the caller, in its values only."""
    if not any(letter in letters for letter in _PLACE.findall(template)):
        return f"does not name the user by {' or '.join(f'%{letter}' for letter in letters)}"
    for value in ("x", _PROBE):
        try:
            fill(template, dict.fromkeys(letters, value))
        except ValueError:
            return "is no LDAP filter" if value == "x" else "names the user outside of a value"
    return ""
