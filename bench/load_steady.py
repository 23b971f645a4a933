"""Load at a steady rate, for latencies: requests leave when they are due, whether or not the ones before were answered.

A generator that waits for answers asks a slow server less and so forgives it ("coordinated omission"). Here arrivals
are drawn beforehand (Poisson, the same seed for every contender), and an answer's latency counts from the moment its
request was due: also the time it waited for a free connection, or for the generator (steady/steady.c, which says why
it is a program of its own).
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from bench.cpu import children_cpu
from bench.load_small import WrongAnswer
from bench.signing import Shot

CONNECTIONS = 64
_SOURCE = Path(__file__).parent / "steady" / "steady.c"


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return when requests are due, in seconds from the start."""
    draw = random.Random(seed)  # noqa: S311 - a load, not a secret
    return list(accumulate(draw.expovariate(rate) for _ in range(int(rate * seconds))))


@dataclass
class Seen:
    """Latencies, and how long after they were due requests left (both in seconds); the generator's CPU seconds."""

    latencies: Sequence[float]
    late: Sequence[float]
    cpu: float


def built(folder: Path) -> Path | None:
    """Build the generator once a run; None where there is no C compiler."""
    compiler, binary = shutil.which("cc") or shutil.which("gcc"), folder / "steady"
    if compiler is None:
        return None
    if not binary.exists():
        subprocess.run([compiler, "-O2", "-o", str(binary), str(_SOURCE)], check=True, timeout=60)
    return binary


def fire(generator: Path, port: int, shots: Sequence[Shot], due: Sequence[float]) -> Seen:
    """Send one request at each moment. Raises WrongAnswer."""
    plan, seen = generator.with_name("steady-plan"), generator.with_name("steady-seen")
    plan.write_bytes(
        struct.pack("4i", port, CONNECTIONS, len(shots), len(due))
        + b"".join(struct.pack("2i", len(shot.data), shot.length) + shot.data for shot in shots)
        + array("d", due).tobytes()
    )
    before = children_cpu()
    done = subprocess.run(
        [str(generator), str(plan), str(seen)], capture_output=True, timeout=max(due, default=0.0) + 60, check=False
    )
    if done.returncode:
        raise WrongAnswer(done.stderr.decode(errors="replace"))
    told = array("d", seen.read_bytes())
    return Seen(told[len(due) :], told[: len(due)], children_cpu() - before)


def percentile(numbers: Sequence[float], share: float) -> float:
    """Return the smallest number that `share` of them do not exceed (nearest rank)."""
    ordered = sorted(numbers)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
