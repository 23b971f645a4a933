"""Calls to etcd: the endpoints, who we are to them, and what an error means. Only here are channels of gRPC.

Every call has a deadline, each endpoint is tried in turn, the last good one first. All that goes through here may be repeated
without harm (reads, puts of the same value, grants of leases, logins), because a call that failed may still have happened; a
transaction is such a call only because `EtcdStore.swap` looks whether its own first sending was the one that came before.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from iam import etcd_pb2
from iam.keys import range_end
from iam.store import EtcdSettings, StoreRefused, StoreUnavailable, WatchLost

SILENCE = 3.0  # seconds without any answer after which a watch counts as dead
PAUSES = (0.1, 0.2, 0.4, 0.8)  # seconds between two rounds through the endpoints: an election takes about one
PAGE = 1000  # pairs of one range request: they are read before others have their turn
IN_FLIGHT = 128  # calls to etcd at once; a burst waits here, where waiting costs nothing (0002: collapse without it)

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
# What etcd says of a request that it never takes; of whose we are it says INVALID_ARGUMENT, too.
_NEVER = (
    "too many operations in txn request", "duplicate key given in txn request", "request is too large",
    "received message larger than max",
)  # fmt: skip


# What gRPC says, in these capitals, of an answer that is too large for us; etcd writes "received" of a request.
_TOO_MUCH = "Received message larger than max"


class AnswerTooLarge(StoreUnavailable):
    """What was asked for is more than fits into one answer."""


class LeaseUnknown(StoreUnavailable):
    """etcd does not know the lease (any more)."""


class Cluster:
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

    async def call(self, method: str, request: Any, answer: Any, failed: list[str] | None = None) -> Any:
        """Call a method when there is room. Raises StoreUnavailable, after 1.5 times the settings' timeout at most; StoreRefused.

        `failed` is told of each attempt that brought no answer and may have happened all the same.

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
            return await self._ask(method, request, answer, [] if failed is None else failed)
        finally:
            self._room.release()

    async def rows(self, prefix: bytes) -> tuple[Any, list[Any]]:
        """Return the first page's header and every pair of a prefix, all pages at that header's revision."""
        pages = [page async for page in self.pages(prefix, PAGE)]
        return pages[0][0], [pair for _, pairs in pages for pair in pairs]

    async def pages(self, prefix: bytes, size: int) -> AsyncIterator[tuple[Any, Sequence[Any]]]:
        """Yield the first page's header with the pairs of each page of a prefix, all of them at that header's revision.

        Pages are smaller than `size` where its pairs do not fit into one answer.
        """
        header, start = None, prefix
        while True:
            revision = header.revision if header else 0
            request = etcd_pb2.RangeRequest(key=start, range_end=range_end(prefix), limit=size, revision=revision)
            try:
                answer = await self.call("KV/Range", request, etcd_pb2.RangeResponse)
            except AnswerTooLarge:
                if size == 1:
                    raise
                size = max(size // 8, 1)
                continue
            header = header or answer.header
            yield header, answer.kvs
            if not answer.more:
                return
            start = answer.kvs[-1].key + b"\0"

    async def _ask(self, method: str, request: Any, answer: Any, failed: list[str]) -> Any:
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
                failed.append(reason)
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
            raise LeaseUnknown(_why(error)) from error
        if _TOO_MUCH in details:
            raise AnswerTooLarge(_why(error)) from error
        if any(text in details for text in _NEVER):
            raise StoreRefused(_why(error)) from error
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
            if _TOO_MUCH in _status(error)[1]:  # and would come again: it is listed page by page
                raise WatchLost(_why(error)) from error
            raise StoreUnavailable(f"{self._settings.endpoints[index]}: {_why(error)}") from error
        finally:
            await channel.close()


async def _unary(channel: Any, method: str, request: Any, answer: Any, metadata: Any, seconds: float) -> Any:
    call = channel.unary_unary(
        f"/etcdserverpb.{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    return await call(request, timeout=seconds, metadata=metadata)


def _metadata(token: str) -> tuple[tuple[str, str], ...]:
    return (("token", token),) if token else ()


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
