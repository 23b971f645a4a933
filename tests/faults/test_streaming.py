"""Big bodies move in constant memory, slow readers are waited for, and clients that leave free the backend."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.servers.processes import until

PIECE = bytes(range(256)) * 4096  # 1 MiB


def rss(gateway) -> int:
    """Return the gateway's resident memory in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{gateway.process.popen.pid}/status").read_text())[1]) // 1024


def sockets(gateway) -> int:
    """Return how many sockets the gateway has open."""
    count = 0
    for entry in Path(f"/proc/{gateway.process.popen.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed between the listing and the look
            count += "socket" in str(entry.readlink())
    return count


def signed(gateway, credentials, method: str, path: str) -> dict[str, str]:
    request = AWSRequest(method, f"{gateway.endpoint}{path}", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    signer = S3SigV4Auth(
        Credentials(credentials["accessKey"], credentials["secretKey"], credentials["sessionToken"]), "s3", "us-east-1"
    )
    signer.payload = lambda _: "UNSIGNED-PAYLOAD"
    signer.add_auth(request)
    return dict(request.headers.items())


@pytest.fixture
def bucket(s3):
    name = f"big-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=name)
    yield name
    for found in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


def move(gateway, credentials, bucket: str, mebibytes: int) -> int:
    """Put and get an object of that size, compare, and return the highest resident memory seen."""
    path, highest = f"/{bucket}/big", rss(gateway)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    headers = signed(gateway, credentials, "PUT", path) | {"Content-Length": str(mebibytes * 2**20)}
    connection.request("PUT", path, body=(PIECE for _ in range(mebibytes)), headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    highest = max(highest, rss(gateway))
    connection.request("GET", path, headers=signed(gateway, credentials, "GET", path))
    answer, digest, size = connection.getresponse(), hashlib.md5(usedforsecurity=False), 0
    while piece := answer.read(2**20):
        digest.update(piece)
        size += len(piece)
        if size % 2**26 == 0:
            highest = max(highest, rss(gateway))
    connection.close()
    expected = hashlib.md5(usedforsecurity=False)
    for _ in range(mebibytes):
        expected.update(PIECE)
    assert (size, digest.digest()) == (mebibytes * 2**20, expected.digest())
    return highest


def test_quarter_gibibyte_moves_in_constant_memory(gateway, app_credentials, bucket):
    """256 MiB each way does not make the gateway grow by 64 MiB."""
    before = rss(gateway)
    assert move(gateway, app_credentials, bucket, 256) - before < 64


@pytest.mark.slow
def test_five_gibibytes_move_in_constant_memory(gateway, app_credentials, bucket):
    """5 GiB each way does not make the gateway grow by 64 MiB."""
    before = rss(gateway)
    assert move(gateway, app_credentials, bucket, 5 * 1024) - before < 64


def test_slow_reader_and_leaving_client(gateway, app_credentials, bucket, s3):
    """A reader that stops is not read ahead for; when it leaves, the backend's connection is let go."""
    s3.put_object(Bucket=bucket, Key="big", Body=PIECE * 64)
    before, open_before = rss(gateway), sockets(gateway)
    headers = signed(gateway, app_credentials, "GET", f"/{bucket}/big")
    readers = []
    for _ in range(8):
        one = socket.create_connection(("127.0.0.1", gateway.port))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        one.sendall(
            (
                f"GET /{bucket}/big HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n"
                + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
                + "\r\n"
            ).encode()
        )
        assert one.recv(1000).startswith(b"HTTP/1.1 200")
        readers.append(one)
    threading.Event().wait(1.0)  # time in which a gateway without back-pressure would read 512 MiB
    assert rss(gateway) - before < 64
    for one in readers:
        one.close()
    until(lambda: sockets(gateway) <= open_before + 2, "the backend's connections are let go", 20)
