"""`make conformance`: the client matrix, docs/clients.md written from it, and one figure on the last line.

    kept N of M      M calls passed directly at the store; N of them had the same outcome through the gateway

Exit status 1 when a difference stands that `intended` does not explain, or when a program broke.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.clients.intended import INTENDED  # noqa: E402
from tests.clients.matrix import PROGRAMS, RESULTS, said  # noqa: E402
from tests.clients.programs.report import SERVERS_OWN  # noqa: E402

MODULES = sorted(str(path) for path in Path(__file__).parent.glob("test_matrix_*.py"))
PAGE = ROOT / "docs" / "clients.md"
INTRO = """# Clients

Written by `make conformance`; do not edit. Each client is the real program or library. It makes the same calls twice: directly
at the store (SeaweedFS, with its own keys) and through the gateway, with temporary credentials from an OpenID token. A call
*passes* directly when the store gives the answer that the call is about; it passes through when the gateway's answer is the
same: status, headers, every member of the document, every byte of a body. What the store refuses must be refused with the
same status and code. Times, ids that a server invents and its own address are not compared.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the matrix, write the page, print the figure."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    command = [sys.executable, "-m", "pytest", "-m", "conformance", *MODULES, *arguments]
    broken = subprocess.run(command, cwd=ROOT, check=False).returncode
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    missing = expected() - {path.stem for path in RESULTS.glob("*.json")}
    if not missing:
        PAGE.write_text(page(results))
    for line in stale(results):
        print(line)  # noqa: T201
    if missing:
        print(f"docs/clients.md is left as it was: nothing came of {', '.join(sorted(missing))}")  # noqa: T201
    findings = sum(not d["why"] for r in results for d in r["differences"])
    print(f"{findings} unexplained differences")  # noqa: T201
    print(f"kept {total(results, 'through')} of {total(results, 'direct')}", flush=True)  # noqa: T201
    return 1 if broken or findings or not results else 0


def expected() -> set[str]:
    """Return the names of all programs: what a machine with every client runs."""
    return {path.stem for path in PROGRAMS.iterdir() if path.suffix in {".py", ".mjs"}} - {
        "report", "fresh", "model_arguments", "web_identity", "web_identity_cli",  # not of the matrix
    }  # fmt: skip


def stale(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each explanation that explained nothing, though its client ran: it may have outlived its reason."""
    said_why = {d["why"] for r in results for d in r["differences"]}
    ran = [r["client"] for r in results]
    return [
        f"nothing differs any more: {one.call} of {one.client}"
        for one in INTENDED
        if any(re.fullmatch(one.client, client) for client in ran) and one.sentence not in said_why
    ]


def total(results: Sequence[dict[str, Any]], column: str) -> int:
    """Return a column's sum."""
    return sum(r[column] for r in results)


def page(results: Sequence[dict[str, Any]]) -> str:
    """Return docs/clients.md."""
    rows = [
        f"| {r['client']} | {r['version']} | {r['tried']} | {r['direct']} | {r['through']} | {len(r['refused'])} |"
        for r in results
    ]
    sums = " | ".join(str(total(results, column)) for column in ("tried", "direct", "through"))
    head = "| client | version | calls tried | passed direct | passed through | refused by the store |\n|---|---|---|---|---|---|"
    summary = [head, *rows, f"| all | | {sums} | {sum(len(r['refused']) for r in results)} |"]
    parts = [INTRO, "\n".join(summary) + "\n", _differences(results), _not_compared(), _refused(results)]
    return "\n".join(parts)


def _differences(results: Sequence[dict[str, Any]]) -> str:
    rows = [
        f"| {r['client']} | {d['call']} | {_cell(said(d['direct']))} | {_cell(said(d['through']))} | {_cell(d['why'] or '**not explained**')} |"
        for r in results for d in r["differences"]
    ]  # fmt: skip
    head = "| client | call | direct | through | why |\n|---|---|---|---|---|\n"
    text = "## Differences\n\nEach is meant, or is a bug and says so.\n\n"
    return text + (head + "\n".join(rows) + "\n" if rows else "None.\n")


def _not_compared() -> str:
    rows = "\n".join(f"| `{name}` | {why} |" for name, why in SERVERS_OWN.items())
    return (
        "## Headers that are not compared\n\n| header | why |\n|---|---|\n" + rows
        + "\n| `seaweed-*` | SeaweedFS's own bookkeeping, no S3 header: kept back by the allow-list |\n"
    )  # fmt: skip


def _refused(results: Sequence[dict[str, Any]]) -> str:
    """Return what the store itself does not do, client by client: the same call, made directly."""
    text = "## What the store refuses\n\nThe same call made directly at the store, and what it said.\n"
    for r in results:
        if r["refused"]:
            answers: dict[str, list[str]] = {}
            for call, answer in r["refused"]:
                answers.setdefault(answer, []).append(f"`{call}`" if "`" not in call else f"`` {call} ``")
            rows = "\n".join(f"| {_cell(answer)} | {_cell(' · '.join(calls))} |" for answer, calls in answers.items())
            text += f"\n### {r['client']}\n\n| the store's answer | to |\n|---|---|\n{rows}\n"
    return text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
