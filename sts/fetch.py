"""GET a JSON document of an OpenID provider: bounded in size, no redirect, no environment's proxy (trap 41).

The caller bounds the time: `DEADLINE` is for one errand, be it one document or two.
"""

from __future__ import annotations

import json
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx

DEADLINE = 5.0  # seconds
MAX_DOCUMENT = 2**20  # bytes
MAX_CONNECTIONS = 16  # to one provider, whatever clients do


@lru_cache(maxsize=16)
def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies; one of all providers with the same certificates, since reading them is slow."""
    return ssl.create_default_context(cafile=ca_file)


class UnexpectedStatus(ValueError):
    """The answer is not 200; `status` is what it is."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"status {status}")


#: What a fetch may raise, reading the document included.
FETCH_ERRORS = (
    httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, KeyError, TypeError, RecursionError,
)  # fmt: skip


class Fetcher:
    """Fetches from one provider; `ca_file` in place of the system's certificates."""

    def __init__(self, ca_file: Path | None) -> None:
        self._client = httpx.AsyncClient(
            timeout=DEADLINE, follow_redirects=False, trust_env=False,
            verify=_trusted(ca_file),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )  # fmt: skip

    async def get(self, url: str, *, bearer: str = "") -> dict[str, Any]:
        """Return the JSON object at a URL, asked for with a bearer token if there is one. Raises FETCH_ERRORS."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        body = bytearray()
        async with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code != 200:
                raise UnexpectedStatus(response.status_code)
            # Raw: a small answer must not unpack into a huge one.
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_DOCUMENT:
                    raise ValueError("the document is too large")
        document = json.loads(body)
        if not isinstance(document, dict):
            raise TypeError("not a JSON object")
        return document

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
