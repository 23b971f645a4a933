"""Load at a steady rate, for latencies: requests leave when they are due, whether or not the ones before were answered.

A generator that waits for answers asks a slow server less and so forgives it ("coordinated omission"). Here arrivals
are drawn beforehand (Poisson, the same seed for every contender), and an answer's latency counts from the moment its
request was due: also the time it waited here for a free connection, or for this process. select(2) is what waits: its
timeouts are in µs, epoll's in ms.
"""

from __future__ import annotations

import gc
import random
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from bench.http1 import parse_head
from bench.load_small import WrongAnswer
from bench.signing import Shot

CONNECTIONS = 64
_PATIENCE = 10.0  # seconds without any answer


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return when requests are due, in seconds from the start."""
    draw = random.Random(seed)  # noqa: S311 - a load, not a secret
    return list(accumulate(draw.expovariate(rate) for _ in range(int(rate * seconds))))


@dataclass
class Seen:
    """Latencies, and how long after they were due requests left (both in seconds)."""

    latencies: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


def fire(port: int, shots: Sequence[Shot], due: Sequence[float]) -> Seen:
    """Send one request at each moment. Raises WrongAnswer."""
    sockets = [socket.create_connection(("127.0.0.1", port), _PATIENCE) for _ in range(CONNECTIONS)]
    for sock in sockets:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    gc.collect()
    gc.disable()
    try:
        return _Run(sockets, shots, due).run()
    finally:
        gc.enable()
        for sock in sockets:
            sock.close()


class _Run:
    """One load: free connections, what is on its way, and what was seen."""

    def __init__(self, sockets: list[socket.socket], shots: Sequence[Shot], due: Sequence[float]) -> None:
        self.free, self.busy = deque(sockets), {}
        self.shots, self.due = shots, due
        self.sent = 0
        self.seen = Seen()
        self.got: dict[socket.socket, bytes] = {}

    def run(self) -> Seen:
        begin = time.perf_counter()
        while len(self.seen.latencies) < len(self.due):
            now = time.perf_counter() - begin
            while self.free and self.sent < len(self.due) and self.due[self.sent] <= now:
                self.seen.late.append(now - self.due[self.sent])
                self._send()
            waiting = self.free and self.sent < len(self.due)
            patience = max(self.due[self.sent] - now, 0.0) if waiting else _PATIENCE
            ready, _, _ = select.select(list(self.busy), [], [], patience)
            if not ready and not waiting:
                raise WrongAnswer(f"{len(self.busy)} answers did not come within {_PATIENCE:g} s")
            for sock in ready:
                self._receive(sock, begin)
        return self.seen

    def _send(self) -> None:
        sock, shot = self.free.popleft(), self.shots[self.sent % len(self.shots)]
        if sock.send(shot.data) != len(shot.data):
            raise WrongAnswer("a small request did not fit into the socket's buffer")
        self.busy[sock], self.got[sock] = (self.due[self.sent], shot.length), b""
        self.sent += 1

    def _receive(self, sock: socket.socket, begin: float) -> None:
        got = sock.recv(65536)
        self.got[sock] += got
        parsed, (due, expected) = parse_head(self.got[sock]), self.busy[sock]
        if (parsed and (parsed[0] != 200 or parsed[1] != expected)) or not got:
            raise WrongAnswer(self.got[sock][:2000].decode(errors="replace"))
        if parsed and len(parsed[2]) == expected:
            self.seen.latencies.append(time.perf_counter() - begin - due)
            del self.busy[sock]
            self.free.append(sock)


def percentile(numbers: Sequence[float], share: float) -> float:
    """Return the smallest number that `share` of them do not exceed (nearest rank)."""
    ordered = sorted(numbers)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
