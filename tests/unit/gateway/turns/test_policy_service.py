"""Policy questions over the plane's pool; what an answer means is held by tests/unit/iam/test_opa.py, over this service too."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from gateway.turns.policy_service import PolicyService
from gateway.wire.fetch import Unanswered
from gateway.wire.pool import Pool
from iam.opa import OpaSettings
from tests.servers.certificates import certificate


@contextlib.asynccontextmanager
async def asked(answers, url, tls=None, **settings):
    """Yield a service, and the requests that a server heard of it; the server gives one answer after the other."""
    heard = []

    async def serve(reader, writer):
        with (
            contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError),
            contextlib.closing(writer),
        ):
            while answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                heard.append((head, await reader.readexactly(length)))
                writer.write(answers.pop(0))
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    pool = Pool(asyncio.get_running_loop())
    try:
        yield PolicyService(OpaSettings(url.replace("PORT", str(port)), **settings), pool), heard
    finally:
        pool.close()
        server.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def test_the_question_goes_whole_to_its_url_on_one_connection():
    """Host, path and query are the configured ones; the body is what was given; the second question needs no connection."""
    async with asked([OK, OK], "http://127.0.0.1:PORT?a=b") as (service, heard):
        assert [await service.post(b"one"), await service.post(b"")] == [(200, b"{}")] * 2
    assert [body for _, body in heard] == [b"one", b""]
    assert heard[0][0].startswith(b"POST /?a=b HTTP/1.1\r\nhost: 127.0.0.1:")


@pytest.mark.parametrize("size", [65_536, 65_537])
async def test_an_answer_may_hold_64_kib(size):
    """One byte more is no answer."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)
    async with asked([answer], "http://127.0.0.1:PORT/") as (service, _):
        if size > 65_536:
            with pytest.raises(Unanswered):
                await service.post(b"")
        else:
            assert len((await service.post(b""))[1]) == size


async def test_the_body_of_an_error_is_not_read():
    """Of an answer that is none only the status counts."""
    answer = b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\ntrue"
    async with asked([answer], "http://127.0.0.1:PORT/") as (service, _):
        assert await service.post(b"") == (500, b"")


async def test_a_step_goes_on_with_the_decision_and_counts_it():
    """An answer is judged, no answer is a denial; each is counted once."""
    async with asked([], "http://127.0.0.1:PORT/") as (service, _):
        step = service.ask(b"q", lambda decision: decision)
        assert step.data.endswith(b"content-length: 1\r\n\r\nq")
        assert step.then(200, b'{"result": true}')
        assert step.then(200, b'{"result": false}').reason == "policy service said no"
        assert step.failed(TimeoutError()).reason == "policy service: TimeoutError"
        assert (service.tally.yes, service.tally.no, service.tally.undecided) == (1, 1, 1)


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_service_must_be_who_its_certificate_says(tmp_path, trusted):
    """Over https a certificate that no known authority signed ends in no question at all."""
    certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "public.crt", tmp_path / "private.key")
    how = {"ca_file": tmp_path / "public.crt"} if trusted else {}
    async with asked([OK], "https://127.0.0.1:PORT/", context, **how) as (service, heard):
        if trusted:
            assert await service.post(b"q") == (200, b"{}")
        else:
            with pytest.raises(Unanswered):
                await service.post(b"q")
            assert heard == []
