"""Many records into a store at once: what is new, what is so already, what differs and stays; then compare-and-swap in batches.

Used where a whole IAM comes from elsewhere: another gateway's export, MinIO's etcd. A record of ours that differs stays, unless
the other one is newer or the operator said replace. A name gets no rights in advance: what is attached to a user that is not
there, or makes one a member, is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Required, TypedDict, Unpack, cast

from iam.codec import Codec, Unreadable, record_key
from iam.notes import Note, told
from iam.policy import CANNED
from iam.records import Attachment, Group, Kind, PolicyDocument, Record, ServiceAccount, User, attachment_name
from iam.refusals import Unfinished
from iam.seal import CannotOpen
from iam.store import Check, Conflict, IamStore, Snapshot, StoreError, StoreRefused, StoreUnavailable, Write

#: In this order: rights come last, so that a run that breaks off leaves nobody with more than he shall have.
KINDS = (Kind.POLICY, Kind.USER, Kind.GROUP, Kind.ACCOUNT, Kind.ATTACHMENT)
_BATCH = 40  # records of one transaction: etcd takes 128 operations; one that is too large for it is halved
_ATTEMPTS = 8  # of a whole run, when others change the same records meanwhile
_TIMES = frozenset({"created_at", "updated_at"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of records, each by `<kind>/<name>`; `revision` is the store's, of the last write."""

    created: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    kept: tuple[Note, ...] = ()
    skipped: tuple[Note, ...] = ()
    warnings: tuple[Note, ...] = ()
    dry_run: bool = False
    revision: int = 0

    def document(self) -> dict[str, Any]:
        """Return it as JSON's words."""
        return {
            "dryRun": self.dry_run,
            "created": list(self.created),
            "replaced": list(self.replaced),
            "unchanged": list(self.unchanged),
            **{name: told(getattr(self, name)) for name in ("kept", "skipped", "warnings")},
        }


@dataclass(frozen=True, slots=True)
class There:
    """The records of a store with their revisions; `unreadable` are there, but nobody can say what they are."""

    records: Mapping[tuple[Kind, str], Record] = field(default_factory=dict)
    revisions: Mapping[tuple[Kind, str], int] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot, codec: Codec) -> There:
        """Read a snapshot; the data key's record first, without which nothing is proved and no secret can be compared."""
        records, revisions = {}, {}
        for row in sorted(snapshot.rows, key=lambda row: row.kind is not Kind.SEAL):
            if row.value is None:
                continue
            revisions[row.kind, row.name] = row.revision
            try:
                records[row.kind, row.name] = codec.decode(row.kind, row.name, row.value)
            except Unreadable:
                continue
        return cls(records, revisions)

    def names(self, kind: Kind) -> set[str]:
        """Return the names of a kind, also of those that cannot be read."""
        return {name for of, name in self.revisions if of is kind}


class How(TypedDict, total=False):
    """How records come in. `now` is in epoch seconds, `known_policies` are those of files, besides the canned and the stored ones.

    `overwrite` replaces what differs even when ours is newer. What is not `by_root` (it is) changes no account that is root's here.
    """

    root_access_key: Required[str]
    now: Required[int]
    overwrite: bool
    known_policies: Iterable[str]
    by_root: bool


async def put(
    store: IamStore, codec: Codec, records: Sequence[Record], *, dry_run: bool = False, **how: Unpack[How]
) -> Outcome:
    """Write records, unless `dry_run`; return what became of each. Once more on a conflict, on what is there then.

    Raises StoreUnavailable, CannotOpen without a data key; Unfinished when some was written by then: it stays, and a second run
    goes on.
    """
    how["known_policies"] = {*how.get("known_policies", ()), *CANNED}
    writing = _Writing(store, codec)
    try:
        while writing.conflicts < _ATTEMPTS:
            snapshot = await store.snapshot()
            plan = await asyncio.to_thread(_planned, snapshot, codec, records, writing.too_large, how)
            if dry_run or await writing.carry_out(plan):
                return replace(plan.outcome(writing.written), dry_run=dry_run, revision=writing.revision)
        raise StoreUnavailable("the records change all the time; nothing more was written")
    except (StoreError, CannotOpen) as error:
        if not writing.written:
            raise
        raise Unfinished(
            f"{len(writing.written)} of {len(records)} records were written; the same import again goes on."
        ) from error


def _planned(snapshot: Snapshot, codec: Codec, records: Sequence[Record], too_large: Container[str], how: How) -> Plan:
    """Return the plan over what is there: with many records it takes seconds, in which requests are served."""
    return Plan(There.of(snapshot, codec), too_large=too_large, **how).made(records)


class _Writing:
    """Writes plans in batches: `written` is what became of each record, `too_large` which ones the store never takes.

    They are kept for a run that has to begin anew after some batches; so is `revision`, the store's of the last one.
    """

    def __init__(self, store: IamStore, codec: Codec) -> None:
        self._store, self._codec = store, codec
        self.written: dict[str, str] = {}
        self.too_large: set[str] = set()
        self.conflicts = self.revision = 0

    async def carry_out(self, plan: Plan) -> bool:
        """Return whether all of it is written; else it is to be planned anew.

        So it is when others changed what is there, or the store takes a record at no time, upon which other ones may stand.
        """
        rest = list(plan.batches())[::-1]
        while rest:
            batch = rest.pop()
            writes = [write for record, expected in batch for write in _writes_of(self._codec, record, expected)]
            try:
                self.revision = await self._store.swap(writes, list(plan.checks(batch)))
            except Conflict:
                self.conflicts += 1
                return False
            except StoreRefused:
                if len(batch) == 1:
                    self.too_large.add(_about(batch[0][0]))
                    return False
                rest += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
                continue
            plan.revisions |= {record_key(record): self.revision for record, _ in batch}
            self.written |= {_about(record): "replaced" if expected else "created" for record, expected in batch}
        return True


def _about(record: Record) -> str:
    return "/".join(record_key(record))


def _writes_of(codec: Codec, record: Record, expected: int) -> Iterator[Write]:
    """Yield a record's write, and that a new user or group has nothing that was left attached to a former one of its name."""
    yield Write(*record_key(record), codec.encode(record), expected=expected)
    if not expected and (left := _attachment_of(record)):
        yield Write(Kind.ATTACHMENT, left, None)


def _attachment_of(record: Record) -> str:
    """Return the name of the record of a user's or a group's policies, "" for what has none."""
    return attachment_name(record.name, group=isinstance(record, Group)) if isinstance(record, User | Group) else ""


class Plan:
    """What to write, over what is there."""

    def __init__(
        self, there: There, *, root_access_key: str, now: int, overwrite: bool = False, known_policies: Iterable[str] = (),
        by_root: bool = True, too_large: Container[str] = (),
    ) -> None:  # fmt: skip
        self.writes: list[tuple[Record, int]] = []
        self._there, self._root, self._now, self._overwrite = there, root_access_key, now, overwrite
        self._too_large, self._by_root = too_large, by_root
        self._names = {kind: there.names(kind) for kind in KINDS}
        self._given = frozenset(known_policies)
        self._policies = {*self._given, *self._names[Kind.POLICY]}
        self._told: dict[str, list[Any]] = {f.name: [] for f in fields(Outcome)}
        self._seen: set[tuple[Kind, str]] = set()
        self._new: set[str] = set()  # names of attachments whose subject is not there yet
        self.revisions = dict(there.revisions)  # as they are, and as they become while the plan is carried out

    def batches(self) -> Iterator[list[tuple[Record, int]]]:
        """Yield what goes into a transaction each; an attachment never with its subject, whose making removes a former one."""
        attachments = [write for write in self.writes if isinstance(write[0], Attachment)]
        for writes in ([write for write in self.writes if not isinstance(write[0], Attachment)], attachments):
            yield from (writes[start : start + _BATCH] for start in range(0, len(writes), _BATCH))

    def checks(self, batch: Iterable[tuple[Record, int]]) -> Iterator[Check]:
        """Yield that meanwhile no user takes the name of an account, nor the other way round, and that no attachment's subject goes."""
        for record, expected in batch:
            match record:
                case User(name) if not expected:
                    yield Check(Kind.ACCOUNT, name, 0)
                case ServiceAccount(name) if not expected:
                    yield Check(Kind.USER, name, 0)
                case Attachment(subject, _, group):
                    kind = Kind.GROUP if group else Kind.USER
                    if (kind, subject) in self.revisions:
                        yield Check(kind, subject, self.revisions[kind, subject])

    def made(self, records: Iterable[Record]) -> Plan:
        """Return the plan with these records in it, policies first and attachments last."""
        for record in sorted(records, key=lambda record: (KINDS.index(record_key(record)[0]), record_key(record)[1])):
            about = _about(record)
            reason = self._reason(about, record)
            self._seen.add(record_key(record))
            if reason:
                self._told["skipped"].append(Note(about, reason))
            else:
                self._decide(about, self._fitted(about, record))
        return self

    def outcome(self, written: Mapping[str, str]) -> Outcome:
        """Return what the plan does, after what was `written` before it was made."""
        told: dict[str, Any] = {name: tuple(found) for name, found in self._told.items() if found}
        for what in ("created", "replaced"):
            now = told.get(what, ())
            known = frozenset(now)
            told[what] = (*(about for about, was in written.items() if was == what and about not in known), *now)
        told["unchanged"] = tuple(about for about in told.get("unchanged", ()) if about not in written)
        return Outcome(**told)

    def _reason(self, about: str, record: Record) -> str:
        """Return why a record is left out, "" when it is not."""
        if record_key(record) in self._seen:
            return "it is given twice; the first one counts"
        if not self._by_root and self._is_roots(record):
            return "it is root's here, and only root changes it"
        return "it is larger than the store takes" if about in self._too_large else self._refusal(record)

    def _is_roots(self, record: Record) -> bool:
        """Return whether an account of this name is root's here, or may be: one that cannot be read is anybody's."""
        key = record_key(record)
        if key[0] is not Kind.ACCOUNT or key not in self._there.revisions:
            return False
        ours = self._there.records.get(key)
        return not isinstance(ours, ServiceAccount) or ours.parent == self._root

    def _refusal(self, record: Record) -> str:
        """Return why a record cannot be here, "" when it can."""
        match record:
            case PolicyDocument(name) if name in self._given:
                return "this gateway gives a policy of this name; that one counts, also where this one was attached"
            case User(name) if name == self._root or name in self._names[Kind.ACCOUNT]:
                return "root or a service account here has this name"
            case ServiceAccount(key) if key == self._root or key in self._names[Kind.USER]:
                return "root or a user here has this name"
            case ServiceAccount() if record.parent != self._root and not self._is_somebody(record.parent, Kind.USER):
                return f"there is no user {record.parent!r}"
            case Attachment(subject, _, group) if not self._is_somebody(subject, Kind.GROUP if group else Kind.USER):
                return "there is no such group" if group else "there is no such user"
            case _:
                return ""

    def _is_somebody(self, name: str, kind: Kind) -> bool:
        """Return whether a name is a user's or a group's, or one that an identity provider gives."""
        return name in self._names[kind] or "=" in name or ":" in name

    def _fitted(self, about: str, record: Record) -> Record:
        """Return a record as it can be here, with a time; tell what was taken off, and what gives no rights."""
        if isinstance(record, Group):
            users = self._names[Kind.USER]
            gone = [name for name in record.members if name not in users]
            self._warn(about, [f"its member {name!r} is no user and is left out" for name in gone])
            record = replace(record, members=tuple(name for name in record.members if name in users))
        if isinstance(record, Attachment):
            gone = [name for name in record.policies if name not in self._policies]
            self._warn(about, [f"there is no policy {name!r}: it gives nothing" for name in gone])
        return record

    def _warn(self, about: str, texts: Iterable[str]) -> None:
        self._told["warnings"] += [Note(about, text) for text in texts]

    def _decide(self, about: str, record: Record) -> None:
        """Plan a record that is new, equal, newer, or different and older."""
        key = record_key(record)
        self._names[key[0]].add(key[1])
        if isinstance(record, PolicyDocument):
            self._policies.add(record.name)
        ours, revision = self._there.records.get(key), self._there.revisions.get(key, 0)
        if key[0] is Kind.ATTACHMENT and key[1] in self._new:
            ours, revision = None, 0
        if not revision:
            self._new.add(_attachment_of(record))
            self._plan("created", about, record, 0)
        elif ours is not None and _bare(ours) == _bare(record):
            self._told["unchanged"].append(about)
        elif self._overwrite or (ours is not None and _updated(record) > _updated(ours)):
            self._plan("replaced", about, record, revision)
        else:
            self._told["kept"].append(Note(about, "ours differs and is not older" if ours else "ours cannot be read"))

    def _plan(self, what: str, about: str, record: Record, revision: int) -> None:
        self._told[what].append(about)
        self.writes.append((_with_times(record, lambda at: min(at or self._now, self._now)), revision))


def _bare(record: Record) -> Record:
    """Return a record without its times: two that differ in them alone are the same."""
    return _with_times(record, lambda _: 0)


def _with_times(record: Any, change: Callable[[int], int]) -> Record:
    """Return a record with its times changed."""
    times = {name: change(getattr(record, name)) for name in _TIMES if hasattr(record, name)}
    return cast("Record", replace(record, **times))


def _updated(record: Record) -> int:
    return int(getattr(record, "updated_at", 0))
