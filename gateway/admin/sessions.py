"""Sessions: listed, and ended before their time: one, all of somebody, or those of one TokenRevokeType."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from gateway.admin.access_keys import is_revoked
from gateway.admin.call import AdminCall, Body, Reply, Route, utc
from gateway.admin.errors import XMinioAdminInvalidArgument
from gateway.admin.office import Office
from gateway.admin.subjects import FEDERATED, directory, is_dn
from iam.records import is_subject
from iam.store import SessionRecord
from iam.view import IamView

_REVOCATION = ("accessKey", "parent", "tokenRevokeType")
_PROVIDERS = ("builtin", "ldap", "openid", "tls", "custom")


async def show_all(call: AdminCall, office: Office) -> Reply:
    """List the sessions that have not expired, of everybody or of one parent; never a secret, never a token."""
    view, parent = office.view(), call.one("parent")
    records = await office.store.sessions({parent} if parent else None)
    return Reply({"sessions": [_described(view, record) for record in records]})


async def revoke(call: AdminCall, office: Office) -> Reply:
    """End one session (`accessKey`), or all of a principal (`parent`), or those of one type (`tokenRevokeType`) of it."""
    document = call.document(*_REVOCATION)
    key, parent, kind = (document.text(name) for name in _REVOCATION)
    if bool(key) == bool(parent) or (key and kind):
        raise XMinioAdminInvalidArgument("Name an accessKey, or a parent, perhaps with a tokenRevokeType.")
    if key:
        revoked = await office.changes.revoke_session(key)
        return Reply(
            {
                "accessKey": revoked.access_key_id,
                "revokedAt": utc(revoked.revoked_at),
                "expiresAt": utc(revoked.expires_at),
            }
        )
    return Reply(await _revoked(office, _subject(parent), kind))


async def revoke_tokens(call: AdminCall, office: Office) -> Reply:
    """MinIO's revoke-tokens: of a user of one provider, by default the caller; all sessions (`fullRevoke`) or those of one type."""
    user, kind, full = call.one("user"), call.one("tokenRevokeType"), call.flag("fullRevoke")
    if not user and not kind and not full:
        kind = str(call.principal.claims.get("tokenRevokeType") or "")
    if full == bool(kind):
        raise XMinioAdminInvalidArgument("Give a tokenRevokeType, or fullRevoke, and one of them only.")
    if call.word not in _PROVIDERS:
        raise XMinioAdminInvalidArgument(f"The provider must be one of: {', '.join(_PROVIDERS)}.")
    parent = _of_provider(call.word, user) if user else call.asker.identity
    # Anybody may end the own ones, and all sessions are looked through for it.
    async with office.looking if parent == call.asker.identity else nullcontext():
        await _revoked(office, parent, kind)
    return Reply(status=204)


async def _revoked(office: Office, parent: str, kind: str) -> dict[str, Any]:
    epoch = await office.changes.revoke_principal(parent, revoke_type=kind)
    until = max(epoch.not_before, epoch.by_type.get(kind, 0)) if kind else epoch.not_before
    return {"parent": parent, "tokenRevokeType": kind, "issuedUpTo": utc(until // 1000)}


def _subject(parent: str) -> str:
    """Return a parent of sessions as it is kept: any name will do, since who has gone may have sessions left."""
    if is_dn(parent):
        return directory(parent)
    if not is_subject(parent):
        raise XMinioAdminInvalidArgument("This is no name of anybody.")
    return parent


def _of_provider(provider: str, user: str) -> str:
    if provider == "ldap":
        return directory(user)
    if (provider == "builtin") == user.startswith(FEDERATED) or (
        provider != "builtin" and not user.startswith(f"{provider}:")
    ):
        raise XMinioAdminInvalidArgument(f"This is no name of the provider {provider}.")
    return _subject(user)


def _described(view: IamView, record: SessionRecord) -> dict[str, Any]:
    return {
        "accessKey": record.access_key_id, "parent": record.parent, "issuer": record.issuer, "provider": record.provider,
        "issuedAt": utc(record.issued_at), "expiresAt": utc(record.expires_at), "claims": dict(record.claims), "keyId": record.kid,
        "tokenRevokeType": record.revoke_type, "revoked": is_revoked(view, record),
    }  # fmt: skip


def _is_own(call: AdminCall, office: Office) -> bool:  # noqa: ARG001 - as all that ask so
    return call.one("user") in {"", call.asker.identity}


MINIO_ROUTES = (
    Route(
        "POST", "/revoke-tokens/{}", ("admin:RemoveServiceAccount",), revoke_tokens, may=("user", "tokenRevokeType", "fullRevoke"),
        own=_is_own, about=("user", "tokenRevokeType"),
    ),
)  # fmt: skip
ROUTES = (
    Route("GET", "/sessions", ("admin:ListTemporaryAccounts",), show_all, may=("parent",), answer=Body.JSON, about=("parent",)),
    Route(
        "POST", "/sessions/revoke", ("admin:RemoveServiceAccount",), revoke, body=Body.JSON, answer=Body.JSON, about=_REVOCATION,
    ),
)  # fmt: skip
