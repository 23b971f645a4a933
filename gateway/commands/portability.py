"""`minio-gw admin export` and `import`: the whole IAM as one document, and that of a MinIO gateway's etcd."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

from gateway.commands.client import AdminClient
from gateway.commands.command import FILE, Command, Shown, argument, seconds
from gateway.commands.endpoint import Unusable, read_secret, read_text
from gateway.printable import plain, plain_lines
from iam import portable
from iam.model import Secret
from iam.store import EtcdSettings, StoreError

_PRIVATE = 0o600
_ENVELOPE = 65_536  # bytes, more than its encryption adds to a document of the largest size


def export(client: AdminClient, options: Namespace) -> Shown:
    """Write the document to a file that nobody else may read, or to the standard output."""
    if bool(options.passphrase_file) == options.clear:
        raise Unusable("give --passphrase-file FILE, which seals the secret keys, or --clear, and one of them only")
    asked = {"clear": True} if options.clear else {"passphrase": read_secret(options.passphrase_file)}
    found = client.ours("POST", "/export", asked, sealed=True)
    if options.out is None:
        return Shown(found, found["document"].removesuffix("\n"))
    _write(options.out, found["document"])
    notes = "".join(f"\nleft out: {plain(note['about'])}: {plain(note['text'])}" for note in found["skipped"])
    return Shown({"file": str(options.out), "skipped": found["skipped"]}, f"wrote {plain(str(options.out))}{notes}")


def _write(path: Path, text: str) -> None:
    """Write a new file; one that is there already is not written over."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from None


def take(client: AdminClient, options: Namespace) -> Shown:
    """Import a document."""
    passphrase = read_secret(options.passphrase_file) if options.passphrase_file else None
    return _reported(_imported(client, options, read_text(options.file), passphrase))


def take_minio(client: AdminClient, options: Namespace) -> Shown:
    """Read the etcd of a MinIO gateway, and import what is there."""
    from iam import takeover  # noqa: PLC0415 - gRPC only for who has etcd
    from iam.minio_layout import Former  # noqa: PLC0415

    former = Former(_former_root(options), dict(options.provider or ()), _normal_dn)
    try:
        found = asyncio.run(takeover.read(_etcd(options), former, now=int(time.time())))
    except StoreError as error:
        raise Unusable(f"etcd: {error}") from None
    passphrase = secrets.token_urlsafe(24)
    root = former.root[0] if former.root else ""
    made = portable.write(found.records, root_access_key=root, passphrase=Secret(passphrase), random=os.urandom)
    outcome = _imported(client, options, made.text, passphrase)
    return _reported(takeover.report(found, outcome))


def _imported(client: AdminClient, options: Namespace, document: str, passphrase: str | None) -> dict[str, Any]:
    asked = {"document": document, "replace": options.replace, "dryRun": options.dry_run}
    asked |= {"passphrase": passphrase} if passphrase else {}
    if len(json.dumps(asked)) > portable.LARGEST - _ENVELOPE:
        raise Unusable(
            f"the document is larger than the {portable.LARGEST} bytes that a gateway takes. Remedy: import it in parts."
        )
    found: dict[str, Any] = client.ours("POST", "/import", asked, sealed=True)
    return found


def _reported(report: dict[str, Any]) -> Shown:
    from iam import takeover  # noqa: PLC0415 - as above

    return Shown(report, plain_lines(takeover.rendered(report).removesuffix("\n")))


def _former_root(options: Namespace) -> tuple[str, Secret] | None:
    """Return the root pair that MinIO had: it opens values of 2019-11 to 2021-04, and says which accounts were root's."""
    if bool(options.former_user) != bool(options.former_password_file):
        raise Unusable("--former-user and --former-password-file belong together")
    return (options.former_user, Secret(read_secret(options.former_password_file))) if options.former_user else None


def _etcd(options: Namespace) -> EtcdSettings:
    endpoints = tuple(e if "://" in e else f"http://{e}" for e in options.etcd.split(",") if e)
    if bool(options.etcd_user) != bool(options.etcd_password_file) or bool(options.etcd_cert) != bool(options.etcd_key):
        raise Unusable("--etcd-user and --etcd-password-file belong together, so do --etcd-cert and --etcd-key")
    password = Secret(read_secret(options.etcd_password_file)) if options.etcd_password_file else None
    return EtcdSettings(
        endpoints, options.prefix, options.etcd_cert, options.etcd_key, options.etcd_ca, options.etcd_user or "", password,
        timeout=options.etcd_timeout,
    )  # fmt: skip


def _normal_dn(name: str) -> str:
    """Return a distinguished name as the gateway keeps it."""
    from sts.dn import NotADn, normalize  # noqa: PLC0415

    try:
        return normalize(name)
    except NotADn:
        return name


def provider(text: str) -> tuple[str, str]:
    """Return an issuer and what its provider is called here, of ISSUER=openid:NAME. For argparse."""
    issuer, equals, name = text.rpartition("=")
    if not equals or not issuer or not name:
        raise ArgumentTypeError(f"{text!r} is not ISSUER=PROVIDER, as in https://idp.example=openid:corp")
    return issuer, name


_HOW = (
    argument("--replace", action="store_true", help="write over what is here and differs, also where ours is newer"),
    argument("--dry-run", action="store_true", help="say what would be done, and do nothing"),
)

COMMANDS = (
    Command(
        ("export",), "write users, groups, policies, service accounts and attachments as one document", export,
        (argument("--passphrase-file", help="file with the passphrase that seals the secret keys, `-`: standard input", **FILE),
         argument("--clear", action="store_true", help="leave the secret keys in the clear"),
         argument("--out", help="a new file, for nobody else to read; by default the standard output", **FILE)),
    ),
    Command(
        ("import", "file"), "import such a document", take,
        (argument("file", help="the document, `-` for the standard input", **FILE),
         argument("--passphrase-file", help="file with the passphrase that it was sealed with", **FILE), *_HOW),
    ),
    Command(
        ("import", "minio"), "take over the users, groups, policies and service accounts of a MinIO gateway's etcd", take_minio,
        (argument("--etcd", required=True, metavar="URLS", help="the members of that etcd, comma separated"),
         argument("--prefix", default="", metavar="PREFIX", help="its MINIO_ETCD_PATH_PREFIX"),
         argument("--etcd-ca", help="CA certificates that sign etcd's", **FILE),
         argument("--etcd-cert", help="client certificate for etcd", **FILE),
         argument("--etcd-key", help="its key", **FILE),
         argument("--etcd-user", metavar="NAME", help="etcd user"),
         argument("--etcd-password-file", help="file with its password", **FILE),
         argument("--etcd-timeout", type=seconds, default=10.0, metavar="SECONDS", help="for one call (default 10)"),
         argument("--former-user", metavar="ACCESS_KEY", help="root's access key of that gateway"),
         argument("--former-password-file", help="file with its secret key", **FILE),
         argument("--provider", type=provider, action="append", metavar="ISSUER=PROVIDER",
                  help="what the provider of an issuer is called here, as https://idp.example=openid:corp; may be given again"),
         *_HOW),
    ),
)  # fmt: skip
