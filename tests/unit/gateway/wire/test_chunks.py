"""The chunked coding: any split gives the same bytes; what two servers could read differently is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.chunks import MAX_LINE, MAX_TRAILERS, BadChunk, ChunkedReader, read_whole

EXTENSIONS = st.sampled_from([b"", b";a", b" ;a=b", b';a="b c"', b";chunk-signature=00"])
TRAILERS = st.lists(st.sampled_from([b"A: b\r\n", b"X-Checksum: c\r\n"]), max_size=3).map(b"".join)


@st.composite
def bodies(draw, extensions=EXTENSIONS) -> tuple[bytes, bytes]:
    """Return a payload and one way to chunk it."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    coded = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), draw(extensions), piece) for piece in pieces)
    return b"".join(pieces), coded + b"0" + draw(extensions) + b"\r\n" + draw(TRAILERS) + b"\r\n"


def read(data: bytes, cuts: list[int]) -> tuple[bytes, bytes, bool]:
    """Return payload, what follows, and whether it is whole."""
    reader, payload, rest = ChunkedReader(), b"", b""
    at = 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        if reader.done:
            rest += data[at:cut]
        else:
            payload += b"".join(reader.feed(data[at:cut]))
            rest = reader.rest
        at = cut
    return payload, rest, reader.done


@given(bodies(), st.binary(max_size=20), st.lists(st.integers(0, 300), max_size=8))
def test_any_split_gives_the_same_bytes(body, behind, cuts):
    """Payload and what follows the body do not depend on how the bytes arrive."""
    payload, coded = body
    assert read(coded + behind, cuts) == (payload, behind, True)
    assert read(coded + behind, list(range(len(coded) + len(behind)))) == (payload, behind, True)


@given(bodies(), st.integers(0, 400))
def test_a_body_is_done_with_its_last_byte_only(body, at):
    """No beginning of a body is a body."""
    _, coded = body
    assert not read(coded[: min(at, len(coded) - 1)], [])[2]


@given(bodies(st.sampled_from([b"", b";a=b"])))
def test_h11_reads_the_same(body):
    """Another parser finds the same payload."""
    payload, coded = body
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + coded)
    found = b""
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        found += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert found == payload


@given(bodies(), st.binary(max_size=20), st.integers(0, 400))
def test_a_body_that_is_read_at_once_is_what_the_reader_reads(body, behind, at):
    """One without extensions and trailers is taken whole; of any other, or of a part, nothing is said."""
    payload, coded = body
    found = read_whole(coded + behind)
    assert found in {None, (payload, behind)}
    if coded.endswith(b"0\r\n\r\n") and b";" not in coded:
        assert found is not None
    assert read_whole(coded[: min(at, len(coded) - 1)]) is None


GARBLED = st.lists(
    st.sampled_from([b"0", b"1", b"2", b"f", b"\r\n", b"\n", b"\r", b"a", b"+", b" ", b";", b"0x"]), max_size=16
).map(b"".join)


@given(GARBLED)
def test_what_is_read_at_once_no_reader_reads_otherwise(data):
    """Where the short way gives an answer, the strict one gives the same."""
    found = read_whole(data)
    assert found is None or read(data, []) == (*found, True)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_garbage_is_read_alike_however_it_arrives(data, cuts):
    """Bytes that are refused at once are refused in pieces, and no byte makes the reader fall over."""

    def outcome(cuts: list[int]) -> object:
        try:
            return read(data, cuts)
        except BadChunk:
            return "refused"

    assert outcome([]) == outcome(cuts) == outcome(list(range(60)))


@pytest.mark.parametrize(
    "data",
    [
        b"3\nabc\n0\n\n", b"3\r\nabc\n0\r\n\r\n", b"+3\r\nabc\r\n", b"-3\r\nabc\r\n", b" 3\r\nabc\r\n", b"3 \r\nabc\r\n",
        b"0x3\r\nabc\r\n", b"\r\n", b"3;a\x00\r\nabc\r\n", b"3;a\rb\r\nabc\r\n", b"3\r\nabcd\r\n", b"3_0\r\n", b"1" * 16 + b"\r\n",
        b"3,3\r\nabc\r\n", b"g\r\n", "٣\r\nabc\r\n".encode(), b"0\r\nA: b\nC: d\r\n\r\n", b"3\r\nabc\r0\r\n\r\n",
        b"0\r\nXGET /a HTTP/1.1\r\n\r\n", b"0\r\n: b\r\n\r\n", b"0\r\nA : b\r\n\r\n", b"0\r\n A: b\r\n\r\n", b"0\r\nA: \x00\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_refused(data):
    """Bare LF and CR, signs, spaces, prefixes, NUL, sizes that lie or overflow: all refused, whole and byte by byte."""
    for cuts in ([], list(range(len(data)))):
        with pytest.raises(BadChunk):
            read(data, cuts)


@pytest.mark.parametrize("at", [0, 1, 100, MAX_LINE, MAX_LINE + 1])
def test_extensions_are_bounded_alike_however_they_arrive(at):
    """A size line of exactly the limit is read, one byte more is refused."""
    assert read(b"0;" + b"a" * (MAX_LINE - 2) + b"\r\n\r\n", [at])[2]
    with pytest.raises(BadChunk):
        read(b"0;" + b"a" * (MAX_LINE - 1) + b"\r\n\r\n", [at])


def test_trailers_are_bounded_together():
    """Trailer fields that do not end are refused, be each as short as it likes."""
    reader = ChunkedReader()
    reader.feed(b"0\r\n")
    for _ in range(MAX_TRAILERS // 4):
        reader.feed(b"A: b\r\n")
    with pytest.raises(BadChunk):
        reader.feed(b"A: b\r\n")
    with pytest.raises(BadChunk):
        read(b"0\r\nA: " + b"b" * MAX_TRAILERS + b"\r\n\r\n", [])
