"""Ask OPA (or any policy webhook) over HTTP what iam/opa_questions.py says. Everything but a clear yes is a no.

An error, a time-out, a redirect, more than 64 KiB are a Deny (trap 31), as is every answer that is no clear yes. Anonymous callers
are never asked about, as in MinIO.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from iam.model import AccessRequest, Decision, Deny, PrincipalType, Secret
from iam.opa_questions import MAX_ANSWER, NoAnswer, Tally, answer, judged, kind, opa_input, question, trouble
from iam.verdicts import Explanation

_ANONYMOUS = PrincipalType.ANONYMOUS


@dataclass(frozen=True, slots=True)
class OpaSettings:
    """Where OPA is: `url` asked exactly as given, `auth_token` sent verbatim as Authorization, `timeout` in seconds.

    `raw_headers` is for whoever makes the RequestContext: true sends credentials unmasked, as MinIO did. With
    `existing_tags` the object's tags are fetched before every question about an object: only the Rego knows its need. Raises
    ValueError for a URL that is not http(s) or carries a user, and for a token that no header can carry.
    """

    url: str
    auth_token: Secret | None = None
    timeout: float = 2.0
    raw_headers: bool = False
    ca_file: Path | None = None
    existing_tags: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the policy service's URL must be http:// or https://")
        if "@" in parts.netloc:
            raise ValueError("the policy service's URL must not carry a user; give the token by its own setting")
        token = self.auth_token.reveal() if self.auth_token else ""
        if not (token.isascii() and token.isprintable() and token == token.strip()):
            raise ValueError("the policy service's token must be printable ASCII")

    def headers(self) -> dict[str, str]:
        """Return what is sent with every question. No compression: the bound on the answer is then a bound on memory."""
        headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        if self.auth_token:
            headers["authorization"] = self.auth_token.reveal()
        return headers


class Service(Protocol):
    """Whoever carries a question to the policy service and its answer back; one contract suite over all of them."""

    async def post(self, content: bytes) -> tuple[int, bytes]:
        """Return the answer's status and its body, MAX_ANSWER bytes at most. Raises whatever went wrong."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class HttpxService:
    """A `Service` over httpx: for whoever has no data plane of its own."""

    def __init__(self, settings: OpaSettings) -> None:
        verify = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
        self._client = httpx.AsyncClient(timeout=settings.timeout, trust_env=False, verify=verify, limits=limits)
        self._url, self._headers = settings.url, settings.headers()

    async def post(self, content: bytes) -> tuple[int, bytes]:
        """Ask (Service)."""
        async with self._client.stream(
            "POST", self._url, content=content, headers=self._headers, follow_redirects=False, auth=None
        ) as response:
            return response.status_code, await _body(response) if response.status_code == 200 else b""

    async def close(self) -> None:
        """Close the connections (Service)."""
        await self._client.aclose()


class OpaAuthorizer:
    """An Authorizer that asks over HTTP, on kept-alive connections, by `service`, and counts its questions in `tally`."""

    def __init__(self, settings: OpaSettings, service: Service | None = None, tally: Tally | None = None) -> None:
        self._settings = settings
        self._service = service or HttpxService(settings)
        self._tally = tally or Tally()

    def decide_now(self, request: AccessRequest) -> Decision | None:
        """Return Deny for what must not be asked, else None: an answer from elsewhere must be awaited."""
        if request.principal.type is _ANONYMOUS:
            return Deny("anonymous: the policy service is not asked")
        return None

    async def decide(self, request: AccessRequest) -> Decision:
        """Ask; deny on anything but a clear yes."""
        refused = self.decide_now(request)
        if refused is not None:
            return refused
        began = time.perf_counter()
        try:
            decision = judged(*await self._post(opa_input(request)))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the answer is no
            decision = trouble(error)
        self._tally.count(decision, time.perf_counter() - began)
        return decision

    async def explain(self, request: AccessRequest) -> Explanation:
        """Ask, as for a request: only the service knows its reasons."""
        decision = await self.decide(request)
        by = "default" if request.principal.type is _ANONYMOUS else "policy service"
        return Explanation(decision, by, service=decision)

    def wants_existing_tags(self, request: AccessRequest) -> bool:
        """Return whether the settings say so, for objects."""
        return self._settings.existing_tags and bool(request.key) and request.principal.type is not _ANONYMOUS

    async def ready(self) -> str | None:
        """Probe with an empty input: any JSON answer with status 200 will do."""
        try:
            answer(*await self._post({}))
        except Exception as error:  # noqa: BLE001 - the caller wants to know, not to crash
            return f"policy service: {kind(error)}"
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()

    async def _post(self, document: dict[str, Any]) -> tuple[int, bytes]:
        content = question(document)
        async with asyncio.timeout(self._settings.timeout):
            return await self._service.post(content)


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_ANSWER:
            raise NoAnswer("answer larger than 64 KiB")
    return bytes(body)
