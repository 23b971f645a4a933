"""Questions to the policy service over the data plane's own connections.

Every request may ask one, so it must not cost more than the request itself: a general HTTP client costs ten times as much.
`iam.opa` says what is asked, how long to wait, and what the answer means.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.wire.fetch import fetch, whole
from gateway.wire.pool import Pool
from gateway.wire.resumption import client_context
from gateway.wire.steps import Origin
from iam.opa import MAX_ANSWER, OpaSettings


class PolicyService:
    """An `iam.opa.Service` over `pool`."""

    def __init__(self, settings: OpaSettings, pool: Pool) -> None:
        parts = urlsplit(settings.url)
        secure = parts.scheme == "https"
        tls = client_context(settings.ca_file) if secure else None
        self._origin = Origin(parts.hostname or "", parts.port or (443 if secure else 80), tls)
        self._pool = pool
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fields = "".join(f"{name}: {value}\r\n" for name, value in settings.headers().items())
        self._head = f"POST {target} HTTP/1.1\r\nhost: {parts.netloc}\r\n{fields}".encode()

    async def post(self, content: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer, the body of status 200 only. Raises Unanswered."""
        head = self._head + b"content-length: %d\r\n\r\n" % len(content)
        answer = await fetch(self._pool, self._origin, "POST", head, content, harmless=True)
        try:
            return answer.status, await whole(answer, MAX_ANSWER) if answer.status == 200 else b""
        finally:
            answer.close()

    async def close(self) -> None:
        """Nothing: the connections are the pool's."""
