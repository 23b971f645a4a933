"""The store in etcd, for many gateways. See docs/decisions/0002-etcd-client.md.

`iam.etcd_cluster` answers calls. `_Leases` grants one lease per expiry window, so that a million sessions need a few hundred leases.
`EtcdStore.watch` opens a connection of its own, asks for a leader, and asks for progress every second, so that silence
is noticed. A batch's revision is its last event's own, never the header's: the header says where the store is, not
what has been delivered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio

from iam import codec, etcd_pb2, keys
from iam.etcd_cluster import SILENCE, Cluster, LeaseUnknown
from iam.store import (
    SLACK,
    Batch,
    EtcdSettings,
    Revocation,
    SessionRecord,
    Snapshot,
    StoreError,
    UnknownSession,
    WatchLost,
)
from iam.view import Change, Lifted, Revoked

WINDOW = 300  # seconds of expiry that share a lease; twelve times that for sessions longer than a day
PROGRESS = 1.0  # seconds between two progress requests of a quiet watch
PAGE = 2000  # records per range request
_DAY = 86_400
_log = logging.getLogger("minio_gw.store")

_PROGRESS_REQUEST = etcd_pb2.WatchRequest(progress_request=etcd_pb2.WatchProgressRequest())


class EtcdStore:
    """An IamStore over etcd's v3 API. `window` and `slack` in seconds: see `_Leases`."""

    def __init__(self, settings: EtcdSettings, *, window: int = WINDOW, slack: int = SLACK) -> None:
        self._cluster = Cluster(settings)
        self._leases = _Leases(self._cluster, window, slack)
        self._sessions = keys.sessions(settings.path_prefix).encode()
        self._revocations = keys.revocations(settings.path_prefix).encode()
        self._cluster_id = 0

    async def open(self) -> None:
        """Make the channels; they connect when first used, so etcd may be away. Certificates are read here."""
        self._cluster.open()

    async def record_session(self, record: SessionRecord) -> None:
        """Put a session under its window's lease; return when etcd has committed it."""
        key = self._sessions + _name(record.access_key_id)
        await self._put(key, codec.encode_session(record), record.expires_at)

    async def session(self, access_key_id: str) -> SessionRecord | None:
        """Return a recorded session that has not expired (a linearizable read)."""
        found = await self._recorded(access_key_id)
        return found if found is not None and found.expires_at > time.time() else None

    async def sessions(self) -> list[SessionRecord]:
        """Return the sessions that have not expired."""
        _, found = await self._all(self._sessions)
        rows = ((_suffix(kv.key, self._sessions), kv.value) for kv in found)
        return [record for record in codec.decode_sessions(rows, _skipped) if record.expires_at > time.time()]

    async def revoke(self, access_key_id: str, *, now: int) -> Revocation:
        """Put a revocation that outlives the session; return when etcd has committed it."""
        record = await self._recorded(access_key_id)
        if record is None:
            raise UnknownSession(access_key_id)
        revocation = Revocation(access_key_id, now, record.expires_at)
        key = self._revocations + _name(access_key_id)
        await self._put(key, codec.encode_revocation(revocation), record.expires_at)
        return revocation

    async def snapshot(self) -> Snapshot:
        """Return all revocations at one revision (a linearizable read)."""
        header, found = await self._all(self._revocations)
        self._cluster_id = header.cluster_id
        rows = ((_suffix(kv.key, self._revocations), kv.value) for kv in found)
        return Snapshot(header.revision, tuple(codec.decode_revocation(name, value) for name, value in rows))

    async def watch(self, after: int) -> AsyncGenerator[Batch, None]:
        """Yield the changes of the revocations after a revision, and an empty batch for each other sign of life."""
        create = etcd_pb2.WatchCreateRequest(
            key=self._revocations, range_end=keys.range_end(self._revocations), start_revision=after + 1
        )
        revision = after
        async with self._cluster.stream("Watch/Watch", etcd_pb2.WatchRequest, etcd_pb2.WatchResponse) as call:
            await _send(call, etcd_pb2.WatchRequest(create_request=create))
            reading: asyncio.Task[Any] = asyncio.get_running_loop().create_task(call.read())
            try:
                while True:
                    answer = await _answer(call, reading)
                    self._doubt(answer, after)
                    reading = asyncio.get_running_loop().create_task(call.read())
                    revision = max([revision, *(event.kv.mod_revision for event in answer.events)])
                    yield Batch(revision, tuple(self._change(event) for event in answer.events))
            finally:
                await _end(reading)

    async def ping(self) -> None:
        """Return when a linearizable read succeeds: a member answers and the cluster has a leader."""
        request = etcd_pb2.RangeRequest(key=self._revocations, count_only=True)
        await self._cluster.call("KV/Range", request, etcd_pb2.RangeResponse)

    async def close(self) -> None:
        """Close the channels."""
        await self._cluster.close()

    def _doubt(self, answer: Any, after: int) -> None:
        """Raise WatchLost when this answer puts in doubt that every change after `after` will come."""
        if answer.canceled or answer.compact_revision:
            if "permission denied" in answer.cancel_reason:
                self._cluster.forget_token()  # etcd says the same of an expired token
            raise WatchLost(answer.cancel_reason or f"compacted at {answer.compact_revision}")
        if answer.created and answer.header.revision < after:
            raise WatchLost(f"this member is at {answer.header.revision}, we were at {after}: it lags, or was reset")
        if self._cluster_id and answer.header.cluster_id != self._cluster_id:
            raise WatchLost("another cluster answers")

    def _change(self, event: Any) -> Change:
        name = _suffix(event.kv.key, self._revocations)
        if event.type == etcd_pb2.Event.DELETE:
            return Lifted(name)
        revocation = codec.decode_revocation(name, event.kv.value)
        if revocation.problem:
            _log.warning("revocation of %s cannot be read, it revokes: %s", name, revocation.problem)
        return Revoked(name, revocation.expires_at)

    async def _recorded(self, access_key_id: str) -> SessionRecord | None:
        if not keys.is_name(access_key_id):
            return None
        request = etcd_pb2.RangeRequest(key=self._sessions + _name(access_key_id))
        answer = await self._cluster.call("KV/Range", request, etcd_pb2.RangeResponse)
        rows = ((access_key_id, kv.value) for kv in answer.kvs)
        return next(iter(codec.decode_sessions(rows, _skipped)), None)

    async def _all(self, prefix: bytes) -> tuple[Any, list[Any]]:
        """Return the first page's header and every record of a prefix, all pages at that header's revision."""
        header, found, start = None, [], prefix
        while True:
            revision = header.revision if header else 0
            request = etcd_pb2.RangeRequest(key=start, range_end=keys.range_end(prefix), limit=PAGE, revision=revision)
            answer = await self._cluster.call("KV/Range", request, etcd_pb2.RangeResponse)
            header = header or answer.header
            found += answer.kvs
            if not answer.more:
                return header, found
            start = answer.kvs[-1].key + b"\0"

    async def _put(self, key: bytes, value: bytes, expires_at: int) -> None:
        """Put under the window's lease; a lease that etcd no longer knows is granted anew, once."""
        lease = await self._leases.lease(expires_at)
        try:
            await self._cluster.call("KV/Put", _put_request(key, value, lease), etcd_pb2.PutResponse)
        except LeaseUnknown:
            self._leases.forget(lease)
            lease = await self._leases.lease(expires_at)
            await self._cluster.call("KV/Put", _put_request(key, value, lease), etcd_pb2.PutResponse)


class _Leases:
    """One lease per expiry window: it ends `slack` seconds after the window, which ends after every expiry in it."""

    def __init__(self, cluster: Cluster, window: int, slack: int) -> None:
        self._cluster, self._window, self._slack = cluster, window, slack
        self._granted: dict[int, int] = {}  # end of the window (epoch seconds) -> lease
        self._granting = asyncio.Lock()

    async def lease(self, expires_at: int) -> int:
        """Return the lease for an expiry; many callers at once cause one grant."""
        now = int(time.time())
        width = self._window if expires_at - now <= _DAY else 12 * self._window
        end = (expires_at // width + 1) * width
        if end not in self._granted:
            async with self._granting:
                if end not in self._granted:
                    await self._grant(end, now)
        return self._granted[end]

    def forget(self, lease: int) -> None:
        """Forget a lease that etcd does not know."""
        self._granted = {end: known for end, known in self._granted.items() if known != lease}

    async def _grant(self, end: int, now: int) -> None:
        request = etcd_pb2.LeaseGrantRequest(TTL=max(end - now, 1) + self._slack)
        answer = await self._cluster.call("Lease/LeaseGrant", request, etcd_pb2.LeaseGrantResponse)
        self._granted = {other: lease for other, lease in self._granted.items() if other > now} | {end: answer.ID}


async def _send(call: Any, request: Any) -> None:
    async with asyncio.timeout(SILENCE):
        await call.write(request)


async def _answer(call: Any, reading: asyncio.Task[Any]) -> Any:
    """Return what `reading` brings, asking for progress every second meanwhile. Raises TimeoutError on silence."""
    silent_since = time.monotonic()
    while not (await asyncio.wait({reading}, timeout=PROGRESS))[0]:
        if time.monotonic() - silent_since > SILENCE:
            raise TimeoutError
        await _send(call, _PROGRESS_REQUEST)
    answer = reading.result()
    if answer is grpc.aio.EOF:
        raise asyncio.InvalidStateError("etcd ended the stream")
    return answer


async def _end(reading: asyncio.Task[Any]) -> None:
    reading.cancel()
    with suppress(asyncio.CancelledError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await reading


def _put_request(key: bytes, value: bytes, lease: int) -> Any:
    return etcd_pb2.PutRequest(key=key, value=value, lease=lease)


def _name(access_key_id: str) -> bytes:
    if not keys.is_name(access_key_id):
        raise StoreError("an access key may hold letters and digits only")
    return access_key_id.encode()


def _suffix(key: bytes, prefix: bytes) -> str:
    return key[len(prefix) :].decode("utf-8", "replace")


def _skipped(access_key_id: str, reason: str) -> None:
    _log.warning("session record of %s skipped: %s", access_key_id, reason)
