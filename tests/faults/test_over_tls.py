"""The same faults where the client speaks TLS: bytes go another way then, and a cut must be one for TLS too."""

from __future__ import annotations

import contextlib
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_tls import certificate
from tests.servers.front import Fetched, Front, read
from tests.servers.processes import until
from tests.servers.recording import Recorded
from tests.servers.scripted import OK, Peer, ScriptedBackend, answer_empty, content, length, reset, size_named

SIZES = {"100 B": 100, "200 KiB": 200_000, "12 MiB": 12 << 20}
AT_ONCE = 20


class Secured(Front):
    """A gateway whose clients speak TLS."""

    def __init__(self, directory: Path, backend: ScriptedBackend) -> None:
        super().__init__(directory, backend)
        certificate(directory / "certs")
        self.context = ssl.create_default_context(cafile=directory / "certs" / "public.crt")
        self.endpoint = self.endpoint.replace("http:", "https:")

    def start(self, *, ready: bool = True) -> Secured:
        """Start it and wait until it is ready."""
        self.process.start()
        until(self._is_ready, "the gateway is ready")
        return self

    def _is_ready(self) -> bool:
        try:
            url = f"{self.endpoint}/minio/health/ready"
            with urllib.request.urlopen(url, timeout=5, context=self.context) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def secured(tmp_path_factory, scripted: ScriptedBackend) -> Iterator[Secured]:
    """A gateway whose clients speak TLS."""
    with Secured(tmp_path_factory.mktemp("secured"), scripted) as server:
        yield server


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("framing", ["a length", "chunks", "the end"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_half_a_download_never_looks_whole(
    secured: Secured, scripted: ScriptedBackend, size: int, framing: str, version: str
):
    """A client over TLS sees a cut when the backend dies, and no byte that is not the object's."""
    head = {
        "a length": OK + b"Content-Length: %d\r\n\r\n" % size,
        "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size,
        "the end": OK + b"Connection: close\r\n\r\n",
    }[framing]
    for sent in (0, size // 2, size - 1):

        def script(peer: Peer, _: Recorded, sent: int = sent) -> None:
            peer.say(head + content(sent))
            peer.reset()

        scripted.told(script)
        got = secured.fetch("/bkt/dies", version)
        assert got.cut or got.status == 503, (sent, got.status, len(got.body))
        assert content(sent).startswith(got.body) or got.status == 503
    scripted.told(answer_empty)
    secured.serves()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_whole_download_is_whole(secured: Secured, scripted: ScriptedBackend, size: int):
    """The cuts above are the backend's: without its death the same object comes whole, and ends with TLS's goodbye."""
    scripted.told(lambda peer, _: peer.say(OK + b"Content-Length: %d\r\n\r\n" % size + content(size)))
    for version in ("1.0", "1.1"):
        assert secured.fetch("/bkt/whole", version) == Fetched(200, content(size), cut=False)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_backend_that_dies_in_an_upload_is_never_a_success(secured: Secured, scripted: ScriptedBackend, size: int):
    """An upload over TLS that nobody answered is 503."""
    asked = scripted.told(lambda peer, asked: (peer.read(length(asked)), peer.reset()))
    with secured.wire() as wire:
        wire.send(secured.head("PUT", "/bkt/up", {"Content-Length": str(size)}) + content(size))
        assert read(wire, "PUT").status == 503
    assert len(asked) == 1


PHASES = {
    "in its head": (lambda gateway: gateway.head("GET", "/bkt/k")[:60], 0),
    "in its body": (lambda gateway: gateway.head("PUT", "/bkt/k", {"Content-Length": "1000000"}) + content(300_000), 1),
    "in its answer": (lambda gateway: gateway.head("GET", "/bkt/k"), 1),
    "in a queue": (lambda gateway: gateway.head("GET", "/bkt/k") * 3, 1),
}


@pytest.mark.parametrize("vanishes", [reset, ssl.SSLSocket.close], ids=["resets", "closes"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_vanishes_leaves_nothing(secured: Secured, scripted: ScriptedBackend, phase: str, vanishes):
    """A client over TLS that leaves, at any phase, frees its backend and every descriptor."""
    scripted.told(answer_empty)
    secured.serves()
    secured.rests(6)
    rest, left = secured.own_sockets, []

    def script(peer: Peer, asked: Recorded) -> None:
        try:
            if not length(asked):
                peer.say(OK + b"Content-Length: 20000000\r\n\r\n" + content(12 << 20))
        finally:
            peer.left()
            left.append(peer)

    says, asks = PHASES[phase]
    asked = scripted.told(script)
    wires = [secured.wire().send(says(secured)) for _ in range(AT_ONCE)]
    until(lambda: len(asked) == asks * AT_ONCE, "the backend is asked")
    for wire in wires:
        vanishes(wire.socket)
    secured.rests(rest)
    until(lambda: len(left) == asks * AT_ONCE, "the backend's connections are let go")
    scripted.told(answer_empty)
    secured.serves()


LATE = 33.0  # seconds; the event loops' own patience with a connection that closes is 30
LAST = range(2_500_000, 4_500_000, 100_000)  # bytes: of some a part is still in the process when the answer is over


@pytest.mark.slow
def test_who_comes_late_to_its_last_answer_finds_it_whole(secured: Secured, scripted: ScriptedBackend):
    """A client that wants no further request, and takes no byte of the answer for half a minute, gets every byte and the goodbye."""

    def script(peer: Peer, asked: Recorded) -> None:
        peer.say(OK + b"Content-Length: %d\r\n\r\n" % size_named(asked) + content(size_named(asked)))

    scripted.told(script)
    with contextlib.ExitStack() as open_:
        wires = [open_.enter_context(secured.wire(buffer=8192)) for _ in LAST]
        for wire, wanted in zip(wires, LAST, strict=True):
            wire.send(secured.head("GET", f"/bkt/{wanted}", {"Connection": "close"}))
        threading.Event().wait(LATE)
        for wire, wanted in zip(wires, LAST, strict=True):
            assert read(wire) == Fetched(200, content(wanted), cut=False), wanted
