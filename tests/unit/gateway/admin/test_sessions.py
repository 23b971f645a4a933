"""sessions: listed and ended, one by one, by principal and by type."""

from __future__ import annotations

import asyncio

import pytest

from gateway.admin.office import LOOKING
from gateway.errors import InvalidAccessKeyId
from iam.endings import TYPES

DN = "uid=bob,ou=people,dc=example,dc=org"


def is_refused(gateway, session) -> bool:
    """Return whether a session is refused now."""
    try:
        gateway.iam.lookup(session.access_key_id, session.session_token.reveal())
    except InvalidAccessKeyId:
        return True
    return False


async def test_sessions_are_listed(gateway):
    """All of them or those of one parent, with their key's id, whether revoked; no secret, no token."""
    await gateway.user("bob")
    await gateway.user("eve")
    await gateway.iam.session("bob", tokenRevokeType="app")
    await gateway.iam.session("eve")
    found = (await gateway.ours("GET", "/sessions")).document["sessions"]
    assert [(s["parent"], s["tokenRevokeType"], s["revoked"]) for s in found] == [
        ("bob", "app", False),
        ("eve", "", False),
    ]
    assert all(s["keyId"] and s["issuedAt"] < s["expiresAt"] for s in found)
    assert not {name.lower() for s in found for name in s} & {"secretkey", "secret", "sessiontoken", "token"}
    await gateway.iam.changes.revoke_session(found[0]["accessKey"])
    assert [s["revoked"] for s in (await gateway.ours("GET", "/sessions", parent="bob")).document["sessions"]] == [True]


async def test_one_session_is_ended(gateway):
    """It is refused at the next request, the others of its parent are not; one that is not recorded is not found."""
    await gateway.user("bob")
    one, other = await gateway.iam.session("bob"), await gateway.iam.session("bob", key="OTHER")
    told = (await gateway.ours("POST", "/sessions/revoke", {"accessKey": one.access_key_id})).document
    assert told["accessKey"] == one.access_key_id
    assert (is_refused(gateway, one), is_refused(gateway, other)) == (True, False)
    gone = await gateway.ours("POST", "/sessions/revoke", {"accessKey": "NOSUCH"})
    assert (gone.status, gone.code) == (404, "XMinioAdminNoSuchAccessKey")


async def test_a_principal_s_sessions_are_ended(gateway):
    """All of them, or those of one type only."""
    await gateway.user("bob")
    plain, typed = (
        await gateway.iam.session("bob"),
        await gateway.iam.session("bob", key="TYPED", tokenRevokeType="app"),
    )
    told = (await gateway.ours("POST", "/sessions/revoke", {"parent": "bob", "tokenRevokeType": "app"})).document
    assert (told["parent"], told["tokenRevokeType"]) == ("bob", "app")
    assert (is_refused(gateway, plain), is_refused(gateway, typed)) == (False, True)
    assert (await gateway.ours("POST", "/sessions/revoke", {"parent": "bob"})).status == 200
    assert is_refused(gateway, plain)


async def test_minio_s_call_ends_tokens(gateway):
    """revoke-tokens: of a user, by type or all; of oneself without a name, which others may not do for you."""
    await gateway.user("bob", "s3:GetObject")
    eve = await gateway.user("eve", "s3:GetObject")
    typed = await gateway.iam.session("bob", tokenRevokeType="app")
    assert (
        await gateway.call("POST", "/revoke-tokens/builtin", who=eve, user="bob", fullRevoke="true")
    ).code == "AccessDenied"
    done = await gateway.call("POST", "/revoke-tokens/builtin", user="bob", tokenRevokeType="other")
    assert (done.status, is_refused(gateway, typed)) == (204, False)
    assert (await gateway.call("POST", "/revoke-tokens/builtin", who=typed)).status == 204
    assert is_refused(gateway, typed)
    one = await gateway.iam.session("eve", key="EVES")
    assert (await gateway.call("POST", "/revoke-tokens/builtin", who=one, fullRevoke="true")).status == 204
    assert is_refused(gateway, one)


async def test_each_provider_names_its_own(gateway):
    """A directory's users by distinguished name however written, others by their whole name; never one of another provider."""
    of_dn = await gateway.iam.session(DN, provider="ldap", key="OFDN")
    of_openid = await gateway.iam.session("openid:corp:alice", provider="openid:corp", key="OFOPENID")
    written = "UID=bob, OU=people,dc=example,dc=org"
    assert (await gateway.call("POST", "/revoke-tokens/ldap", user=written, fullRevoke="true")).status == 204
    assert (is_refused(gateway, of_dn), is_refused(gateway, of_openid)) == (True, False)
    for provider, user in (
        ("builtin", "openid:corp:alice"),
        ("openid", "tls:x"),
        ("openid", "alice"),
        ("saml", "alice"),
    ):
        refused = await gateway.call("POST", f"/revoke-tokens/{provider}", user=user, fullRevoke="true")
        assert (refused.status, refused.code) == (400, "XMinioAdminInvalidArgument")
    assert (
        await gateway.call("POST", "/revoke-tokens/openid", user="openid:corp:alice", fullRevoke="true")
    ).status == 204
    assert is_refused(gateway, of_openid)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"accessKey": "A", "parent": "b"},
        {"accessKey": "A", "tokenRevokeType": "t"},
        {"tokenRevokeType": "t"},
        {"parent": "a\nb"},
    ],
)
async def test_what_names_nobody_is_refused(gateway, document):
    """Nothing, two things, a type of nobody, a name that is none."""
    refused = await gateway.ours("POST", "/sessions/revoke", document)
    assert (refused.status, refused.code) == (400, "XMinioAdminInvalidArgument")


@pytest.mark.parametrize(
    "query",
    [
        {"user": "bob"},
        {"user": "bob", "fullRevoke": "true", "tokenRevokeType": "t"},
        {"user": "bob", "fullRevoke": "yes"},
    ],
)
async def test_what_to_end_must_be_said(gateway, query):
    """All or one type: neither, both and no boolean are refused."""
    assert (await gateway.call("POST", "/revoke-tokens/builtin", **query)).code == "XMinioAdminInvalidArgument"


async def test_both_ways_to_end_sessions_take_the_same_action(gateway):
    """admin:RemoveServiceAccount, as in MinIO; to list them takes admin:ListTemporaryAccounts."""
    await gateway.user("bob")
    await gateway.iam.session("bob")
    some, others = (
        await gateway.user("someone", "admin:RemoveServiceAccount"),
        await gateway.user("everybut", "admin:*", deny="admin:RemoveServiceAccount"),
    )
    for who, status in ((some, 200), (others, 403)):
        assert (await gateway.ours("POST", "/sessions/revoke", {"parent": "bob"}, who=who)).status == status
    assert (
        await gateway.call("POST", "/revoke-tokens/builtin", who=others, user="bob", fullRevoke="true")
    ).status == 403
    assert (await gateway.ours("GET", "/sessions", who=some)).code == "AccessDenied"
    assert (await gateway.ours("GET", "/sessions", who=others)).status == 200


async def test_nobody_makes_the_end_of_the_own_sessions_too_large_to_be_written(gateway):
    """Anybody may end the own sessions by type: by names that types have, by so many, and all of them however many types there were."""
    bob = await gateway.user("bob", "s3:GetObject")
    for kind in ("x" * 65, "a b", "\u00e4"):
        refused = await gateway.call("POST", "/revoke-tokens/builtin", who=bob, tokenRevokeType=kind)
        assert (refused.status, refused.code) == (400, "XMinioAdminInvalidArgument")
    for number in range(TYPES):
        assert (
            await gateway.call("POST", "/revoke-tokens/builtin", who=bob, tokenRevokeType=f"t{number}")
        ).status == 204
    refused = await gateway.call("POST", "/revoke-tokens/builtin", who=bob, tokenRevokeType="one-more")
    assert (refused.status, refused.code) == (400, "XMinioAdminInvalidArgument")
    assert (await gateway.call("POST", "/revoke-tokens/builtin", who=bob, tokenRevokeType="t0")).status == 204
    assert (await gateway.call("POST", "/revoke-tokens/builtin", user="bob", fullRevoke="true")).status == 204
    assert gateway.iam.watcher.view.epochs["bob"].by_type == {}
    assert (await gateway.call("POST", "/revoke-tokens/builtin", who=bob, tokenRevokeType="one-more")).status == 204


async def test_few_end_their_own_sessions_at_once(gateway, monkeypatch):
    """Anybody may, and all sessions are looked through for it: no more than a few callers do it at a time."""
    at_once, most = 0, 0
    ending = gateway.iam.changes.revoke_principal
    eve = await gateway.user("eve", "s3:GetObject")

    async def counted(*what, **how):
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        try:
            return await ending(*what, **how)
        finally:
            at_once -= 1

    monkeypatch.setattr(gateway.iam.changes, "revoke_principal", counted)
    calls = (
        gateway.call("POST", "/revoke-tokens/builtin", who=eve, fullRevoke="true", **({"user": "eve"} if n % 2 else {}))
        for n in range(8)
    )
    assert {told.status for told in await asyncio.gather(*calls)} == {204}
    assert most == LOOKING
