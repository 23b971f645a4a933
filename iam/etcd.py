"""The store in etcd, for many gateways. The only module that knows gRPC (docs/decisions/0002-etcd-client.md).

`_Cluster` answers calls: every call has a deadline, each endpoint is tried in turn, the last good one first. All that
goes through it may be repeated without harm (reads, puts of the same value, grants of leases, logins), because a call
that failed may still have happened; a transaction would not be such a call and must not be sent this way.
`_Leases` grants one lease per expiry window, so that a million sessions need a few hundred leases.
`EtcdStore.watch` opens a connection of its own, asks for a leader, and asks for progress every second, so that silence
is noticed. A batch's revision is its last event's own, never the header's: the header says where the store is, not
what has been delivered.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from iam import codec, etcd_pb2, keys
from iam.store import (
    SLACK,
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

WINDOW = 300  # seconds of expiry that share a lease; twelve times that for sessions longer than a day
PROGRESS = 1.0  # seconds between two progress requests of a quiet watch
SILENCE = 3.0  # seconds without any answer after which a watch counts as dead
PAGE = 2000  # records per range request
PAUSES = (0.1, 0.2, 0.4, 0.8)  # seconds between two rounds through the endpoints: an election takes about one
IN_FLIGHT = 128  # calls to etcd at once; a burst waits here, where waiting costs nothing (0002: collapse without it)
_DAY = 86_400
_log = logging.getLogger("minio_gw.store")

_OPTIONS = (
    # etcd hangs up on clients that ping more often than every 5 s, or without a call (grpc-keepalive-min-time).
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.enable_retries", 0),  # whether to repeat is decided here
    ("grpc.enable_http_proxy", 0),  # a web proxy from the environment has no business between us and etcd
    ("grpc.use_local_subchannel_pool", 1),  # a channel is a connection of its own
)
_ELSEWHERE = frozenset({
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL,
    grpc.StatusCode.ABORTED, grpc.StatusCode.DATA_LOSS,
})  # fmt: skip
# What etcd says of a token that expired, of one it forgot when it restarted, and of none.
_STALE_TOKEN = (
    "invalid auth token",
    "revision of auth store is old",
    "revision in header is old",
    "user name is empty",
)
_UNKNOWN_LEASE = "requested lease not found"
_PROGRESS_REQUEST = etcd_pb2.WatchRequest(progress_request=etcd_pb2.WatchProgressRequest())


class EtcdStore:
    """An IamStore over etcd's v3 API. `window` and `slack` in seconds: see `_Leases`."""

    def __init__(self, settings: EtcdSettings, *, window: int = WINDOW, slack: int = SLACK) -> None:
        self._cluster = _Cluster(settings)
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
        except _LeaseUnknown:
            self._leases.forget(lease)
            lease = await self._leases.lease(expires_at)
            await self._cluster.call("KV/Put", _put_request(key, value, lease), etcd_pb2.PutResponse)


class _LeaseUnknown(StoreUnavailable):
    """etcd does not know the lease (any more)."""


class _Leases:
    """One lease per expiry window: it ends `slack` seconds after the window, which ends after every expiry in it."""

    def __init__(self, cluster: _Cluster, window: int, slack: int) -> None:
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


class _Cluster:
    """The endpoints and who we are to them."""

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._channels: list[grpc.aio.Channel] = []
        self._retired: list[tuple[float, grpc.aio.Channel]] = []
        self._stamp: tuple[int, ...] = ()
        self._good = 0
        self._token: str | None = None
        self._logging_in = asyncio.Lock()
        self._room = asyncio.Semaphore(IN_FLIGHT)

    def open(self) -> None:
        """Make a channel per endpoint. Raises StoreUnavailable when a certificate cannot be read."""
        if not self._channels:
            self._stamp = _stamp(self._settings)
            self._channels = [_channel(endpoint, self._settings) for endpoint in self._settings.endpoints]

    async def close(self) -> None:
        """Close all channels."""
        channels, self._channels = [*self._channels, *(channel for _, channel in self._retired)], []
        self._retired = []
        for channel in channels:
            await channel.close()

    async def call(self, method: str, request: Any, answer: Any) -> Any:
        """Call a method when there is room. Raises StoreUnavailable, after 1.5 times the settings' timeout at most.

        A call that has room gets the whole timeout; one that found none in half of it is turned away unsent. Were the
        waiting time taken from the call's own, a burst would time out at every member in turn and help nobody.
        """
        try:
            async with asyncio.timeout(self._settings.timeout / 2):
                await self._room.acquire()
        except TimeoutError:
            raise StoreUnavailable("too many calls wait for etcd") from None
        try:
            await self._bury()
            return await self._ask(method, request, answer)
        finally:
            self._room.release()

    async def _ask(self, method: str, request: Any, answer: Any) -> Any:
        """Ask one endpoint after another, in a few rounds, until one answers or refuses for good."""
        reason = "the store is not open"
        for index, seconds in self._turns(time.monotonic() + self._settings.timeout):
            if index is None:
                await asyncio.sleep(seconds)
                continue
            channel = self._channels[index]
            try:
                result = await self._attempt(channel, method, request, answer, seconds)
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                reason = self._judge(error, index, channel)
            except grpc.aio.UsageError as error:  # closed under our feet
                raise StoreUnavailable("the store is closed") from error
            else:
                self._good = index
                return result
        raise StoreUnavailable(f"etcd does not answer: {reason}")

    def _turns(self, deadline: float) -> Iterator[tuple[int | None, float]]:
        """Yield (endpoint, seconds it may take), and (None, seconds to pause) between the rounds.

        An endpoint gets half of what is left, the last one all of it: a slow member must not eat the whole deadline.
        """
        count = len(self._channels)
        for pause in (0.0, *PAUSES):
            left = deadline - time.monotonic()
            if not count or left <= pause:
                return
            if pause:
                yield None, pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads gateways apart
            first = self._good
            for turn in range(count):
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                yield (first + turn) % count, left / 2 if turn < count - 1 else left

    def _judge(self, error: Exception, index: int, channel: grpc.aio.Channel) -> str:
        """Return why this endpoint failed, ready for the next; raise when no other endpoint would do better."""
        code, details = _status(error)
        if _UNKNOWN_LEASE in details:
            raise _LeaseUnknown(_why(error)) from error
        if code not in _ELSEWHERE:
            raise StoreUnavailable(_why(error)) from error
        self._pass(index)
        # A silent connection may be dead without anybody having closed it; the first call that notices replaces it.
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and self._channels and self._channels[index] is channel:
            self._replace(index)
        return f"{self._settings.endpoints[index]}: {_why(error)}"

    def _pass(self, index: int) -> None:
        """Begin with another endpoint next time; certificates that were replaced meanwhile need new channels."""
        if self._channels and self._good == index:
            self._good = (index + 1) % len(self._channels)
        stamp = _stamp(self._settings)
        if stamp != self._stamp:
            self._stamp = stamp
            for each in range(len(self._channels)):
                self._replace(each)

    def _replace(self, index: int) -> None:
        fresh = _channel(self._settings.endpoints[index], self._settings)
        self._retired.append((time.monotonic(), self._channels[index]))
        self._channels[index] = fresh

    async def _bury(self) -> None:
        """Close replaced channels once none of their calls can be under way any more."""
        long_ago = time.monotonic() - self._settings.timeout - 1
        while self._retired and self._retired[0][0] < long_ago:
            await self._retired.pop(0)[1].close()

    async def _attempt(self, channel: grpc.aio.Channel, method: str, request: Any, answer: Any, seconds: float) -> Any:
        """Ask one endpoint; with a fresh token once more when etcd does not take the old one."""
        async with asyncio.timeout(seconds):
            token = await self._login(channel)
            try:
                return await _unary(channel, method, request, answer, _metadata(token), seconds)
            except grpc.aio.AioRpcError as error:
                if not self._refused(_status(error)[1], token):
                    raise
            return await _unary(channel, method, request, answer, _metadata(await self._login(channel)), seconds)

    async def _login(self, channel: grpc.aio.Channel) -> str:
        """Return the token, "" when there is no user or etcd wants none; many callers at once cause one login."""
        if not self._settings.username:
            return ""
        async with self._logging_in:
            if self._token is None:
                self._token = await self._authenticate(channel)
            return self._token

    async def _authenticate(self, channel: grpc.aio.Channel) -> str:
        password = self._settings.password.reveal() if self._settings.password else ""
        request = etcd_pb2.AuthenticateRequest(name=self._settings.username, password=password)
        try:
            answer = await _unary(
                channel, "Auth/Authenticate", request, etcd_pb2.AuthenticateResponse, (), self._settings.timeout
            )
        except grpc.aio.AioRpcError as error:
            if "authentication is not enabled" in _status(error)[1]:
                return ""  # it may be later: then etcd says that the user name is empty
            raise
        return str(answer.token)

    def _refused(self, details: str, token: str) -> bool:
        """Forget a token that etcd does not take, unless somebody has renewed it already; say whether to try again."""
        if not self._settings.username or not any(text in details for text in _STALE_TOKEN):
            return False
        if self._token == token:
            self._token = None
        return True

    def forget_token(self) -> None:
        """Log in again at the next call."""
        self._token = None

    @asynccontextmanager
    async def stream(self, method: str, request: Any, answer: Any) -> AsyncIterator[Any]:
        """Open a stream to the endpoint in use, on a connection of its own; gRPC's errors become StoreUnavailable.

        `hasleader` makes a member without a leader (a partition) end the stream instead of keeping silent.
        """
        if not self._channels:
            raise StoreUnavailable("the store is not open")
        index = self._good
        channel = _channel(self._settings.endpoints[index], self._settings)
        try:
            async with asyncio.timeout(SILENCE):
                metadata = (("hasleader", "true"), *_metadata(await self._login(channel)))
            call = channel.stream_stream(
                f"/etcdserverpb.{method}",
                request_serializer=request.SerializeToString,
                response_deserializer=answer.FromString,
            )(metadata=metadata)
            try:
                yield call
            finally:
                call.cancel()
        except WatchLost:
            self._pass(index)
            raise
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, TimeoutError) as error:
            self._pass(index)
            raise StoreUnavailable(f"{self._settings.endpoints[index]}: {_why(error)}") from error
        finally:
            await channel.close()


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


async def _unary(channel: Any, method: str, request: Any, answer: Any, metadata: Any, seconds: float) -> Any:
    call = channel.unary_unary(
        f"/etcdserverpb.{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    return await call(request, timeout=seconds, metadata=metadata)


def _metadata(token: str) -> tuple[tuple[str, str], ...]:
    return (("token", token),) if token else ()


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


def _status(error: Exception) -> tuple[grpc.StatusCode | None, str]:
    if isinstance(error, TimeoutError):
        return grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time"
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code(), error.details() or ""
    return None, str(error)


def _why(error: Exception) -> str:
    """Return a reason for the log; etcd's and gRPC's texts name addresses and states, never credentials."""
    code, details = _status(error)
    return f"{code.name}: {details[:200]}" if code else details


def _files(settings: EtcdSettings) -> tuple[Any, Any, Any]:
    return settings.ca_file, settings.client_cert_key, settings.client_cert


def _stamp(settings: EtcdSettings) -> tuple[int, ...]:
    """Return what changes when a certificate file is replaced."""
    try:
        return tuple(path.stat().st_mtime_ns if path else 0 for path in _files(settings))
    except OSError:
        return (-1,)  # in the middle of being replaced


def _channel(endpoint: str, settings: EtcdSettings) -> grpc.aio.Channel:
    """Return a channel that connects when first used. Raises StoreUnavailable when a certificate cannot be read."""
    parts = urlsplit(endpoint)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    target = f"{host}:{parts.port or 2379}"
    if parts.scheme != "https":
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    try:
        ca, key, chain = (path.read_bytes() if path else None for path in _files(settings))
    except OSError as error:
        raise StoreUnavailable(f"a certificate of the etcd client cannot be read: {error}") from error
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca, key, chain), options=_OPTIONS)
