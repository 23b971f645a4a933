"""Buckets in other regions: the gateway goes there, with its own signature, and never where an answer would lead it."""

from __future__ import annotations

import re
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from botocore.exceptions import ClientError

from tests.conftest import s3_client
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess

HOME = {"here": "us-east-1", "there": "eu-west-1"}
ROOT = {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD}


class Store(ThreadingHTTPServer):
    """A store as AWS is: a request signed for another region than the bucket's is redirected; `trap` names a host."""

    daemon_threads = True

    def __init__(self, trap: str = "http://127.0.0.1:9/") -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.objects: dict[str, bytes] = {}
        self.trap = trap
        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: Store
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        signed = re.search(r"/\d{8}/([a-z0-9-]+)/s3/aws4_request", self.headers.get("Authorization", ""))
        bucket = self.path.strip("/").partition("/")[0].partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if signed is None:
            self._say(403)
            return
        self.server.seen.append((self.command, self.path, signed[1]))
        home = next((HOME[name] for name in HOME if bucket.startswith(name)), "us-east-1")
        if bucket.startswith("loop"):
            self._say(307, {"Location": self.server.trap, "x-amz-bucket-region": "ap-south-1"})
        elif bucket.startswith("evil"):
            self._say(301, {"Location": self.server.trap, "x-amz-bucket-region": "evil.example"})
        elif signed[1] != home:
            self._say(301, {"Location": self.server.trap, "x-amz-bucket-region": home})
        else:
            if self.command == "PUT":
                self.server.objects[self.path] = body
            self._say(200, {"x-amz-bucket-region": home, "ETag": '"e"', "x-amz-request-id": "BACKENDS"})

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _any  # noqa: N815 - http.server's names

    def _say(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def store():
    server = Store()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def regional(servers, store):
    """A gateway before a store with regions, which has a region of its own."""
    server = GatewayProcess(
        servers / "regional", store.endpoint, MINIO_REGION="us-east-1", MINIO_GW_BACKEND_REGIONS="on"
    ).start()
    yield server
    server.close()


@pytest.fixture
def client(regional, store):
    store.seen.clear()
    return s3_client(regional.endpoint, ROOT, retries={"max_attempts": 0})


def test_a_read_follows_the_bucket(client, store):
    """The client gets the object and its own region; the second read goes straight there."""
    name = f"there-{uuid.uuid4().hex[:8]}"
    answer = client.get_object(Bucket=name, Key="k")
    assert [region for _, _, region in store.seen] == ["us-east-1", "eu-west-1"]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-bucket-region"] == "us-east-1"
    assert headers["x-minio-gw-backend-request-id"] == "BACKENDS"
    assert "location" not in headers
    client.get_object(Bucket=name, Key="k")
    assert [region for _, _, region in store.seen] == ["us-east-1", "eu-west-1", "eu-west-1"]


@pytest.mark.parametrize("home", HOME)
def test_an_upload_is_sent_once_and_to_the_right_place(client, store, home):
    """The region is asked before the body moves, once per bucket."""
    name, body = f"{home}-{uuid.uuid4().hex[:8]}", b"x" * 300_000
    for key in ("a", "b"):
        client.put_object(Bucket=name, Key=key, Body=body)
        assert body in store.objects[f"/{name}/{key}"]
    assert [(method, region) for method, _, region in store.seen] == [
        ("HEAD", "us-east-1"),
        ("PUT", HOME[home]),
        ("PUT", HOME[home]),
    ]


@pytest.mark.parametrize("name", ["loop-bucket", "evil-bucket"])
def test_a_redirect_that_leads_nowhere_is_an_error(client, store, name):
    """A second redirect, or one to something that is no region, ends; the client never sees the backend's address."""
    with pytest.raises(ClientError) as refused:
        client.get_object(Bucket=name, Key="k")
    assert refused.value.response["Error"]["Code"] == "InternalError"
    assert "location" not in refused.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert len(store.seen) <= 2
