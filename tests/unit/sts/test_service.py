"""The phases of STS: durations, clamping, claims that are ours, recording. The store is the real embedded one."""

from __future__ import annotations

import base64
import json
import re
import time

import jwt
import pytest

from gateway.app import new_access_key
from iam.embedded import EmbeddedStore
from iam.model import Principal, PrincipalType, Secret
from sts.openid import OpenId
from sts.principal import policies_of, principal_of
from sts.service import StsService
from sts.sessions import InvalidSession, derive_keyring, mint, open_session, secret_for
from sts.settings import OpenIdSettings
from sts.wire import StsError, parse_call
from tests.unit.sts.test_oidc import Provider, token

KEYRING = derive_keyring(Secret("root-secret-of-the-unit-tests"))
ROOT = Principal(PrincipalType.ACCOUNT, "root", owner=True)


@pytest.fixture
async def service():
    """A service over a real provider and a real store."""
    provider = Provider()
    openid = OpenId([OpenIdSettings(jwks_url=provider.url)], time.time)
    store = EmbeddedStore(None)
    await store.open()
    yield StsService(
        KEYRING, store, openid, lambda name: name == "readwrite", True, lambda: int(time.time()), new_access_key
    )
    await store.close()
    await openid.close()
    provider.shutdown()
    provider.server_close()
    provider.server_close()


async def call(service, signer=None, **parameters) -> str:
    from urllib.parse import urlencode

    found = parse_call(urlencode(parameters), None, "", signer=signer, source_ip="127.0.0.1")
    return (await service.call(found, request_id="R")).decode()


def claims_of(xml: str) -> dict:
    return jwt.decode(re.search("<SessionToken>(.*?)<", xml)[1], options={"verify_signature": False})


async def test_grant_is_recorded_and_opens(service):
    """Client grants give credentials whose token opens, and the session is in the store."""
    xml = await call(service, Action="AssumeRoleWithClientGrants", Token=token(policy="readwrite"))
    key = re.search("<AccessKeyId>(.*?)<", xml)[1]
    assert (
        open_session(KEYRING, re.search("<SessionToken>(.*?)<", xml)[1], now=int(time.time())).credentials.access_key_id
        == key
    )
    assert (await service.store.session(key)).provider == "AssumeRoleWithClientGrants"
    assert re.search(r"<Expiration>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ</Expiration>", xml)


async def test_trap_46_never_past_the_identity_token(service):
    """A session ends with the IdP's token at the latest, and a session cannot assume a role to live on."""
    xml = await call(
        service, Action="AssumeRoleWithClientGrants", Token=token(policy="readwrite"), DurationSeconds="43200"
    )
    assert claims_of(xml)["exp"] <= time.time() + 600
    session = Principal(PrincipalType.ASSUMED_ROLE, "A" * 20)
    with pytest.raises(StsError) as refused:
        await call(service, session, Action="AssumeRole", Version="2011-06-15")
    assert (refused.value.code, refused.value.status) == ("AccessDenied", 403)


async def test_trap_47_claims_that_are_ours_cannot_be_brought(service):
    """A token that claims parent, accessKey, roleArn or a session policy brings none of them."""
    brought = {"parent": "root", "accessKey": "root", "roleArn": "x", "sessionPolicy": "eA=="}
    claims = claims_of(
        await call(service, Action="AssumeRoleWithClientGrants", Token=token(policy="readwrite", sub="root", **brought))
    )
    assert "parent" not in claims
    assert "sessionPolicy" not in claims
    assert "roleArn" not in claims
    credentials = mint(KEYRING, claims, access_key_id="B" * 20, expires_at=claims["exp"])
    opened = open_session(KEYRING, credentials.session_token.reveal(), now=int(time.time()))
    assert not principal_of(opened, claim_name="policy", claim_prefix="", root_access_key="root").owner


async def test_assume_role_by_root_is_owner_and_narrowed(service):
    """Root's session is the owner; its Policy travels in the token."""
    policy = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    )
    xml = await call(service, ROOT, Action="AssumeRole", Version="2011-06-15", Policy=policy)
    opened = open_session(KEYRING, re.search("<SessionToken>(.*?)<", xml)[1], now=int(time.time()))
    assert opened.parent == "root"
    assert json.loads(opened.session_policy) == json.loads(policy)
    assert base64.b64decode(opened.claims["sessionPolicy"]).decode() == opened.session_policy


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Action": "AssumeRoleWithClientGrants"}, "MissingParameter"),
        ({"Action": "AssumeRoleWithClientGrants", "Token": "junk"}, "InvalidParameterValue"),
        ({"Action": "GetFederationToken"}, "InvalidParameterValue"),
        ({"Action": "AssumeRole"}, "AccessDenied"),
        ({"Action": "AssumeRoleWithClientGrants", "Token": "x", "DurationSeconds": "899"}, "InvalidParameterValue"),
        (
            {"Action": "AssumeRoleWithClientGrants", "Token": "x", "DurationSeconds": "31536001"},
            "InvalidParameterValue",
        ),
        ({"Action": "AssumeRoleWithClientGrants", "Token": "x", "Policy": "{}"}, "MalformedPolicyDocument"),
        ({"Version": "2011-06-15"}, "MissingAction"),
        ({"Action": "AssumeRole", "Version": "2010-01-01"}, "MissingParameter"),
    ],
)
async def test_bad_calls(service, parameters, code):
    """A bad call is told what is wrong with it."""
    with pytest.raises(StsError) as refused:
        await call(service, **parameters)
    assert refused.value.code == code


def test_trap_48_parameters_given_twice_are_refused():
    """The same parameter in query and body, or twice in either, is refused."""
    form = "application/x-www-form-urlencoded"
    for query, body in [
        ("Action=AssumeRole&Action=X", b""),
        ("Action=AssumeRole", b"Action=X&Version=2011-06-15"),
        ("", b"Action=A&Action=A"),
    ]:
        with pytest.raises(StsError):
            parse_call(query, body, form, signer=None, source_ip="")


def test_trap_59_the_secret_needs_the_servers_key():
    """Two servers' keys give one access key two secrets; neither is in the token."""
    other = derive_keyring(Secret("another-root-secret"))
    one, two = (secret_for(k.keys[k.current], "A" * 20).reveal() for k in (KEYRING, other))
    assert one != two
    assert len(one) == 40
    assert one not in mint(KEYRING, {}, access_key_id="A" * 20, expires_at=2**40).session_token.reveal()


def test_trap_45_tokens_of_other_keys_do_not_open():
    """A token minted elsewhere, under our key id, without exp or with a foreign access key is refused."""
    key = KEYRING.keys[KEYRING.current]
    other = derive_keyring(Secret("another-root-secret"))
    good = {"accessKey": "A" * 20, "exp": 2**40}
    foreign = [
        mint(other, {}, access_key_id="A" * 20, expires_at=2**40).session_token.reveal(),
        jwt.encode(good, other.keys[other.current].signing, "HS512", headers={"kid": key.kid}),
        jwt.encode({"accessKey": "A" * 20}, key.signing, "HS512", headers={"kid": key.kid}),
        jwt.encode(good | {"accessKey": "root"}, key.signing, "HS512", headers={"kid": key.kid}),
        jwt.encode(good, key.signing, "HS256", headers={"kid": key.kid}),
        jwt.encode(good, key.derivation, "HS512", headers={"kid": key.kid}),
    ]
    for one in foreign:
        with pytest.raises(InvalidSession):
            open_session(KEYRING, one, now=0)


def test_policy_claims():
    """A string, a comma list and an array name policies; everything else names none."""
    assert policies_of({"policy": "a, b,,a"}, "policy") == ("a", "b")
    assert policies_of({"x-policy": ["a", 1, "b"]}, "policy", "x-") == ("a", "b")
    assert policies_of({"policy": {"a": 1}}, "policy") == ()
