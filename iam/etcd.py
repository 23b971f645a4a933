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
from collections.abc import AsyncGenerator, Container, Mapping, Sequence
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio

from iam import codec, etcd_pb2, keys
from iam.etcd_cluster import PAGE, SILENCE, Cluster, LeaseUnknown
from iam.records import Kind
from iam.store import (
    SESSIONS_AT_ONCE,
    SLACK,
    Batch,
    Check,
    Conflict,
    EtcdSettings,
    Row,
    SessionRecord,
    Snapshot,
    StoreError,
    StoreUnavailable,
    WatchLost,
    Write,
    unexpired,
)

WINDOW = 300  # seconds of expiry that share a lease; twelve times that for sessions longer than a day
PROGRESS = 1.0  # seconds between two progress requests of a quiet watch
TOGETHER = 250  # changes that are taken for one when they come right behind each other: each makes a new view
_BEHIND = 0.002  # seconds
_DAY = 86_400
_log = logging.getLogger("minio_gw.store")

_PROGRESS_REQUEST = etcd_pb2.WatchRequest(progress_request=etcd_pb2.WatchProgressRequest())


class EtcdStore:
    """An IamStore over etcd's v3 API. `window` and `slack` in seconds: see `_Leases`."""

    def __init__(self, settings: EtcdSettings, *, window: int = WINDOW, slack: int = SLACK) -> None:
        self._cluster = Cluster(settings)
        self._leases = _Leases(self._cluster, window, slack)
        self._sessions = keys.sessions(settings.path_prefix).encode()
        self._records = keys.records(settings.path_prefix).encode()

    async def open(self) -> None:
        """Make the channels; they connect when first used, so etcd may be away. Certificates are read here."""
        self._cluster.open()

    async def record_session(self, record: SessionRecord) -> None:
        """Put a session under its window's lease; return when etcd has committed it."""
        key = self._sessions + _name(record.access_key_id)
        await self._put(key, codec.encode_session(record), record.expires_at)

    async def session(self, access_key_id: str, *, expired: bool = False) -> SessionRecord | None:
        """Return a recorded session, one that has expired only when asked for (a linearizable read)."""
        if not keys.is_name(access_key_id):
            return None
        found = await self._read(self._sessions + _name(access_key_id))
        rows = ((access_key_id, kv.value) for kv in found)
        record = next(iter(codec.decode_sessions(rows, _skipped)), None)
        return record if record is not None and (expired or record.expires_at > time.time()) else None

    async def sessions(self, parents: Container[str] | None = None) -> list[SessionRecord]:
        """Return the sessions that have not expired, of some parents or of all."""
        return await unexpired(self.session_pages(), time.time(), parents)

    async def session_pages(self) -> AsyncGenerator[list[SessionRecord], None]:
        """Yield the sessions page by page: there may be a million of them."""
        async for _, page in self._cluster.pages(self._sessions, SESSIONS_AT_ONCE):
            yield codec.decode_sessions(((_suffix(kv.key, self._sessions), kv.value) for kv in page), _skipped)

    async def get(self, kind: Kind, name: str) -> Row | None:
        """Return a record as it is now (a linearizable read)."""
        for kv in await self._read(self._record(kind, name)):
            return Row(kind, name, kv.value, kv.mod_revision)
        return None

    async def swap(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> int:
        """Write all or nothing; return when etcd has committed it.

        A call that failed may have happened and is repeated; a repetition that finds what it wanted to write was the second one.
        """
        failed: list[str] = []
        for last in (False, True):
            leases = {
                (w.kind, w.name): await self._leases.lease(w.expires_at) for w in writes if w.expires_at and w.value
            }
            request = self._transaction(writes, checks, leases)
            try:
                answer = await self._cluster.call("KV/Txn", request, etcd_pb2.TxnResponse, failed)
                break
            except LeaseUnknown:
                if last:
                    raise
                for lease in leases.values():
                    self._leases.forget(lease)
        if answer.succeeded or (failed and _is_done(writes, answer.responses)):
            return int(answer.header.revision)
        raise Conflict(f"{writes[0].kind}/{writes[0].name} was changed by somebody else")

    async def snapshot(self) -> Snapshot:
        """Return all records at one revision (a linearizable read)."""
        rows: list[Row] = []
        header: Any = None
        async for first, page in self._cluster.pages(self._records, PAGE):
            header = first
            rows += (row for kv in page if (row := self._row(kv, kv.value)) is not None)
        return Snapshot(header.revision, tuple(rows), header.cluster_id)

    async def watch(self, after: int, *, origin: int = 0, fresh: bool = False) -> AsyncGenerator[Batch, None]:
        """Yield the changes of the records after a revision, and an empty batch for each other sign of life.

        etcd answers a watch at once, and its progress requests too (before 3.4.25 and 3.5.8), and delivers the backlog later. A
        watch that is not `fresh` is therefore `current` when it brings the mark that we write now.
        """
        create = etcd_pb2.WatchCreateRequest(
            key=self._records, range_end=keys.range_end(self._records), start_revision=after + 1
        )
        revision, mark = after, 0
        async with self._cluster.stream("Watch/Watch", etcd_pb2.WatchRequest, etcd_pb2.WatchResponse) as call:
            await _send(call, etcd_pb2.WatchRequest(create_request=create))
            reading: asyncio.Task[Any] = asyncio.get_running_loop().create_task(call.read())
            try:
                while True:
                    answer = await _answer(call, reading)
                    self._doubt(answer, after, origin)
                    events = list(answer.events)
                    reading = asyncio.get_running_loop().create_task(call.read())
                    while 0 < len(events) < TOGETHER and (more := await _soon(reading)):
                        self._doubt(more, after, origin)
                        events += more.events
                        reading = asyncio.get_running_loop().create_task(call.read())
                    if answer.created and not fresh:
                        mark = await self._mark()
                    revision = max([revision, *(event.kv.mod_revision for event in events)])
                    changed = [self._row(e.kv, None if e.type == etcd_pb2.Event.DELETE else e.kv.value) for e in events]
                    yield Batch(revision, tuple(row for row in changed if row is not None), revision >= mark)
            finally:
                await _end(reading)

    async def _mark(self) -> int:
        """Write what the watch will bring after all that was written before it; return its revision.

        Raises WatchLost when etcd does not take it (it is full, we may not): a snapshot needs no writing.
        """
        try:
            request = etcd_pb2.PutRequest(key=self._records + keys.MARK)
            answer = await self._cluster.call("KV/Put", request, etcd_pb2.PutResponse)
        except StoreUnavailable as error:
            raise WatchLost(f"the watch cannot be resumed: {error}") from error
        return int(answer.header.revision)

    async def ping(self) -> None:
        """Return when a linearizable read succeeds: a member answers and the cluster has a leader."""
        request = etcd_pb2.RangeRequest(key=self._records, count_only=True)
        await self._cluster.call("KV/Range", request, etcd_pb2.RangeResponse)

    async def close(self) -> None:
        """Close the channels."""
        await self._cluster.close()
        await self._leases.close()

    def _doubt(self, answer: Any, after: int, origin: int) -> None:
        """Raise WatchLost when this answer puts in doubt that every change after `after` will come."""
        if answer.canceled or answer.compact_revision:
            if "permission denied" in answer.cancel_reason:
                self._cluster.forget_token()  # etcd says the same of an expired token
            raise WatchLost(answer.cancel_reason or f"compacted at {answer.compact_revision}")
        if answer.created and answer.header.revision < after:
            raise WatchLost(f"this member is at {answer.header.revision}, we were at {after}: it lags, or was reset")
        if origin and answer.header.cluster_id != origin:
            raise WatchLost("another cluster answers")

    def _record(self, kind: Kind, name: str) -> bytes:
        return self._records + keys.record(kind, name).encode()

    def _row(self, kv: Any, value: bytes | None) -> Row | None:
        """Return the row of a key and a value; None for what is not ours, or of a kind of later versions."""
        found = keys.parse_record(_suffix(kv.key, self._records))
        return Row(*found, value, kv.mod_revision) if found else None

    def _transaction(
        self, writes: Sequence[Write], checks: Sequence[Check], leases: Mapping[tuple[Kind, str], int]
    ) -> Any:
        """Return the transaction; when it does not apply it says what is there instead."""
        demanded: list[Write | Check] = [*checks, *writes]
        compare = [
            etcd_pb2.Compare(
                result=etcd_pb2.Compare.EQUAL, target=etcd_pb2.Compare.MOD, key=self._record(one.kind, one.name),
                mod_revision=one.expected,
            )
            for one in demanded if one.expected is not None
        ]  # fmt: skip
        keyed = [(self._record(write.kind, write.name), write) for write in writes]
        return etcd_pb2.TxnRequest(
            compare=compare,
            success=[_operation(key, write, leases.get((write.kind, write.name), 0)) for key, write in keyed],
            failure=[etcd_pb2.RequestOp(request_range=etcd_pb2.RangeRequest(key=key)) for key, _ in keyed],
        )

    async def _read(self, key: bytes) -> Any:
        answer = await self._cluster.call("KV/Range", etcd_pb2.RangeRequest(key=key), etcd_pb2.RangeResponse)
        return answer.kvs

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
        # End of the window (epoch seconds) -> lease, its monotonic end.
        self._granted: dict[int, tuple[int, float]] = {}
        self._granting: dict[int, asyncio.Task[int]] = {}

    async def lease(self, expires_at: int) -> int:
        """Return the lease for an expiry; many callers at once cause one grant, and wait no longer than for that one."""
        now = int(time.time())
        width = self._window if expires_at - now <= _DAY else 12 * self._window
        end = (expires_at // width + 1) * width
        lease, ends = self._granted.get(end, (0, 0.0))
        # Ours may have been a clock that was ahead when it was granted, and was set right since: then it ends too early.
        if ends - time.monotonic() >= expires_at - now:
            return lease
        if end not in self._granting:
            self._granting[end] = asyncio.get_running_loop().create_task(self._grant(end, now))
            self._granting[end].add_done_callback(lambda _: self._granting.pop(end))
        # Not under a lock: while etcd is silent each of a queue would ask in vain, one after another. Who leaves spoils it for nobody.
        return await asyncio.shield(self._granting[end])

    def forget(self, lease: int) -> None:
        """Forget a lease that etcd does not know."""
        self._granted = {end: known for end, known in self._granted.items() if known[0] != lease}

    async def close(self) -> None:
        """Wait for the grants that are under way; on closed channels they end at once."""
        await asyncio.gather(*self._granting.values(), return_exceptions=True)

    async def _grant(self, end: int, now: int) -> int:
        life, began = max(end - now, 1) + self._slack, time.monotonic()
        request = etcd_pb2.LeaseGrantRequest(TTL=life)
        answer = await self._cluster.call("Lease/LeaseGrant", request, etcd_pb2.LeaseGrantResponse)
        granted = {other: known for other, known in self._granted.items() if other > now}
        self._granted = granted | {end: (answer.ID, began + life)}
        return int(answer.ID)


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


async def _soon(reading: asyncio.Task[Any]) -> Any:
    """Return what `reading` brings within a moment; None for nothing, and for an end, which whoever asks next is told."""
    await asyncio.wait({reading}, timeout=_BEHIND)
    if not reading.done() or reading.exception() is not None or reading.result() is grpc.aio.EOF:
        return None
    return reading.result()


async def _end(reading: asyncio.Task[Any]) -> None:
    reading.cancel()
    with suppress(asyncio.CancelledError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await reading


def _operation(key: bytes, write: Write, lease: int) -> Any:
    if write.value is None:
        return etcd_pb2.RequestOp(request_delete_range=etcd_pb2.DeleteRangeRequest(key=key))
    return etcd_pb2.RequestOp(request_put=_put_request(key, write.value, lease))


def _is_done(writes: Sequence[Write], responses: Any) -> bool:
    """Return whether everything is already as it was to be written."""
    there = [response.response_range.kvs for response in responses]
    return all(
        [kv.value for kv in found] == ([] if write.value is None else [write.value])
        for write, found in zip(writes, there, strict=True)
    )


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
