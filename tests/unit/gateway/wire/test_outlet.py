"""Writes of one round go out at its end, in their order; what closes, ends or hands over a connection writes them first."""

from __future__ import annotations

import asyncio
import hashlib
import socket

import pytest
import uvloop

from gateway.wire.outlet import LARGE, MOST, Outbox, Outlet


class Raw:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data) -> None:
        self.calls.append(data)

    def writelines(self, pieces) -> None:
        self.calls.append(list(pieces))

    def get_write_buffer_size(self) -> int:
        return sum(len(call) for call in self.calls)

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)


@pytest.fixture
async def make():
    """Make outlets of one outbox."""
    outbox = Outbox(asyncio.get_running_loop())
    return lambda: Outlet(Raw(), outbox)


async def test_a_rounds_writes_go_out_at_its_end(make):
    """Nothing is written while others think, and everything as one when they have."""
    outlet = make()
    outlet.write(b"a")
    outlet.write(b"b")
    assert outlet.raw.calls == []
    await asyncio.sleep(0)
    assert outlet.raw.calls == [[b"a", b"b"]]
    outlet.write(b"c")
    await asyncio.sleep(0)
    assert outlet.raw.calls[1:] == [b"c"]


async def test_a_round_is_bounded(make):
    """When many have something to write nobody waits for more."""
    outlets = [make() for _ in range(MOST + 1)]
    for outlet in outlets:
        outlet.write(b"a")
    assert [len(outlet.raw.calls) for outlet in outlets] == [1] * MOST + [0]
    await asyncio.sleep(0)
    assert outlets[-1].raw.calls == [b"a"]


async def test_what_is_large_goes_at_once_behind_what_waits(make):
    """Large pieces are neither held nor copied."""
    outlet, large = make(), b"x" * (LARGE + 1)
    outlet.writelines([b"a", large])
    assert outlet.raw.calls == [[b"a", large]]
    assert outlet.raw.calls[0][1] is large
    await asyncio.sleep(0)
    assert len(outlet.raw.calls) == 1


async def outlet_of(loop_side: socket.socket) -> Outlet:
    """Return the outlet of a real connection."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=loop_side)
    return Outlet(transport, Outbox(loop))


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection whose kernel buffers hold little."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours = socket.socket()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.connect(server.getsockname())
        theirs = server.accept()[0]
        theirs.settimeout(10)
        return ours, theirs


def received(end: socket.socket, count: int) -> bytes:
    """Return so many bytes."""
    got = b""
    while len(got) < count:
        got += end.recv(count - len(got))
    return got


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_of_what_is_poured_nothing_is_kept_but_a_copy(loop):
    """What the socket does not take at once is not the caller's buffer, which is another's next; all comes in its order."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(poured())


async def poured() -> None:
    ours, theirs = pair()
    outlet = await outlet_of(ours)
    buffer = bytearray(b"x" * 200_000)
    outlet.write(b"first ")
    outlet.pour(b"head ", memoryview(buffer))
    assert 0 < outlet.get_write_buffer_size() < 200_000
    buffer[:] = b"!" * len(buffer)
    outlet.pour(b" second ", memoryview(buffer)[:1000])
    buffer[:] = b"?" * len(buffer)
    outlet.write(b" last")
    expected = b"first head " + b"x" * 200_000 + b" second " + b"!" * 1000 + b" last"
    got = await asyncio.to_thread(received, theirs, len(expected))
    assert hashlib.sha256(got).digest() == hashlib.sha256(expected).digest()  # 200 KB are no good explanation
    outlet.abort()
    theirs.close()


async def test_what_is_poured_into_anything_but_a_plaintext_socket_goes_the_transports_way(make):
    """Under TLS, through a pipe, or while something waits there already."""
    outlet = make()
    outlet.raw.get_extra_info = lambda name, _=None: object() if name == "ssl_object" else None
    buffer = bytearray(b"body")
    outlet.pour(b"head", memoryview(buffer))
    buffer[:] = b"????"
    assert outlet.raw.calls == [[b"head", b"body"]]
    outlet.raw.closing = True
    outlet.pour(b"head", b"body")
    assert len(outlet.raw.calls) == 1


@pytest.mark.parametrize("how", ["close", "write_eof"])
async def test_an_end_comes_after_what_waits(make, how):
    """An answer is not lost because its connection closes after it."""
    outlet = make()
    outlet.write(b"a")
    getattr(outlet, how)()
    assert outlet.raw.calls == [b"a", how]


async def test_what_is_aborted_writes_no_more(make):
    """Nor does what was closed by the other end."""
    aborted, closed = make(), make()
    for outlet in (aborted, closed):
        outlet.write(b"a")
    aborted.abort()
    closed.raw.closing = True
    await asyncio.sleep(0)
    assert aborted.raw.calls == ["abort"]
    assert closed.raw.calls == []


async def test_little_by_little_too_much_does_not_wait(make):
    """What waits of one connection is bounded, however small its pieces are."""
    outlet = make()
    most = 0
    for _ in range(100):
        outlet.write(b"x" * (LARGE // 10))
        most = max(most, sum(map(len, outlet._waiting)))
    assert len(outlet.raw.calls) == 9
    assert most <= LARGE


async def test_what_waits_counts_as_unwritten(make):
    """Who asks how much is on its way learns of all of it."""
    outlet = make()
    outlet.write(b"abc")
    assert outlet.get_write_buffer_size() == 3


async def test_reading_is_resumed_only_when_it_was_paused(make):
    """The transport is asked for nothing that it does already."""
    outlet = make()
    outlet.resume_reading()
    assert outlet.raw.calls == []
    outlet.pause_reading()
    outlet.resume_reading()
    assert outlet.raw.calls == ["pause_reading", "resume_reading"]


class Told(asyncio.Protocol):
    """A protocol that remembers whether it was told to write no more."""

    full = False

    def pause_writing(self) -> None:
        """Remember."""
        self.full = True


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_several_pieces_that_do_not_fit_are_told(loop):
    """Who writes in pieces hears that too much waits, on whichever loop (CVE-2024-12254 of asyncio's writelines)."""

    async def told() -> None:
        ours, theirs = pair()
        transport, protocol = await asyncio.get_running_loop().create_connection(Told, sock=ours)
        transport.set_write_buffer_limits(LARGE)
        outlet = Outlet(transport, Outbox(asyncio.get_running_loop()))
        outlet.writelines([bytes(LARGE)] * 40)
        outlet.writelines([b"a", b"b"])
        outlet.flush()
        assert protocol.full
        transport.abort()
        theirs.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(told())


async def test_who_heeds_the_end_reads_no_further_while_paused(make):
    """A paused connection's TLS reads nothing more, so that it cannot come upon the end; read on, there is room for a record."""
    for heeds in (False, True):
        outlet = make()
        if heeds:
            outlet.heed_the_end()
        limits = ["set_read_buffer_limits"] if heeds else []
        outlet.pause_reading()
        outlet.resume_reading()
        assert outlet.raw.calls == ["pause_reading", *limits, "resume_reading", *limits]
        outlet.raw.closing = True
        outlet.pause_reading()
        outlet.resume_reading()
        assert outlet.raw.calls[-2:] == ["pause_reading", "resume_reading"]
