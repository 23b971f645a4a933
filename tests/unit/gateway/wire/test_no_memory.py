"""A transfer that gets no memory ends: nothing goes on with a hole in it, or with bytes of another's."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from gateway.wire import carriers, sieve
from gateway.wire.feed import Feed
from gateway.wire.pump import Pump, TargetBroken
from gateway.wire.sieve import Sieve
from tests.unit.gateway.wire.bench import until
from tests.unit.gateway.wire.lines import a_line

SIZE = 48 << 20  # more than two sockets hold


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine on one of the loops; a callback that raised fails the test."""
    troubles = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: troubles.append(context))
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, 60))
    assert troubles == []


class Through:
    """A relay that lets everything through."""

    def sift(self, data: memoryview) -> list[memoryview]:
        return [data]

    def fits(self, room: int) -> int:
        return room

    def finish(self) -> None:
        """Accept."""


class Back(Through):
    """A relay that holds everything back until it has all of `count` bytes."""

    def __init__(self, count: int) -> None:
        self.left, self.held = count, bytearray()

    def sift(self, data: memoryview) -> list[memoryview]:
        self.held += data
        self.left -= len(data)
        return [] if self.left else [memoryview(self.held)]


def nothing(*_):
    """Have no memory."""
    raise MemoryError


class Told:
    """What a transfer tells of itself."""

    def __init__(self) -> None:
        self.moved: list[int] = []
        self.ends: list[BaseException | None] = []

    def done(self, moved: int, error: BaseException | None) -> None:
        self.ends.append(error)


@pytest.mark.parametrize("looked_at", [False, True])
def test_what_the_target_did_not_take_is_never_another_transfers(run, monkeypatch, looked_at):
    """Where it cannot be kept the transfer ends: the thread's buffer has the next one's bytes in it by then."""
    if looked_at:
        monkeypatch.setattr(Sieve, "_own", nothing)
    else:
        monkeypatch.setattr(carriers.Buffer, "_own", nothing)
        monkeypatch.setattr(carriers.PipePool, "get", lambda _: carriers.Buffer())

    async def test():
        async with a_line() as line:
            told = Told()
            pump = Pump(
                line.source, line.target, SIZE, told.done, told.moved.append, Sieve(Through()) if looked_at else None
            )
            pump.start()
            await line.feed(b"A" * 300_000)
            await until(lambda: told.ends)
            assert [type(error) for error in told.ends] == [TargetBroken]
            assert pump._fds == []
            assert pump._waits is None

    run(test())


class Pieces(list):
    """More pieces than are written one by one, and no memory to join them."""

    def __len__(self) -> int:
        return sieve.MOST + 1

    def __iter__(self):
        raise MemoryError


def test_pieces_that_cannot_be_joined_end_the_transfer(run, monkeypatch):
    """Bytes that were taken are lost then: the body does not go on without them."""
    monkeypatch.setattr(Through, "sift", lambda *_: Pieces())

    async def test():
        async with a_line() as line:
            told = Told()
            Pump(line.source, line.target, SIZE, told.done, None, Sieve(Through())).start()
            await line.feed(b"A" * 1000)
            await until(lambda: told.ends)
            assert [type(error) for error in told.ends] == [TargetBroken]

    run(test())


class Full:
    """A target without memory for what it is given."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        raise MemoryError


def test_an_answer_that_is_fed_has_no_hole(run):
    """What could not be given is not skipped: the feed ends."""

    async def test():
        async with a_line() as line:
            told = Told()
            feed = Feed(line.source, Full(), SIZE, told.done, told.moved.append, full=False)
            feed.start()
            await line.feed(b"A" * 1000)
            await until(lambda: told.ends)
            assert [type(error) for error in told.ends] == [TargetBroken]
            assert feed._fd == -1

    run(test())


def test_a_target_that_takes_what_was_held_back_lives(run):
    """A large chunk is let go at once and taken slowly: whoever watches is told that it is taken."""

    async def test():
        async with a_line() as line:
            told = Told()
            Pump(line.source, line.target, SIZE, told.done, told.moved.append, Sieve(Back(SIZE))).start()
            await line.feed(bytes(SIZE))
            await until(lambda: sum(told.moved) == SIZE - 1)
            before, arrived = len(told.moved), 0
            while len(told.moved) == before:
                arrived += len(await line.read(1 << 16))
            assert told.moved[-1] == 0
            await line.read(SIZE - arrived)
            await until(lambda: told.ends)
            assert (told.ends, sum(told.moved)) == ([None], SIZE)

    run(test())
