"""Uploads in every payload mode, made by hand: botocore signs the head, the chunk chain is written here independently."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import re
import ssl
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpchecksum import _CHECKSUM_CLS

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
MODES = ("HEX", UNSIGNED, UNSIGNED_TRAILER, SIGNED, SIGNED_TRAILER)
ALGORITHMS = (
    "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128",
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """Where requests go, and who signs them there; `trust` is the file with the certificate of an https endpoint."""

    endpoint: str
    keys: Credentials
    trust: str = ""

    @classmethod
    def of(cls, endpoint: str, found: dict[str, str], trust: str = "") -> Side:
        return cls(endpoint, Credentials(found["accessKey"], found["secretKey"], found.get("sessionToken")), trust)

    def connect(self) -> http.client.HTTPConnection:
        host = urlsplit(self.endpoint).netloc
        if self.trust:
            return http.client.HTTPSConnection(host, timeout=60, context=ssl.create_default_context(cafile=self.trust))
        return http.client.HTTPConnection(host, timeout=60)


@dataclass(frozen=True)
class Upload:
    """One upload: `checksum` is an algorithm's name or "", `place` header or trailer, `given` overrides its value."""

    mode: str
    body: bytes
    checksum: str = ""
    place: str = "header"
    given: str | None = None
    chunk: int = 64 * 1024
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"x-amz-checksum-{self.checksum.lower()}"

    @property
    def value(self) -> str:
        return checksum(self.checksum, self.body) if self.given is None else self.given

    @property
    def chunked(self) -> bool:
        return self.mode.startswith("STREAMING-")

    @property
    def trailing(self) -> bool:
        return bool(self.checksum) and self.place == "trailer"

    def wrong(self) -> Upload:
        """Return the same upload with another body's checksum."""
        return replace(self, given=checksum(self.checksum, self.body + b"!"))

    def head(self) -> dict[str, str]:
        """Return the headers to be signed."""
        payload = hashlib.sha256(self.body).hexdigest() if self.mode == "HEX" else self.mode
        headers = {"X-Amz-Content-SHA256": payload, **dict(self.headers)}
        if self.checksum:
            headers["x-amz-sdk-checksum-algorithm"] = self.checksum
            headers |= {"x-amz-trailer": self.name} if self.trailing else {self.name: self.value}
        if self.chunked:
            headers |= {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(self.body))}
        return headers

    def framed(self, signed: dict[str, str], keys: Credentials) -> bytes:
        """Return the body as it is sent, given the signed head."""
        if not self.chunked:
            return self.body
        pieces = [self.body[at : at + self.chunk] for at in range(0, len(self.body), self.chunk)]
        if self.mode == UNSIGNED_TRAILER:
            out = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n"
            return out + (f"{self.name}:{self.value}\r\n".encode() if self.trailing else b"") + b"\r\n"
        chain = Chain(signed, keys)
        out = b"".join(chain.chunk(piece) + (b"\r\n" if piece else b"") for piece in [*pieces, b""])
        return out + (chain.trailer(self.name, self.value) if self.trailing else b"") + b"\r\n"


class Chain:
    """The chunk signatures after a signed head, by AWS's page on signed chunks."""

    def __init__(self, signed: dict[str, str], keys: Credentials) -> None:
        self._stamp = signed["X-Amz-Date"]
        self._scope = f"{self._stamp[:8]}/us-east-1/s3/aws4_request"
        self._previous = re.search("Signature=(.*)", signed["Authorization"])[1]
        self._key = b"AWS4" + keys.secret_key.encode()
        for part in self._scope.split("/"):
            self._key = hmac.new(self._key, part.encode(), hashlib.sha256).digest()

    def _next(self, kind: str, *hashes: str) -> str:
        text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", self._stamp, self._scope, self._previous, *hashes])
        self._previous = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        return self._previous

    def chunk(self, data: bytes) -> bytes:
        signature = self._next("PAYLOAD", EMPTY, hashlib.sha256(data).hexdigest())
        return f"{len(data):x};chunk-signature={signature}\r\n".encode() + data

    def trailer(self, name: str, value: str) -> bytes:
        line = f"{name}:{value}"
        signature = self._next("TRAILER", hashlib.sha256(f"{line}\n".encode()).hexdigest())
        return f"{line}\r\nx-amz-trailer-signature:{signature}\r\n".encode()


def checksum(algorithm: str, body: bytes) -> str:
    """Return a checksum as SDKs compute it; MD5, which botocore leaves to its caller, by hashlib."""
    if algorithm == "MD5":
        return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    return _CHECKSUM_CLS[algorithm.lower()]().handle(body)


def sign(side: Side, method: str, target: str, headers: dict[str, str] | None = None) -> dict[str, str]:
    """Return the headers that botocore signs for a request."""
    request = AWSRequest(
        method, f"{side.endpoint}{target}", headers={"X-Amz-Content-SHA256": UNSIGNED, **(headers or {})}
    )
    signer = SigV4Auth(side.keys, "s3", "us-east-1")
    signer._normalize_url_path = lambda path: path
    signer.payload = lambda request: request.headers["X-Amz-Content-SHA256"]
    signer.add_auth(request)
    return dict(request.headers.items())


@dataclass(frozen=True)
class Answer:
    """What came back, headers by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        found = re.search(rb"<Code>(.*?)</Code>", self.body)
        return found[1].decode() if found else ""

    @property
    def checksums(self) -> dict[str, str]:
        return {n: v for n, v in self.headers.items() if n.startswith("x-amz-checksum-")}


def exchange(side: Side, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Answer:
    """Send one request on a connection of its own."""
    connection = side.connect()
    try:
        connection.request(method, target, body or None, headers)
        answer = connection.getresponse()
        return Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def put(side: Side, target: str, upload: Upload) -> Answer:
    """Carry an upload out."""
    signed = sign(side, "PUT", target, upload.head())
    return exchange(side, "PUT", target, signed, upload.framed(signed, side.keys))


def get(side: Side, target: str, method: str = "GET") -> Answer:
    """Read an object, with its checksums."""
    return exchange(side, method, target, sign(side, method, target, {"x-amz-checksum-mode": "ENABLED"}))
