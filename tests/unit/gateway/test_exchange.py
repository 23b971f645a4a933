"""exchange: a request reaches the bucket wherever it is, and a body is sent once. Over HTTP: tests/faults/test_regions.py."""

from __future__ import annotations

import base64
import time
from hashlib import sha256
from zlib import crc32

import pytest

from gateway.backend import Backend
from gateway.config import BackendSettings
from gateway.errors import BadDigest, IncompleteBody, InternalError, ServiceUnavailable
from gateway.exchange import Exchange
from gateway.plans import Forward
from gateway.sigv4 import SigningKeys
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.signing import ROOT, signed
from tests.unit.gateway.stories import plan_of


class Body:
    """A client's body that ends in an error."""

    def __init__(self, pieces, error=None) -> None:
        self._pieces, self._error = pieces, error

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    async def through(self, upstream):
        for piece in self._pieces:
            yield piece
        self.check()

    async def whole(self, decoder):
        self.check()
        payload = b"".join([decoder.feed(piece) for piece in self._pieces])
        decoder.finish()
        return payload


@pytest.fixture
async def exchange():
    """An exchange with a recording backend."""
    recording = RecordingBackend()
    backend = Backend(BackendSettings(recording.endpoint, "us-east-1", "path", "root"), ROOT)
    found = Exchange(backend, SigningKeys())
    found_recording = recording
    yield found, found_recording
    await backend.close()
    recording.close()


def plan(method: str, target: str, **headers: str) -> Forward:
    found = plan_of(*signed(method, target, headers))
    assert isinstance(found, Forward)
    return found


async def test_an_upload_that_breaks_is_the_clients_error(exchange):
    """What went wrong with the body is what is answered, not that the backend's connection was cut; nothing is whole."""
    sender, backend = exchange
    upload = Body([b"abc"], IncompleteBody())
    with pytest.raises(IncompleteBody):
        await sender.send(plan("PUT", "/bucket/k", **{"Content-Length": "5"}), upload)
    assert not any(request.complete for request in backend.signed)


async def test_a_backend_that_is_away_is_unavailable(exchange):
    """No connection is ServiceUnavailable, with the reason for the log only."""
    sender, _ = exchange
    away = Backend(BackendSettings("http://127.0.0.1:9", "us-east-1", "path", "root"), ROOT)
    with pytest.raises(ServiceUnavailable) as refused:
        await Exchange(away, sender.keys).send(plan("GET", "/bucket/k"), None)
    assert "127.0.0.1" not in refused.value.text
    await away.close()


async def test_a_redirect_without_a_region_is_an_error(exchange):
    """A redirect that names no region is not followed and not shown."""
    sender, backend = exchange
    backend.answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(InternalError):
        await sender.send(plan("GET", "/bucket/k"), None)
    assert len(backend.signed) == 1


async def test_it_is_signed_when_it_is_sent(exchange):
    """The date in the signature is that of sending, however long the decisions took."""
    sender, backend = exchange
    answer = await sender.send(plan("GET", "/bucket/k"), None)
    answer.close()
    stamp = backend.signed[0].headers["x-amz-date"]
    assert abs(time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone - time.time()) < 100


def xml_answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


TAGGING = (
    b"<Tagging><TagSet><Tag><Key>a b</Key><Value>1</Value></Tag><Tag><Key>c</Key><Value/></Tag></TagSet></Tagging>"
)


async def test_tags_are_read_in_the_gateways_own_name(exchange):
    """Each object is asked about once, by its version where one is named, signed with the backend's keys."""
    sender, backend = exchange
    backend.answer = xml_answer(TAGGING)
    found = await sender.tags_of((("bucket", "a key/1", ""), ("bucket", "k", "v 1")))
    assert found == [(("a b", "1"), ("c", ""))] * 2
    assert sorted(request.line for request in backend.signed) == [
        "GET /bucket/a%20key/1?tagging= HTTP/1.1",
        "GET /bucket/k?tagging=&versionId=v%201 HTTP/1.1",
    ]
    assert all(f"Credential={ROOT.access_key_id}/" in r.headers["authorization"] for r in backend.signed)


@pytest.mark.parametrize(
    ("answer", "tags"),
    [
        (xml_answer(b"<Tagging><TagSet/></Tagging>"), ()),
        (xml_answer(b"<Error><Code>NoSuchKey</Code></Error>", "404 Not Found"), ()),
        (xml_answer(b"", "403 Forbidden"), None),
        (xml_answer(b"", "500 Internal Server Error"), None),
        (xml_answer(b"", "501 Not Implemented"), None),
        (xml_answer(b"", "302 Found", "Location: http://127.0.0.1:9/\r\n"), None),
        (xml_answer(b""), None),
        (xml_answer(b"<html/>"), None),
        (xml_answer(b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"), None),
        (xml_answer(TAGGING.replace(b"<Key>c", b"<Key>a b")), None),
        (xml_answer(b"<Tagging>" + b" " * 2**16 + b"</Tagging>"), None),
        (xml_answer(TAGGING).replace(b"Content-Length: ", b"Content-Length: 9"), None),
        (b"", None),
    ],
    ids=["none", "no object", "403", "500", "501", "redirect", "empty", "not tags", "no value", "twice", "long", "cut", "hang up"],
)  # fmt: skip
async def test_tags_that_cannot_be_known_are_no_tags_of_nothing(exchange, answer, tags):
    """No object has no tags; any other answer that is not a Tagging document says that they are not known."""
    sender, backend = exchange
    backend.answer = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    assert await sender.tags_of((("bucket", "k", ""),)) == [tags]


async def test_tags_of_a_backend_that_is_away_are_not_known(exchange):
    """No connection, no tags: whoever asked will deny."""
    sender, _ = exchange
    away = Backend(BackendSettings("http://127.0.0.1:9", "us-east-1", "path", "root"), ROOT)
    assert await Exchange(away, sender.keys).tags_of((("bucket", "k", ""),)) == [None]
    await away.close()


STREAM = {"x-amz-decoded-content-length": "3", "x-amz-trailer": "x-amz-checksum-crc32", "Content-Length": "49"}
FRAMED = b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:" + base64.b64encode(crc32(b"abc").to_bytes(4, "big")) + b"\r\n\r\n"


async def decoding(exchange, body: Body):
    """Send a small trailer upload to a backend that does not take aws-chunked; return what arrived whole."""
    sender, recording = exchange
    settings = BackendSettings(recording.endpoint, "us-east-1", "path", "root", aws_chunked=False)
    backend = Backend(settings, ROOT)
    try:
        found = plan_of(*signed("PUT", "/bucket/k", STREAM, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER"))
        (await Exchange(backend, sender.keys).send(found, body)).close()
    finally:
        await backend.close()
    return recording.signed


async def test_a_small_body_is_verified_before_its_request_is_sent(exchange):
    """Where aws-chunked is not taken, a small payload goes with its hash and its checksum, as a plain request."""
    [sent] = await decoding(exchange, Body([FRAMED[:7], FRAMED[7:]]))
    assert (sent.complete, sent.body) == (True, b"abc")
    assert sent.headers["x-amz-content-sha256"] == sha256(b"abc").hexdigest()
    assert sent.headers["x-amz-checksum-crc32"] == base64.b64encode(crc32(b"abc").to_bytes(4, "big")).decode()


@pytest.mark.parametrize(
    ("pieces", "error"), [([FRAMED.replace(b"abc", b"abd")], BadDigest), ([FRAMED[:-1]], IncompleteBody)]
)
async def test_trap_10_and_11_a_small_body_that_is_wrong_is_not_sent(exchange, pieces, error):
    """A checksum that differs or an end that is missing: the backend is not asked at all."""
    with pytest.raises(error):
        await decoding(exchange, Body(pieces))
    assert exchange[1].signed == []
