"""Verify the tokens of one OpenID provider; PyJWT does the cryptography, `sts.jwks` has the keys.

The key decides which algorithms may be used, never the token alone (trap 38). No claim is looked at before the signature
is verified (trap 40). A token that no key proves makes one fetch of the keys, at most one per interval for all such tokens
together, and is tried once more. RFC 7519, RFC 8725, RFC 9068; what MinIO checked and what not is told where it differs.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt

from sts import trust
from sts.fetch import DEADLINE, FETCH_ERRORS, UnexpectedStatus
from sts.jwks import IdpUnavailable, Key, ProviderKeys
from sts.settings import OpenIdSettings

MAX_TOKEN = 16_384  # characters
_TYPES = frozenset({"jwt", "at+jwt"})  # RFC 9068 section 2.1
_NO_PROOF = frozenset({"refresh", "offline", "logout"})  # Keycloak's claim `typ` of tokens that are for itself
_OWN_KEYS = ("jwk", "jku", "x5u", "x5c", "crit", "b64")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1
#: What only the token itself may say.
_PROTOCOL = frozenset({"iss", "sub", "aud", "azp", "exp", "nbf", "iat", "jti", "typ", "client_id"})


class TokenRefused(Exception):
    """The token does not prove its bearer; the text says why and repeats nothing of it. `claim` is the one at fault."""

    def __init__(self, text: str, claim: str = "") -> None:
        self.claim = claim
        super().__init__(text)


class TokenExpired(TokenRefused):
    """The token was good once."""


class NotTrusted(TokenRefused):
    """The token is good, and its subject is not one that the provider's settings trust."""


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
        header = _header(token, self.settings.types)
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
        self._check_type(header, claims)
        self._check(claims)
        return claims

    async def enriched(self, claims: Mapping[str, Any], access_token: str) -> Mapping[str, Any]:
        """Return verified claims and, beside them, those that only the UserInfo endpoint has.

        Its answer counts only when it is about the token's subject (OpenID Connect Core section 5.3.2), and never for what
        the token itself says. Raises TokenRefused, IdpUnavailable.
        """
        if len(access_token) > MAX_TOKEN or not _BEARER.fullmatch(access_token):
            raise TokenRefused("The access token is not one.")
        if not self._provider.userinfo:
            raise IdpUnavailable("the discovery document names no usable userinfo_endpoint")
        try:
            async with asyncio.timeout(DEADLINE):
                found = await self._provider.fetcher.get(self._provider.userinfo, bearer=access_token)
        except UnexpectedStatus as error:
            if error.status in {401, 403}:
                raise TokenRefused("The provider's UserInfo endpoint refuses the access token.") from None
            raise IdpUnavailable(f"UserInfo: {error}") from None
        except FETCH_ERRORS as error:
            raise IdpUnavailable(f"UserInfo: {type(error).__name__}") from None
        if not claims.get("sub") or found.get("sub") != claims["sub"]:
            raise TokenRefused("The access token is not of the token's subject.", "sub")
        return {**{n: v for n, v in found.items() if n not in _PROTOCOL}, **claims}

    @property
    def issuer(self) -> str:
        """Return whose tokens are believed, "" while nobody has said it."""
        return self._provider.issuer

    async def ready(self) -> str | None:
        """Return None when keys are there (fetching them if need be), else why not."""
        return None if await self._provider.known() else f"identity provider: {self._provider.trouble}"

    async def close(self) -> None:
        """Close the connections."""
        await self._provider.close()

    def _check_type(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
        """Refuse what is signed for another purpose (RFC 8725 section 3.11): by `typ` of the header, or Keycloak's claim."""
        said = claims.get("typ")
        kinds = {_kind(said)} if isinstance(said, str) else set()
        if kinds & _NO_PROOF or "events" in claims:  # security events (RFC 8417) say what happened, not who asks
            raise TokenRefused("The token is for another purpose.", "typ")
        if header.get("typ"):
            kinds.add(_kind(str(header["typ"])))
        if self.settings.types and not kinds & set(map(_kind, self.settings.types)):
            raise TokenRefused("The token's typ is not one that the settings ask for.", "typ")

    def _check(self, claims: dict[str, Any]) -> None:
        """Check times, issuer, audience and subject; the claims are proved."""
        self._check_times(claims)
        for name in ("iss", "sub", "azp"):
            if not isinstance(claims.get(name, ""), str):
                raise TokenRefused("One of the claims iss, sub and azp is not a text.", name)
        if self.issuer and claims.get("iss") != self.issuer:
            raise TokenRefused("The claim iss is not the provider's issuer.", "iss")
        if trust.audience(self.settings, claims) is None:
            raise TokenRefused("Neither aud nor azp names the configured client id or audience.", "aud")
        if not trust.is_trusted(self.settings, claims):
            raise NotTrusted("The claim sub is not one of the trusted subjects.", "sub")

    def _check_times(self, claims: dict[str, Any]) -> None:
        now, leeway = self._now(), self.settings.leeway
        expires = _time(claims, "exp")
        if expires is None:
            raise TokenRefused("The claim exp is missing.", "exp")
        if expires <= now:
            raise TokenExpired("The token has expired.", "exp")
        for name in ("nbf", "iat"):
            if (_time(claims, name) or 0) > now + leeway:
                raise TokenRefused("The token is not valid yet.", name)
        claims["exp"] = expires


def unverified_issuer(token: str) -> str:
    """Return what a token says its issuer is, "" when it says nothing readable.

    Nobody has verified it: it may choose among the configured providers, and nothing else (trap 40).
    """
    if len(token) > MAX_TOKEN or token.count(".") != 2:
        return ""
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return ""
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""


def _header(token: str, types: Sequence[str] = ()) -> dict[str, Any]:
    """Return the header, believed in nothing but the choice of a key; `types` are allowed beside the usual ones."""
    if len(token) > MAX_TOKEN:
        raise TokenRefused("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise TokenRefused("The token is not a JWT.") from None
    if any(name in header for name in _OWN_KEYS):
        raise TokenRefused("The token brings its own key or critical headers.")
    if _kind(str(header.get("typ", "JWT"))) not in _TYPES.union(map(_kind, types)):
        raise TokenRefused("The token's typ is not that of a JWT or an access token.", "typ")
    return header


def _kind(text: str) -> str:
    """Return a media type as it is compared (RFC 7515 section 4.1.9)."""
    return text.lower().removeprefix("application/")


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
        raise TokenRefused(f"The claim {name} is not a time.", name)
    return int(value)
