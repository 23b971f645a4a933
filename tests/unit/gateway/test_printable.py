"""Texts of others."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.printable import plain, plain_lines


@given(st.text())
def test_everything_becomes_printable(text):
    """Whatever a text has, it is printable afterwards; and what was so stays as it was."""
    assert plain(text).isprintable()
    assert plain(plain(text)) == plain(text)
    assert plain_lines(text).count("\n") == text.count("\n")


def test_escapes_are_shown():
    """What would speak to the terminal is shown as Python writes it."""
    assert plain("a\x1b[31mb\n\u202e") == "a\\x1b[31mb\\n\\u202e"
