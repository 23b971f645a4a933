"""Who has which policies: of users, of groups, of policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gateway.admin.call import AdminCall, Body, Reply, Route, utc
from gateway.admin.office import Office
from gateway.admin.subjects import directory, is_dn
from iam.records import Attachment, attachment_name
from iam.view import IamView


async def show(call: AdminCall, office: Office) -> Reply:
    """Return the attachments of users, groups and provider's subjects; all of them when none are named."""
    return Reply(_entities(call, office, lambda subject: not is_dn(subject), lambda name: name))


async def show_ldap(call: AdminCall, office: Office) -> Reply:
    """Return the attachments of distinguished names, as `show`."""
    return Reply(_entities(call, office, is_dn, directory))


def _entities(
    call: AdminCall, office: Office, ours: Callable[[str], bool], named: Callable[[str], str]
) -> dict[str, Any]:
    view = office.view()
    attachments = [a for _, a in sorted(view.attachments.items()) if ours(a.subject) and a.policies]
    users, groups, policies = (call.many(name) for name in ("user", "group", "policy"))
    everything = not (users or groups or policies)
    found: dict[str, Any] = {"timestamp": utc(int(office.now()))}
    if users or everything:
        names = [named(u) for u in users] or [a.subject for a in attachments if not a.group]
        found["userMappings"] = [_user(view, name) for name in names]
    if groups or everything:
        names = [named(g) for g in groups] or [a.subject for a in attachments if a.group]
        found["groupMappings"] = [_group(view, name) for name in names]
    if policies or everything:
        found["policyMappings"] = _policies(attachments, policies)
    return found


def _user(view: IamView, name: str) -> dict[str, Any]:
    groups = [_group(view, group) for group in view.groups_of(name)]
    return {
        "user": name,
        "policies": _of(view, name, group=False),
        "memberOfMappings": [g for g in groups if g["policies"]],
    }


def _group(view: IamView, name: str) -> dict[str, Any]:
    return {"group": name, "policies": _of(view, name, group=True)}


def _of(view: IamView, subject: str, *, group: bool) -> list[str]:
    attachment = view.attachments.get(attachment_name(subject, group=group))
    return sorted(attachment.policies) if attachment else []


def _policies(attachments: Iterable[Attachment], wanted: tuple[str, ...]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {name: {"policy": name, "users": [], "groups": []} for name in wanted}
    for attachment in attachments:
        for name in attachment.policies:
            if not wanted:
                found.setdefault(name, {"policy": name, "users": [], "groups": []})
            if name in found:
                found[name]["groups" if attachment.group else "users"].append(attachment.subject)
    return [found[name] for name in sorted(found)]


_QUERY = ("user", "group", "policy")
#: MinIO takes any of these.
_LIST = ("admin:ListUserPolicies", "admin:ListUsers", "admin:ListGroups")

ROUTES = (
    Route(
        "GET", "/idp/builtin/policy-entities", _LIST, show, may=_QUERY, repeatable=frozenset(_QUERY), answer=Body.SEALED
    ),
    Route(
        "GET",
        "/idp/ldap/policy-entities",
        _LIST,
        show_ldap,
        may=_QUERY,
        repeatable=frozenset(_QUERY),
        answer=Body.SEALED,
    ),
)
