"""Limits, each with a clear error: how large a head may be, how slow, how long a body may be silent, how many at once."""

from __future__ import annotations

import hashlib
import threading
from urllib.parse import quote

import pytest

from tests.servers.processes import GatewayProcess, until
from tests.servers.recording import RecordingBackend
from tests.traps.raw import Wire, ask, presigned, signed, written

QUICK = "1.5"  # seconds: what a test waits for a clock of the gateway's


@pytest.fixture(scope="module")
def hurried(tmp_path_factory, backend):
    """A gateway of little patience, and of few places."""
    server = GatewayProcess(
        tmp_path_factory.mktemp("hurried"),
        backend.endpoint,
        MINIO_READ_HEADER_TIMEOUT=QUICK,
        MINIO_IDLE_TIMEOUT=QUICK,
        MINIO_GW_MAX_INFLIGHT="4",
    ).start()
    yield server
    server.close()


def test_trap_14_a_slow_head_is_given_up(hurried, recorded):
    """A head that does not end in time is refused or cut, though a byte of it comes now and then."""
    head = written("GET", "/bkt/k", signed(hurried, "GET", "/bkt/k"))
    with Wire(hurried.port) as wire:
        for at in range(len(head) - 2):
            wire.send(head[at : at + 1])
        answer = wire.answer()
        assert answer is None or (answer.status, answer.code) == (400, "RequestTimeout")
        assert wire.closed()
    assert recorded() == []


def test_trap_14_a_second_slow_head_is_given_up(hurried, recorded):
    """A connection that has served a request is watched like a new one."""
    head = written("GET", "/bkt/k", signed(hurried, "GET", "/bkt/k"))
    with Wire(hurried.port) as wire:
        assert wire.send(head).answer().status == 200
        answer = wire.send(head[:40]).answer()
        assert answer is None or (answer.status, answer.code) == (400, "RequestTimeout")
        assert wire.closed()
    assert len(recorded()) == 1


@pytest.mark.parametrize("part", [b"", b"half"])
def test_trap_14_a_silent_body_is_given_up(hurried, recorded, part):
    """An upload that stops coming is a RequestTimeout, and its object never whole at the backend."""
    headers = signed(hurried, "PUT", "/bkt/k") | {"Content-Length": "8"}
    with Wire(hurried.port) as wire:
        answer = wire.send(written("PUT", "/bkt/k", headers) + part).answer()
        assert (answer.status, answer.code) == (400, "RequestTimeout")
        assert wire.closed()
    assert not any(r.complete for r in recorded())


def test_trap_14_a_silent_document_is_given_up(hurried, recorded):
    """A document that must be read first may be silent no longer."""
    headers = signed(hurried, "POST", "/bkt?delete=") | {"Content-Length": "80"}
    with Wire(hurried.port) as wire:
        answer = wire.send(written("POST", "/bkt?delete=", headers) + b"<Delete>").answer()
    assert (answer.status, answer.code) == (400, "RequestTimeout")
    assert recorded() == []


def test_trap_14_a_body_that_comes_slowly_is_not_silent(hurried, recorded):
    """Patience is counted from the last byte: eight pieces, each in time, are an upload."""
    headers = signed(hurried, "PUT", "/bkt/k") | {"Content-Length": "8"}
    with Wire(hurried.port) as wire:
        wire.send(written("PUT", "/bkt/k", headers))
        for count in range(1, 9):
            wire.send(b"x")
            until(lambda n=count: any(len(r.body) == n for r in recorded()), "the byte has crossed")
        assert wire.answer().status == 200


def test_trap_14_an_idle_connection_is_no_slow_head(hurried):
    """Between two requests a connection may rest longer than a head may take."""
    head = written("GET", "/bkt/k", signed(hurried, "GET", "/bkt/k"))
    with Wire(hurried.port) as wire, Wire(hurried.port) as other:
        assert wire.send(head).answer().status == 200
        other.send(head[:40])
        while other.answer() is not None:  # until the slow head's time is over
            pass
        assert wire.send(head).answer().status == 200


def test_trap_14_too_many_at_once_are_told_to_slow_down(hurried, recorded):
    """What is more than the places in flight is 503 SlowDown with Retry-After, at once; the others go on."""
    headers = signed(hurried, "PUT", "/bkt/k") | {"Content-Length": "8"}
    wires = [Wire(hurried.port).send(written("PUT", "/bkt/k", headers) + b"half") for _ in range(4)]
    until(lambda: len([r for r in recorded() if r.body == b"half"]) == 4, "four uploads are under way")
    refused = ask(hurried, "GET", "/bkt/k")
    answers = [wire.send(b"-end").answer() for wire in wires]
    for wire in wires:
        wire.socket.close()
    assert (refused.status, refused.code) == (503, "SlowDown")
    assert refused.headers["retry-after"].isdigit()
    assert refused.headers["x-amz-request-id"] == refused.request_id
    assert [a.status for a in answers] == [200] * 4
    assert ask(hurried, "GET", "/bkt/k").status == 200


def test_trap_14_a_download_that_nobody_takes_is_cut(hurried, recorded, backend):
    """Clients that take nothing of their answers lose them, and with them the places that they held."""
    ordinary, large = backend.answer, b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n" + bytes(2**26)
    backend.answer = large
    head = written("GET", "/bkt/k", signed(hurried, "GET", "/bkt/k"))
    wires = [Wire(hurried.port).send(head) for _ in range(4)]
    try:
        until(lambda: len(recorded()) == 4, "four downloads have begun")
        assert ask(hurried, "GET", "/bkt/k").status == 503
        backend.answer = ordinary
        until(lambda: ask(hurried, "GET", "/bkt/k").status == 200, "a place is free again", seconds=20)
    finally:
        backend.answer = ordinary
        for wire in wires:
            wire.socket.close()


#: name -> target, extra headers, the code that says what was too much.
LARGE = {
    "a key of 1,025 bytes": ("/bkt/" + "k" * 1025, {}, "KeyTooLongError"),
    "a key of 1,025 bytes, escaped": ("/bkt/" + "%C3%A9" * 512 + "k", {}, "KeyTooLongError"),
    "a target beyond 16 KiB": ("/bkt?prefix=" + "p" * 16_384, {}, None),
    "a target beyond 1 MiB": ("/bkt?prefix=" + "p" * 2**20, {}, None),
    "a header beyond 16 KiB": ("/bkt/k", {"X-A": "a" * 16_400}, "RequestHeaderSectionTooLarge"),
    "a header's name beyond 16 KiB": ("/bkt/k", {"X-" + "a" * 16_400: "1"}, "RequestHeaderSectionTooLarge"),
    "headers beyond 64 KiB": ("/bkt/k", {f"X-{i}": "a" * 9000 for i in range(8)}, "RequestHeaderSectionTooLarge"),
    "headers beyond 1 MiB": ("/bkt/k", {f"X-{i}": "a" * 9000 for i in range(120)}, "RequestHeaderSectionTooLarge"),
    "200 headers": ("/bkt/k", {f"X-{i}": "1" for i in range(200)}, "RequestHeaderSectionTooLarge"),
    "20,000 headers": ("/bkt/k", {f"X-{i}": "1" for i in range(20_000)}, "RequestHeaderSectionTooLarge"),
}


@pytest.mark.parametrize(("target", "more", "code"), LARGE.values(), ids=LARGE)
def test_trap_14_a_head_has_limits(edge, recorded, target, more, code):
    """A head beyond its limits is refused with the code that says which, before its signature is looked at."""
    headers = signed(edge, "GET", "/bkt/k") | more
    with Wire(edge.port) as wire:
        answer = wire.send(written("GET", target, headers)).answer()
    assert answer is None or answer.status == 400
    assert answer is None or answer.code in ({code} if code else {"InvalidURI", "RequestHeaderSectionTooLarge"})
    assert answer is None or answer.headers["x-amz-request-id"] == answer.request_id
    assert recorded() == []


def test_trap_14_a_head_without_end_is_cut(edge, recorded):
    """A head that never ends is refused while it comes; no megabytes of it are held."""
    with Wire(edge.port) as wire:
        wire.send(b"GET /bkt/k HTTP/1.1\r\nHost: x\r\n")
        for number in range(4000):
            wire.send(b"X-%d: %s\r\n" % (number, b"a" * 1000))
        answer = wire.answer()
    assert answer is None or answer.code == "RequestHeaderSectionTooLarge"
    assert recorded() == []


def test_a_head_within_its_limits_is_served(edge, recorded):
    """The longest key, a long header and a long presigned target are ordinary requests."""
    key = quote("é" * 512, safe="")
    assert ask(edge, "GET", f"/bkt/{key}").status == 200
    assert ask(edge, "GET", "/bkt/k", {f"X-{i}": "a" * 900 for i in range(60)}).status == 200
    long = presigned(edge, "GET", "/bkt?prefix=" + "p" * 15_000)
    with Wire(edge.port) as wire:
        assert wire.send(written("GET", long, {"Host": f"127.0.0.1:{edge.port}"})).answer().status == 200
    assert len(recorded()) == 3


@pytest.mark.parametrize("announced", [True, False])
def test_trap_14_a_document_is_two_mebibytes_at_most(edge, recorded, announced):
    """A DeleteObjects document beyond 2 MiB is EntityTooLarge, whether its length is announced or found."""
    body = b"<Delete>" + b" " * (2 * 2**20) + b"<Object><Key>k</Key></Object></Delete>"
    head = signed(edge, "POST", "/bkt?delete=", {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()})
    if not announced:
        mode = {
            "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "X-Amz-Decoded-Content-Length": str(len(body)),
        }
        head = signed(edge, "POST", "/bkt?delete=", mode) | {"Transfer-Encoding": "chunked"}
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    data = written("POST", "/bkt?delete=", head, b"" if not announced else body) + (b"" if announced else body)
    with Wire(edge.port) as wire:
        sending = threading.Thread(target=wire.send, args=(data,))
        sending.start()  # its answer comes before it has been sent
        answer = wire.answer()
    sending.join()
    assert (answer.status, answer.code) == (400, "EntityTooLarge")
    assert recorded() == []


def test_a_recording_backend_sees_what_is_sent_on():
    """The witness of these tests is awake: a request that is sent is recorded."""
    server = RecordingBackend()
    try:
        with Wire(int(server.endpoint.rpartition(":")[2])) as wire:
            wire.send(b"PUT /k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").answer()
        assert [(r.line, r.body, r.complete) for r in server.requests] == [("PUT /k HTTP/1.1", b"abc", True)]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/bkt?delete="), ("PUT", "/bkt"), ("PUT", "/bkt/k?tagging="), ("PUT", "/bkt/k?retention="), ("PUT", "/bkt/k?legal-hold=")],
)  # fmt: skip
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_trap_14_nobodys_document_is_not_waited_for(hurried, recorded, method, target, version):
    """Who has not signed is refused by the head alone: with a connection each, anybody could have the gateway hold two MiB a time."""
    headers = {"Host": f"127.0.0.1:{hurried.port}", "Content-Length": str(2**20), "Expect": "100-continue"}
    with Wire(hurried.port) as wire:
        answer = wire.send(written(method, target, headers, version=version)).answer()
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert recorded() == []
