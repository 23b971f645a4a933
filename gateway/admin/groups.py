"""Groups of users: members, status, list, show, remove."""

from __future__ import annotations

from gateway.admin.call import AdminCall, Body, Reply, Route, utc
from gateway.admin.errors import XMinioAdminInvalidArgument, XMinioAdminNoSuchGroup
from gateway.admin.office import Office
from gateway.admin.users import STATUS, status_of
from iam.madmin import SIZE_LIMIT
from iam.records import attachment_name

_MEMBERS = ("group", "members", "groupStatus", "isRemove")


async def update(call: AdminCall, office: Office) -> Reply:
    """Add members to a group, which makes it; or remove some; or, with nobody to remove, the empty group itself."""
    document = call.document(*_MEMBERS)
    group, members = document.text("group"), document.texts("members", SIZE_LIMIT)  # its body bounds it
    if not group:
        raise XMinioAdminInvalidArgument("The group has no name.")
    if document.text("groupStatus", STATUS[0]) not in {"", STATUS[0]}:
        raise XMinioAdminInvalidArgument("A group is disabled by set-group-status.")
    if not document.flag("isRemove"):
        await office.changes.add_members(group, members)
    elif members:
        await office.changes.remove_members(group, members)
    else:
        await office.changes.remove_group(group)
    return Reply()


async def show(call: AdminCall, office: Office) -> Reply:
    """Show one group."""
    view, name = office.view(), call.one("group")
    group = view.groups.get(name)
    if group is None:
        raise XMinioAdminNoSuchGroup
    attachment = view.attachments.get(attachment_name(name, group=True))
    return Reply({
        "name": name, "status": status_of(enabled=group.enabled), "members": list(group.members),
        "policy": ",".join(attachment.policies) if attachment else "", "updatedAt": utc(group.updated_at),
    })  # fmt: skip


async def show_all(call: AdminCall, office: Office) -> Reply:  # noqa: ARG001 - as all handlers
    """Return the names of all groups."""
    return Reply(sorted(office.view().groups))


async def set_status(call: AdminCall, office: Office) -> Reply:
    """Enable or disable a group: the policies of a disabled one do not count."""
    await office.changes.set_group_status(call.one("group"), enabled=call.choice("status", STATUS) == STATUS[0])
    return Reply()


def _members_action(call: AdminCall) -> str:
    return "admin:RemoveUserFromGroup" if call.document(*_MEMBERS).flag("isRemove") else "admin:AddUserToGroup"


def _status_action(call: AdminCall) -> str:
    return "admin:EnableGroup" if call.choice("status", STATUS) == STATUS[0] else "admin:DisableGroup"


ROUTES = (
    Route(
        "PUT", "/update-group-members", ("admin:AddUserToGroup", "admin:RemoveUserFromGroup"), update, body=Body.JSON,
        choose=_members_action, by_body=True, about=("group", "members"),
    ),
    Route("GET", "/group", ("admin:GetGroup",), show, needs=("group",), answer=Body.JSON, about=("group",)),
    Route("GET", "/groups", ("admin:ListGroups",), show_all, answer=Body.JSON),
    Route(
        "PUT", "/set-group-status", ("admin:EnableGroup", "admin:DisableGroup"), set_status, needs=("group", "status"),
        choose=_status_action, about=("group", "status"),
    ),
)  # fmt: skip
