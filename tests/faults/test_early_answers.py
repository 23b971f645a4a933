"""A backend that answers before an upload has ended: its refusal arrives, its success is none."""

from __future__ import annotations

import threading

import pytest

from tests.servers.front import Fetched, Front, read
from tests.servers.processes import until
from tests.servers.recording import Recorded
from tests.servers.scripted import OK, Peer, ScriptedBackend, answer_empty, content
from tests.traps.raw import Wire, signed, written

REFUSAL = b"<Error><Code>EntityTooLarge</Code></Error>"
DENIED = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n%%b\r\n%%b" % len(REFUSAL)
SIZES = {"100 B": 100, "60 KiB": 60_000, "1 MiB": 1 << 20, "24 MiB": 24 << 20}
PARTS = {"at once": 0, "in the middle": 2, "before the last byte": 1}


class Upload:
    """An upload that is sent on a thread: to its end, or as far as somebody takes it."""

    def __init__(self, gateway: Front, size: int, hold: int = 0) -> None:
        self.wire = Wire(gateway.port, timeout=30)
        head = gateway.head("PUT", "/bkt/early", {"Content-Length": str(size)})
        body = content(size - hold)  # the last `hold` bytes never come
        self.thread = threading.Thread(target=self.wire.send, args=(head + body,))
        self.thread.start()

    def answer(self) -> Fetched:
        """Return what an ordinary client reads while it still sends."""
        got = read(self.wire, "PUT")
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.wire.socket.close()
        return got


def answering(answer: bytes, taken: int, then):
    """Return a script that reads so much of the body, answers, and goes on as it is told."""

    def script(peer: Peer, _: Recorded) -> None:
        peer.read(taken)
        peer.say(answer)
        then(peer)

    return script


def taken_of(size: int, part: int) -> int:
    """Return how much of an upload a backend reads before it answers."""
    return {0: 0, 1: size - 1, 2: size // 2}[part]


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_early_refusal_arrives(patient: Front, scripted: ScriptedBackend, size: int, part: int):
    """The client of an upload that is refused on its way reads why, although it still sends, and its connection ends."""
    for fields, then in ((b"", Peer.left), (b"Connection: close\r\n", Peer.end), (b"Connection: close\r\n", Peer.left)):
        scripted.told(answering(DENIED % (fields, REFUSAL), taken_of(size, part), then))
        assert Upload(patient, size, hold=1).answer() == Fetched(400, REFUSAL, cut=False)
    scripted.told(answer_empty)
    patient.serves()


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_early_success_is_none(patient: Front, scripted: ScriptedBackend, size: int, part: int):
    """What was not read whole was not stored: no client is told that it was."""
    for then in (Peer.left, Peer.end):
        scripted.told(answering(OK + b"Content-Length: 0\r\n\r\n", taken_of(size, part), then))
        assert Upload(patient, size, hold=1).answer().status == 503
    scripted.told(answer_empty)
    patient.serves()


def test_what_is_left_of_a_refused_upload_is_no_request(patient: Front, scripted: ScriptedBackend):
    """A request hidden in the rest of a body whose refusal came early is never answered, and never reaches a backend."""
    asked = scripted.told(answering(DENIED % (b"", REFUSAL), 10, Peer.left))
    hidden = patient.head("GET", "/bkt/secret")
    with Wire(patient.port) as wire:
        wire.send(patient.head("PUT", "/bkt/k", {"Content-Length": "100000"}) + content(1000))
        assert read(wire, "PUT").status == 400
        wire.send(hidden + hidden)
        assert wire.closed()
    assert not [r for r in asked if "secret" in r.line]


def test_an_upload_that_is_not_read_frees_its_connection(patient: Front, scripted: ScriptedBackend):
    """After an early refusal nothing stays: the backend's connection ends, and no request is in flight."""
    scripted.told(answering(DENIED % (b"", REFUSAL), 0, Peer.left))
    patient.rests(6)
    before = patient.own_sockets
    uploads = [Upload(patient, 8 << 20, hold=1) for _ in range(16)]
    assert {upload.answer().status for upload in uploads} == {400}
    patient.rests(before)
    until(lambda: scripted.connections <= 1, "the backend's connections are let go")


def test_an_early_refusal_of_a_chunked_upload_arrives(patient: Front, scripted: ScriptedBackend):
    """The same holds for a body of unknown length, whose payload is aws-chunked."""
    scripted.told(answering(DENIED % (b"", REFUSAL), 0, Peer.left))
    mode = {"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": str(1 << 20)}
    headers = signed(patient, "PUT", "/bkt/k", mode) | {"Transfer-Encoding": "chunked"}
    with Wire(patient.port) as wire:
        wire.send(written("PUT", "/bkt/k", headers) + b"100008\r\n100000\r\n" + content(1_000_000))
        assert read(wire, "PUT") == Fetched(400, REFUSAL, cut=False)
