"""AssumeRoleWithClientGrants: the caller is proved by a token of the IdP; `sub` is not needed, WSO2's tokens have none."""

from __future__ import annotations

from typing import Protocol

from sts.jwks import IdpUnavailable
from sts.oidc import NotTrusted, TokenExpired, TokenRefused
from sts.proof import Proof
from sts.wire import (
    ExpiredTokenException,
    IDPCommunicationError,
    IDPRejectedClaim,
    InvalidIdentityToken,
    InvalidParameterValue,
    MissingParameter,
    StsCall,
    STSNotInitialized,
)


class Tokens(Protocol):
    """What proves tokens: `sts.openid.OpenId`."""

    async def proved(self, token: str, *, role_arn: str = "", provider_id: str = "", access_token: str = "") -> Proof:
        """Return what a token proves. Raises TokenRefused, IdpUnavailable, and StsError for parameters."""
        ...


async def prove(call: StsCall, tokens: Tokens | None) -> Proof:
    """Return the proof of the call's token. Raises StsError: the one place where a token's faults become errors of STS.

    MinIO took `Token` or `WebIdentityToken` for either call; two of them would leave open which is meant (trap 48).
    """
    if tokens is None:
        raise STSNotInitialized
    token = _token(call)
    said = {name: call.parameters.get(name, "") for name in ("RoleArn", "ProviderId", "WebIdentityAccessToken")}
    try:
        return await tokens.proved(
            token,
            role_arn=said["RoleArn"],
            provider_id=said["ProviderId"],
            access_token=said["WebIdentityAccessToken"],
        )
    except TokenExpired:
        raise ExpiredTokenException from None
    except NotTrusted as error:
        raise IDPRejectedClaim(str(error)) from None
    except TokenRefused as error:
        raise InvalidIdentityToken(str(error)) from None
    except IdpUnavailable as error:
        raise IDPCommunicationError(reason=str(error)) from None


def _token(call: StsCall) -> str:
    tokens = [call.parameters[name] for name in ("Token", "WebIdentityToken") if call.parameters.get(name)]
    if not tokens:
        raise MissingParameter("The parameter Token or WebIdentityToken is missing.")
    if len(tokens) > 1:
        raise InvalidParameterValue("Give Token or WebIdentityToken, not both.")
    return tokens[0]
