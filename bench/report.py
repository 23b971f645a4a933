"""What was measured, and how it is told: medians with their spread, a table for each load, one of goals, JSON.

Pure: numbers in, text out. A number belongs to a load ("GET 1 KiB"), a row (a contender) and a column ("µs CPU"), one
per round.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

LATENCY, LATE = "p99, ms", "left late, p99, ms"
QUIET = 10  # percent of other work above which a run is to be repeated
Key = tuple[str, str, str]


@dataclass
class Results:
    """Every measured number by load, row and column; who was not there, what failed, facts of the run."""

    numbers: dict[Key, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    noise: dict[str, dict[str, float]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def add(self, load: str, row: str, column: str, number: float) -> None:
        """Keep one number of one round."""
        self.numbers.setdefault((load, row, column), []).append(number)

    def median(self, key: Key) -> float | None:
        """Return the median of the rounds; None where nothing was measured."""
        found = self.numbers.get(key)
        return statistics.median(found) if found else None

    def loads(self) -> list[str]:
        """Return the loads, in the order in which they were measured."""
        return list(dict.fromkeys(load for load, _, _ in self.numbers))

    def document(self) -> dict[str, object]:
        """Return everything, for JSON."""
        nested: dict[str, dict[str, dict[str, list[float]]]] = {}
        for (load, row, column), numbers in self.numbers.items():
            nested.setdefault(load, {}).setdefault(row, {})[column] = numbers
        return {
            "numbers": nested, "missing": self.missing, "failed": self.failed, "noise": self.noise, "facts": self.facts,
        }  # fmt: skip


def number(value: float) -> str:
    """Return a number with three digits that mean something."""
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def spread(numbers: Sequence[float]) -> str:
    """Return "median [min-max]"; the number alone when there is one; a dash where nothing was measured."""
    if not numbers:
        return "-"
    middle = number(statistics.median(numbers))
    return middle if len(numbers) == 1 else f"{middle} [{number(min(numbers))}-{number(max(numbers))}]"


def table(results: Results, load: str) -> Iterator[str]:
    """Yield the lines of one load's table; the columns of a single row stand below each other."""
    keys = [key for key in results.numbers if key[0] == load]
    columns = list(dict.fromkeys(column for _, _, column in keys))
    rows = list(dict.fromkeys(row for _, row, _ in keys))
    if len(rows) == 1:
        yield from (f"| {load} | {rows[0]} |", "|---|---:|")
        yield from (f"| {column} | {spread(results.numbers[load, rows[0], column])} |" for column in columns)
        return
    yield f"| {load} | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for row in rows:
        cells = (spread(results.numbers.get((load, row, column), [])) for column in columns)
        yield f"| {row} | " + " | ".join(cells) + " |"


@dataclass(frozen=True)
class Goal:
    """One goal: a number of ours, alone ("value"), over another's ("ratio") or less another's ("more")."""

    what: str
    ours: Key
    limit: float
    theirs: Key | None = None
    kind: str = "ratio"
    least: bool = False  # the limit is the least allowed, not the most

    def of(self, ours: float, theirs: float) -> float:
        """Return what is compared with the limit."""
        if self.kind == "value":
            return ours
        return ours - theirs if self.kind == "more" else ours / theirs

    def met(self, value: float) -> bool:
        """Return whether the value keeps the limit."""
        return value >= self.limit if self.least else value <= self.limit

    @property
    def limit_text(self) -> str:
        """Return the limit as it is told."""
        sign = "≥" if self.least else "≤"
        return f"{sign} {self.limit:g}" + (" times" if self.kind == "ratio" else "")


def judge(goal: Goal, results: Results) -> tuple[str, str, str, str]:
    """Return our number, theirs, what they make, and whether the goal is met; a dash for what was not measured."""
    ours, theirs = results.numbers.get(goal.ours, []), results.numbers.get(goal.theirs or goal.ours, [])
    told = spread(ours), spread(theirs) if goal.theirs else ""
    if not ours or not theirs or not all(theirs):
        return *told, "-", "not measured"
    value = goal.of(statistics.median(ours), statistics.median(theirs))
    rounds = [goal.of(*pair) for pair in zip(ours, theirs, strict=False)]
    low, high = number(min(rounds)), number(max(rounds))
    shown = f"**{number(value)}**" + (f" [{low}-{high}]" if goal.theirs and len(rounds) > 1 else "")
    return *told, shown, "yes" if goal.met(value) else "**no**"


def goal_table(goals: Sequence[Goal], results: Results) -> Iterator[str]:
    """Yield the lines of the table of goals; a goal of which nothing was asked in this run is left out."""
    yield "| what | ours | theirs | ratio, or value | goal | met |"
    yield "|---|---:|---:|---:|---:|---|"
    measured = set(results.loads())
    for goal in goals:
        if goal.ours[0] in measured:
            ours, theirs, value, met = judge(goal, results)
            yield f"| {goal.what} | {ours} | {theirs} | {value} | {goal.limit_text} | {met} |"


def noise_table(results: Results) -> Iterator[str]:
    """Yield the lines that say how quiet the machine was."""
    yield "| section | seconds | CPU time spent by other work, % | stolen by the host, s | load average |"
    yield "|---|---:|---:|---:|---:|"
    for section, seen in results.noise.items():
        cells = (number(seen[name]) for name in ("seconds", "others", "stolen", "load"))
        yield f"| {section} | " + " | ".join(cells) + " |"


def quiet(results: Results) -> Iterator[str]:
    """Yield a warning where other work had more than a tenth of the CPU time of a section."""
    busy = [name for name, seen in results.noise.items() if seen["others"] > QUIET]
    if busy:
        yield f"**The machine was not quiet ({', '.join(busy)}): rates and latencies mean nothing, ratios little.**"


def late(results: Results) -> Iterator[str]:
    """Yield a warning where half of a latency is that its requests left late: the generator was not given its CPU in time."""
    for load, row, column in results.numbers:
        left, latency = results.median((load, row, LATE)), results.median((load, row, LATENCY))
        if column == LATE and left is not None and latency is not None and 2 * left > latency:
            yield f"**{load}, {row}: requests left up to {number(left)} ms late (p99), so the latencies say nothing about it.**"


def report(goals: Sequence[Goal], results: Results) -> str:
    """Return the whole report in Markdown."""
    blocks = [list(goal_table(goals, results)), *(list(table(results, load)) for load in results.loads())]
    blocks.append(list(noise_table(results)))
    blocks.append([*quiet(results), *late(results)])
    blocks.append([f"* {name}: {fact}." for name, fact in results.facts.items()])
    blocks.append([f"* Left out: {name} ({why})." for name, why in results.missing.items()])
    blocks.append([f"* **Failed: {section}: {why}**" for section, why in results.failed.items()])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def placed(document: str, text: str) -> str:
    """Return a document with `text` between its two markers. ValueError when it has none."""
    begin, found, rest = document.partition("<!-- figures -->\n")
    _, ended, after = rest.partition("<!-- /figures -->")
    if not found or not ended:
        raise ValueError("no <!-- figures --> … <!-- /figures --> to write between")
    return f"{begin}{found}\n{text}\n{ended}{after}"
