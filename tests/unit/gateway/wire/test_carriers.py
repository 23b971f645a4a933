"""A pipe goes from one transfer to another only when it is empty, in bounded number, and never into another process."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gateway.wire.carriers import COPIED, SIZES, Buffer, Pipe, PipePool

pytestmark = pytest.mark.slow  # sockets by the hundred, on both loops

ROOT = Path(__file__).parents[4]


@pytest.fixture
def pool():
    pool = PipePool(kept=2)
    yield pool
    pool.close()


def is_open(*numbers: int) -> bool:
    return all(Path(f"/proc/self/fd/{number}").exists() for number in numbers)


def test_an_empty_pipe_is_used_again(pool):
    """What was put back is what is got."""
    pipe = pool.get()
    pipe.lend_back()
    assert pool.get() is pipe
    pipe.lend_back()


def test_a_pipe_that_holds_bytes_is_closed(pool):
    """The next transfer's client would receive them."""
    pipe = pool.get()
    ends = pipe._reader, pipe._writer
    pipe.held = os.write(pipe._writer, b"another's secret")
    pipe.lend_back()
    assert len(pool) == 0
    assert not is_open(*ends)


def test_the_pool_is_bounded(pool):
    """No more idle pipes are kept than were asked for."""
    pipes = [pool.get() for _ in range(5)]
    for pipe in pipes:
        pipe.lend_back()
    assert len(pool) == 2
    assert [is_open(pipe._reader, pipe._writer) for pipe in pipes] == [True, True, False, False, False]


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_smaller_pipe(pool, monkeypatch, refused):
    """A size the kernel refuses is followed by the next smaller one."""
    fcntl_ = fcntl.fcntl

    def limited(number, command, size):
        if size in SIZES[:refused]:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return fcntl_(number, command, size)

    monkeypatch.setattr(fcntl, "fcntl", limited)
    pipe = Pipe(pool)
    assert (pipe.size, fcntl_(pipe._writer, fcntl.F_GETPIPE_SZ)) == (SIZES[refused], SIZES[refused])
    pipe.close()


def test_no_pipe_of_any_size(pool, monkeypatch):
    """Where every size is refused there is no pipe, and none stays open."""
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    ends = []
    make = os.pipe2
    monkeypatch.setattr(os, "pipe2", lambda flags: ends.append(make(flags)) or ends[-1])
    with pytest.raises(PermissionError):
        pool.get()
    assert not is_open(*ends[0])


def refuse(*_):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_what_a_stalled_target_did_not_take_is_kept_apart():
    """The shared buffer is the next transfer's at once: what waits is a copy."""
    (source, feed), (slow, target) = os.pipe(), os.pipe()
    os.set_blocking(target, False)
    fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, 4096)
    os.write(feed, b"a" * 5000)
    first, second = Buffer(), Buffer()
    assert (first.take(source, COPIED), first.give(target, more=True), first.held) == (5000, 4096, 904)
    os.write(feed, b"b" * 5000)
    second.take(source, COPIED)
    assert (first.rest(), first.held) == (b"a" * 904, 0)
    with pytest.raises(BlockingIOError):
        second.give(target, more=False)
    os.write(feed, b"c" * 5000)
    Buffer().take(source, COPIED)
    assert second.rest() == b"b" * 5000
    for number in (source, feed, slow, target):
        os.close(number)


UNPRIVILEGED = """
    import asyncio, fcntl, os, sys
    from gateway.wire.carriers import PIPES
    from tests.unit.gateway.wire.lines import Transfer, a_line, sha256

    async def main():
        async with a_line() as line:
            data = os.urandom(4 << 20)
            transfer = Transfer(line.source, line.target, len(data))
            end, arrived, _ = await asyncio.gather(transfer.outcome(), line.read(len(data)), line.feed(data))
            assert (end, sha256(arrived)) == ((len(data), None), sha256(data))

    "localhost".encode("idna")  # what is loaded late is not readable to everybody
    if os.getuid() == 0:
        os.setgroups([])
        os.setuid(54_321)
    asyncio.run(main())
    assert len(PIPES) == 1, "within the limit pipes are used"
    PIPES.close()
    held = []
    try:
        while True:
            held.append(os.pipe())
            fcntl.fcntl(held[-1][1], fcntl.F_SETPIPE_SZ, 1 << 18)
    except PermissionError:
        pass
    asyncio.run(main())
    assert len(PIPES) == 0, "beyond it bytes are copied"
"""

FORKED = """
    import os
    from gateway.wire.carriers import PIPES
    PIPES.get().lend_back()
    child = os.fork()
    if not child:
        os._exit(len(PIPES))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(PIPES) == 1
"""


def program(text: str) -> None:
    """Run a program of its own. Raises CalledProcessError."""
    subprocess.run([sys.executable, "-c", textwrap.dedent(text)], cwd=ROOT, check=True, timeout=120)


@pytest.mark.skipif(
    Path("/proc/sys/fs/pipe-user-pages-soft").read_text().strip() == "0", reason="this kernel limits nobody's pipes"
)
def test_the_pipes_of_an_unprivileged_user_are_used_up():
    """Beyond fs.pipe-user-pages-soft the kernel refuses real pipes to a real unprivileged user: the bytes are copied."""
    program(UNPRIVILEGED)


def test_a_forked_process_has_no_pipes_of_its_parent():
    """Two processes that share a pipe would mix their clients' bytes."""
    program(FORKED)
