"""What a worker inherits: real sockets and a real pipe, in a real child."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from gateway.processes.inheritance import Inheritance, listen

CHILD = """
import os, sys
from gateway.processes.inheritance import Inheritance
inherited = Inheritance.read(sys.argv[1])
listeners = inherited.listeners()
assert not any(os.get_inheritable(n) for n in (*inherited.sockets, inherited.ready, inherited.parent))
inherited.say_ready()
listeners[0].setblocking(True)
connection, _ = listeners[0].accept()
connection.sendall(b"hello " + str(int(inherited.takes_over)).encode())
"""


def test_a_child_accepts_what_was_connected_before_it_was_born():
    """A connection made while nobody accepts waits in the parent's socket; the child says that it serves, and serves it."""
    (listening,) = listen("127.0.0.1", 0)
    reading, writing = os.pipe()
    with listening, socket.create_connection(listening.getsockname(), timeout=20) as client:
        inherited = Inheritance((listening.fileno(),), writing, reading, takes_over=True)
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(inherited)], pass_fds=(*inherited.sockets, writing, reading)
        ) as child:
            os.close(writing)
            assert os.read(reading, 9) == b"1"
            assert os.read(reading, 9) == b""
            assert client.recv(9) == b"hello 1"
            assert child.wait(20) == 0
    os.close(reading)


def test_what_is_written_is_read():
    """The text of an inheritance is read as what it was."""
    for made in (Inheritance((3,), 5, 6, takes_over=False), Inheritance((3, 4), 5, 6, takes_over=True)):
        assert Inheritance.read(str(made)) == made


def test_several_may_listen_on_one_port():
    """Each place has its own sockets on the port; all of the machine's addresses are IPv4's and IPv6's."""
    (first,) = listen("127.0.0.1", 0)
    with first:
        (second,) = listen(*first.getsockname())
        with second:
            assert first.getsockname() == second.getsockname()
    everywhere = listen("", 0)
    for one in everywhere:
        one.close()
    assert {one.family for one in everywhere} <= {socket.AF_INET, socket.AF_INET6}


def test_an_address_that_is_taken_is_an_error():
    """Where somebody listens who shares with nobody there is no listening."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        try:
            listen(*other.getsockname())
        except OSError as error:
            assert error.errno  # noqa: PT017 - the one thing that may happen
        else:
            raise AssertionError
