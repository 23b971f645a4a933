"""desk: who is asking, the answers to what is no request, and what every answer carries."""

from __future__ import annotations

import asyncio
import contextlib
import json
from email.utils import parsedate_to_datetime
from ipaddress import ip_network
from xml.etree import ElementTree as ET

import pytest

from gateway.wire.heads import RequestReader
from gateway.wire.plane import Times
from iam.authorize import IamPolicies
from iam.policy import parse
from tests.unit.gateway.front import serve
from tests.unit.gateway.signers import ANN


@pytest.fixture
async def make(store):
    """Make gateways in front of the store; all are stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield lambda **how: serve(stack, store.endpoint, **how)


async def exchanged(port: int, data: bytes) -> tuple[bytes, bytes]:
    """Send bytes; return head and body of what comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(20):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head, body


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ((), "6.6.6.6", "127.0.0.1"),
        (("10.0.0.0/8",), "6.6.6.6", "127.0.0.1"),
        (("127.0.0.0/8",), "6.6.6.6", "6.6.6.6"),
        (("127.0.0.0/8",), "1.1.1.1, 6.6.6.6", "6.6.6.6"),
        (("127.0.0.0/8", "10.0.0.0/8"), "1.1.1.1, 6.6.6.6, 10.1.2.3", "6.6.6.6"),
        (("127.0.0.0/8",), "", "127.0.0.1"),
        (("127.0.0.0/8",), "not an address", "not an address"),
    ],
)
async def test_trap_19_forwarded_for_is_believed_from_listed_proxies_only(make, trusted, forwarded, address):
    """The address is the last hop that no listed proxy vouches beyond: a client cannot write its own."""
    front = await make(trusted_proxies=tuple(map(ip_network, trusted)))
    await front.call("GET", "/ann/k", unsigned={"X-Forwarded-For": forwarded})
    assert (await front.lines())[0]["source_ip"] == address


@pytest.mark.parametrize(
    ("trusted", "proto", "secure"),
    [((), "https", False), (("127.0.0.0/8",), "https", True), (("127.0.0.0/8",), "http", False), (("127.0.0.0/8",), "", False)],
)  # fmt: skip
async def test_trap_19_forwarded_proto_is_believed_from_listed_proxies_only(make, trusted, proto, secure):
    """Whether TLS was spoken, which a policy may ask, is what a listed proxy says and nobody else."""
    tls_only = {
        "Effect": "Allow",
        "Action": "s3:*",
        "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "true"}},
    }
    policies = {"ann": parse(json.dumps({"Version": "2012-10-17", "Statement": [tls_only]}))}
    front = await make(authorizer=IamPolicies(lambda: policies), trusted_proxies=tuple(map(ip_network, trusted)))
    answer = await front.call("GET", "/ann/k", who=ANN, unsigned={"X-Forwarded-Proto": proto} if proto else None)
    assert (answer.status == 200) is secure


@pytest.mark.parametrize("line", [b"x-amz-meta-a: \xff", b"Range: bytes=0-1\r\nRange: bytes=2-3"])
async def test_trap_20_headers_that_could_be_read_in_two_ways_are_refused(make, store, line):
    """Bytes that are no UTF-8, and a header sent twice, are 400."""
    front = await make()
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(b"GET /ann/k HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    assert store.requests == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"nonsense\r\n\r\n", "InvalidRequest"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "InvalidRequest"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "InvalidRequest"),
        (b"GET /" + b"k" * 70_000 + b" HTTP/1.1\r\n\r\n", "RequestHeaderSectionTooLarge"),
    ],
    ids=["no head", "space", "framing", "long"],
)
async def test_what_is_no_request_is_refused_logged_and_counted(make, store, data, code):
    """Its answer is an S3 error document that ends the connection; its line tells the peer, the code and the reason."""
    front = await make()
    head, body = await exchanged(front.port, data)
    document = ET.fromstring(body)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert document.findtext("Code") == code
    (line,) = await front.lines()
    assert (line["error"], line["status"], line["source_ip"]) == (code, 400, "127.0.0.1")
    assert line["reason"]
    assert line["request_id"] == document.findtext("RequestId")
    assert f'errors_total{{operation="-",code="{code}"}} 1' in front.desk.counters.render()
    assert store.requests == []


async def test_a_head_that_does_not_come_is_a_timeout(make, monkeypatch):
    """Whoever begins a request and does not end its head is told so, and logged; an idle connection is neither."""
    monkeypatch.setattr("gateway.wire.plane.TICK", 0.01)
    front = await make(times=Times(head=0.05))
    head, body = await exchanged(front.port, b"GET / HTTP/1.1\r\nHost:")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert ET.fromstring(body).findtext("Code") == "RequestTimeout"
    (line,) = await front.lines()
    assert (line["error"], line["reason"]) == ("RequestTimeout", "slow head")


async def test_every_answer_tells_the_time_of_its_second(make):
    """Date, Server and nosniff are on every answer; the date is that of the clock, in RFC 9110's form."""
    now = 1_700_000_000.9
    front = await make(clock=lambda: now)
    for second in (1_700_000_000, 1_700_000_000, 1_700_000_001):
        now = second + 0.9
        for target, who in (("/ann/k", ANN), ("/other/k", ANN)):
            answer = await front.call("GET", target, who=who)
            assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == second
            assert answer.headers["Date"].endswith(" GMT")
            assert (answer.headers["Server"], answer.headers["X-Content-Type-Options"]) == ("minio-gw", "nosniff")


@pytest.mark.parametrize(
    ("target", "control"),
    [
        ("/minio/health/live", True),
        ("/minio/health/ready?x=1", True),
        ("/minio/prometheus/metrics", True),
        ("/minio/v2/metrics/cluster", True),
        ("/minio/v2/metrics/cluster?x=1", True),
        ("/minio/v2/metrics/cluster/", False),
        ("/minio/key", False),
        ("/minio/", False),
        ("/minio", False),
        ("/minio/health", False),
        ("//minio/health/live", False),
        ("/minio/%68ealth/live", False),
    ],
)
async def test_only_health_and_metrics_are_taken_from_s3(make, target, control):
    """MinIO's own paths are the control surface's; every other path is S3's, that of a bucket `minio` too."""
    front = await make()
    assert front.desk.is_probe(target) is control
    answer = await front.call("GET", target, who=ANN)
    assert (b"\n<Error><Code>" in answer.body) is not control
    assert (answer.status == 200) is control


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://h/minio/health/live", 200),
        ("HTTP://h:9000/minio/v2/metrics/cluster?x=1", 200),
        ("http://h/minio/key", 403),
        ("http://minio/health/live", 403),
    ],
)
async def test_a_probe_in_absolute_form_is_one(make, target, status):
    """A target in absolute form is health's or the metrics' by its path (RFC 9112 section 3.2.2), and never by its host."""
    front = await make()
    assert front.desk.is_probe(target) is (status == 200)
    host = target.split("/")[2]
    reader, writer = await front.raw("GET", target, {"Host": host, "Connection": "close"})
    assert (await reader.read()).startswith(b"HTTP/1.1 %d " % status)
    writer.close()


async def test_a_turn_counts_until_it_is_finished(make):
    """A turn takes one of the places from its head to its end, and gives it back once however often it is finished."""
    front = await make()
    head = RequestReader().read(b"GET /ann/k HTTP/1.1\r\nHost: h\r\n\r\n")
    turns = [front.desk.turn(front.desk.meet("192.0.2.1", secure=False), head) for _ in range(2)]
    assert front.desk.inflight == 2
    for turn in (turns[0], turns[0], turns[1]):
        turn.finish()
    assert front.desk.inflight == 0
    assert [json.loads(line)["source_ip"] for line in front.log.getvalue().splitlines()] == ["192.0.2.1"] * 2
