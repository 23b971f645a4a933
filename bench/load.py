"""Load for the benchmark: requests signed beforehand, sent over kept connections, every answer checked.

A generator that signs or parses much would take the CPU that the measured servers need. So the requests are bytes
before the clock starts (SigV4 of botocore, UNSIGNED-PAYLOAD), a connection is a bare socket, and of an answer only the
status line, Content-Length and the number of body bytes are looked at. Any other answer than the expected one ends
the run: a fast error is not a result.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

BUFFER = 1 << 20  # bytes asked of the kernel at once
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class WrongAnswer(Exception):
    """A server answered something else than it had to."""


@dataclass(frozen=True)
class Shot:
    """One request as it goes over the wire, and the body length its answer of status 200 must have."""

    head: bytes
    body: bytes
    length: int


class _Unsigned(S3SigV4Auth):
    """SigV4 that leaves the body out, as S3 allows: "Authenticating Requests", UNSIGNED-PAYLOAD."""

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002 - botocore's signature
        return "UNSIGNED-PAYLOAD"


def signed(method: str, url: str, credentials: Credentials, *, body: bytes = b"", length: int = 0) -> Shot:
    """Return the request for `url`, signed for the host in it; it is good for 15 minutes."""
    parts = urlsplit(url)
    headers = {"Host": parts.netloc} | ({"Content-Length": str(len(body))} if method == "PUT" else {})
    request = AWSRequest(method, url, headers=headers)
    _Unsigned(credentials, "s3", "us-east-1").add_auth(request)
    lines = [f"{method} {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    return Shot("\r\n".join([*lines, "", ""]).encode(), body, length)


def fire(port: int, shots: Sequence[Shot], count: int, connections: int) -> float:
    """Send `count` requests, the shots in turn, to a loopback port; return the seconds. Raises WrongAnswer."""
    return asyncio.run(_fire(port, shots, count, connections))


async def _fire(port: int, shots: Sequence[Shot], count: int, connections: int) -> float:
    work = islice(cycle(shots), count)  # shared: a free connection takes the next request
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connection(port, work))
    return time.perf_counter() - begin


async def _connection(port: int, work) -> None:
    loop, buffer = asyncio.get_running_loop(), memoryview(bytearray(BUFFER))
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        for shot in work:
            await _send(loop, sock, shot)
            await _receive(loop, sock, shot, buffer)


async def _send(loop: asyncio.AbstractEventLoop, sock: socket.socket, shot: Shot) -> None:
    if len(shot.body) < BUFFER:
        await loop.sock_sendall(sock, shot.head + shot.body)
    else:
        await loop.sock_sendall(sock, shot.head)
        await loop.sock_sendall(sock, shot.body)


async def _receive(loop: asyncio.AbstractEventLoop, sock: socket.socket, shot: Shot, buffer: memoryview) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        got += buffer[: await _some(loop, sock, buffer)]
    head, _, rest = got.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    if head.split(b" ", 2)[1] != b"200" or not length or int(length[1]) != shot.length:
        raise WrongAnswer(got[:2000].decode(errors="replace"))
    seen = len(rest)
    while seen < shot.length:
        seen += await _some(loop, sock, buffer)
    if seen != shot.length:
        raise WrongAnswer(f"{seen} bytes of {shot.length}")


async def _some(loop: asyncio.AbstractEventLoop, sock: socket.socket, buffer: memoryview) -> int:
    count = await loop.sock_recv_into(sock, buffer)
    if not count:
        raise WrongAnswer("the connection was closed inside an answer")
    return count
