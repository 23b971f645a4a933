"""Where S3 is: endpoint, addressing, credentials, regions; and the few requests that the gateway makes for itself.

The credentials are the root pair, a fixed pair, or AWS's whole chain through aiobotocore (environment, profile, web
identity, container and instance metadata, AssumeRole), which refreshes them before they expire.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from gateway.backends.endpoints import BackendSettings
from gateway.backends.regions import Regions, elsewhere, is_amazon
from gateway.errors import ServiceUnavailable
from gateway.signing.sigv4 import SigningKeys
from gateway.stories import forward
from gateway.stories.forward import Target, UpstreamRequest
from gateway.wire.fetch import Fetched, Unanswered, ask, fetch
from gateway.wire.pool import Pool
from gateway.wire.resumption import client_context
from gateway.wire.steps import Origin
from iam.model import Credentials, Secret

ASK_WITHIN = 10.0  # seconds
ASK_LIMIT = 2**16  # bytes: a Tagging document, or an error
_PROBE_WITHIN = 3.0  # seconds
_PROBE_FRESH = 2.0  # seconds a probe's result is good for
_KEYS_FRESH = 300.0  # seconds that keys which the store has taken are not shown to it for readiness alone
#: What a store says of a signature, not of rights.
_NOT_TAKEN = re.compile(
    rb"<Code>(InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|InvalidTokenId|RequestTimeTooSkewed)</Code>"
)


class Backend:
    """One S3 store, reached over the connections of `pool`."""

    def __init__(self, settings: BackendSettings, root: Credentials, pool: Pool, keys: SigningKeys) -> None:
        parts = urlsplit(settings.endpoint)
        self.target = Target(
            parts.netloc, settings.region, parts.scheme == "https", settings.addressing == "virtual", settings.aws_chunked,
        )  # fmt: skip
        self.regions = Regions(self.target)
        self._asks_regions = settings.regions == "on" or (settings.regions == "auto" and is_amazon(self.target))
        self.name = settings.name
        self._label = f"backend {settings.name}".strip()
        self._profile = settings.profile
        self._fixed = settings.static or (root if settings.credentials == "root" else None)
        self._session: Any = _aws_session() if self._fixed is None else None
        self._chain: Any = None
        self._chained: Credentials | None = None
        self._probed: tuple[float, str | None] = (float("-inf"), None)
        # Until when, and with what result, the keys were shown.
        self._shown: tuple[float, str | None] = (float("-inf"), None)
        self._pool = pool
        self._keys = keys
        self._tls = client_context(settings.ca_file) if self.target.secure else None
        self._origins: dict[str, Origin] = {}

    def origin(self, authority: str) -> Origin:
        """Return where an authority (host[:port]) of this store is reached."""
        found = self._origins.get(authority)
        if found is None:
            parts = urlsplit(f"//{authority}")
            port = parts.port or (443 if self.target.secure else 80)
            found = Origin(parts.hostname or "", port, self._tls)
            if len(self._origins) >= 4096:  # one per bucket, where buckets are hosts
                self._origins.clear()
            self._origins[authority] = found
        return found

    def known_credentials(self) -> Credentials | None:
        """Return the credentials to sign with now, None when the chain must be asked first."""
        if self._fixed is not None:
            return self._fixed
        due = getattr(self._chain, "refresh_needed", None)
        return self._chained if due is None or not due() else None

    async def credentials(self) -> Credentials:
        """Return the credentials to sign with now. Raises ServiceUnavailable."""
        if self._fixed is not None:
            return self._fixed
        try:
            if self._chain is None:
                self._chain = await self._session(profile=self._profile or None).get_credentials()
            frozen = await self._chain.get_frozen_credentials()
        except Exception as error:  # botocore raises many kinds; none of them may pass for an S3 answer
            raise ServiceUnavailable(
                reason=f"no backend credentials from AWS's chain: {type(error).__name__}"
            ) from error
        self._chained = Credentials(
            frozen.access_key, Secret(frozen.secret_key), Secret(frozen.token) if frozen.token else None
        )
        return self._chained

    def asks_region(self, bucket: str) -> bool:
        """Return whether a bucket's region must be found before a body is sent to it."""
        return self._asks_regions and bool(bucket) and not self.regions.knows(bucket)

    async def find_region(self, bucket: str) -> None:
        """Learn a bucket's region by HeadBucket; what it answers otherwise is left to the request itself."""
        answer, _ = await self._ask("HEAD", bucket, "", ())
        region = elsewhere(answer.status, answer.headers, self.target.region)
        if region or answer.status == 200:
            self.regions.learn(bucket, region or self.target.region)

    async def ask(
        self, method: str, bucket: str, key: str = "", query: tuple[tuple[str, str], ...] = ()
    ) -> tuple[Fetched, bytes]:
        """Ask the store something for the gateway itself, in the bucket's region. Raises ServiceUnavailable."""
        answer, body = await self._ask(method, bucket, key, query)
        region = elsewhere(answer.status, answer.headers, self.regions.target(bucket).region)
        if not region:
            return answer, body
        self.regions.learn(bucket, region)
        return await self._ask(method, bucket, key, query)

    async def _ask(
        self, method: str, bucket: str, key: str, query: tuple[tuple[str, str], ...]
    ) -> tuple[Fetched, bytes]:
        request = forward.own(
            method, bucket, key, query, target=self.regions.target(bucket), credentials=await self.credentials(),
            keys=self._keys, now=int(time.time()),
        )  # fmt: skip
        try:
            return await ask(
                self._pool, self.origin(request.headers["host"]), method, forward.wire_head(request, streams=False),
                limit=ASK_LIMIT, seconds=ASK_WITHIN,
            )  # fmt: skip
        except Unanswered as error:
            raise ServiceUnavailable("The backend does not answer.", reason=f"backend: {error}") from error

    async def not_ready(self) -> list[str]:
        """Return why this backend is not ready; empty when it is: it answers, and takes the gateway's keys."""
        reason = await self.probe() or await self._keys_refused()
        return [reason] if reason else []

    async def _keys_refused(self) -> str | None:
        """Return why the gateway's own keys are of no use, None when the store takes them; what rights they have is not asked.

        Else clients would be told that a key is unknown or a signature wrong, and take it for theirs.
        """
        until, result = self._shown
        if self._pool.now > until:
            result = await self._show_keys()
            self._shown = (self._pool.now + (_PROBE_FRESH if result else _KEYS_FRESH), result)
        return result

    async def _show_keys(self) -> str | None:
        try:
            async with asyncio.timeout(_PROBE_WITHIN):
                await self.credentials()
        except ServiceUnavailable as error:
            return f"{self._label}: {error.reason}"
        except TimeoutError:
            return f"{self._label}: whoever gives the gateway its keys does not answer"
        try:
            async with asyncio.timeout(_PROBE_WITHIN):
                answer, body = await self._ask("GET", "", "", (("max-buckets", "1"),))
        except (ServiceUnavailable, TimeoutError):
            return None  # whether it answers is the probe's to say
        refused = _NOT_TAKEN.search(body) if answer.status >= 400 else None
        return f"{self._label}: it does not take the gateway's own keys ({refused[1].decode()})" if refused else None

    async def fetch(self, request: UpstreamRequest, body: AsyncIterator[bytes] | None) -> Fetched:
        """Send a request and return its answer, its body to be pulled. Raises ServiceUnavailable."""
        streams = body is not None
        head = forward.wire_head(request, streams=streams)
        try:
            return await fetch(
                self._pool, self.origin(request.headers["host"]), request.method, head,
                body if body is not None else request.body or b"", chunked=streams and request.length is None,
            )  # fmt: skip
        except Unanswered as error:
            raise ServiceUnavailable("The backend does not answer.", reason=f"{self._label}: {error}") from error

    async def probe(self) -> str | None:
        """Return None when the backend answers HTTP at all, else why not; asked every two seconds at most."""
        at, result = self._probed
        if self._pool.now - at > _PROBE_FRESH:
            result = await self._probe()
            self._probed = (self._pool.now, result)
        return result

    async def _probe(self) -> str | None:
        authority = self.target.authority
        head = f"GET / HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode()
        try:
            async with asyncio.timeout(_PROBE_WITHIN):
                (await fetch(self._pool, self.origin(authority), "GET", head)).close()
        except (Unanswered, TimeoutError) as error:
            return f"{self._label}: {str(error) or type(error).__name__}"
        return None


def _aws_session() -> Any:
    """Return what makes sessions of AWS's chain: 6 MiB of code, which only a backend with a chain loads, and not in a request."""
    from aiobotocore.session import AioSession  # noqa: PLC0415 - see above

    return AioSession
