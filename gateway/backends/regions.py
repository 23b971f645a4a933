"""Which region a bucket is in, learnt from the backend's own answers.

AWS answers 301, 307 or 400 with `x-amz-bucket-region` when a bucket is elsewhere; the request is then signed and sent again
for that region. Only the region is taken from an answer, never a host: a request signed with the backend's keys goes to
the configured store and nowhere else. https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from gateway.stories.answers import REGION_HEADER
from gateway.stories.forward import Target

KEPT = 4096  # buckets
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WRONG_REGION = frozenset({301, 307, 400})
_REGION = re.compile(r"[a-z]{2}(-[a-z]+){1,3}-[0-9]{1,2}")
_AMAZON = re.compile(r"s3(?:[.-][a-z0-9-]+)?(\.amazonaws\.com(?:\.cn)?)(:[0-9]+)?")


class Regions:
    """The region of each bucket of one backend, as far as it is known."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._of: dict[str, str] = {}
        self._targets: dict[str, Target] = {}

    def target(self, bucket: str) -> Target:
        """Return where requests for a bucket go."""
        region = self._of.get(bucket)
        return self._target if region is None else self._in(region)

    def _in(self, region: str) -> Target:
        """Return the one target of a region."""
        found = self._targets.get(region)
        if found is None:
            if len(self._targets) >= 256:  # far more than there are: their names come from the store
                self._targets.clear()
            found = self._targets[region] = in_region(self._target, region)
        return found

    def learn(self, bucket: str, region: str) -> None:
        """Keep a bucket's region; when there are too many, the oldest is forgotten."""
        self._of.pop(bucket, None)
        if len(self._of) >= KEPT:
            del self._of[next(iter(self._of))]
        self._of[bucket] = region

    def knows(self, bucket: str) -> bool:
        """Return whether a bucket's region is known."""
        return bucket in self._of


def is_amazon(target: Target) -> bool:
    """Return whether the store has a host for each region."""
    return _AMAZON.fullmatch(target.authority) is not None


def in_region(target: Target, region: str) -> Target:
    """Return the same store in another region: Amazon has a host for each, others one for all."""
    amazon = _AMAZON.fullmatch(target.authority)
    authority = f"s3.{region}{amazon[1]}{amazon[2] or ''}" if amazon else target.authority
    return replace(target, region=region, authority=authority)


def elsewhere(status: int, headers: Mapping[str, str], asked: str) -> str:
    """Return the region that an answer sends us to, "" when it does not send us to another one than was `asked`."""
    region = headers.get(REGION_HEADER, "")
    return region if status in _WRONG_REGION and _REGION.fullmatch(region) and region != asked else ""
