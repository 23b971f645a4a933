"""Take over the IAM of a MinIO gateway from its etcd: read, and tell what was taken and what could not be.

Nothing is written to that etcd, and MinIO may run meanwhile. What is read becomes records (`iam.minio_layout`). The command line
carries them to a gateway as a document (`iam.portable`), sealed with its caller's secret key, and the gateway puts them into its
store (`iam.bulk`): so whoever runs it needs no access to our store and none of its keys, is authorized, and leaves a line in the audit.

    found = await takeover.read(etcd, former, now=now)                                           # where MinIO's etcd is reached
    text = portable.write(found.records, root_access_key=former.root[0], passphrase=secret, ...).text
    records = portable.read(text, root_access_key=root, passphrase=secret)                       # in the gateway
    outcome = await bulk.put(store, codec, records, root_access_key=root, ...)
    print(takeover.rendered(takeover.report(found, outcome.document())))                         # at the command line again
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from iam import bulk, minio_layout, minio_values
from iam.codec import Codec
from iam.etcd_cluster import Cluster
from iam.minio_layout import Former, Found
from iam.minio_values import Unusable
from iam.notes import told
from iam.records import Record, ServiceAccount
from iam.store import EtcdSettings, IamStore, StoreError

_AT_ONCE = 4  # values being decrypted, each with 64 MiB


class NothingThere(StoreError):
    """There is no key of MinIO's IAM behind this prefix."""


async def read(settings: EtcdSettings, former: Former, *, now: int) -> Found:
    """Return what can be had from the etcd of a MinIO gateway; `settings.path_prefix` is its MINIO_ETCD_PATH_PREFIX.

    Raises StoreUnavailable, and NothingThere rather than taking over nothing.
    """
    rows = await _rows(settings)
    if not rows:
        raise NothingThere(f"there is no key that begins with {settings.path_prefix}{minio_layout.ROOT}")
    room = asyncio.Semaphore(_AT_ONCE)

    async def opened(value: bytes) -> bytes | Unusable:
        async with room:
            return await asyncio.to_thread(_opened, value, former)

    values = await asyncio.gather(*map(opened, rows.values()))
    return minio_layout.read(dict(zip(rows, values, strict=True)), former, now=now)


async def _rows(settings: EtcdSettings) -> dict[str, bytes]:
    """Return values by key without prefix, all of one revision."""
    cluster = Cluster(settings)
    cluster.open()
    try:
        prefix = settings.path_prefix.encode()
        _, found = await cluster.rows(prefix + minio_layout.ROOT.encode())
        return {kv.key[len(prefix) :].decode(errors="replace"): kv.value for kv in found}
    finally:
        await cluster.close()


def _opened(value: bytes, former: Former) -> bytes | Unusable:
    try:
        return minio_values.opened(value, former.root)
    except Unusable as error:
        return error


async def run(
    settings: EtcdSettings,
    former: Former,
    store: IamStore,
    codec: Codec,
    *,
    root_access_key: str,
    now: int,
    overwrite: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Take over into a store, as a gateway would; return the report. Raises what `read` and `bulk.put` raise."""
    found = await read(settings, former, now=now)
    records = list(under_root(found.records, former, root_access_key))
    outcome = await bulk.put(
        store, codec, records, root_access_key=root_access_key, now=now, overwrite=overwrite, dry_run=dry_run
    )
    return report(found, outcome.document())


def under_root(records: Iterable[Record], former: Former, root_access_key: str) -> Iterator[Record]:
    """Yield the records with the former root's service accounts under this root."""
    theirs = former.root[0] if former.root else None
    for record in records:
        if isinstance(record, ServiceAccount) and record.parent == theirs:
            yield replace(record, parent=root_access_key)
        else:
            yield record


def report(found: Found, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an administrator should know: `outcome` (`bulk.Outcome.document`), and what reading found besides."""
    return {
        **outcome,
        "skipped": [*told(found.skipped), *outcome["skipped"]],
        "warnings": [*told(found.warnings), *outcome["warnings"]],
        "sessions": {"live": found.sessions, "expired": found.expired},
    }


def rendered(report: Mapping[str, Any]) -> str:
    """Return a report, or the outcome of an import, as text for a terminal."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    would = "would be " if report["dryRun"] else ""
    yield f"{would}created: {_counted(report['created'])}"
    yield f"{would}replaced: {_counted(report['replaced'])}"
    yield f"unchanged: {_counted(report['unchanged'])}"
    yield from _listed("kept as they are here (--replace overwrites them):", report["kept"])
    yield from _listed("not taken:", report["skipped"])
    yield from _listed("to know:", report["warnings"])
    if "sessions" in report:
        live, expired = report["sessions"]["live"], report["sessions"]["expired"]
        yield f"temporary credentials, which are not taken: {live} still good, {expired} expired"


def _listed(title: str, notes: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Yield a title and a line for each note; what strangers named may not speak to the terminal."""
    lines = [f"  {note['about']}: {note['text']}" for note in notes]
    yield from (_printable(line) for line in ([title, *lines] if lines else []))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _counted(names: Iterable[str]) -> str:
    """Return `2 policies, 1 users`, or `nothing`."""
    counts = Counter(name.partition("/")[0] for name in names)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
