"""The session token, and the secret that belongs to it.

The token is a JWS (HS512, key id in its header) over the identity's claims with `accessKey` and `exp`, as MinIO's was. It
verifies without a lookup, so a session issued by one gateway works at every other on the very next request. The secret
is derived from the access key with a second server key: nothing in a request, a URL or the token lets anyone compute it
(traps 59 and 60). Pure: the clock and the keys are passed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from iam.model import Credentials, Secret

ALGORITHM = "HS512"
SECRET_LENGTH = 40  # characters: 240 bits
MAX_TOKEN = 16_384  # characters
_ACCESS_KEY = re.compile(r"[0-9A-Z]{20}")
#: Claims that only we may set (trap 47).
OUR_CLAIMS = frozenset({"accessKey", "parent", "sessionPolicy", "roleArn", "exp"})


class InvalidSession(Exception):
    """The token is not one of ours, or not whole."""


class ExpiredSession(InvalidSession):
    """The token was ours and has expired."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """One generation of keys: `signing` for tokens, `derivation` for secrets."""

    kid: str
    signing: bytes = field(repr=False)
    derivation: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that open sessions, by key id; `current` is the one that mints."""

    current: str
    keys: Mapping[str, SessionKey]


@dataclass(frozen=True, slots=True)
class Session:
    """An opened session: its credentials and what the token says."""

    credentials: Credentials
    claims: Mapping[str, Any]
    parent: str
    session_policy: str | None


def derive_keyring(root_secret: Secret) -> Keyring:
    """Derive the keys from the root secret, the same on every gateway that has it.

    scrypt first (RFC 7914; OWASP's cost for 16 MiB), so that a token cannot be used to guess a weak root secret cheaply;
    then HKDF (RFC 5869) with a purpose each, so that neither key is an access secret (trap 45). A quarter of a second.
    """
    seed = hashlib.scrypt(root_secret.reveal().encode(), salt=b"minio-gw sessions v1", n=2**14, r=8, p=5)
    kid = _expand(seed, b"key id")[:6].hex()
    key = SessionKey(kid, _expand(seed, b"token signing"), _expand(seed, b"secret derivation"))
    return Keyring(kid, {kid: key})


def _expand(seed: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA512(), length=64, salt=None, info=b"minio-gw v1 " + purpose).derive(seed)


def secret_for(key: SessionKey, access_key_id: str) -> Secret:
    """Return the secret of an access key: 40 characters of A-Z a-z 0-9 +, as MinIO's are."""
    digest = hmac.digest(key.derivation, access_key_id.encode(), "sha512")
    return Secret(base64.b64encode(digest).decode()[:SECRET_LENGTH].replace("/", "+"))


def mint(keyring: Keyring, claims: Mapping[str, Any], *, access_key_id: str, expires_at: int) -> Credentials:
    """Return temporary credentials over these claims; `expires_at` in epoch seconds."""
    key = keyring.keys[keyring.current]
    payload = dict(sorted({**claims, "accessKey": access_key_id, "exp": expires_at}.items()))
    token = jwt.encode(payload, key.signing, ALGORITHM, headers={"kid": key.kid})
    return Credentials(access_key_id, secret_for(key, access_key_id), Secret(token), expires_at)


def open_session(keyring: Keyring, token: str, *, now: int) -> Session:
    """Verify a token and return its session; `now` in epoch seconds. Raises InvalidSession, ExpiredSession."""
    key, claims = _verified(keyring, token)
    access_key_id, expires_at, parent = claims.get("accessKey"), claims["exp"], claims.get("parent", "")
    if not isinstance(access_key_id, str) or not _ACCESS_KEY.fullmatch(access_key_id):
        raise InvalidSession("accessKey is not as we write it")
    if type(expires_at) is not int or not isinstance(parent, str):
        raise InvalidSession("exp or parent is not as we write it")
    if expires_at <= now:
        raise ExpiredSession(f"expired at {expires_at}")
    credentials = Credentials(access_key_id, secret_for(key, access_key_id), Secret(token), expires_at)
    return Session(credentials, claims, parent, _session_policy(claims))


def _verified(keyring: Keyring, token: str) -> tuple[SessionKey, dict[str, Any]]:
    """Return the key that signed and the claims; only HS512 by one of our keys is believed, and the IdP's times are not ours."""
    if len(token) > MAX_TOKEN:
        raise InvalidSession("longer than any we write")
    try:
        key = keyring.keys[str(jwt.get_unverified_header(token).get("kid"))]
        claims: dict[str, Any] = jwt.decode(
            token, key.signing, [ALGORITHM],
            options={"require": ["exp"], "verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False,
                     "verify_sub": False, "verify_jti": False, "verify_iss": False},
        )  # fmt: skip
    except (jwt.InvalidTokenError, KeyError, ValueError, RecursionError) as error:
        raise InvalidSession(type(error).__name__) from None
    return key, claims


def _session_policy(claims: Mapping[str, Any]) -> str | None:
    encoded = claims.get("sessionPolicy")
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8")
    except (ValueError, TypeError):
        raise InvalidSession("the session policy does not decode") from None
