"""What a run does: how many rounds, how long, and in which order contenders take their turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

One = TypeVar("One")


@dataclass(frozen=True)
class Plan:
    """One run: `content` is the file that everything read is a beginning of, `root` what the store for reads serves."""

    content: Path
    root: Path
    rounds: int = 5
    seconds: int = 2  # of one small load
    large: int = 16  # transfers of 64 MiB of one large load
    steady: float = 4.0  # seconds of one load at a steady rate
    transfers: tuple[int, ...] = (200, 1000)
    gibibytes: int = 5
    size: int = 64 << 20  # of the content, and of one large transfer


def in_turn(contenders: Sequence[One], rounds: int) -> Iterator[One]:
    """Yield every contender once a round, in the other order every other round: nobody gains by it."""
    for number in range(rounds):
        yield from contenders if number % 2 == 0 else reversed(contenders)


def layout(root: Path, content: Path, sizes: Sequence[int], names: int) -> None:
    """Lay out the files of the store for reads: bucket/SIZE/NAME, all names of a size one file."""
    for size in sizes:
        folder = root / "bench" / str(size)
        folder.mkdir(parents=True)
        with content.open("rb") as source, (folder / "0").open("wb") as out:
            out.write(source.read(size))
        for name in range(1, names):
            (folder / str(name)).hardlink_to(folder / "0")
