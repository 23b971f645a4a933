"""The application's side of the data plane: makes a turn of every head, and knows what turns work with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network

from gateway.backends.backend import Backend
from gateway.backends.exchange import Exchange
from gateway.backends.stores import Stores
from gateway.errors import InvalidRequest, RequestHeaderSectionTooLarge, RequestTimeout, S3Error, SlowDown, render
from gateway.observe import AccessLine, AccessLog, Counters, RequestIds
from gateway.peer import lines
from gateway.s3.context import Tags
from gateway.s3.reserved import raw_path
from gateway.stories.case import World
from gateway.turns.denials import Denials
from gateway.turns.guest import Guest
from gateway.turns.habit import Told
from gateway.turns.habits import Habits
from gateway.turns.policy_service import PolicyService
from gateway.turns.retold import Retold
from gateway.turns.turn import S3Turn
from gateway.wire.heads import RequestHead
from gateway.wire.steps import Say

HEALTH = "/minio/health/"
#: MinIO's paths, the old and the new; what is told is one process's, whatever it is called.
METRICS = frozenset({"/minio/prometheus/metrics", "/minio/v2/metrics/cluster", "/minio/v2/metrics/node"})
_log = logging.getLogger("minio_gw.desk")


@dataclass
class Desk:
    """Everything a turn needs is handed to it here by `app`. `max_inflight` requests are answered at once.

    `service` is what the authorizer asks, where it asks one over the plane.
    """

    world: World
    backend: Backend | Stores
    log: AccessLog
    ids: RequestIds
    domains: tuple[str, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    max_inflight: int = 2048
    service: PolicyService | None = None
    inflight: int = 0
    counters: Counters = field(default_factory=Counters)
    denials: Denials = field(default_factory=Denials)
    clock: Callable[[], float] = time.time
    _common: tuple[int, bytes] = (0, b"")
    habits: Habits = field(init=False)

    def __post_init__(self) -> None:
        """Begin without habits."""
        self.habits = Habits(self.world, hosted=bool(self.domains))

    def meet(self, peer: str, *, secure: bool) -> Guest:
        """Return what is known of a new connection."""
        return Guest(peer, secure=secure, proxies=self.trusted_proxies)

    def again(self, guest: Guest, raw: bytes) -> S3Turn | None:
        """Return the turn of a head that says again what somebody has said before, None for any other."""
        if self.inflight >= self.max_inflight:
            return None
        again = self.habits.again(guest, raw, int(self.clock()))
        return Retold(self, guest, again) if again is not None else None

    def learn(self, guest: Guest, told: Told) -> None:
        """Learn from a story that was told; that nothing is learnt must not stop it."""
        try:
            self.habits.learn(guest, told)
        except Exception:  # noqa: BLE001 - a mistake of ours, and nobody's request
            _log.exception("a habit was not learnt")

    def turn(self, guest: Guest, head: RequestHead) -> S3Turn:
        """Return the turn of a request; who is asking is the peer, or whom a listed proxy speaks for."""
        forwarded = ("", "")
        if self.trusted_proxies:
            forwarded = lines(head.fields, "x-forwarded-for"), lines(head.fields, "x-forwarded-proto")
        address, secure = guest.source_ip(forwarded[0]), guest.is_secure(forwarded[1])
        return S3Turn(self, guest, head, head.target.partition("?")[0], address, secure=secure)

    async def tags_of(self, objects: Sequence[tuple[str, str, str]]) -> Sequence[Tags | None]:
        """Return the tags of stored objects, as `Exchange.tags_of`."""
        if isinstance(self.backend, Stores):
            return await self.backend.tags_of(objects)
        return await Exchange(self.backend, self.world.keys).tags_of(objects)

    def is_probe(self, target: str) -> bool:
        """Return whether a target is health's or the metrics': asked by machines that may not even send a Host."""
        path = raw_path(target)
        return path.startswith(HEALTH) or path in METRICS

    def common(self) -> bytes:
        """Return the fields of every answer; the date is written once a second."""
        now = int(self.clock())
        if self._common[0] != now:
            date = formatdate(now, usegmt=True)
            common = f"Date: {date}\r\nServer: minio-gw\r\nX-Content-Type-Options: nosniff\r\n"
            self._common = now, common.encode()
        return self._common[1]

    def malformed(self, reason: str, peer: str, *, too_large: bool) -> Say:
        """Return the answer to a head that is none, and log it."""
        if too_large:
            return self._refused(RequestHeaderSectionTooLarge(reason=reason), peer)
        return self._refused(InvalidRequest("This is no HTTP/1.1 request.", reason=reason), peer)

    def late(self, peer: str) -> Say:
        """Return the answer to a head that does not come, and log it."""
        return self._refused(RequestTimeout(reason="slow head"), peer)

    def crowded(self, peer: str) -> Say:
        """Return the answer to a connection for which there is no room, and log it."""
        return self._refused(SlowDown(reason="too many connections"), peer, "Retry-After: 1\r\n")

    def _refused(self, error: S3Error, peer: str, more: str = "") -> Say:
        line = AccessLine(self.ids.next(), "-", "-", peer, status=error.status, error=error.code, reason=error.reason)
        self.counters.count(line)
        self.log.write(line)
        document = render(error, resource="/", request_id=line.request_id)
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/xml\r\n{more}"
            f"x-amz-request-id: {line.request_id}\r\n"
        ).encode()
        return Say(head + self.common(), document, close=True)
