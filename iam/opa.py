"""Ask OPA (or any policy webhook) over HTTP, with MinIO's input document. Everything but a clear yes is a no.

A yes is HTTP 200 with a JSON object whose `result` is exactly `true`, or an object whose `allow` is exactly `true`
(members beside them, such as OPA's `decision_id`, say nothing). An error, a time-out, a redirect, another status, `{}`,
null, a string, HTML, a member given twice, more than 64 KiB: Deny, with the reason for the log (trap 31). Anonymous
callers are never asked about, as in MinIO. A reason holds neither the answer's text nor the token.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

import httpx

from iam.model import AccessRequest, Allow, Decision, Deny, PrincipalType, Secret
from iam.verdicts import Explanation

MAX_ANSWER = 65_536  # bytes
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


def opa_input(request: AccessRequest) -> dict[str, Any]:
    """Return MinIO's input document for one question."""
    principal = request.principal
    return {
        "account": principal.access_key_id,
        "groups": list(principal.groups) or None,
        "action": request.action,
        "bucket": request.bucket,
        "conditions": request.context.document(),
        "owner": principal.owner,
        "object": request.key,
        "claims": dict(principal.claims),
        "denyOnly": request.deny_only,
    }


class OpaAuthorizer:
    """An Authorizer that asks over HTTP, on kept-alive connections, by `service`."""

    def __init__(self, settings: OpaSettings, service: Service | None = None) -> None:
        self._settings = settings
        self._service = service or HttpxService(settings)

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
        try:
            answer = await self._post({"input": opa_input(request)})
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the answer is no
            return Deny(f"policy service: {_kind(error)}")
        return _verdict(answer)

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
            await self._post({"input": {}})
        except Exception as error:  # noqa: BLE001 - the caller wants to know, not to crash
            return f"policy service: {_kind(error)}"
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()

    async def _post(self, document: dict[str, Any]) -> Any:
        content = json.dumps(document, allow_nan=False, default=str).encode()
        async with asyncio.timeout(self._settings.timeout):
            status, body = await self._service.post(content)
        if status != 200:
            raise _NoAnswerError(f"status {status}")
        return json.loads(body, object_pairs_hook=_unique, parse_constant=_refuse_constant)


class _NoAnswerError(Exception):
    """The service answered something that is no answer; the text is ours, so it may be logged."""


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_ANSWER:
            raise _NoAnswerError("answer larger than 64 KiB")
    return bytes(body)


def _verdict(answer: Any) -> Decision:
    result = answer.get("result") if isinstance(answer, dict) else None
    said = result.get("allow") if isinstance(result, dict) else result
    if said is True:
        return Allow("policy service")
    return Deny("policy service said no" if said is False else "policy service's answer is no decision")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _NoAnswerError("a member is given twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise _NoAnswerError(f"{name} is no JSON value")


def _kind(error: Exception) -> str:
    """Name an error without repeating what a header, a URL or an answer said."""
    if isinstance(error, _NoAnswerError):
        return str(error)
    return (
        "answer is not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else type(error).__name__
    )
