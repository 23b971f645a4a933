"""Fuzz every target for a while: `python tests/fuzz/run.py --minutes 10 [TARGET...]`.

Each target runs in a process of its own, so that its memory is its own, guided by coverage where atheris is installed (`make fuzz`
installs it; Linux), by `tests/fuzz/mutate.py` elsewhere. What was found stays in `.fuzz/<target>/`; the last line says how much.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import subprocess
import sys
import time
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

SECONDS = 10  # for one input
MEMORY = 1024  # MiB of address space beyond what the process starts with
INTERRUPTED = frozenset({72, 130, -2, -15})  # libFuzzer's own, and the signals
CODE = ("gateway", "sts", "iam")


def main() -> int:
    """Run the targets one after the other; return 1 when any of them found something, or was interrupted."""
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=10, help="for each target")
    options.add_argument("--one", help=argparse.SUPPRESS)
    options.add_argument("targets", nargs="*")
    given = options.parse_args()
    if given.one:
        _guided(given.one, given.minutes) if find_spec("atheris") else _blind(given.one, given.minutes)
        return 0
    from tests.fuzz.targets import TARGETS

    names = given.targets or list(TARGETS)
    found = [name for name in names if not _run(name, given.minutes)]
    print(f"did not hold: {len(found)} of {len(names)}: {', '.join(found) or 'nothing'}")  # noqa: T201
    return 1 if found else 0


def _run(name: str, minutes: float) -> bool:
    """Fuzz one target in a process of its own; return whether it held."""
    folder = ROOT / ".fuzz" / name
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    command = [sys.executable, __file__, "--one", name, "--minutes", str(minutes)]
    with log.open("wb") as out:
        status = subprocess.run(command, stdout=out, stderr=out, check=False, cwd=folder).returncode
    text = log.read_text(errors="replace")
    runs = re.findall(r"Done (\d+) runs", text) or ["?"]
    print(f"{name}: {_said(status, log)}, {runs[-1]} inputs", flush=True)  # noqa: T201
    return status == 0


def _said(status: int, log: Path) -> str:
    """Return what a run's end means: an interrupted one has shown nothing."""
    if status in INTERRUPTED:
        return "INTERRUPTED"
    return f"FOUND, see {log}" if status else "held"


def _guided(name: str, minutes: float) -> None:
    """Let atheris lead."""
    import atheris

    with atheris.instrument_imports(include=list(CODE)):
        from tests.fuzz.targets import SEEDS, TARGETS, WORDS
    corpus = Path("corpus")
    corpus.mkdir(exist_ok=True)
    for seed in SEEDS[TARGETS[name]]:
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
    Path("words").write_text("\n".join(f'"{word}"' for word in quoted))
    arguments = [sys.argv[0], "corpus", "-dict=words", f"-max_total_time={minutes * 60:.0f}", f"-timeout={SECONDS}",
                 f"-rss_limit_mb={MEMORY}", "-max_len=4096", "-print_final_stats=1", "-verbosity=1"]  # fmt: skip
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


def _blind(name: str, minutes: float) -> None:
    """Change seeds at random; an input that breaks the promise is left in the folder."""
    from tests.fuzz.mutate import mutated
    from tests.fuzz.targets import SEEDS, TARGETS, WORDS

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    resource.setrlimit(resource.RLIMIT_DATA, ((used + MEMORY) * 2**20,) * 2)
    source, target, runs = random.Random(), TARGETS[name], 0  # noqa: S311 - no secret
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        data = mutated(source, SEEDS[target], WORDS)
        before = time.process_time()
        try:
            target(data)
            if time.process_time() - before > SECONDS:
                raise TimeoutError(f"more than {SECONDS} seconds")
        except BaseException:
            Path(f"crash-{sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise
        runs += 1
    print(f"Done {runs} runs")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
