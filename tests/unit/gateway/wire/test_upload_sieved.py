"""A large body that a relay verifies on its way by the pump, and every way in which it can be bad."""

from __future__ import annotations

import asyncio
import hashlib
import os

from gateway.errors import IncompleteBody, SignatureDoesNotMatch
from gateway.signing.chunked import SignedRelay, UnsignedRelay
from gateway.wire.steps import CutShort, Late
from tests.unit.gateway.signing.test_chunked import (
    backend_chain,
    client_chain,
    encode_signed,
    encode_unsigned,
    pieces_of,
)
from tests.unit.gateway.wire.bench import OK, End, Wire, no_descriptors, story, until
from tests.unit.gateway.wire.test_upload import GET, PUT

SIZE, CHUNK = 12 << 20, 65_536
CHUNKS = pieces_of(os.urandom(SIZE), CHUNK)
SENT = encode_signed(CHUNKS, client_chain())
RESIGNED = encode_signed(CHUNKS, backend_chain())
UNSIGNED = encode_unsigned(CHUNKS)
BEGUN = 300_000  # bytes that come with the head


def signed(wire: Wire) -> None:
    """Let uploads be verified and signed again."""
    wire.begin = lambda turn: wire.forward(turn, relay=SignedRelay(SIZE, client_chain(), backend_chain(), ()))


async def pumping(wire: Wire, begun: bytes, length: int = len(SENT)) -> tuple[End, End]:
    """Return a client in the middle of an upload that is being pumped, and the backend that has its head."""
    client = await wire.client(PUT % length + begun)
    backend = await wire.backend()
    await backend.head()
    exchange = await wire.exchange()
    await until(lambda: exchange.upload is not None and exchange.upload._pump is not None)
    return client, backend


async def refused(wire: Wire, client: End, backend: End, error: type[Exception]) -> bytes:
    """Return what reached the backend of a body that is refused with this error, its connection closed."""
    head, arrived = await asyncio.gather(client.head(), backend.rest())
    assert head.startswith(b"HTTP/1.1 400")
    assert [type(one) for one in wire.turns[0].refused] == [error]
    assert len(arrived) < len(SENT)
    assert len(wire.turns) == 1
    return arrived


@story
async def test_signed_chunks_arrive_signed_again_and_what_follows_is_the_next_request(wire: Wire):
    """Every byte arrives, counted, under the backend's signatures, and both connections serve the request behind it."""
    signed(wire)
    client, backend = await pumping(wire, SENT[:BEGUN])
    client.say(SENT[BEGUN:] + GET)
    assert await backend.sha256(len(SENT)) == hashlib.sha256(RESIGNED).hexdigest()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert wire.turns[0].traffic.received == len(SENT)
    wire.begin = wire.forward
    assert (await backend.head()).startswith(b"GET ")
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert len(wire.idle) == 1


@story
async def test_unsigned_chunks_arrive_as_they_are(wire: Wire):
    """The default of SDKs takes the same way."""
    wire.begin = lambda turn: wire.forward(turn, relay=UnsignedRelay(SIZE, ()))
    client, backend = await pumping(wire, UNSIGNED[:BEGUN], len(UNSIGNED))
    client.say(UNSIGNED[BEGUN:])
    assert await backend.sha256(len(UNSIGNED)) == hashlib.sha256(UNSIGNED).hexdigest()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()


@story
async def test_trap_10_a_forged_chunk_ends_the_upload_before_a_byte_of_it_arrives(wire: Wire):
    """What was verified before it has arrived; nothing of the forged chunk does, and nothing behind it is a request."""
    signed(wire)
    forged = bytearray(SENT)
    forged[SIZE // 2] ^= 1
    client, backend = await pumping(wire, SENT[:BEGUN])
    client.say(bytes(forged[BEGUN:]) + GET)
    arrived = await refused(wire, client, backend, SignatureDoesNotMatch)
    assert RESIGNED.startswith(arrived)
    assert len(arrived) < SIZE // 2


@story
async def test_trap_10_a_forged_end_never_arrives(wire: Wire):
    """The zero chunk's signature is looked at before the zero chunk leaves."""
    signed(wire)
    client, backend = await pumping(wire, SENT[:BEGUN])
    client.say(SENT[BEGUN:-10] + b"0" * 6 + b"\r\n\r\n")
    arrived = await refused(wire, client, backend, SignatureDoesNotMatch)
    assert RESIGNED.startswith(arrived)


@story
async def test_trap_13_a_body_that_ends_before_its_framing_is_incomplete(wire: Wire):
    """Content-Length is reached, the zero chunk is not: nothing that the backend could take for whole."""
    signed(wire)
    client, backend = await pumping(wire, SENT[:BEGUN], len(SENT) - 2)
    client.say(SENT[BEGUN:-2])
    arrived = await refused(wire, client, backend, IncompleteBody)
    assert RESIGNED[:-80].startswith(arrived)


@story
async def test_trap_11_a_client_that_half_closes_is_told_so(wire: Wire):
    """A body that ends early is refused where the client can read it, and never whole at the backend."""
    signed(wire)
    client, backend = await pumping(wire, SENT[:BEGUN])
    client.say(SENT[BEGUN:-1])
    client.writer.write_eof()
    arrived = await refused(wire, client, backend, CutShort)
    assert RESIGNED.startswith(arrived)


@story
async def test_a_backend_that_stalls_holds_up_the_client_and_nothing_is_lost(wire: Wire):
    """What the kernel did not take is sent when there is room, though the buffer it was read into was used by others."""
    wire.narrow()
    signed(wire)
    client, backend = await pumping(wire, SENT[:BEGUN])
    backend.writer.transport.pause_reading()
    client.say(SENT[BEGUN:])
    exchange = await wire.exchange()
    await until(lambda: exchange.upload._pump.waits_for_target)
    assert client.writer.transport.get_write_buffer_size() > 0
    other = await wire.client(PUT % len(SENT) + SENT)
    other_backend = await wire.backend()
    await other_backend.head()
    assert await other_backend.sha256(len(SENT)) == hashlib.sha256(RESIGNED).hexdigest()
    backend.writer.transport.resume_reading()
    assert await backend.sha256(len(SENT)) == hashlib.sha256(RESIGNED).hexdigest()
    for end, asked in ((backend, client), (other_backend, other)):
        end.say(OK + b"Content-Length: 0\r\n\r\n")
        await asked.head()


@story
async def test_bytes_that_wait_for_their_chunks_end_are_signs_of_life(wire: Wire):
    """A client that sends a chunk slowly is not late while its bytes come, and is when they stop."""
    signed(wire)
    client, backend = await pumping(wire, SENT[:BEGUN])
    exchange = await wire.exchange()
    for at in (BEGUN, BEGUN + 1):
        wire.later(wire.plane.times.body - 1)
        received = wire.turns[0].traffic.received
        client.say(SENT[at : at + 1])
        await until(lambda before=received: exchange.turn.traffic.received > before)
        assert not wire.turns[0].refused
    wire.later(2 * wire.plane.times.body + 1)
    await refused(wire, client, backend, Late)


@story
async def test_where_there_are_no_descriptors_it_is_verified_piece_by_piece(wire: Wire):
    """What cannot be pumped is verified all the same, to its end."""
    signed(wire)
    client = await wire.client(PUT % len(SENT))
    await until(lambda: wire.connections)
    with no_descriptors():
        client.say(SENT)
        backend = await wire.backend()
        await backend.head()
        assert await backend.sha256(len(SENT)) == hashlib.sha256(RESIGNED).hexdigest()
    backend.say(OK + b"Content-Length: 0\r\n\r\n")
    await client.head()
    assert wire.turns[0].traffic.received == len(SENT)
