"""`minio-gw admin policy …`: policies, and to whom they are attached."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from gateway.commands.client import AdminClient
from gateway.commands.command import FILE, Command, Shown, argument
from gateway.commands.endpoint import read_text
from gateway.commands.tables import cell, table
from gateway.printable import plain, plain_lines

NAME = argument("name", metavar="NAME", help="the policy's name")
_POLICIES = argument("policies", nargs="+", metavar="POLICY", help="a policy's name")
_FEDERATED = ("openid:", "tls:", "custom:")
_TO = (
    argument("--user", metavar="USER", help="a user, openid:PROVIDER:SUB, tls:NAME, custom:USER or a distinguished name"),
    argument("--group", metavar="GROUP", help="a group, openid:PROVIDER:GROUP or a distinguished name"),
)  # fmt: skip


def put(client: AdminClient, options: Namespace) -> Shown:
    """Put a policy under a name."""
    client.minio("PUT", "/add-canned-policy", read_text(options.file).encode(), name=options.name)
    return Shown({"policy": options.name, "put": True}, f"put {plain(options.name)}")


def show(client: AdminClient, options: Namespace) -> Shown:
    """Show a policy."""
    document = client.minio("GET", "/info-canned-policy", name=options.name)
    return Shown({"policy": options.name, "document": document}, plain_lines(json.dumps(document, indent=2)))


def show_all(client: AdminClient, options: Namespace) -> Shown:  # noqa: ARG001 - as all commands
    """List the policies."""
    found = client.minio("GET", "/list-canned-policies")
    listed = [{"policy": name, "document": document} for name, document in sorted(found.items())]
    return Shown(
        {"policies": listed}, table(("POLICY", "STATEMENTS"), [(p["policy"], _count(p["document"])) for p in listed])
    )


def _count(document: dict[str, Any]) -> int:
    statements = document.get("Statement", [])
    return len(statements) if isinstance(statements, list) else 1


def remove(client: AdminClient, options: Namespace) -> Shown:
    """Remove a policy that nobody has."""
    client.minio("DELETE", "/remove-canned-policy", name=options.name)
    return Shown({"policy": options.name, "removed": True}, f"removed {plain(options.name)}")


def attach(client: AdminClient, options: Namespace) -> Shown:
    """Attach policies to somebody."""
    return _associated(client, options, "attach", "policiesAttached")


def detach(client: AdminClient, options: Namespace) -> Shown:
    """Detach policies from somebody."""
    return _associated(client, options, "detach", "policiesDetached")


def _associated(client: AdminClient, options: Namespace, verb: str, member: str) -> Shown:
    kind, subject = ("group", options.group) if options.group else ("user", options.user)
    where = f"/idp/{'ldap' if is_dn(subject) else 'builtin'}/policy/{verb}"
    found = client.minio("POST", where, {"policies": options.policies, kind: subject}, sealed=True)
    changed = found.get(member) or []
    text = f"{verb}ed {cell(changed)} {'to' if verb == 'attach' else 'from'} {plain(subject)}"
    return Shown({kind: subject, member: changed, "updatedAt": found["updatedAt"]}, text)


def is_dn(subject: str) -> bool:
    """Return whether a subject is an LDAP directory's: only these have a `=`, and no provider's prefix."""
    return "=" in subject and not subject.startswith(_FEDERATED)


def entities(client: AdminClient, options: Namespace) -> Shown:
    """Show who has which policies."""
    asked = {"user": options.user or [], "group": options.group or [], "policy": options.policy or []}
    found: dict[str, list[Any]] = {"userMappings": [], "groupMappings": [], "policyMappings": []}
    for provider, ours in (("builtin", lambda name: not is_dn(name)), ("ldap", is_dn)):
        query: dict[str, Any] = {
            kind: [name for name in names if kind == "policy" or ours(name)] for kind, names in asked.items()
        }
        if any(query.values()) or not any(asked.values()):
            answer = client.minio("GET", f"/idp/{provider}/policy-entities", **query)
            for member in found:
                found[member] += answer.get(member) or []
    found["policyMappings"] = _merged(found["policyMappings"])
    return Shown(found, table(("POLICY", "USERS", "GROUPS"), _rows(found)))


def _merged(mappings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each policy once, with the subjects of directories and all others."""
    found: dict[str, dict[str, Any]] = {}
    for mapping in mappings:
        one = found.setdefault(mapping["policy"], {"policy": mapping["policy"], "users": [], "groups": []})
        one["users"] += mapping["users"]
        one["groups"] += mapping["groups"]
    return [found[name] for name in sorted(found)]


def _rows(found: dict[str, list[Any]]) -> list[tuple[str, list[str], list[str]]]:
    """Return policies with those who have them, of whatever was asked."""
    rows: dict[str, tuple[list[str], list[str]]] = {}
    for mapping in found["policyMappings"]:
        rows[mapping["policy"]] = (list(mapping["users"]), list(mapping["groups"]))
    for member, kind, place in (("userMappings", "user", 0), ("groupMappings", "group", 1)):
        for mapping in found[member]:
            for policy in mapping["policies"]:
                holders = rows.setdefault(policy, ([], []))[place]
                holders += [] if mapping[kind] in holders else [mapping[kind]]
    return [(policy, *rows[policy]) for policy in sorted(rows)]


def _several(what: str) -> dict[str, Any]:
    return {"action": "append", "metavar": what, "help": f"of this {what.lower()} only; may be given again"}


COMMANDS = (
    Command(
        ("policy", "put"), "put a policy (JSON) under a name, in place of one that has it", put,
        (NAME, argument("file", **FILE, help="the document, `-` for the standard input")),
    ),
    Command(("policy", "list"), "list the policies: MinIO's, the folder's and the store's", show_all),
    Command(("policy", "show"), "show a policy", show, (NAME,)),
    Command(("policy", "remove"), "remove a policy that nobody has", remove, (NAME,)),
    Command(("policy", "attach"), "attach policies to a user or a group", attach, (_POLICIES,), _TO, must_choose=True),
    Command(("policy", "detach"), "detach policies from a user or a group", detach, (_POLICIES,), _TO, must_choose=True),
    Command(
        ("policy", "entities"), "show who has which policies", entities,
        (argument("--user", **_several("USER")), argument("--group", **_several("GROUP")), argument("--policy", **_several("POLICY"))),
    ),
)  # fmt: skip
