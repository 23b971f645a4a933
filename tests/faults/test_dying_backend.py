"""A backend that dies, or speaks nonsense: no client takes half an object for a whole one, and the next request is served."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from tests.servers.front import Fetched, Front, read
from tests.servers.processes import until
from tests.servers.recording import Recorded
from tests.servers.scripted import OK, Peer, ScriptedBackend, answer_empty, content, length
from tests.traps.raw import Wire, ask, signed, written

#: Around the sizes at which a plane changes its ways: one buffer, many, and what is left to the kernel.
SIZES = {"100 B": 100, "60 KiB": 60_000, "200 KiB": 200_000, "12 MiB": 12 << 20}
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DEATHS = {"closes": Peer.close, "resets": Peer.reset}


def in_chunks(data: bytes) -> bytes:
    """Frame bytes as chunks of 40,000, without the last."""
    edges = [*range(0, len(data), 40_000), len(data)]
    return b"".join(b"%x\r\n%b\r\n" % (end - start, data[start:end]) for start, end in pairwise(edges) if end > start)


def half_an_object(framing: str, size: int, sent: int, death):
    """Return a script: an object is announced, a part of it said, and the backend dies."""

    def script(peer: Peer, _: Recorded) -> None:
        if framing == "a length":
            peer.say(OK + b"Content-Length: %d\r\n\r\n" % size + content(sent))
        elif framing == "chunks":
            peer.say(CHUNKED + in_chunks(content(sent)))
        else:
            peer.say(OK + b"Connection: close\r\n\r\n" + content(sent))
        death(peer)

    return script


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("framing", ["a length", "chunks"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_half_a_download_never_looks_whole(
    patient: Front, scripted: ScriptedBackend, size: int, framing: str, death: str, version: str
):
    """However much of an object came before its backend died, the client sees a cut, and no byte that is not the object's."""
    never_looks_whole(patient, scripted, size, framing, DEATHS[death], version)


def never_looks_whole(gateway: Front, backend: ScriptedBackend, size: int, framing: str, death, version: str) -> None:
    """Hold that whoever asks for an object whose backend dies sees a cut or an error, and that the next request is served."""
    for sent in (0, size // 2, size - 1):
        backend.told(half_an_object(framing, size, sent, death))
        got = gateway.fetch("/bkt/dies", version)
        assert got.cut or got.status >= 500, (sent, got.status, len(got.body))
        assert content(sent).startswith(got.body) or got.status >= 500
    backend.told(answer_empty)
    gateway.serves()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_half_a_download_without_a_length_never_looks_whole(
    patient: Front, scripted: ScriptedBackend, size: int, version: str
):
    """A body that only the end of its connection delimits is cut when that connection broke, and whole when it ended."""
    scripted.told(half_an_object("the end", size, size, Peer.reset))
    got = patient.fetch("/bkt/breaks", version)
    assert got.cut or got.status == 503
    scripted.told(half_an_object("the end", size, size, Peer.end))
    assert patient.fetch("/bkt/ends", version) == Fetched(200, content(size), cut=False)


@pytest.mark.parametrize("size", [200_000, 12 << 20])
def test_a_slow_client_of_a_dead_backend_sees_the_cut(patient: Front, scripted: ScriptedBackend, size: int):
    """A client that reads only after the backend has died gets a prefix and a cut, not the rest of a buffer as an end."""
    dead, part = threading.Event(), min(size // 3, 1 << 20)  # so much fits between two who do not read

    def script(peer: Peer, _: Recorded) -> None:
        peer.say(OK + b"Content-Length: %d\r\n\r\n" % size + content(part))
        peer.close()
        dead.set()

    scripted.told(script)
    with Wire(patient.port) as wire:
        wire.send(patient.head("GET", "/bkt/dies"))
        assert dead.wait(20)
        got = read(wire)
    assert got.cut
    assert content(part).startswith(got.body)


def test_a_cut_is_in_the_log(patient: Front, scripted: ScriptedBackend):
    """The operator can tell a download that its backend cut from a whole one."""
    scripted.told(half_an_object("a length", 1000, 500, Peer.close))
    assert patient.fetch("/bkt/cut-and-logged").cut
    until(lambda: "/bkt/cut-and-logged" in patient.process.text, "the line is written")
    line = next(line for line in patient.process.text.splitlines() if "/bkt/cut-and-logged" in line)
    assert " Cut (" in line


def upload(gateway: Front, size: int, target: str = "/bkt/up", announced: int = 0) -> Fetched:
    """Put an object and read the answer meanwhile, as a client must that may be refused early."""
    with Wire(gateway.port) as wire:
        head = gateway.head("PUT", target, {"Content-Length": str(announced or size)})
        sending = threading.Thread(target=wire.send, args=(head + content(size),))
        sending.start()
        got = read(wire, "PUT")
        sending.join()
    return got


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_backend_that_dies_in_an_upload_is_never_a_success(
    patient: Front, scripted: ScriptedBackend, size: int, death: str
):
    """Whatever part of an upload was read, an unanswered one is 503 to its client, and it is not sent a second time."""
    for taken in (0, size // 2, size):

        def script(peer: Peer, _: Recorded, taken: int = taken) -> None:
            peer.read(taken)
            DEATHS[death](peer)

        asked = scripted.told(script)
        got = upload(patient, size)
        assert got.status == 503, (taken, got)
        assert len(asked) == 1
    scripted.told(answer_empty)
    patient.serves()


def on_a_kept_connection(then):
    """Return a script that answers the first request of a connection, and does something else to each later one."""

    def script(peer: Peer, asked: Recorded) -> None:
        (then if peer.served else answer_empty)(peer, asked)

    return script


SAFE = {
    "GET": ("GET", "/bkt/twice", b""),
    "HEAD": ("HEAD", "/bkt/twice", b""),
    "DELETE": ("DELETE", "/bkt/twice", b""),
    "PUT of nothing": ("PUT", "/bkt/twice", b""),
}
ONCE = {
    "PUT": ("PUT", "/bkt/once", content(100)),
    "large PUT": ("PUT", "/bkt/once", content(1 << 20)),
    "CreateMultipartUpload": ("POST", "/bkt/once?uploads=", b""),
}


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize(("method", "target", "body"), SAFE.values(), ids=SAFE)
def test_what_is_safe_is_repeated_when_a_kept_connection_dies(
    patient: Front, scripted: ScriptedBackend, method: str, target: str, body: bytes, death: str
):
    """A backend that closes an idle connection just as a request is written costs no failure where repeating harms nobody."""
    asked = scripted.told(on_a_kept_connection(lambda peer, _: DEATHS[death](peer)))
    patient.serves()
    assert ask(patient, method, target, body=body).status == 200
    assert [r.line.split()[0] for r in asked if "/bkt/twice" in r.line] == [method, method]
    patient.serves()


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize(("method", "target", "body"), ONCE.values(), ids=ONCE)
def test_what_is_not_safe_is_sent_once(
    patient: Front, scripted: ScriptedBackend, method: str, target: str, body: bytes, death: str
):
    """What might be done twice is told 503 instead: its client knows whether it may repeat it."""
    asked = scripted.told(on_a_kept_connection(lambda peer, _: DEATHS[death](peer)))
    patient.serves()
    with Wire(patient.port) as wire:
        wire.send(written(method, target, signed(patient, method, target), body))
        assert read(wire, method).status == 503
    assert len([r for r in asked if "/bkt/once" in r.line]) == 1
    patient.serves()


def test_a_request_is_repeated_once_only(patient: Front, scripted: ScriptedBackend):
    """A backend whose every connection dies under the request is not asked for ever."""
    scripted.told(answer_empty)
    patient.serves()
    asked = scripted.told(lambda peer, _: peer.close())
    assert patient.fetch("/bkt/k").status == 503
    assert len(asked) == 2
    scripted.told(answer_empty)
    patient.serves()


def test_connections_that_end_while_idle_cost_nothing(patient: Front, scripted: ScriptedBackend):
    """A backend that ends every connection after its answer, without saying so, is asked over new ones."""

    def script(peer: Peer, asked: Recorded) -> None:
        answer_empty(peer, asked)
        peer.close()

    asked = scripted.told(script)
    for _ in range(20):
        assert upload(patient, 1000).status == 200
        until(lambda: scripted.connections == 0, "the gateway has let go")
    assert len(asked) == 20
    assert all(r.complete for r in asked)


HEADS = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is another protocol\r\n\r\n",
    "zero bytes": bytes(4096) + b"\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "an endless head": OK + b"X-A: " + b"a" * (1 << 20),
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "a negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "only an interim answer": b"HTTP/1.1 103 Early Hints\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_an_answer_that_is_none_is_503(patient: Front, scripted: ScriptedBackend, head: bytes):
    """Bytes that are no answer reach no client, whether they are all that comes or the backend goes on talking."""

    def script(peer: Peer, _: Recorded) -> None:
        peer.say(head)
        peer.end()

    scripted.told(script)
    got = patient.fetch("/bkt/k")
    assert got.status == 503
    assert b"<Code>ServiceUnavailable</Code>" in got.body
    scripted.told(answer_empty)
    patient.serves()


BAD_CHUNKS = {
    "no size": b"hello\r\n",
    "a size too large to be one": b"fffffffffffffffff\r\nhello\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "no end after the bytes": b"5\r\nhelloworld\r\n",
}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("chunk", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_garbage_within_a_body_is_a_cut(patient: Front, scripted: ScriptedBackend, chunk: bytes, version: str):
    """Chunks that cannot be read end the client's answer as a cut, good ones before them or not."""
    for good in (b"", in_chunks(content(100_000))):

        def script(peer: Peer, _: Recorded, good: bytes = good) -> None:
            peer.say(CHUNKED + good + chunk)
            peer.left()

        scripted.told(script)
        got = patient.fetch("/bkt/k", version)
        assert got.cut or got.status == 503, got
    scripted.told(answer_empty)
    patient.serves()


@pytest.mark.parametrize("size", [5, 200_000, 12 << 20])
def test_what_follows_an_answer_is_nobodys(patient: Front, scripted: ScriptedBackend, size: int):
    """Bytes beyond an answer's length reach neither its client nor the next one."""
    stray = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstray!"
    scripted.told(lambda peer, _: peer.say(OK + b"Content-Length: %d\r\n\r\n" % size + content(size) + stray))
    with Wire(patient.port) as wire:
        for _ in range(3):
            answer = wire.send(patient.head("GET", "/bkt/k")).answer()
            assert (answer.status, answer.body == content(size)) == (200, True)


def test_uploads_are_counted_by_what_was_asked(patient: Front, scripted: ScriptedBackend):
    """The witness of these tests is awake: an upload that nothing disturbs arrives whole, once."""
    asked = scripted.told(answer_empty)
    assert upload(patient, 12 << 20) == Fetched(200, b"", cut=False)
    assert [(r.line.split()[0], r.body == content(12 << 20), length(r)) for r in asked] == [("PUT", True, 12 << 20)]
