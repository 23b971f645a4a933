"""entities: who has which policies."""

from __future__ import annotations

import pytest

DN = "uid=bob,ou=people,dc=example,dc=org"


@pytest.fixture
async def filled(gateway):
    """A gateway with a user in a group, a provider's subject, and a directory's, each with policies."""
    await gateway.user("bob")
    await gateway.iam.changes.add_members("devs", ["bob"])
    await gateway.iam.changes.attach("bob", ["writeonly", "readonly"])
    await gateway.iam.changes.attach("devs", ["readwrite"], group=True)
    await gateway.iam.changes.attach("openid:corp:alice", ["readonly"])
    await gateway.iam.changes.attach(DN, ["readonly"])
    return gateway


async def test_everything_is_told_when_nothing_is_named(filled):
    """All users, groups and policies that are attached, but for the directory's."""
    found = (await filled.call("GET", "/idp/builtin/policy-entities")).document
    assert [u["user"] for u in found["userMappings"]] == ["bob", "openid:corp:alice"]
    assert found["userMappings"][0] == {
        "user": "bob", "policies": ["readonly", "writeonly"], "memberOfMappings": [{"group": "devs", "policies": ["readwrite"]}],
    }  # fmt: skip
    assert found["groupMappings"] == [{"group": "devs", "policies": ["readwrite"]}]
    readonly = {"policy": "readonly", "users": ["bob", "openid:corp:alice"], "groups": []}
    assert readonly in found["policyMappings"]


async def test_only_what_is_named_is_told(filled):
    """Each kind by its names, which may be given several times; who has nothing is told with nothing."""
    found = (await filled.call("GET", "/idp/builtin/policy-entities", user=["nobody", "bob"])).document
    assert [(u["user"], len(u["policies"])) for u in found["userMappings"]] == [("nobody", 0), ("bob", 2)]
    assert not {"groupMappings", "policyMappings"} & found.keys()
    found = (
        await filled.call("GET", "/idp/builtin/policy-entities", policy=["readwrite", "diagnostics"], group="devs")
    ).document
    assert found["policyMappings"] == [
        {"policy": "diagnostics", "users": [], "groups": []}, {"policy": "readwrite", "users": [], "groups": ["devs"]},
    ]  # fmt: skip
    assert found["groupMappings"] == [{"group": "devs", "policies": ["readwrite"]}]


async def test_a_directory_s_are_told_apart(filled):
    """The directory's call tells of distinguished names only, in whatever way they are written."""
    found = (await filled.call("GET", "/idp/ldap/policy-entities")).document
    assert [u["user"] for u in found["userMappings"]] == [DN]
    found = (
        await filled.call("GET", "/idp/ldap/policy-entities", user="UID=bob, OU=people,dc=example,dc=org")
    ).document
    assert found["userMappings"] == [{"user": DN, "policies": ["readonly"], "memberOfMappings": []}]


async def test_it_takes_one_of_three_actions(filled):
    """As in MinIO any right to list is enough, and none is not."""
    some, none = await filled.user("someone", "admin:ListGroups"), await filled.user("none", "admin:GetUser")
    assert (await filled.call("GET", "/idp/builtin/policy-entities", who=some)).status == 200
    assert (await filled.call("GET", "/idp/builtin/policy-entities", who=none)).code == "AccessDenied"
