"""Client grants: a provider's token proves the caller; each way it may fail has its own STS error. The provider is real."""

from __future__ import annotations

import time

import pytest

from sts import client_grants
from sts.openid import OpenId
from sts.settings import OpenIdSettings
from sts.wire import (
    ExpiredTokenException,
    IDPCommunicationError,
    InvalidIdentityToken,
    InvalidParameterValue,
    MissingParameter,
    StsCall,
    StsError,
    STSNotInitialized,
)
from tests.unit.sts.provider import EC_KEY, Provider, jwks, token


@pytest.fixture
async def provider():
    """A provider and what proves its tokens."""
    server = Provider()
    server.openid = OpenId([OpenIdSettings(jwks_url=server.url, client_id="cid")], time.time)
    yield server
    await server.openid.close()
    server.close()


def prove(openid, **parameters: str):
    return client_grants.prove(StsCall("AssumeRoleWithClientGrants", parameters, None, "192.0.2.1"), openid)


@pytest.mark.parametrize("name", ["Token", "WebIdentityToken"])
async def test_either_name_of_the_token_is_understood(provider, name):
    """The 2018 parameter and the newer one both carry the token; WSO2's has no sub and is good all the same."""
    proof = await prove(provider.openid, **{name: token(policy="readwrite")})
    assert (proof.claims["azp"], proof.claims["policy"]) == ("cid", "readwrite")
    assert (proof.parent, proof.subject) == ("openid:_:cid", "")


async def test_trap_48_two_tokens_are_refused(provider):
    """Two tokens, though they be the same, leave open which is meant: neither is looked at."""
    one = token()
    with pytest.raises(InvalidParameterValue, match="not both"):
        await prove(provider.openid, Token=one, WebIdentityToken=one)
    assert provider.asked == []


@pytest.mark.parametrize("parameters", [{}, {"Token": ""}, {"Token": "", "WebIdentityToken": ""}, {"token": "x"}])
async def test_without_a_token(provider, parameters):
    """A call without a token, or with an empty one, is told that it is missing."""
    with pytest.raises(MissingParameter):
        await prove(provider.openid, **parameters)


async def test_an_empty_twin_does_not_hide_the_token(provider):
    """A parameter left empty, as forms do, is not a second token."""
    assert await prove(provider.openid, Token="", WebIdentityToken=token())


async def test_without_a_provider():
    """A gateway without a configured provider says so, whatever the token."""
    with pytest.raises(STSNotInitialized):
        await prove(None, Token=token())


async def test_an_expired_token(provider):
    """A token that was good once is told apart, so that clients fetch a new one."""
    with pytest.raises(ExpiredTokenException):
        await prove(provider.openid, Token=token(exp=int(time.time()) - 1))


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda: "junk", id="junk"),
        pytest.param(lambda: token(aud="other", azp="other"), id="audience"),
        pytest.param(lambda: token(EC_KEY, "ES256", kid="rsa"), id="key"),
        pytest.param(lambda: token()[:-8] + "AAAAAAAA", id="signature"),
    ],
)
async def test_a_token_that_proves_nothing(provider, bad):
    """A refused token is InvalidIdentityToken, and the error repeats nothing of it."""
    text = bad()
    with pytest.raises(InvalidIdentityToken) as refused:
        await prove(provider.openid, Token=text)
    assert not any(part in str(refused.value) for part in text.split("."))


async def test_a_provider_that_is_away(provider):
    """Keys that cannot be had are the provider's fault, not the token's: 503, and the client may try again."""
    provider.status = 500
    with pytest.raises(IDPCommunicationError) as refused:
        await prove(provider.openid, Token=token())
    assert refused.value.status == 503
    assert provider.base not in refused.value.text


async def test_a_provider_without_keys(provider):
    """A key set with nothing in it proves nobody."""
    provider.body = jwks()
    with pytest.raises(StsError):
        await prove(provider.openid, Token=token())
