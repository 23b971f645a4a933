"""accounts: service accounts, and that nobody gets more by one than the maker had."""

from __future__ import annotations

import base64
import json

import pytest

from gateway.admin import accounts
from gateway.admin.call import utc
from iam.model import Secret
from tests.unit.gateway.admin.conftest import key
from tests.unit.gateway.signers import ROOT

READ = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/*"]}],
}
MAKER = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["admin:*"]}, *READ["Statement"]]}
HERE, LATER = 1_900_000_000, "2030-06-01T00:00:00Z"
DN = "uid=bob,ou=people,dc=example,dc=org"


async def add(gateway, who=ROOT, **document):
    return await gateway.call("PUT", "/add-service-account", document, who=who)


def account(gateway, name):
    return gateway.iam.watcher.view.accounts[name]


def encoded(policy) -> str:
    return base64.b64encode(json.dumps(policy).encode()).decode()


async def test_a_user_makes_accounts_for_itself(gateway):
    """With keys of its own choice or of ours, sealed; they act for the user, and the answer says when they end."""
    bob = await gateway.user("bob", "s3:GetObject")
    made = await add(gateway, bob)
    assert made.sealed
    found = made.document["credentials"]
    assert (len(found["accessKey"]), len(found["secretKey"]), found["expiration"]) == (20, 40, "1970-01-01T00:00:00Z")
    chosen = await add(
        gateway,
        bob,
        accessKey="bobs-key",
        secretKey="bobs-other-secret",
        policy=READ,
        name="ci",
        comment="old",
        expiration=LATER,
    )
    assert chosen.document["credentials"]["expiration"] == LATER
    one = account(gateway, "bobs-key")
    assert (one.parent, json.loads(one.policy), one.name, one.description) == ("bob", READ, "ci", "old")
    assert (await gateway.call("GET", "/user-info", who=key("bob"), accessKey="bob")).status == 200


async def test_for_others_it_takes_the_action(gateway):
    """Accounts of another user take admin:CreateServiceAccount; a Deny of it takes one's own away too."""
    await gateway.user("bob", "s3:GetObject")
    plain = await gateway.user("plain", "s3:GetObject")
    maker = await gateway.user("maker", "admin:CreateServiceAccount")
    denied = await gateway.user("denied", "s3:*", deny="admin:CreateServiceAccount")
    assert (await add(gateway, plain, targetUser="bob")).code == "AccessDenied"
    assert (await add(gateway, maker, targetUser="bob")).status == 200
    assert (await add(gateway, denied)).code == "AccessDenied"
    assert (await add(gateway, maker, targetUser="nobody")).code == "XMinioAdminNoSuchUser"
    assert [a.parent for a in gateway.iam.watcher.view.accounts.values()] == ["bob"]


async def test_trap_29_a_narrowed_session_makes_only_narrowed_accounts(gateway):
    """CVE-2025-62506: an account that a session with a policy makes has that policy; another one, or one without, is not made."""
    await gateway.user("bob", "s3:*", "admin:*")
    narrowed = await gateway.iam.session("bob", sessionPolicy=encoded(MAKER))
    made = (await add(gateway, narrowed)).document["credentials"]
    assert json.loads(account(gateway, made["accessKey"]).policy) == MAKER
    wider = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    refused = await add(gateway, narrowed, policy=wider)
    assert (refused.status, refused.code) == (400, "XMinioIAMServiceAccountNotAllowed")
    assert (await add(gateway, narrowed, policy=MAKER)).status == 200
    child = type(ROOT)(made["accessKey"], Secret(made["secretKey"]))
    grandchild = (await add(gateway, child)).document["credentials"]
    assert json.loads(account(gateway, grandchild["accessKey"]).policy) == MAKER
    assert len(gateway.iam.watcher.view.accounts) == 3


async def test_trap_29_one_s_own_affairs_need_the_session_policy_s_leave(gateway):
    """What is allowed unless denied is not so for a session policy: it must allow it (CVE-2025-62506)."""
    await gateway.user("bob", "s3:*", "admin:*")
    reader = await gateway.iam.session("bob", sessionPolicy=encoded(READ))
    assert (await add(gateway, reader)).code == "AccessDenied"
    root = await gateway.iam.session(ROOT.access_key_id, key="SROOT", sessionPolicy=encoded(READ))
    assert (await add(gateway, root)).code == "AccessDenied"
    await gateway.iam.changes.create_account(
        "bob", access_key_id="bobs-reader", secret=key("bobs-reader").secret, policy=json.dumps(READ)
    )
    assert (await add(gateway, key("bobs-reader"))).code == "AccessDenied"
    for path in ("/list-service-accounts", "/accountinfo"):
        assert (await gateway.call("GET", path, who=reader)).code == "AccessDenied"
    assert [a.access_key_id for a in gateway.iam.watcher.view.accounts.values()] == ["bobs-reader"]


async def test_an_account_that_ends_makes_none_that_lives_longer(gateway):
    """Its children end when it does, or before; one for ever is not made."""
    await gateway.user("bob", "s3:*")
    await gateway.iam.changes.create_account(
        "bob", access_key_id="bobs-short", secret=key("bobs-short").secret, expires_at=HERE
    )
    made = await add(gateway, key("bobs-short"))
    assert account(gateway, made.document["credentials"]["accessKey"]).expires_at == HERE
    assert (await add(gateway, key("bobs-short"), expiration=LATER)).code == "XMinioAdminInvalidArgument"
    assert (await add(gateway, key("bobs-short"), expiration="2029-01-01T00:00:00Z")).status == 200


async def test_nobody_fills_the_store_with_accounts_of_the_own(gateway, monkeypatch):
    """Anybody may make some, for the asking; who has so many makes room first. Root, and who makes them for others, may go on."""
    monkeypatch.setattr(accounts, "OWN", 2)
    bob, admin = await gateway.user("bob", "s3:*"), await gateway.user("admin", "admin:CreateServiceAccount")
    made = [await add(gateway, bob) for _ in range(3)]
    assert [told.status for told in made] == [200, 200, 400]
    assert made[-1].code == "XMinioIAMServiceAccountNotAllowed"
    assert (await add(gateway, admin, targetUser="bob")).status == 200
    for told in made[:2]:
        key_id = told.document["credentials"]["accessKey"]
        assert (await gateway.call("DELETE", "/delete-service-account", who=bob, accessKey=key_id)).status == 204
    assert (await add(gateway, bob)).status == 200
    assert [(await add(gateway)).status for _ in range(3)] == [200] * 3


async def test_an_account_that_ends_changes_none_into_one_that_lives_longer(gateway):
    """Neither itself, by another end or none, nor another of its parent's by a secret that it then knows."""
    await gateway.user("bob", "admin:UpdateServiceAccount")
    end = int(gateway.iam.time()) + 3600
    for name, life in (("ending", end), ("lasting", None), ("shorter", end - 60)):
        await gateway.iam.changes.create_account("bob", access_key_id=name, secret=key(name).secret, expires_at=life)
    for name, change in (
        ("ending", {"newExpiration": "1970-01-01T00:00:00Z"}), ("shorter", {"newExpiration": utc(end + 60)}),
        ("lasting", {"newSecretKey": "another-secret"}),
    ):  # fmt: skip
        refused = await gateway.call("POST", "/update-service-account", change, who=key("ending"), accessKey=name)
        assert (refused.status, refused.code) == (400, "XMinioAdminInvalidArgument")
    for name, change in (
        ("ending", {"newExpiration": utc(end - 30)}), ("shorter", {"newSecretKey": "another-secret"}),
        ("lasting", {"newDescription": "of bob's"}),
    ):  # fmt: skip
        done = await gateway.call("POST", "/update-service-account", change, who=key("ending"), accessKey=name)
        assert done.status == 204


async def test_root_s_accounts_are_root_s_own(gateway):
    """An administrator with every right makes, changes and removes no account of root's: it would be root."""
    admin = await gateway.user("admin", "admin:*", "s3:*")
    assert (await add(gateway, admin, targetUser=ROOT.access_key_id)).code == "AccessDenied"
    made = (await add(gateway)).document["credentials"]["accessKey"]
    assert account(gateway, made).parent == ROOT.access_key_id
    change = {"newSecretKey": "a-newer-secret"}
    assert (
        await gateway.call("POST", "/update-service-account", change, who=admin, accessKey=made)
    ).code == "AccessDenied"
    assert (await gateway.call("DELETE", "/delete-service-account", who=admin, accessKey=made)).code == "AccessDenied"
    assert (await gateway.call("POST", "/update-service-account", change, accessKey=made)).status == 204
    assert (await gateway.call("DELETE", "/delete-service-account", accessKey=made)).status == 204


async def test_an_account_is_changed(gateway):
    """Policy, secret, status, name, description and end; an empty policy lets it inherit all again, as in MinIO."""
    await gateway.user("bob", "s3:*")
    await add(gateway, targetUser="bob", accessKey="bobs-key", secretKey="bobs-other-secret", policy=READ)
    change = {
        "newPolicy": {"Version": "2012-10-17", "Statement": []}, "newSecretKey": "a-newer-secret", "newStatus": "off", "newName": "n",
        "newDescription": "d", "newExpiration": LATER,
    }  # fmt: skip
    done = await gateway.call("POST", "/update-service-account", change, accessKey="bobs-key")
    assert (done.status, done.document) == (204, None)
    one = account(gateway, "bobs-key")
    assert (one.policy, one.secret.reveal(), one.enabled, one.name, one.description) == (
        None,
        "a-newer-secret",
        False,
        "n",
        "d",
    )
    assert one.expires_at == 1_906_502_400
    never = {"newExpiration": "1970-01-01T00:00:00Z", "newStatus": "enabled"}
    await gateway.call("POST", "/update-service-account", never, accessKey="bobs-key")
    assert (account(gateway, "bobs-key").expires_at, account(gateway, "bobs-key").enabled) == (None, True)
    assert (
        await gateway.call("POST", "/update-service-account", {}, accessKey="bobs-key")
    ).code == "XMinioAdminInvalidArgument"
    gone = await gateway.call("POST", "/update-service-account", {"newName": "n"}, accessKey="nope")
    assert (gone.status, gone.code) == (404, "XMinioInvalidIAMCredentials")


async def test_to_change_an_account_takes_the_action(gateway):
    """Also for one's own: by a new secret or policy a narrowed caller would be more than it is."""
    bob, some = await gateway.user("bob", "s3:*"), await gateway.user("someone", "admin:UpdateServiceAccount")
    await add(gateway, bob, accessKey="bobs-key", secretKey="bobs-other-secret")
    change = {"newName": "n"}
    assert (
        await gateway.call("POST", "/update-service-account", change, who=bob, accessKey="bobs-key")
    ).code == "AccessDenied"
    assert (await gateway.call("POST", "/update-service-account", change, who=some, accessKey="bobs-key")).status == 204


async def test_trap_29_a_narrowed_caller_takes_over_no_sibling(gateway):
    """A session with a policy that allows admin:* changes neither secret nor policy of its parent's accounts; names it may."""
    await gateway.user("bob", "s3:*", "admin:*")
    await add(gateway, targetUser="bob", accessKey="bobs-key", secretKey="bobs-other-secret")
    narrowed = await gateway.iam.session("bob", sessionPolicy=encoded(MAKER))
    for change in ({"newSecretKey": "a-newer-secret"}, {"newPolicy": {}}):
        assert (
            await gateway.call("POST", "/update-service-account", change, who=narrowed, accessKey="bobs-key")
        ).code == "AccessDenied"
    assert (
        await gateway.call("POST", "/update-service-account", {"newName": "n"}, who=narrowed, accessKey="bobs-key")
    ).status == 204
    assert account(gateway, "bobs-key").secret.reveal() == "bobs-other-secret"


async def test_one_removes_one_s_own_accounts_only(gateway):
    """A user removes its own ones; of others, and of none, it learns nothing but that it may not."""
    bob, eve = await gateway.user("bob", "s3:*"), await gateway.user("eve", "s3:*")
    await add(gateway, bob, accessKey="bobs-key", secretKey="bobs-other-secret")
    for name in ("bobs-key", "no-such-key"):
        refused = await gateway.call("DELETE", "/delete-service-account", who=eve, accessKey=name)
        assert (refused.status, refused.code) == (403, "AccessDenied")
    assert (await gateway.call("DELETE", "/delete-service-account", who=bob, accessKey="bobs-key")).status == 204
    gone = await gateway.call("DELETE", "/delete-service-account", accessKey="bobs-key")
    assert (gone.status, gone.code) == (404, "XMinioInvalidIAMCredentials")


async def test_a_federated_session_s_account_is_its_holder_s(gateway):
    """It keeps whose it is, by which provider, its claims and groups, and nothing of the session; its own accounts keep it too."""
    await gateway.iam.changes.attach("openid:corp:alice", ["readwrite"])
    alice = await gateway.iam.session(
        "openid:corp:alice",
        provider="openid:corp",
        groups=["openid:corp:staff"],
        sub="alice",
        policy="x",
        roleArn="arn:r",
    )
    made = (await add(gateway, alice)).document["credentials"]
    one = account(gateway, made["accessKey"])
    assert (one.parent, one.provider, one.groups) == ("openid:corp:alice", "openid:corp", ("openid:corp:staff",))
    assert one.claims == {"sub": "alice", "policy": "x", "roleArn": "arn:r"}
    child = (await add(gateway, type(ROOT)(one.access_key_id, one.secret))).document["credentials"]
    other = account(gateway, child["accessKey"])
    assert (other.parent, other.provider, other.groups, other.claims) == (
        one.parent,
        one.provider,
        one.groups,
        one.claims,
    )


async def test_a_session_with_tags_makes_no_account(gateway):
    """Its tags may be what a policy denies it by: an account would not have them."""
    await gateway.user("bob", "s3:*")
    tagged = await gateway.iam.session("bob", tags={"project": "secret"})
    assert (await add(gateway, tagged)).code == "XMinioIAMServiceAccountNotAllowed"


async def test_an_account_for_a_directory_s_user(gateway):
    """An administrator makes one for a distinguished name, normalized; anything else is none there."""
    made = await gateway.call(
        "PUT", "/idp/ldap/add-service-account", {"targetUser": "UID=Bob, OU=people,dc=example,dc=org"}
    )
    one = account(gateway, made.document["credentials"]["accessKey"])
    assert (one.parent, one.provider, one.claims) == (DN, "ldap", {"ldapUser": DN})
    refused = await gateway.call("PUT", "/idp/ldap/add-service-account", {"targetUser": "bob"})
    assert refused.code == "XMinioAdminInvalidArgument"


async def test_a_disabled_account_is_made_disabled(gateway):
    """What is asked for with status disabled is not enabled."""
    made = await add(gateway, status="disabled")
    assert account(gateway, made.document["credentials"]["accessKey"]).enabled is False


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"accessKey": "only-a-key"}, "XMinioAdminNoSecretKey"),
        ({"secretKey": "only-a-secret"}, "XMinioAdminNoAccessKey"),
        ({"accessKey": "a=b", "secretKey": "long-enough"}, "XMinioAdminInvalidAccessKey"),
        ({"accessKey": "some-key", "secretKey": "short"}, "XMinioAdminInvalidSecretKey"),
        ({"accessKey": "bob", "secretKey": "long-enough"}, "XMinioIAMServiceAccountNotAllowed"),
        ({"accessKey": "ROOTKEY", "secretKey": "long-enough"}, "XMinioIAMServiceAccountNotAllowed"),
        ({"name": "1st"}, "XMinioAdminInvalidArgument"),
        ({"name": "n" * 33}, "XMinioAdminInvalidArgument"),
        ({"description": "d" * 257}, "XMinioAdminInvalidArgument"),
        ({"expiration": "2001-01-01T00:00:00Z"}, "XMinioAdminInvalidArgument"),
        ({"expiration": "soon"}, "XMinioAdminInvalidArgument"),
        ({"policy": {"Version": "2012-10-17", "Statement": [{}]}}, "XMinioMalformedIAMPolicy"),
        ({"policy": "readonly"}, "XMinioAdminConfigBadJSON"),
        ({"status": "maybe"}, "XMinioAdminInvalidArgument"),
        ({"owner": True}, "XMinioAdminConfigBadJSON"),
    ],
)
async def test_what_is_no_account_is_refused(gateway, document, code):
    """Half pairs, names that are taken or none, times and policies that are none; nothing is made."""
    await gateway.user("bob")
    refused = await add(gateway, **document)
    assert refused.code == code
    assert gateway.iam.watcher.view.accounts == {}
