"""The pump moves exactly the bytes it was told to, says how it ended, and leaves nothing open; on both loops, by both carriers."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.wire import carriers, pump
from gateway.wire.carriers import PIPES
from gateway.wire.pump import ROUNDS, Pump, SourceEnded, TargetBroken, can_pump
from tests.unit.gateway.wire.lines import PATIENCE, End, Transfer, a_line, descriptors, read, reset, sha256

pytestmark = pytest.mark.slow  # sockets by the hundred, on both loops

MIB = 1 << 20
SIZES = [1, 65_535, 65_536, MIB + 3, 64 * MIB]


def body(size: int) -> bytes:
    """Return bytes that no other size has."""
    return random.Random(size).randbytes(size)  # noqa: S311 - content of a body


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine on one of the loops; a callback that raised fails the test."""
    troubles = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: troubles.append(context))
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, PATIENCE))
    assert troubles == []


@pytest.fixture(params=["splice", "copy"])
def carrier(request, monkeypatch):
    """Let bytes go through pipes, or let there be no pipe."""
    if request.param == "copy":
        monkeypatch.setattr(os, "pipe2", refuse(errno.EMFILE))
        PIPES.close()
    return request.param


def refuse(number: int):
    """Return a system call that fails."""

    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


async def relay(line, data: bytes, count: int):
    """Feed `data`, pump `count`; return what arrived and how it ended."""
    transfer = Transfer(line.source, line.target, count)
    (moved, error), arrived, _ = await asyncio.gather(transfer.outcome(), line.read(count), line.feed(data))
    assert moved == sum(transfer.progress)
    return arrived, moved, error


@pytest.mark.parametrize("size", SIZES)
def test_what_arrives_is_what_was_sent(run, carrier, size):
    """Every byte arrives once and in order, and progress adds up."""

    async def test():
        async with a_line() as line:
            data = body(size)
            arrived, moved, error = await relay(line, data, size)
            assert (sha256(arrived), moved, error) == (sha256(data), size, None)

    run(test())


def test_both_directions_at_once(run, carrier):
    """Two pumps on the same two connections, against each other, do not disturb one another."""

    async def test():
        async with a_line() as line:
            line.target.pause_reading()
            up, down = body(5 * MIB), body(5 * MIB + 1)
            loop = asyncio.get_running_loop()
            transfers = [
                Transfer(line.source, line.target, len(up)),
                Transfer(line.target, line.source, len(down)),
            ]
            _, _, at_reader, at_feeder, *ends = await asyncio.gather(
                line.feed(up), loop.sock_sendall(line.reader, down), line.read(len(up)),
                read(line.feeder, len(down)), *(transfer.outcome() for transfer in transfers),
            )  # fmt: skip
            assert (sha256(at_reader), sha256(at_feeder)) == (sha256(up), sha256(down))
            assert ends == [(len(up), None), (len(down), None)]

    run(test())


def test_a_kept_connection(run, carrier):
    """Heads by the transports and bodies by pumps alternate, and what follows a body is left for the transport."""

    async def test():
        async with a_line() as line:
            taken, sent = b"", b""
            for size in (1, 70_000, 3 * MIB, 65_536):
                head, data = b"head of %d\r\n" % size, body(size)
                feeding = asyncio.gather(line.feed(data + head), line.read(len(head) + size))
                line.target.write(head)
                assert await Transfer(line.source, line.target, size).outcome() == (size, None)
                line.source.resume_reading()
                taken, sent = await line.into.has(len(taken + head)), taken + head
                line.source.pause_reading()
                assert (await feeding)[1] == head + data
            assert taken == sent

    run(test())


def test_the_transport_writes_first(run, carrier):
    """What the target's transport still had to write goes before the pumped bytes."""

    async def test():
        async with a_line() as line:
            before, data = body(16 * MIB), body(MIB)
            line.target.write(before)
            assert line.target.get_write_buffer_size() > 0
            transfer = Transfer(line.source, line.target, MIB)
            await line.feed(data)
            assert await transfer.stalls() == 0
            assert sha256(await line.read(17 * MIB)) == sha256(before + data)
            assert await transfer.outcome() == (MIB, None)

    run(test())


def test_a_reader_that_stalls(run, carrier):
    """A target that stops reading stops the pump without any turn of the loop spent; it goes on when the reader does."""

    async def test():
        async with a_line() as line:
            data = body(64 * MIB)
            feeding = asyncio.gather(line.feed(data))
            transfer = Transfer(line.source, line.target, len(data))
            assert 0 < await transfer.stalls() < len(data)
            spent = time.process_time()
            await asyncio.sleep(0.3)
            assert time.process_time() - spent < 0.1
            assert sha256(await line.read(len(data))) == sha256(data)
            assert await transfer.outcome() == (len(data), None)
            await feeding

    run(test())


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_a_source_that_is_cut(run, carrier, end):
    """A source that ends early is SourceEnded, with the bytes that had gone through."""

    async def test():
        async with a_line() as line:
            transfer = Transfer(line.source, line.target, 2 * MIB)
            await line.feed(body(MIB))
            assert await line.read(MIB) == body(MIB)
            (line.feeder.close if end == "closed" else lambda: reset(line.feeder))()
            moved, error = await transfer.outcome()
            assert (moved, type(error)) == (MIB, SourceEnded)
            assert isinstance(error.__cause__, ConnectionResetError if end == "reset" else type(None))

    run(test())


@pytest.mark.parametrize("waits_for", ["source", "target"])
def test_a_target_that_is_closed(run, carrier, waits_for):
    """A target that breaks is TargetBroken, whichever side the pump was waiting for."""

    async def test():
        async with a_line() as line:
            line.target.pause_reading()  # so that only the pump can notice
            transfer = Transfer(line.source, line.target, 64 * MIB)
            size = 64 * MIB - 1 if waits_for == "target" else 1
            feeding = asyncio.gather(line.feed(body(size)), return_exceptions=True)
            await transfer.stalls()
            reset(line.reader)
            if waits_for == "source":
                await feeding
                await line.feed(b"the byte that finds out")
            moved, error = await transfer.outcome()
            assert (moved, type(error)) == (sum(transfer.progress), TargetBroken)
            assert isinstance(error.__cause__, ConnectionError)
            line.source.abort()
            await feeding

    run(test())


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_transport_closed_by_its_owner(run, side):
    """A pump that its owner forgot ends with the closed side's error at its next turn."""

    async def test():
        async with a_line() as line:
            transfer = Transfer(line.source, line.target, 2 * MIB)
            await line.feed(body(MIB))
            await line.read(MIB)
            getattr(line, side).close()
            await line.feed(b"more")
            _, error = await transfer.outcome()
            assert type(error) is {"source": SourceEnded, "target": TargetBroken}[side]

    run(test())


@pytest.mark.parametrize("waits_for", ["source", "target", "nothing yet"])
def test_cancel(run, carrier, waits_for):
    """A cancelled pump frees its descriptors and its pipe, twice is once, `done` is not called, and the ends can close."""

    async def test():
        async with a_line() as line:
            PIPES.close()
            before = descriptors()
            transfer = Transfer(line.source, line.target, 64 * MIB)
            feeding = asyncio.gather(line.feed(body(32 * MIB if waits_for == "target" else 1)), return_exceptions=True)
            if waits_for != "nothing yet":
                assert 0 < await transfer.stalls() < 32 * MIB
            transfer.pump.cancel()
            transfer.pump.cancel()
            PIPES.close()
            assert descriptors() == before
            assert pipes_held() == 0
            moved = sum(transfer.progress)
            line.target.abort()
            line.source.abort()
            assert len(await line.read(64 * MIB)) <= moved
            await feeding
            assert not transfer.ended.done()

    run(test())


def pipes_held() -> int:
    """Return how many bytes the pool's pipes hold."""
    return sum(pipe.held for pipe in PIPES._idle)


def test_cancel_from_progress(run):
    """The owner may give up when it hears of progress, even of the last bytes."""

    async def test():
        async with a_line() as line:
            calls = []
            pump = Pump(line.source, line.target, 1, lambda *end: calls.append(end), lambda _: pump.cancel())
            pump.start()
            await line.feed(b"x")
            assert await line.read(1) == b"x"
            await asyncio.sleep(0)
            assert calls == []

    run(test())


def test_two_hundred_at_once(run, carrier):
    """Two hundred transfers share a loop, each gets its own bytes, and nothing stays open but a bounded pool of pipes."""

    async def one(number: int):
        async with a_line() as line:
            data = body(MIB + number)
            arrived, moved, error = await relay(line, data, len(data))
            assert (sha256(arrived), moved, error) == (sha256(data), len(data), None)

    async def test():
        await one(0)  # what a loop opens at its first use stays open
        PIPES.close()
        before = descriptors()
        await asyncio.gather(*(one(number) for number in range(200)))
        await asyncio.sleep(0.1)
        assert len(PIPES) <= carriers.KEPT
        assert pipes_held() == 0
        PIPES.close()
        assert descriptors() == before

    run(test())


def test_a_stalled_transfer_does_not_hold_up_others(run):
    """While fifty targets do not read, another transfer goes through."""

    async def test():
        lines = [a_line() for _ in range(51)]
        *stalled, line = [await manager.__aenter__() for manager in lines]
        transfers = [Transfer(each.source, each.target, 32 * MIB) for each in stalled]
        feeding = asyncio.gather(*(each.feed(body(32 * MIB)) for each in stalled), return_exceptions=True)
        arrived, _, error = await relay(line, body(4 * MIB), 4 * MIB)
        assert (sha256(arrived), error) == (sha256(body(4 * MIB)), None)
        assert not any(transfer.ended.done() for transfer in transfers)
        for transfer, each in zip(transfers, stalled, strict=True):
            transfer.pump.cancel()
            each.source.abort()
        await feeding
        for manager in lines:
            await manager.__aexit__(None, None, None)

    run(test())


def test_one_turn_is_bounded(run):
    """No turn moves more than its rounds allow, however much is there."""

    async def test():
        async with a_line() as line:
            transfer = Transfer(line.source, line.target, 64 * MIB)
            await asyncio.gather(transfer.outcome(), line.read(64 * MIB), line.feed(body(64 * MIB)))
            assert max(transfer.progress) <= ROUNDS * MIB

    run(test())


def test_the_last_byte_of_a_last_round_ends_the_transfer(run, monkeypatch):
    """Who has all bytes may answer at once: the transfer is over in the turn that moved them, before anything else happens."""
    monkeypatch.setattr(pump, "ROUNDS", 1)
    happened = []

    async def test():
        async with a_line() as line:
            over = asyncio.Event()

            def others() -> None:
                happened.append("others")
                asyncio.get_running_loop().call_soon(others)

            def done(count: int, error: BaseException | None) -> None:
                happened.append((count, error))
                over.set()

            await line.feed(b"x" * 1000)
            others()
            Pump(line.source, line.target, 1000, done, happened.append).start()
            await over.wait()

    run(test())
    assert happened[happened.index(1000) + 1] == (1000, None)


def test_urgent_data(run):
    """A source that sends urgent data (which splice stops at for ever) neither hangs the pump nor makes the loop spin."""

    async def test():
        async with a_line() as line:
            transfer = Transfer(line.source, line.target, 8)
            await line.feed(b"abcd")
            line.feeder.send(b"!", socket.MSG_OOB)
            await line.feed(b"efgh")
            assert await line.read(8) == b"abcdefgh"
            assert await transfer.outcome() == (8, None)

    run(test())


@pytest.fixture
def few_descriptors():
    """Use up this process's descriptors, but for as many as are asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []

    def leave(count: int) -> None:
        # From the number that the kernel gives next: it need not be the lowest that is free.
        following = os.open("/dev/null", os.O_RDONLY)
        os.close(following)
        resource.setrlimit(resource.RLIMIT_NOFILE, (following + 64, hard))
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            for _ in range(count):
                os.close(taken.pop())

    yield leave
    for number in taken:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("left", [0, 1])
def test_no_descriptors(run, few_descriptors, left):
    """Without descriptors the pump says so, and the source's bytes are all still there."""

    async def test():
        async with a_line() as line:
            PIPES.close()
            await line.feed(b"body")
            few_descriptors(left)
            moved, error = await Transfer(line.source, line.target, 4).outcome()
            assert (moved, type(error), error.errno) == (0, OSError, errno.EMFILE)
            line.source.resume_reading()
            assert await line.into.has(4) == b"body"

    run(test())


@pytest.mark.parametrize("left", [2, 3])
def test_no_descriptors_for_a_pipe(run, few_descriptors, left):
    """With descriptors for the sockets only, the bytes are copied."""

    async def test():
        async with a_line() as line:
            PIPES.close()
            few_descriptors(left)
            data = body(8 * MIB)
            arrived, moved, error = await relay(line, data, len(data))
            assert (sha256(arrived), moved, error) == (sha256(data), len(data), None)
            assert len(PIPES) == 0

    run(test())


@pytest.mark.parametrize("side", ["take", "give"])
def test_splice_is_refused(run, monkeypatch, side):
    """Where the kernel refuses splice the bytes are copied, those that are in the pipe already too."""
    splice, refused = os.splice, refuse(errno.EINVAL)

    def half(source, target, count, flags=0):
        into_pipe = target in {pipe_end for pipe_end in ends if pipe_end}
        return (refused if into_pipe == (side == "take") else splice)(source, target, count, flags=flags)

    ends = []
    make = os.pipe2
    monkeypatch.setattr(os, "pipe2", lambda flags: ends.extend(pair := make(flags)) or pair)
    monkeypatch.setattr(os, "splice", half)

    async def test():
        async with a_line() as line:
            PIPES.close()
            data = body(4 * MIB)
            arrived, moved, error = await relay(line, data, len(data))
            assert (sha256(arrived), moved, error) == (sha256(data), len(data), None)
            assert ends

    run(test())


def test_an_unpaused_source(run):
    """A source that its own transport reads is refused: its bytes would be taken by two."""

    async def test():
        async with a_line() as line:
            line.source.resume_reading()
            with pytest.raises(RuntimeError, match="paused"):
                Pump(line.source, line.target, 1, lambda *_: None).start()

    run(test())


def test_nothing_to_move(run):
    """No bytes are moved at once, and the source is not looked at."""

    async def test():
        async with a_line() as line:
            assert await Transfer(line.source, line.target, 0).outcome() == (0, None)

    run(test())


def test_can_pump(run, monkeypatch):
    """Plaintext sockets can be pumped on Linux; pipes and other systems cannot."""

    async def test():
        async with a_line() as line:
            assert can_pump(line.source, line.target)
            reader, writer = os.pipe()
            pipe, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writer, "wb"))
            assert not can_pump(line.source, pipe)
            pipe.abort()
            os.close(reader)
            monkeypatch.delattr(os, "splice")
            assert not can_pump(line.source, line.target)

    run(test())


def test_can_pump_not_tls(run, tmp_path):
    """The kernel's bytes of a TLS connection are not the connection's bytes: neither of its ends can be pumped."""
    make_certificate(tmp_path)

    async def test():
        serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=tmp_path / "cert")
        serving.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        loop, end = asyncio.get_running_loop(), End()
        server = await loop.create_server(lambda: end, "127.0.0.1", 0, ssl=serving)
        address = server.sockets[0].getsockname()
        client, _ = await loop.create_connection(End, *address, ssl=asking, server_hostname="localhost")
        client.write(b"x")
        await end.has(1)
        async with a_line() as line:
            for transport in (client, end.transport):
                assert not can_pump(transport, line.target)
                assert not can_pump(line.source, transport)
                transport.abort()
        server.close()
        await server.wait_closed()

    run(test())


def make_certificate(folder) -> None:
    """Write a certificate for localhost, trusted by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert").write_bytes(built.public_bytes(Encoding.PEM))
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
