"""The keys of session tokens: listed, rotated, withdrawn, pruned; never shown."""

from __future__ import annotations

from typing import Any

from gateway.admin.call import AdminCall, Body, Reply, Route, utc
from gateway.admin.office import Office
from iam.records import KeyRecord


async def show_all(call: AdminCall, office: Office) -> Reply:  # noqa: ARG001 - as all handlers
    """List the keys by the time from which they mint."""
    keys = sorted(office.view().keys.values(), key=lambda key: (key.active_at, key.kid))
    return Reply({"keys": [_described(key) for key in keys]})


async def rotate(call: AdminCall, office: Office) -> Reply:  # noqa: ARG001 - as all handlers
    """Make a new key; it mints as soon as every gateway has it."""
    return Reply(_described(await office.changes.rotate_key()))


async def withdraw(call: AdminCall, office: Office) -> Reply:
    """Withdraw a key: every session that it signed is refused from now on."""
    kid = call.document("keyId").text("keyId")
    await office.changes.withdraw_key(kid)
    return Reply({"keyId": kid, "withdrawn": True})


async def prune(call: AdminCall, office: Office) -> Reply:  # noqa: ARG001 - as all handlers
    """Remove the keys of which no session is left."""
    return Reply({"pruned": list(await office.changes.prune_keys())})


def _described(key: KeyRecord) -> dict[str, Any]:
    return {
        "keyId": key.kid,
        "createdAt": utc(key.created_at),
        "activeAt": utc(key.active_at),
    }


ROUTES = (
    Route("GET", "/keys", ("admin:ListSessionKeys",), show_all, answer=Body.JSON),
    Route("POST", "/keys/rotate", ("admin:RotateSessionKey",), rotate, answer=Body.JSON),
    Route(
        "POST",
        "/keys/withdraw",
        ("admin:WithdrawSessionKey",),
        withdraw,
        body=Body.JSON,
        answer=Body.JSON,
        about=("keyId",),
    ),
    Route("POST", "/keys/prune", ("admin:PruneSessionKeys",), prune, answer=Body.JSON),
)
