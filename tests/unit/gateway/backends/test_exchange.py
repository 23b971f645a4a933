"""exchange: a request reaches the bucket wherever it is, and a body is sent once. Over HTTP: tests/faults/test_regions.py."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from gateway.backends import exchange as module
from gateway.backends.backend import Backend
from gateway.backends.exchange import Exchange, read_whole
from gateway.errors import IncompleteBody, InternalError, ServiceUnavailable
from gateway.settings.config import BackendSettings
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.plans import Forward
from gateway.wire.pool import Pool
from tests.servers.processes import free_port
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.signers import ROOT, signed
from tests.unit.gateway.storied import plan_of


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


def backend_at(endpoint: str, pool: Pool) -> Backend:
    return Backend(BackendSettings(endpoint, "us-east-1", "path", "root"), ROOT, pool, SigningKeys())


@pytest.fixture
async def exchange():
    """An exchange with a recording backend."""
    recording, pool = RecordingBackend(), Pool(asyncio.get_running_loop())
    yield Exchange(backend_at(recording.endpoint, pool), SigningKeys()), recording
    pool.close()
    recording.close()


@pytest.fixture
async def away():
    """An exchange with a backend that is not there."""
    return Exchange(backend_at(f"http://127.0.0.1:{free_port()}", Pool(asyncio.get_running_loop())), SigningKeys())


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


async def test_an_upload_that_broke_is_told_before_what_the_backend_made_of_it(exchange):
    """When the backend hangs up over a body that is wrong, the body's own error is the answer."""

    class Late(Body):
        async def through(self, upstream):
            for piece in self._pieces:
                yield piece

    sender, backend = exchange
    for answer in (b"", xml_answer(b"")):
        backend.answer = answer
        with pytest.raises(IncompleteBody):
            await sender.send(plan("PUT", "/bucket/k", **{"Content-Length": "3"}), Late([b"abc"], IncompleteBody()))


async def test_a_backend_that_is_away_is_unavailable(away):
    """No connection is ServiceUnavailable, with the reason for the log only."""
    with pytest.raises(ServiceUnavailable) as refused:
        await away.send(plan("GET", "/bucket/k"), None)
    assert "127.0.0.1" not in refused.value.text
    assert "ConnectionRefusedError" in refused.value.reason


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


async def test_tags_of_a_backend_that_is_away_are_not_known(away):
    """No connection, no tags: whoever asked will deny."""
    assert await away.tags_of((("bucket", "k", ""),)) == [None]


async def test_an_answer_too_large_to_read_whole_is_unavailable(exchange, monkeypatch):
    """What is read whole is bounded; what is longer is let go, with its connection."""
    monkeypatch.setattr(module, "MAX_ANSWER", 10)
    sender, backend = exchange
    for length, error in ((10, None), (11, ServiceUnavailable)):
        backend.answer = xml_answer(b"x" * length)
        answer = await sender.send(plan("GET", "/bucket/k"), None)
        with pytest.raises(error) if error else contextlib.nullcontext():
            assert await read_whole(answer) == b"x" * length


async def test_an_answer_that_breaks_off_is_not_whole(exchange):
    """A body short of its length is an error of the backend's, never a shorter body."""
    sender, backend = exchange
    backend.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf"
    with pytest.raises(ServiceUnavailable):
        await read_whole(await sender.send(plan("GET", "/bucket/k"), None))
