"""exchange: a request reaches the bucket wherever it is, and a body is sent once. Over HTTP: tests/faults/test_regions.py."""

from __future__ import annotations

import time

import pytest

from gateway.backend import Backend
from gateway.config import BackendSettings
from gateway.errors import IncompleteBody, InternalError, ServiceUnavailable
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
