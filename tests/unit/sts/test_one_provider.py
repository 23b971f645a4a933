"""One OpenID provider: what its verified claims prove. The provider is real."""

from __future__ import annotations

import time

import pytest

from sts.oidc import OidcVerifier
from sts.one_provider import OneProvider
from sts.settings import OpenIdSettings
from sts.wire import InvalidParameterValue, StsCall
from tests.unit.sts.provider import Provider, token


@pytest.fixture
async def way():
    """The way in over a real provider."""
    server = Provider()
    one = OneProvider(OidcVerifier(OpenIdSettings(jwks_url=server.url), time.time))
    yield one
    await one.close()
    server.close()


def grants(text: str, action="AssumeRoleWithClientGrants") -> StsCall:
    return StsCall(action, {"Token": text}, None, "")


async def test_claims_become_a_proof(way):
    """Subject, groups, end and issuer are the token's; the parent's name is in the provider's own part of the names."""
    found = await way.prove(grants(token(sub="root", groups=["g", 1], exp=int(time.time()) + 60)))
    assert (found.provider, found.parent, found.groups) == ("openid:_", "openid:_:root", ("g",))
    assert found.expires_at <= time.time() + 60
    assert (found.subject, found.audience, found.issuer) == ("root", "cid", found.claims["iss"])
    assert await way.ready() is None


async def test_a_client_without_subject(way):
    """A client's own token names the client; as a web identity it is refused."""
    assert (await way.prove(grants(token()))).parent == "openid:_:cid"
    with pytest.raises(InvalidParameterValue, match="no claim sub"):
        await way.prove(grants(token(), "AssumeRoleWithWebIdentity"))
