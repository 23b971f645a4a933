"""The whole IAM as one document (`iam.portable`): exported, and imported here or elsewhere."""

from __future__ import annotations

import asyncio
import os

from gateway.admin.call import AdminCall, Body, Document, Reply, Route
from gateway.admin.errors import XMinioAdminInvalidArgument, XMinioIAMNotPortable
from gateway.admin.office import Office
from gateway.errors import AccessDenied
from iam import portable
from iam.model import Secret
from iam.notes import told
from iam.portable import NotPortable
from iam.records import Record, ServiceAccount


async def export(call: AdminCall, office: Office) -> Reply:
    """Return the document, its secret keys sealed with a passphrase, or in the clear for who says so."""
    asked = call.document("passphrase", "clear")
    passphrase, clear = _passphrase(asked), asked.flag("clear")
    if (passphrase is None) != clear:
        raise XMinioAdminInvalidArgument("Give a passphrase, or say `clear`, and one of them only.")
    records, root = list(portable.of_view(office.view())), office.root_access_key
    try:
        made = await asyncio.to_thread(
            portable.write, records, root_access_key=root, passphrase=passphrase, random=os.urandom
        )
    except NotPortable as error:
        raise XMinioAdminInvalidArgument(str(error)) from None
    return Reply({"document": made.text, "skipped": told(made.skipped)})


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
    if not call.principal.is_unrestricted:
        _check_roots(records, root)
    outcome = await office.changes.put_all(records, overwrite=asked.flag("replace"), dry_run=asked.flag("dryRun"))
    return Reply(outcome.document())


def _check_roots(records: list[Record], root: str) -> None:
    """Return if nothing here is root's: its accounts are root's own affair, since who has one is root."""
    if any(isinstance(record, ServiceAccount) and record.parent == root for record in records):
        raise AccessDenied(reason="the document has accounts of root's, and the caller is not root, or not all of it")


def _passphrase(asked: Document) -> Secret | None:
    text = asked.text("passphrase")
    return Secret(text) if text else None


ROUTES = (
    Route("POST", "/export", ("admin:ExportIAM",), export, body=Body.SEALED, answer=Body.SEALED),
    Route("POST", "/import", ("admin:ImportIAM",), take, body=Body.SEALED, answer=Body.SEALED, limit=portable.LARGEST),
)
