"""A backend that falls silent, and one that is only slow: the one is given up in time, the other is waited for.

Every scenario waits for the same clock of the gateway's, so all of them run at once, on threads, and each test looks at its own.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.servers.front import Fetched, Front, read
from tests.servers.recording import Recorded
from tests.servers.scripted import EMPTY, OK, Peer, ScriptedBackend, answer_empty, content, length
from tests.traps.raw import Wire

SILENCE = 3.0  # seconds that the backend may be silent
LESS = 2.0  # seconds that the client may be, who must not be blamed for it; one who reads slowly is heard of every half second
LARGE = 16 << 20  # more than all the buffers on the way hold
KNOWN = OK + b"Content-Length: %d\r\n\r\n"


def stalled(said: bytes, taken: int = 0):
    """Return a script that takes and says this and no more, and keeps the connection."""

    def script(peer: Peer, _: Recorded) -> None:
        peer.read(taken)
        peer.say(said)
        peer.left()

    return script


def unread(peer: Peer, _: Recorded) -> None:
    """Take nothing: the gateway can send what the kernels hold, and no more."""
    _hold(peer)


def half_read(peer: Peer, asked: Recorded) -> None:
    """Take half of an upload, and nothing more."""
    peer.read(length(asked) // 2)
    _hold(peer)


def _hold(peer: Peer) -> None:
    """Keep a connection without reading, until the test is over."""
    held.append(peer)
    threading.Event().wait(4 * SILENCE)
    peer.reset()


held: list[Peer] = []


def trickled(peer: Peer, _: Recorded) -> None:
    """Answer a byte at a time, for longer than a silence may last."""
    peer.say(KNOWN % 14)
    for at in range(14):
        threading.Event().wait(SILENCE / 7)
        peer.say(content(14)[at : at + 1])


def thoughtful(peer: Peer, asked: Recorded) -> None:
    """Take an upload, think for longer than a client may be silent, and answer."""
    stored(peer, asked)
    threading.Event().wait(SILENCE / 2)
    peer.say(EMPTY)


def stored(peer: Peer, asked: Recorded) -> None:
    """Take an upload that must be whole."""
    if not peer.digest(length(asked)):
        raise ConnectionError


def satisfied(peer: Peer, asked: Recorded) -> None:
    """Take an upload and answer."""
    stored(peer, asked)
    peer.say(EMPTY)


def get(gateway: Front, target: str, version: str = "1.1") -> Fetched:
    """Get."""
    return gateway.fetch(target, version)


def slowly(gateway: Front, target: str, version: str = "1.1") -> Fetched:
    """Get as a client on a thin line: with small buffers, a piece at a time, for twice as long as a silence may last."""
    with Wire(gateway.port, buffer=1 << 16) as wire:
        wire.send(gateway.head("GET", target, version=version))
        response = http.client.HTTPResponse(wire.socket)
        response.begin()
        body = bytearray()
        while piece := response.read(1 << 18):
            body += piece
            threading.Event().wait(2 * SILENCE / (LARGE >> 18))
    return Fetched(response.status, bytes(body), cut=len(body) < LARGE)


def put(gateway: Front, target: str, version: str = "1.1") -> Fetched:
    """Put a large object."""
    with Wire(gateway.port) as wire:
        head = gateway.head("PUT", target, {"Content-Length": str(LARGE)}, version)
        sending = threading.Thread(target=wire.send, args=(head + content(LARGE),))
        sending.start()
        got = read(wire, "PUT")
        wire.socket.shutdown(socket.SHUT_RDWR)  # ends the sending too
        sending.join()
    return got


def put_slowly(gateway: Front, target: str, version: str = "1.1") -> Fetched:
    """Put a large object in pieces, over longer than a silence of the backend may last."""
    with Wire(gateway.port) as wire:
        wire.send(gateway.head("PUT", target, {"Content-Length": str(LARGE)}, version))
        for _ in range(LARGE >> 18):
            wire.send(content(1 << 18))
            threading.Event().wait(2 * SILENCE / (LARGE >> 18))
        return read(wire, "PUT")


def put_with_a_pause(gateway: Front, target: str, version: str = "1.1") -> Fetched:
    """Put an object whose second half comes later than a backend may be silent."""
    with Wire(gateway.port) as wire:
        wire.send(gateway.head("PUT", target, {"Content-Length": str(LARGE)}, version) + content(LARGE // 2))
        threading.Event().wait(SILENCE)
        wire.send(content(LARGE // 2))
        return read(wire, "PUT")


def put_a_part(gateway: Front, target: str, version: str = "1.1") -> Fetched:
    """Put a large object and stop in its middle."""
    with Wire(gateway.port) as wire:
        wire.send(gateway.head("PUT", target, {"Content-Length": str(LARGE)}, version) + content(LARGE // 2))
        return read(wire, "PUT")


def put_nothing_much(gateway: Front, target: str, version: str = "1.1") -> Fetched:
    """Put a small object."""
    with Wire(gateway.port) as wire:
        return read(wire.send(gateway.head("PUT", target, {"Content-Length": "5"}, version) + b"hello"), "PUT")


#: name -> what the backend does, what the client does.
GIVEN_UP: dict[str, tuple[Callable, Callable]] = {
    "never answers": (stalled(b""), get),
    "never answers an upload": (stalled(b"", 5), put_nothing_much),
    "never answers a large upload": (stalled(b"", LARGE), put),
    "never reads an upload": (unread, put),
    "stops reading an upload": (half_read, put),
    "stops in its head": (stalled(b"HTTP/1.1 200 OK\r\nContent-Le"), get),
    "says only that it is there": (stalled(b"HTTP/1.1 102 Processing\r\n\r\n"), get),
}
CUT: dict[str, tuple[Callable, Callable]] = {
    "stops behind its head": (stalled(KNOWN % 100), get),
    "stops in a small body": (stalled(KNOWN % 100 + content(50)), get),
    "stops in a body": (stalled(KNOWN % LARGE + content(200_000)), get),
    "stops in a large body": (stalled(KNOWN % LARGE + content(12 << 20)), get),
    "stops in chunks": (stalled(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), get),
    "stops within a chunk": (stalled(OK + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\nhello"), get),
    "stops before the last chunk": (stalled(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"), get),
    "stops before an end": (stalled(OK + b"Connection: close\r\n\r\nhello"), get),
}
WAITED_FOR: dict[str, tuple[Callable, Callable]] = {
    "answers in drops": (trickled, get),
    "thinks about an upload": (thoughtful, put_nothing_much),
    "waits for a slow reader": (lambda peer, _: peer.say(KNOWN % LARGE + content(LARGE)), slowly),
    "waits for a slow writer": (satisfied, put_slowly),
}
#: Where the client may be silent for longer than the backend.
PAUSED: dict[str, tuple[Callable, Callable]] = {"waits for a writer who pauses": (satisfied, put_with_a_pause)}
#: Where the client is the one who is silent.
BLAMED: dict[str, tuple[Callable, Callable]] = {"is not sent the rest of an upload": (satisfied, put_a_part)}
ALL = GIVEN_UP | CUT | WAITED_FOR | PAUSED | BLAMED


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, scripted: ScriptedBackend):
    """A gateway of little patience."""
    folder = tmp_path_factory.mktemp("impatient")
    with Front(folder, scripted, MINIO_GW_BACKEND_TIMEOUT=str(SILENCE), MINIO_IDLE_TIMEOUT=str(LESS)) as server:
        yield server


@pytest.fixture(scope="module")
def forbearing(tmp_path_factory, scripted: ScriptedBackend):
    """A gateway that has more patience with its clients than with its backend."""
    folder = tmp_path_factory.mktemp("forbearing")
    with Front(folder, scripted, MINIO_GW_BACKEND_TIMEOUT=str(LESS), MINIO_IDLE_TIMEOUT="60") as server:
        yield server


@pytest.fixture(scope="module")
def outcomes(impatient: Front, forbearing: Front, scripted: ScriptedBackend):
    """Start everything at once; a future for each scenario and version: what its client got, and after how many seconds."""
    names = {f"/bkt/{name.replace(' ', '-')}": name for name in ALL}
    scripted.told(lambda peer, asked: ALL[names[asked.line.split()[1]]][0](peer, asked))

    def one(name: str, version: str) -> tuple[Fetched, float]:
        started = time.monotonic()
        gateway, target = forbearing if name in PAUSED else impatient, f"/bkt/{name.replace(' ', '-')}"
        return ALL[name][1](gateway, target, version), time.monotonic() - started

    with ThreadPoolExecutor(2 * len(ALL)) as threads:
        found: dict[tuple[str, str], Future] = {
            (name, version): threads.submit(one, name, version) for name in ALL for version in ("1.0", "1.1")
        }  # fmt: skip
        yield found
    scripted.told(answer_empty)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("name", GIVEN_UP)
def test_silence_before_an_answer_is_503(outcomes, name: str, version: str):
    """A backend that does not answer, or does not take what it is sent, is given up in time; its client is not blamed."""
    got, seconds = outcomes[name, version].result()
    assert got.status == 503, got
    assert b"<Code>ServiceUnavailable</Code>" in got.body
    assert SILENCE - 1 < seconds < SILENCE + 8  # it looks at its clock once a second


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("name", CUT)
def test_silence_within_an_answer_is_a_cut(outcomes, name: str, version: str):
    """The client of an answer that stops sees its connection break, and nothing that looks whole."""
    got, seconds = outcomes[name, version].result()
    assert got.cut, got
    assert content(LARGE).startswith(got.body) or b"hello".startswith(got.body)
    assert seconds < SILENCE + 8


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("name", [*WAITED_FOR, *PAUSED])
def test_who_is_only_slow_is_waited_for(outcomes, name: str, version: str):
    """Slow is not silent: a transfer in which bytes still move takes as long as it takes."""
    got, _ = outcomes[name, version].result()
    assert (got.status, got.cut) == (200, False)
    assert content(LARGE).startswith(got.body)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("name", BLAMED)
def test_a_client_that_stops_is_told_so(outcomes, name: str, version: str):
    """A client that stops in a large upload is late, before its backend could be thought silent."""
    got, seconds = outcomes[name, version].result()
    assert got.status == 400, got
    assert b"<Code>RequestTimeout</Code>" in got.body
    assert seconds < SILENCE + 8


def test_silence_leaves_nothing_behind(outcomes, impatient: Front, forbearing: Front, scripted: ScriptedBackend):
    """When all of them are given up nothing is in flight, every connection is let go, and the next request is served."""
    for future in outcomes.values():
        future.result()
    scripted.told(answer_empty)
    for gateway in (impatient, forbearing):
        gateway.rests(30)
        gateway.serves()


def test_silence_is_asked_once(outcomes, forbearing: Front, scripted: ScriptedBackend):
    """A backend that has fallen silent on a kept connection may be at work: even what is safe is not sent to it again."""
    scripted.told(answer_empty)
    forbearing.serves()
    asked = scripted.told(stalled(b""))
    assert forbearing.fetch("/bkt/k").status == 503
    assert len(asked) == 1
