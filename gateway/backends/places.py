"""Where a bucket is: its backend, its name there, and the prefix of its keys.

Rules map bucket names, or patterns in which `*` stands for any text, to places; the first rule that matches a name is its
rule. A policy judges names, so one place must not have two of them: a name whose place belongs to a name of an earlier rule
does not exist, unless both rules say that they are shared. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from gateway.errors import NoSuchBucket

KEPT = 4096  # places
_LOOPBACK = re.compile(r"^(?:127\.0\.0\.1|\[::1\])(?=:|\Z)")
_AMAZON = re.compile(r"(?:[a-z0-9-]+\.)*(amazonaws\.com(?:\.cn)?)(?::443)?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket's objects are; `prefix` stands in front of each key, and is "" or ends with a slash."""

    backend: str
    bucket: str
    prefix: str = ""


@dataclass(frozen=True)
class Rule:
    """Names a backend for a bucket name or a pattern.

    `store` tells stores apart, since two backends may be two doors of one store. `bucket` is the name there, "" for the same;
    of a pattern with one `*` it has one too, which stands for the same text.
    """

    name: str
    backend: str
    store: str
    bucket: str = ""
    prefix: str = ""
    shared: bool = False

    @property
    def is_pattern(self) -> bool:
        """Return whether this rule is for more than one name."""
        return "*" in self.name

    def there(self, name: str) -> str | None:
        """Return the name at the backend of a bucket of this rule, None when the rule is not for it."""
        return _mapped(name, self._here, self.bucket)

    def back(self, bucket: str) -> str | None:
        """Return the name that this rule gives to a bucket of the backend, None when it gives none."""
        return _mapped(bucket, self._there, self.name if self.bucket else "")

    @cached_property
    def _here(self) -> re.Pattern[str]:
        return _pattern(self.name)

    @cached_property
    def _there(self) -> re.Pattern[str]:
        return _pattern(self.bucket or self.name)


@dataclass
class Places:
    """The rules in their order, and the places found so far."""

    rules: Sequence[Rule]
    _known: dict[str, Place | None] = field(default_factory=dict, repr=False)

    def of(self, name: str) -> Place:
        """Return the place of a bucket. Raises NoSuchBucket."""
        if name not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[name] = self._find(name)
        place = self._known[name]
        if place is None:
            raise NoSuchBucket(reason="no backend has this bucket", BucketName=name)
        return place

    def owner(self, name: str) -> str | None:
        """Return the other name that the place of a name belongs to, None when it is its own."""
        index, rule = self._rule(name)
        return self._owner(name, index, rule) if rule else None

    def names(self, backend: str, bucket: str) -> Iterator[str]:
        """Yield the names under which a bucket of a backend is known here."""
        for index, rule in enumerate(self.rules):
            name = rule.back(bucket) if rule.backend == backend else None
            if name is not None and self._rule(name)[0] == index and self._owner(name, index, rule) is None:
                yield name

    def listed(self, backend: str) -> bool:
        """Return whether only the backend's own list tells which buckets of it exist here."""
        return any(rule.is_pattern for rule in self.rules if rule.backend == backend)

    def explicit(self, backend: str) -> Iterator[str]:
        """Yield the names that rules of a backend spell out."""
        yield from (
            rule.name
            for rule in self.rules
            if rule.backend == backend and not rule.is_pattern and self.owner(rule.name) is None
        )

    def _find(self, name: str) -> Place | None:
        index, rule = self._rule(name)
        if rule is None or self._owner(name, index, rule) is not None:
            return None
        return Place(rule.backend, rule.there(name) or name, rule.prefix)

    def _rule(self, name: str) -> tuple[int, Rule | None]:
        return next(((i, rule) for i, rule in enumerate(self.rules) if rule.there(name) is not None), (-1, None))

    def _owner(self, name: str, index: int, rule: Rule) -> str | None:
        bucket = rule.there(name) or name
        for i, other in enumerate(self.rules[:index]):
            if other.store != rule.store or not _overlap(other.prefix, rule.prefix) or (other.shared and rule.shared):
                continue
            owner = other.back(bucket)
            if owner is not None and owner != name and self._rule(owner)[0] == i:
                return owner
        return None


def store_of(scheme: str, authority: str) -> str:
    """Return what two endpoints of one store have in common; Amazon's buckets have one name space in all regions."""
    authority = authority.lower()
    amazon = _AMAZON.fullmatch(authority)
    if amazon:
        return amazon[1]
    authority = _LOOPBACK.sub("localhost", authority)
    default = {"http": ":80", "https": ":443"}[scheme]
    return authority if re.search(r":[0-9]+\Z", authority) else authority + default


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(re.escape(part) for part in text.split("*")), re.DOTALL)


def _mapped(name: str, pattern: re.Pattern[str], to: str) -> str | None:
    """Return the name written as `to` says ("" for unchanged), None when the pattern does not match it."""
    match = pattern.fullmatch(name)
    if match is None:
        return None
    return to.replace("*", match[1]) if match.groups() and to else to or name
