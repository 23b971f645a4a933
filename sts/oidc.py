"""Verify the tokens of an OpenID provider; PyJWT does the cryptography, `sts.jwks` has the keys.

The key decides which algorithms may be used, never the token alone (trap 38). No claim is looked at before the signature
is verified (trap 40). A token that no key proves makes one fetch of the keys, at most one per interval for all such tokens
together, and is tried once more. RFC 7519, RFC 8725, RFC 9068; what MinIO checked and what not is told where it differs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt

from sts.jwks import IdpUnavailable, Key, ProviderKeys
from sts.settings import OpenIdSettings

MAX_TOKEN = 16_384  # characters
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})  # RFC 9068 section 2.1
_OWN_KEYS = ("jwk", "jku", "x5u", "x5c", "crit", "b64")


class TokenRefused(Exception):
    """The token does not prove its bearer; the text says why and repeats nothing of it."""


class TokenExpired(TokenRefused):
    """The token was good once."""


class _Unproved(TokenRefused):
    """No key that we have proves the token; newer ones may."""


class OidcVerifier:
    """Verifies tokens of one provider. `now` gives epoch seconds, `clock` seconds that never run backwards."""

    def __init__(
        self, settings: OpenIdSettings, now: Callable[[], float], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._now = now
        self._provider = ProviderKeys(settings, clock)

    async def verify(self, token: str) -> Mapping[str, Any]:
        """Return the verified claims of a token, `exp` a number. Raises TokenRefused, TokenExpired, IdpUnavailable."""
        header = _header(token)
        keys = await self._provider.known()
        if not keys:
            raise IdpUnavailable(self._provider.trouble)
        try:
            claims = _proved(token, header, keys)
        except _Unproved:
            newer = await self._provider.refresh()
            if newer is keys:
                raise
            claims = _proved(token, header, newer)
        self._check(claims)
        return claims

    async def ready(self) -> str | None:
        """Return None when keys are there (fetching them if need be), else why not."""
        return None if await self._provider.known() else f"identity provider: {self._provider.trouble}"

    async def close(self) -> None:
        """Close the connections."""
        await self._provider.close()

    def _check(self, claims: dict[str, Any]) -> None:
        """Check times, issuer and audience; the claims are proved. An audience counts where a client id is configured."""
        now, leeway = self._now(), self.settings.leeway
        expires = _time(claims, "exp")
        if expires is None:
            raise TokenRefused("The claim exp is missing.")
        if expires <= now:
            raise TokenExpired("The token has expired.")
        if any((_time(claims, name) or 0) > now + leeway for name in ("nbf", "iat")):
            raise TokenRefused("The token is not valid yet.")
        if any(not isinstance(claims.get(name, ""), str) for name in ("iss", "sub", "azp")):
            raise TokenRefused("One of the claims iss, sub and azp is not a text.")
        if self._provider.issuer and claims.get("iss") != self._provider.issuer:
            raise TokenRefused("The claim iss is not the provider's issuer.")
        client = self.settings.client_id
        if client and client not in _audience(claims.get("aud")) and claims.get("azp") != client:
            raise TokenRefused("Neither aud nor azp names the configured client id.")
        claims["exp"] = expires


def _header(token: str) -> dict[str, Any]:
    """Return the header, believed in nothing but the choice of a key."""
    if len(token) > MAX_TOKEN:
        raise TokenRefused("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise TokenRefused("The token is not a JWT.") from None
    if any(name in header for name in _OWN_KEYS):
        raise TokenRefused("The token brings its own key or critical headers.")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise TokenRefused("The token's typ is not that of a JWT or an access token.")
    return header


def _proved(token: str, header: Mapping[str, Any], keys: Sequence[Key]) -> dict[str, Any]:
    """Return the claims when exactly one key fits the header and verifies the signature."""
    kid, algorithm = header.get("kid"), str(header.get("alg"))
    named = [key for key in keys if kid is None or key.kid == kid]
    if not named:
        raise _Unproved("The token's key id is not among the provider's keys.")
    fitting = [key for key in named if algorithm in key.algorithms]
    if not fitting:
        raise TokenRefused("The token's algorithm is not one of its key's.")
    if len(fitting) > 1:
        raise TokenRefused("The token does not say which of the provider's keys signed it.")
    try:
        # Times, issuer and audience are checked by our clock and settings, and by MinIO's rules.
        claims: dict[str, Any] = jwt.decode(
            token, fitting[0].public, [algorithm],
            options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                     "verify_sub": False, "verify_jti": False, "verify_iss": False},
        )  # fmt: skip
    except jwt.InvalidSignatureError:
        raise _Unproved("The token's signature does not verify.") from None
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise TokenRefused(f"The token does not verify: {type(error).__name__}.") from None
    return claims


def _time(claims: Mapping[str, Any], name: str) -> int | None:
    """Return a NumericDate (RFC 7519 section 2), None when absent. As in MinIO it may be a string of digits."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise TokenRefused(f"The claim {name} is not a time.")
    return int(value)


def _audience(value: Any) -> tuple[str, ...]:
    """Return whom a token is for: a string, a comma list (WSO2) or an array."""
    if isinstance(value, str):
        return (value, *(part.strip() for part in value.split(",")))
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
