"""The immutable IAM view: what every gateway knows at a revision of the store. A change makes a new view. Pure.

It holds what is few: users, groups, policies, accounts, attachments, keys, revocations, epochs; sessions, which are not, verify by
themselves. Readers take the whole view at once (one attribute read), so no request ever sees half a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from iam.codec import record_key
from iam.records import (
    Attachment,
    Epoch,
    Group,
    KeyRecord,
    Kind,
    PolicyDocument,
    Record,
    Revocation,
    SealRecord,
    ServiceAccount,
    User,
    attachment_name,
)


@dataclass(frozen=True, slots=True)
class Gone:
    """A record is not there any more, or cannot be read and counts as not there."""

    kind: Kind
    name: str


Change = Record | Gone
_NONE: Mapping[str, Any] = MappingProxyType({})
_NOBODY: frozenset[str] = frozenset()
_TABLES: Mapping[Kind, str] = {
    Kind.USER: "users", Kind.GROUP: "groups", Kind.POLICY: "policies", Kind.ACCOUNT: "accounts",
    Kind.ATTACHMENT: "attachments", Kind.KEY: "keys", Kind.SEAL: "seals", Kind.REVOCATION: "revocations", Kind.EPOCH: "epochs",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class IamView:
    """All records by name, at `revision` of the store; `memberships` are the groups of each user that has any."""

    revision: int = 0
    users: Mapping[str, User] = field(default_factory=lambda: _NONE)
    groups: Mapping[str, Group] = field(default_factory=lambda: _NONE)
    policies: Mapping[str, PolicyDocument] = field(default_factory=lambda: _NONE)
    accounts: Mapping[str, ServiceAccount] = field(default_factory=lambda: _NONE)
    attachments: Mapping[str, Attachment] = field(default_factory=lambda: _NONE)
    keys: Mapping[str, KeyRecord] = field(default_factory=lambda: _NONE)
    seals: Mapping[str, SealRecord] = field(default_factory=lambda: _NONE)
    revocations: Mapping[str, Revocation] = field(default_factory=lambda: _NONE)
    epochs: Mapping[str, Epoch] = field(default_factory=lambda: _NONE)
    memberships: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)

    def is_revoked(self, access_key_id: str, parent: str = "", issued_at: int = 0, revoke_type: str = "") -> bool:
        """Return whether a session must be refused: it itself, or all that its parent was issued by then (milliseconds)."""
        if access_key_id in self.revocations:
            return True
        return bool(self.epochs) and parent in self.epochs and issued_at <= self.not_before(parent, revoke_type)

    def not_before(self, parent: str, revoke_type: str = "") -> int:
        """Return up to when (epoch milliseconds) issued sessions of a parent and a TokenRevokeType are refused."""
        epoch = self.epochs.get(parent)
        if epoch is None:
            return 0
        return max(epoch.not_before, epoch.by_type.get(revoke_type, 0) if revoke_type else 0)

    def groups_of(self, user: str) -> tuple[str, ...]:
        """Return the enabled groups that a user is in, by name."""
        return tuple(name for name in self.memberships.get(user, ()) if self.groups[name].enabled)

    def attached(self, subject: str, groups: Iterable[str] = ()) -> tuple[str, ...] | None:
        """Return the policies attached to a subject and to groups, each once; None when one of them cannot be read."""
        names = [attachment_name(subject, group=False), *(attachment_name(group, group=True) for group in groups)]
        found = [self.attachments[name] for name in names if name in self.attachments]
        if any(attachment.broken for attachment in found):
            return None
        return tuple(dict.fromkeys(policy for attachment in found for policy in attachment.policies))

    def apply(self, changes: Iterable[Change], revision: int) -> IamView:
        """Return the view after these changes, in their order; this one stays as it is."""
        touched: dict[str, dict[str, Any]] = {}
        for change in changes:
            kind, name = (change.kind, change.name) if isinstance(change, Gone) else record_key(change)
            table = _TABLES[kind]
            entries = touched.get(table)
            if entries is None:
                entries = touched[table] = getattr(
                    self, table
                ).copy()  # a proxy's copy is its dict's, as fast as can be
            if isinstance(change, Gone):
                entries.pop(name, None)
            else:
                entries[name] = change
        tables: dict[str, Any] = {
            name: MappingProxyType(touched[name]) if name in touched else getattr(self, name)
            for name in _TABLES.values()
        }
        members = self._memberships(touched["groups"]) if "groups" in touched else self.memberships
        return IamView(revision, **tables, memberships=members)

    def _memberships(self, groups: Mapping[str, Group]) -> Mapping[str, tuple[str, ...]]:
        """Return each member's groups, by name: of those of before, only what the groups that are other ones now change."""
        found = dict(self.memberships)
        changed = {name for name in self.groups.keys() | groups.keys() if self.groups.get(name) is not groups.get(name)}
        for name in changed:
            before, after = (
                frozenset(known.members) if (known := of.get(name)) else _NOBODY for of in (self.groups, groups)
            )
            for member in before - after:
                found[member] = tuple(group for group in found[member] if group != name)
                if not found[member]:
                    del found[member]
            for member in after - before:
                found[member] = tuple(sorted((*found.get(member, ()), name)))
        return MappingProxyType(found)
