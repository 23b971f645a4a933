"""Ask OPA (or any policy webhook) over HTTP, with MinIO's input document. Everything but a clear yes is a no.

Accepted as yes: HTTP 200 with exactly `{"result": true}` or `{"result": {"allow": true}}`. An error, a time-out, another
status, `{}`, null, a string, HTML: Deny, with the reason for the log (trap 31).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from iam.model import AccessRequest, Allow, Decision, Deny, Secret

MAX_ANSWER = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class OpaSettings:
    """Where OPA is: `url` asked exactly as given, `auth_token` sent verbatim as Authorization, `timeout` in seconds."""

    url: str
    auth_token: Secret | None = None
    timeout: float = 2.0
    raw_headers: bool = False
    ca_file: Path | None = None


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
        "denyOnly": False,
    }


class OpaAuthorizer:
    """An Authorizer that asks over HTTP, on kept-alive connections."""

    def __init__(self, settings: OpaSettings) -> None:
        self._settings = settings
        verify: ssl.SSLContext | bool = (
            ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else settings.url.startswith("https:")
        )
        self._client = httpx.AsyncClient(
            timeout=settings.timeout, trust_env=False, verify=verify, follow_redirects=False,
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        )  # fmt: skip

    def decide_now(self, request: AccessRequest) -> Decision | None:  # noqa: ARG002, PLR6301
        """Return None: an answer from elsewhere must be awaited."""
        return None

    async def decide(self, request: AccessRequest) -> Decision:
        """Ask; deny on anything but a clear yes."""
        try:
            answer = await self._post({"input": opa_input(request)})
        except (httpx.HTTPError, OSError, TimeoutError, ValueError, RecursionError) as error:
            return Deny(f"policy service: {type(error).__name__}: {error}")
        result = answer.get("result") if isinstance(answer, dict) else None
        if result is True or (isinstance(result, dict) and result.get("allow") is True):
            return Allow("policy service")
        return Deny(f"policy service said {json.dumps(answer)[:200]}")

    async def ready(self) -> str | None:
        """Probe with an empty input: any JSON answer with status 200 will do."""
        try:
            await self._post({"input": {}})
        except (httpx.HTTPError, OSError, TimeoutError, ValueError, RecursionError) as error:
            return f"policy service does not answer: {type(error).__name__}: {error}"
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, document: dict[str, Any]) -> Any:
        headers = {"content-type": "application/json"}
        if self._settings.auth_token:
            headers["authorization"] = self._settings.auth_token.reveal()
        content = json.dumps(document, default=str).encode()
        async with asyncio.timeout(self._settings.timeout):
            async with self._client.stream("POST", self._settings.url, content=content, headers=headers) as response:
                if response.status_code != 200:
                    raise ValueError(f"status {response.status_code}")
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        raise ValueError("answer too large")
        return json.loads(body.decode("utf-8"))
