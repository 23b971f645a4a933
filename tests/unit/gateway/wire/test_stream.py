"""A backend's connection without the loop's transport keeps asyncio's rules, on both loops, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import hashlib
import os
import resource
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

from gateway.wire.stream import MOST, ROUNDS, Stream, connect, has_broken
from tests.servers.processes import ROOT
from tests.unit.gateway.wire.bench import until


class Told:
    """A protocol that remembers what it was told, and of its transport what it could see then."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = b""
        self.expects = False
        self.error: Exception | None = None
        self.reads: list[int] = []
        self.then = lambda: None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.reads.append(len(data))
        self.then()

    def eof_received(self) -> None:
        self.calls.append("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append("lost")
        self.error = error

    def pause_writing(self) -> None:
        self.calls.append("full")

    def resume_writing(self) -> None:
        self.calls.append("room")


class Pair:
    """A stream, who is told of it, and the other end."""

    def __init__(self, told: Told, stream: Stream, peer: socket.socket) -> None:
        self.told, self.stream, self.peer = told, stream, peer

    def reset(self) -> None:
        """End the other end so that the connection is broken."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    async def sees(self, event: int) -> None:
        """Wait until the kernel has something for the stream, and the loop could have told it."""
        poll = select.poll()
        poll.register(self.stream.get_extra_info("socket"), event)
        await until(lambda: poll.poll(0))
        for _ in range(3):
            await asyncio.sleep(0)

    async def lost(self) -> None:
        """Wait for the end, and hold that it was told once and that nothing is left of it."""
        await until(lambda: "lost" in self.told.calls)
        await asyncio.sleep(0)
        assert self.told.calls.count("lost") == 1
        assert self.stream.get_extra_info("socket").fileno() == -1
        assert self.stream.is_closing()
        assert not self.stream.is_reading()


class Pairs:
    """Connects streams; closes what tests leave open."""

    def __init__(self) -> None:
        self.made: list[Pair] = []

    async def __call__(self, told: Told | None = None) -> Pair:
        """Connect a stream."""
        loop, told = asyncio.get_running_loop(), told or Told()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            stream = await connect(loop, *listener.getsockname(), told)
            peer, _ = listener.accept()
        peer.settimeout(5)
        self.made.append(Pair(told, stream, peer))
        return self.made[-1]

    def close(self) -> None:
        """Close the other ends."""
        for pair in self.made:
            pair.peer.close()


def both(test):
    """Run a test on each loop."""

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    @functools.wraps(test)
    def runs(run):
        async def whole() -> None:
            problems = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
            with contextlib.closing(Pairs()) as paired:
                async with asyncio.timeout(20):
                    await test(paired)
            assert not problems

        run(whole())

    del runs.__wrapped__
    return runs


@both
async def test_bytes_go_both_ways(paired):
    """What is written comes, and what comes is told; then it ends once."""
    pair = await paired()
    pair.stream.write(b"to")
    pair.stream.writelines([b"ge", bytearray(b"th"), memoryview(b"er")])
    assert pair.peer.recv(8, socket.MSG_WAITALL) == b"together"
    pair.peer.sendall(b"back")
    await until(lambda: pair.told.data == b"back")
    assert pair.stream.get_extra_info("ssl_object") is None
    pair.stream.close()
    assert "lost" not in pair.told.calls  # never from inside a call
    await pair.lost()
    assert pair.peer.recv(10) == b""
    pair.stream.abort()
    pair.stream.write(b"nobody hears it")
    await pair.lost()


@both
async def test_what_finds_no_room_waits_in_order(paired):
    """Beyond the socket's room a copy waits, the protocol is told of it and of its end, and close writes it first."""
    pair, data = await paired(), bytearray(b"x" * (8 << 20))
    pair.stream.set_write_buffer_limits(1 << 19, 1 << 17)
    pair.stream.write(data)
    data[:] = b"y" * len(data)  # it is its owner's again
    pair.stream.write(b"last")
    assert pair.told.calls == ["full"]
    assert pair.stream.get_write_buffer_size() > 1 << 19
    pair.stream.close()
    got = await asyncio.to_thread(pair.peer.makefile("rb").read)
    assert got == b"x" * len(data) + b"last"
    await pair.lost()
    assert pair.told.calls == ["full", "room", "lost"]


@both
async def test_abort_throws_away_what_waits(paired):
    """Nothing more is written, and the end is told."""
    pair = await paired()
    pair.stream.write(b"x" * (8 << 20))
    pair.stream.abort()
    assert pair.stream.get_write_buffer_size() == 0
    await pair.lost()
    assert pair.told.error is None


@both
async def test_a_paused_one_is_not_read(paired):
    """Bytes and the end wait in the kernel until it is read on."""
    pair = await paired()
    pair.stream.pause_reading()
    pair.peer.sendall(b"later")
    pair.peer.close()
    await pair.sees(select.POLLRDHUP)
    assert (pair.told.data, pair.told.calls, pair.stream.is_reading()) == (b"", [], False)
    pair.stream.resume_reading()
    await pair.lost()
    assert (pair.told.data, pair.told.calls) == (b"later", ["eof", "lost"])


@both
async def test_a_break_is_told_with_the_bytes_before_it(paired):
    """A reset behind the last bytes is found, whether they are read in one turn with it or not: uvloop tells of it once only."""
    told = Told()
    told.expects = True
    pair = await paired(told)
    pair.stream.pause_reading()
    pair.peer.sendall(b"half of it")
    pair.reset()
    await pair.sees(select.POLLERR)
    pair.stream.resume_reading()
    await pair.lost()
    assert told.data == b"half of it"
    assert isinstance(told.error, ConnectionResetError)


@both
async def test_what_was_said_before_a_break_is_heard_although_writing_failed(paired):
    """An early answer is not lost because the rest of the question could not be sent."""
    pair = await paired()
    pair.peer.sendall(b"too large")
    pair.reset()
    pair.stream.write(b"the rest")
    assert pair.told.calls == []  # from the loop
    assert pair.stream.is_closing()  # nobody else is given it meanwhile
    await pair.lost()
    assert pair.told.data == b"too large"
    assert isinstance(pair.told.error, ConnectionError)
    assert "eof" not in pair.told.calls  # a body that ends with its connection would look whole


@both
async def test_what_waits_is_given_up_when_the_connection_breaks(paired):
    """Also when it was closed already: the end is told, with its reason."""
    for closed in (False, True):
        pair = await paired()
        pair.stream.write(b"x" * (8 << 20))
        if closed:
            pair.stream.close()
        pair.reset()
        await pair.lost()
        assert isinstance(pair.told.error, ConnectionError)


@both
async def test_nobody_reads_for_as_long_as_somebody_sends(paired):
    """Many bytes come in large pieces, and others have their turns between them."""
    told = Told()
    told.expects = True
    pair = await paired(told)
    turns, most, left = [0], [0], 64 << 20

    def turn() -> None:
        turns.append(0)
        if sum(told.reads) < left:
            asyncio.get_running_loop().call_soon(turn)

    def read() -> None:
        told.data = b""
        hashlib.sha256(bytes(told.reads[-1])).digest()  # slower than who sends: there is always more
        turns[-1] += 1
        most[0] = max(most[0], turns[-1])

    told.then = read
    turn()
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(pair.peer.sendall, b"x" * left))
        await until(lambda: sum(told.reads) == left)
    assert MOST // 8 < max(told.reads) <= MOST
    assert most[0] <= 2 * ROUNDS  # what was planned, and what the loop says of the socket
    pair.stream.close()
    await pair.lost()


@both
async def test_a_protocol_that_pauses_gets_nothing_more(paired):
    """Not even what is read in the same turn."""
    told = Told()
    told.expects = True
    pair = await paired(told)
    told.then = pair.stream.pause_reading
    pair.peer.sendall(b"x" * (1 << 20))
    await until(lambda: bool(told.reads))
    await pair.sees(select.POLLIN)
    assert len(told.reads) == 1
    told.then = pair.stream.abort
    pair.stream.resume_reading()
    await pair.lost()
    assert len(told.reads) == 2


def test_a_mistake_of_the_protocol_ends_the_connection():
    """It is told to the loop, and nobody waits for an answer that was read and lost."""

    async def story() -> None:
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        with contextlib.closing(Pairs()) as paired:
            pair = await paired()
            pair.told.then = lambda: 1 // 0
            pair.peer.sendall(b"x")
            await pair.lost()
        assert isinstance(problems[0]["exception"], ZeroDivisionError)
        assert isinstance(
            pair.told.error, ConnectionAbortedError
        )  # None would end a body that ends with its connection

    for run in (asyncio.run, uvloop.run):
        run(story())


@both
async def test_nobody_there_is_an_error(paired):
    """Refused, and cut short: nothing is left open."""
    loop = asyncio.get_running_loop()
    assert not paired.made
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await connect(loop, *bound.getsockname(), Told())
        bound.listen(0)
        held = [socket.create_connection(bound.getsockname())]  # the queue is full now: who comes next waits
        told = Told()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connect(loop, *bound.getsockname(), told), 0.1)
        assert not hasattr(told, "transport")
        held[0].close()


@both
async def test_the_next_socket_of_a_number_is_heard(paired):
    """A watch that failed with one connection is not taken for the next one's that has its descriptor."""
    numbers = set()
    for _ in range(3):
        pair = await paired()
        numbers.add(pair.stream.get_extra_info("socket").fileno())
        pair.peer.sendall(b"x")
        await until(lambda pair=pair: pair.told.data == b"x")
        pair.reset()
        await pair.lost()
    assert len(numbers) == 1


@both
async def test_a_break_behind_a_whole_answer_can_be_asked_for(paired):
    """The loop tells of it with the answer, once, and nobody reads on: the kernel is asked before the connection is trusted."""
    pair = await paired()
    sock = pair.stream.get_extra_info("socket")
    pair.stream.pause_reading()
    assert not has_broken(sock)
    pair.peer.sendall(b"a whole answer")
    assert not has_broken(sock)
    pair.reset()
    await pair.sees(select.POLLERR)
    assert has_broken(sock)
    pair.stream.resume_reading()
    await until(lambda: pair.told.data)
    assert pair.told.data == b"a whole answer"
    pair.stream.abort()
    await pair.lost()


def test_connecting_waits_for_no_name_server():
    """An address is connected to without the threads that look names up, which a silent name server may hold."""
    program = """
import asyncio, os, socket, uvloop
from gateway.wire.stream import connect
class Told:
    def connection_made(self, transport): pass
    def connection_lost(self, error): pass
async def main():
    before = len(os.listdir("/proc/self/task"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await connect(asyncio.get_running_loop(), *listener.getsockname(), Told())
        print(len(os.listdir("/proc/self/task")) - before)
        stream.abort()
        await asyncio.sleep(0)
uvloop.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "0"


@both
async def test_no_memory_for_what_comes_ends_the_connection(paired):
    """An error that nobody can wait for is told once: the loop would try again as long as bytes are there."""
    pair = await paired()
    read = os.read

    def short(number: int, size: int) -> bytes:
        if number == pair.stream.get_extra_info("socket").fileno():
            raise MemoryError
        return read(number, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", short)
        pair.peer.sendall(b"hello")
        await pair.lost()
    assert pair.told.error.errno == errno.ENOMEM
    assert pair.told.data == b""


@contextlib.contextmanager
def little_memory():
    """Leave this process 8 MiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (8 << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@both
async def test_no_memory_for_what_finds_no_room_is_a_break(paired):
    """What could not be kept is missing: nothing may follow it."""
    pair = await paired()
    data = bytes(1 << 29)  # more than a heap has left from other tests; nothing of it is touched
    with little_memory():
        pair.stream.write(data)
    assert pair.stream.is_closing()
    pair.stream.write(b"more")
    await pair.lost()
    assert pair.told.error.errno == errno.ENOMEM
