"""The parameters of a story told again: a value is a word only where it can be read, and signed, in one way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.request import MAX_TARGET
from gateway.signing.sigv4 import canonical_query, parse_presigned, uri_encode
from gateway.turns.parameters import Parameters, date_of, holes, in_order, is_value
from tests.unit.gateway.signers import presigned, read

NAMES = ["prefix", "delimiter", "marker", "start-after", "max-keys", "list-type", "uploadId", "x-id"]
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def found(raw: str):
    """Return the holes of a query as it is parsed, as texts by name."""
    known = holes(raw, read("GET", f"/ann?{raw}").query, 0)
    return known if known is None else {name: raw[hole.start : hole.end] for name, hole in known}


@pytest.mark.parametrize(("raw", "expected"), [
    ("", {}), ("prefix=a", {"?prefix": "a"}), ("list-type=2&prefix=a%2Fb&max-keys=7", {"?prefix": "a%2Fb", "?max-keys": "7"}),
    ("prefix=&marker=", {"?prefix": "", "?marker": ""}), ("prefix", {}), ("prefix&marker=b", {"?marker": "b"}),
    ("prefix=a%2fb", {}), ("prefix=a/b", {}), ("prefix=%61", {}), ("prefix=a+b", {}), ("prefix=a=b", {}), ("prefix=%7E", {}), ("prefix=~", {"?prefix": "~"}),
    ("max-keys=x", {}), ("max-keys=%37", {}), ("uploadId=", {}), ("uploadId=a.b-c_d~", {"?uploadId": "a.b-c_d~"}), ("versionId=a&x-id=b&acl", {}),
    ("X-Amz-Signature=" + "a" * 64, {":signature": "a" * 64}), ("X-Amz-Signature=" + "A" * 64, {}), ("X-Amz-Date=20261130T000000Z", {"?X-Amz-Date": "20261130T000000Z"}),
    ("&prefix=a", None), ("prefix=a&", None), ("prefix=a&&marker=b", None), ("%70refix=a", None), ("pre+fix=a", None),
])  # fmt: skip
def test_a_value_is_a_word_where_it_is_written_as_it_is_signed(raw, expected):
    """Only values of the closed list, canonical, behind an `=`; none at all where the query is read otherwise than it stands."""
    assert found(raw) == expected


@given(
    st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=6),
    st.dictionaries(st.sampled_from(NAMES), TEXTS),
    st.randoms(),
)
def test_words_are_read_as_the_parser_reads_them(told, others, random):
    """With other words in its holes a query is what the parser makes of the same text, in its order and in a canonical one's."""
    names = random.sample(list(told), len(told))
    raw = "&".join(f"{name}={uri_encode(told[name], slash=True)}" for name in names)
    request = read("GET", f"/ann?{raw}")
    known = holes(raw, request.query, 0)
    at = {name: place for place, (name, _) in enumerate(known)}
    words = [uri_encode(others.get(name[1:], ""), slash=True).encode() for name, _ in known]
    text = raw.encode()
    for (_, hole), word in reversed(list(zip(known, words, strict=True))):
        text = text[: hole.start] + word + text[hole.end :]
    parameters, other = Parameters(request.query, at), read("GET", f"/ann?{text.decode()}")
    assert parameters.fit(b"", words)
    assert parameters.of(words) == other.query
    assert in_order(text.decode()) == canonical_query(other.query)


@pytest.mark.parametrize("word", [b"%61", b"%2f", b"%FF", b"%E2%82", b"%zz", b"%", b"a%2", b"%2F%7E"])
def test_a_word_that_can_be_read_in_two_ways_does_not_fit(word):
    """A needless, lower-case or broken escape, and what is not UTF-8, goes the whole way."""
    parameters = Parameters((("list-type", "2"), ("prefix", "a")), {"?prefix": 1})
    assert parameters.fit(b"", [b"%61", b"a%2Fb"])  # the other word is not the query's
    assert not parameters.fit(b"", [b"", word])


def test_a_head_that_is_longer_than_a_target_may_be_does_not_fit():
    """The parser refuses the target; who asks without parameters is bound by his key."""
    assert not Parameters((("prefix", "a"),), {"?prefix": 0}).fit(b"x" * (MAX_TARGET + 1), [b"a"])
    assert Parameters((), {}).fit(b"x" * (MAX_TARGET + 1), [])


def test_marks_stand_where_words_do():
    """Templates are written about them; a value that is its own stays."""
    parameters = Parameters(
        (("list-type", "2"), ("prefix", "a"), ("X-Amz-Signature", "b")), {"?prefix": 0, ":signature": 1}
    )
    marks = {"?prefix": "one", ":signature": "two", "range": "three"}
    assert parameters.marked(marks) == (("list-type", "2"), ("prefix", "one"), ("X-Amz-Signature", "two"))
    assert [name for name in marks if is_value(name)] == ["?prefix"]


def test_the_time_of_a_url_is_in_it():
    """A header signature's is in x-amz-date."""
    claim = parse_presigned(presigned("GET", "/ann/k")[0].query)
    assert date_of(claim) == "?X-Amz-Date"
    assert date_of(claim._replace(presigned=False)) == "x-amz-date"
