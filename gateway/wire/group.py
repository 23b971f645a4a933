"""The addresses of one origin: which of them are well, which is next, what each may have, and who waits for one.

Decides only; the pool opens and closes. An address that cannot be reached is passed over until a probe has reached it; the
time between two probes doubles. Among those that are well the one with the fewest requests is next, and among equals the
one that was not asked for longest. When none is well the one that failed longest ago is tried: a lone backend that comes
back is found by the next request.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.wire.answer_heads import AnswerReader
from gateway.wire.steps import Origin

if TYPE_CHECKING:
    from gateway.wire.upstream import Upstream

FIRST_BACKOFF = 1.0  # seconds an address is passed over when it failed for the first time
LONGEST_BACKOFF = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process may take of a backend; `connections` and `idle` are of each address, `waiting` of an origin.

    `wait` is how many seconds a request waits for a connection at most, `refresh` how old the addresses of a name may be.
    """

    connections: int = 1024
    idle: int = 256
    waiting: int = 1024
    wait: float = 10.0
    refresh: float = 30.0


class Address:
    """One address: its connections, and whether it can be reached."""

    __slots__ = (
        "answers",
        "due",
        "failed_at",
        "failures",
        "group",
        "host",
        "idle",
        "listed",
        "open",
        "opening",
        "probed",
        "turn",
    )

    def __init__(self, group: Group, host: str) -> None:
        self.group = group
        self.host = host
        self.answers = AnswerReader()  # whose heads are alike
        self.open: set[Upstream] = set()
        self.idle: deque[Upstream] = deque()  # the warmest last
        self.opening = 0
        self.listed = True  # the name still leads here
        self.probed = False  # a connection is being opened that no request waits for
        self.turn = 0  # when it was chosen last, in turns of its group
        self.failures = 0  # since it was reached last
        self.failed_at = 0.0
        self.due = 0.0  # when it may be probed

    @property
    def size(self) -> int:
        """Return how many connections there are, or are being opened."""
        return len(self.open) + self.opening

    @property
    def load(self) -> int:
        """Return how many connections have a request, or are opened for one."""
        return len(self.open) + self.opening - len(self.idle)

    def failed(self, now: float) -> bool:
        """Note that it could not be reached; return whether that is news. Of failures at the same time one counts."""
        self.failed_at = now
        if self.failures and now < self.due:
            return False
        self.failures += 1
        self.due = now + min(FIRST_BACKOFF * 2 ** min(self.failures - 1, 16), LONGEST_BACKOFF)
        return self.failures == 1

    def reached(self) -> bool:
        """Note that it was reached; return whether that is news."""
        was_down, self.failures = bool(self.failures), 0
        return was_down


class Group:
    """The addresses of one origin."""

    def __init__(self, origin: Origin, limits: Limits, now: float) -> None:
        self.origin = origin
        self.fixed = _is_literal(origin.host)  # there is no name to look up
        self.addresses: list[Address] = []  # as its name says now
        self.known: dict[str, Address] = {}  # and those it no longer says that still have connections
        self.only: Address | None = None  # the address, where there is one only
        self.used = now
        self.resolved_at = now
        self.lookup: asyncio.Task[None] | None = None
        self.unresolved: Exception | None = None
        self._limits = limits
        self._turn = 0
        self._waiting: deque[tuple[float, asyncio.Future[Upstream | Address | None]]] = deque()

    def renew(self, hosts: Iterable[str]) -> list[Upstream]:
        """Take what the name says now; return the idle connections to the addresses that it no longer says."""
        said = dict.fromkeys(hosts)
        for host in said:
            self.known.setdefault(host, Address(self, host))
        for host, address in self.known.items():
            address.listed = host in said
        self.addresses = [self.known[host] for host in said]
        self.only = self.addresses[0] if len(self.addresses) == 1 else None
        left = [upstream for address in self.known.values() if not address.listed for upstream in address.idle]
        self.known = {host: address for host, address in self.known.items() if address.listed or address.size}
        return left

    def take(self) -> Upstream | None:
        """Return an idle connection of the address with the fewest requests, the warmest; None when there is none."""
        address = self.only or self._with_idle()
        while address is not None:
            idle = address.idle
            while idle:
                found = idle.pop()
                if not found.transport.is_closing():
                    found.fresh = False
                    self._turn += 1
                    address.turn = self._turn
                    return found
            address = self._with_idle()
        return None

    def _with_idle(self) -> Address | None:
        idle = [address for address in self.addresses if address.idle]
        return min(idle, key=_order) if idle else None

    def next(self, tried: Collection[Address] = ()) -> Address | None:
        """Return the address to open a connection to, of those that a request has not tried; None when all are full."""
        left = [address for address in self.addresses if address not in tried]
        well = [address for address in left if not address.failures]
        room = [address for address in well or left if address.size < self._limits.connections]
        if not room:
            return None
        chosen = min(room, key=_order if well else _failed_at)
        self._turn += 1
        chosen.turn = self._turn
        return chosen

    def to_probe(self, now: float) -> list[Address]:
        """Return the addresses that want a connection before a request does: to be found well again, or to get a share.

        A lone address wants none: its connections are those that its requests have made, and the next request probes it.
        """
        if self.only is not None:
            return []
        return [
            address for address in self.addresses
            if not address.probed and address.size < self._limits.connections
            and (now >= address.due if address.failures else not address.idle)
        ]  # fmt: skip

    # ---- who waits

    @property
    def waiting(self) -> int:
        """Return how many wait for a connection."""
        return len(self._waiting)

    def wait(self, future: asyncio.Future[Upstream | Address | None], now: float) -> bool:
        """Let a request wait behind the others; return False when there are too many."""
        if len(self._waiting) >= self._limits.waiting:
            return False
        self._waiting.append((now, future))
        return True

    def first(self) -> asyncio.Future[Upstream | Address | None] | None:
        """Return who has waited longest, and is served now; None when nobody waits."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                return future
        return None

    def give_up(self, now: float) -> None:
        """Send away who has waited too long, and forget who went."""
        while self._waiting and (self._waiting[0][1].done() or now - self._waiting[0][0] > self._limits.wait):
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)

    def forget(self, future: asyncio.Future[Upstream | Address | None]) -> None:
        """Forget one who went before his turn."""
        self._waiting = deque(entry for entry in self._waiting if entry[1] is not future)


def _order(address: Address) -> tuple[int, int]:
    return address.load, address.turn


def _failed_at(address: Address) -> tuple[float, int]:
    return address.failed_at, address.turn


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
