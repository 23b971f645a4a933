"""What can happen to a gateway, as short stories that a soak tells over and over: each holds what its client must see.

The backend's part is in the object's name (`/bkt/dies.200000`), so that any number of stories go on at once.
"""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.servers.front import Front, read
from tests.servers.recording import Recorded
from tests.servers.scripted import EMPTY, OK, Peer, content, length, reset
from tests.traps.raw import Answer, Wire, ask, signed, written


class Unlucky(Exception):
    """What may not be sent twice met a connection that its backend was closing: 503 is right, and must be rare."""


SIZES = (0, 1, 1000, 60_000, 70_000, 300_000, 2 << 20, 9 << 20)
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


# ---- the backend's part


def _said_whole(peer: Peer, size: int, _: Recorded) -> None:
    peer.say(OK + b"Content-Length: %d\r\n\r\n" % size + content(size))


def _said_in_chunks(peer: Peer, size: int, _: Recorded) -> None:
    peer.say(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (size, content(size)) if size else CHUNKED + b"0\r\n\r\n")


def _said_and_closed(peer: Peer, size: int, asked: Recorded) -> None:
    _said_whole(peer, size, asked)
    peer.end()  # an outright close may lose what was said: a kernel short of memory for TCP resets what nobody owns


def _stored(peer: Peer, _: int, asked: Recorded) -> None:
    if digest := peer.digest(length(asked)):
        peer.say(OK + b'Content-Length: 0\r\nETag: "%b"\r\n\r\n' % digest.encode())


def _drained(peer: Peer, _: int, asked: Recorded) -> None:
    """Take a chunked body to its last chunk."""
    while line := peer.line():
        if not peer.read(int(line, 16) + 2) or line == b"0":
            break
    peer.say(EMPTY)


def _initiated(peer: Peer, _: int, asked: Recorded) -> None:
    document = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
    peer.read(length(asked))
    peer.say(OK + b"Content-Type: application/xml\r\nContent-Length: %d\r\n\r\n%b" % (len(document), document))


def _dies(peer: Peer, size: int, _: Recorded) -> None:
    peer.say(OK + b"Content-Length: %d\r\n\r\n" % size + content(size // 2))
    peer.close()


def _dies_in_chunks(peer: Peer, size: int, _: Recorded) -> None:
    peer.say(CHUNKED + b"%x\r\n%b" % (size, content(size // 2)))
    peer.reset()


def _dies_reading(peer: Peer, size: int, _: Recorded) -> None:
    peer.read(size // 2)
    peer.reset()


def _dies_when_kept(peer: Peer, size: int, asked: Recorded) -> None:
    peer.close() if peer.served else _said_whole(peer, size, asked)


def _stalls(peer: Peer, size: int, _: Recorded) -> None:
    peer.say(OK + b"Content-Length: %d\r\n\r\n" % size + content(size // 2))
    peer.left()


def _silent(peer: Peer, _: int, __: Recorded) -> None:
    peer.left()


def _garbage(peer: Peer, size: int, _: Recorded) -> None:
    peer.say(content(200) + b"\r\n\r\n")
    peer.left()


def _refuses(peer: Peer, _: int, __: Recorded) -> None:
    peer.say(REFUSAL)
    peer.left()


def _rejoices(peer: Peer, _: int, __: Recorded) -> None:
    peer.say(EMPTY)
    peer.left()


BACKEND: dict[str, Callable[[Peer, int, Recorded], None]] = {
    "whole": _said_whole, "chunks": _said_in_chunks, "closes": _said_and_closed, "stored": _stored, "drained": _drained,
    "initiated": _initiated, "dies": _dies, "breaks": _dies_in_chunks, "dies-reading": _dies_reading, "kept": _dies_when_kept,
    "stalls": _stalls, "silent": _silent, "garbage": _garbage, "refuses": _refuses, "rejoices": _rejoices,
}  # fmt: skip


def backend(peer: Peer, asked: Recorded) -> None:
    """Do what the object's name says (a script of ScriptedBackend)."""
    name, _, size = asked.line.split()[1].partition("?")[0].rpartition("/")[2].partition(".")
    BACKEND[name](peer, int(size or 0), asked)


# ---- the client's part


def _got(gateway: Front, name: str, size: int, version: str = "1.1", bucket: str = "bkt"):
    return gateway.fetch(f"/{bucket}/{name}.{size}", version)


def a_download(gateway: Front, chance: random.Random) -> None:
    """An object comes whole, framed as its client understands it."""
    size, name, version = (
        chance.choice(SIZES),
        chance.choice(("whole", "chunks", "closes")),
        chance.choice(("1.0", "1.1")),
    )
    bucket = f"soak-{chance.randrange(10**9)}"  # to be found in the log, should it fail
    got = _got(gateway, name, size, version, bucket)
    seen = f"{bucket} {name} {size} HTTP/{version}: {got.status}, {len(got.body)} bytes, {got.cut=}"
    assert (got.status, got.body == content(size), got.cut) == (200, True, False), seen


def several_on_one_connection(gateway: Front, chance: random.Random) -> None:
    """Pipelined requests have their answers, in order."""
    sizes = [chance.choice(SIZES[:6]) for _ in range(4)]
    with Wire(gateway.port) as wire:
        wire.send(b"".join(gateway.head("GET", f"/bkt/whole.{size}") for size in sizes))
        for size in sizes:
            answer = wire.answer()
            assert (answer.status, answer.body == content(size)) == (200, True), size


def an_upload(gateway: Front, chance: random.Random) -> None:
    """An object goes whole."""
    _put(gateway, "/bkt/stored", chance.choice(SIZES))


def _once(answer: Answer) -> Answer:
    """Return an answer to what may not be sent twice."""
    if answer.status == 503:
        raise Unlucky
    assert answer.status == 200, answer
    return answer


def _put(gateway: Front, target: str, size: int) -> None:
    data = content(size)
    with Wire(gateway.port) as wire:
        answer = _once(wire.send(gateway.head("PUT", target, {"Content-Length": str(size)}) + data).answer())
    assert answer.headers["etag"] == f'"{hashlib.md5(data).hexdigest()}"'


def a_multipart_upload(gateway: Front, chance: random.Random) -> None:
    """An upload in parts: begun, two parts, completed."""
    _once(ask(gateway, "POST", "/bkt/initiated?uploads="))
    for number in (1, 2):
        _put(gateway, f"/bkt/stored?partNumber={number}&uploadId=u", chance.choice(SIZES[4:]))
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>e</ETag></Part>" for n in (1, 2))
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    _once(ask(gateway, "POST", "/bkt/initiated?uploadId=u", body=body))


def an_upload_in_chunks(gateway: Front, chance: random.Random) -> None:
    """The default upload of current SDKs: aws-chunked with a trailer, of unknown length on the wire."""
    data = content(chance.choice(SIZES[2:6]))
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    mode = {
        "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Decoded-Content-Length": str(len(data)),
    }
    headers = signed(gateway, "PUT", "/bkt/drained", mode) | {"Transfer-Encoding": "chunked"}
    with Wire(gateway.port) as wire:
        wire.send(written("PUT", "/bkt/drained", headers) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        _once(wire.answer())


def a_slow_reader(gateway: Front, chance: random.Random) -> None:
    """A client on a thin line gets its object whole."""
    size = 1 << 20
    with Wire(gateway.port, buffer=8192) as wire:
        wire.send(gateway.head("GET", f"/bkt/whole.{size}"))
        data = bytearray()
        while b"\r\n\r\n" not in data or len(data) - data.index(b"\r\n\r\n") - 4 < size:
            piece = wire.socket.recv(32_768)
            assert piece, "a slow reader was cut"
            data += piece
            threading.Event().wait(0.02)
        assert data.partition(b"\r\n\r\n")[2] == content(size)


def a_slow_writer(gateway: Front, chance: random.Random) -> None:
    """A client that sends now and then is waited for."""
    with Wire(gateway.port) as wire:
        wire.send(gateway.head("PUT", "/bkt/stored", {"Content-Length": "300000"}))
        for at in range(0, 300_000, 20_000):
            wire.send(content(300_000)[at : at + 20_000])
            threading.Event().wait(0.05)
        _once(wire.answer())


def a_refusal(gateway: Front, chance: random.Random) -> None:
    """Who is nobody is refused, and what is no HTTP."""
    with Wire(gateway.port) as wire:
        wire.send(written("GET", "/bkt/whole.1", {"Host": "x"}) if chance.random() < 0.5 else b"garbage\r\n\r\n")
        assert wire.answer().status in {400, 403}


def one_that_vanishes(gateway: Front, chance: random.Random) -> None:
    """A client that leaves in its head, its body, while it waits, in its answer, or between two: nobody is told."""
    size = chance.choice(SIZES[3:])
    beginning = chance.choice((
        gateway.head("GET", "/bkt/whole.1")[:40],
        gateway.head("PUT", "/bkt/stored", {"Content-Length": str(size)}) + content(size // 2),
        gateway.head("GET", "/bkt/silent"),
        gateway.head("GET", f"/bkt/whole.{size}"),
        gateway.head("GET", f"/bkt/chunks.{size}"),
        gateway.head("GET", f"/bkt/stalls.{size}"),
        gateway.head("GET", f"/bkt/whole.{size}") * 3,
    ))  # fmt: skip
    wire = Wire(gateway.port, buffer=chance.choice((0, 8192))).send(beginning)
    threading.Event().wait(chance.choice((0, 0, 0.02, 0.3)))
    if chance.random() < 0.5:
        with suppress(OSError):
            wire.socket.recv(1000, socket.MSG_DONTWAIT)
    reset(wire.socket) if chance.random() < 0.5 else wire.socket.close()


def a_crowd_that_leaves(gateway: Front, chance: random.Random) -> None:
    """Fifty connections are opened and abandoned."""
    wires = [Wire(gateway.port) for _ in range(50)]
    for wire in wires:
        reset(wire.socket) if chance.random() < 0.5 else wire.socket.close()


def a_download_that_is_cut(gateway: Front, chance: random.Random) -> None:
    """The backend dies or stalls in an object: it never looks whole."""
    size, name = chance.choice(SIZES[2:]), chance.choice(("dies", "dies", "breaks", "breaks", "stalls"))
    got = _got(gateway, name, size, chance.choice(("1.0", "1.1")))
    assert got.cut or got.status == 503, (name, size, got.status)
    assert content(size).startswith(got.body) or got.status == 503


def a_backend_that_is_none(gateway: Front, chance: random.Random) -> None:
    """No answer, or no HTTP, is 503."""
    got = _got(gateway, chance.choice(("silent", "garbage", "garbage", "garbage")), 0)
    assert got.status == 503, got


def a_kept_connection_that_dies(gateway: Front, chance: random.Random) -> None:
    """A download over a connection that dies just then is repeated, or 503 when the next one dies too."""
    got = _got(gateway, "kept", 1000)
    assert (got.status, got.body == content(1000)) == (200, True) or got.status == 503, got


def an_upload_that_fails(gateway: Front, chance: random.Random) -> None:
    """The backend dies in an upload, refuses it early, or says too early that it has it: no success."""
    name, expected = chance.choice((("dies-reading", 503), ("refuses", 400), ("rejoices", 503)))
    size = chance.choice(SIZES[2:])
    with Wire(gateway.port) as wire:
        head = gateway.head("PUT", f"/bkt/{name}.{size}", {"Content-Length": str(size)})
        # the last byte never comes where the answer does first
        sending = threading.Thread(target=wire.send, args=(head + content(size - (name != "dies-reading")),))
        sending.start()
        got = read(wire, "PUT")
        sending.join()
    if got.status == 503 != expected:
        raise Unlucky
    assert got.status == expected, (name, size, got)


#: How often, of a hundred.
STORIES: dict[Callable[[Front, random.Random], None], int] = {
    a_download: 20, several_on_one_connection: 6, an_upload: 14, a_multipart_upload: 5, an_upload_in_chunks: 6,
    a_slow_reader: 4, a_slow_writer: 4, a_refusal: 5, one_that_vanishes: 14, a_crowd_that_leaves: 2, a_download_that_is_cut: 8,
    a_backend_that_is_none: 3, a_kept_connection_that_dies: 3, an_upload_that_fails: 6,
}  # fmt: skip
