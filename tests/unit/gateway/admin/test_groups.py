"""groups: members, status, and what is refused."""

from __future__ import annotations

import pytest

from iam.model import Secret
from iam.records import User


async def test_a_group_is_made_by_its_members(gateway):
    """Members added make it, one name may stand for a list, the last ones removed leave an empty group that can go."""
    for name in ("ann-u", "bob"):
        await gateway.user(name)
    assert (await gateway.call("PUT", "/update-group-members", {"group": "devs", "members": ["bob"]})).status == 200
    assert (await gateway.call("PUT", "/update-group-members", {"group": "devs", "members": "ann-u"})).status == 200
    await gateway.iam.changes.attach("devs", ["readonly"], group=True)
    shown = (await gateway.call("GET", "/group", group="devs")).document
    assert (shown["name"], shown["members"], shown["policy"], shown["status"]) == (
        "devs",
        ["ann-u", "bob"],
        "readonly",
        "enabled",
    )
    assert (await gateway.call("GET", "/groups")).document == ["devs"]
    full = await gateway.call("PUT", "/update-group-members", {"group": "devs", "isRemove": True})
    assert (full.status, full.code) == (400, "XMinioAdminGroupNotEmpty")
    remove = {"group": "devs", "members": ["ann-u", "bob"], "isRemove": True}
    assert (await gateway.call("PUT", "/update-group-members", remove)).status == 200
    assert (
        await gateway.call("PUT", "/update-group-members", {"group": "devs", "members": [], "isRemove": True})
    ).status == 200
    assert (await gateway.call("GET", "/groups")).document == []


async def test_hundreds_of_members_come_and_go_in_one_call(gateway):
    """As `mc admin group add` sends them: all at once, however many."""
    names = [f"user{number:03}" for number in range(300)]
    records = [User(name, Secret("12345678")) for name in names]
    await gateway.iam.changes.put_all(records)
    for remove, left in ((False, names), (True, [])):
        document = {"group": "devs", "members": names, "isRemove": remove}
        assert (await gateway.call("PUT", "/update-group-members", document)).status == 200
        assert (await gateway.call("GET", "/group", group="devs")).document["members"] == left


async def test_a_disabled_group_is_shown_so(gateway):
    """set-group-status is what group shows; a group that is not there is not found, a status that is none refused."""
    await gateway.user("bob")
    await gateway.iam.changes.add_members("devs", ["bob"])
    await gateway.call("PUT", "/set-group-status", group="devs", status="disabled")
    assert (await gateway.call("GET", "/group", group="devs")).document["status"] == "disabled"
    await gateway.call("PUT", "/set-group-status", group="devs", status="enabled")
    assert (await gateway.call("GET", "/group", group="devs")).document["status"] == "enabled"
    assert (
        await gateway.call("PUT", "/set-group-status", group="devs", status="on")
    ).code == "XMinioAdminInvalidArgument"
    for method, path in (("PUT", "/set-group-status"), ("GET", "/group")):
        query = {"group": "none"} | ({"status": "enabled"} if method == "PUT" else {})
        gone = await gateway.call(method, path, **query)
        assert (gone.status, gone.code) == (404, "XMinioAdminNoSuchGroup")


@pytest.mark.parametrize(
    ("method", "path", "document", "query", "action"),
    [
        ("PUT", "/update-group-members", {"group": "devs", "members": ["bob"]}, {}, "admin:AddUserToGroup"),
        (
            "PUT",
            "/update-group-members",
            {"group": "devs", "members": ["bob"], "isRemove": True},
            {},
            "admin:RemoveUserFromGroup",
        ),
        ("PUT", "/set-group-status", None, {"group": "devs", "status": "enabled"}, "admin:EnableGroup"),
        ("PUT", "/set-group-status", None, {"group": "devs", "status": "disabled"}, "admin:DisableGroup"),
        ("GET", "/group", None, {"group": "devs"}, "admin:GetGroup"),
        ("GET", "/groups", None, {}, "admin:ListGroups"),
    ],
)
async def test_each_call_takes_its_own_action(gateway, method, path, document, query, action):
    """Who may do everything but this action is refused; who may do just this one is served."""
    await gateway.user("bob")
    await gateway.iam.changes.add_members("devs", ["bob"])
    some, others = await gateway.user("someone", action), await gateway.user("everybut", "admin:*", deny=action)
    assert (await gateway.call(method, path, document, who=others, **query)).code == "AccessDenied"
    assert (await gateway.call(method, path, document, who=some, **query)).status == 200


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ({"group": "devs", "members": ["nobody"]}, 404, "XMinioAdminNoSuchUser"),
        ({"group": "", "members": ["bob"]}, 400, "XMinioAdminInvalidArgument"),
        ({"group": "a,b", "members": ["bob"]}, 400, "XMinioAdminInvalidArgument"),
        ({"group": "devs", "members": [1]}, 400, "XMinioAdminConfigBadJSON"),
        ({"group": "devs", "members": ["bob"], "isRemove": "yes"}, 400, "XMinioAdminConfigBadJSON"),
        ({"group": "devs", "members": ["bob"], "groupStatus": "disabled"}, 400, "XMinioAdminInvalidArgument"),
        (b'{"group": "devs", "group": "ops", "members": ["bob"]}', 400, "XMinioAdminConfigBadJSON"),
        (b"{", 400, "XMinioAdminConfigBadJSON"),
    ],
)
async def test_what_is_no_group_is_refused(gateway, document, status, code):
    """Unknown members, names that are none and bodies of another shape have MinIO's codes, and change nothing."""
    await gateway.user("bob")
    refused = await gateway.call("PUT", "/update-group-members", document)
    assert (refused.status, refused.code) == (status, code)
    assert gateway.iam.watcher.view.groups == {}
