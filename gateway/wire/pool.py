"""The connections of one process to its backends: kept, bounded, spread over the addresses of a name, fair to who waits.

    take ──▶ an idle connection, at once        group.py: which address is next, and who waits
    connect ▶ a new one, or a turn to wait      upstream.py: one connection
    give ───▶ who waits longest, or idle again  resumption.py: TLS
    sweep, once a second: what is idle too long, silent, or not what the name says any more; probes; names to look up again

What a request asks of the pool when an idle connection is there, `take` and `give`, is a few operations on dictionaries and
deques: no timer, no task, no future. Everything that takes time has its task here, and its bound.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, cast

from gateway.wire.group import Address, Group, Limits
from gateway.wire.outlet import Outbox
from gateway.wire.shortage import Busy, Unresolved
from gateway.wire.steps import Origin
from gateway.wire.stream import connect
from gateway.wire.upstream import Upstream

CONNECT = 5.0  # seconds for a connection, TLS included, whatever number of addresses is tried for it
ATTEMPT = 1.5  # seconds for one of several addresses
RESOLVE = 5.0  # seconds for a name
IDLE = 50.0  # seconds a connection may wait for its next request; most servers close after 60 or more
UNUSED = 120.0  # seconds after which an origin without connections is forgotten
#: Seconds after which the kernel asks whether an idle connection's other end is still there, between two questions; their number.
KEEPALIVE = 15, 5, 3
#: What this machine lacks is no address's failure: descriptors, memory, ports.
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_log = logging.getLogger("minio_gw.wire")


async def addresses_of(host: str, port: int) -> Sequence[str]:
    """Return all addresses of a host, of both families. Raises OSError, UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class Pool:
    """The connections of one process; `now` are seconds of the plane's clock. `resolve` looks names up."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: Limits | None = None, resolve: Resolve = addresses_of
    ) -> None:
        self.now = loop.time()
        self.outbox = Outbox(loop)
        self._loop = loop
        self._limits = limits or Limits()
        self._resolve = resolve
        self._groups: dict[Origin, Group] = {}
        self._last: Group | None = None  # the group that was taken from last
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- the way of every request

    def take(self, origin: Origin) -> Upstream | None:
        """Return a kept connection, the warmest first, None when there is none."""
        group = self._last
        if group is None or group.origin is not origin:  # mostly it is: an origin's hash costs more than all the rest
            group = self._groups.get(origin)
            if group is None:
                return None
            self._last = group
        group.used = self.now
        return group.take()

    def give(self, upstream: Upstream) -> None:
        """Take a connection back."""
        transport = upstream.transport
        if transport.is_closing():
            return
        if (
            transport.get_write_buffer_size()
        ):  # answered before it had taken all; whoever comes next is not told that it is full
            transport.abort()
            return
        transport.resume_reading()
        upstream.seen = self.now
        address = upstream.address
        if not address.listed or len(address.idle) >= self._limits.idle:
            transport.abort()
        elif address.group.waiting and (future := address.group.first()) is not None:
            upstream.fresh = False
            future.set_result(upstream)
        else:
            address.idle.append(upstream)

    # ---- the way of those that find none

    async def connect(self, origin: Origin) -> Upstream:
        """Return a new connection, or a kept one that became free first. Raises OSError, TimeoutError, ssl.SSLError."""
        group = await self._group(origin)
        tried: list[Address] = []
        seconds = CONNECT
        while True:
            found = await self._turn(group, tried)
            if isinstance(found, Upstream):
                return found
            tried.append(found)
            others, began = len(group.addresses) > len(tried), self._loop.time()
            try:
                return await self._open(found, ATTEMPT if others else seconds)
            except (OSError, TimeoutError):
                seconds -= self._loop.time() - began
                if not others or seconds < ATTEMPT:
                    raise

    async def _turn(self, group: Group, tried: Sequence[Address]) -> Upstream | Address:
        """Return an address with room for one more, reserved, or a connection that became free. Raises Busy."""
        address = group.next(tried)  # there is none while others wait: what becomes free is theirs at once
        if address is not None:
            address.opening += 1
            return address
        kept = group.take()
        if kept is not None:
            return kept
        future: asyncio.Future[Upstream | Address | None] = self._loop.create_future()
        if not group.wait(future, self.now):
            raise Busy("too many wait for a connection")
        try:
            found = await future
        except asyncio.CancelledError:
            self._return(group, future)
            raise
        if found is None:
            raise Busy("no connection became free")
        return found

    def _return(self, group: Group, future: asyncio.Future[Upstream | Address | None]) -> None:
        """Pass on what a request was given that is no more."""
        if not future.done() or future.cancelled():
            group.forget(future)
            return
        found = future.result()
        if isinstance(found, Upstream):
            self.give(found)
        elif found is not None:
            found.opening -= 1
        self._serve(group)

    def _serve(self, group: Group) -> None:
        """Let those who wait open connections, as far as there is room."""
        while group.waiting and (address := group.next()) is not None:
            future = group.first()
            if future is None:
                return
            address.opening += 1
            future.set_result(address)

    async def _open(self, address: Address, seconds: float) -> Upstream:
        """Open a connection for which there is a reservation, and learn from it whether the address is well."""
        origin, made = address.group.origin, Upstream(self, address)
        try:
            async with asyncio.timeout(seconds):
                if origin.tls is None:
                    await connect(self._loop, address.host, origin.port, made)
                else:
                    await self._loop.create_connection(
                        lambda: cast("asyncio.Protocol", made), address.host, origin.port, ssl=origin.tls,
                        server_hostname=origin.host,
                    )  # fmt: skip
        except BaseException as error:
            if isinstance(error, (OSError, TimeoutError)) and getattr(error, "errno", None) not in OURS:
                self._failed(address, error)
            self._settle(made)
            self.gone(made, None)  # uvloop ends a connection whose making is cancelled without a word to its protocol
            raise
        if address.reached():
            _log.warning("%s at %s is reached again", origin.host, address.host)
            self._serve(address.group)
        return made

    def _failed(self, address: Address, error: Exception) -> None:
        if address.failed(self.now):
            _log.warning("%s at %s is not reached: %s", address.group.origin.host, address.host, type(error).__name__)
        if not isinstance(error, ConnectionRefusedError):  # refused: the host is there, and may be draining
            self.doubt(address)

    # ---- what connections tell

    def _settle(self, upstream: Upstream) -> None:
        """Give up the reservation of a connection that is open, or failed to."""
        if not upstream.settled:
            upstream.settled = True
            upstream.address.opening -= 1

    def opened(self, upstream: Upstream) -> None:
        """Count a connection, until it is gone."""
        self._settle(upstream)
        upstream.address.open.add(upstream)
        raw = upstream.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            for option, value in zip(
                (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT), KEEPALIVE, strict=True
            ):
                raw.setsockopt(socket.IPPROTO_TCP, option, value)

    def soon(self, call: Callable[..., None], *what: object) -> None:
        """Call back once the caller is done."""
        self._loop.call_soon(call, *what)

    def later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back after a while."""
        return self._loop.call_later(seconds, call)

    def doubt(self, address: Address) -> None:
        """Close an address's idle connections: one like them turned out to be dead."""
        for upstream in address.idle:
            upstream.transport.abort()
        address.idle.clear()

    def gone(self, upstream: Upstream, error: Exception | None) -> None:
        """Forget a connection; who waits may open another."""
        address = upstream.address
        address.open.discard(upstream)
        if upstream in address.idle:
            address.idle.remove(upstream)
        if isinstance(error, TimeoutError):  # the kernel's: nobody answered it for long
            self._failed(address, error)
        self._serve(address.group)

    # ---- names

    async def _group(self, origin: Origin) -> Group:
        """Return an origin's addresses, which a first request waits for. Raises Unresolved."""
        group = self._groups.get(origin)
        if group is None:
            group = self._groups[origin] = Group(origin, self._limits, self.now)
            if group.fixed:
                group.renew([origin.host])
        group.used = self.now
        if not group.addresses:
            await asyncio.wait({self._look_up(group)})
            if not group.addresses:
                raise Unresolved(origin.host) from group.unresolved
        elif self._is_old(group):
            self._look_up(group)
        return group

    def _is_old(self, group: Group) -> bool:
        return self.now - group.resolved_at > self._limits.refresh and not group.fixed

    def _look_up(self, group: Group) -> asyncio.Task[None]:
        """Return the one task that looks a name up."""
        if group.lookup is None:
            group.lookup = self.spawn(self._looked_up(group))
        return group.lookup

    async def _looked_up(self, group: Group) -> None:
        """Look a name up; one that cannot be looked up again keeps its addresses."""
        origin = group.origin
        try:
            async with asyncio.timeout(RESOLVE):
                hosts = await self._resolve(origin.host, origin.port)
        except (OSError, TimeoutError, UnicodeError) as error:
            group.unresolved = error
            _log.warning("the name %s has no answer: %s", origin.host, type(error).__name__)
        else:
            if hosts:
                _abort(group.renew(hosts))
                self._serve(group)
        finally:
            group.lookup, group.resolved_at = None, self.now

    # ---- the clock

    def sweep(self, now: float, silence: float) -> None:
        """Close what waited too long, for a request or for an answer; keep names and addresses known."""
        self.now = now
        for origin, group in list(self._groups.items()):
            for address in group.known.values():
                self._sweep(address, silence)
            group.give_up(now)
            if now - group.used < IDLE:
                self._tend(group)
            elif now - group.used > UNUSED and not any(address.size for address in group.known.values()):
                del self._groups[origin]
                self._last = None

    def _sweep(self, address: Address, silence: float) -> None:
        while address.idle and self.now - address.idle[0].seen > IDLE:
            address.idle.popleft().transport.abort()
        for upstream in list(address.idle):
            if upstream.died:
                upstream.transport.abort()
        for upstream in [u for u in address.open if self.now - u.seen > silence and u.owes]:
            upstream.fresh = True  # it may be at work: what it was asked is not asked again
            upstream.broke("silent")

    def _tend(self, group: Group) -> None:
        """Look the name up again when it is time, and open what addresses need before requests do."""
        if group.addresses and self._is_old(group):
            self._look_up(group)
        for address in group.to_probe(self.now):
            address.probed = True
            address.opening += 1
            self.spawn(self._probe(address))

    async def _probe(self, address: Address) -> None:
        try:
            self.give(await self._open(address, ATTEMPT))
        except (OSError, TimeoutError):
            pass  # _open has noted it
        finally:
            address.probed = False

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Own a task until it ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the pool failed", exc_info=error)

    # ---- all of it

    def gauges(self) -> dict[str, float]:
        """Return what operators may see."""
        groups = self._groups.values()
        addresses = [address for group in groups for address in group.known.values()]
        idle = sum(len(address.idle) for address in addresses)
        return {
            "backend_connections_in_use": sum(address.size for address in addresses) - idle,
            "backend_connections_idle": idle,
            "backend_requests_waiting": sum(group.waiting for group in groups),
            "backend_addresses_down": sum(bool(address.failures) for group in groups for address in group.addresses),
        }

    def close(self) -> list[asyncio.Task[None]]:
        """Close everything; return the tasks that end with it."""
        ending = list(self._tasks)
        for task in ending:
            task.cancel()
        for group in self._groups.values():
            for address in group.known.values():
                _abort(list(address.open))
        return ending


def _abort(upstreams: Iterable[Upstream]) -> None:
    for upstream in upstreams:
        upstream.transport.abort()
