"""Web identity: as client grants, and the token must say who its subject is. The provider is real."""

from __future__ import annotations

import time

import pytest

from sts import web_identity
from sts.openid import OpenId
from sts.settings import OpenIdSettings
from sts.wire import ExpiredTokenException, InvalidIdentityToken, MissingParameter, StsCall, STSNotInitialized
from tests.unit.sts.provider import Provider, keycloak_claims, token


@pytest.fixture
async def openid():
    """What proves a real provider's tokens."""
    server = Provider()
    one = OpenId([OpenIdSettings(jwks_url=server.url, client_id="cid")], time.time)
    yield one
    await one.close()
    server.close()


def prove(openid, **parameters: str):
    return web_identity.prove(StsCall("AssumeRoleWithWebIdentity", parameters, None, "192.0.2.1"), openid)


async def test_the_subject_is_proved(openid):
    """A person's token, as Keycloak writes them, gives its claims with the subject."""
    proof = await prove(openid, WebIdentityToken=token(**keycloak_claims()))
    assert proof.subject == proof.claims["sub"] == keycloak_claims()["sub"]
    assert proof.parent == f"openid:_:{proof.subject}"


@pytest.mark.parametrize("claims", [{}, {"sub": ""}], ids=["absent", "empty"])
async def test_a_token_without_a_subject_is_refused(openid, claims):
    """A client's own token (WSO2's have no sub) is nobody's identity: it is for client grants."""
    with pytest.raises(InvalidIdentityToken, match="no claim sub"):
        await prove(openid, WebIdentityToken=token(**claims))


async def test_the_subject_does_not_replace_the_proof(openid):
    """A token with a subject is checked like every other: expired, for somebody else, missing."""
    with pytest.raises(ExpiredTokenException):
        await prove(openid, WebIdentityToken=token(sub="s", exp=int(time.time()) - 1))
    with pytest.raises(InvalidIdentityToken, match="client id"):
        await prove(openid, WebIdentityToken=token(sub="s", aud="other", azp="other"))
    with pytest.raises(MissingParameter):
        await prove(openid)


async def test_without_a_provider():
    """A gateway without a configured provider believes no web identity."""
    with pytest.raises(STSNotInitialized):
        await prove(None, WebIdentityToken=token(sub="s"))
