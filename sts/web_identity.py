"""AssumeRoleWithWebIdentity: as client grants, but the token must say who its subject is (OpenID Connect Core section 2)."""

from __future__ import annotations

from sts import client_grants
from sts.client_grants import Tokens
from sts.proof import Proof
from sts.wire import InvalidIdentityToken, StsCall


async def prove(call: StsCall, tokens: Tokens | None) -> Proof:
    """Return the proof of the call's token, with a subject. Raises StsError."""
    proof = await client_grants.prove(call, tokens)
    if not proof.subject:
        raise InvalidIdentityToken("The token has no claim sub.")
    return proof
