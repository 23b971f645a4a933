"""CPU time and memory of process trees, and what else the machine did meanwhile: all from /proc.

CPU time is what we compare: on a shared machine it is far steadier than seconds, and it is what an operator pays for.
It is utime + stime, with those of reaped children, of a whole process tree: proc_pid_stat(5). The kernel counts in
ticks of 10 ms, so a load has to last long enough for a tick to be small. Memory is PSS: a page shared by two processes
counts half in each (proc_pid_smaps(5)). What the kernel holds for sockets and pipes is in neither.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
_TIMES = slice(11, 15)  # utime, stime, cutime, cstime, counted after the command's name
SERVER_CPU, LOAD_CPU = 0, 1
_MAY = frozenset(os.sched_getaffinity(0))  # where this program was allowed to run before it bound itself anywhere


_ANYWHERE = ContextVar("anywhere", default=False)


@dataclass(frozen=True)
class Stat:
    """One process at one moment: its parent and its CPU ticks, reaped children included."""

    parent: int
    ticks: int


def parse_stat(text: str) -> Stat:
    """Read a line of /proc/PID/stat; the command's name in it may hold blanks and brackets."""
    words = text.rpartition(")")[2].split()
    return Stat(int(words[1]), sum(map(int, words[_TIMES])))


def tree_of(root: int, everyone: Mapping[int, Stat]) -> set[int]:
    """Return a process and all below it."""
    tree, fresh = {root}, {root}
    while fresh := {pid for pid, stat in everyone.items() if stat.parent in fresh} - tree:
        tree |= fresh
    return tree


def processes() -> dict[int, Stat]:
    """Return every process of the machine."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(stat.parent.name)] = parse_stat(stat.read_text())
        except OSError:  # it ended meanwhile
            continue
    return found


def tree_cpu(root: int, everyone: Mapping[int, Stat] | None = None) -> float:
    """Return the CPU seconds of a process and all below it. KeyError when it is gone: a dead server has no result."""
    everyone = everyone or processes()
    return sum(everyone[pid].ticks for pid in tree_of(root, everyone)) / TICK


def children_cpu() -> float:
    """Return the CPU seconds of this process's children that have ended and been waited for."""
    times = os.times()
    return times.children_user + times.children_system


def tree_pss(root: int) -> float:
    """Return the MiB of a process and all below it, by PSS."""
    return sum(_pss(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in tree_of(root, processes()))


def _pss(text: str) -> float:
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:"))


@dataclass(frozen=True)
class Machine:
    """The whole machine at one moment: seconds of CPU busy, stolen by its host, and spent by this benchmark."""

    wall: float
    busy: float
    stolen: float
    ours: float

    @classmethod
    def now(cls) -> Machine:
        """Read it."""
        busy, stolen = parse_machine(Path("/proc/stat").read_text())
        return cls(time.monotonic(), busy, stolen, tree_cpu(os.getpid()))

    def since(self, before: Machine) -> Machine:
        """Return what happened between two moments."""
        pairs = zip(vars(self).values(), vars(before).values(), strict=True)
        return Machine(*(now - then for now, then in pairs))


def parse_machine(text: str) -> tuple[float, float]:
    """Return busy and stolen seconds of /proc/stat's first line: user nice system idle iowait irq softirq steal."""
    user, nice, system, _, _, irq, softirq, steal = map(int, text.split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq) / TICK, steal / TICK


@dataclass
class Meter:
    """Seconds that passed, and CPU seconds by name of process tree."""

    seconds: float
    cpu: dict[str, float]


@contextmanager
def metered(pids: Mapping[str, int]) -> Iterator[Meter]:
    """Measure the trees of `pids` during the block."""
    everyone = processes()
    before = {name: tree_cpu(pid, everyone) for name, pid in pids.items()}
    meter, begin = Meter(0.0, {}), time.perf_counter()
    yield meter
    meter.seconds = time.perf_counter() - begin
    everyone = processes()
    meter.cpu = {name: tree_cpu(pid, everyone) - before[name] for name, pid in pids.items()}


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """Bind this thread, and whatever it starts meanwhile, to one CPU, inside of another such block too.

    Does nothing where this program may not use that CPU, nor within `anywhere`.
    """
    before = os.sched_getaffinity(0)
    if cpu in _MAY and not _ANYWHERE.get():
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def anywhere() -> Iterator[None]:
    """Let this thread, and whatever it starts meanwhile, run on every CPU that this program may use."""
    before, token = os.sched_getaffinity(0), _ANYWHERE.set(True)
    os.sched_setaffinity(0, _MAY)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        _ANYWHERE.reset(token)
