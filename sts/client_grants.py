"""AssumeRoleWithClientGrants: the caller is proved by a token of the IdP; `sub` is not needed, WSO2's tokens have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sts.jwks import IdpUnavailable
from sts.oidc import OidcVerifier, TokenExpired, TokenRefused
from sts.wire import (
    ExpiredToken,
    IDPCommunicationError,
    InvalidParameterValue,
    MissingParameter,
    StsCall,
    STSNotInitialized,
)


async def prove(call: StsCall, verifier: OidcVerifier | None) -> Mapping[str, Any]:
    """Return the verified claims of the call's token. Raises StsError.

    MinIO took `Token` or `WebIdentityToken` for either call; two of them would leave open which is meant (trap 48).
    """
    if verifier is None:
        raise STSNotInitialized
    tokens = [call.parameters[name] for name in ("Token", "WebIdentityToken") if call.parameters.get(name)]
    if not tokens:
        raise MissingParameter("The parameter Token or WebIdentityToken is missing.")
    if len(tokens) > 1:
        raise InvalidParameterValue("Give Token or WebIdentityToken, not both.")
    try:
        return await verifier.verify(tokens[0])
    except TokenExpired:
        raise ExpiredToken from None
    except TokenRefused as error:
        raise InvalidParameterValue(str(error)) from None
    except IdpUnavailable as error:
        raise IDPCommunicationError(reason=str(error)) from None
