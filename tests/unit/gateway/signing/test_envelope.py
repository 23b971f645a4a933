"""envelope: a payload leaves without its framing, and never whole before everything about it is verified."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadDigest, S3Error
from gateway.signing.checksums import BodyCheck, new
from gateway.signing.chunked import UnsignedRelay, decoder
from gateway.signing.envelope import Framed, Payload
from tests.unit.gateway.signing.test_chunked import client_chain, encode_signed, encode_unsigned, pieces_of

CRC = "x-amz-checksum-crc32"
BODIES = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4)


def checksum(payload: bytes) -> str:
    """Return a CRC-32 as its trailer carries it."""
    return base64.b64encode(zlib.crc32(payload).to_bytes(4, "big")).decode()


def body(chunks: list[bytes], *, signed: bool, trailer: str | None = None) -> bytes:
    """Return an aws-chunked body with its checksum (or another one) as a trailer."""
    trailers = ((CRC, checksum(b"".join(chunks)) if trailer is None else trailer),)
    return encode_signed(chunks, client_chain(), trailers) if signed else encode_unsigned(chunks, trailers)


def fresh(length: int, *, signed: bool):
    """Return a decoder that verifies the trailer."""
    return decoder(length, (CRC,), client_chain() if signed else None, BodyCheck({}, (CRC,)))


def let_out(relay, data: bytes, step: int) -> tuple[bytes, bool]:
    """Return what left, and whether the body was accepted."""
    out = b""
    try:
        for piece in pieces_of(data, step):
            out += relay.feed(piece)
        relay.finish()
    except S3Error:
        return out, False
    return out, True


@given(BODIES, st.booleans(), st.integers(1, 400))
def test_a_good_body_leaves_as_its_payload(chunks: list[bytes], signed: bool, step: int) -> None:
    """However it is cut, exactly the payload leaves."""
    payload = b"".join(chunks)
    assert let_out(fresh(len(payload), signed=signed), body(chunks, signed=signed), step) == (payload, True)


@given(BODIES, st.booleans(), st.integers(1, 400), st.data())
def test_trap_11_a_cut_body_never_leaves_whole(
    chunks: list[bytes], signed: bool, step: int, data: st.DataObject
) -> None:
    """A body cut at any byte leaves shorter than its announced length."""
    whole = body(chunks, signed=signed)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    out, accepted = let_out(fresh(len(b"".join(chunks)), signed=signed), cut, step)
    assert not accepted
    assert len(out) < len(b"".join(chunks))


@given(BODIES, st.booleans(), st.integers(1, 400), st.data())
def test_trap_10_a_changed_byte_never_leaves_whole(
    chunks: list[bytes], signed: bool, step: int, data: st.DataObject
) -> None:
    """Whichever byte is changed: the payload is still the same one, or it does not leave whole."""
    whole = bytearray(body(chunks, signed=signed))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    payload = b"".join(chunks)
    out, accepted = let_out(fresh(len(payload), signed=signed), bytes(whole), step)
    assert (accepted and out == payload) or len(out) < len(payload)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("trailer", [checksum(b"other"), "AAAA", "x"])
def test_a_wrong_trailer_never_leaves_a_whole_body(signed: bool, trailer: str) -> None:
    """A trailer that is another payload's, or no checksum at all, is refused with the last piece still here."""
    out, accepted = let_out(fresh(20, signed=signed), body([b"x" * 16, b"y" * 4], signed=signed, trailer=trailer), 1)
    assert not accepted
    assert len(out) < 20


def test_a_piece_within_one_chunk_is_not_copied() -> None:
    """Most pieces of a large unsigned body lie within one chunk; a piece that only looks as long as another is joined."""
    relay, inner = UnsignedRelay(9, ()), b"x" * 5
    assert relay.feed(b"9\r\n" + b"y" * 2) == b"9\r\nyy"
    assert relay.feed(inner) is inner
    late = decoder(9, (), None)
    assert (late.feed(b"9\r\n"), late.feed(b"abc"), late.feed(b"def")) == (b"", b"", b"abc")


def test_an_envelope_says_what_it_lets_go() -> None:
    """Framed gives everything back; Payload keeps its last piece until the end, and for good when the end is wrong."""
    framed = Framed()
    framed.frame(b"2\r\n")
    framed.payload(b"ab")
    assert framed.take() == b"2\r\nab"
    framed.end(b"0\r\n\r\n", {})
    assert (framed.take(), framed.take()) == (b"0\r\n\r\n", b"")
    payload = Payload(BodyCheck({}, (CRC,)))
    payload.frame(b"2\r\n")
    payload.payload(b"a")
    payload.payload(b"b")
    assert payload.take() == b"a"
    with pytest.raises(BadDigest):
        payload.end(b"", {CRC: new("crc32").base64()})
    assert payload.take() == b""
