"""An hour of everything at once: good requests and every fault, and a look every few seconds at what the gateway holds.

    python tests/faults/soak.py --minutes 60        (make soak MINUTES=60)
    python tests/faults/soak.py --minutes 60 --tls  (the backend speaks TLS; only an hour tells: memory takes some minutes to settle)

First comes a warm-up, after which everybody pauses and the gateway is looked at while it rests. Then the soak; at its end it is
looked at again. It fails when a client saw what it must not see, and when something has grown:

- sockets, apart from the kept connections to the backend, must be as many as before;
- pipes at rest at most the pool's: empty ones are kept for the next transfer (gateway/wire/carriers.py);
- threads not more;
- memory that is in no file, at rest, and its median in the last third of the soak against the first, by less than GROWTH. That is what fragments
  and kept buffers move it by; a leak of a hundred bytes a request passes it in an hour of some thirty requests a second, and one of
  a kibibyte in ten minutes.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from gateway.wire.carriers import KEPT  # noqa: E402
from tests.faults.stories import STORIES, Unlucky, backend  # noqa: E402
from tests.servers.certificates import serving  # noqa: E402
from tests.servers.front import Front  # noqa: E402
from tests.servers.processes import until  # noqa: E402
from tests.servers.scripted import ScriptedBackend  # noqa: E402
from tests.servers.vitals import Vitals  # noqa: E402

ACTORS = 24
EVERY = 3.0  # seconds between two looks
GROWTH = 10 * 1024  # KiB
#: Seconds after which memory has settled. Buffers, of which more and more were once in use at the same time, are kept: in plaintext for some 17,000
#: stories of twenty-four actors; then the 4096 refusals that are remembered fill up (4 MiB), and for 80,000 stories more the heap was the same to
#: 0.1 MiB. Bodies of a backend under TLS go through more buffers: 40,000 stories.
SETTLED = {False: 600.0, True: 900.0}
SETTINGS = {"MINIO_GW_BACKEND_TIMEOUT": "3", "MINIO_IDLE_TIMEOUT": "10", "MINIO_READ_HEADER_TIMEOUT": "5"}


@dataclass
class Soak:
    """One soak of a gateway; `wrong` is what clients saw and must not have seen."""

    gateway: Front
    server: ScriptedBackend
    seed: int
    told: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    unlucky: int = 0
    samples: list[Vitals] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Let the actors play for so long, and look meanwhile."""
        over = threading.Event()
        chances = [random.Random(f"{self.seed} {number}") for number in range(ACTORS)]  # noqa: S311 - the same soak again
        actors = [threading.Thread(target=self._play, args=(over, chance)) for chance in chances]
        for actor in actors:
            actor.start()
        deadline, said = time.monotonic() + seconds, 0.0
        while time.monotonic() < deadline and len(self.wrong) < 20:
            over.wait(EVERY)
            self.samples.append(self.gateway.vitals)
            self.server.asked.clear()  # or it would be this process that grows
            if time.monotonic() - said > 30:
                said = time.monotonic()
                say(f"{deadline - said:6.0f} s to go, {self.told.total()} stories", self.samples[-1])
        over.set()
        for actor in actors:
            actor.join()
        self.seed += 1

    def _play(self, over: threading.Event, chance: random.Random) -> None:
        stories, weights = list(STORIES), list(STORIES.values())
        while not over.is_set():
            story = chance.choices(stories, weights)[0]
            try:
                story(self.gateway, chance)
            except Unlucky:
                self.unlucky += 1
            except Exception as error:  # whatever it is, it is told, and fails the soak
                now = time.strftime("%H:%M:%S")
                self.wrong.append(f"{now} {story.__name__}: {type(error).__name__}: {str(error)[:300]}")
            self.told[story.__name__] += 1

    def rested(self) -> Vitals:
        """Look at the gateway when it rests: nothing in flight, no client's connection open."""
        until(lambda: self.gateway.in_flight == 0, "nothing is in flight", 60)
        with suppress(TimeoutError):  # then what is left is told below
            until(lambda: self.gateway.own_sockets <= self.sockets_at_first, "clients' connections are closed", 60)
        return self.gateway.vitals

    def begin(self) -> None:
        """Look before anything has happened."""
        self.gateway.serves()
        until(lambda: self.gateway.in_flight == 0, "nothing is in flight")
        until(lambda: self.gateway.own_sockets <= 4, "only the listener's and the loop's sockets are open")
        self.sockets_at_first = self.gateway.own_sockets
        self.first = self.gateway.vitals

    def problems(self, warm: Vitals, last: Vitals) -> list[str]:
        """Return what is wrong in the end."""
        third = max(len(self.samples) // 3, 1)
        early, late = (
            statistics.median(v.heap for v in part) for part in (self.samples[:third], self.samples[-third:])
        )
        say(
            f"heap under load: median of the first third {early / 1024:.1f} MiB, of the last {late / 1024:.1f} MiB",
            last,
        )
        held = {
            "sockets are left": self.gateway.own_sockets > self.sockets_at_first,
            "pipes are left": last.pipes > self.first.pipes + 2 * KEPT,
            "files are left": last.files > self.first.files,
            "threads are left": last.threads > max(warm.threads, self.first.threads),
            "memory at rest grew": last.heap - warm.heap > GROWTH,
            "memory under load grew": late - early > GROWTH,
            "uploads met closing connections too often": self.unlucky > self.told.total() / 50,
        }
        return [*self._explained(), *(what for what, is_so in held.items() if is_so)]

    def _explained(self) -> list[str]:
        """Return what went wrong, each with what the gateway's log has to say about it."""
        log = self.gateway.process.text.splitlines() if self.wrong else []
        lines = []
        for wrong in self.wrong:
            found = re.search(r"soak-\d+", wrong)
            lines += [wrong, *(f"    log: {line}" for line in log if found and f"/{found[0]}/" in line)]
        return lines


def say(text: str, seen: Vitals) -> None:
    """Tell who watches."""
    print(  # noqa: T201 - a program
        f"{text}: sockets {seen.sockets}, pipes {seen.pipes}, files {seen.files}, threads {seen.threads},"
        f" RSS {seen.rss / 1024:.1f} MiB, PSS {seen.pss / 1024:.1f} MiB, heap {seen.heap / 1024:.1f} MiB, CPU {seen.cpu:.0f} s",
        flush=True,
    )


def soak(folder: Path, minutes: float, seed: int, *, tls: bool = False) -> list[str]:
    """Soak a gateway, whose backend may speak TLS; return what was wrong."""
    server = ScriptedBackend(context=serving(folder / "backend") if tls else None)
    trusted = {"MINIO_GW_BACKEND_CA": str(folder / "backend" / "public.crt")} if tls else {}
    with Front(folder, server, **SETTINGS, **trusted) as gateway:
        one = Soak(gateway, server, seed)
        one.begin()
        server.script = backend
        say("at first", one.first)
        one.run(max(20.0, min(SETTLED[tls], minutes * 60 / 4)))
        warm = one.rested()
        say("at rest after the warm-up", warm)
        one.samples.clear()
        one.run(minutes * 60)
        last = one.rested()
        say(f"at rest after {one.told.total()} stories", last)
        found = one.problems(warm, last)
        print(f"{dict(one.told.most_common())}; {one.unlucky} met a closing connection")  # noqa: T201 - a program
    server.close()
    return found


def main() -> int:
    """Soak as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tls", action="store_true", help="the backend speaks TLS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(Path(folder), arguments.minutes, arguments.seed, tls=arguments.tls)
    print("\n".join(found) or "nothing grew, and nobody saw what he must not see")  # noqa: T201 - a program
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
