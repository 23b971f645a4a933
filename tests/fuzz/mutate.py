"""Bytes near a good input: what hypothesis draws for a target, and what the long run does where no coverage guides it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

MAX_INPUT = 4096  # bytes


def near(seeds: Sequence[bytes], words: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a seed with a few pieces cut out, repeated, replaced or put in; sometimes any bytes at all."""
    return st.integers(0, 2**64 - 1).map(lambda number: mutated(Random(number), seeds, words))  # noqa: S311 - no secret


def mutated(random: Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return one such input, the same for the same state of `random`."""
    data = random.choice(seeds) if random.random() < 0.9 else random.randbytes(random.randrange(300))
    for _ in range(random.randrange(1, 7)):
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice((0, 0, 1, 1, 2, 8, 40)))
        data = (data[:start] + _piece(random, data[start:end], words) + data[end:])[:MAX_INPUT]
    return data


def _piece(random: Random, cut: bytes, words: Sequence[bytes]) -> bytes:
    match random.randrange(5):
        case 0:
            return b""
        case 1:
            return random.choice(words)
        case 2:
            return random.randbytes(random.randrange(1, 4))
        case 3:
            return cut * random.randrange(2, 300)
        case _:
            return bytes(byte ^ 1 << random.randrange(8) for byte in cut)
