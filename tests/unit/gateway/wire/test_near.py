"""The window of a near source is bounded, nobody else's is."""

from __future__ import annotations

import contextlib
import socket
import sys

import pytest

from gateway.wire.near import NEAR, WINDOW, bound_window


@pytest.fixture
def pair():
    """A connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as one:
        other, _ = listener.accept()
        with other:
            yield one, other


def window(sock: socket.socket) -> int:
    """Return what the kernel holds its window to."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP)


def test_a_source_beside_us_has_a_bounded_window(pair):
    """Loopback is near, from either end; asking twice changes nothing."""
    for sock in (*pair, *pair):
        assert bound_window(sock)
        assert window(sock) == WINDOW


def test_a_source_at_a_distance_keeps_its_window(pair):
    """A round trip longer than what counts as near leaves the connection as it was."""
    before = window(pair[0])
    assert not bound_window(pair[0], near=0)
    assert window(pair[0]) == before != WINDOW


class Told:
    """A socket whose kernel says something else."""

    def __init__(self, info: bytes) -> None:
        self.info, self.asked = info, []

    def getsockopt(self, *_: int) -> bytes:
        return self.info

    def setsockopt(self, *asked: int) -> None:
        self.asked.append(asked)


@pytest.mark.parametrize(
    ("info", "near"),
    [
        (bytes(148) + NEAR.to_bytes(4, sys.byteorder), True),
        (bytes(148) + (NEAR + 1).to_bytes(4, sys.byteorder), False),
        (bytes(148) + b"\xff\xff\xff\xff", False),  # nothing measured yet
        (bytes(104), False),  # a kernel that does not tell
    ],
)
def test_only_what_is_known_to_be_near_is_near(info, near):
    """The shortest round trip decides, where there is one."""
    sock = Told(info)
    assert bound_window(sock) is near
    assert bool(sock.asked) is near


def test_what_is_no_tcp_is_left_alone():
    """Neither a pipe nor a closed socket is an error."""
    one, other = socket.socketpair()
    with one, other:
        assert not bound_window(one)
    with contextlib.closing(socket.socket()) as closed:
        closed.close()
        assert not bound_window(closed)
