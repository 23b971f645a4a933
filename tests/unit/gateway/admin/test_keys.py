"""keys: the keys of sessions, by their ids only."""

from __future__ import annotations

import json

import pytest


async def test_keys_are_rotated_withdrawn_and_pruned(gateway):
    """A new one mints a little later; a withdrawn one is gone; nothing of a key is shown but its id and times."""
    made = (await gateway.ours("POST", "/keys/rotate")).document
    assert made["createdAt"] < made["activeAt"]
    other = (await gateway.ours("POST", "/keys/rotate")).document
    listed = (await gateway.ours("GET", "/keys")).document["keys"]
    assert sorted(k["keyId"] for k in listed) == sorted([made["keyId"], other["keyId"]])
    assert {*listed[0]} == {"keyId", "createdAt", "activeAt"}
    record = gateway.iam.watcher.view.keys[made["keyId"]]
    assert record.signing.hex() not in json.dumps(listed)
    assert (await gateway.ours("POST", "/keys/withdraw", {"keyId": made["keyId"]})).document == {
        "keyId": made["keyId"],
        "withdrawn": True,
    }
    assert made["keyId"] not in gateway.iam.watcher.view.keys
    gone = await gateway.ours("POST", "/keys/withdraw", {"keyId": made["keyId"]})
    assert (gone.status, gone.code) == (404, "XMinioAdminNoSuchKey")
    assert (await gateway.ours("POST", "/keys/prune")).document == {"pruned": []}


@pytest.mark.parametrize(
    ("method", "path", "document", "action"),
    [
        ("GET", "/keys", None, "admin:ListSessionKeys"),
        ("POST", "/keys/rotate", None, "admin:RotateSessionKey"),
        ("POST", "/keys/prune", None, "admin:PruneSessionKeys"),
        ("POST", "/keys/withdraw", {"keyId": "none"}, "admin:WithdrawSessionKey"),
    ],
)
async def test_each_call_takes_its_own_action(gateway, method, path, document, action):
    """Who may do everything but this action is refused; who may do just this one gets as far as root."""
    some, others = await gateway.user("someone", action), await gateway.user("everybut", "admin:*", deny=action)
    assert (await gateway.ours(method, path, document, who=others)).code == "AccessDenied"
    assert (await gateway.ours(method, path, document, who=some)).status in {200, 404}
