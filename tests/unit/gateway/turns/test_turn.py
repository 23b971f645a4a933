"""turn: plans carried out over real sockets, between a client and a store that records every byte."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import md5, sha256
from xml.etree import ElementTree as ET
from zlib import crc32

import aiohttp
import pytest
from aiohttp import web

from gateway.backends.backend import Backend
from gateway.s3.xml import S3_NAMESPACE, DeleteEntry, bucket_names, parse_delete, render_delete
from gateway.settings.config import BackendSettings
from gateway.signing.chunk_chain import ChunkChain
from gateway.signing.sigv4 import SigningKeys, parse_authorization
from gateway.turns import turn
from iam.model import Credentials, Secret
from iam.opa import OpaAuthorizer, OpaSettings
from tests.servers.processes import BACKEND, free_port
from tests.unit.gateway.front import Answer, listen, serve, until
from tests.unit.gateway.signers import ANN, EVE, ROOT, lookup
from tests.unit.gateway.signing.test_chunked import encode_signed

STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


@pytest.fixture
async def make(store):
    """Make gateways in front of the store; all are stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield lambda *given, endpoint=store.endpoint, **how: serve(stack, endpoint, *given, **how)


@pytest.fixture
async def front(make):
    """The ordinary gateway."""
    return await make()


def ok(body: bytes = b"", headers: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_a_request_crosses_and_its_answer_comes_back(front, store):
    """Bytes and S3's headers come back from the store; request id and server name are ours."""
    store.answer = ok(b"\x00data", 'ETag: "e"\r\nServer: store\r\nX-Amz-Request-Id: theirs\r\nSet-Cookie: a=1\r\n')
    answer = await front.call("GET", "/ann/a//b%2Fc", who=ANN)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, b"\x00data", '"e"')
    assert answer.headers["Server"] == "minio-gw"
    assert re.fullmatch("[0-9A-F]{16}", answer.headers["x-amz-request-id"])
    assert "Set-Cookie" not in answer.headers
    assert store.requests[0].line == "GET /ann/a//b%2Fc HTTP/1.1"
    assert BACKEND.access_key_id in store.requests[0].headers["authorization"]


async def test_every_request_has_an_id_of_its_own_in_answer_document_and_log(front):
    """The id in the header is the one in the error document and in the access line, and nobody else's."""
    answers = [await front.call("GET", "/other/k", who=ANN) for _ in range(3)]
    ids = [answer.headers["x-amz-request-id"] for answer in answers]
    assert len(set(ids)) == 3
    assert [ET.fromstring(answer.body).findtext("RequestId") for answer in answers] == ids
    assert [line["request_id"] for line in await front.lines()] == ids


@pytest.mark.parametrize(
    ("method", "target", "how", "code", "status"),
    [
        ("PUT", "/ann/k", {"who": replace(ROOT, secret=Secret("wrong"))}, "SignatureDoesNotMatch", 403),
        ("PUT", "/ann/k", {"who": Credentials("NOBODY", Secret("s"))}, "InvalidAccessKeyId", 403),
        ("PUT", "/ann/k", {"who": EVE}, "AccessDenied", 403),
        ("PUT", "/ann/k", {"who": None}, "AccessDenied", 403),
        ("PUT", "/ann/k", {"unsigned": {"x-amz-acl": "private"}}, "AccessDenied", 403),
        ("PUT", "/ann/k?unknown=1", {}, "NotImplemented", 501),
        ("PATCH", "/ann/k", {}, "MethodNotAllowed", 405),
        ("PUT", "/ann/k", {"payload": STREAMING}, "MissingContentLength", 411),
        ("PUT", "/ann/k", {"payload": "nonsense"}, "InvalidArgument", 400),
        ("PUT", "/ann/k", {"headers": {"x-amz-copy-source": "/other/k"}, "who": ANN}, "AccessDenied", 403),
        ("PUT", "/.b/k", {}, "InvalidBucketName", 400),
        ("POST", "/ann?delete=", {}, "MalformedXML", 400),
        ("PUT", "/ann/%ff", {}, "InvalidURI", 400),
    ],
)
async def test_a_refusal_comes_before_anything_is_sent(front, store, method, target, how, code, status):
    """Whatever is refused is refused here, by S3's code and status, and the store hears nothing of it."""
    answer = await front.call(method, target, body=b"body", **how)
    assert (answer.status, answer.code, answer.headers["Content-Type"]) == (status, code, "application/xml")
    assert store.requests == []
    assert (await front.lines())[0]["error"] == code


async def test_a_refusal_does_not_wait_for_the_body(front, store):
    """A refused upload is answered while its body is still to come, and the connection is given up (trap 14)."""
    headers = front.headers("PUT", "/ann/k", {"Content-Length": str(10 * 2**30)}, who=EVE)
    reader, writer = await front.raw("PUT", "/ann/k", headers)
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 403 ")
    assert b"connection: close" in head.lower()
    assert store.requests == []


async def test_trap_21_continue_is_said_only_after_authorization(front, store):
    """A client that waits is told to go on when it may, and gets its final answer at once when it may not: known or not."""
    waiting = {"Content-Length": "4"}
    for who, first in ((EVE, b"HTTP/1.1 403 "), (ANN, b"HTTP/1.1 100 Continue\r\n")) * 4:
        reader, writer = await front.raw("PUT", "/ann/k", front.headers("PUT", "/ann/k", waiting, who=who) | {"Expect": "100-continue"})  # fmt: skip
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(first)
            if who is ANN:
                writer.write(b"body")
                assert b"HTTP/1.1 200 OK" in await reader.readuntil(b"200 OK")
        writer.close()
    assert [r.body for r in store.requests] == [b"body"] * 4


@pytest.mark.parametrize(
    ("target", "who", "status"), [("/ann/k", ANN, 200), ("/other/k", ANN, 403), ("/ann/k", EVE, 403)]
)
async def test_head_has_no_body(front, store, target, who, status):
    """An answer to HEAD ends with its headers, refusals too; the object's length is still told."""
    store.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\n"
    headers = front.headers("HEAD", target, who=who) | {"Connection": "close"}
    reader, writer = await front.raw("HEAD", target, headers)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert (int(head.split()[1]), body) == (status, b"")
    assert (b"content-length: 5" in head.lower()) == (status == 200)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_that_have_no_body_end(front, store, status):
    """204 and 304 leave the connection usable for the next request."""
    store.answer = f'HTTP/1.1 {status}\r\nETag: "e"\r\n\r\n'.encode()
    for _ in range(2):
        answer = await front.call("GET", "/ann/k", who=ANN)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (int(status[:3]), b"", '"e"')


async def test_the_stores_errors_pass_as_they_are(front, store):
    """An error document of the store is the client's, byte for byte."""
    store.answer = ok(b"<Error><Code>NoSuchKey</Code></Error>", "Content-Type: application/xml\r\n", "404 Not Found")
    answer = await front.call("GET", "/ann/k", who=ANN)
    assert (answer.status, answer.body) == (404, b"<Error><Code>NoSuchKey</Code></Error>")


async def test_a_store_that_is_away_is_service_unavailable(make):
    """The client is told to come back, and not where the store is."""
    port = free_port()
    front = await make(endpoint=f"http://127.0.0.1:{port}")
    answer = await front.call("GET", "/ann/k", who=ANN)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "ServiceUnavailable", "1")
    assert str(port).encode() not in answer.body


async def test_an_answer_cut_short_does_not_look_whole(front, store):
    """When the store dies in the middle of an object the client's connection ends too."""
    store.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf"
    with pytest.raises(aiohttp.ClientError):
        await front.call("GET", "/ann/k", who=ANN)
    assert (await front.lines())[0]["error"] == "Cut"


async def test_more_requests_than_the_limit_are_told_to_slow_down(make, store):
    """The request beyond the limit gets SlowDown and when to come back; a place that gets free is used."""
    front = await make(max_inflight=1)
    headers = front.headers("PUT", "/ann/k", {"Content-Length": "8"})
    reader, writer = await front.raw("PUT", "/ann/k", headers)
    writer.write(b"half")
    await until(lambda: store.requests and store.requests[0].body == b"half")
    answer = await front.call("GET", "/ann/k")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "SlowDown", "1")
    writer.write(b"half")
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await until(lambda: front.desk.inflight == 0)
    assert (await front.call("GET", "/ann/k")).status == 200
    assert [r.line.split()[0] for r in store.requests] == ["PUT", "GET"]


def listing(*names: str) -> bytes:
    buckets = "".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in names)
    return f'<ListAllMyBucketsResult xmlns="{S3_NAMESPACE}"><Owner><ID>o</ID></Owner><Buckets>{buckets}</Buckets></ListAllMyBucketsResult>'.encode()


async def test_list_buckets_shows_what_the_caller_may_list(front, store):
    """The owner gets the store's answer unchanged, a session its own buckets, one with none AccessDenied."""
    store.answer = ok(listing("ann", "other"))
    assert (await front.call("GET", "/")).body == listing("ann", "other")
    assert bucket_names((await front.call("GET", "/", who=ANN)).body) == ("ann",)
    denied = await front.call("GET", "/", who=EVE)
    assert (denied.status, denied.code) == (403, "AccessDenied")
    assert b"other" not in denied.body


async def test_an_answer_too_large_to_edit_is_not_shown(front, store, monkeypatch):
    """What cannot be filtered whole is an error, never the unfiltered rest."""
    monkeypatch.setattr(turn, "MAX_ANSWER", 100)
    store.answer = ok(listing("ann", "other"))
    assert (await front.call("GET", "/", who=ANN)).code == "InternalError"


def deletion(*keys: str) -> tuple[dict[str, str], bytes]:
    body = render_delete(tuple(DeleteEntry(key) for key in keys), quiet=False)
    return {"Content-MD5": base64.b64encode(md5(body).digest()).decode()}, body


async def test_trap_28_delete_objects_is_split(front, store):
    """The store is asked for the allowed keys only; its answer gains an error for each of the others."""
    store.answer = ok(
        f'<DeleteResult xmlns="{S3_NAMESPACE}"><Deleted><Key>mine/a</Key></Deleted></DeleteResult>'.encode()
    )
    headers, body = deletion("mine/a", "theirs")
    answer = await front.call("POST", "/ann?delete=", headers, body, who=ANN)
    assert parse_delete(store.requests[0].body) == ((DeleteEntry("mine/a"),), False)
    found = [(e.tag.partition("}")[2], e[0].text) for e in ET.fromstring(answer.body)]
    assert (answer.status, found) == (200, [("Deleted", "mine/a"), ("Error", "theirs")])


async def test_trap_28_with_every_key_refused_the_store_is_not_asked(front, store):
    """All refused: S3's answer of errors, from here."""
    headers, body = deletion("theirs", "others")
    answer = await front.call("POST", "/ann?delete=", headers, body, who=ANN)
    assert (answer.status, answer.body.count(b"<Code>AccessDenied</Code>")) == (200, 2)
    assert store.requests == []


async def test_a_delete_document_is_bounded(front, store):
    """A body that must be read whole is refused by its announced length, before it is read."""
    headers = front.headers("POST", "/ann?delete=", {"Content-Length": str(2**21 + 1)})
    reader, writer = await front.raw("POST", "/ann?delete=", headers)
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    assert (await front.lines())[0]["error"] == "EntityTooLarge"
    assert store.requests == []


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda body: body, None),
        (lambda body: body.replace(b"5678", b"567x"), "SignatureDoesNotMatch"),
        (lambda body: body[:-4] + b"\r\nxx", "IncompleteBody"),
        (lambda body: body.replace(b"\r\n0;", b"\r\n00000;")[: len(body)], "IncompleteBody"),
    ],
    ids=["good", "false chunk", "false end", "no end"],
)
async def test_trap_10_and_11_a_corrupt_or_cut_body_never_becomes_an_object(front, store, break_it, code):
    """Signed chunks arrive signed for the store; else the upload stays short of its length and its client is told."""
    headers = {"x-amz-decoded-content-length": "8", "Content-Length": "266"}
    sent = front.headers("PUT", "/ann/k", headers, payload=STREAMING)
    claim = parse_authorization(sent["Authorization"], sent["X-Amz-Date"])
    key = SigningKeys().get(ROOT.secret.reveal(), claim.scope)
    body = encode_signed([b"1234", b"5678"], ChunkChain(key, claim.timestamp, claim.scope, claim.signature))
    answer = await front.call("PUT", "/ann/k", body=break_it(body), who=None, unsigned=sent)
    if code is None:
        assert (answer.status, store.requests[0].complete, len(store.requests[0].body)) == (200, True, len(body))
        assert body not in store.requests[0].body
    else:
        assert answer.code == code
        assert [r.complete for r in store.requests] in ([], [False])


STREAM = {"x-amz-decoded-content-length": "3", "x-amz-trailer": "x-amz-checksum-crc32"}
CRC = base64.b64encode(crc32(b"abc").to_bytes(4, "big"))
FRAMED = b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:" + CRC + b"\r\n\r\n"


async def decoded(make, body: bytes) -> Answer:
    """Send a small trailer upload to a backend that does not take aws-chunked."""
    front = await make(settings={"aws_chunked": False})
    return await front.call("PUT", "/ann/k", STREAM, body, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")


async def test_a_small_body_is_verified_before_its_request_is_sent(make, store):
    """Where aws-chunked is not taken, a small payload goes with its hash and its checksum, as a plain request."""
    assert (await decoded(make, FRAMED)).status == 200
    [sent] = store.requests
    assert (sent.complete, sent.body) == (True, b"abc")
    assert sent.headers["x-amz-content-sha256"] == sha256(b"abc").hexdigest()
    assert sent.headers["x-amz-checksum-crc32"] == CRC.decode()


@pytest.mark.parametrize(
    ("body", "code"), [(FRAMED.replace(b"abc", b"abd"), "BadDigest"), (FRAMED[:-1], "IncompleteBody")]
)
async def test_trap_10_and_11_a_small_body_that_is_wrong_is_not_sent(make, store, body, code):
    """A checksum that differs or an end that is missing: the backend is not asked at all."""
    assert (await decoded(make, body)).code == code
    assert store.requests == []


async def test_a_redirect_without_a_region_is_an_error(front, store):
    """A redirect that names no region is not followed, and its address is not shown."""
    store.answer = ok(b"", "Location: http://127.0.0.1:9/elsewhere\r\n", "302 Found")
    answer = await front.call("GET", "/ann/k", who=ANN)
    assert (answer.status, answer.code) == (500, "InternalError")
    assert "127.0.0.1:9" not in f"{answer.headers}{answer.body}"
    assert len(store.requests) == 1


async def test_it_is_signed_when_it_is_sent(make, store, policy_service):
    """The signature's time is that of sending, not of the request's coming: decisions may take their time."""
    now = time.time()

    def decide(question) -> bool:
        nonlocal now
        now += 100
        return True

    async with policy_service(decide) as (_, asks):
        front = await make(clock=lambda: now, **asks)
        for number in range(3):  # told whole, and again
            assert (await front.call("GET", "/ann/k", who=EVE)).status == 200
            stamp = store.requests[number].headers["x-amz-date"]
            assert datetime.strptime(stamp + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp() == int(now)


@pytest.mark.parametrize("bare", [True, False])
async def test_a_backend_whose_credentials_come_from_the_chain(make, store, monkeypatch, bare):
    """The chain is asked before the first request is signed; without credentials nothing is sent."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if not bare:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    front = await make()
    settings = BackendSettings(store.endpoint, "us-east-1", "path", "chain")
    front.desk.backend = Backend(settings, BACKEND, front.plane.pool, SigningKeys())
    answers = [await front.call("PUT", "/ann/k", body=b"body", who=ANN) for _ in range(2)]
    if bare:
        assert [(a.status, a.code) for a in answers] == [(503, "ServiceUnavailable")] * 2
        assert store.requests == []
    else:
        assert [(a.status, r.body) for a, r in zip(answers, store.requests, strict=True)] == [(200, b"body")] * 2
        assert all("Credential=ENVKEY/" in r.headers["authorization"] for r in store.requests)


async def test_the_access_line_names_the_caller_and_holds_no_secret(front):
    """Operation, key, parent, sizes and the reason of a refusal are told; query, token and signature never."""
    await front.call("GET", "/ann/k?versionId=v-in-query", who=ANN)
    (line,) = await front.lines()
    told = {n: line[n] for n in ("operation", "access_key_id", "parent", "path", "status", "error")}
    assert told == {"operation": "GetObject", "access_key_id": "ANNKEY", "parent": "ann@idp", "path": "/ann/k", "status": 403, "error": "AccessDenied"}  # fmt: skip
    assert "s3:GetObjectVersion" in line["reason"]
    for secret in ("ann-token", "ann-secret", "v-in-query", "Signature"):
        assert secret not in front.log.getvalue()


async def test_a_failure_of_ours_is_internal_error_and_logged_once(make, store, caplog):
    """What nobody foresaw is answered in S3's words, without a word of the trace, which the operator finds by its id."""

    def broken(key, token):
        raise RuntimeError("the secret reason")

    answer = await (await make(who=broken)).call("GET", "/ann/k")
    assert (answer.status, answer.code) == (500, "InternalError")
    assert b"secret reason" not in answer.body
    (record,) = [r for r in caplog.records if r.name == "minio_gw.turn"]
    assert answer.headers["x-amz-request-id"] in record.getMessage()
    assert store.requests == []


class PolicyService:
    """A policy service on a real port: it judges by the input, and counts."""

    def __init__(self, judge: Callable[[dict], bool]) -> None:
        self.judge, self.asked = judge, 0

    async def handle(self, http: web.BaseRequest) -> web.Response:
        self.asked += 1
        return web.json_response({"result": self.judge((await http.json())["input"])})


@pytest.fixture(params=["over the plane", "by httpx"])
def policy_service(request):
    """Return who runs a policy service and says how a gateway asks it, in either way."""

    @contextlib.asynccontextmanager
    async def run(judge):
        service = PolicyService(judge)
        async with contextlib.AsyncExitStack() as stack:
            url = f"http://127.0.0.1:{await listen(stack, service.handle)}/v1/data/authz"
            opa = OpaSettings(url, timeout=10.0)
            if request.param == "over the plane":
                yield service, {"opa": opa}
                return
            authorizer = OpaAuthorizer(opa)
            stack.push_async_callback(authorizer.close)
            yield service, {"authorizer": authorizer}

    return run


async def test_a_known_client_is_asked_about_each_time(make, store, policy_service):
    """Every request is a question, whichever way it is told; what the service says of one holds for that one only."""
    async with policy_service(lambda question: question["object"] != "secret") as (service, asks):
        front = await make(**asks)
        for number, key in enumerate(["a", "b", "c", "secret", "d", "secret"], 1):
            answer = await front.call("GET", f"/ann/{key}", who=EVE)
            assert (answer.status, service.asked) == (403 if key == "secret" else 200, number)
        assert [request.head.split()[1] for request in store.requests] == [b"/ann/a", b"/ann/b", b"/ann/c", b"/ann/d"]
        refused = [line for line in await front.lines() if line["status"] == 403]
        assert {(line["operation"], line["reason"]) for line in refused} == {("GetObject", "policy service said no")}


async def test_what_cannot_be_asked_is_denied_and_counted(make, store):
    """A fact that no JSON can carry: nobody is asked, nothing is sent, and the metrics show a question without an answer."""
    claims = {"exp": float("nan")}

    def nan(key, token):
        credentials, principal = lookup(key, token)
        return credentials, replace(principal, claims=claims)

    front = await make(opa=OpaSettings("http://127.0.0.1:9/"), who=nan)
    assert (await front.call("GET", "/ann/k", who=EVE)).code == "AccessDenied"
    assert (front.desk.service.tally.undecided, store.requests) == (1, [])


async def test_a_policy_service_is_asked_and_its_no_is_final(make, store, policy_service):
    """Every question of a copy goes over (it, its tags, its annotations); one no and the store hears nothing."""
    async with policy_service(lambda question: question["bucket"] in {"ann", "src"}) as (service, asks):
        front = await make(**asks)
        copied = await front.call("PUT", "/ann/k", {"x-amz-copy-source": "/src/k"}, who=EVE)
        assert (copied.status, service.asked, len(store.requests)) == (200, 6, 1)
        refused = await front.call("PUT", "/ann/k", {"x-amz-copy-source": "/other/k"}, who=EVE)
        assert (refused.status, refused.code, len(store.requests)) == (403, "AccessDenied", 1)
        line = (await front.lines())[1]
        assert (line["operation"], line["access_key_id"], line["parent"]) == ("CopyObject", "EVEKEY", "eve@idp")


async def test_list_buckets_asks_the_policy_service_bucket_by_bucket(make, store, policy_service):
    """The service's word on each bucket decides what is shown."""
    store.answer = ok(listing("ann", "loc", "other"))
    allowed = {("s3:ListBucket", "ann"), ("s3:GetBucketLocation", "loc")}
    async with policy_service(lambda q: (q["action"], q["bucket"]) in allowed) as (service, asks):
        answer = await (await make(**asks)).call("GET", "/", who=EVE)
    assert bucket_names(answer.body) == ("ann", "loc")
    assert service.asked == 1 + 2 * 3
