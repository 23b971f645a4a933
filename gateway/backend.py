"""Where S3 is: endpoint, addressing, credentials, and the client that streams to it.

The credentials are the root pair, a fixed pair, or AWS's whole chain through aiobotocore (environment, profile, web
identity, container and instance metadata, AssumeRole), which refreshes them before they expire.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.session import AioSession
from multidict import CIMultiDict
from yarl import URL

from gateway.endpoints import BackendSettings
from gateway.errors import ServiceUnavailable
from gateway.forward import Target, UpstreamRequest
from gateway.regions import Regions, is_amazon
from iam.model import Credentials, Secret

READ_TIMEOUT = 300.0  # seconds without a byte from the backend
CONNECT_TIMEOUT = 5.0  # seconds
CONNECTIONS = 1024
_PROBE_FRESH = 2.0  # seconds a probe's result is good for


class Backend:
    """One S3 store."""

    def __init__(self, settings: BackendSettings, root: Credentials) -> None:
        parts = urlsplit(settings.endpoint)
        self.target = Target(
            parts.netloc, settings.region, parts.scheme == "https", settings.addressing == "virtual", settings.aws_chunked,
        )  # fmt: skip
        self.regions = Regions(self.target)
        self.has_regions = settings.regions == "on" or (settings.regions == "auto" and is_amazon(self.target))
        self.name = settings.name
        self._label = f"backend {settings.name}".strip()
        self._settings = settings
        self._fixed = settings.static or (root if settings.credentials == "root" else None)
        self._chain: Any = None
        self._probed: tuple[float, str | None] = (float("-inf"), None)
        tls = ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else True
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=tls, ttl_dns_cache=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT),
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, read_bufsize=2**18,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )  # fmt: skip
        # aiohttp repeats a PUT on a connection that died idle, with what is left of its body; we repeat ourselves.
        self._client._retry_connection = False  # noqa: SLF001

    async def credentials(self) -> Credentials:
        """Return the credentials to sign with now. Raises ServiceUnavailable."""
        if self._fixed is not None:
            return self._fixed
        try:
            if self._chain is None:
                session: Any = AioSession(profile=self._settings.profile or None)
                self._chain = await session.get_credentials()
            frozen = await self._chain.get_frozen_credentials()
        except Exception as error:  # botocore raises many kinds; none of them may pass for an S3 answer
            raise ServiceUnavailable(
                reason=f"no backend credentials from AWS's chain: {type(error).__name__}"
            ) from error
        return Credentials(frozen.access_key, Secret(frozen.secret_key), Secret(frozen.token) if frozen.token else None)

    async def send(self, request: UpstreamRequest, body: AsyncIterator[bytes] | None) -> aiohttp.ClientResponse:
        """Send a request and return the answer with its body still to be read. Raises aiohttp.ClientError.

        A request without a body is repeated once when a kept-alive connection turned out to be dead.
        """
        headers = CIMultiDict(request.headers)
        if request.length is not None and (request.length or request.method in {"PUT", "POST"}):
            headers["content-length"] = str(request.length)

        def send(data: AsyncIterator[bytes] | bytes | None) -> Awaitable[aiohttp.ClientResponse]:
            url = URL(request.url, encoded=True)
            return self._client.request(request.method, url, headers=headers, data=data, allow_redirects=False)

        try:
            return await send(body if body is not None else request.body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if body is not None or request.method == "POST":
                raise
            return await send(request.body)

    async def not_ready(self) -> list[str]:
        """Return why this backend is not ready; empty when it is."""
        reason = await self.probe()
        return [reason] if reason else []

    async def probe(self) -> str | None:
        """Return None when the backend answers HTTP at all, else why not; asked every two seconds at most."""
        loop = asyncio.get_running_loop()
        at, result = self._probed
        if loop.time() - at > _PROBE_FRESH:
            result = await self._probe()
            self._probed = (loop.time(), result)
        return result

    async def _probe(self) -> str | None:
        try:
            async with self._client.get(
                self._settings.endpoint, timeout=aiohttp.ClientTimeout(total=3), allow_redirects=False
            ):
                return None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"{self._label}: {type(error).__name__}"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
