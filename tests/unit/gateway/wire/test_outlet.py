"""Writes of one round go out at its end, in their order; what closes, ends or hands over a connection writes them first."""

from __future__ import annotations

import asyncio

import pytest

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
