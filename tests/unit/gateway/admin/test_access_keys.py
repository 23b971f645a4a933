"""access_keys: service accounts and sessions, shown and listed to whom they may be."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from gateway.admin.office import LOOKING
from iam.embedded import EmbeddedStore
from iam.model import Credentials, Secret
from iam.records import ServiceAccount, User
from tests.unit.gateway.admin.conftest import key
from tests.unit.gateway.signers import ROOT

DN = "uid=bob,ou=people,dc=example,dc=org"


@pytest.fixture
async def filled(gateway):
    """A gateway with two users, an account of each, an account of a directory's user, and a session."""
    await gateway.user("bob", "s3:GetObject")
    await gateway.user("eve", "s3:GetObject")
    for name in ("bob", "eve"):
        await gateway.iam.changes.create_account(
            name, access_key_id=f"{name}s-key", secret=key(f"{name}s-key").secret, name="n", expires_at=1_900_000_000
        )
    await gateway.iam.changes.create_account(
        DN,
        access_key_id="dns-key",
        provider="ldap",
        policy=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
        ),
    )
    await gateway.iam.session("bob")
    return gateway


SESSION = "SBOB0000000000000000"


async def test_an_account_is_shown_with_the_policy_that_applies(filled):
    """An inheriting one shows its parent's statements, another its own policy; root's shows what root may."""
    shown = (await filled.call("GET", "/info-service-account", accessKey="bobs-key")).document
    assert (shown["parentUser"], shown["accountStatus"], shown["impliedPolicy"], shown["name"]) == (
        "bob",
        "on",
        True,
        "n",
    )
    assert (shown["expiration"], json.loads(shown["policy"])["Statement"][0]["Action"]) == (
        "2030-03-17T17:46:40Z",
        ["s3:GetObject"],
    )
    shown = (await filled.call("GET", "/info-service-account", accessKey="dns-key")).document
    assert (shown["impliedPolicy"], json.loads(shown["policy"])["Statement"][0]["Effect"]) == (False, "Deny")
    await filled.iam.changes.create_account(ROOT.access_key_id, access_key_id="roots-key")
    shown = (await filled.call("GET", "/info-service-account", accessKey="roots-key")).document
    assert "admin:*" in json.loads(shown["policy"])["Statement"][0]["Action"]
    assert "secret" not in json.dumps(shown).lower()


async def test_one_sees_one_s_own_accounts_only(filled):
    """By the user's own key and by the account's; another's takes the action."""
    for who in (key("bob"), key("bobs-key")):
        assert (await filled.call("GET", "/info-service-account", who=who, accessKey="bobs-key")).status == 200
        assert (await filled.call("GET", "/info-service-account", who=who, accessKey="eves-key")).code == "AccessDenied"
    lister = await filled.user("lister", "admin:ListServiceAccounts")
    assert (await filled.call("GET", "/info-service-account", who=lister, accessKey="eves-key")).status == 200


async def test_accounts_are_listed(filled):
    """Of oneself by default, of others with the action; of nobody there is no list."""
    assert [
        a["accessKey"]
        for a in (await filled.call("GET", "/list-service-accounts", who=key("bobs-key"))).document["accounts"]
    ] == ["bobs-key"]
    assert (await filled.call("GET", "/list-service-accounts", who=key("bob"), user="eve")).code == "AccessDenied"
    assert [
        a["accessKey"] for a in (await filled.call("GET", "/list-service-accounts", user="eve")).document["accounts"]
    ] == ["eves-key"]
    assert [
        a["accessKey"] for a in (await filled.call("GET", "/list-service-accounts", user=DN)).document["accounts"]
    ] == ["dns-key"]
    assert (await filled.call("GET", "/list-service-accounts", user="openid:corp:x")).document["accounts"] == []
    assert (await filled.call("GET", "/list-service-accounts", user="nobody")).code == "XMinioAdminNoSuchUser"


async def test_a_session_is_shown(filled):
    """With its parent and its end, off once it is revoked; its holder may see it, another not."""
    shown = (await filled.call("GET", "/temporary-account-info", accessKey=SESSION)).document
    assert (shown["parentUser"], shown["accountStatus"]) == ("bob", "on")
    assert (
        await filled.call("GET", "/temporary-account-info", who=key("eve"), accessKey=SESSION)
    ).code == "AccessDenied"
    holder = await filled.iam.session("bob")
    assert (await filled.call("GET", "/temporary-account-info", who=holder, accessKey=SESSION)).status == 200
    await filled.iam.changes.revoke_session(SESSION)
    assert (await filled.call("GET", "/temporary-account-info", accessKey=SESSION)).document["accountStatus"] == "off"
    gone = await filled.call("GET", "/temporary-account-info", accessKey="NOSUCH")
    assert (gone.status, gone.code) == (404, "XMinioAdminNoSuchAccessKey")


async def test_any_key_is_shown(filled):
    """By default one's own; it says of which kind it is and where its user comes from."""
    own = (await filled.call("GET", "/info-access-key", who=key("bobs-key"))).document
    assert (own["accessKey"], own["userType"], own["userProvider"]) == ("bobs-key", "Service Account", "builtin")
    other = (await filled.call("GET", "/info-access-key", accessKey="dns-key")).document
    assert (other["parentUser"], other["userProvider"]) == (DN, "ldap")
    assert (await filled.call("GET", "/info-access-key", accessKey=SESSION)).document["userType"] == "STS"
    assert (await filled.call("GET", "/info-access-key", who=key("bob"), accessKey="eves-key")).code == "AccessDenied"
    assert (await filled.call("GET", "/info-access-key", accessKey="nope")).code == "XMinioAdminNoSuchAccessKey"


async def test_keys_are_listed_by_user(filled):
    """Of oneself, of named users, of all; each kind by itself."""
    own = (await filled.call("GET", "/list-access-keys-bulk", who=key("bob"), listType="all")).document
    assert [a["accessKey"] for a in own["bob"]["serviceAccounts"]] == ["bobs-key"]
    assert [s["accessKey"] for s in own["bob"]["stsKeys"]] == [SESSION]
    everybody = (await filled.call("GET", "/list-access-keys-bulk", all="true", listType="svcacc-only")).document
    assert {name: len(found["serviceAccounts"]) for name, found in everybody.items()} == {"bob": 1, "eve": 1}
    sessions = (await filled.call("GET", "/list-access-keys-bulk", users=["eve", "bob"], listType="sts-only")).document
    assert {name: (len(f["serviceAccounts"]), len(f["stsKeys"])) for name, f in sessions.items()} == {
        "eve": (0, 0),
        "bob": (0, 1),
    }
    assert (await filled.call("GET", "/list-access-keys-bulk", who=key("bob"), users="eve")).code == "AccessDenied"
    assert (await filled.call("GET", "/list-access-keys-bulk", who=key("bob"), all="true")).code == "AccessDenied"
    assert (
        await filled.call("GET", "/list-access-keys-bulk", all="true", users="bob")
    ).code == "XMinioAdminInvalidArgument"


async def test_few_look_for_their_own_sessions_at_once(filled, monkeypatch):
    """Anybody may, and all sessions are read for it: only the own ones are kept, and no more than a few callers do it at a time."""
    at_once, most, asked = 0, 0, []
    sessions = filled.iam.store.sessions

    async def counted(parents=None):
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        asked.append(tuple(parents))
        try:
            return await sessions(parents)
        finally:
            at_once -= 1

    monkeypatch.setattr(filled.iam.store, "sessions", counted)
    calls = (filled.call("GET", "/list-access-keys-bulk", who=key("bob"), listType="sts-only") for _ in range(8))
    assert [len(told.document["bob"]["stsKeys"]) for told in await asyncio.gather(*calls)] == [1] * 8
    assert (most, asked) == (LOOKING, [("bob",)] * 8)


async def test_a_list_of_everybody_s_keys_takes_no_longer_than_there_are_keys(gateway):
    """With thousands of users and accounts each is looked at once, not once for every other one."""
    names = [f"user{number:05}" for number in range(10_000)]
    accounts = [ServiceAccount(f"key-{name}", Secret("12345678"), name) for name in names]
    view = gateway.iam.watcher.view
    gateway.iam.watcher.view = view.apply([*(User(n, Secret("12345678")) for n in names), *accounts], view.revision)
    began = time.thread_time()
    told = await gateway.call("GET", "/list-access-keys-bulk", all="true", listType="svcacc-only")
    assert {len(found["serviceAccounts"]) for found in told.document.values()} == {1}
    assert len(told.document) == len(names)
    assert time.thread_time() - began < 2


async def test_others_sessions_take_their_own_action(filled):
    """Who may list accounts only is not told of sessions."""
    lister = await filled.user("lister", "admin:ListServiceAccounts")
    assert (
        await filled.call("GET", "/list-access-keys-bulk", who=lister, users="bob", listType="all")
    ).code == "AccessDenied"
    found = await filled.call("GET", "/list-access-keys-bulk", who=lister, users="bob", listType="svcacc-only")
    assert found.document["bob"]["stsKeys"] == []


async def test_a_directory_s_keys_are_listed_apart(filled):
    """By distinguished name, one or several or all of them."""
    one = (
        await filled.call(
            "GET", "/idp/ldap/list-access-keys", userDN="UID=bob, OU=people,dc=example,dc=org", listType="all"
        )
    ).document
    assert [a["accessKey"] for a in one["serviceAccounts"]] == ["dns-key"]
    bulk = (await filled.call("GET", "/idp/ldap/list-access-keys-bulk", all="true")).document
    assert list(bulk) == [DN]
    assert (await filled.call("GET", "/idp/ldap/list-access-keys-bulk")).document == {}
    session = await filled.iam.session(DN, provider="ldap", key="OFDN")
    assert (
        await filled.call("GET", "/idp/ldap/list-access-keys-bulk", who=session)
    ).code == "AccessDenied"  # it has no policy
    await filled.iam.changes.attach(DN, ["readonly"])
    assert list((await filled.call("GET", "/idp/ldap/list-access-keys-bulk", who=session)).document) == [DN]
    bulk = (
        await filled.call("GET", "/idp/ldap/list-access-keys-bulk", userDNs=[DN, "cn=other"], listType="svcacc-only")
    ).document
    assert {dn: len(found["serviceAccounts"]) for dn, found in bulk.items()} == {DN: 1, "cn=other": 0}


async def test_credentials_of_root_have_no_page(filled):
    """Root's own pair is neither an account nor a session."""
    assert (
        await filled.call("GET", "/info-access-key", who=Credentials(ROOT.access_key_id, ROOT.secret))
    ).code == "XMinioAdminNoSuchAccessKey"


async def test_sessions_are_looked_through_once_however_many_people_there_are(filled, monkeypatch):
    """The keys of everybody: not all sessions again for each of them, or a thousand users hold every request up."""
    looks = 0

    class Counted(list):
        __slots__ = ()

        def __iter__(self):
            nonlocal looks
            looks += 1
            return super().__iter__()

    async def sessions(self, parents=None):
        return Counted(await everything(self, parents))

    everything = EmbeddedStore.sessions
    monkeypatch.setattr(EmbeddedStore, "sessions", sessions)
    for name in ("ann", "carl", "dora", "fred"):
        await filled.user(name, "s3:GetObject")
    listed = await filled.call("GET", "/list-access-keys-bulk", all="true", listType="all")
    assert len(listed.document) == 6
    assert [one["accessKey"] for one in listed.document["bob"]["stsKeys"]] == [SESSION]
    assert looks == 2
