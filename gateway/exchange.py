"""One request to the backend and its answer, wherever the bucket is.

Built and signed here, at the moment of sending; a bucket that turns out to be in another region is asked there. A request
with a body from the client can be sent once only, so that where buckets have regions, an unknown one is asked for first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import aiohttp

from gateway import decoding, forward, xml
from gateway.backend import Backend
from gateway.chunked import SignedRelay, UnsignedRelay
from gateway.context import Tags
from gateway.errors import InternalError, S3Error, ServiceUnavailable
from gateway.plans import Forward
from gateway.regions import REDIRECTS, elsewhere
from gateway.sigv4 import SigningKeys

MAX_ANSWER = 16 * 2**20  # bytes of an answer that is read whole
CUT = (aiohttp.ClientError, OSError, TimeoutError)
MAX_TAGGING = 2**16  # bytes of a Tagging document
TAGS_AT_ONCE = 32


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

    async def tags_of(self, objects: Sequence[tuple[str, str, str]]) -> list[Tags | None]:
        """Return each object's tags (bucket, key, version id or ""), a bounded number of them asked for at a time."""
        limit = asyncio.Semaphore(TAGS_AT_ONCE)

        async def one(bucket: str, key: str, version: str) -> Tags | None:
            async with limit:
                return await self._tags(bucket, key, version)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(*place)) for place in objects]
        return [task.result() for task in tasks]

    async def _tags(self, bucket: str, key: str, version: str) -> Tags | None:
        """Return an object's tags, () when there is no such object, None when that cannot be known."""
        query = (("tagging", ""), ("versionId", version)) if version else (("tagging", ""),)
        try:
            answer = await self._own("GET", bucket, key, query)
            region = elsewhere(answer.status, answer.headers, self.backend.regions.target(bucket).region)
            if region:
                answer.close()
                self.backend.regions.learn(bucket, region)
                answer = await self._own("GET", bucket, key, query)
            try:
                if answer.status != 200:
                    return () if answer.status == 404 else None
                return xml.tags(await _read(answer))
            finally:
                answer.close()
        except (*CUT, S3Error):
            return None

    async def _own(
        self, method: str, bucket: str, key: str, query: Sequence[tuple[str, str]]
    ) -> aiohttp.ClientResponse:
        """Ask the backend in the gateway's own name."""
        backend = self.backend
        request = forward.own(
            method, bucket, key, query, target=backend.regions.target(bucket), credentials=await backend.credentials(),
            keys=self.keys, now=int(time.time()),
        )  # fmt: skip
        return await backend.send(request, None)

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


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_TAGGING:
            raise InternalError(reason="the backend's Tagging document is too large")
    return bytes(body)


async def read_whole(answer: aiohttp.ClientResponse) -> bytes:
    """Return an answer's body and let its connection go. Raises InternalError when it is too large, ServiceUnavailable."""
    try:
        return await document(answer)
    except CUT as error:
        raise ServiceUnavailable(reason=f"backend: {type(error).__name__}") from error
    finally:
        answer.release() if answer.content.at_eof() else answer.close()


async def document(answer: aiohttp.ClientResponse) -> bytes:
    """Return an answer's body. Raises InternalError when it is too large, and CUT."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_ANSWER:
            raise InternalError(reason="the backend's answer is too large to edit")
    return bytes(body)
