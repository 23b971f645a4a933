"""`minio-gw admin group …`: groups of users."""

from __future__ import annotations

from argparse import Namespace

from gateway.commands.client import AdminClient
from gateway.commands.command import Command, Shown, argument
from gateway.commands.tables import cell, members, table
from gateway.printable import plain

NAME = argument("name", metavar="GROUP", help="the group's name")


def add(client: AdminClient, options: Namespace) -> Shown:
    """Add users to a group, which makes it."""
    client.minio("PUT", "/update-group-members", {"group": options.name, "members": options.users, "isRemove": False})
    text = f"added {cell(options.users)} to {plain(options.name)}"
    return Shown({"group": options.name, "added": options.users}, text)


def remove(client: AdminClient, options: Namespace) -> Shown:
    """Remove users from a group, or the empty group itself."""
    client.minio("PUT", "/update-group-members", {"group": options.name, "members": options.users, "isRemove": True})
    if options.users:
        text = f"removed {cell(options.users)} from {plain(options.name)}"
        return Shown({"group": options.name, "removed": options.users}, text)
    return Shown({"group": options.name, "removed": True}, f"removed {plain(options.name)}")


def enable(client: AdminClient, options: Namespace) -> Shown:
    """Enable a group."""
    return _with_status(client, options.name, "enabled")


def disable(client: AdminClient, options: Namespace) -> Shown:
    """Disable a group."""
    return _with_status(client, options.name, "disabled")


def _with_status(client: AdminClient, name: str, status: str) -> Shown:
    client.minio("PUT", "/set-group-status", group=name, status=status)
    return Shown({"group": name, "status": status}, f"{status} {plain(name)}")


def show_all(client: AdminClient, options: Namespace) -> Shown:  # noqa: ARG001 - as all commands
    """List the groups."""
    names = client.minio("GET", "/groups")
    return Shown({"groups": names}, table(("GROUP",), [(name,) for name in names]))


def info(client: AdminClient, options: Namespace) -> Shown:
    """Show a group."""
    found = client.minio("GET", "/group", group=options.name)
    policies = [name for name in found["policy"].split(",") if name]
    shown = {"group": found["name"], "status": found["status"], "members": found["members"], "policies": policies,
             "updatedAt": found["updatedAt"]}  # fmt: skip
    text = {"group": found["name"], "status": found["status"], "members": found["members"], "policies": policies,
            "changed": found["updatedAt"]}  # fmt: skip
    return Shown(shown, members(text))


COMMANDS = (
    Command(
        ("group", "add"), "add users to a group, which makes it", add,
        (NAME, argument("users", nargs="+", metavar="USER", help="a user")),
    ),
    Command(
        ("group", "remove"), "remove users from a group; without users, the empty group itself", remove,
        (NAME, argument("users", nargs="*", metavar="USER", help="a user")),
    ),
    Command(("group", "list"), "list the groups", show_all),
    Command(("group", "info"), "show a group", info, (NAME,)),
    Command(("group", "enable"), "enable a group", enable, (NAME,)),
    Command(("group", "disable"), "disable a group: its policies do not count", disable, (NAME,)),
)  # fmt: skip
