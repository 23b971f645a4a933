"""Several backends behind one gateway: each request goes to the place of its bucket.

What one backend cannot answer alone is answered here: ListBuckets is merged, and a copy from one backend to another is
streamed through (`gateway.backends.crossing`). A backend that does not answer makes ListBuckets fail: a list that is silently short
would look like buckets that were deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from gateway import errors
from gateway.backends import crossing, merging
from gateway.backends.exchange import Exchange, read_whole
from gateway.backends.merging import Listed
from gateway.backends.naming import applied, inside
from gateway.backends.places import Place, Places
from gateway.backends.seal import Seal
from gateway.errors import InternalError, MalformedXML, S3Error, ServiceUnavailable
from gateway.s3.actions import copy_source
from gateway.s3.context import Tags
from gateway.stories.plans import Answer, Forward, Plan, Reply

MAX_PAGES = 1000  # of one backend's list of buckets


@dataclass(frozen=True)
class Stores:
    """The backends by name, and where each bucket is; `region` is the gateway's own, "" for any."""

    places: Places
    exchanges: Mapping[str, Exchange]
    seal: Seal
    region: str = ""

    def route(self, plan: Forward) -> tuple[Forward, Exchange]:
        """Return a plan as its backend is to understand it, and the way there. Raises NoSuchBucket and as `applied`."""
        place = self.places.of(plan.request.path.bucket)
        source = self._source(plan)
        if source is not None and source.backend != place.backend:
            raise InternalError(reason="a copy across backends is no request to one of them")
        return applied(plan, place, source, self.seal), self.exchanges[place.backend]

    def backends(self, plan: Forward) -> str:
        """Return the names of the backends that a plan is for, as the log tells them. Raises NoSuchBucket."""
        if not plan.request.path.bucket:
            return ",".join(self.exchanges)
        place, source = self.places.of(plan.request.path.bucket), self._source(plan)
        return (
            place.backend if source is None or source.backend == place.backend else f"{source.backend}>{place.backend}"
        )

    def is_simple(self, plan: Forward) -> bool:
        """Return whether one backend can answer. Raises NoSuchBucket."""
        source = self._source(plan)
        bucket = plan.request.path.bucket
        return bool(bucket) and (source is None or source.backend == self.places.of(bucket).backend)

    async def answered(self, plan: Forward) -> Plan:
        """Return how the story goes on where no single backend can answer. Raises S3Error."""
        if plan.request.path.bucket:
            return await crossing.across(plan, self.route, self.region)
        if plan.operation.name != "ListBuckets":
            raise errors.NotImplemented(reason=f"{plan.operation.name} over several backends")
        return await self._list_buckets(plan)

    async def tags_of(self, objects: Sequence[tuple[str, str, str]]) -> list[Tags | None]:
        """Return each object's tags, as `Exchange.tags_of`; of one that has no place they cannot be known."""
        asked: dict[str, list[tuple[int, tuple[str, str, str]]]] = {}
        for i, (bucket, key, version) in enumerate(objects):
            with suppress(S3Error):
                place = self.places.of(bucket)
                asked.setdefault(place.backend, []).append((i, (place.bucket, inside(place, key), version)))
        found: list[Tags | None] = [None] * len(objects)
        for backend, named in asked.items():
            tags = await self.exchanges[backend].tags_of([there for _, there in named])
            for (i, _), one in zip(named, tags, strict=True):
                found[i] = one
        return found

    async def not_ready(self) -> list[str]:
        """Return which backends do not answer, and why."""
        found = await asyncio.gather(*(exchange.backend.not_ready() for exchange in self.exchanges.values()))
        return [reason for reasons in found for reason in reasons]

    def _source(self, plan: Forward) -> Place | None:
        if "x-amz-copy-source" not in plan.operation.needs_headers:
            return None
        return self.places.of(copy_source(plan.request.header("x-amz-copy-source")).bucket)

    async def _list_buckets(self, plan: Forward) -> Plan:
        lists = []
        for found in await asyncio.gather(
            *(self._listed(name, plan) for name in self.exchanges), return_exceptions=True
        ):
            if isinstance(found, BaseException):
                raise found
            lists.append(found)
        buckets = {name: created for found, _ in lists for name, created in found.items()}
        owner = next((owner for _, owner in lists if owner is not None), None)
        document = merging.page(buckets, owner, plan.request.parameters, self.seal)
        return plan.then(Answer(200, (), document)) if plan.then else Reply(plan.operation, plan.caller, document)

    async def _listed(self, backend: str, plan: Forward) -> tuple[dict[str, str], Element | None]:
        """Return the buckets of one backend in our names: those of its own list, and those that rules spell out."""
        narrowed = "bucket-region" in plan.request.parameters  # of a bucket that is not listed nobody knows the region
        found = {} if narrowed else dict.fromkeys(self.places.explicit(backend), "")
        token, owner = "", None
        for _ in range(MAX_PAGES):
            listed = await self._page(backend, plan, token)
            if listed is None:
                return found, owner
            owner = owner if owner is not None else listed.owner
            for bucket, created in listed.buckets.items():
                found |= dict.fromkeys(self.places.names(backend, bucket), created)
            token = listed.token
            if not token:
                return found, owner
        raise ServiceUnavailable("A backend has too many buckets.", reason=f"backend {backend}: pages of buckets")

    async def _page(self, backend: str, plan: Forward, token: str) -> Listed | None:
        """Ask for a page; None when the list is refused to us, and no rule's buckets depend on it."""
        query = [(n, v) for n, v in plan.request.query if n == "bucket-region"]
        query += [("continuation-token", token)] if token else []
        answer = await self.exchanges[backend].send(
            plan._replace(request=replace(plan.request, query=tuple(query))), None
        )
        body = await read_whole(answer)
        if answer.status == 403 and not self.places.listed(backend):
            return None
        if answer.status != 200:
            raise ServiceUnavailable(
                "The buckets of a backend cannot be listed.", reason=f"backend {backend}: ListBuckets {answer.status}"
            )
        try:
            return merging.read(body)
        except MalformedXML as error:
            raise InternalError(reason=f"backend {backend}: {error.reason}") from error
