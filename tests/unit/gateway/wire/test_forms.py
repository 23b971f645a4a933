"""A text is recognized when it is the known one outside of its holes; a template writes about any words what was written about marks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.forms import Form, Hole, Template, mark, picker

FIXED = st.binary(max_size=6)
WORD = st.text("ab1", min_size=1, max_size=4).map(str.encode)
ALPHABET = rb"[ab1]{1,4}"


def form(pieces, words) -> Form:
    """Return the form of these fixed pieces with words between them."""
    text, holes = pieces[0], []
    for word, piece in zip(words, pieces[1:], strict=True):
        holes.append(Hole(len(text), len(text) + len(word), ALPHABET))
        text += word + piece
    return Form(text, holes)


def joined(pieces, words) -> bytes:
    """Return the text."""
    return pieces[0] + b"".join(word + piece for word, piece in zip(words, pieces[1:], strict=True))


@given(st.lists(FIXED, min_size=1, max_size=4), st.data())
def test_a_text_with_other_words_is_recognized(pieces, data):
    """What is found, put back between the fixed pieces, is the text; each word is of its alphabet."""
    words = [[data.draw(WORD) for _ in pieces[1:]] for _ in range(2)]
    text = joined(pieces, words[1])
    found = form(pieces, words[0]).words(text)
    if found is not None:
        assert joined(pieces, found) == text
        assert all(re.fullmatch(ALPHABET, word) for word in found)
    if all(pieces[1:-1]) and not any(
        re.search(rb"[ab1]", piece) for piece in pieces
    ):  # else words run into one another
        assert found == tuple(words[1])


@given(st.lists(FIXED, min_size=2, max_size=3), st.data())
def test_another_text_is_none_of_it(pieces, data):
    """A text that differs outside of the holes, or in a word that is of another alphabet, is not recognized."""
    words = [data.draw(WORD) for _ in pieces[1:]]
    text = data.draw(st.binary(max_size=20))
    found = form(pieces, words).words(text)
    assert found is None or joined(pieces, found) == text
    assert form(pieces, words).words(joined(pieces, [b"c" for _ in words])) is None


@given(
    st.lists(st.text("a%s{}\\", max_size=4), min_size=1, max_size=4),
    st.lists(st.binary(max_size=5), min_size=5, max_size=5),
    st.data(),
)
def test_a_template_writes_any_words(pieces, words, data):
    """Whatever stands between the marks, and whatever words stand for them, in any order and number."""
    numbers = [data.draw(st.integers(0, 4)) for _ in pieces[1:]]
    marked = pieces[0] + "".join(mark(n) + piece for n, piece in zip(numbers, pieces[1:], strict=True))
    expected = pieces[0].encode() + b"".join(
        words[n] + piece.encode() for n, piece in zip(numbers, pieces[1:], strict=True)
    )
    assert Template(marked.encode()).fill(words) == expected


@pytest.mark.parametrize("places", [[], [1], [0, 2], [2, 2, 0]])
def test_words_are_picked_in_their_order(places):
    """Whatever their number, they are a tuple."""
    words = (b"a", b"b", b"c")
    assert picker(places)(words) == tuple(words[place] for place in places)
