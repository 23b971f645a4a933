"""A client that vanishes, at every phase of its request: the backend is freed, and nothing of it stays in the gateway."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.servers.front import Front, read
from tests.servers.processes import until
from tests.servers.recording import Recorded
from tests.servers.scripted import EMPTY, OK, Peer, ScriptedBackend, answer_empty, content, length, reset
from tests.traps.raw import Wire, signed, written

AT_ONCE = 25
LARGE = 24 << 20  # more than all the buffers on the way hold


class Watch:
    """A backend's view of one phase: how many requests have come so far as they shall, and how many were let go again."""

    def __init__(self, scripted: ScriptedBackend, said: bytes = b"", taken: int = 0) -> None:
        self.came = self.left = self.whole = 0
        self._lock = threading.Lock()
        self._said, self._taken = said, taken
        scripted.told(self)

    def __call__(self, peer: Peer, asked: Recorded) -> None:
        """Take so much, say so much, and wait until the gateway lets go."""
        peer.read(self._taken)
        self._count("came")
        try:
            peer.say(self._said)
        finally:
            rest = length(asked) - self._taken
            if rest > 0 and peer.digest(rest):
                self._count("whole")
            peer.left()
            self._count("left")

    def _count(self, name: str) -> None:
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)


HALF_A_PUT = {"Content-Length": "100000"}


def in_its_head(gateway: Front, wire: Wire) -> None:
    """Send half a head."""
    wire.send(gateway.head("GET", "/bkt/k")[:60])


def in_its_body(gateway: Front, wire: Wire) -> None:
    """Send half a body."""
    wire.send(gateway.head("PUT", "/bkt/k", HALF_A_PUT) + content(50_000))


def in_a_large_body(gateway: Front, wire: Wire) -> None:
    """Send a part of a body that is still large."""
    wire.send(gateway.head("PUT", "/bkt/k", {"Content-Length": str(1 << 30)}) + content(1 << 20))


def in_a_chunked_body(gateway: Front, wire: Wire) -> None:
    """Send a part of a chunk."""
    mode = {"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": str(1 << 20)}
    headers = signed(gateway, "PUT", "/bkt/k", mode) | {"Transfer-Encoding": "chunked"}
    wire.send(written("PUT", "/bkt/k", headers) + b"100008\r\n100000\r\n" + content(1_000_000))


def in_a_document(gateway: Front, wire: Wire) -> None:
    """Send a part of a body that must be read whole."""
    wire.send(gateway.head("POST", "/bkt?delete=", HALF_A_PUT) + b"<Delete>")


def while_it_waits(gateway: Front, wire: Wire) -> None:
    """Ask."""
    wire.send(gateway.head("GET", "/bkt/k"))


def after_its_upload(gateway: Front, wire: Wire) -> None:
    """Put a whole object."""
    wire.send(gateway.head("PUT", "/bkt/k", HALF_A_PUT) + content(100_000))


def in_its_answer(gateway: Front, wire: Wire) -> None:
    """Ask, and read where the answer begins."""
    wire.send(gateway.head("GET", "/bkt/k"))
    assert wire.socket.recv(1000).startswith(b"HTTP/1.1 200")


def in_a_queue(gateway: Front, wire: Wire) -> None:
    """Ask three times at once."""
    wire.send(gateway.head("GET", "/bkt/k") * 3)


#: phase -> what the client does, how much the backend takes, what it says, how many requests it sees of each client.
PHASES: dict[str, tuple[Callable[[Front, Wire], None], int, bytes, int]] = {
    "in its head": (in_its_head, 0, b"", 0),
    "in its body": (in_its_body, 50_000, b"", 1),
    "in a large body": (in_a_large_body, 1 << 20, b"", 1),
    "in a chunked body": (in_a_chunked_body, 0, b"", 1),
    "in a document": (in_a_document, 0, b"", 0),
    "while it waits": (while_it_waits, 0, b"", 1),
    "after its upload": (after_its_upload, 100_000, b"", 1),
    "in a small answer": (in_its_answer, 0, OK + b"Content-Length: 100\r\n\r\n" + content(50), 1),
    "in an answer": (in_its_answer, 0, OK + b"Content-Length: 500000\r\n\r\n" + content(300_000), 1),
    "in a large answer": (in_its_answer, 0, OK + b"Content-Length: %d\r\n\r\n" % LARGE + content(LARGE), 1),
    "in chunks": (in_its_answer, 0, OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 1),
    "in a queue": (in_a_queue, 0, b"", 1),
}


@pytest.fixture(scope="module")
def rest(patient: Front, scripted: ScriptedBackend) -> int:
    """How many sockets the gateway has open when it rests: its listener and its loop's."""
    scripted.told(answer_empty)
    patient.serves()
    patient.rests(6)
    return patient.own_sockets


@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_vanishes_leaves_nothing(patient: Front, scripted: ScriptedBackend, rest: int, phase: str):
    """Its backend's connection is let go at once, its descriptors are closed, and its request is in flight no longer."""
    does, taken, said, asks = PHASES[phase]
    watch, pipes = Watch(scripted, said, taken), patient.vitals.pipes
    wires = [Wire(patient.port) for _ in range(AT_ONCE)]
    for wire in wires:
        does(patient, wire)
    until(lambda: watch.came == asks * AT_ONCE, "the backend is where it shall be")
    for wire in wires:
        reset(wire.socket)
    until(lambda: watch.left == asks * AT_ONCE, "every connection of theirs is let go")
    assert watch.whole == 0
    patient.rests(rest)
    assert patient.vitals.pipes <= pipes + 64  # empty ones are kept for the next: no more than their pool holds
    scripted.told(answer_empty)
    patient.serves()


@pytest.mark.parametrize(
    "phase", ["in its head", "in its body", "in a large body", "in a chunked body", "in a document"]
)
def test_a_client_that_ends_too_early_leaves_nothing(patient: Front, scripted: ScriptedBackend, rest: int, phase: str):
    """A polite end within a request is one too: nothing of it becomes whole, and all of it is let go."""
    does, taken, said, asks = PHASES[phase]
    watch = Watch(scripted, said, taken)
    wires = [Wire(patient.port) for _ in range(AT_ONCE)]
    for wire in wires:
        does(patient, wire)
    until(lambda: watch.came == asks * AT_ONCE, "the backend is where it shall be")
    for wire in wires:
        wire.socket.close()
    until(lambda: watch.left == asks * AT_ONCE, "every connection of theirs is let go")
    assert watch.whole == 0
    patient.rests(rest)


def test_a_client_that_leaves_politely_is_noticed_by_its_answer(patient: Front, scripted: ScriptedBackend, rest: int):
    """Who closes after a whole request may still be reading; when its answer meets nobody, that is let go as well."""
    answer, said = threading.Event(), OK + b"Content-Length: %d\r\n\r\n" % LARGE + content(LARGE)

    def script(peer: Peer, _: Recorded) -> None:
        answer.wait(20)
        peer.say(said)

    asked = scripted.told(script)
    wires = [Wire(patient.port) for _ in range(AT_ONCE)]
    for wire in wires:
        while_it_waits(patient, wire)
    until(lambda: len(asked) == AT_ONCE, "all are asked")
    for wire in wires:
        wire.socket.close()
    answer.set()
    patient.rests(rest)


def test_a_client_that_vanishes_between_its_requests(patient: Front, scripted: ScriptedBackend, rest: int):
    """Of pipelined requests those that were not begun are not begun any more, and the answered ones cost nothing."""
    gate = threading.Event()

    def script(peer: Peer, asked: Recorded) -> None:
        if "/bkt/second" in asked.line:
            peer.left()
            gate.set()
            return
        peer.say(EMPTY)

    asked = scripted.told(script)
    with Wire(patient.port) as wire:
        wire.send(b"".join(patient.head("GET", f"/bkt/{name}") for name in ("first", "second", "third")))
        assert read(wire).status == 200
        until(lambda: len(asked) == 2, "the second is under way")
        reset(wire.socket)
    assert gate.wait(20)
    patient.rests(rest)
    assert [r.line.split()[1] for r in asked] == ["/bkt/first", "/bkt/second"]


def test_a_client_that_vanishes_while_its_backend_is_connected_to(patient: Front, scripted: ScriptedBackend, rest: int):
    """A connection that was opened for somebody who left serves the next, or is closed: it is not lost."""
    scripted.told(answer_empty)
    for _ in range(10):
        wires = [Wire(patient.port).send(patient.head("GET", "/bkt/k")) for _ in range(AT_ONCE)]
        for wire in wires:
            reset(wire.socket)
    patient.rests(rest)
    patient.serves()
