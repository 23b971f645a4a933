"""One change being made: what was read, and what shall be written if nothing of it has changed meanwhile."""

from __future__ import annotations

from iam.codec import Codec, Unreadable, record_key
from iam.records import Kind, Record
from iam.store import Check, IamStore, Write


class Draft:
    """Reads records and collects writes; `commit` does all of them, or none when a record that was read has changed."""

    def __init__(self, store: IamStore, codec: Codec) -> None:
        self._store = store
        self._codec = codec
        self._read: dict[tuple[Kind, str], int] = {}
        self._writes: dict[tuple[Kind, str], Write] = {}

    async def get(self, kind: Kind, name: str) -> Record | None:
        """Return a record as it is now; one that cannot be read counts as none, and may be written over."""
        row = await self._store.get(kind, name)
        self._read[kind, name] = row.revision if row else 0
        if row is None or row.value is None:
            return None
        try:
            return self._codec.decode(kind, name, row.value)
        except Unreadable:
            return None

    def put(self, record: Record, expires_at: int | None = None) -> None:
        """Write a record, over the one that was read."""
        kind, name = record_key(record)
        self._writes[kind, name] = Write(
            kind, name, self._codec.encode(record), self._read.get((kind, name)), expires_at
        )

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a record, as it was read."""
        self._writes[kind, name] = Write(kind, name, None, self._read.get((kind, name)))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self._writes

    async def commit(self) -> int:
        """Write; return the revision. Raises Conflict, StoreUnavailable."""
        checks = [Check(*key, revision) for key, revision in self._read.items() if key not in self._writes]
        return await self._store.swap(tuple(self._writes.values()), checks)
