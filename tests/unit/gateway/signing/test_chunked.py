"""chunked: a body crosses unchanged in length, or is refused before its terminator leaves."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EntityTooLarge, IncompleteBody, InvalidRequest, S3Error, SignatureDoesNotMatch
from gateway.s3.payload import read_all
from gateway.signing.chunk_chain import ChunkChain
from gateway.signing.chunked import MAX_LINE, MAX_SIGNED_CHUNK, SignedRelay, UnsignedRelay
from gateway.signing.sigv4 import Scope, signing_key

SCOPE = Scope("20130524", "us-east-1", "s3")
TIMESTAMP = "20130524T000000Z"
CLIENT_KEY = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", SCOPE)
BACKEND_KEY = signing_key("another secret", SCOPE)
CRC = "x-amz-checksum-crc32c"
PAYLOAD = b"0123456789abcdef\r\n0\r\n\r\n" * 3
TRAILERS = ((CRC, "wdBDMA=="), ("x-amz-meta-late", "a b"))

Relay = UnsignedRelay | SignedRelay
Trailers = tuple[tuple[str, str], ...]


def client_chain() -> ChunkChain:
    """Return the chain as the client signs it."""
    return ChunkChain(CLIENT_KEY, TIMESTAMP, SCOPE, "1" * 64)


def backend_chain() -> ChunkChain:
    """Return the chain as the backend will verify it."""
    return ChunkChain(BACKEND_KEY, TIMESTAMP, SCOPE, "2" * 64)


def pieces_of(payload: bytes, size: int) -> list[bytes]:
    """Cut a payload into chunks of a size."""
    return [payload[at : at + size] for at in range(0, len(payload), size)]


def encode_unsigned(chunks: Iterable[bytes], trailers: Trailers = (), *, newline: bytes = b"\r\n") -> bytes:
    """Write an unsigned aws-chunked body; `newline` ends each trailer."""
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return framed + b"0\r\n" + b"".join(f"{n}:{v}".encode() + newline for n, v in trailers) + b"\r\n"


def encode_signed(
    chunks: Iterable[bytes], chain: ChunkChain, trailers: Trailers = (), *, newline: bytes = b"\r\n", size: str = "{:x}"
) -> bytes:
    """Write a signed aws-chunked body; `size` formats the chunk sizes."""
    out = b""
    for chunk in [*chunks, b""]:
        signature = chain.chunk(sha256(chunk).hexdigest())
        out += (
            f"{size.format(len(chunk))};chunk-signature={signature}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
        )
    if trailers:
        out += b"".join(f"{n}:{v}".encode() + newline for n, v in trailers)
        signed = sha256("".join(f"{n.lower()}:{v}\n" for n, v in trailers).encode()).hexdigest()
        out += f"x-amz-trailer-signature:{chain.trailer(signed)}\r\n".encode()
    return out + b"\r\n"


def names(trailers: Trailers) -> tuple[str, ...]:
    """Return the names that x-amz-trailer announces."""
    return tuple(name for name, _ in trailers)


def signed_relay(length: int = len(PAYLOAD), trailers: Trailers = ()) -> SignedRelay:
    """Return a relay from the client's chain to the backend's."""
    return SignedRelay(length, client_chain(), backend_chain(), names(trailers))


def unsigned_relay(length: int = len(PAYLOAD), trailers: Trailers = ()) -> UnsignedRelay:
    """Return a relay of unsigned chunks."""
    return UnsignedRelay(length, names(trailers))


def run(relay: Relay, body: bytes, step: int = 0) -> bytes:
    """Feed a body whole (0) or in pieces and finish it; return what the backend gets."""
    sent = b"".join([relay.feed(piece) for piece in pieces_of(body, step or len(body) or 1)])
    relay.finish()
    assert relay.done
    return sent


def without_end(framed: bytes) -> bytes:
    """Return a framed body up to its zero chunk."""
    at = 0
    while size := int(framed[at:].partition(b"\r\n")[0].partition(b";")[0], 16):
        at = framed.index(b"\r\n", at) + 2 + size + 2
    return framed[:at]


def sent_before_refusal(relay: Relay, body: bytes, step: int, error: type[S3Error] = S3Error) -> bytes:
    """Feed a bad body; return what had left when it was refused. It must be refused."""
    sent = b""
    with pytest.raises(error):  # noqa: PT012 - the loop is the statement
        for piece in pieces_of(body, step):
            sent += relay.feed(piece)
        relay.finish()
    assert not relay.done
    with pytest.raises(IncompleteBody):
        relay.finish()
    return sent


# name -> (a fresh relay, what the client sends, what the backend must get)
BODIES: dict[str, tuple[Callable[[], Relay], bytes, bytes]] = {
    "unsigned": (
        unsigned_relay,
        encode_unsigned(pieces_of(PAYLOAD, 7)),
        encode_unsigned(pieces_of(PAYLOAD, 7)),
    ),
    "unsigned, trailers": (
        lambda: unsigned_relay(trailers=TRAILERS),
        encode_unsigned([PAYLOAD], TRAILERS),
        encode_unsigned([PAYLOAD], TRAILERS),
    ),
    "unsigned, minio-go's trailers": (
        lambda: unsigned_relay(trailers=TRAILERS[:1]),
        encode_unsigned([PAYLOAD], TRAILERS[:1], newline=b"\n\r\n"),
        encode_unsigned([PAYLOAD], TRAILERS[:1], newline=b"\n\r\n"),
    ),
    "unsigned, empty": (lambda: unsigned_relay(0), encode_unsigned([]), encode_unsigned([])),
    "signed": (
        signed_relay,
        encode_signed(pieces_of(PAYLOAD, 7), client_chain()),
        encode_signed(pieces_of(PAYLOAD, 7), backend_chain()),
    ),
    "signed, odd sizes": (
        signed_relay,
        encode_signed(pieces_of(PAYLOAD, 30), client_chain(), size="{:016X}"),
        encode_signed(pieces_of(PAYLOAD, 30), backend_chain(), size="{:016X}"),
    ),
    "signed, trailers": (
        lambda: signed_relay(trailers=TRAILERS),
        encode_signed(pieces_of(PAYLOAD, 40), client_chain(), TRAILERS),
        encode_signed(pieces_of(PAYLOAD, 40), backend_chain(), TRAILERS),
    ),
    "signed, minio-go's trailers": (
        lambda: signed_relay(trailers=TRAILERS[:1]),
        encode_signed([PAYLOAD], client_chain(), TRAILERS[:1], newline=b"\n\r\n"),
        encode_signed([PAYLOAD], backend_chain(), TRAILERS[:1], newline=b"\n\r\n"),
    ),
    "signed, empty": (
        lambda: signed_relay(0),
        encode_signed([], client_chain()),
        encode_signed([], backend_chain()),
    ),
}
bodies = pytest.mark.parametrize("name", BODIES)


# --- what crosses ---


@bodies
@pytest.mark.parametrize("step", [0, 1, 2, 3, 4096])
def test_a_body_crosses_however_it_is_cut(name: str, step: int) -> None:
    """Whole, byte by byte or in pieces: the backend gets the same bytes, as many as the client sent."""
    relay, body, expected = BODIES[name]
    sent = run(relay(), body, step)
    assert sent == expected
    assert len(sent) == len(body)


@bodies
def test_the_backend_can_verify_what_it_gets(name: str) -> None:
    """What a relay sends is itself a body that the backend's chain accepts, with the same payload."""
    relay, body, _ = BODIES[name]
    first = relay()
    sent = run(first, body)
    chain = backend_chain() if isinstance(first, SignedRelay) else None
    payload, trailers = read_all(sent, 0 if "empty" in name else len(PAYLOAD), tuple(first.trailers), chain)
    assert payload == (b"" if "empty" in name else PAYLOAD)
    assert trailers == first.trailers


@bodies
@pytest.mark.parametrize("step", [1, 4096])
def test_trap_11_a_body_cut_anywhere_is_incomplete(name: str, step: int) -> None:
    """Cut after any byte: IncompleteBody, and the backend has less than its announced length, no terminator."""
    relay, body, expected = BODIES[name]
    for cut in range(len(body)):
        cut_relay = relay()
        sent = b"".join([cut_relay.feed(piece) for piece in pieces_of(body[:cut], step)])
        with pytest.raises(IncompleteBody):
            cut_relay.finish()
        assert without_end(expected).startswith(sent)


@bodies
@pytest.mark.parametrize("extra", [b"\r\n", b"0", b"0\r\n\r\n", b"\x00", b"GET / HTTP/1.1\r\n"])
def test_nothing_may_follow_the_end(name: str, extra: bytes) -> None:
    """Bytes after the terminator are refused: with it (then it does not leave either), or later."""
    relay, body, expected = BODIES[name]
    together = relay()
    with pytest.raises(InvalidRequest):
        together.feed(body + extra)
    assert not together.done
    later = relay()
    assert later.feed(body) == expected
    with pytest.raises(InvalidRequest):
        later.feed(extra)


@bodies
def test_a_relay_that_refused_stays_refused(name: str) -> None:
    """After an error even a good body is not taken."""
    relay, body, _ = BODIES[name]
    refusing = relay()
    with pytest.raises(InvalidRequest):
        refusing.feed(b"x\r\n")
    with pytest.raises(InvalidRequest):
        refusing.feed(body)
    with pytest.raises(IncompleteBody):
        refusing.finish()


# --- length ---


@pytest.mark.parametrize("step", [1, 4096])
@pytest.mark.parametrize("lie", [-len(PAYLOAD), -1, 1, 10**12])
@pytest.mark.parametrize("signed", [False, True])
def test_trap_13_a_decoded_length_that_lies_is_refused(lie: int, step: int, signed: bool) -> None:
    """Announced longer or shorter than the chunks: IncompleteBody, and the terminator never leaves."""
    chunks = pieces_of(PAYLOAD, 7)
    relay = signed_relay(len(PAYLOAD) + lie) if signed else unsigned_relay(len(PAYLOAD) + lie)
    body = encode_signed(chunks, client_chain()) if signed else encode_unsigned(chunks)
    expected = encode_signed(chunks, backend_chain()) if signed else body
    sent = sent_before_refusal(relay, body, step, IncompleteBody)
    assert without_end(expected).startswith(sent)


@pytest.mark.parametrize("head", [b"ffffffffffffffff\r\n", b"8\r\n"])
def test_trap_13_too_much_is_refused_at_the_chunks_head(head: bytes) -> None:
    """A chunk that would exceed the announced length is refused before a byte of it."""
    with pytest.raises(IncompleteBody):
        unsigned_relay(7).feed(head)


def test_a_signed_chunk_is_bounded() -> None:
    """A chunk that would have to be held beyond the limit is refused at its head; at the limit it crosses."""
    head = f"{MAX_SIGNED_CHUNK + 1:x};chunk-signature={'0' * 64}\r\n".encode()
    with pytest.raises(EntityTooLarge):
        signed_relay(MAX_SIGNED_CHUNK + 1).feed(head)
    chunk = bytes(MAX_SIGNED_CHUNK)
    sent = run(signed_relay(MAX_SIGNED_CHUNK), encode_signed([chunk], client_chain()), 2**20)
    assert sent == encode_signed([chunk], backend_chain())


# --- framing ---


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5;\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0\r\n\r\n",
        b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0\r\n\r\n",
        b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhellooo0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\r\n\r\n",
        b"5\r\nhello\r\n0;x\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\n\r\n",
        b"5\r\nhello\r\n0\r\nx:y\r\n\r\n",
        b"5\r\nhello\r\n" + b"0" * (MAX_LINE + 2),
    ],
)
@pytest.mark.parametrize("step", [1, 4096])
def test_framing_is_exact(body: bytes, step: int) -> None:
    """Other line ends, extensions, signs, spaces, blank or overlong lines are refused, and no terminator leaves."""
    sent = sent_before_refusal(UnsignedRelay(5, ()), body, step)
    assert b"5\r\nhello\r\n".startswith(sent)


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.replace(b"chunk-signature", b"Chunk-Signature"),
        lambda head: head.replace(b";", b"; "),
        lambda head: head.replace(b"=", b"= "),
        lambda head: head + b";x=y",
        lambda head: head[:-1],
        lambda head: head + b"0",
        lambda head: head.partition(b";")[0],
        lambda head: head.partition(b"=")[0] + b"=" + b"A" * 64,
    ],
)
def test_the_head_of_a_signed_chunk_is_exact(change: Callable[[bytes], bytes]) -> None:
    """The one extension is chunk-signature with 64 lower-case digits, spelled so."""
    body = encode_signed([PAYLOAD], client_chain())
    head, _, rest = body.partition(b"\r\n")
    with pytest.raises(InvalidRequest):
        signed_relay().feed(change(head) + b"\r\n" + rest)


@pytest.mark.parametrize("fill", [0, 1])
def test_a_line_at_its_limit_is_judged_the_same_in_one_piece_and_in_many(fill: int) -> None:
    """A trailer line of MAX_LINE bytes is taken, one byte more is not, however it arrives."""
    trailers = ((CRC, "v" * (MAX_LINE - len(CRC) - 1 + fill)),)
    body = encode_unsigned([PAYLOAD], trailers)
    for step in (0, 1, MAX_LINE):
        if fill:
            sent_before_refusal(unsigned_relay(trailers=trailers), body, step or len(body))
        else:
            assert run(unsigned_relay(trailers=trailers), body, step) == body


# --- trailers ---


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("announced", "sent"),
    [
        ((), ((CRC, "a"),)),
        ((CRC,), ()),
        ((CRC,), (("x-amz-meta-a", "b"),)),
        ((CRC,), ((CRC, "a"), ("x-amz-meta-a", "b"))),
        ((CRC,), ((CRC, "a"), (CRC, "a"))),
        ((CRC,), ((CRC, "a"), (CRC.upper(), "b"))),
        ((CRC, "x-amz-meta-a"), ((CRC, "a"),)),
        ((CRC,), ((CRC, ""),)),
        ((CRC,), ((CRC, "a\x00"),)),
        ((CRC,), ((CRC, "é"),)),
        ((CRC,), ((CRC + " ", "a"),)),
        ((CRC,), ((" " + CRC, "a"),)),
        ((CRC,), ((CRC, "a\nx-amz-meta-a:b"),)),
        ((CRC,), ((CRC, "a\r"),)),
        ((CRC,), ((CRC, "a\n\n"),)),
    ],
)
def test_trailers_are_those_announced_each_once(announced: tuple[str, ...], sent: Trailers, signed: bool) -> None:
    """A trailer too many, too few, doubled or malformed is refused, whoever signed it."""
    if signed:
        relay: Relay = SignedRelay(len(PAYLOAD), client_chain(), backend_chain(), announced)
        body = encode_signed([PAYLOAD], client_chain(), sent)
    else:
        relay, body = UnsignedRelay(len(PAYLOAD), announced), encode_unsigned([PAYLOAD], sent)
    with pytest.raises((InvalidRequest, SignatureDoesNotMatch)):
        relay.feed(body)
    assert not relay.done


def test_trailers_are_bounded_together() -> None:
    """Many announced trailers of allowed length are refused when they are too much together."""
    trailers = tuple((f"x-amz-meta-{n}", "v" * 900) for n in range(20))
    with pytest.raises(InvalidRequest):
        unsigned_relay(trailers=trailers).feed(encode_unsigned([PAYLOAD], trailers))


def test_names_of_trailers_are_compared_in_lower_case_and_sent_as_they_came() -> None:
    """The announcement and the trailer may differ in case; spaces around the value stay in the body only."""
    body = encode_unsigned([PAYLOAD]).removesuffix(b"\r\n") + b"X-Amz-Checksum-CRC32C: \twdBDMA== \r\n\r\n"
    relay = UnsignedRelay(len(PAYLOAD), ("X-AMZ-checksum-crc32c",))
    assert run(relay, body, 1) == body
    assert relay.trailers == {CRC: "wdBDMA=="}


def test_a_signature_among_unsigned_trailers_is_a_trailer_too_many() -> None:
    """x-amz-trailer-signature means nothing where nothing is signed."""
    trailers = (*TRAILERS, ("x-amz-trailer-signature", "0" * 64))
    with pytest.raises(InvalidRequest):
        unsigned_relay(trailers=TRAILERS).feed(encode_unsigned([PAYLOAD], trailers))


# --- signatures ---

SIGNED_BODY = encode_signed(pieces_of(PAYLOAD, 24), client_chain(), TRAILERS)
SIGNATURES = [
    at + 1 for at, byte in enumerate(SIGNED_BODY) if byte in b"=:" and SIGNED_BODY[at + 65 : at + 67] == b"\r\n"
]


def test_the_signed_body_has_the_signatures_the_next_test_corrupts() -> None:
    """Three data chunks, the zero chunk, the trailers: five signatures."""
    assert len(SIGNATURES) == 5


@pytest.mark.parametrize("step", [1, 5, 4096])
@pytest.mark.parametrize("which", range(5))
def test_trap_10_a_corrupt_signature_anywhere_stops_the_upload(which: int, step: int) -> None:
    """Chunk 1, chunk n, the final zero chunk or the trailers: refused, and that chunk never left."""
    at = SIGNATURES[which]
    body = bytearray(SIGNED_BODY)
    body[at] = ord("0") if body[at] != ord("0") else ord("1")
    relay = signed_relay(trailers=TRAILERS)
    sent = b""
    with pytest.raises(SignatureDoesNotMatch):  # noqa: PT012 - the loop is the statement
        for piece in pieces_of(bytes(body), step):
            sent += relay.feed(piece)
    expected = encode_signed(pieces_of(PAYLOAD, 24), backend_chain(), TRAILERS)
    assert expected.startswith(sent)
    assert len(sent) <= SIGNATURES[min(which, 3)]


@pytest.mark.parametrize("step", [1, 4096])
def test_trap_10_every_byte_of_a_signed_body_matters(step: int) -> None:
    """Whatever single byte is changed, the body is refused or its meaning is the same, and no byte of it differs."""
    expected = encode_signed(pieces_of(PAYLOAD, 24), backend_chain(), TRAILERS)
    for at in range(len(SIGNED_BODY)):
        body = bytearray(SIGNED_BODY)
        body[at] ^= 0x20
        relay = signed_relay(trailers=TRAILERS)
        try:
            sent = run(relay, bytes(body), step)
        except S3Error:
            continue
        # The case of a trailer's name is all that may differ.
        assert sent.lower() == expected.lower()
        assert relay.trailers == dict(TRAILERS)


@pytest.mark.parametrize("step", [0, 100, 4096])
def test_trap_10_nothing_of_a_forged_chunk_leaves_with_the_good_ones_before_it(step: int) -> None:
    """Chunks that come together are judged one by one, in their order: the first bad one ends the body, whatever follows."""
    body = bytearray(encode_signed(pieces_of(PAYLOAD, 7), client_chain()))
    body[-200] ^= 1
    whole = bytes(body) + b"nonsense"
    sent = sent_before_refusal(signed_relay(), whole, step or len(whole))
    assert encode_signed(pieces_of(PAYLOAD, 7), backend_chain()).startswith(sent)
    assert len(sent) < len(body) - 200


def test_trap_10_chunks_may_not_change_places() -> None:
    """Each signature covers the one before, so two good chunks in the wrong order are refused."""
    chunks = pieces_of(PAYLOAD, 23)
    body = encode_signed(chunks, client_chain())
    first, second = body[: 2 + 81 + 2 + 23 + 2], body[2 + 81 + 2 + 23 + 2 :][: 2 + 81 + 2 + 23 + 2]
    assert second.endswith(b"\r\n")
    with pytest.raises(SignatureDoesNotMatch):
        signed_relay().feed(second + first)


def test_trap_10_signed_trailers_need_their_signature_last() -> None:
    """Without it, before the trailers or doubled, nothing is believed."""
    body = encode_signed([PAYLOAD], client_chain(), TRAILERS)
    at = body.rindex(b"x-amz-trailer-signature")
    line, head = body[at:-2], body[:at]
    first_trailer = head.rindex(b"0;chunk-signature=") + len(b"0;chunk-signature=") + 66
    for bad in (
        head + b"\r\n",
        head + line + line + b"\r\n",
        head[:first_trailer] + line + head[first_trailer:] + b"\r\n",
    ):
        with pytest.raises((SignatureDoesNotMatch, InvalidRequest)):
            signed_relay(trailers=TRAILERS).feed(bad)


def test_a_trailer_changed_on_its_way_is_refused() -> None:
    """The trailers' signature covers their values."""
    body = encode_signed([PAYLOAD], client_chain(), TRAILERS).replace(b"wdBDMA==", b"AdBDMA==")
    with pytest.raises(SignatureDoesNotMatch):
        signed_relay(trailers=TRAILERS).feed(body)


def test_another_keys_chunks_are_refused() -> None:
    """A chain under another key, seed, day or time does not verify."""
    chains = (
        backend_chain(),
        ChunkChain(CLIENT_KEY, TIMESTAMP, SCOPE, "2" * 64),
        ChunkChain(CLIENT_KEY, "20130524T000001Z", SCOPE, "1" * 64),
        ChunkChain(CLIENT_KEY, TIMESTAMP, Scope("20130524", "eu-west-1", "s3"), "1" * 64),
    )
    for chain in chains:
        with pytest.raises(SignatureDoesNotMatch):
            signed_relay().feed(encode_signed([PAYLOAD], chain))


@pytest.mark.parametrize(
    ("seed", "signatures", "trailer"),
    [
        (
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            (
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ),
            b"",
        ),
        (
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            (
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ),
            (
                b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
                b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
            ),
        ),
    ],
)
def test_the_uploads_of_awss_documentation_are_verified(seed: str, signatures: tuple[str, ...], trailer: bytes) -> None:
    """The documented 66,560-byte uploads, without and with trailer, are accepted with their published signatures."""
    body = b""
    for size, signature in zip((65536, 1024, 0), signatures, strict=True):
        body += f"{size:x};chunk-signature={signature}\r\n".encode() + b"a" * size + (b"\r\n" if size else b"")
    relay = SignedRelay(
        66560, ChunkChain(CLIENT_KEY, TIMESTAMP, SCOPE, seed), backend_chain(), (CRC,) if trailer else ()
    )
    assert len(run(relay, body + trailer + b"\r\n", 4096)) == len(body + trailer) + 2
    assert relay.trailers == ({CRC: "sOO8/Q=="} if trailer else {})


# --- bodies that the gateway reads itself ---


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("trailers", [(), TRAILERS])
def test_read_all_gives_payload_and_trailers(trailers: Trailers, signed: bool) -> None:
    """A whole body is verified and unwrapped."""
    chunks = pieces_of(PAYLOAD, 10)
    body = encode_signed(chunks, client_chain(), trailers) if signed else encode_unsigned(chunks, trailers)
    chain = client_chain if signed else lambda: None
    assert read_all(body, len(PAYLOAD), names(trailers), chain()) == (PAYLOAD, dict(trailers))


@pytest.mark.parametrize("signed", [False, True])
def test_read_all_refuses_what_a_relay_refuses(signed: bool) -> None:
    """Cut, lengthened or lying: no payload."""
    body = encode_signed([PAYLOAD], client_chain()) if signed else encode_unsigned([PAYLOAD])
    for bad, length in ((body[:-1], len(PAYLOAD)), (body + b"0", len(PAYLOAD)), (body, len(PAYLOAD) - 1), (b"", 0)):
        with pytest.raises(S3Error):
            read_all(bad, length, (), client_chain() if signed else None)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=12), st.lists(st.integers(1, 2000), min_size=1), st.booleans()
)
def test_what_fits_is_something_and_fits(sizes: list[int], rooms: list[int], signed: bool) -> None:
    """Whatever has come, a relay asks for one byte at least and for no more than there is room for; the body goes through."""
    payload = b"x" * sum(sizes)
    cuts = itertools.accumulate(sizes, initial=0)
    chunks = [payload[begin:end] for begin, end in itertools.pairwise(cuts)]
    body = encode_signed(chunks, client_chain()) if signed else encode_unsigned(chunks)
    relay: Relay = UnsignedRelay(len(payload), ())
    if signed:
        relay = SignedRelay(len(payload), client_chain(), backend_chain(), ())
    out, at = b"", 0
    for room in itertools.cycle(rooms):
        taken = relay.fits(room)
        assert 1 <= taken <= room
        out += relay.feed(body[at : at + taken])
        at += taken
        if at >= len(body):
            break
    relay.finish()
    assert len(out) == len(body)


def test_chunks_of_one_length_are_not_cut() -> None:
    """Once a chunk has come whole, what is asked for ends with a chunk: of what follows nothing is held back and copied."""
    body = memoryview(encode_signed([b"x" * 1000] * 40, client_chain()))
    framed = len("3e8;chunk-signature=") + 64 + 2 + 1000 + 2
    relay = SignedRelay(40_000, client_chain(), backend_chain(), ())
    relay.sift(body[:5000])
    at = 5000 + relay.fits(9 * framed)
    assert at == 13 * framed
    relay.sift(body[5000:at])
    taken = relay.fits(13 * framed - 1)
    assert taken == 12 * framed
    pieces = relay.sift(body[at : at + taken])
    assert sum(map(len, pieces)) == taken
    assert [len(piece) for piece in pieces if isinstance(piece, memoryview)] == [1002] * 12
    assert relay.fits(framed - 1) == framed - 1  # better cut than asked for nothing


def test_of_a_chunk_that_is_larger_than_the_room_as_much_is_asked_for_as_fits() -> None:
    """However long the chunks before it were."""
    small, large = b"x" * 1000, b"x" * 100_000
    body = memoryview(encode_signed([small, large], client_chain()))
    relay = SignedRelay(101_000, client_chain(), backend_chain(), ())
    at = 1500
    relay.sift(body[:at])
    for room in (5000, 40_000, 1):
        assert relay.fits(room) == room
        relay.sift(body[at : at + room])
        at += room


# --- anything at all ---

chunk_lists = st.lists(st.binary(min_size=1, max_size=30), max_size=6)
some_trailers = st.dictionaries(
    st.from_regex(r"x-amz-(meta|checksum)-[a-z0-9]{1,5}", fullmatch=True),
    st.from_regex(r"[!-~]([ -~]{0,10}[!-~])?", fullmatch=True),
    max_size=3,
).map(lambda found: tuple(found.items()))


@given(chunk_lists, some_trailers, st.lists(st.integers(1, 40), min_size=1, max_size=8), st.booleans())
def test_any_body_crosses_in_any_pieces(chunks: list[bytes], trailers: Trailers, cuts: list[int], signed: bool) -> None:
    """Whatever is encoded comes out for the backend, however it is cut on its way."""
    length = sum(map(len, chunks))
    if signed:
        relay: Relay = signed_relay(length, trailers)
        body, expected = (encode_signed(chunks, chain, trailers) for chain in (client_chain(), backend_chain()))
    else:
        relay = unsigned_relay(length, trailers)
        body = expected = encode_unsigned(chunks, trailers)
    sent, at = b"", 0
    for size in itertools.cycle(cuts):
        sent += relay.feed(body[at : at + size])
        at += size
        if at >= len(body):
            break
    relay.finish()
    assert sent == expected
    assert relay.trailers == dict(trailers)


@given(chunk_lists, some_trailers, st.lists(st.integers(1, 300), min_size=1, max_size=8), st.booleans())
def test_what_a_relay_holds_is_its_own(chunks: list[bytes], trailers: Trailers, cuts: list[int], signed: bool) -> None:
    """Sifted out of one buffer that is used again and again, a body comes out as if it had been fed."""
    length = sum(map(len, chunks))
    relay = signed_relay(length, trailers) if signed else unsigned_relay(length, trailers)
    body = encode_signed(chunks, client_chain(), trailers) if signed else encode_unsigned(chunks, trailers)
    buffer, sent, at = bytearray(max(cuts)), b"", 0
    for size in itertools.cycle(cuts):
        piece = body[at : at + size]
        buffer[: len(piece)] = piece
        sent += b"".join(relay.sift(memoryview(buffer)[: len(piece)]))
        buffer[:] = bytes(len(buffer))
        at += size
        if at >= len(body):
            break
    relay.finish()
    assert sent == (encode_signed(chunks, backend_chain(), trailers) if signed else body)
    assert relay.keeps_length


FRAGMENTS = [b"\r\n", b"\r", b"\n", b"0", b"5", b"hello", b";chunk-signature=", b"0" * 64, b"x-amz-meta-a:b", b"\x00",
             b"x-amz-trailer-signature:", b"0\r\n\r\n", b"5\r\nhello\r\n"]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=12), st.integers(0, 12), st.booleans())
def test_only_an_s3_error_escapes_and_nothing_unverified_leaves(parts: list[bytes], length: int, signed: bool) -> None:
    """Any bytes are relayed or refused with an S3Error; unsigned bytes leave unchanged, forged ones not at all."""
    announced: Trailers = (("x-amz-meta-a", "b"),)
    relay: Relay = signed_relay(length, announced) if signed else unsigned_relay(length, announced)
    sent = b""
    with contextlib.suppress(S3Error):
        for part in parts:
            sent += relay.feed(part)
        relay.finish()
    assert sent == b"" if signed else b"".join(parts).startswith(sent)
    if relay.done:
        assert sent == b"".join(parts)


ODD = st.sampled_from(
    [
        b"",
        b" ",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"0",
        b"f",
        b":",
        b";",
        b"x",
        b"\x00",
        b"\xff",
        b"1",
        b"X-Amz-Checksum-Crc32:a\r\n",
    ]
)


@given(st.integers(0, 120), st.integers(0, 3), ODD, st.sampled_from([TRAILERS[:1], TRAILERS, ()]), st.integers(-1, 1))
def test_a_body_that_comes_at_once_is_judged_as_one_that_does_not(at, removed, added, announced, more):
    """A small body with one trailer has a short way: it takes and refuses what the steps do, with one byte's difference anywhere."""

    def outcome(step: int) -> object:
        relay = unsigned_relay(len(PAYLOAD) + more, announced)
        try:
            sent = run(relay, body, step)
        except S3Error as error:
            return type(error)
        return sent, dict(relay.trailers)

    whole = encode_unsigned([PAYLOAD], TRAILERS[:1])
    body = whole[:at] + added + whole[at + removed :]
    assert outcome(0) == outcome(1)
    if body == whole and announced == TRAILERS[:1] and not more:
        assert outcome(0) == (whole, {TRAILERS[0][0].lower(): TRAILERS[0][1]})
