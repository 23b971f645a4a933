"""control: STS, health and metrics, on connections that the data plane hands over."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from hashlib import sha256
from ipaddress import ip_network
from urllib.parse import urlencode

import pytest

from gateway.control import MAX_FORM, READY
from gateway.turns.desk import METRICS
from sts.assume_role import SignedCaller
from tests.servers.processes import free_port
from tests.unit.gateway.front import serve, until
from tests.unit.gateway.signers import ANN, ROOT

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CALL = b"Action=AssumeRole&Version=2011-06-15&DurationSeconds=900"


@pytest.fixture
async def make(store):
    """Make gateways in front of the store; all are stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield lambda endpoint=store.endpoint, **how: serve(stack, endpoint, **how)


@pytest.fixture
async def front(make):
    """The ordinary gateway."""
    return await make()


def call_of(front, form: bytes = CALL, **headers: str) -> bytes:
    """Return the bytes of an STS call that the root account signs."""
    given = {**FORM, "Content-Length": str(len(form)), **headers}
    signed = front.headers("POST", "/", given, service="sts", payload=sha256(form).hexdigest())
    return "".join(["POST / HTTP/1.1\r\n", *(f"{n}: {v}\r\n" for n, v in signed.items()), "\r\n"]).encode() + form


async def until_closed(front, *pieces: bytes) -> bytes:
    """Send bytes, piece by piece; return what comes until the gateway closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        found = await reader.read()
    writer.close()
    return found


async def test_sts_is_answered_here(front, store):
    """AssumeRole signed by the root account gives credentials; unsigned it is an STS error; the store hears nothing."""
    form = b"Action=AssumeRole&Version=2011-06-15&DurationSeconds=900"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    payload = sha256(form).hexdigest()
    answer = await front.call("POST", "/", headers, form, service="sts", payload=payload)
    assert (answer.status, b"<SessionToken>" in answer.body) == (200, True)
    refused = await front.call("POST", "/", None, form, who=None, unsigned=headers)
    assert (refused.status, refused.code, b"<ErrorResponse" in refused.body) == (403, "AccessDenied", True)
    tampered = await front.call("POST", "/", headers, form + b"0", service="sts", payload=payload)
    assert (tampered.status, tampered.code) == (403, "SignatureDoesNotMatch")
    assert store.requests == []


async def test_a_call_is_answered_however_its_bytes_come(front):
    """In one piece, head and form apart, or byte by byte: the connection that is handed over loses none of them."""
    data = call_of(front)
    end = data.index(b"\r\n\r\n") + 4
    for pieces in ([data], [data[:end], data[end:]], [data[: end - 1], data[end - 1 :]], [bytes([b]) for b in data]):
        answer = await until_closed(front, *pieces)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"<SessionToken>") == 1


async def test_a_call_that_waits_is_told_to_continue(front):
    """A client that asks before it sends its form is told to go on, and answered."""
    data = call_of(front)
    end = data.index(b"\r\n\r\n") + 4
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(data[: end - 2] + b"Expect: 100-continue\r\n\r\n")
    async with asyncio.timeout(20):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(data[end:])
        assert b"<SessionToken>" in await reader.read()
    writer.close()


async def test_a_calls_own_headers_are_facts(front):
    """What a policy may ask of a call, its User-Agent and its Referer, are those of its head; "" where it has none."""
    heard = []

    class Hears(SignedCaller):
        async def prove(self, call):
            heard.append((call.user_agent, call.referer))
            return await super().prove(call)

    front.sts.ways["AssumeRole"] = Hears()
    await until_closed(front, call_of(front, **{"User-Agent": "curl/8", "Referer": "https://a.example/"}))
    await until_closed(front, call_of(front))
    assert heard == [("curl/8", "https://a.example/"), ("", "")]


async def test_after_a_call_its_connection_is_closed(front, store):
    """A request before the call is answered in its order; one that follows it is not answered, by nobody."""
    signed = front.headers("GET", "/ann/k", who=ANN)
    get = "".join(["GET /ann/k HTTP/1.1\r\n", *(f"{n}: {v}\r\n" for n, v in signed.items()), "\r\n"]).encode()
    answer = await until_closed(front, get + call_of(front) + get)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == answer.count(b"HTTP/1.1 ") == 2
    assert answer.index(b'ETag: "e"') < answer.index(b"<SessionToken>")
    assert len(store.requests) == 1
    assert b"connection: close" in answer.lower()


async def test_a_call_in_a_long_query_is_read(front):
    """A token in the query fits, as in the target of any request."""
    query = urlencode(
        {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "WebIdentityToken": "t" * 12_000}
    )
    answer = await front.call("POST", f"/?{query}", who=None)
    assert b"<ErrorResponse" in answer.body
    assert (await front.lines())[0]["operation"] == "AssumeRoleWithWebIdentity"


async def test_a_form_is_read_as_it_was_sent(front):
    """A compressed form is not unpacked: what is judged is what was signed, and it cannot grow."""
    packed = gzip.compress(CALL)
    answer = await until_closed(front, call_of(front, packed, **{"Content-Encoding": "gzip"}))
    assert b"<SessionToken>" not in answer
    assert b"<ErrorResponse" in answer
    assert (await front.lines())[0]["bytes_in"] == len(packed)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_form_is_bounded(front, announced):
    """A form longer than any call is refused, by its announced length or as soon as it is too long."""
    if announced:
        head, form = f"Content-Length: {MAX_FORM + 1}", b""
    else:
        head, form = "Transfer-Encoding: chunked", b"%x\r\n" % (MAX_FORM + 1) + b"x" * (MAX_FORM + 1)
    data = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {FORM['Content-Type']}\r\n{head}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(data + form)
    async with asyncio.timeout(20):
        assert b"<Code>EntityTooLarge</Code>" in await reader.readuntil(b"</ErrorResponse>")
    writer.close()


async def test_a_call_whose_client_leaves_is_logged(front):
    """Until its form has come a call is in flight; when its client leaves it is logged as 499, and no longer so."""
    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(call_of(front)[:-1])
    await until(lambda: front.desk.inflight == 1 and not front.plane.clients)
    writer.close()
    (line,) = await front.lines()
    assert (line["operation"], line["status"]) == ("STS", 499)


@pytest.mark.parametrize(
    "target",
    [
        "/minio/health/live",
        "/minio/health/ready",
        *sorted(METRICS),
        "/minio/admin/v3/info",
        "http://h/minio/health/live",
    ],
)
async def test_who_ends_its_side_behind_a_request_is_answered(front, target):
    """A probe that says all it has to say and ends its side gets the whole answer, whether both come together or not."""
    for pause in (False, True):
        answer = await ended(front, f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), pause=pause)
        assert answer.startswith(b"HTTP/1.1 403 " if "admin" in target else b"HTTP/1.1 200 ")


async def test_who_ends_its_side_behind_a_call_is_answered(front):
    """So does a client of STS; a form that is cut short ends at once, unanswered."""
    assert b"<SessionToken>" in await ended(front, call_of(front))
    assert await ended(front, call_of(front)[:-1]) == b""


async def ended(front, data: bytes, *, pause: bool = False) -> bytes:
    """Send bytes and the end of this side; return all that comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(data)
    if pause:
        await asyncio.sleep(0)
    writer.write_eof()
    async with asyncio.timeout(10):
        found = await reader.read()
    writer.close()
    return found


async def test_a_failure_of_ours_is_internal_error_and_logged_once(make, caplog):
    """What nobody foresaw is answered without a word of the trace, which the operator finds by its id."""

    def broken(key, token):
        raise RuntimeError("the secret reason")

    front = await make(who=broken)
    answer = await until_closed(front, call_of(front))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"<Code>InternalError</Code>" in answer
    assert b"secret reason" not in answer
    (record,) = [r for r in caplog.records if r.name == "minio_gw.control"]
    assert (await front.lines())[0]["request_id"] in record.getMessage()


async def test_health_and_metrics_are_told_when_there_is_no_place_for_requests(make):
    """A gateway that is full says so to its clients, and to its supervisor that it lives."""
    front = await make(max_inflight=0)
    for path in ("/minio/health/live", *METRICS):
        assert (await front.call("GET", path, who=None)).status == 200
    for method, target, headers in (("GET", "/ann/k", {}), ("POST", "/", FORM)):
        answer = await front.call(method, target, who=None, unsigned=headers)
        assert (answer.status, answer.code) == (503, "SlowDown")
    assert len(await front.lines()) == 2


async def test_who_asks_without_a_host_writes_no_traceback(front, caplog):
    """Health and metrics are for anybody: a head that aiohttp refuses is refused, and the log does not grow by it."""
    for head in (b"", b"Host: a\r\nHost: b\r\n"):
        got = await until_closed(front, b"GET /minio/health/live HTTP/1.1\r\n" + head + b"\r\n")
        assert b" 400 " in got.split(b"\r\n")[0]
    assert not [record for record in caplog.records if record.exc_info]


async def test_no_answer_tells_what_it_is_made_of(front):
    """Health and metrics, which anybody may ask, tell no version of Python or of a library, as no other answer does."""
    for target in (
        "/minio/health/live",
        "/minio/health/ready",
        "/minio/health/other",
        *METRICS,
        "/minio/admin/v3/info",
    ):
        answer = await front.call("GET", target, who=None)
        assert (answer.headers["Server"], answer.headers["X-Content-Type-Options"]) == ("minio-gw", "nosniff")


@pytest.mark.parametrize("path", sorted(READY))
async def test_readiness_tells_the_reasons(make, store, path):
    """Ready is 200; not ready is 503 with every reason, at each of MinIO's paths; a path beside them does not exist."""
    ready = await (await make()).call("GET", path, who=None)
    assert (ready.status, json.loads(ready.body)) == (200, {"ready": True, "reasons": [], "sts_unready": []})
    front = await make(f"http://127.0.0.1:{free_port()}")
    answer = await front.call("GET", path, who=None)
    assert answer.status == 503
    assert json.loads(answer.body) == {
        "ready": False, "reasons": ["backend: ConnectionRefusedError"], "sts_unready": [],
    }  # fmt: skip
    assert (await front.call("GET", "/minio/health/live", who=None)).status == 200
    for beside in ("/minio/health/other", "/minio/health/cluster/other", "/minio/health/cluster/"):
        assert (await front.call("GET", beside, who=None)).status == 404
    assert store.signed == []


async def test_trap_19_a_calls_address_is_the_peers(front):
    """The source of a call is the connection's peer when no proxy is trusted, whatever a header says."""
    await until_closed(front, call_of(front, **{"X-Forwarded-For": "6.6.6.6"}))
    (line,) = await front.lines()
    assert (line["source_ip"], line["operation"], line["status"]) == ("127.0.0.1", "AssumeRole", 200)
    assert ROOT.secret.reveal() not in front.log.getvalue()


async def test_trap_19_several_forwarded_lines_are_one(make):
    """A line that a client sends before the proxy's own does not name its address, for STS as for S3."""
    front = await make(trusted_proxies=(ip_network("127.0.0.0/8"),))
    call = call_of(front, Connection="close")
    spoofed = b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.9, 127.0.0.2\r\n"
    at = call.index(b"\r\n") + 2
    assert b" 200 " in await until_closed(front, call[:at] + spoofed + call[at:])
    head = b"GET /ann/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 127.0.0.2\r\n\r\n"
    assert b" 403 " in await until_closed(front, head)
    assert [line["source_ip"] for line in await front.lines()] == ["192.0.2.9", "192.0.2.9"]


@pytest.mark.parametrize("path", ["/minio/x", "/minio/admin", "/minio/adminx/y", "/minio-gw/x", "/minio-gw/admin"])
async def test_a_bucket_called_like_us_is_a_bucket(front, store, path):
    """But for the paths that are administration's, objects of buckets called minio and minio-gw are the store's."""
    for _ in range(3):  # told, learnt, told again
        assert (await front.call("GET", path)).status == 200
    assert [asked.head.split(b" ")[1] for asked in store.requests] == [path.encode()] * 3
