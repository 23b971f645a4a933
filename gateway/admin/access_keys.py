"""Access keys, shown and listed: service accounts and sessions, by themselves and by whose they are."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from gateway.admin.accounts import account_of, is_own_account
from gateway.admin.call import AdminCall, Body, Reply, Route, utc
from gateway.admin.errors import XMinioAdminInvalidArgument, XMinioAdminNoSuchAccessKey, XMinioAdminNoSuchUser
from gateway.admin.office import Office
from gateway.admin.subjects import FEDERATED, directory, is_dn
from iam.policy import CANNED
from iam.records import ServiceAccount
from iam.store import SessionRecord
from iam.view import IamView

_Keys = dict[str, dict[str, list[Any]]]
TYPES = ("all", "users-only", "sts-only", "svcacc-only")


async def show_account(call: AdminCall, office: Office) -> Reply:
    """Show one service account, with the policy that applies: its own, or all that its parent has."""
    return Reply(_account(office, account_of(office, call.one("accessKey"))))


async def show_session(call: AdminCall, office: Office) -> Reply:
    """Show one session that has not expired."""
    record = await office.store.session(call.one("accessKey"))
    if record is None:
        raise XMinioAdminNoSuchAccessKey
    return Reply(_session(office, record))


async def show_any(call: AdminCall, office: Office) -> Reply:
    """Show a service account or a session, by default the caller's own key."""
    key = call.one("accessKey") or call.principal.access_key_id
    account = office.view().accounts.get(key)
    if account is not None:
        kind, parent, shown = "Service Account", account.parent, _account(office, account)
    else:
        record = await office.store.session(key)
        if record is None:
            raise XMinioAdminNoSuchAccessKey
        kind, parent, shown = "STS", record.parent, _session(office, record)
    return Reply({"accessKey": key, **shown, "userType": kind, "userProvider": provider_of(parent)})


async def list_accounts(call: AdminCall, office: Office) -> Reply:
    """List the service accounts of a user, by default the caller's own."""
    view, user = office.view(), call.one("user")
    name = call.asker.identity if user in {"", call.principal.access_key_id} else _user(office, user)
    return Reply({"accounts": [_listed_account(view, account) for account in _accounts_of(view, (name,))]})


async def list_keys(call: AdminCall, office: Office) -> Reply:
    """List access keys by user: of the caller, of the named users, or of all."""
    return await _listing(call, office, call.many("users"), ldap=False)


async def list_keys_ldap(call: AdminCall, office: Office) -> Reply:
    """List access keys by distinguished name, as `list_keys`."""
    return await _listing(call, office, tuple(directory(dn) for dn in call.many("userDNs")), ldap=True)


async def list_keys_of_dn(call: AdminCall, office: Office) -> Reply:
    """List the access keys of one distinguished name."""
    kind, name = call.choice("listType", TYPES), directory(call.one("userDN"))
    return Reply((await _keys(call, office, kind, (name,)))[name])


async def _listing(call: AdminCall, office: Office, named: tuple[str, ...], *, ldap: bool) -> Reply:
    kind, everybody = call.choice("listType", TYPES), call.flag("all")
    if everybody and named:
        raise XMinioAdminInvalidArgument("Name users or ask for all of them, not both.")
    if everybody:
        keys = await _keys(call, office, kind, None)
        return Reply({name: shown for name, shown in sorted(keys.items()) if name and is_dn(name) == ldap})
    names = named if named or is_dn(call.asker.identity) != ldap else (call.asker.identity,)
    return Reply(await _keys(call, office, kind, names))


async def _keys(call: AdminCall, office: Office, kind: str, names: tuple[str, ...] | None) -> _Keys:
    """Return the access keys of these names, or of all users and whoever has any, by name."""
    sessions, view = await _sessions(call, office, kind, names), office.view()
    everybody = (*view.users, *(a.parent for a in view.accounts.values()), *(s.parent for s in sessions))
    found: _Keys = {name: {"serviceAccounts": [], "stsKeys": []} for name in (everybody if names is None else names)}
    for account in _accounts_of(view, found) if kind in {"all", "svcacc-only"} else ():
        found[account.parent]["serviceAccounts"].append(_listed_account(view, account))
    for record in sessions:
        found[record.parent]["stsKeys"].append(_listed_session(view, record))
    return found


async def _sessions(call: AdminCall, office: Office, kind: str, names: tuple[str, ...] | None) -> list[SessionRecord]:
    """Return the sessions, where they are asked for; another's take their own action.

    To find them all are read, of which there may be a million: for who asks about himself, as anybody may, a few at a time.
    """
    if kind not in {"all", "sts-only"} or names == ():
        return []
    own = call.route.own is not None and call.route.own(call, office)
    await call.must("admin:ListTemporaryAccounts", own=own)
    if not own:
        return await office.store.sessions(names)
    async with office.looking:
        return await office.store.sessions(names)


def _accounts_of(view: IamView, parents: Container[str]) -> list[ServiceAccount]:
    return sorted((a for a in view.accounts.values() if a.parent in parents), key=lambda a: a.access_key_id)


def _listed_account(view: IamView, account: ServiceAccount) -> dict[str, Any]:  # noqa: ARG001 - as the session's
    return {
        "parentUser": account.parent, "accountStatus": "on" if account.enabled else "off", "impliedPolicy": account.policy is None,
        "accessKey": account.access_key_id, "name": account.name, "description": account.description,
        "expiration": utc(account.expires_at),
    }  # fmt: skip


def _listed_session(view: IamView, record: SessionRecord) -> dict[str, Any]:
    return {
        "parentUser": record.parent, "accountStatus": "off" if is_revoked(view, record) else "on",
        "impliedPolicy": "sessionPolicy" not in record.claims, "accessKey": record.access_key_id,
        "expiration": utc(record.expires_at),
    }  # fmt: skip


def _account(office: Office, account: ServiceAccount) -> dict[str, Any]:
    shown = _listed_account(office.view(), account)
    del shown["accessKey"]
    return {**shown, "policy": account.policy or combined(office, account.parent, account.groups)}


def _session(office: Office, record: SessionRecord) -> dict[str, Any]:
    shown = _listed_session(office.view(), record)
    del shown["accessKey"]
    return {**shown, "policy": combined(office, record.parent)}


def is_revoked(view: IamView, record: SessionRecord) -> bool:
    """Return whether a session is refused although it has not expired.

    A record knows the second of its issue. A session that was issued after an ending is stamped a millisecond later than that,
    and the others a minute before: within one second it is the later one.
    """
    return view.is_revoked(record.access_key_id, record.parent, record.issued_at * 1000 + 999, record.revoke_type)


def combined(office: Office, subject: str, groups: tuple[str, ...] = ()) -> str:
    """Return all statements of the policies attached to a subject and its groups, as the text of one policy."""
    if subject == office.root_access_key:
        return CANNED["consoleAdmin"].text
    view, known = office.view(), office.policies()
    names = view.attached(subject, (*view.groups_of(subject), *groups)) or ()
    statements: list[Any] = []
    for name in names:
        if name in known and known[name].text:
            given = json.loads(known[name].text).get("Statement", [])
            statements += given if isinstance(given, list) else [given]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def provider_of(subject: str) -> str:
    """Return MinIO's word for where a subject comes from."""
    if is_dn(subject):
        return "ldap"
    return subject.partition(":")[0] if subject.startswith(FEDERATED) else "builtin"


def _user(office: Office, name: str) -> str:
    view = office.view()
    if is_dn(name):
        return directory(name)
    if name in view.users or name == office.root_access_key or name.startswith(FEDERATED):
        return name
    raise XMinioAdminNoSuchUser


def _is_own_key(call: AdminCall, office: Office) -> bool:
    return call.one("accessKey") in {"", call.principal.access_key_id} or is_own_account(call, office)


def _is_own_list(call: AdminCall, office: Office) -> bool:  # noqa: ARG001 - as all that ask so
    return call.one("user") in {"", call.asker.identity, call.principal.access_key_id}


def _are_own_keys(call: AdminCall, office: Office) -> bool:  # noqa: ARG001 - as above
    mine = {call.asker.identity, call.principal.access_key_id}
    return not call.flag("all") and mine.issuperset((*call.many("users"), *call.many("userDNs")))


_ACCOUNTS, _SESSIONS = ("admin:ListServiceAccounts",), ("admin:ListTemporaryAccounts",)
_KEY: dict[str, Any] = {"answer": Body.SEALED, "about": ("accessKey",)}
_BULK: dict[str, Any] = {"answer": Body.SEALED, "own": _are_own_keys}

ROUTES = (
    Route("GET", "/info-service-account", _ACCOUNTS, show_account, needs=("accessKey",), own=is_own_account, **_KEY),
    Route("GET", "/temporary-account-info", _SESSIONS, show_session, needs=("accessKey",), own=_is_own_key, **_KEY),
    Route("GET", "/info-access-key", _ACCOUNTS, show_any, may=("accessKey",), own=_is_own_key, **_KEY),
    Route("GET", "/list-service-accounts", _ACCOUNTS, list_accounts, may=("user",), own=_is_own_list, answer=Body.SEALED, about=("user",)),
    Route(
        "GET", "/list-access-keys-bulk", _ACCOUNTS, list_keys, may=("listType", "users", "all"), repeatable=frozenset({"users"}),
        **_BULK, about=("users",),
    ),
    Route(
        "GET", "/idp/ldap/list-access-keys-bulk", _ACCOUNTS, list_keys_ldap, may=("listType", "userDNs", "all"),
        repeatable=frozenset({"userDNs"}), **_BULK, about=("userDNs",),
    ),
    Route("GET", "/idp/ldap/list-access-keys", _ACCOUNTS, list_keys_of_dn, needs=("userDN",), may=("listType",), answer=Body.SEALED, about=("userDN",)),
)  # fmt: skip
