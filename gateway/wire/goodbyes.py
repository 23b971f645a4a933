"""How connections under TLS end: our close_notify is sent, theirs is not waited for, and what they have not got is.

A side of TLS sends its close_notify and need not wait for the other's (RFC 8446 section 6.1). The event loops wait for it half a
minute, then drop what the client has not taken. That is too long for the many that keep a connection in a pool and look at it when
they next need one: a descriptor each. And it is too short for who reads the last answer slowly. So the loops are told to be
patient (`PATIENCE`), and every closing connection is looked at by the plane's clock, those of the control surface too: who has
acknowledged all of it is let go, who takes none of it for too long also, and who still reads is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gateway.wire.outlet import socket_of

PATIENCE = 3600.0  # seconds a loop waits: nobody is cut by it
_INFO = struct.Struct("=24xI92xQ16xI")  # of struct tcp_info, <linux/tcp.h>: unacked, bytes_acked, notsent_bytes


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of a closing connection: whether nothing was on its way, the bytes it had acknowledged, since when so many."""

    arrived: bool
    taken: int
    since: float


class Goodbyes:
    """The connections of one process that close. One that takes nothing for `silence` seconds is cut."""

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._guests: dict[asyncio.Transport, Any] = {}  # with their sockets: one that was closed twice tells nothing
        self._looks: dict[asyncio.Transport, _Look] = {}

    def follow(self, guest: asyncio.Transport) -> None:
        """Look after a connection that was handed over, for as long as it is open."""
        with contextlib.suppress(OSError):
            self._guests[guest] = socket_of(guest)

    def look(self, ours: Iterable[asyncio.Transport], now: float) -> None:
        """Look at those that are closing, and end whom there is no reason to wait for.

        Between two looks the loop must have had its turn: it has then written what it had.
        """
        self._guests = {guest: its for guest, its in self._guests.items() if its.fileno() >= 0}
        before, self._looks = self._looks, {}
        for raw in chain(ours, self._guests):
            if raw.is_closing():
                self._look(raw, before.get(raw), now)

    def _look(self, raw: asyncio.Transport, last: _Look | None, now: float) -> None:
        """Look at one: it ends when all has arrived, seen twice, or its client takes nothing."""
        try:
            descriptor = (self._guests.get(raw) or socket_of(raw)).fileno()
        except OSError:  # gone: its client is told in this round or the next
            return
        if descriptor < 0:
            return
        borrowed = socket.socket(fileno=descriptor)
        try:
            seen = _look(borrowed, last, now)
            self._looks[raw] = seen
            if (last is not None and last.arrived and seen.arrived) or now - seen.since > self._silence:
                borrowed.shutdown(socket.SHUT_RDWR)  # asyncio's aborts nothing that was closed twice
                raw.abort()
        except OSError:  # the other side was faster
            raw.abort()
        finally:
            borrowed.detach()


def _look(its: socket.socket, last: _Look | None, now: float) -> _Look:
    """Return what is to be seen of a connection. Raises OSError."""
    on_its_way, taken, unsent = _INFO.unpack(its.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
    since = last.since if last is not None and last.taken == taken else now
    return _Look(not (on_its_way or unsent), taken, since)
