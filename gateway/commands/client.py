"""Calls of the administration API: signed as S3 requests are, bodies encrypted where the API has them so, answers bounded.

No proxy, no redirect, no environment but what `endpoint` has read: credentials go to the gateway that was named and nowhere else.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import httpx

from gateway.commands.endpoint import Endpoint, Unusable
from gateway.signing.sigv4 import Scope, canonical_query, sign_headers, signing_key
from iam import madmin

MINIO, OURS = "/minio/admin/v3", "/minio-gw/admin/v1"
MAX_ANSWER = 64 * 2**20  # bytes
_SEALED = "application/octet-stream"


class Refused(Exception):
    """A gateway refused a call, or nobody that is one answered. `status` is HTTP's, 0 when nobody answered."""

    def __init__(self, text: str, *, code: str = "", request_id: str = "", status: int = 0) -> None:
        super().__init__(text)
        self.text, self.code, self.request_id, self.status = text, code, request_id, status


class AdminClient:
    """A client of one gateway; `clock` gives epoch seconds."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.time) -> None:
        self._endpoint, self._clock = endpoint, clock
        self._http = httpx.Client(
            verify=_context(endpoint), trust_env=False, follow_redirects=False, timeout=endpoint.timeout,
            headers={"User-Agent": "minio-gw", "Accept-Encoding": "identity"},
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def minio(self, method: str, path: str, document: Any = None, *, sealed: bool = False, **query: Any) -> Any:
        """Make one call of MinIO's API; return its document, None without one. Raises Refused."""
        return self._call(method, MINIO + path, document, query, sealed=sealed)

    def ours(self, method: str, path: str, document: Any = None, *, sealed: bool = False, **query: Any) -> Any:
        """Make one call of our own API, as `minio`."""
        return self._call(method, OURS + path, document, query, sealed=sealed)

    def _call(self, method: str, path: str, document: Any, query: dict[str, Any], *, sealed: bool) -> Any:
        body = _written(document)
        if sealed:
            body = madmin.encrypt(self._endpoint.credentials.secret.reveal(), body, random=os.urandom)
        text = canonical_query(_pairs(query))
        headers = self._signed(method, path, text, body)
        url = f"{self._endpoint.origin}{path}{text and '?'}{text}"
        try:
            with self._http.stream(method, url, headers=headers, content=body or None) as answer:
                return self._understood(answer, _bounded(answer, time.monotonic() + self._endpoint.timeout))
        except httpx.InvalidURL as error:
            raise Unusable(f"the URL cannot be called: {error}") from None
        except httpx.HTTPError as error:
            text = str(error) or type(error).__name__
            raise Refused(f"{self._endpoint.origin} cannot be reached: {text}") from None

    def _signed(self, method: str, path: str, query: str, body: bytes) -> dict[str, str]:
        """Return the headers; every one of them is signed."""
        who, payload = self._endpoint.credentials, sha256(body).hexdigest()
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        headers = {
            "host": urlsplit(self._endpoint.origin).netloc,
            "x-amz-content-sha256": payload,
            "x-amz-date": timestamp,
        }
        if who.session_token is not None:
            headers["x-amz-security-token"] = who.session_token.reveal()
        scope = Scope(timestamp[:8], self._endpoint.region, "s3")
        authorization, _ = sign_headers(
            method, path, query, headers, payload, key=signing_key(who.secret.reveal(), scope), scope=scope,
            access_key_id=who.access_key_id, timestamp=timestamp,
        )  # fmt: skip
        return {**headers, "authorization": authorization}

    def _understood(self, answer: httpx.Response, body: bytes) -> Any:
        """Return the document of an answer. Raises Refused."""
        if answer.headers.get("content-type") == _SEALED:
            try:
                body = madmin.decrypt(self._endpoint.credentials.secret.reveal(), body, limit=None)
            except madmin.Undecryptable:
                raise Refused("the answer was not encrypted with the caller's secret key") from None
        try:
            document = json.loads(body) if body else None
        except (ValueError, RecursionError):
            document = b""  # nothing that JSON has
        request_id = answer.headers.get("x-amz-request-id", "")
        if answer.is_success and document != b"":
            return document
        if isinstance(document, dict) and isinstance(document.get("Code"), str):
            raise _refusal(document, request_id, answer.status_code)
        text = f"{self._endpoint.origin} answers {answer.status_code}, which is no answer of the administration API"
        raise Refused(text, request_id=request_id, status=answer.status_code)


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return what verifies the gateway's certificate: the CA that was named and no other, else the system's."""
    ca_file = endpoint.ca_file
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:  # ssl.SSLError is one
        raise Unusable(f"{ca_file} holds no CA certificate that can be read: {error.strerror or error}") from None


def _written(document: Any) -> bytes:
    if document is None:
        return b""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def _pairs(query: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield parameters; a list is given once for each, `_` stands for `-`, and what is not set is left out."""
    for name, value in query.items():
        values = value if isinstance(value, list | tuple) else [] if value is None else [value]
        for one in values:
            yield name.replace("_", "-"), str(one)


def _bounded(answer: httpx.Response, until: float) -> bytes:
    """Return a body that has its bound, in bytes and in time: who sends byte by byte keeps nobody."""
    body = bytearray()
    for piece in answer.iter_raw():
        body += piece
        if time.monotonic() > until:
            raise Refused("the answer does not end", status=answer.status_code)
        if len(body) > MAX_ANSWER:
            raise Refused(f"the answer is larger than {MAX_ANSWER} bytes", status=answer.status_code)
    return bytes(body)


def _refusal(document: dict[str, Any], request_id: str, status: int) -> Refused:
    text, code = str(document.get("Message") or "no reason is given"), document["Code"]
    return Refused(text, code=code, request_id=str(document.get("RequestId") or request_id), status=status)
