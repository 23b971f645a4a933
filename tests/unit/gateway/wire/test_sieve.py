"""A sieve lets go what its relay lets out, keeps nothing in the thread's buffer, and says what has gone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence

import pytest

from gateway.wire.carriers import COPIED
from gateway.wire.sieve import LOOKED, MOST, Refused, Sieve


class Late:
    """A relay that lets out every piece when the next one comes, the last at the end, in pieces of one byte if told so."""

    keeps_length = True

    def __init__(self, *, bad: bytes = b"?", tiny: bool = False) -> None:
        self.bad, self.tiny, self.before, self.finished = bad, tiny, b"", False
        self.rooms: list[int] = []
        self.most = 1 << 30

    def feed(self, data: bytes) -> bytes:
        return b"".join(self.sift(memoryview(data)))

    def sift(self, data: memoryview) -> Sequence[memoryview]:
        if self.bad in bytes(data):
            raise ValueError("bad")
        out, self.before = memoryview(self.before), b""
        self.before = bytes(data)
        return [out[at : at + 1] for at in range(len(out))] if self.tiny else [out]

    def fits(self, room: int) -> int:
        self.rooms.append(room)
        return min(room, self.most)

    def finish(self) -> None:
        self.finished = True


class Open(Late):
    """A relay that lets everything out at once."""

    def sift(self, data: memoryview) -> Sequence[memoryview]:
        return [data[:1], data[1:]]

    def finish(self) -> None:
        raise ValueError("not the end")


@pytest.fixture
def line():
    """Give the ends of two pipes: the source's, what feeds it, the target, and what reads it; the target holds 4 KiB."""
    (source, feed), (reader, target) = os.pipe(), os.pipe()
    os.set_blocking(target, False)
    fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, 4096)
    yield source, feed, target, reader
    for number in (source, feed, target, reader):
        os.close(number)


def test_what_the_relay_holds_back_has_gone_as_far_as_it_can(line):
    """Bytes that were taken and not let out are none that wait for the target."""
    source, feed, target, reader = line
    sieve = Sieve(Late())
    os.write(feed, b"first")
    assert (sieve.take(source, 100), sieve.held) == (5, 5)
    assert (sieve.give(target, more=True), sieve.held) == (5, 0)
    os.write(feed, b"second")
    assert sieve.take(source, 95) == 6
    assert (sieve.give(target, more=True), sieve.held) == (6, 0)
    assert os.read(reader, 100) == b"first"


def test_the_relay_says_how_much_it_likes_to_take(line):
    """No more is read than that, nor than the body still has."""
    source, feed, *_ = line
    relay = Late()
    relay.most = 7
    sieve = Sieve(relay)
    os.write(feed, b"a" * 20)
    assert [sieve.take(source, 20), sieve.take(source, 13), sieve.take(source, 6)] == [7, 7, 6]
    assert relay.rooms == [COPIED] * 3


def test_at_the_limit_the_relay_is_asked_before_the_last_bytes_leave(line):
    """A body that is whole and not good never leaves whole."""
    source, feed, *_ = line
    relay = Late()
    os.write(feed, b"abc")
    Sieve(relay).take(source, 4)
    assert not relay.finished
    os.write(feed, b"d")
    Sieve(relay).take(source, 1)
    assert relay.finished
    os.write(feed, b"end")
    sieve = Sieve(Open())
    with pytest.raises(Refused) as refused:
        sieve.take(source, 3)
    assert isinstance(refused.value.reason, ValueError)
    assert (sieve.rest(), sieve.held) == (b"", 0)


def test_a_refusal_says_why(line):
    """The relay's own error goes to whoever asked for the transfer."""
    source, feed, *_ = line
    os.write(feed, b"what?")
    with pytest.raises(Refused, match="bad") as refused:
        Sieve(Late()).take(source, 100)
    assert str(refused.value.reason) == "bad"


def test_what_a_stalled_target_did_not_take_is_kept_apart(line):
    """The thread's buffer is the next transfer's at once: what waits is a copy, and the last byte counts when all are gone."""
    source, feed, target, reader = line
    first, second = Sieve(Open()), Sieve(Open())
    os.write(feed, b"a" * 5000)
    assert (first.take(source, 9999), first.give(target, more=True), first.held) == (5000, 4096, 904)
    os.write(feed, b"b" * 5000)
    second.take(source, 9999)
    with pytest.raises(BlockingIOError):
        first.give(target, more=True)
    with pytest.raises(BlockingIOError):
        second.give(target, more=True)
    os.write(feed, b"c" * 100)
    Sieve(Open()).take(source, 9999)
    assert os.read(reader, 9999) == b"a" * 4096
    assert (first.give(target, more=True), first.held) == (904, 0)
    assert os.read(reader, 9999) == b"a" * 904
    assert second.rest() == b"b" * 5000


def test_many_small_pieces_are_one(line):
    """The kernel takes 1,024 pieces at a time; whoever sends byte by byte must not come near."""
    source, feed, target, reader = line
    sieve = Sieve(Late(tiny=True))
    for data in (b"x" * (MOST + 1), b"y"):
        os.write(feed, data)
        sieve.take(source, 9999)
        sieve.give(target, more=True)
    assert os.read(reader, 9999) == b"x" * (MOST + 1)


def test_a_target_that_stalls_is_given_less_at_a_time(line):
    """What is held for a target that takes nothing is bounded by the smaller size, once it has shown that it stalls."""
    source, feed, target, reader = line
    sieve = Sieve(Open())
    assert sieve._size == COPIED
    for size, then in ((10, LOOKED), (5000, COPIED), (0, LOOKED)):
        if size:
            os.write(feed, b"x" * size)
            sieve.take(source, 9999)
        sieve.give(target, more=True)
        assert sieve._size == then
        os.read(reader, 9999)
