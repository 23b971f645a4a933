"""digests: what our own C says is what hashlib and hmac say, of everything."""

from __future__ import annotations

import hashlib
import hmac
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.signing import digests

PLAIN = SimpleNamespace(
    sha256_hex=digests._sha256_hex, sha256_each=digests._sha256_each, hmac_state=digests._hmac_state, hmac_hex=digests._hmac_hex
)  # fmt: skip
HASHLIB = pytest.param(PLAIN, id="hashlib")
CHOSEN = pytest.param(digests, id="chosen")
#: Lengths at which the padding takes a block more, or a block is full (FIPS 180-4, section 5.1.1).
EDGES = [n + d for n in (0, 64, 128, 192, 1024) for d in (-9, -8, -1, 0, 1) if n + d >= 0]
LENGTHS = st.sampled_from(EDGES) | st.integers(0, 5000)


def text(length: int, salt: int = 0) -> bytes:
    """Return bytes that look like nothing, the same each time."""
    return hashlib.shake_128(b"%d/%d" % (length, salt)).digest(length)


def has_instructions() -> bool:
    """Return whether the kernel lists the processor's SHA instructions."""
    return " sha_ni" in Path("/proc/cpuinfo").read_text()


def test_where_it_is_built_it_is_used():
    """A compiled package on a processor with the instructions hashes side by side; no other does."""
    used = gateway.build() == "compiled" and has_instructions()
    assert used == digests.SIDE_BY_SIDE


@pytest.mark.parametrize("one", [HASHLIB, CHOSEN])
def test_the_standards_own_examples(one):
    """FIPS 180-4's messages and RFC 4231's keys give what their authors printed."""
    assert one.sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (
        one.sha256_hex(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
        == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    )
    assert one.sha256_hex(b"a" * 1_000_000) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    case_1 = one.hmac_hex(one.hmac_state(b"\x0b" * 20), b"Hi There")
    assert case_1 == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    case_2 = one.hmac_hex(one.hmac_state(b"Jefe"), b"what do ya want for nothing?")
    assert case_2 == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


@given(st.lists(LENGTHS, max_size=12))
def test_each_piece_has_its_own_digest(lengths: list[int]):
    """Whatever stands beside whatever, of any length and in any order."""
    pieces = [text(length, salt) for salt, length in enumerate(lengths)]
    right = [hashlib.sha256(piece).hexdigest() for piece in pieces]
    assert digests.sha256_each([*pieces]) == PLAIN.sha256_each([*pieces]) == right


@given(LENGTHS, st.integers(0, 63))
def test_bytes_are_taken_wherever_they_lie(length: int, at: int):
    """A view into a buffer, at any address, is what it shows."""
    buffer = bytearray(at + length + 7)
    buffer[at : at + length] = text(length)
    right = hashlib.sha256(text(length)).hexdigest()
    view = memoryview(buffer)[at : at + length]
    assert digests.sha256_hex(view) == right
    assert digests.sha256_each([view, b"", view]) == [right, hashlib.sha256().hexdigest(), right]


@given(st.binary(max_size=64), LENGTHS)
def test_a_signature_is_the_librarys(key: bytes, length: int):
    """A key's state signs as the key does, as often as it is asked."""
    right = hmac.digest(key, text(length), "sha256").hex()
    for one in (digests, PLAIN):
        state = one.hmac_state(key)
        assert [one.hmac_hex(state, text(length)) for _ in range(2)] == [right, right]


@pytest.mark.parametrize("one", [HASHLIB, CHOSEN])
def test_a_key_of_more_than_a_block_is_refused(one):
    """RFC 2104 hashes such a key first; a derived key has 32 bytes, so nobody has one."""
    with pytest.raises(ValueError, match="at most 64 bytes"):
        one.hmac_state(b"k" * 65)


@pytest.mark.skipif(not digests.SIDE_BY_SIDE, reason="hashlib and Python refuse these in their own words")
@pytest.mark.parametrize(
    "call",
    [
        lambda: digests.sha256_hex("text"), lambda: digests.sha256_each((b"a",)), lambda: digests.sha256_each([b"a", "b"]),
        lambda: digests.sha256_each([memoryview(b"abcd")[::2]]), lambda: digests.hmac_state("key"), lambda: digests.hmac_hex(b"short", b"text"),
        lambda: digests.hmac_hex(digests.hmac_state(b"key"), "text"), lambda: digests.hmac_hex(b""),
    ],
)  # fmt: skip
def test_what_is_no_bytes_is_an_error(call):
    """C is given nothing that it would read as something else."""
    with pytest.raises((TypeError, ValueError, BufferError)):
        call()


def test_a_buffer_stays_where_it_is_while_it_is_read():
    """Its owner cannot resize it meanwhile, and can afterwards."""
    buffers = [bytearray(text(1 << 20)) for _ in range(5)]
    kept, found = [bytes(one) for one in buffers], []
    others = [threading.Thread(target=lambda: found.append(digests.sha256_each([*buffers]))) for _ in range(2)]
    for other in others:
        other.start()
    while any(other.is_alive() for other in others):
        try:
            buffers[4].extend(b"more")
            del buffers[4][1 << 20 :]
        except BufferError:  # of either: the other thread may take it in between
            continue
    assert all(one.startswith(whole) for one, whole in zip(buffers, kept, strict=True))
    assert {tuple(one[:4]) for one in found} == {tuple(hashlib.sha256(one).hexdigest() for one in kept[:4])}
    buffers[0].extend(b"more")
