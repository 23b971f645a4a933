"""The public keys of an OpenID provider: fetched over httpx, kept, and fetched again when a token asks for more.

`ProviderKeys.keys` is swapped whole. A fetch is bounded in time and size, follows no redirect and cannot fall from https
to http (trap 41). One fetch at most per interval, shared by all who wait, whatever tokens arrive (trap 42); keys that were
good stay good while the provider is away, and are looked at again when they are old, so that a withdrawn key goes.
RFC 7517; https://openid.net/specs/openid-connect-discovery-1_0.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from sts.fetch import DEADLINE, FETCH_ERRORS, Fetcher
from sts.settings import OpenIdSettings

INTERVAL = 10.0  # seconds between two fetches, at least
MAX_AGE = 300.0  # seconds after which known keys are fetched again
MAX_KEYS = 256
RSA_BITS = range(2048, 16_384 + 1)  # RFC 7518 section 3.3: 2048 at least; huge ones cost too much to verify with
_BY_KEY_TYPE: Mapping[str, frozenset[str]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "OKP": frozenset({"EdDSA"}),
}
_BY_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_KEY_ERRORS = (
    PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError, OverflowError,
)  # fmt: skip


class IdpUnavailable(Exception):
    """No key has ever been had from the provider."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key: its id (None when the provider gave none), PyJWT's form of it, and what it may verify."""

    kid: str | None
    public: Any
    algorithms: frozenset[str]


class ProviderKeys:
    """The keys of one provider. `clock` gives seconds that never run backwards.

    `issuer` and `userinfo` (the UserInfo endpoint) are "" while nobody has said them.
    """

    def __init__(self, settings: OpenIdSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = settings.issuer
        self.userinfo = ""
        self.keys: tuple[Key, ...] = ()
        self.trouble = "the keys have not been fetched yet"
        self._settings = settings
        self._clock = clock
        self.fetcher = Fetcher(settings.ca_file)
        self._tried_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    async def known(self) -> tuple[Key, ...]:
        """Return the keys; fetch them first when there are none, or when they are old and nobody else does."""
        if not self.keys or (not self._fetching and self._clock() - self._tried_at >= MAX_AGE):
            await self.refresh()
        return self.keys

    async def refresh(self) -> tuple[Key, ...]:
        """Fetch the keys unless that was tried within the interval; return those now in force.

        The fetch is this object's: a caller who leaves does not end it for those who wait with him.
        """
        if self._fetch is None or not self._fetching:
            if self._clock() - self._tried_at < INTERVAL:
                return self.keys
            self._tried_at = self._clock()
            self._fetch = asyncio.get_running_loop().create_task(self._take())
        await asyncio.wait({self._fetch})
        return self.keys

    async def close(self) -> None:
        """End a running fetch and close the connections."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait({self._fetch})
        await self.fetcher.close()

    @property
    def _fetching(self) -> bool:
        return self._fetch is not None and not self._fetch.done()

    async def _take(self) -> None:
        """Fetch once; trouble leaves the keys as they are."""
        try:
            async with asyncio.timeout(DEADLINE):
                issuer, userinfo, document = await self._documents()
            self.keys, self.issuer, self.userinfo = usable_keys(document), issuer, userinfo
        except FETCH_ERRORS as error:
            self.trouble = f"{type(error).__name__}: {error}"[:300]

    async def _documents(self) -> tuple[str, str, dict[str, Any]]:
        """Return the issuer ("" when nobody says it), the UserInfo endpoint ("" likewise) and the key set."""
        settings, get = self._settings, self.fetcher.get
        if not settings.config_url:
            return settings.issuer, "", await get(settings.jwks_url)
        found = await get(settings.config_url)
        issuer, address, userinfo = found.get("issuer"), found.get("jwks_uri"), found.get("userinfo_endpoint", "")
        if not (isinstance(issuer, str) and issuer and isinstance(address, str) and isinstance(userinfo, str)):
            raise ValueError("the discovery document lacks issuer or jwks_uri")
        if settings.issuer and issuer != settings.issuer:
            raise ValueError("the discovery document's issuer is not the configured one")
        if settings.config_url.startswith("https:") and not address.startswith("https:"):
            raise ValueError("the jwks_uri of an https provider is not https")
        if settings.config_url.startswith("https:") and not userinfo.startswith("https:"):
            userinfo = ""
        return issuer, userinfo, await get(address)


def usable_keys(document: Mapping[str, Any]) -> tuple[Key, ...]:
    """Return the keys of a set (RFC 7517 section 5) that may verify tokens; the others are skipped.

    Raises ValueError when none is left.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError(f"no key set of at most {MAX_KEYS} keys")
    keys = tuple(key for key in map(_key, entries) if key is not None)
    if not keys:
        raise ValueError("no usable key in the set")
    return keys


def _key(entry: Any) -> Key | None:
    algorithms = _algorithms(entry)
    kid = entry.get("kid") if algorithms else None
    # A private key that is published is anybody's.
    if not algorithms or "d" in entry or not isinstance(kid, str | None):
        return None
    try:
        public = PyJWK(entry, algorithm=min(algorithms)).key
    except _KEY_ERRORS:
        return None  # one odd key must not take the others away
    if isinstance(public, RSAPublicKey) and public.key_size not in RSA_BITS:
        return None
    return Key(kid, public, algorithms)


def _algorithms(entry: Any) -> frozenset[str]:
    """Return what a key may verify: by its type and curve, narrowed by its own `use`, `key_ops` and `alg`."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return frozenset()
    uses = entry.get("key_ops", ["verify"])
    if not isinstance(uses, list) or "verify" not in uses:
        return frozenset()
    kind, curve, alg = entry.get("kty"), entry.get("crv"), entry.get("alg")
    fitting = {_BY_CURVE.get(str(curve), "")} - {""} if kind == "EC" else _BY_KEY_TYPE.get(str(kind), frozenset())
    return frozenset(a for a in fitting if alg is None or a == alg)
