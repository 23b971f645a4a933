"""The client matrix: one program, the same calls twice, directly at the store and through the gateway.

`run` starts both and returns a `Comparison`. A call that the store answers must be answered the same through the gateway,
and a call that the store refuses must be refused the same; a difference is a finding unless `intended` explains it.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.clients.intended import intended

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
RESULTS = ROOT / ".conformance"
LONGEST = 400  # seconds that one program may take


@dataclass(frozen=True)
class Call:
    """One call as a program reported it."""

    name: str
    ok: bool
    answer: Any


@dataclass(frozen=True)
class Side:
    """What one run of a program said."""

    client: str
    version: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Difference:
    """One call with two outcomes; `why` is empty unless it is intended."""

    call: str
    passed: bool
    direct: Any
    through: Any
    why: str = ""


@dataclass(frozen=True)
class Comparison:
    """A program's two runs: names of the calls that passed, what the store refused, and what differs."""

    client: str
    version: str
    tried: int
    direct: int
    through: int
    refused: tuple[tuple[str, str], ...]
    differences: tuple[Difference, ...]

    @property
    def findings(self) -> list[Difference]:
        """Return the differences that nobody has explained."""
        return [d for d in self.differences if not d.why]

    def save(self, name: str) -> None:
        """Keep the result for `make conformance`."""
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(asdict(self), indent=1))


@dataclass(frozen=True)
class Ends:
    """The two endpoints with the credentials for each."""

    direct: tuple[str, Mapping[str, str]]
    through: tuple[str, Mapping[str, str]]
    folder: Path


def run(command: Sequence[str], ends: Ends, environment: Mapping[str, str] | None = None) -> Comparison:
    """Run a program at both ends, at the same time, each with buckets of its own."""
    mark = uuid.uuid4().hex[:8]
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(
                _side, command, *end, f"mx-{mark}-{letter}", ends.folder / f"{mark}-{letter}", environment or {}
            )
            for letter, end in (("d", ends.direct), ("t", ends.through))
        ]
        direct, through = (job.result() for job in jobs)
    return compare(direct, through)


def compare(direct: Side, through: Side) -> Comparison:
    """Return what became of each call at both ends. The programs must have made the same calls, in the same order."""
    names = [c.name for c in direct.calls], [c.name for c in through.calls]
    if names[0] != names[1]:
        apart = next(
            (i for i, pair in enumerate(zip(*names, strict=False)) if pair[0] != pair[1]), min(map(len, names))
        )
        raise AssertionError(
            f"the calls part at {apart}: {names[0][apart - 2 : apart + 2]} {names[1][apart - 2 : apart + 2]}"
        )
    pairs = list(zip(direct.calls, through.calls, strict=True))
    differences = tuple(
        Difference(d.name, d.ok, d.answer, t.answer, intended(direct.client, d.name, d.answer, t.answer))
        for d, t in pairs if not same(d, t)
    )  # fmt: skip
    return Comparison(
        direct.client, direct.version, len(pairs), sum(d.ok for d, _ in pairs),
        sum(d.ok and same(d, t) for d, t in pairs),
        tuple((d.name, said(d.answer)) for d, _ in pairs if not d.ok), differences,
    )  # fmt: skip


def same(direct: Call, through: Call) -> bool:
    """Return whether a call had the same outcome: all of an answer, status and code of an S3 refusal."""
    if not direct.ok and not through.ok and isinstance(direct.answer, dict) and isinstance(through.answer, dict):
        return said(direct.answer) == said(through.answer)
    return (direct.ok, direct.answer) == (through.ok, through.answer)


def said(answer: Any) -> str:
    """Return the short form of a refusal: status and code of an S3 error, else the first line of the words."""
    if isinstance(answer, dict) and "ResponseMetadata" in answer:
        return f"{answer['ResponseMetadata'].get('HTTPStatusCode')} {answer.get('Error', {}).get('Code', '')}".strip()
    return str(answer).strip().splitlines()[0][:160] if str(answer).strip() else "no answer"


def _side(
    command: Sequence[str], endpoint: str, keys: Mapping[str, str], bucket: str, folder: Path, more: Mapping[str, str]
) -> Side:
    folder.mkdir(parents=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MINIO_", "MC_", "RCLONE_"))}
    given = {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": keys["accessKey"], "AWS_SECRET_ACCESS_KEY": keys["secretKey"],
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "TZ": "UTC",
        "AWS_CONFIG_FILE": str(folder / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"), "LC_ALL": "C.UTF-8",
        "MATRIX_BUCKET": bucket, "MATRIX_FOLDER": str(folder), "HOME": str(folder),
    }  # fmt: skip
    if token := keys.get("sessionToken"):
        given["AWS_SESSION_TOKEN"] = token
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONGEST, check=False, env={**kept, **given, **more}, cwd=folder
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise AssertionError(f"{command[-1]} at {endpoint} ended with {done.returncode}: {done.stderr[-2000:]}")
    head, *calls = lines
    return Side(head["client"], head["version"], tuple(Call(c["call"], c["ok"], c["answer"]) for c in calls))
