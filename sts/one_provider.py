"""The way in for the tokens of one OpenID provider: what its verified claims prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sts import client_grants, web_identity
from sts.oidc import OidcVerifier
from sts.proof import Proof
from sts.wire import StsCall

PROVIDER = "openid:_"  # MinIO's name for the provider that has none


@dataclass(frozen=True, slots=True)
class OneProvider:
    """A `WayIn` over one verifier."""

    verifier: OidcVerifier

    async def prove(self, call: StsCall) -> Proof:
        """Return whose token it is. Raises StsError."""
        way = web_identity if call.action == "AssumeRoleWithWebIdentity" else client_grants
        claims = await way.prove(call, self.verifier)
        who = str(claims.get("sub") or claims.get("azp") or "")
        groups = claims.get("groups")
        return Proof(
            PROVIDER, f"{PROVIDER}:{who}", claims,
            tuple(g for g in groups if isinstance(g, str)) if isinstance(groups, list) else (),
            int(claims["exp"]), subject=_text(claims, "sub"), audience=_text(claims, "azp"), issuer=_text(claims, "iss"),
        )  # fmt: skip

    async def ready(self) -> str | None:
        """Return None when the provider's keys are there."""
        return await self.verifier.ready()

    async def close(self) -> None:
        """Close the verifier's connections."""
        await self.verifier.close()


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""
