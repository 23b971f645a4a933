"""Users with permanent keys: add, change the secret, enable and disable, list, show, remove."""

from __future__ import annotations

from typing import Any

from gateway.admin.call import AT_ONCE, AdminCall, Body, Reply, Route, utc
from gateway.admin.errors import (
    XMinioAdminConfigBadJSON,
    XMinioAdminInvalidAccessKey,
    XMinioAdminInvalidArgument,
    XMinioAdminNoSuchPolicy,
    XMinioAdminNoSuchUser,
    XMinioIAMActionNotAllowed,
    XMinioInvalidIAMCredentials,
)
from gateway.admin.office import Office
from iam.model import Secret
from iam.records import User, attachment_name
from iam.refusals import AlreadyExists, ChangeError, InvalidName, Unfinished
from iam.store import StoreError
from iam.view import IamView

STATUS = ("enabled", "disabled")


def status_of(*, enabled: bool) -> str:
    """Return MinIO's word for whether somebody is enabled."""
    return STATUS[0] if enabled else STATUS[1]


def is_self(call: AdminCall, office: Office) -> bool:  # noqa: ARG001 - as all that ask so
    """Return whether a call names the user who makes it, with that user's own permanent key."""
    return not call.asker.is_derived and call.one("accessKey") == call.principal.access_key_id


async def add(call: AdminCall, office: Office) -> Reply:
    """Make a user, or change one: anybody may change the own secret, unless something denies it, but nothing else of it.

    Nobody changes root, and no session or service account its parent: with a new secret it would leave its own limits.
    """
    name, view = call.one("accessKey"), office.view()
    document = call.document("secretKey", "status", "policy")
    status, secret, policy = document.text("status", STATUS[0]), document.text("secretKey"), document.text("policy")
    if status not in STATUS:
        raise XMinioAdminConfigBadJSON("The status must be enabled or disabled.")
    _check_name(call, office, view, name)
    policies = names_of(policy)
    if policies:
        await call.must("admin:AttachUserOrGroupPolicy")
        if not set(policies) <= office.policies().keys():
            raise XMinioAdminNoSuchPolicy
    enabled: bool | None = status == STATUS[0]
    if is_self(call, office):
        if not enabled:
            raise XMinioAdminInvalidArgument("You cannot disable yourself.")
        enabled = None  # as it is: who is being disabled now does not undo that
    try:
        await office.changes.put_user(
            name, secret=Secret(secret) if secret else None, enabled=enabled, new=not is_self(call, office)
        )
    except InvalidName as error:
        raise XMinioAdminInvalidAccessKey(str(error)) from None
    except AlreadyExists as error:
        raise XMinioInvalidIAMCredentials(str(error)) from None
    if policies:
        await _give(office, name, policies)
    return Reply()


async def _give(office: Office, name: str, policies: tuple[str, ...]) -> None:
    """Let a user that was made just now have these policies. Raises Unfinished: it is there, whatever becomes of them."""
    try:
        await office.changes.set_policies(name, policies)
    except (ChangeError, StoreError) as error:
        raise Unfinished(
            f"The user {name} is there, its policies may be not; the same call again sets them."
        ) from error


def _check_name(call: AdminCall, office: Office, view: IamView, name: str) -> None:
    parent = call.asker.is_derived and name == call.asker.identity
    if parent or name == office.root_access_key or name in view.accounts:
        raise XMinioInvalidIAMCredentials(reason="the name is root's, an account's, or the caller's parent")


def names_of(text: str) -> tuple[str, ...]:
    """Return the policy names of a comma list, each once. Raises XMinioAdminInvalidArgument."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if len(names) > AT_ONCE:
        raise XMinioAdminInvalidArgument(f"A list of policies may name {AT_ONCE} at most.")
    return names


async def set_status(call: AdminCall, office: Office) -> Reply:
    """Enable or disable a user; nobody does so to oneself, or to root."""
    name, status = call.one("accessKey"), call.choice("status", STATUS)
    if name in {office.root_access_key, call.asker.identity}:
        raise XMinioAdminInvalidArgument("Neither root nor yourself can be enabled or disabled.")
    _user(office, name)
    await office.changes.put_user(name, enabled=status == STATUS[0])
    return Reply()


async def remove(call: AdminCall, office: Office) -> Reply:
    """Remove a user with its accounts, attachments and memberships; its sessions end. Nobody removes oneself."""
    name = call.one("accessKey")
    if name == call.asker.identity:
        raise XMinioIAMActionNotAllowed("You cannot remove yourself.")
    await office.changes.remove_user(name)
    return Reply()


async def show(call: AdminCall, office: Office) -> Reply:
    """Show one user; anybody may see oneself, unless something denies it."""
    view = office.view()
    return Reply(described(view, _user(office, call.one("accessKey"))))


async def show_all(call: AdminCall, office: Office) -> Reply:  # noqa: ARG001 - as all handlers
    """Show all users by name."""
    view = office.view()
    return Reply({name: described(view, user) for name, user in sorted(view.users.items())})


def described(view: IamView, user: User) -> dict[str, Any]:
    """Return a user as MinIO describes it; never the secret."""
    attachment = view.attachments.get(attachment_name(user.name, group=False))
    return {
        "userAuthInfo": {"type": "builtin", "authServerUserID": user.name},
        "policyName": ",".join(attachment.policies) if attachment else "", "status": status_of(enabled=user.enabled),
        "memberOf": list(view.memberships.get(user.name, ())), "updatedAt": utc(user.updated_at),
    }  # fmt: skip


def _user(office: Office, name: str) -> User:
    user = office.view().users.get(name)
    if user is None:
        raise XMinioAdminNoSuchUser
    return user


def _status_action(call: AdminCall) -> str:
    return "admin:EnableUser" if call.choice("status", STATUS) == STATUS[0] else "admin:DisableUser"


ROUTES = (
    Route("PUT", "/add-user", ("admin:CreateUser",), add, needs=("accessKey",), body=Body.SEALED, own=is_self, about=("accessKey",)),
    Route(
        "PUT", "/set-user-status", ("admin:EnableUser", "admin:DisableUser"), set_status, needs=("accessKey", "status"),
        choose=_status_action, about=("accessKey", "status"),
    ),
    Route("DELETE", "/remove-user", ("admin:DeleteUser",), remove, needs=("accessKey",), about=("accessKey",)),
    Route("GET", "/user-info", ("admin:GetUser",), show, needs=("accessKey",), answer=Body.JSON, own=is_self, about=("accessKey",)),
    Route("GET", "/list-users", ("admin:ListUsers",), show_all, answer=Body.SEALED),
)  # fmt: skip
