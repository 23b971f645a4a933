"""`minio-gw admin service-account …`: permanent keys that act for somebody, perhaps narrowed by a policy of their own."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from gateway.commands.client import AdminClient
from gateway.commands.command import FILE, Command, Shown, argument, moment
from gateway.commands.endpoint import Unusable, read_secret, read_text
from gateway.commands.policies import is_dn
from gateway.commands.tables import members, table
from gateway.printable import plain, plain_lines

KEY = argument("key", metavar="ACCESS_KEY", help="the account's access key")
_MEMBERS = (
    argument("--policy", help="file of a policy that narrows the account", **FILE),
    argument("--name", metavar="NAME", help="a name for people"),
    argument("--description", metavar="TEXT", help="what it is for"),
    argument("--expires", type=moment, metavar="TIME", help="when it ends: a time, or a length as 12h or 30d"),
)


def add(client: AdminClient, options: Namespace) -> Shown:
    """Make an account; its secret key is shown this once."""
    document = {
        "targetUser": options.parent, "accessKey": options.key, "name": options.name, "description": options.description,
        "policy": _policy(options.policy), "expiration": options.expires,
        "secretKey": read_secret(options.new_secret_file) if options.new_secret_file else None,
    }  # fmt: skip
    path = "/idp/ldap/add-service-account" if options.parent and is_dn(options.parent) else "/add-service-account"
    given = {name: value for name, value in document.items() if value is not None}
    made = client.minio("PUT", path, given, sealed=True)["credentials"]
    shown = {"accessKey": made["accessKey"], "secretKey": made["secretKey"], "expiration": made["expiration"]}
    text = {"access key": made["accessKey"], "secret key": made["secretKey"], "expires": made["expiration"]}
    return Shown(shown, members(text))


def _policy(file: Any) -> Any:
    if file is None:
        return None
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError):
        raise Unusable(f"{file} is no JSON document") from None


def update(client: AdminClient, options: Namespace) -> Shown:
    """Change an account."""
    document = {
        "newPolicy": {} if options.no_policy else _policy(options.policy), "newName": options.name,
        "newDescription": options.description, "newExpiration": options.expires, "newStatus": options.status,
        "newSecretKey": read_secret(options.new_secret_file) if options.new_secret_file else None,
    }  # fmt: skip
    given = {name: value for name, value in document.items() if value is not None}
    if not given:
        raise Unusable("nothing is to be changed. Remedy: say what, for example --status off.")
    client.minio("POST", "/update-service-account", given, sealed=True, accessKey=options.key)
    changed = sorted(name.removeprefix("new") for name in given)
    changed = [name[0].lower() + name[1:] for name in changed]
    return Shown(
        {"accessKey": options.key, "changed": changed}, f"changed {', '.join(changed)} of {plain(options.key)}"
    )


def show_all(client: AdminClient, options: Namespace) -> Shown:
    """List the accounts of a user, by default the caller's, or of everybody."""
    if options.all:
        found: dict[str, Any] = {}
        for provider in ("", "/idp/ldap"):
            found |= client.minio("GET", f"{provider}/list-access-keys-bulk", listType="svcacc-only", all="true")
        accounts = [account for _, keys in sorted(found.items()) for account in keys["serviceAccounts"]]
    else:
        accounts = client.minio("GET", "/list-service-accounts", user=options.parent)["accounts"]
    rows = [
        (a["accessKey"], a["parentUser"], a["accountStatus"], a["expiration"], a["name"], a["description"])
        for a in accounts
    ]
    return Shown(
        {"serviceAccounts": accounts}, table(("ACCESS KEY", "PARENT", "STATUS", "EXPIRES", "NAME", "DESCRIPTION"), rows)
    )


def info(client: AdminClient, options: Namespace) -> Shown:
    """Show an account, with the policy that applies."""
    found = client.minio("GET", "/info-service-account", accessKey=options.key)
    policy = json.loads(found["policy"])
    text = {
        "access key": options.key, "parent": found["parentUser"], "status": found["accountStatus"], "expires": found["expiration"],
        "name": found["name"], "description": found["description"], "policy": "its parent's" if found["impliedPolicy"] else "its own",
    }  # fmt: skip
    lines = [members(text), plain_lines(json.dumps(policy, indent=2))]
    return Shown({"accessKey": options.key, **found, "policy": policy}, "\n".join(lines))


def remove(client: AdminClient, options: Namespace) -> Shown:
    """Remove an account."""
    client.minio("DELETE", "/delete-service-account", accessKey=options.key)
    return Shown({"accessKey": options.key, "removed": True}, f"removed {plain(options.key)}")


_SECRET = argument("--new-secret-file", help="file with its secret key, `-` for the standard input", **FILE)
_PARENT = {"dest": "parent", "metavar": "USER"}

COMMANDS = (
    Command(
        ("service-account", "add"), "make a service account, for the caller or for a user; its secret key is shown this once", add,
        (argument("--for", **_PARENT, help="for whom it acts; by default the caller"),
         argument("--key", metavar="ACCESS_KEY", help="its access key, with --new-secret-file; by default both are made"),
         _SECRET, *_MEMBERS),
    ),
    Command(
        ("service-account", "update"), "change a service account", update,
        (KEY, argument("--status", choices=("on", "off"), help="off: it is refused"),
         argument("--no-policy", action="store_true", help="let it do all that its parent may"), _SECRET, *_MEMBERS),
    ),
    Command(
        ("service-account", "list"), "list service accounts", show_all, (),
        (argument("--of", **_PARENT, help="whose; by default the caller's"), argument("--all", action="store_true", help="everybody's")),
    ),
    Command(("service-account", "info"), "show a service account, with the policy that applies", info, (KEY,)),
    Command(("service-account", "remove"), "remove a service account", remove, (KEY,)),
)  # fmt: skip
