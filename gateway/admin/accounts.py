"""Service accounts, which MinIO calls access keys too: add, change, remove.

What an account may is its parent's, narrowed by its own policy. Nobody gets more by one:
- for oneself anybody may make one, unless something denies it; for others it takes the action;
- what a session policy (or an account's policy) narrows, makes only accounts that the same policy narrows (CVE-2025-62506);
- an account that ends makes none that lives longer, nor changes one into it;
- root's accounts are root's own affair, since who has one is root;
- to change an account takes the action, also for one's own: with a new secret or policy it would be more than its maker.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from gateway.admin.call import AdminCall, Body, Document, Reply, Route, utc
from gateway.admin.errors import (
    ServiceAccountNotFound,
    XMinioAdminInvalidAccessKey,
    XMinioAdminInvalidArgument,
    XMinioAdminNoAccessKey,
    XMinioAdminNoSecretKey,
    XMinioAdminNoSuchUser,
    XMinioIAMServiceAccountNotAllowed,
)
from gateway.admin.office import Office
from gateway.admin.subjects import directory, is_dn
from gateway.errors import AccessDenied
from iam.model import Secret
from iam.records import ServiceAccount
from iam.refusals import AlreadyExists, InvalidName
from sts.proof import USER
from sts.sessions import OUR_CLAIMS, PRIVATE

_NEW = ("policy", "targetUser", "accessKey", "secretKey", "name", "description", "comment", "expiration", "status")
_CHANGED = ("newPolicy", "newSecretKey", "newStatus", "newName", "newDescription", "newExpiration")
_STATUS = {"on": True, "enabled": True, "off": False, "disabled": False}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_MAX_DESCRIPTION = 256  # bytes
OWN = 1000  # accounts that anybody may have for the asking: every gateway keeps all of them, and a store can be filled


def is_own_target(call: AdminCall, office: Office) -> bool:  # noqa: ARG001 - as all that ask so
    """Return whether an account is to be made for the caller itself."""
    return call.document(*_NEW).text("targetUser") in {"", call.asker.identity, call.principal.access_key_id}


async def add(call: AdminCall, office: Office) -> Reply:
    """Make an account, for the caller or for another user."""
    return await _added(call, office, call.document(*_NEW))


async def add_ldap(call: AdminCall, office: Office) -> Reply:
    """Make an account for a distinguished name, or for the caller."""
    document = call.document(*_NEW)
    if not is_own_target(call, office) and not is_dn(document.text("targetUser")):
        raise XMinioAdminInvalidArgument("targetUser must be the distinguished name.")
    return await _added(call, office, document)


async def _added(call: AdminCall, office: Office, document: Document) -> Reply:
    own = is_own_target(call, office)
    access_key, secret = _pair(document)
    parent = _maker(call, office) if own else _target(call, office, document.text("targetUser"))
    expires_at = _expiry(call, office, document, own=own)
    members = {
        "policy": _policy(call, document, own=own), "name": _name(document.text("name")), "description": _description(document),
        "expires_at": expires_at, "enabled": _status(document.text("status", "on")),
        **(_identity(call, office) if own else _of_target(parent)),
    }  # fmt: skip
    try:
        made = await office.changes.create_account(parent, access_key_id=access_key, secret=secret, **members)
    except InvalidName as error:
        raise XMinioAdminInvalidAccessKey(str(error)) from None
    except AlreadyExists as error:
        raise XMinioIAMServiceAccountNotAllowed(str(error)) from None
    credentials = {
        "accessKey": made.access_key_id,
        "secretKey": made.secret.reveal(),
        "expiration": utc(made.expires_at),
    }
    return Reply({"credentials": credentials})


def _pair(document: Document) -> tuple[str, Secret | None]:
    """Return the keys that are asked for, both or none."""
    access_key, secret = document.text("accessKey"), document.text("secretKey")
    if secret and not access_key:
        raise XMinioAdminNoAccessKey
    if access_key and not secret:
        raise XMinioAdminNoSecretKey
    return access_key, Secret(secret) if secret else None


def _maker(call: AdminCall, office: Office) -> str:
    """Return the parent of an account for oneself: never a session or an account, which end."""
    if call.asker.is_derived and not call.principal.parent:
        raise XMinioIAMServiceAccountNotAllowed("A session of nobody makes no service accounts.")
    parent = call.asker.identity
    if not call.principal.owner and sum(a.parent == parent for a in office.view().accounts.values()) >= OWN:
        raise XMinioIAMServiceAccountNotAllowed(f"You have {OWN} service accounts; remove some first.")
    return parent


def _target(call: AdminCall, office: Office, name: str) -> str:
    """Return the user for whom the account is: one that exists, or a distinguished name; root for root only."""
    if name == office.root_access_key:
        check_owner(call, office, name)
        return name
    if is_dn(name):
        return directory(name)
    if name not in office.view().users:
        raise XMinioAdminNoSuchUser
    return name


def check_owner(call: AdminCall, office: Office, parent: str) -> None:
    """Return if the caller may touch accounts of this parent. Raises AccessDenied: root's are for root only."""
    if parent == office.root_access_key and not call.principal.owner:
        raise AccessDenied(reason="an account of root's, and the caller is not root")


def _policy(call: AdminCall, document: Document, *, own: bool) -> str | None:
    """Return the account's policy. What narrows its maker narrows it too; both together are in no one document."""
    given, narrowing = _given_policy(document, "policy"), call.principal.session_policy
    if narrowing is None or not own:
        return given
    if given is not None and json.loads(given) != json.loads(narrowing):
        raise XMinioIAMServiceAccountNotAllowed(
            "Your session has a policy of its own: your service account has the same one, and can have no other."
        )
    return narrowing


def _given_policy(document: Document, member: str) -> str | None:
    """Return a policy's text, None for none: MinIO's clients say so by an empty one."""
    text = document.json_text(member)
    if text is None:
        return None
    policy: dict[str, Any] = json.loads(text)
    return text if policy.get("Statement") or policy.keys() - {"Version", "Statement", "ID", "Id"} else None


def _expiry(call: AdminCall, office: Office, document: Document, *, own: bool) -> int | None:
    asked = _future(office, document.moment("expiration"))
    maker = office.view().accounts.get(call.principal.access_key_id)
    limit = maker.expires_at if maker is not None and own else None
    if limit is None:
        return asked
    if asked is not None and asked > limit:
        raise XMinioAdminInvalidArgument("The service account would live longer than the one that makes it.")
    return asked or limit


def _future(office: Office, moment: int | None) -> int | None:
    if moment and moment <= office.now():
        raise XMinioAdminInvalidArgument("The expiration time should be in the future.")
    return moment or None


def _identity(call: AdminCall, office: Office) -> dict[str, Any]:
    """Return what a federated caller's account must know to have its maker's rights, nothing for a user's or root's."""
    principal, maker = call.principal, office.view().accounts.get(call.principal.access_key_id)
    if maker is not None:
        return {"provider": maker.provider, "claims": maker.claims, "groups": maker.groups} if maker.provider else {}
    if principal.tags:
        raise XMinioIAMServiceAccountNotAllowed(
            "A session with tags makes no service accounts: they would not have its tags."
        )
    private = principal.claims.get(PRIVATE)
    provider = private.get("provider", "") if isinstance(private, dict) else ""
    if provider in {"", USER}:
        return {}
    return {"provider": provider, "claims": _kept(principal.claims), "groups": principal.groups}


def _kept(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provider's claims, and the role that was taken: without what is of the session and not of its holder."""
    return {name: value for name, value in claims.items() if name not in OUR_CLAIMS or name == "roleArn"}


def _of_target(parent: str) -> dict[str, Any]:
    """Return the same for another: of a directory's user only the name is known, so that the groups' policies do not count."""
    return {"provider": "ldap", "claims": {"ldapUser": parent}} if is_dn(parent) else {}


def _name(text: str) -> str:
    if text and not _NAME.fullmatch(text):
        raise XMinioAdminInvalidArgument("The name must be 1 to 32 letters, digits, `_` and `-`, a letter first.")
    return text


def _description(document: Document) -> str:
    return _bounded(document.text("description") or document.text("comment"))


def _bounded(text: str) -> str:
    if len(text.encode("utf-8", "replace")) > _MAX_DESCRIPTION:
        raise XMinioAdminInvalidArgument(f"The description must be at most {_MAX_DESCRIPTION} bytes long.")
    return text


def _status(text: str) -> bool:
    if text not in _STATUS:
        raise XMinioAdminInvalidArgument("The status must be on or off.")
    return _STATUS[text]


async def update(call: AdminCall, office: Office) -> Reply:
    """Change an account. A caller that a policy narrows changes neither secret nor policy of its parent's accounts.

    One that ends lets none of these live longer than itself, and has no secret of one that does.
    """
    document, account = call.document(*_CHANGED), account_of(office, call.one("accessKey"))
    check_owner(call, office, account.parent)
    members = _changes(office, document)
    if account.parent == call.asker.identity:
        _check_life(call, office, account, members)
    if (
        {"secret", "policy"} & members.keys()
        and call.principal.session_policy is not None
        and account.parent == call.asker.identity
    ):
        raise AccessDenied(reason="a narrowed caller would get more than it has by this account")
    if not members:
        raise XMinioAdminInvalidArgument("The body changes nothing.")
    await office.changes.update_account(account.access_key_id, **members)
    return Reply(status=204)


def _check_life(call: AdminCall, office: Office, account: ServiceAccount, members: Mapping[str, Any]) -> None:
    """Return if a caller that ends gets nothing by this change that lives longer. Raises XMinioAdminInvalidArgument."""
    maker = office.view().accounts.get(call.principal.access_key_id)
    limit = maker.expires_at if maker is not None else None
    if limit is None or not {"secret", "expires_at"} & members.keys():
        return
    end = members.get("expires_at", account.expires_at)
    if end is None or end > limit:
        raise XMinioAdminInvalidArgument("The service account would live longer than the one that changes it.")


def _changes(office: Office, document: Document) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if document.members.get("newPolicy") is not None:
        members["policy"] = _given_policy(document, "newPolicy")
    if secret := document.text("newSecretKey"):
        members["secret"] = Secret(secret)
    if status := document.text("newStatus"):
        members["enabled"] = _status(status)
    if name := document.text("newName"):
        members["name"] = _name(name)
    if description := document.text("newDescription"):
        members["description"] = _bounded(description)
    moment = document.moment("newExpiration")
    if moment is not None:
        members["expires_at"] = _future(office, moment)
    return members


def account_of(office: Office, access_key: str) -> ServiceAccount:
    """Return an account. Raises ServiceAccountNotFound."""
    account = office.view().accounts.get(access_key)
    if account is None:
        raise ServiceAccountNotFound
    return account


def is_own_account(call: AdminCall, office: Office) -> bool:
    """Return whether a call names an account of the caller's, or the caller's parent's."""
    account = office.view().accounts.get(call.one("accessKey") or call.principal.access_key_id)
    return account is not None and account.parent == call.asker.identity


async def remove(call: AdminCall, office: Office) -> Reply:
    """Remove an account: anybody may remove the own ones, unless something denies it."""
    account = account_of(office, call.one("accessKey"))
    if account.parent != call.asker.identity:
        check_owner(call, office, account.parent)
    await office.changes.remove_account(account.access_key_id)
    return Reply(status=204)


_CREATE = ("admin:CreateServiceAccount",)
_SEALED: dict[str, Any] = {"body": Body.SEALED, "answer": Body.SEALED}

ROUTES = (
    Route("PUT", "/add-service-account", _CREATE, add, **_SEALED, own=is_own_target, by_body=True, about=("targetUser", "accessKey")),
    Route(
        "PUT", "/idp/ldap/add-service-account", _CREATE, add_ldap, **_SEALED, own=is_own_target, by_body=True,
        about=("targetUser", "accessKey"),
    ),
    Route(
        "POST", "/update-service-account", ("admin:UpdateServiceAccount",), update, needs=("accessKey",), body=Body.SEALED,
        about=("accessKey",),
    ),
    Route(
        "DELETE", "/delete-service-account", ("admin:RemoveServiceAccount",), remove, needs=("accessKey",), own=is_own_account,
        about=("accessKey",),
    ),
)  # fmt: skip
