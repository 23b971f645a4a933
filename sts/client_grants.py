"""AssumeRoleWithClientGrants and AssumeRoleWithWebIdentity: the caller is proved by the IdP's token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sts.oidc import IdpUnavailable, OidcVerifier, TokenExpired, TokenRefused
from sts.wire import (
    ExpiredToken,
    IDPCommunicationError,
    InvalidParameterValue,
    MissingParameter,
    StsCall,
    STSNotInitialized,
)


async def prove(call: StsCall, verifier: OidcVerifier | None) -> Mapping[str, Any]:
    """Return the verified claims. MinIO took `Token` or `WebIdentityToken` for either call."""
    if verifier is None:
        raise STSNotInitialized
    token = call.parameters.get("Token") or call.parameters.get("WebIdentityToken")
    if not token:
        raise MissingParameter("The parameter Token or WebIdentityToken is missing.")
    try:
        return await verifier.verify(token)
    except TokenExpired:
        raise ExpiredToken from None
    except TokenRefused as error:
        raise InvalidParameterValue(str(error)) from None
    except IdpUnavailable as error:
        raise IDPCommunicationError(reason=str(error)) from None
