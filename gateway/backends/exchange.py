"""One awaited request to the backend and its answer, wherever the bucket is: what no client's own connection carries.

Copies between backends, merged lists and tags are asked for here; a client's request takes the same way by steps
(`gateway.turns.turn`). Built and signed at the moment of sending; a bucket in another region is asked there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.backends.backend import Backend
from gateway.backends.regions import REDIRECTS, elsewhere
from gateway.errors import InternalError, S3Error, ServiceUnavailable
from gateway.s3 import xml
from gateway.s3.context import Tags
from gateway.signing.sigv4 import SigningKeys
from gateway.stories import forward
from gateway.stories.plans import Forward
from gateway.wire.fetch import Fetched, Unanswered, whole

MAX_ANSWER = 16 * 2**20  # bytes of an answer that is read whole
TAGS_AT_ONCE = 32


class Upload(Protocol):
    """A body on its way up."""

    def through(self, upstream: forward.UpstreamRequest) -> AsyncIterator[bytes]:
        """Yield what the backend gets; what goes wrong on the way is raised here, and again by `check`."""

    def check(self) -> None:
        """Raise what went wrong, if anything did."""


@dataclass(frozen=True)
class Exchange:
    """Sends requests to one backend."""

    backend: Backend
    keys: SigningKeys

    async def send(self, plan: Forward, upload: Upload | None) -> Fetched:
        """Send a plan's request; return the answer with its body still to be read. Raises S3Error."""
        bucket = plan.request.path.bucket
        if upload is not None and self.backend.asks_region(bucket):
            await self.backend.find_region(bucket)
        answer = await self._once(plan, upload)
        region = elsewhere(answer.status, answer.headers, self.backend.regions.target(bucket).region)
        if region:
            self.backend.regions.learn(bucket, region)
            if upload is None:
                answer.close()
                answer = await self._once(plan, None)
        if answer.status in REDIRECTS:
            answer.close()
            raise InternalError(reason=f"the backend redirects with {answer.status}")
        return answer

    async def _once(self, plan: Forward, upload: Upload | None) -> Fetched:
        upstream = forward.build(
            plan.request, plan.operation, plan.caller, target=self.backend.regions.target(plan.request.path.bucket),
            credentials=await self.backend.credentials(), keys=self.keys, now=int(time.time()), body=plan.body,
        )  # fmt: skip
        if upload is None:
            upstream = upstream._replace(length=len(plan.body or b""))
        try:
            answer = await self.backend.fetch(upstream, upload.through(upstream) if upload else None)
        except ServiceUnavailable:
            if upload is not None:
                upload.check()
            raise
        if upload is not None:
            try:
                upload.check()
            except BaseException:
                answer.close()
                raise
        return answer

    async def tags_of(self, objects: Sequence[tuple[str, str, str]]) -> list[Tags | None]:
        """Return each object's tags (bucket, key, version id or ""), a bounded number of them asked for at a time.

        () when there is no such object, None when its tags cannot be known.
        """
        limit = asyncio.Semaphore(TAGS_AT_ONCE)

        async def one(bucket: str, key: str, version: str) -> Tags | None:
            async with limit:
                return await self._tags(bucket, key, version)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(*place)) for place in objects]
        return [task.result() for task in tasks]

    async def _tags(self, bucket: str, key: str, version: str) -> Tags | None:
        query = (("tagging", ""), ("versionId", version)) if version else (("tagging", ""),)
        try:
            answer, document = await self.backend.ask("GET", bucket, key, query)
            if answer.status != 200:
                return () if answer.status == 404 else None
            return xml.tags(document)
        except S3Error:
            return None


async def read_whole(answer: Fetched) -> bytes:
    """Return an answer's body and let its connection go. Raises ServiceUnavailable, also when it is too large."""
    try:
        return await whole(answer, MAX_ANSWER)
    except Unanswered as error:
        raise ServiceUnavailable(reason=f"backend: {error}") from error
    finally:
        answer.close()
