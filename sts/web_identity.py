"""AssumeRoleWithWebIdentity: as client grants, but the token must say who its subject is (OpenID Connect Core section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sts import client_grants
from sts.oidc import OidcVerifier
from sts.wire import InvalidParameterValue, StsCall


async def prove(call: StsCall, verifier: OidcVerifier | None) -> Mapping[str, Any]:
    """Return the verified claims of the call's token, `sub` among them. Raises StsError."""
    claims = await client_grants.prove(call, verifier)
    if not claims.get("sub"):
        raise InvalidParameterValue("The token has no claim sub.")
    return claims
