"""A backend that speaks TLS and dies: an end of the connection that is not TLS's own is a cut, whatever delimits the body."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.faults.test_dying_backend import SIZES, half_an_object, never_looks_whole
from tests.faults.test_early_answers import DENIED, PARTS, REFUSAL, Upload, answering, taken_of
from tests.servers.certificates import serving
from tests.servers.front import Fetched, Front, read
from tests.servers.processes import until
from tests.servers.recording import Recorded
from tests.servers.scripted import OK, Peer, ScriptedBackend, answer_empty, content, length, size_named

DEATHS = {"ends without a goodbye": Peer.end, "closes": Peer.close, "resets": Peer.reset}
EVERY_DEATH = DEATHS | {"says goodbye": Peer.finish}


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def secret(request, tmp_path_factory) -> Iterator[tuple[Front, ScriptedBackend]]:
    """A gateway, and the backend that it speaks TLS with."""
    folder = tmp_path_factory.mktemp("secret")
    backend = ScriptedBackend(context=serving(folder / "backend"))
    trusted = str(folder / "backend" / "public.crt")
    with Front(folder, backend, MINIO_GW_BACKEND_CA=trusted, MINIO_GW_LOOP=request.param) as gateway:
        yield gateway, backend
    backend.close()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("death", EVERY_DEATH)
@pytest.mark.parametrize("framing", ["a length", "chunks"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_half_a_download_never_looks_whole(secret, size: int, framing: str, death: str, version: str):
    """However its backend's connection ends, the client of half an object sees a cut, and no byte that is not the object's."""
    never_looks_whole(*secret, size, framing, EVERY_DEATH[death], version)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_what_only_an_end_delimits_needs_a_goodbye(secret, size: int, death: str, version: str):
    """A body without a length is whole when TLS said so: anybody on the way can end a connection (RFC 9112 section 9.8)."""
    gateway, backend = secret
    backend.told(half_an_object("the end", size, size, DEATHS[death]))
    got = gateway.fetch("/bkt/breaks", version)
    assert got.cut or got.status >= 500, (got.status, len(got.body))
    backend.told(half_an_object("the end", size, size, Peer.finish))
    assert gateway.fetch("/bkt/ends", version) == Fetched(200, content(size), cut=False)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_backend_that_dies_in_an_upload_is_never_a_success(secret, size: int):
    """An upload that nobody answered is 503, and was sent once."""
    gateway, backend = secret
    asked = backend.told(lambda peer, asked: (peer.read(length(asked)), peer.reset()))
    with gateway.wire() as wire:
        wire.send(gateway.head("PUT", "/bkt/up", {"Content-Length": str(size)}) + content(size))
        assert read(wire, "PUT").status == 503
    assert len(asked) == 1


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_whole_download_is_whole(secret, size: int):
    """Without a death the same objects come whole, and the connection serves the next request."""
    gateway, backend = secret
    backend.told(lambda peer, _: peer.say(OK + b"Content-Length: %d\r\n\r\n" % size + content(size)))
    for version in ("1.0", "1.1"):
        assert gateway.fetch("/bkt/whole", version) == Fetched(200, content(size), cut=False)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("then", [Peer.left, Peer.end], ids=["keeps its side open", "ends"])
def test_an_early_refusal_arrives(secret, then, part: int):
    """The client of an upload that is refused on its way reads why, if the backend lets what it said arrive."""
    gateway, backend = secret
    backend.told(answering(DENIED % (b"Connection: close\r\n", REFUSAL), taken_of(12 << 20, part), then))
    assert Upload(gateway, 12 << 20, hold=1).answer() == Fetched(400, REFUSAL, cut=False)
    backend.told(answer_empty)
    gateway.serves()


ENDS = {"without a goodbye": Peer.end, "with one": Peer.part}
LATE = range(1_000_000, 9_000_000, 100_000)  # bytes: of some of them a part waits in the gateway when the end comes


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_what_came_before_the_end_is_not_lost(secret, ends):
    """A client that reads late gets every byte of an object whose backend ended the connection when it had sent it."""
    gateway, backend = secret
    said, looks = threading.Semaphore(0), [-1.0]

    def script(peer: Peer, asked: Recorded) -> None:
        size = size_named(asked)
        said.release()
        peer.say(OK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size + content(size))
        ends(peer)

    backend.told(script)
    with contextlib.ExitStack() as open_:
        wires = [
            open_.enter_context(gateway.wire(buffer=8192)).send(gateway.head("GET", f"/bkt/{one}")) for one in LATE
        ]
        for _ in LATE:
            assert said.acquire(timeout=20)
        until(lambda: is_at_rest(gateway, looks), "the gateway waits for its clients")
        for wire, wanted in zip(wires, LATE, strict=True):
            assert read(wire) == Fetched(200, content(wanted), cut=False), wanted


def is_at_rest(gateway: Front, looks: list[float]) -> bool:
    """Return whether the gateway has used no CPU since the last look."""
    looks.append(gateway.vitals.cpu)
    return looks[-1] == looks[-2]
