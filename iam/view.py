"""The immutable IAM view: what every gateway knows at a revision of the store. A change makes a new view. Pure.

It holds the revocations only, which are few; sessions, which are not, verify by themselves. Readers take the whole view
at once (one attribute read), so no request ever sees half a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Revoked:
    """A session has been revoked; it would have expired at `expires_at` (epoch seconds)."""

    access_key_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Lifted:
    """A revocation is gone: its session has expired anyway."""

    access_key_id: str


Change = Revoked | Lifted


@dataclass(frozen=True, slots=True)
class IamView:
    """The revocations in force (access key -> expiry in epoch seconds), at `revision` of the store."""

    revision: int = 0
    revocations: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def is_revoked(self, access_key_id: str) -> bool:
        """Return whether the session of this access key must be refused."""
        return access_key_id in self.revocations

    def apply(self, changes: Iterable[Change], revision: int) -> IamView:
        """Return the view after these changes, in their order; this one stays as it is."""
        revocations = dict(self.revocations)
        for change in changes:
            if isinstance(change, Revoked):
                revocations[change.access_key_id] = change.expires_at
            else:
                revocations.pop(change.access_key_id, None)
        return IamView(revision, MappingProxyType(revocations))
