"""`minio-gw admin user …`: users with permanent keys."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace

from gateway.commands.client import AdminClient
from gateway.commands.command import FILE, Command, Shown, argument
from gateway.commands.endpoint import Unusable, read_secret
from gateway.commands.tables import members, table
from gateway.printable import plain
from iam.names import new_secret

NAME = argument("name", metavar="NAME", help="the user's access key")
NEW_SECRET = (
    argument(
        "--new-secret-file", help="file with the secret key, `-` for the standard input; else it is asked for", **FILE
    ),
    argument("--generate", action="store_true", help="make a secret key, and show it this once"),
)


def add(client: AdminClient, options: Namespace) -> Shown:
    """Make a user, or give one another secret key."""
    secret, generated = secret_of(options)
    status = "disabled" if options.disabled else "enabled"
    client.minio("PUT", "/add-user", {"secretKey": secret, "status": status}, sealed=True, accessKey=options.name)
    shown = {"accessKey": options.name, "status": status, **({"secretKey": secret} if generated else {})}
    return Shown(
        shown, members({"user": options.name, "status": status, **({"secret key": secret} if generated else {})})
    )


def secret_of(options: Namespace) -> tuple[str, bool]:
    """Return the new secret key that the options name, and whether it was made here. Raises Unusable."""
    if options.generate:
        return new_secret().reveal(), True
    if options.new_secret_file is not None:
        return read_secret(options.new_secret_file), False
    if not sys.stdin.isatty():
        raise Unusable("no secret key is given. Remedy: --new-secret-file FILE (`-`: standard input), or --generate.")
    try:
        first, second = getpass.getpass("secret key: "), getpass.getpass("once more: ")
    except EOFError:
        raise Unusable("no secret key was typed") from None
    if first != second:
        raise Unusable("the two secret keys differ")
    return first, False


def remove(client: AdminClient, options: Namespace) -> Shown:
    """Remove a user."""
    client.minio("DELETE", "/remove-user", accessKey=options.name)
    return Shown({"accessKey": options.name, "removed": True}, f"removed {plain(options.name)}")


def enable(client: AdminClient, options: Namespace) -> Shown:
    """Enable a user."""
    return _with_status(client, options.name, "enabled")


def disable(client: AdminClient, options: Namespace) -> Shown:
    """Disable a user."""
    return _with_status(client, options.name, "disabled")


def _with_status(client: AdminClient, name: str, status: str) -> Shown:
    client.minio("PUT", "/set-user-status", accessKey=name, status=status)
    return Shown({"accessKey": name, "status": status}, f"{status} {plain(name)}")


def show_all(client: AdminClient, options: Namespace) -> Shown:  # noqa: ARG001 - as all commands
    """List the users."""
    found = client.minio("GET", "/list-users")
    users = [{"accessKey": name, **_described(user)} for name, user in sorted(found.items())]
    rows = [(user["accessKey"], user["status"], user["policies"], user["memberOf"]) for user in users]
    return Shown({"users": users}, table(("ACCESS KEY", "STATUS", "POLICIES", "GROUPS"), rows))


def info(client: AdminClient, options: Namespace) -> Shown:
    """Show a user."""
    user = _described(client.minio("GET", "/user-info", accessKey=options.name))
    text = {"user": options.name, "status": user["status"], "policies": user["policies"], "groups": user["memberOf"],
            "changed": user["updatedAt"]}  # fmt: skip
    return Shown({"accessKey": options.name, **user}, members(text))


def _described(user: dict[str, object]) -> dict[str, object]:
    """Return the members that matter, under names that stay."""
    policies = [name for name in str(user.get("policyName") or "").split(",") if name]
    return {
        "status": user.get("status"), "policies": policies, "memberOf": user.get("memberOf") or [],
        "updatedAt": user.get("updatedAt"),
    }  # fmt: skip


COMMANDS = (
    Command(
        ("user", "add"), "make a user, or give one another secret key", add,
        (NAME, argument("--disabled", action="store_true", help="disabled for now")), NEW_SECRET,
    ),
    Command(("user", "list"), "list the users", show_all),
    Command(("user", "info"), "show a user", info, (NAME,)),
    Command(("user", "enable"), "enable a user", enable, (NAME,)),
    Command(("user", "disable"), "disable a user: its keys and sessions are refused", disable, (NAME,)),
    Command(("user", "remove"), "remove a user, its service accounts and what is attached to it; its sessions end", remove, (NAME,)),
)  # fmt: skip
