"""How often somebody may fail: a bucket of tokens for each name, in bounded memory. Pure: the time is passed in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Tries:
    """Allows `burst` tries at once and one more each `interval` seconds, for each of at most `capacity` names.

    A try takes a token before it is made, so that tries made together count together; one that did not fail gives it back. When
    there is no room for a name, the one that was tried longest ago is forgotten.
    """

    def __init__(self, burst: int, interval: float, capacity: int = 10_000) -> None:
        self._burst, self._interval, self._capacity = burst, interval, capacity
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, now: float) -> float:
        """Take a token; return 0.0, or the seconds until there will be one. `now` never runs backwards."""
        bucket = self._filled(name, now)
        if bucket.tokens < 1 - 1e-9:
            return (1 - bucket.tokens) * self._interval
        bucket.tokens -= 1
        return 0.0

    def give_back(self, name: str) -> None:
        """Give a token back."""
        bucket = self._buckets.get(name)
        if bucket is not None:
            bucket.tokens += 1  # never more than the burst: the next look bounds it

    def _filled(self, name: str, now: float) -> _Bucket:
        bucket = self._buckets.setdefault(name, _Bucket(self._burst, now))
        bucket.tokens = min(self._burst, bucket.tokens + max(0.0, now - bucket.at) / self._interval)
        bucket.at = now
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return bucket
