"""What this gateway is, and what its caller is: honestly, so nothing about disks, usage or buckets, which it does not have."""

from __future__ import annotations

import json
from typing import Any

from gateway import __version__
from gateway.admin.access_keys import combined
from gateway.admin.call import AdminCall, Body, Reply, Route
from gateway.admin.office import Office

_GATEWAY = 3  # madmin's BackendType of a gateway
_NOT_COUNTED = {"count": 0, "error": "a gateway does not count what its store holds"}


async def server(call: AdminCall, office: Office) -> Reply:  # noqa: ARG001 - as all handlers
    """Describe this gateway as `mc admin info` reads it: one server, without drives."""
    reasons = await office.not_ready()
    this = {
        "state": "initializing" if reasons else "online", "endpoint": office.endpoint, "version": __version__,
        "uptime": max(0, int(office.now() - office.started)), "edition": "minio-gw",
    }  # fmt: skip
    return Reply({
        "mode": "initializing" if reasons else "online", "domain": list(office.domains), "region": office.region,
        "buckets": _NOT_COUNTED, "objects": _NOT_COUNTED, "versions": _NOT_COUNTED, "deletemarkers": _NOT_COUNTED,
        "usage": {"size": 0, "error": _NOT_COUNTED["error"]}, "services": {}, "backend": {"backendType": "Gateway"}, "servers": [this],
    })  # fmt: skip


async def storage(call: AdminCall, office: Office) -> Reply:  # noqa: ARG001 - as all handlers
    """Describe the storage: no disks, a gateway's backend."""
    return Reply({"Disks": [], "Backend": await _backend(office)})


async def account(call: AdminCall, office: Office) -> Reply:
    """Describe the caller: its name and the policies attached to it and its groups; no buckets, since none are counted."""
    identity, groups = call.asker.identity, call.principal.groups
    return Reply({
        "AccountName": identity, "Server": await _backend(office), "Policy": json.loads(combined(office, identity, groups)),
        "Buckets": None,
    })  # fmt: skip


async def _backend(office: Office) -> dict[str, Any]:
    return {"Type": _GATEWAY, "GatewayOnline": not await office.not_ready()}


ROUTES = (
    Route("GET", "/info", ("admin:ServerInfo",), server, may=("metrics",), answer=Body.JSON),
    Route("GET", "/storageinfo", ("admin:StorageInfo",), storage, answer=Body.JSON),
    Route("GET", "/accountinfo", ("admin:AccountInfo",), account, may=("prefix-usage",), answer=Body.JSON, own=lambda _call, _office: True),
)  # fmt: skip
