"""The store in etcd, for many gateways. The only module that knows gRPC (docs/decisions/0002-etcd-client.md).

Every call has a deadline and is tried at each endpoint in turn, the last good one first. A session is one put under a
lease that is shared by all sessions of its expiry window. The watch asks for a leader, resumes from nothing but what it
was told to resume from, and asks for progress every second, so silence is noticed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from iam import codec, etcd_pb2, keys
from iam.store import (
    Batch,
    EtcdSettings,
    Revocation,
    SessionRecord,
    Snapshot,
    StoreError,
    StoreUnavailable,
    UnknownSession,
    WatchLost,
)
from iam.view import Change, Lifted, Revoked

WINDOW = 300  # seconds of expiry that share one lease
SLACK = 300  # seconds a record outlives its session, for clocks that differ
PROGRESS = 1.0  # seconds between two progress requests
SILENCE = 4.0  # seconds without any answer after which a watch counts as lost
PAGE = 2000  # records per range request
_OPTIONS = (
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_ELSEWHERE = frozenset({
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL,
})  # fmt: skip


class EtcdStore:
    """An IamStore over etcd's v3 API."""

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._channels: list[grpc.aio.Channel] = []
        self._good = 0
        self._leases: dict[int, int] = {}
        self._token: str | None = None
        self._sessions = keys.sessions(settings.path_prefix).encode()
        self._revocations = keys.revocations(settings.path_prefix).encode()

    async def open(self) -> None:
        """Make the channels; they connect when first used."""
        self._channels = self._channels or [_channel(endpoint, self._settings) for endpoint in self._settings.endpoints]

    async def record_session(self, record: SessionRecord) -> None:
        """Put a session under its window's lease; returns when etcd has committed it."""
        key = self._sessions + _name(record.access_key_id)
        await self._put_leased(key, codec.encode_session(record), record.expires_at)

    async def session(self, access_key_id: str) -> SessionRecord | None:
        """Return a recorded session (linearizable)."""
        request = etcd_pb2.RangeRequest(key=self._sessions + _name(access_key_id))
        answer = await self._call("KV/Range", request, etcd_pb2.RangeResponse)
        return codec.decode_session(answer.kvs[0].value) if answer.kvs else None

    async def sessions(self) -> list[SessionRecord]:
        """Return the sessions that have not expired."""
        _, found = await self._all(self._sessions)
        records = [codec.decode_session(kv.value) for kv in found]
        return [r for r in records if r is not None and r.expires_at > time.time()]

    async def revoke(self, access_key_id: str, *, now: int) -> Revocation:
        """Put a revocation that outlives the session."""
        record = await self.session(access_key_id) if keys.is_name(access_key_id) else None
        if record is None:
            raise UnknownSession(access_key_id)
        revocation = Revocation(access_key_id, now, record.expires_at)
        key = self._revocations + _name(access_key_id)
        await self._put_leased(key, codec.encode_revocation(revocation), record.expires_at)
        return revocation

    async def snapshot(self) -> Snapshot:
        """Return all revocations at one revision."""
        revision, found = await self._all(self._revocations)
        return Snapshot(revision, tuple(codec.decode_revocation(self._suffix(kv.key), kv.value) for kv in found))

    async def watch(self, after: int) -> AsyncIterator[Batch]:
        """Yield changes of the revocations after a revision; an empty batch for each sign of life."""
        channel = self._channels[self._good]
        metadata = (("hasleader", "true"), *self._credentials())
        stub = channel.stream_stream(
            "/etcdserverpb.Watch/Watch", request_serializer=etcd_pb2.WatchRequest.SerializeToString,
            response_deserializer=etcd_pb2.WatchResponse.FromString,
        )  # fmt: skip
        call = stub(metadata=metadata)
        create = etcd_pb2.WatchCreateRequest(
            key=self._revocations, range_end=keys.range_end(self._revocations), start_revision=after + 1
        )
        try:
            async for batch in self._follow(call, create, after):
                yield batch
        except grpc.aio.AioRpcError as error:
            self._next()
            await self._maybe_renew(error)
            raise StoreUnavailable(_why(error)) from error
        except (TimeoutError, asyncio.InvalidStateError) as error:
            self._next()
            raise StoreUnavailable("the watch is silent") from error
        finally:
            call.cancel()

    async def ping(self) -> None:
        """Return when a linearizable read succeeds: a member answers and the cluster has a leader."""
        request = etcd_pb2.RangeRequest(key=self._revocations, count_only=True)
        await self._call("KV/Range", request, etcd_pb2.RangeResponse)

    async def close(self) -> None:
        """Close the channels."""
        channels, self._channels = self._channels, []
        for channel in channels:
            await channel.close()

    async def _follow(self, call: Any, create: Any, after: int) -> AsyncIterator[Batch]:
        """Read the stream; the revision of a batch is its last event's own, never the header's."""
        await asyncio.wait_for(call.write(etcd_pb2.WatchRequest(create_request=create)), SILENCE)
        reading: asyncio.Future[Any] | None = None
        heard = time.monotonic()
        revision = after
        try:
            while True:
                if reading is None:
                    reading = asyncio.get_running_loop().create_task(call.read())
                done, _ = await asyncio.wait({reading}, timeout=PROGRESS)
                if not done:
                    if time.monotonic() - heard > SILENCE:
                        raise TimeoutError
                    await asyncio.wait_for(call.write(_PROGRESS_REQUEST), SILENCE)
                    continue
                answer, reading = reading.result(), None
                if answer is grpc.aio.EOF:
                    raise TimeoutError
                if answer.canceled or answer.compact_revision:
                    raise WatchLost(answer.cancel_reason or f"compacted at {answer.compact_revision}")
                heard = time.monotonic()
                changes = tuple(self._change(event) for event in answer.events)
                revision = max([revision, *(event.kv.mod_revision for event in answer.events)])
                yield Batch(revision, changes)
        finally:
            if reading is not None:
                reading.cancel()

    def _change(self, event: Any) -> Change:
        name = self._suffix(event.kv.key)
        if event.type == etcd_pb2.Event.DELETE:
            return Lifted(name)
        return Revoked(name, codec.decode_revocation(name, event.kv.value).expires_at)

    def _suffix(self, key: bytes) -> str:
        return key[len(self._revocations) :].decode("utf-8", "replace")

    async def _all(self, prefix: bytes) -> tuple[int, list[Any]]:
        """Return every record of a prefix, all pages at the revision of the first."""
        revision, found, start = 0, [], prefix
        while True:
            request = etcd_pb2.RangeRequest(key=start, range_end=keys.range_end(prefix), limit=PAGE, revision=revision)
            answer = await self._call("KV/Range", request, etcd_pb2.RangeResponse)
            revision = revision or answer.header.revision
            found += answer.kvs
            if not answer.more:
                return revision, found
            start = answer.kvs[-1].key + b"\0"

    async def _put_leased(self, key: bytes, value: bytes, expires_at: int) -> None:
        """Put under the window's lease; a lease that etcd no longer knows is granted anew, once."""
        window = expires_at // WINDOW + 1
        for attempt in (1, 2):
            lease = self._leases.get(window) or await self._grant(window)
            request = etcd_pb2.PutRequest(key=key, value=value, lease=lease)
            try:
                await self._call("KV/Put", request, etcd_pb2.PutResponse)
            except _LeaseGone:
                self._leases.pop(window, None)
                if attempt == 2:
                    raise StoreUnavailable("etcd forgets its leases") from None
            else:
                return

    async def _grant(self, window: int) -> int:
        now = int(time.time())
        request = etcd_pb2.LeaseGrantRequest(TTL=max(window * WINDOW - now, 1) + SLACK)
        answer = await self._call("Lease/LeaseGrant", request, etcd_pb2.LeaseGrantResponse)
        self._leases = {w: lease for w, lease in self._leases.items() if w * WINDOW > now}
        self._leases[window] = answer.ID
        return int(answer.ID)

    async def _call(self, method: str, request: Any, answer: Any) -> Any:
        """Call a method at one endpoint after another until one answers; puts of one value may be repeated."""
        if not self._channels:
            raise StoreUnavailable("the store is not open")
        deadline = time.monotonic() + self._settings.timeout
        last = "no endpoint"
        for attempt in range(2 * len(self._channels)):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            # One slow member must not eat the time of the others.
            share = left / max(len(self._channels) - attempt, 1) if attempt < len(self._channels) else left
            try:
                return await self._once(method, request, answer, share)
            except grpc.aio.AioRpcError as error:
                last = _why(error)
                if "requested lease not found" in (error.details() or ""):
                    raise _LeaseGone from error
                renewed = await self._maybe_renew(error)
                if error.code() not in _ELSEWHERE and not renewed:
                    raise StoreUnavailable(last) from error
                if not renewed:
                    self._next()
        raise StoreUnavailable(f"etcd does not answer: {last}")

    async def _once(self, method: str, request: Any, answer: Any, timeout: float) -> Any:
        if self._token is None and self._settings.username:
            await self._authenticate()
        call = self._channels[self._good].unary_unary(
            f"/etcdserverpb.{method}", request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        return await call(request, timeout=timeout, metadata=self._credentials())

    async def _authenticate(self) -> None:
        password = self._settings.password.reveal() if self._settings.password else ""
        request = etcd_pb2.AuthenticateRequest(name=self._settings.username, password=password)
        call = self._channels[self._good].unary_unary(
            "/etcdserverpb.Auth/Authenticate", request_serializer=etcd_pb2.AuthenticateRequest.SerializeToString,
            response_deserializer=etcd_pb2.AuthenticateResponse.FromString,
        )  # fmt: skip
        self._token = (await call(request, timeout=self._settings.timeout)).token

    async def _maybe_renew(self, error: grpc.aio.AioRpcError) -> bool:
        """Forget a token that etcd no longer accepts; say whether there was one."""
        stale = self._token is not None and "invalid auth token" in (error.details() or "")
        if stale:
            self._token = None
        return stale

    def _credentials(self) -> tuple[tuple[str, str], ...]:
        return (("token", self._token),) if self._token else ()

    def _next(self) -> None:
        if self._channels:
            self._good = (self._good + 1) % len(self._channels)


class _LeaseGone(StoreError):
    """etcd does not know the lease any more."""


_PROGRESS_REQUEST = etcd_pb2.WatchRequest(progress_request=etcd_pb2.WatchProgressRequest())


def _name(access_key_id: str) -> bytes:
    if not keys.is_name(access_key_id):
        raise StoreError("an access key may hold letters and digits only")
    return access_key_id.encode()


def _why(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {(error.details() or '')[:200]}"


def _channel(endpoint: str, settings: EtcdSettings) -> grpc.aio.Channel:
    parts = urlsplit(endpoint)
    authority = f"{parts.hostname}:{parts.port or 2379}"
    if parts.scheme != "https":
        return grpc.aio.insecure_channel(authority, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=settings.ca_file.read_bytes() if settings.ca_file else None,
        private_key=settings.client_cert_key.read_bytes() if settings.client_cert_key else None,
        certificate_chain=settings.client_cert.read_bytes() if settings.client_cert else None,
    )
    return grpc.aio.secure_channel(authority, credentials, options=_OPTIONS)
