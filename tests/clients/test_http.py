"""HTTP as it is spoken: interim answers, old versions, kept and pipelined connections, odd targets, IPv6; store beside gateway."""

from __future__ import annotations

import re
import socket
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from botocore.config import Config

from tests.clients.payloads import Side, sign
from tests.conftest import s3_client
from tests.servers.ipv6 import Ipv6Relay
from tests.servers.processes import (
    BACKEND,
    ROOT_PASSWORD,
    ROOT_USER,
    GatewayProcess,
    Process,
    free_port,
    http_status,
    until,
)

BODY = bytes(range(256)) * 40


@dataclass
class Response:
    """One answer as it came: `interim` are the 1xx statuses before it."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...] = ()

    @property
    def seen(self) -> tuple:
        """What a client goes by."""
        kept = ("etag", "content-length", "content-range", "content-type", "accept-ranges", "last-modified")
        code = re.search(rb"<Code>(.*?)</Code>", self.body)
        body = code[1] if code else self.body
        headers = {n: v for n, v in self.headers.items() if n in kept} if not code else {}
        return self.status, headers, body


class Wire:
    """One connection, on which whole answers are read one after the other."""

    def __init__(self, side: Side) -> None:
        parts = urlsplit(side.endpoint)
        self.side = side
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=20)
        self.stream = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()

    def head(self, method: str, target: str, *lines: str, version: str = "1.1", sent: str = "", **signed: str) -> bytes:
        """Return a signed head; `sent` is the target on the wire, where it is not the one signed."""
        headers = sign(self.side, method, target, {n.replace("_", "-"): v for n, v in signed.items()})
        first = f"{method} {sent or target} HTTP/{version}"
        return "\r\n".join(
            [first, f"Host: {self.host}", *(f"{n}: {v}" for n, v in headers.items()), *lines, "", ""]
        ).encode()

    def send(self, data: bytes) -> Wire:
        self.socket.sendall(data)
        return self

    def read(self, method: str = "GET") -> Response:
        """Return the next final answer."""
        interim: tuple[int, ...] = ()
        while True:
            version, status, *_ = self.stream.readline().decode().split(" ", 2)
            headers = {}
            while line := self.stream.readline().strip().decode():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if int(status) >= 200:
                return Response(version, int(status), headers, self._body(method, int(status), headers), interim)
            interim += (int(status),)

    def _body(self, method: str, status: int, headers: dict[str, str]) -> bytes:
        if method == "HEAD" or status in {204, 304}:
            return b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.stream.readline(), 16):
                body += self.stream.read(size)
                self.stream.readline()
            self.stream.readline()
            return body
        return self.stream.read(int(headers["content-length"])) if "content-length" in headers else self.stream.read()

    @property
    def ended(self) -> bool:
        """Whether the server has closed the connection."""
        return self.stream.read(1) == b""


@pytest.fixture(params=["through", "store"])
def side(request, gateway, app_credentials, weed):
    """The gateway, and the store beside it."""
    if request.param == "through":
        return Side.of(gateway.endpoint, app_credentials)
    return Side.of(weed.endpoint, {"accessKey": BACKEND.access_key_id, "secretKey": BACKEND.secret.reveal()})


@pytest.fixture(scope="module")
def bucket(direct):
    """A bucket with one object."""
    name = f"http-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    direct.put_object(Bucket=name, Key="k", Body=BODY, ContentType="text/x-test")
    yield name
    for found in direct.list_objects_v2(Bucket=name).get("Contents", []):
        direct.delete_object(Bucket=name, Key=found["Key"])
    direct.delete_bucket(Bucket=name)


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


def test_a_client_that_waits_is_told_to_go_on(side, bucket):
    """Expect: 100-continue gets its 100 before the body is sent, then the answer; the connection stays. Each time: also when it is known."""
    with Wire(side) as wire:
        for _ in range(8):
            wire.send(wire.head("PUT", f"/{bucket}/waited", length(BODY), "Expect: 100-continue"))
            assert wire.stream.readline().startswith(b"HTTP/1.1 100 ")
            assert wire.stream.readline() == b"\r\n"
            assert wire.send(BODY).read("PUT").status == 200
        assert wire.send(wire.head("GET", f"/{bucket}/waited")).read().body == BODY


def test_a_client_that_does_not_wait_is_served(side, bucket):
    """A body sent together with Expect: 100-continue is taken, and an expectation without a body changes nothing."""
    with Wire(side) as wire:
        answer = wire.send(wire.head("PUT", f"/{bucket}/eager", length(BODY), "Expect: 100-continue") + BODY).read(
            "PUT"
        )
        assert answer.status == 200
        answer = wire.send(wire.head("GET", f"/{bucket}/eager", "Expect: 100-continue")).read()
        assert (answer.status, answer.interim, answer.body) == (200, (), BODY)


def test_an_old_client_is_never_told_100(gateway, app_credentials, bucket):
    """An HTTP/1.0 client knows no interim answers (RFC 9110 section 10.1.1): its expectation is ignored."""
    with Wire(Side.of(gateway.endpoint, app_credentials)) as wire:
        head = wire.head("PUT", f"/{bucket}/old", length(BODY), "Expect: 100-continue", version="1.0")
        answer = wire.send(head + BODY).read("PUT")
        assert (answer.status, answer.interim) == (200, ())


@pytest.mark.parametrize("target", ["k", "missing", "?list-type=2", "k?tagging="])
def test_http_1_0_is_served_and_the_connection_closed(side, bucket, target):
    """An HTTP/1.0 client gets whole answers, never chunked ones, and the end of the connection after them."""
    path = f"/{bucket}/{target}" if not target.startswith("?") else f"/{bucket}{target}"
    with Wire(side) as wire:
        new = wire.send(wire.head("GET", path)).read()
    with Wire(side) as wire:
        old = wire.send(wire.head("GET", path, version="1.0")).read()
        assert "transfer-encoding" not in old.headers
        assert old.status == new.status
        assert old.seen[2] == new.seen[2]
        assert wire.ended


def test_http_1_0_may_keep_its_connection(side, bucket):
    """With Connection: keep-alive an HTTP/1.0 client uses its connection again, for uploads too."""
    with Wire(side) as wire:
        for _ in range(3):
            answer = wire.send(wire.head("GET", f"/{bucket}/k", "Connection: keep-alive", version="1.0")).read()
            assert (answer.status, answer.body, answer.headers["connection"].lower()) == (200, BODY, "keep-alive")
            put = wire.head("PUT", f"/{bucket}/kept", length(BODY), "Connection: keep-alive", version="1.0")
            assert wire.send(put + BODY).read("PUT").status == 200
        assert wire.send(wire.head("HEAD", f"/{bucket}/kept", version="1.0")).read("HEAD").headers[
            "content-length"
        ] == str(len(BODY))
        assert wire.ended


def test_a_connection_serves_many_requests(side, bucket):
    """Uploads, reads, refusals and deletions follow each other on one connection."""
    with Wire(side) as wire:
        for i in range(5):
            key = f"/{bucket}/many{i}"
            assert wire.send(wire.head("PUT", key, length(BODY)) + BODY).read("PUT").status == 200
            assert wire.send(wire.head("GET", key)).read().body == BODY
            assert wire.send(wire.head("GET", key + "x")).read().status == 404
            assert wire.send(wire.head("HEAD", key + "x")).read("HEAD").status == 404
            assert wire.send(wire.head("DELETE", key)).read("DELETE").status == 204
        assert wire.send(wire.head("GET", f"/{bucket}/k", "Connection: close")).read().body == BODY
        assert wire.ended


def test_pipelined_requests_are_answered_in_order(side, bucket):
    """Requests sent in one piece, bodies between them, get their own answers in their own order."""
    with Wire(side) as wire:
        key = f"/{bucket}/piped"
        wire.send(
            wire.head("PUT", key, length(BODY)) + BODY + wire.head("GET", key) + wire.head("HEAD", key)
            + wire.head("GET", f"/{bucket}/missing") + wire.head("PUT", key, length(b"two")) + b"two"
            + wire.head("GET", key, range="bytes=1-") + wire.head("DELETE", key) + wire.head("GET", key)
        )  # fmt: skip
        methods = ["PUT", "GET", "HEAD", "GET", "PUT", "GET", "DELETE", "GET"]
        answers = [wire.read(method) for method in methods]
        assert [a.status for a in answers] == [200, 200, 200, 404, 200, 206, 204, 404]
        assert [answers[1].body == BODY, answers[5].body] == [True, b"wo"]


def test_a_refused_upload_is_never_read_as_the_next_request(gateway, app_credentials, bucket):
    """When an upload is refused before its body is read, a request hidden in that body is not answered."""
    side = Side.of(gateway.endpoint, app_credentials)
    with Wire(side) as wire:
        hidden = wire.head("GET", f"/{bucket}/k")
        head = wire.head("PUT", f"/{bucket}/refused", length(hidden)).replace(b"Signature=", b"Signature=0")
        first = wire.send(head + hidden).read("PUT")
        assert first.status in {400, 403}
        assert wire.ended


def test_absolute_form_is_the_same_request(side, bucket):
    """A target in absolute form (RFC 9112 section 3.2.2) names the same object, for reading and for writing."""
    with Wire(side) as wire:
        for key in ("k", "space%20and%2Bplus"):
            target = f"/{bucket}/{key}"
            sent = f"http://{wire.host}{target}"
            if key != "k":
                assert wire.send(wire.head("PUT", target, length(BODY), sent=sent) + BODY).read("PUT").status == 200
            assert wire.send(wire.head("GET", target, sent=sent)).read().body == BODY
        listing = wire.send(
            wire.head(
                "GET", f"/{bucket}?list-type=2&prefix=k", sent=f"http://{wire.host}/{bucket}?list-type=2&prefix=k"
            )
        ).read()
        assert b"<Key>k</Key>" in listing.body


@pytest.mark.parametrize("authority", ["other.example.test", "other.s3.example.test", "127.0.0.1:1", "user@{}"])
def test_an_absolute_target_at_another_host_is_refused(gateway, app_credentials, bucket, authority):
    """A target and a Host header that name two hosts are two requests: neither is served."""
    with Wire(Side.of(gateway.endpoint, app_credentials)) as wire:
        sent = f"http://{authority.format(wire.host)}/{bucket}/k"
        assert wire.send(wire.head("GET", f"/{bucket}/k", sent=sent)).read().status == 400


@pytest.fixture(scope="module")
def six(servers, weed):
    """A gateway on [::1] before a store on [::1]."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        relay = Ipv6Relay(urlsplit(weed.endpoint).port)
    except OSError:
        pytest.skip("this machine has no [::1]")
    folder, port = servers / "six", free_port()
    server = GatewayProcess(folder, relay.endpoint)
    server.endpoint = f"http://[::1]:{port}"
    command = list(server.process.command)
    command[command.index("--address") + 1] = f"[::1]:{port}"
    server.process = Process(command, folder / "gateway.log", server.process.env).start()
    until(lambda: http_status(f"{server.endpoint}/minio/health/ready") == 200, "the gateway is ready on [::1]")
    yield server
    server.close()
    relay.close()


def test_ipv6_on_both_sides(six, direct):
    """boto3 through [::1] to a store on [::1]: the object is the one that the store has."""
    root = s3_client(six.endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD})
    name = f"six-{uuid.uuid4().hex[:10]}"
    root.create_bucket(Bucket=name)
    etag = root.put_object(Bucket=name, Key="a b+c", Body=BODY)["ETag"]
    assert direct.head_object(Bucket=name, Key="a b+c")["ETag"] == etag
    assert root.get_object(Bucket=name, Key="a b+c")["Body"].read() == BODY
    assert [o["Key"] for o in root.list_objects_v2(Bucket=name)["Contents"]] == ["a b+c"]
    root.delete_object(Bucket=name, Key="a b+c")
    root.delete_bucket(Bucket=name)


def test_ipv6_source_is_what_policy_sees(six):
    """aws:SourceIp is the IPv6 peer: a session policy for another network refuses it, one for ::1 does not."""
    import json

    import boto3

    sts = boto3.client("sts", endpoint_url=six.endpoint, region_name="us-east-1", aws_access_key_id=ROOT_USER,
                       aws_secret_access_key=ROOT_PASSWORD, config=Config(retries={"max_attempts": 1}))  # fmt: skip
    outcomes = {}
    for network in ("::1/128", "2001:db8::/32", "127.0.0.0/8"):
        statement = {
            "Effect": "Allow",
            "Action": "s3:*",
            "Resource": "arn:aws:s3:::*",
            "Condition": {"IpAddress": {"aws:SourceIp": network}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        found = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="six", Policy=policy)[
            "Credentials"
        ]
        keys = {
            "accessKey": found["AccessKeyId"],
            "secretKey": found["SecretAccessKey"],
            "sessionToken": found["SessionToken"],
        }
        with Wire(Side.of(six.endpoint, keys)) as wire:
            outcomes[network] = wire.send(wire.head("GET", "/")).read().status
    assert outcomes == {"::1/128": 200, "2001:db8::/32": 403, "127.0.0.0/8": 403}
