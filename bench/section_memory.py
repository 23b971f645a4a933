"""Memory of one worker: idle, per idle connection, with many transfers at once, and while 5 GiB go through.

PSS of the process tree. What the kernel holds for sockets and pipes is not in it; it is bounded by tcp_rmem, tcp_wmem
and fs.pipe-user-pages-soft, for every proxy alike.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench import contenders
from bench.contenders import NAME, Contender, Lab
from bench.cpu import tree_pss
from bench.goals import EACH, GROWTH, IDLE, MEMORY, PER_CONNECTION
from bench.http1 import answer
from bench.load_large import Big, Together, fire
from bench.plan import Plan
from bench.signing import Signer

CONNECTIONS = 4000
PER_TRANSFER = 8  # descriptors at most: two sockets and two pipes, and as much to spare
MOVING = 20.0  # seconds that many transfers go on for at most: 1,000 are 62 GiB
EVERY = 0.1  # seconds between two looks


class Peak:
    """The most memory that a tree had."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.mebibytes = 0.0

    def look(self) -> None:
        """Look once."""
        self.mebibytes = max(self.mebibytes, tree_pss(self._pid))


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """Look at a tree again and again during the block."""
    peak, ended = Peak(pid), threading.Event()

    def look() -> None:
        while not ended.wait(EVERY):
            peak.look()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
        peak.look()


def memory(lab: Lab, plan: Plan) -> None:
    """Measure everything about memory, each with a gateway that has just started."""
    with lab.section():
        idle(lab, contenders.gateway(lab, contenders.source(lab, plan.root)[0]))
    for count in plan.transfers:
        for way in ("GET", "PUT"):
            if count * PER_TRANSFER > contenders.files():
                lab.without(f"{count:,} {way} at once", f"RLIMIT_NOFILE is {contenders.files()}")
            else:
                together(lab, plan, way, count)
    for way in ("GET", "PUT"):
        growth(lab, plan, way)


def idle(lab: Lab, gateway: Contender) -> None:
    """Measure a worker that has served nothing, and what kept connections add once it has served."""
    pid = gateway.pids[NAME]
    lab.results.add(MEMORY, NAME, IDLE, tree_pss(pid))
    count = min(CONNECTIONS, contenders.files() // 4)
    shot = Signer(gateway.credentials, gateway.host).get(1024, 0)
    with ExitStack() as kept:
        connect = lambda: kept.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 30))  # noqa: E731
        for sock in [connect()] * 500:  # what the first requests make stays, whoever asks
            ask(sock, shot.data)
        before = tree_pss(pid)
        for _ in range(count):
            ask(connect(), shot.data)
        lab.results.add(MEMORY, NAME, PER_CONNECTION, (tree_pss(pid) - before) * 1024 / count)
    lab.results.add(MEMORY, NAME, "idle connections", count)


def ask(sock: socket.socket, request: bytes) -> None:
    """Send one request and take its answer. Raises RuntimeError when it is not 200."""
    sock.sendall(request)
    status, _, body = answer(sock)
    if status != 200:
        raise RuntimeError(f"{status}: {body[:300]!r}")


def together(lab: Lab, plan: Plan, way: str, count: int) -> None:
    """Measure the peak of many transfers, all stopped in the middle at first, then all going on."""
    with lab.section():
        gateway = served(lab, plan, way)
        pid = gateway.pids[NAME]
        lab.say(f"{MEMORY}: {count} {way} at once")
        before = tree_pss(pid)
        with watched(pid) as peak:
            transfers = Together(gateway.port, big(plan, gateway, way, plan.size), count)
            transfers.start()
            peak.look()
            transfers.finish(MOVING)
        lab.results.add(MEMORY, NAME, EACH.format(count=count, way=way), (peak.mebibytes - before) / count)


def growth(lab: Lab, plan: Plan, way: str) -> None:
    """Measure how far one large object makes a worker grow that has moved 64 MiB before."""
    with lab.section():
        gateway = served(lab, plan, way)
        pid = gateway.pids[NAME]
        lab.say(f"{MEMORY}: {plan.gibibytes} GiB {way}")
        fire(gateway.port, big(plan, gateway, way, plan.size), 1, 1)
        before = tree_pss(pid)
        with watched(pid) as peak:
            fire(gateway.port, big(plan, gateway, way, plan.gibibytes << 30), 1, 1)
        lab.results.add(MEMORY, NAME, GROWTH.format(gibibytes=plan.gibibytes, way=way), peak.mebibytes - before)


def served(lab: Lab, plan: Plan, way: str) -> Contender:
    """Start a gateway before the store that makes or drops any number of bytes; it has answered once."""
    gateway = contenders.gateway(lab, contenders.sink(lab, plan.content)[0])
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as sock:
        ask(sock, Signer(gateway.credentials, gateway.host).get(1024, way).data)
    return gateway


def big(plan: Plan, gateway: Contender, way: str, size: int) -> Big:
    """Return one transfer of `size` bytes."""
    signer = Signer(gateway.credentials, gateway.host)
    if way == "GET":
        return Big(signer.get(size, 0).data, size)
    return Big(signer.put_head(size, 0), file=plan.content, times=size // plan.size)
