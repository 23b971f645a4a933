"""Verify the tokens of an OpenID provider: keys by JWKS over httpx, kept and rotated; PyJWT does the cryptography.

The key decides which algorithms may be used, never the token alone (trap 38). An unknown key id makes one fetch at most
per interval, shared by all who wait (trap 42); keys that were good stay good while the provider is away. The fetch is
bounded in time and size and follows no redirect (trap 41). RFC 7517, RFC 7519, RFC 8725.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import jwt
from jwt import PyJWK

from sts.settings import OpenIdSettings

INTERVAL = 10.0  # seconds between two fetches of the keys
DEADLINE = 5.0  # seconds for one fetch
MAX_DOCUMENT = 2**20  # bytes
MAX_TOKEN = 16_384  # characters
_BY_KEY_TYPE = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC": frozenset({"ES256", "ES384", "ES512"}),
    "OKP": frozenset({"EdDSA"}),
}
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class TokenRefused(Exception):
    """The token does not prove its bearer; the text says why and repeats nothing of it."""


class TokenExpired(TokenRefused):
    """The token was good once."""


class IdpUnavailable(Exception):
    """No key has ever been had from the provider."""


class OidcVerifier:
    """Verifies tokens of one provider. `now` gives epoch seconds."""

    def __init__(self, settings: OpenIdSettings, now: Callable[[], float]) -> None:
        self.settings = settings
        self._now = now
        verify = ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else True
        self._client = httpx.AsyncClient(timeout=DEADLINE, follow_redirects=False, trust_env=False, verify=verify)
        self._keys: dict[str, PyJWK] = {}
        self._types: dict[str, frozenset[str]] = {}
        self._issuer = ""
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._trouble = "the keys have not been fetched yet"

    async def verify(self, token: str) -> Mapping[str, Any]:
        """Return the verified claims of a token. Raises TokenRefused, TokenExpired, IdpUnavailable."""
        header = _header(token)
        kid = await self._key_id(header)
        algorithm = header.get("alg")
        if algorithm not in self._types[kid]:
            raise TokenRefused("The token's algorithm is not one of its key's.")
        claims = self._decode(token, self._keys[kid], str(algorithm))
        self._check(claims)
        return claims

    async def ready(self) -> str | None:
        """Return None when keys are there (fetching them if need be), else why not."""
        if not self._keys:
            await self._refresh()
        return None if self._keys else f"identity provider: {self._trouble}"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _key_id(self, header: Mapping[str, Any]) -> str:
        """Return the id of the key that the header names, fetching the keys again once when it is unknown."""
        for attempt in (1, 2):
            kid = self._known(header)
            if kid is not None:
                return kid
            if attempt == 1:
                await self._refresh()
        if not self._keys:
            raise IdpUnavailable(self._trouble)
        raise TokenRefused("The token's key id is not among the provider's keys.")

    def _known(self, header: Mapping[str, Any]) -> str | None:
        kid = header.get("kid")
        if kid is not None:
            return kid if isinstance(kid, str) and kid in self._keys else None
        fitting = [k for k, algorithms in self._types.items() if header.get("alg") in algorithms]
        return fitting[0] if len(fitting) == 1 else None

    def _decode(self, token: str, key: PyJWK, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token, key.key, [algorithm],
                options={"require": [], "verify_aud": False, "verify_exp": False, "verify_sub": False, "verify_jti": False},
            )  # fmt: skip
        except jwt.ImmatureSignatureError:
            raise TokenRefused("The token is not valid yet.") from None
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"The token does not verify: {type(error).__name__}.") from None

    def _check(self, claims: dict[str, Any]) -> None:
        """Check what PyJWT leaves to us; `exp` may be a string of digits (minio.md 3.2)."""
        expires = claims.get("exp")
        if isinstance(expires, str) and expires.isascii() and expires.isdigit():
            expires = claims["exp"] = int(expires)
        if isinstance(expires, bool) or not isinstance(expires, int | float) or not 0 < expires < 2**53:
            raise TokenRefused("The claim exp is missing or not a number.")
        if expires <= self._now():
            raise TokenExpired("The token has expired.")
        if self._issuer and claims.get("iss") != self._issuer:
            raise TokenRefused("The claim iss is not the provider's issuer.")
        client = self.settings.client_id
        if client and client not in _audience(claims.get("aud")) and claims.get("azp") != client:
            raise TokenRefused("Neither aud nor azp names the configured client id.")

    async def _refresh(self) -> None:
        """Fetch the keys, at most once per interval; trouble leaves the old ones in force."""
        async with self._fetching:
            loop = asyncio.get_running_loop()
            if loop.time() - self._fetched_at < INTERVAL:
                return
            self._fetched_at = loop.time()
            try:
                async with asyncio.timeout(DEADLINE):
                    self._take(await self._key_set())
            except (httpx.HTTPError, OSError, TimeoutError, ValueError, KeyError, TypeError, RecursionError) as error:
                self._trouble = f"{type(error).__name__}: {error}"[:300]

    async def _key_set(self) -> dict[str, Any]:
        if not self.settings.config_url:
            return await self._get(self.settings.jwks_url)
        document = await self._get(self.settings.config_url)
        self._issuer = str(document["issuer"])
        return await self._get(str(document["jwks_uri"]))

    async def _get(self, url: str) -> dict[str, Any]:
        body = bytearray()
        async with self._client.stream("GET", url) as response:
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_DOCUMENT:
                    raise ValueError("document too large")
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - a wrong document, not a wrong argument
        return document

    def _take(self, document: dict[str, Any]) -> None:
        keys: dict[str, PyJWK] = {}
        types: dict[str, frozenset[str]] = {}
        for number, entry in enumerate(document["keys"]):
            algorithms = _algorithms(entry)
            if not algorithms:
                continue
            kid = str(entry.get("kid", f"#{number}"))
            try:
                keys[kid] = PyJWK(entry, algorithm=min(algorithms))
            except (jwt.InvalidKeyError, jwt.PyJWTError, ValueError, TypeError, KeyError):
                continue  # one odd key must not take the others away
            types[kid] = algorithms
        if not keys:
            raise ValueError("no usable key in the set")
        self._keys, self._types = keys, types


def _algorithms(entry: Any) -> frozenset[str]:
    """Return the algorithms a key may verify: by its type and curve, narrowed by its own `alg`."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return frozenset()
    kind = str(entry.get("kty"))
    allowed = _BY_KEY_TYPE.get(kind, frozenset())
    if kind == "EC":
        allowed = frozenset({_CURVES.get(str(entry.get("crv")), "")}) & allowed
    return allowed & {entry["alg"]} if isinstance(entry.get("alg"), str) else allowed


def _header(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN:
        raise TokenRefused("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise TokenRefused("The token is not a JWT.") from None
    if any(name in header for name in ("jwk", "jku", "x5u", "x5c", "crit")):
        raise TokenRefused("The token brings its own key or critical headers.")
    if header.get("typ") not in {None, "JWT", "jwt", "at+jwt", "application/at+jwt"}:
        raise TokenRefused("The token's typ is not that of a JWT or an access token.")
    return dict(header)


def _audience(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value, *(part.strip() for part in value.split(",")))
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
