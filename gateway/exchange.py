"""One request to the backend and its answer, wherever the bucket is.

Built and signed here, at the moment of sending; a bucket that turns out to be in another region is asked there. A request
with a body from the client can be sent once only, so that where buckets have regions, an unknown one is asked for first.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Protocol

import aiohttp

from gateway import decoding, forward
from gateway.backend import Backend
from gateway.chunked import SignedRelay, UnsignedRelay
from gateway.errors import InternalError, ServiceUnavailable
from gateway.plans import Forward
from gateway.regions import REDIRECTS, elsewhere
from gateway.sigv4 import SigningKeys

CUT = (aiohttp.ClientError, OSError, TimeoutError)


class Upload(Protocol):
    """A client's body on its way up."""

    def through(self, upstream: forward.UpstreamRequest) -> AsyncIterator[bytes]:
        """Yield what the backend gets; what goes wrong on the way is raised here, and again by `check`."""

    async def whole(self, decoder: UnsignedRelay | SignedRelay) -> bytes:
        """Return the whole payload, decoded and verified. Raises S3Error."""

    def check(self) -> None:
        """Raise what went wrong on the client's side, if anything did."""


async def _decoded(plan: Forward, upload: Upload) -> tuple[Forward, bytes]:
    """Return a plan whose request is plain, and the payload that goes with it."""
    decoder = decoding.decoder(plan.request, plan.caller)
    payload = await upload.whole(decoder)
    request, caller = decoding.plain(plan.request, plan.caller, payload, decoder.trailers)
    return replace(plan, request=request, caller=caller), payload


@dataclass(frozen=True)
class Exchange:
    """Sends requests to one backend."""

    backend: Backend
    keys: SigningKeys

    async def send(self, plan: Forward, upload: Upload | None) -> aiohttp.ClientResponse:
        """Send a plan's request; return the answer with its body still to be read. Raises S3Error."""
        bucket = plan.request.path.bucket
        if upload is not None and self.backend.has_regions and bucket and not self.backend.regions.knows(bucket):
            await self._find(bucket)
        payload = None
        if upload is not None and not self.backend.target.aws_chunked and decoding.comes_whole(plan.caller):
            (plan, payload), upload = await _decoded(plan, upload), None
        answer = await self._once(plan, upload, payload)
        region = elsewhere(answer.status, answer.headers, self.backend.regions.target(bucket).region)
        if region:
            self.backend.regions.learn(bucket, region)
            if upload is None:
                answer.close()
                answer = await self._once(plan, None, payload)
        if answer.status in REDIRECTS:
            answer.close()
            raise InternalError(reason=f"the backend redirects with {answer.status}")
        return answer

    async def _once(self, plan: Forward, upload: Upload | None, payload: bytes | None) -> aiohttp.ClientResponse:
        upstream = forward.build(
            plan.request, plan.operation, plan.caller, target=self.backend.regions.target(plan.request.path.bucket),
            credentials=await self.backend.credentials(), keys=self.keys, now=int(time.time()), body=plan.body,
        )  # fmt: skip
        if payload is not None:
            upstream = replace(upstream, body=payload)
        try:
            answer = await self.backend.send(upstream, upload.through(upstream) if upload else None)
        except CUT as error:
            if upload is not None:
                upload.check()
            raise ServiceUnavailable(
                "The backend does not answer.", reason=f"backend: {type(error).__name__}"
            ) from error
        if upload is not None:
            try:
                upload.check()
            except BaseException:
                answer.close()
                raise
        return answer

    async def _find(self, bucket: str) -> None:
        """Learn a bucket's region by HeadBucket; what it answers otherwise is left to the request itself."""
        backend = self.backend
        head = forward.own(
            "HEAD", bucket, target=backend.target, credentials=await backend.credentials(), keys=self.keys,
            now=int(time.time()),
        )  # fmt: skip
        try:
            answer = await backend.send(head, None)
        except CUT as error:
            raise ServiceUnavailable(
                "The backend does not answer.", reason=f"backend: {type(error).__name__}"
            ) from error
        answer.close()
        region = elsewhere(answer.status, answer.headers, backend.target.region)
        if region or answer.status == 200:
            backend.regions.learn(bucket, region or backend.target.region)
