"""`minio-gw admin key …`: the keys that sign session tokens; never shown themselves."""

from __future__ import annotations

from argparse import Namespace

from gateway.commands.client import AdminClient
from gateway.commands.command import Command, Shown, argument
from gateway.commands.tables import cell, table
from gateway.printable import plain


def show_all(client: AdminClient, options: Namespace) -> Shown:  # noqa: ARG001 - as all commands
    """List the keys."""
    found = client.ours("GET", "/keys")
    rows = [(key["keyId"], key["createdAt"], key["activeAt"]) for key in found["keys"]]
    return Shown(found, table(("KEY ID", "MADE (UTC)", "MINTS FROM (UTC)"), rows))


def rotate(client: AdminClient, options: Namespace) -> Shown:  # noqa: ARG001 - as all commands
    """Make a new key."""
    made = client.ours("POST", "/keys/rotate")
    return Shown(made, f"made {plain(made['keyId'])}, which mints from {made['activeAt']}")


def withdraw(client: AdminClient, options: Namespace) -> Shown:
    """End a key and all its sessions."""
    found = client.ours("POST", "/keys/withdraw", {"keyId": options.key})
    return Shown(found, f"withdrew {plain(options.key)}: its sessions are refused")


def prune(client: AdminClient, options: Namespace) -> Shown:  # noqa: ARG001 - as all commands
    """Remove the keys of which no session is left."""
    found = client.ours("POST", "/keys/prune")
    return Shown(found, f"removed {cell(found['pruned'])}" if found["pruned"] else "no key could go")


COMMANDS = (
    Command(("key", "list"), "list the keys of session tokens", show_all),
    Command(("key", "rotate"), "make a new key; sessions of the old ones stay good", rotate),
    Command(
        ("key", "withdraw"), "end a key: every session that it signed is refused", withdraw,
        (argument("key", metavar="KEY_ID", help="the key's id"),),
    ),
    Command(("key", "prune"), "remove the keys of which no session is left", prune),
)  # fmt: skip
