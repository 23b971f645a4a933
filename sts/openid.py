"""The OpenID ways in, over all configured providers: AssumeRoleWithClientGrants and AssumeRoleWithWebIdentity.

Which provider proves a token is decided by the role that the call names, else by `ProviderId`, else by the issuer that the
token claims, which nobody has verified: it chooses among the configured ones and nothing else (traps 40 and 41). The provider
then verifies issuer, audience and subject by its own settings, whichever way it was chosen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sts import client_grants, trust, web_identity
from sts.jwks import IdpUnavailable
from sts.oidc import OidcVerifier, TokenRefused, unverified_issuer
from sts.proof import Proof
from sts.settings import OpenIdSettings
from sts.wire import InvalidParameterValue, MissingParameter, StsCall


@dataclass(frozen=True, slots=True)
class _Provider:
    """One provider: its settings, what verifies its tokens, and the ARN of its role, "" when it is claim based."""

    settings: OpenIdSettings
    verifier: OidcVerifier
    role_arn: str


class OpenId:
    """Proves tokens of several providers. `now` gives epoch seconds, `clock` seconds that never run backwards."""

    def __init__(
        self,
        providers: Sequence[OpenIdSettings],
        now: Callable[[], float],
        *,
        region: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = tuple(
            _Provider(one, OidcVerifier(one, now, clock=clock), one.role_arn(region)) for one in providers
        )
        self._by_name = {one.settings.provider: one for one in self._providers}

    async def prove(self, call: StsCall) -> Proof:
        """Return the proof of a call's caller. Raises StsError."""
        prove = web_identity.prove if call.action == "AssumeRoleWithWebIdentity" else client_grants.prove
        return await prove(call, self if self._providers else None)

    async def proved(self, token: str, *, role_arn: str = "", provider_id: str = "", access_token: str = "") -> Proof:
        """Return what a token proves. Raises TokenRefused, TokenExpired, NotTrusted, IdpUnavailable; StsError for parameters.

        SDKs always send a RoleArn: one that is none of ours is taken for none.
        """
        one = await self._chosen(token, role_arn, provider_id)
        claims = await one.verifier.verify(token)
        if one.role_arn and role_arn != one.role_arn:
            raise InvalidParameterValue("RoleArn: this provider's rights come by its role, and this is not it.")
        if one.settings.userinfo:
            if not access_token:
                raise MissingParameter("The parameter WebIdentityAccessToken is missing.")
            claims = await one.verifier.enriched(claims, access_token)
        return _proof(one, claims)

    def policies(self, provider: str, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the policies that a session's provider gives it: its role's, or those that its claim names.

        `provider` is the proof's, `claims` the session's with `roleArn`; nothing when there is no such provider any more.
        """
        one = self._by_name.get(provider)
        return trust.policies(one.settings, one.role_arn, claims) if one is not None else ()

    async def ready(self) -> str | None:
        """Return None when every provider's keys are there (fetching them if need be), else what is missing."""
        found = await asyncio.gather(*(one.verifier.ready() for one in self._providers))
        return "; ".join(trouble for trouble in found if trouble) or None

    async def close(self) -> None:
        """Close the connections."""
        for one in self._providers:
            await one.verifier.close()

    async def _chosen(self, token: str, role_arn: str, provider_id: str) -> _Provider:
        found = [one for one in self._providers if role_arn and one.role_arn == role_arn] or list(self._providers)
        if provider_id:
            found = [one for one in found if (one.settings.name or "_") == provider_id.lower()]
        if not found:
            raise InvalidParameterValue("ProviderId names no provider, or not that of RoleArn.")
        if len(found) > 1:
            found = await _of_issuer(found, unverified_issuer(token))
        if len(found) > 1:
            raise InvalidParameterValue("Several providers issue such tokens: name one by RoleArn or ProviderId.")
        return found[0]


async def _of_issuer(providers: Sequence[_Provider], issuer: str) -> list[_Provider]:
    """Return the providers of an issuer, the claim based before those that need a role. Raises TokenRefused, IdpUnavailable.

    Only where no known issuer fits are the others' discovery documents waited for.
    """
    found = _named(providers, issuer)
    if not found:
        # `ready` fetches what was never had: once per interval for all callers together.
        await asyncio.gather(*(one.verifier.ready() for one in providers if not one.verifier.issuer))
        found = _named(providers, issuer)
    if not found and not all(one.verifier.issuer for one in providers):
        raise IdpUnavailable("a provider has not said its issuer yet")
    if not found:
        raise TokenRefused("The claim iss is of no configured provider.", "iss")
    return [one for one in found if not one.role_arn] or found


def _named(providers: Sequence[_Provider], issuer: str) -> list[_Provider]:
    """Return the providers that have this issuer: those where the operator said so, before those who say it themselves."""
    if not issuer:
        return []
    pinned = [one for one in providers if one.settings.issuer == issuer]
    return pinned or [one for one in providers if one.verifier.issuer == issuer]


def _proof(one: _Provider, claims: Mapping[str, Any]) -> Proof:
    settings = one.settings
    parent = trust.parent(settings, claims)
    if not parent:
        raise TokenRefused("The token names nobody: neither sub nor azp is a name.", "sub")
    try:
        groups = trust.groups(settings, claims)
    except ValueError as error:
        raise TokenRefused(str(error), "groups") from None
    return Proof(
        provider=settings.provider,
        parent=parent,
        claims=trust.carried(settings, claims),
        groups=groups,
        expires_at=int(claims["exp"]),
        role_arn=one.role_arn,
        subject=str(claims.get("sub") or ""),
        audience=trust.audience(settings, claims) or "",
        issuer=str(claims.get("iss") or ""),
    )
