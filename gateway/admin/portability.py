"""The whole IAM as one document (`iam.portable`): exported, and imported here or elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from gateway.admin.call import AdminCall, Body, Document, Reply, Route
from gateway.admin.errors import XMinioAdminInvalidArgument, XMinioIAMNotPortable
from gateway.admin.office import Office
from gateway.errors import AccessDenied
from iam import portable
from iam.codec import record_key
from iam.model import Secret
from iam.notes import Note, told
from iam.portable import NotPortable
from iam.records import Record, ServiceAccount


async def export(call: AdminCall, office: Office) -> Reply:
    """Return the document, its secret keys sealed with a passphrase, or in the clear for who says so."""
    asked = call.document("passphrase", "clear")
    passphrase, clear = _passphrase(asked), asked.flag("clear")
    if (passphrase is None) != clear:
        raise XMinioAdminInvalidArgument("Give a passphrase, or say `clear`, and one of them only.")
    root = office.root_access_key
    records, kept = _exported(call, portable.of_view(office.view()), root)
    try:
        made = await asyncio.to_thread(
            portable.write, records, root_access_key=root, passphrase=passphrase, random=os.urandom
        )
    except NotPortable as error:
        raise XMinioAdminInvalidArgument(str(error)) from None
    return Reply({"document": made.text, "skipped": told((*made.skipped, *kept))})


def _exported(call: AdminCall, records: Iterable[Record], root: str) -> tuple[list[Record], list[Note]]:
    """Return what the caller may carry away, and notes about the rest: with the secret of an account of root's one is root."""
    given = list(records)
    if call.principal.is_unrestricted:
        return given, []
    kept = [record for record in given if _is_of(root, record)]
    notes = [
        Note(f"serviceAccounts/{record_key(record)[1]}", "it is root's, and only root exports it") for record in kept
    ]
    return [record for record in given if not _is_of(root, record)], notes


def _is_of(root: str, record: Record) -> bool:
    return isinstance(record, ServiceAccount) and record.parent == root


async def take(call: AdminCall, office: Office) -> Reply:
    """Import a document: what is new, what differs and is newer, or all that differs (`replace`); say what became of each."""
    asked = call.document("document", "passphrase", "replace", "dryRun")
    root, passphrase = office.root_access_key, _passphrase(asked)
    try:
        records = await asyncio.to_thread(
            portable.read, asked.text("document"), root_access_key=root, passphrase=passphrase
        )
    except NotPortable as error:
        raise XMinioIAMNotPortable("; ".join(error.problems[:20])) from None
    by_root = call.principal.is_unrestricted
    if not by_root:
        _check_roots(records, root)
    outcome = await office.changes.put_all(
        records, overwrite=asked.flag("replace"), dry_run=asked.flag("dryRun"), by_root=by_root
    )
    return Reply(outcome.document())


def _check_roots(records: list[Record], root: str) -> None:
    """Return if nothing here is root's: its accounts are root's own affair, since who has one is root."""
    if any(_is_of(root, record) for record in records):
        raise AccessDenied(reason="the document has accounts of root's, and the caller is not root, or not all of it")


def _passphrase(asked: Document) -> Secret | None:
    text = asked.text("passphrase")
    return Secret(text) if text else None


ROUTES = (
    Route("POST", "/export", ("admin:ExportIAM",), export, body=Body.SEALED, answer=Body.SEALED),
    Route("POST", "/import", ("admin:ImportIAM",), take, body=Body.SEALED, answer=Body.SEALED, limit=portable.LARGEST),
)
