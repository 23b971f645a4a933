"""users: what administrators and users do to users, over HTTP, in a real store."""

from __future__ import annotations

import json
import time

import pytest

from gateway.admin.users import described
from iam.model import Secret
from iam.records import Group, User
from iam.store import StoreUnavailable
from iam.view import IamView
from tests.unit.gateway.admin.conftest import key

READ = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}'


async def test_a_user_is_made_changed_and_removed(gateway):
    """What add-user is told is what the list and the user's page show, without the secret; the removed one is gone."""
    made = await gateway.call("PUT", "/add-user", {"secretKey": "secret-of-bob", "status": "enabled"}, accessKey="bob")
    assert (made.status, made.document) == (200, None)
    shown = await gateway.call("GET", "/user-info", accessKey="bob")
    assert not shown.sealed
    assert shown.document["status"] == "enabled"
    assert "secret" not in json.dumps(shown.document).lower()
    await gateway.call("PUT", "/set-user-status", accessKey="bob", status="disabled")
    listed = await gateway.call("GET", "/list-users")
    assert listed.sealed
    assert listed.document["bob"]["status"] == "disabled"
    assert (await gateway.call("DELETE", "/remove-user", accessKey="bob")).status == 200
    assert (await gateway.call("GET", "/list-users")).document == {}
    gone = await gateway.call("DELETE", "/remove-user", accessKey="bob")
    assert (gone.status, gone.code) == (404, "XMinioAdminNoSuchUser")


async def test_a_user_shows_policies_and_groups(gateway):
    """The policies attached to a user and the groups it is in are shown with it, also in the list."""
    await gateway.user("bob")
    await gateway.iam.changes.add_members("devs", ["bob"])
    await gateway.iam.changes.attach("bob", ["readonly", "writeonly"])
    for shown in (
        (await gateway.call("GET", "/user-info", accessKey="bob")).document,
        (await gateway.call("GET", "/list-users")).document["bob"],
    ):
        assert (shown["policyName"], shown["memberOf"]) == ("readonly,writeonly", ["devs"])


@pytest.mark.parametrize(
    ("method", "path", "query", "action"),
    [
        ("PUT", "/add-user", {"accessKey": "carol"}, "admin:CreateUser"),
        ("PUT", "/set-user-status", {"accessKey": "carol", "status": "enabled"}, "admin:EnableUser"),
        ("PUT", "/set-user-status", {"accessKey": "carol", "status": "disabled"}, "admin:DisableUser"),
        ("DELETE", "/remove-user", {"accessKey": "carol"}, "admin:DeleteUser"),
        ("GET", "/user-info", {"accessKey": "carol"}, "admin:GetUser"),
        ("GET", "/list-users", {}, "admin:ListUsers"),
    ],
)
async def test_each_call_takes_its_own_action(gateway, method, path, query, action):
    """Who may do everything but this action is refused; who may do just this one is served."""
    await gateway.user("carol")
    some = await gateway.user("someone", action)
    others = await gateway.user("everybut", "admin:*", deny=action)
    document = {"secretKey": "secret-of-carol"} if path == "/add-user" else None
    refused = await gateway.call(method, path, document, who=others, **query)
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert (await gateway.call(method, path, document, who=some, **query)).status == 200
    last = (await gateway.lines())[-2:]
    assert [line["operation"] for line in last] == [action, action]
    assert [line["status"] for line in last] == [403, 200]


async def test_users_change_their_own_secret(gateway):
    """A user with any policy changes the own secret and sees itself, unless a policy denies it; it cannot do so to others."""
    bob, eve = (
        await gateway.user("bob", "s3:GetObject"),
        await gateway.user("eve", "s3:GetObject", deny="admin:CreateUser"),
    )
    assert (
        await gateway.call("PUT", "/add-user", {"secretKey": "newer-secret"}, who=bob, accessKey="bob")
    ).status == 200
    assert gateway.iam.watcher.view.users["bob"].secret.reveal() == "newer-secret"
    assert (
        await gateway.call("PUT", "/add-user", {"secretKey": "newer-secret"}, who=eve, accessKey="eve")
    ).status == 403
    assert (await gateway.call("GET", "/user-info", who=eve, accessKey="eve")).status == 200
    assert (await gateway.call("GET", "/user-info", who=eve, accessKey="bob")).status == 403
    assert (
        await gateway.call("PUT", "/add-user", {"secretKey": "newer-secret"}, who=eve, accessKey="bob")
    ).status == 403


async def test_a_new_secret_does_not_enable(gateway):
    """A user that is being disabled while it changes its secret stays disabled."""
    bob = await gateway.user("bob", "s3:GetObject")
    put_user = gateway.iam.changes.put_user

    async def late(name, **members):
        await put_user(name, enabled=False)
        return await put_user(name, **members)

    gateway.iam.changes.put_user = late
    await gateway.call("PUT", "/add-user", {"secretKey": "newer-secret", "status": "enabled"}, who=bob, accessKey="bob")
    found = gateway.iam.watcher.view.users["bob"]
    assert (found.enabled, found.secret.reveal()) == (False, "newer-secret")


async def test_own_affairs_do_not_widen_rights(gateway):
    """With the own secret nobody gives oneself a policy, and nobody disables, enables or removes oneself."""
    bob = await gateway.user("bob", "s3:GetObject", "admin:DisableUser", "admin:DeleteUser")
    grab = {"secretKey": "newer-secret", "policy": "consoleAdmin"}
    assert (await gateway.call("PUT", "/add-user", grab, who=bob, accessKey="bob")).status == 403
    assert gateway.iam.watcher.view.users["bob"].secret == key("bob").secret
    assert (await gateway.call("PUT", "/set-user-status", who=bob, accessKey="bob", status="disabled")).status == 400
    refused = await gateway.call("DELETE", "/remove-user", who=bob, accessKey="bob")
    assert (refused.status, refused.code) == (403, "XMinioIAMActionNotAllowed")
    off = {"secretKey": "newer-secret", "status": "disabled"}
    assert (await gateway.call("PUT", "/add-user", off, who=bob, accessKey="bob")).status == 400


@pytest.mark.parametrize("name", ["ROOTKEY", "svc-of-bob", "bob"])
async def test_nobody_changes_root_an_account_or_the_own_parent(gateway, name):
    """A service account with every right changes neither root, nor an account, nor the user that it acts for."""
    await gateway.user("bob", "admin:*")
    svc = key("svc-of-bob")
    await gateway.iam.changes.create_account("bob", access_key_id="svc-of-bob", secret=svc.secret)
    refused = await gateway.call("PUT", "/add-user", {"secretKey": "newer-secret"}, who=svc, accessKey=name)
    assert (refused.status, refused.code) == (400, "XMinioInvalidIAMCredentials")


@pytest.mark.parametrize(
    ("document", "query", "status", "code"),
    [
        ({"secretKey": "short"}, {"accessKey": "bob"}, 400, "XMinioAdminInvalidSecretKey"),
        ({"secretKey": "long-enough"}, {"accessKey": "a=b"}, 400, "XMinioAdminInvalidAccessKey"),
        ({"secretKey": "long-enough"}, {"accessKey": ""}, 400, "XMinioAdminInvalidAccessKey"),
        ({"status": "enabled"}, {"accessKey": "bob"}, 404, "XMinioAdminNoSuchUser"),
        ({"secretKey": "long-enough", "status": "on"}, {"accessKey": "bob"}, 400, "XMinioAdminConfigBadJSON"),
        ({"secretKey": "long-enough", "admin": True}, {"accessKey": "bob"}, 400, "XMinioAdminConfigBadJSON"),
        ({"secretKey": 12345678}, {"accessKey": "bob"}, 400, "XMinioAdminConfigBadJSON"),
        ([], {"accessKey": "bob"}, 400, "XMinioAdminConfigBadJSON"),
        ({"secretKey": "long-enough", "policy": "nope"}, {"accessKey": "bob"}, 404, "XMinioAdminNoSuchPolicy"),
        ({"secretKey": "long-enough"}, {}, 400, "XMinioAdminInvalidArgument"),
        ({"secretKey": "long-enough"}, {"accessKey": "bob", "x": "y"}, 400, "XMinioAdminInvalidArgument"),
    ],
)
async def test_what_is_no_user_is_refused(gateway, document, query, status, code):
    """Secrets and names that cannot be, unknown members and parameters, and missing ones have MinIO's codes."""
    refused = await gateway.call("PUT", "/add-user", document, **query)
    assert (refused.status, refused.code) == (status, code)


async def test_a_user_is_made_with_a_policy(gateway):
    """The old `policy` member attaches at once, for who may attach."""
    made = {"secretKey": "long-enough", "policy": "readonly, writeonly"}
    assert (await gateway.call("PUT", "/add-user", made, accessKey="bob")).status == 200
    assert (await gateway.call("GET", "/user-info", accessKey="bob")).document["policyName"] == "readonly,writeonly"


async def test_a_user_whose_policies_fail_is_told_to_be_there(gateway, monkeypatch):
    """add-user with policies makes two changes: when the second one fails, its caller knows that the first was made."""

    async def away(*_, **__):
        raise StoreUnavailable("etcd is away")

    monkeypatch.setattr(gateway.iam.changes, "set_policies", away)
    told = await gateway.call("PUT", "/add-user", {"secretKey": "secret-of-bob", "policy": "readonly"}, accessKey="bob")
    assert (told.status, told.code) == (503, "XMinioIAMNotInitialized")
    assert "The user bob is there, its policies may be not" in told.document["Message"]
    assert "bob" in gateway.iam.watcher.view.users


async def test_more_policies_than_one_change_holds_are_refused_before_anything_is_made(gateway):
    """A list of policies that no transaction takes makes no user without them."""
    names = [f"policy{number}" for number in range(65)]
    for name in names:
        await gateway.iam.changes.put_policy(name, READ)
    document = {"secretKey": "secret-of-bob", "policy": ",".join(names)}
    told = await gateway.call("PUT", "/add-user", document, accessKey="bob")
    assert (told.status, told.code) == (400, "XMinioAdminInvalidArgument")
    assert not gateway.iam.watcher.view.users


async def test_a_list_of_users_takes_no_longer_for_what_groups_they_are_in(gateway):
    """Thousands of users in large groups are listed at once: whose groups they are is looked up, not searched for."""
    users = [User(f"user{number:05}", Secret("12345678")) for number in range(3000)]
    groups = [Group(f"group{number:03}", tuple(user.name for user in users)) for number in range(30)]
    view = IamView().apply([*users, *groups], 1)
    began = time.thread_time()
    assert all(len(described(view, user)["memberOf"]) == 30 for user in users)
    assert time.thread_time() - began < 1
