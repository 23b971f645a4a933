"""Bytes to a gateway's port and the answers that come back: HTTP as written here, by no HTTP library."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from client_grants import get_token

from tests.servers.processes import ROOT_PASSWORD, ROOT_USER

ROOT_KEYS = Credentials(ROOT_USER, ROOT_PASSWORD)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_NO_BODY = {204, 304}


@dataclass(frozen=True)
class Answer:
    """One answer: status, headers by lower-case name, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The S3 code of an error document, "" without one."""
        found = re.search(rb"<Code>(.*?)</Code>", self.body)
        return found[1].decode() if found else ""

    @property
    def request_id(self) -> str:
        """The id in the error document."""
        found = re.search(rb"<RequestId>(.*?)</RequestId>", self.body)
        return found[1].decode() if found else ""


class Wire:
    """One connection. `answer` reads one answer, in order; None when the gateway has closed instead."""

    def __init__(self, port: int, timeout: float = 20, buffer: int = 0) -> None:
        """Connect; `buffer` bytes of what is not read fit in this side's kernel, its own choice without."""
        self.socket = socket.socket()
        if buffer:  # before the connection: the window is agreed on then
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self._data = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Wire:
        """Send bytes; a gateway that has refused already may have closed."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return self
        return self

    def end(self) -> Wire:
        """Say that nothing more will be sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return self
        return self

    def answer(self, *, head: bool = False) -> Answer | None:
        """Return the next answer; `head`: it is to a HEAD request, so that it has no body."""
        while b"\r\n\r\n" not in self._data:
            if not self._more():
                assert not self._data, f"half an answer: {self._data[:200]!r}"
                return None
        first, _, self._data = self._data.partition(b"\r\n\r\n")
        lines = first.decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split(" ")[1])
        return Answer(status, headers, b"" if head or status in _NO_BODY or status < 200 else self._body(headers))

    def closed(self) -> bool:
        """Whether the gateway has ended this connection with nothing more to say; waits for it."""
        while self._more():
            pass
        return not self._data

    def _body(self, headers: Mapping[str, str]) -> bytes:
        assert "transfer-encoding" not in headers, "an answer of the recording backend has a length"
        length = int(headers["content-length"])
        while len(self._data) < length:
            assert self._more(), "a short answer"
        body, self._data = self._data[:length], self._data[length:]
        return body

    def _more(self) -> bool:
        try:
            piece = self.socket.recv(65536)
        except ConnectionResetError:
            piece = b""
        self._data += piece
        return bool(piece)


def exchange(port: int, data: bytes) -> list[Answer]:
    """Send these bytes, end, and return every answer until the gateway closes."""
    with Wire(port) as wire:
        wire.send(data).end()
        answers = []
        while (answer := wire.answer()) is not None:
            answers.append(answer)
        return answers


def signed(
    edge, method: str, target: str, headers: Mapping[str, str] | None = None, who: Credentials = ROOT_KEYS,
    *, date: str = "", host: str = "",
) -> dict[str, str]:  # fmt: skip
    """Return the headers of a request that botocore signed; `date` (YYYYMMDDTHHMMSSZ) instead of now."""
    host = host or urlsplit(edge.endpoint).netloc
    request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers or {}))
    if request.headers.get("X-Amz-Content-SHA256") is None:
        request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    signer = _Signer(who, "s3", "us-east-1")
    signer.date = date
    signer.add_auth(request)
    return {"Host": host, **dict(request.headers.items())}


class _Dated:
    """A clock of the test's before one of botocore's signers."""

    date = ""

    def _modify_request_before_signing(self, request):
        if self.date:
            request.context["timestamp"] = self.date
        super()._modify_request_before_signing(request)


class _Signer(_Dated, SigV4Auth):
    """botocore's signer as S3 uses it: the path as it is, the payload hash as it stands."""

    def _normalize_url_path(self, path):
        return path

    def payload(self, request):
        return request.headers["X-Amz-Content-SHA256"]


class _Presigner(_Dated, S3SigV4QueryAuth):
    """botocore's presigner."""


def presigned(
    edge, method: str, target: str, who: Credentials = ROOT_KEYS, *, expires: int = 60, date: str = ""
) -> str:
    """Return the target of a request that botocore presigned; `date` (YYYYMMDDTHHMMSSZ) instead of now."""
    request = AWSRequest(method, f"{edge.endpoint}{target}")
    signer = _Presigner(who, "s3", "us-east-1", expires=expires)
    signer.date = date
    signer.add_auth(request)
    parts = urlsplit(request.url)
    return f"{parts.path}?{parts.query}"


def written(method: str, target: str, headers: Mapping[str, str], body: bytes = b"", version: str = "1.1") -> bytes:
    """Return a request's bytes; Content-Length is added where a body is or should be."""
    lines = [f"{method} {target} HTTP/{version}", *(f"{n}: {v}" for n, v in headers.items())]
    if body or (
        method in {"PUT", "POST"} and not {"content-length", "transfer-encoding"} & {n.lower() for n in headers}
    ):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(
    edge, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"",
    who: Credentials = ROOT_KEYS, **how: str,
) -> Answer:  # fmt: skip
    """Sign, send, and return the one answer."""
    with Wire(edge.port) as wire:
        wire.send(written(method, target, signed(edge, method, target, headers, who, **how), body))
        answer = wire.answer(head=method == "HEAD")
    assert answer is not None, "closed without an answer"
    return answer


def corrupt(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with another signature."""
    return {
        n: re.sub(r"Signature=\w{8}", "Signature=00000000", v) if n == "Authorization" else v
        for n, v in headers.items()
    }


def narrowed(edge, issuer, *statements: dict) -> Credentials:
    """Return a session that these statements narrow."""
    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    form = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "WebIdentityToken": token, "Policy": policy}
    answer = httpx.post(edge.endpoint, data=form)
    assert answer.status_code == 200, answer.text
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    return Credentials(*(re.search(f"<{name}>(.*?)<", answer.text)[1] for name in names))


def allowing(*actions: str, resource: str | list[str] = "arn:aws:s3:::*") -> dict:
    """Return a statement that allows these actions."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}
