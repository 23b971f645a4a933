"""What a process holds, as the kernel tells it: descriptors by kind, threads, memory, CPU time."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Vitals:
    """One look.

    Memory in KiB: `rss` is all of it; `pss` shares with other processes what is in files, and so moves when they come and go;
    `heap` is what is in no file, the process's own. `cpu` in seconds, since the process began.
    """

    sockets: int
    pipes: int
    files: int
    threads: int
    rss: int
    pss: int
    heap: int
    cpu: float

    @property
    def descriptors(self) -> int:
        """Return how many descriptors are open."""
        return self.sockets + self.pipes + self.files


def vitals(pid: int) -> Vitals:
    """Look at a process."""
    folder = Path(f"/proc/{pid}")
    kinds = {"socket": 0, "pipe": 0}
    files = 0
    for entry in (folder / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed between the listing and the look
            kind = str(entry.readlink()).partition(":")[0]
            if kind in kinds:
                kinds[kind] += 1
            else:
                files += 1
    status, rollup = (folder / "status").read_text(), (folder / "smaps_rollup").read_text()
    times = (folder / "stat").read_text().rpartition(")")[2].split()
    return Vitals(
        kinds["socket"], kinds["pipe"], files, _number("Threads", status), _number("VmRSS", status),
        _number("Pss", rollup), _number("Anonymous", rollup), (int(times[11]) + int(times[12])) / _TICK,
    )  # fmt: skip


def _number(name: str, text: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    assert found, f"the kernel says nothing about {name}"
    return int(found[1])
