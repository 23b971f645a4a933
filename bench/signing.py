"""Requests as bytes, as boto3 sends them today, signed before the clock starts.

They are not imitated: boto3 is asked for the call and stopped just before it would send. The client is given an https
address, because boto3's default upload (aws-chunked with STREAMING-UNSIGNED-PAYLOAD-TRAILER and a CRC32 after the body)
is for https only; over plain http it would hash. The bytes then go over plain http, so that a row shows the proxy and
not TLS: the scheme is not part of what is signed. `Expect: 100-continue`, which is not signed either, is left out: the
generators do not wait for it.

What boto3 has no call for (UNSIGNED-PAYLOAD, chunks signed one by one) is signed by botocore's SigV4.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

BUCKET, REGION = "bench", "us-east-1"
CHUNK = 64 << 10
_LEFT_OUT = {"expect"}
_BROWSER = ("User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Accept: */*",
            "Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate", "Connection: keep-alive")  # fmt: skip
_ALGORITHM = "AWS4-HMAC-SHA256-PAYLOAD"
_EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Shot:
    """One request as it goes over the wire; its answer has status 200 and `length` bytes of body."""

    data: bytes
    length: int


class _Captured(Exception):
    """boto3 is about to send; it carries the request away."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


def _stop(request: AWSPreparedRequest, **_: object) -> None:
    raise _Captured(request)


class Signer:
    """Makes requests for one host, good for 15 minutes (S3 allows no larger difference of clocks)."""

    def __init__(self, credentials: Credentials, host: str) -> None:
        self.credentials, self.host = credentials, host
        self._client = boto3.client(
            "s3", endpoint_url=f"https://{host}", region_name=REGION, aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key, aws_session_token=credentials.token,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )  # fmt: skip
        self._client.meta.events.register("before-send.s3", _stop)

    def get(self, size: int, name: object) -> Shot:
        """Return GetObject of `size` bytes."""
        return Shot(wire(self._captured("get_object", Key=key(size, name))), size)

    def closing(self, size: int, name: object) -> Shot:
        """Return GetObject from a client that has a connection for each request."""
        request = self._captured("get_object", Key=key(size, name))
        request.headers["Connection"] = "close"
        return Shot(wire(request), size)

    def listing(self, prefix: str, length: int) -> Shot:
        """Return ListObjectsV2 of a folder; `length` bytes are answered."""
        return Shot(wire(self._captured("list_objects_v2", Prefix=prefix, Delimiter="/")), length)

    def part(self, body: bytes, name: object, number: int) -> Shot:
        """Return UploadPart in boto3's default mode."""
        upload = f"{number:032x}"
        return Shot(
            wire(
                self._captured("upload_part", Key=key(len(body), name), Body=body, PartNumber=number, UploadId=upload)
            ),
            0,
        )

    def url(self, size: int, name: object) -> Shot:
        """Return the request of a browser for a GetObject that was presigned, good for an hour."""
        target = self._client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key(size, name)}, 3600)
        lines = [f"GET /{target.split('/', 3)[3]} HTTP/1.1", f"Host: {self.host}", *_BROWSER, "", ""]
        return Shot("\r\n".join(lines).encode(), size)

    def put(self, body: bytes, name: object) -> Shot:
        """Return PutObject in boto3's default mode."""
        return Shot(wire(self._captured("put_object", Key=key(len(body), name), Body=body)), 0)

    def _captured(self, call: str, **arguments: object) -> AWSPreparedRequest:
        try:
            getattr(self._client, call)(Bucket=BUCKET, **arguments)
        except _Captured as captured:
            return captured.request
        raise AssertionError(f"{call} was sent")

    def put_head(self, size: int, name: object) -> bytes:
        """Return the head of an upload that is not hashed: UNSIGNED-PAYLOAD."""
        return head(self._signed("PUT", size, name, "UNSIGNED-PAYLOAD", {"Content-Length": str(size)}))

    def put_chunked(self, body: Path, to: Path, name: object) -> None:
        """Write a whole upload of signed chunks to a file: AWS's "transferring payload in multiple chunks"."""
        size = body.stat().st_size
        headers = {
            "Content-Length": str(framed_length(size)), "Content-Encoding": "aws-chunked",
            "X-Amz-Decoded-Content-Length": str(size),
        }  # fmt: skip
        request = self._signed("PUT", size, name, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", headers)
        with to.open("wb") as out, body.open("rb") as source:
            out.write(head(request))
            for piece in self._chunks(request, iter(lambda: source.read(CHUNK), b"")):
                out.write(piece)

    def _signed(self, method: str, size: int, name: object, payload: str, headers: dict[str, str]) -> AWSRequest:
        class Signature(S3SigV4Auth):
            def payload(self, request: AWSRequest) -> str:  # noqa: ARG002 - botocore's signature
                return payload

        request = AWSRequest(
            method, f"http://{self.host}/{BUCKET}/{key(size, name)}", headers={"Host": self.host, **headers}
        )
        Signature(self.credentials, "s3", REGION).add_auth(request)
        return request

    def _chunks(self, request: AWSRequest, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the framed pieces, each signed over the signature before it, and the empty one that ends them."""
        moment, signature = request.context["timestamp"], request.headers["Authorization"].rpartition("=")[2]
        scope = f"{moment[:8]}/{REGION}/s3/aws4_request"
        secret = _signing_key(self.credentials.secret_key, moment[:8])
        for piece in (*pieces, b""):
            digest = hashlib.sha256(piece).hexdigest()
            text = f"{_ALGORITHM}\n{moment}\n{scope}\n{signature}\n{_EMPTY}\n{digest}"
            signature = hmac.new(secret, text.encode(), "sha256").hexdigest()
            yield b"%x;chunk-signature=%b\r\n" % (len(piece), signature.encode()) + piece + b"\r\n"


def key(size: int, name: object) -> str:
    """Return the key that the source answers with `size` bytes."""
    return f"{size}/{name}"


def head(request: AWSRequest) -> bytes:
    """Return a request's head as bytes."""
    target = "/" + request.url.split("/", 3)[3]
    return _joined([f"{request.method} {target} HTTP/1.1", "Accept-Encoding: identity"], request.headers)


def wire(request: AWSPreparedRequest) -> bytes:
    """Return a whole request as http.client would write it: a body without Content-Length in one chunk of RFC 9112."""
    target = "/" + request.url.split("/", 3)[3]
    begin = _joined([f"{request.method} {target} HTTP/1.1", "Accept-Encoding: identity"], request.headers)
    body = request.body.read() if request.body is not None else b""
    if request.headers.get("Transfer-Encoding"):
        return begin + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    return begin + body


def _joined(lines: list[str], headers: object) -> bytes:
    for name, value in headers.items():
        if name.lower() not in _LEFT_OUT:
            lines.append(f"{name}: {value.decode() if isinstance(value, bytes) else value}")
    return "\r\n".join([*lines, "", ""]).encode()


def framed_length(size: int) -> int:
    """Return how long `size` bytes are in signed chunks."""
    frame = len(";chunk-signature=") + 64 + 4  # and two line ends
    last = size % CHUNK
    whole = size // CHUNK * (CHUNK + len(f"{CHUNK:x}") + frame)
    return whole + (last + len(f"{last:x}") + frame if last else 0) + 1 + frame


def _signing_key(secret: str, day: str) -> bytes:
    found = b"AWS4" + secret.encode()
    for word in (day, REGION, "s3", "aws4_request"):
        found = hmac.new(found, word.encode(), "sha256").digest()
    return found


def random_file(path: Path, size: int) -> Path:
    """Make a file of random bytes."""
    with path.open("wb") as out:
        for _ in range(math.ceil(size / (1 << 20))):
            out.write(os.urandom(min(size, 1 << 20)))
    return path
