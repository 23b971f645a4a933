"""info: what a gateway says of itself and of its caller."""

from __future__ import annotations

import json

from gateway import __version__
from tests.unit.gateway.admin.conftest import key


async def test_the_gateway_is_described_honestly(gateway):
    """One server, a gateway's backend, and no number that nobody has counted."""
    found = (await gateway.call("GET", "/info")).document
    assert (found["servers"][0]["version"], found["backend"]) == (__version__, {"backendType": "Gateway"})
    assert all(found[name]["error"] for name in ("buckets", "objects", "usage"))
    assert (await gateway.call("GET", "/storageinfo")).document["Disks"] == []


async def test_a_gateway_that_is_not_ready_says_so(gateway, monkeypatch):
    """While something is missing the mode is not online, nor is its one server."""

    async def reasons() -> list[str]:
        return ["the backend does not answer"]

    monkeypatch.setitem(vars(gateway.office), "not_ready", reasons)
    found = (await gateway.call("GET", "/info")).document
    assert (found["mode"], found["servers"][0]["state"]) == ("initializing", "initializing")
    assert (await gateway.call("GET", "/storageinfo")).document["Backend"]["GatewayOnline"] is False


async def test_the_caller_is_described(gateway):
    """By the name of who stands behind it and all statements of its policies, also its groups'; unless something denies it."""
    bob = await gateway.user("bob", "s3:GetObject")
    await gateway.iam.changes.add_members("devs", ["bob"])
    await gateway.iam.changes.attach("devs", ["writeonly"], group=True)
    found = (await gateway.call("GET", "/accountinfo", who=bob, prefix_usage="true")).document
    assert (found["AccountName"], found["Buckets"]) == ("bob", None)
    assert [s["Action"] for s in found["Policy"]["Statement"]] == [["s3:GetObject"], ["s3:PutObject"]]
    await gateway.iam.changes.create_account("bob", access_key_id="bobs-key", secret=key("bobs-key").secret)
    assert (await gateway.call("GET", "/accountinfo", who=key("bobs-key"))).document["AccountName"] == "bob"
    denied = await gateway.user("denied", "s3:*", deny="admin:AccountInfo")
    assert (await gateway.call("GET", "/accountinfo", who=denied)).code == "AccessDenied"
    assert "secret" not in json.dumps(found).lower()


async def test_the_server_s_info_takes_the_action(gateway):
    """admin:ServerInfo, and admin:StorageInfo for the storage."""
    some, none = await gateway.user("someone", "admin:ServerInfo"), await gateway.user("none", "s3:*")
    assert (await gateway.call("GET", "/info", who=some)).status == 200
    assert (await gateway.call("GET", "/info", who=none)).code == "AccessDenied"
    assert (await gateway.call("GET", "/storageinfo", who=some)).code == "AccessDenied"
