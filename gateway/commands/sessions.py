"""`minio-gw admin session …`: temporary credentials that were issued, and their end before their time.

They are ended by a gateway, which authorizes and logs it, and no more in the store itself, of which nobody would have known who did.
"""

from __future__ import annotations

from argparse import Namespace

from gateway.commands.client import AdminClient
from gateway.commands.command import Command, Shown, argument
from gateway.commands.endpoint import Unusable
from gateway.commands.tables import table
from gateway.printable import plain

_COLUMNS = ("ACCESS KEY", "PARENT", "PROVIDER", "ISSUED (UTC)", "EXPIRES (UTC)", "REVOKED")


def show_all(client: AdminClient, options: Namespace) -> Shown:
    """List the sessions that have not expired."""
    found = client.ours("GET", "/sessions", parent=options.principal)
    rows = [
        (s["accessKey"], s["parent"], s["provider"] or s["issuer"], s["issuedAt"], s["expiresAt"], s["revoked"])
        for s in found["sessions"]
    ]
    return Shown(found, table(_COLUMNS, rows))


def revoke(client: AdminClient, options: Namespace) -> Shown:
    """End one session, or those of a principal."""
    if bool(options.key) == bool(options.principal) or (options.key and options.type):
        raise Unusable("name an ACCESS_KEY, or --principal NAME, perhaps with --type TYPE, and one of them only")
    if options.key:
        found = client.ours("POST", "/sessions/revoke", {"accessKey": options.key})
        return Shown(found, f"revoked {plain(options.key)}")
    asked = {"parent": options.principal, **({"tokenRevokeType": options.type} if options.type else {})}
    found = client.ours("POST", "/sessions/revoke", asked)
    which = f"the sessions of type {plain(options.type)}" if options.type else "all sessions"
    return Shown(found, f"revoked {which} of {plain(found['parent'])} issued up to {found['issuedUpTo']}")


COMMANDS = (
    Command(
        ("session", "list"), "list the sessions that have not expired", show_all,
        (argument("--principal", metavar="NAME", help="of this user, openid:PROVIDER:SUB, … only"),),
    ),
    Command(
        ("session", "revoke"), "refuse a session, or those of a principal, on every gateway from now on", revoke,
        (argument("key", nargs="?", metavar="ACCESS_KEY", help="the session's access key"),
         argument("--principal", metavar="NAME", help="all sessions issued to it until now"),
         argument("--type", metavar="TYPE", help="of these only those of one TokenRevokeType")),
    ),
)  # fmt: skip
