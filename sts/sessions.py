"""The session token, and the secret that belongs to it.

The token is a JWS (HS512, key id in its header) over the identity's claims with `accessKey` and `exp`, as MinIO's was; or,
sealed, a JWE over the same (RFC 7516: `dir`, A256GCM), which shows nobody whose it is. Either opens everywhere. It
verifies without a lookup, so a session issued by one gateway works at every other on the very next request. The secret
is derived from the access key with a second server key: nothing in a request, a URL or the token lets anyone compute it
(traps 59 and 60). Pure: the clock and the keys are passed in.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from iam.model import Credentials, Secret

ALGORITHM = "HS512"
SECRET_LENGTH = 40  # characters: 240 bits
MAX_TOKEN = 16_384  # characters
_ACCESS_KEY = re.compile(r"[0-9A-Z]{20}")
PRIVATE = "minio-gw"  # the claim that holds what MinIO's tokens had no place for
#: Claims that only we may set (trap 47).
OUR_CLAIMS = frozenset(
    {"accessKey", "parent", "sessionPolicy", "roleArn", "exp", "tokenRevokeType", "sa-policy", PRIVATE}
)
_PARTS_OF_JWE = 5


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
    """An opened session: its credentials and what the token says.

    `parent` is whose it is, `provider` the way in that proved it (`user`, `openid:corp`, `tls`), `issued_at` in epoch
    milliseconds; `name` is its RoleSessionName.
    """

    credentials: Credentials
    claims: Mapping[str, Any]
    parent: str
    session_policy: str | None
    provider: str = ""
    issued_at: int = 0
    groups: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    revoke_type: str = ""
    role_arn: str = ""
    name: str = ""


def _expand(seed: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA512(), length=64, salt=None, info=b"minio-gw v1 " + purpose).derive(seed)


def secret_for(key: SessionKey, access_key_id: str) -> Secret:
    """Return the secret of an access key: 40 characters of A-Z a-z 0-9 +, as MinIO's are."""
    digest = hmac.digest(key.derivation, access_key_id.encode(), "sha512")
    return Secret(base64.b64encode(digest).decode()[:SECRET_LENGTH].replace("/", "+"))


def mint(
    keyring: Keyring, claims: Mapping[str, Any], *, access_key_id: str, expires_at: int, sealed: bool = False
) -> Credentials:
    """Return temporary credentials over these claims; `expires_at` in epoch seconds."""
    key = keyring.keys[keyring.current]
    payload = dict(sorted({**claims, "accessKey": access_key_id, "exp": expires_at}.items()))
    token = _seal(key, payload) if sealed else jwt.encode(payload, key.signing, ALGORITHM, headers={"kid": key.kid})
    return Credentials(access_key_id, secret_for(key, access_key_id), Secret(token), expires_at)


def open_session(keyring: Keyring, token: str, *, now: int) -> Session:
    """Verify a token and return its session; `now` in epoch seconds. Raises InvalidSession, ExpiredSession.

    When it was issued is not compared with `now`: the gateway that issued it may have a clock that is ahead of ours.
    """
    key, claims = _verified(keyring, token)
    access_key_id, expires_at = claims.get("accessKey"), claims.get("exp")
    if not isinstance(access_key_id, str) or not _ACCESS_KEY.fullmatch(access_key_id):
        raise InvalidSession("accessKey is not as we write it")
    if type(expires_at) is not int:
        raise InvalidSession("exp is not as we write it")
    session = _session(claims, Credentials(access_key_id, secret_for(key, access_key_id), Secret(token), expires_at))
    if expires_at <= now:
        raise ExpiredSession(f"expired at {expires_at}")
    return session


def _session(claims: Mapping[str, Any], credentials: Credentials) -> Session:
    """Return what verified claims say. Raises InvalidSession for a shape that we never write."""
    private = _typed(claims, PRIVATE, dict, {})
    groups, tags = _typed(private, "groups", list, []), _typed(private, "tags", dict, {})
    if not all(isinstance(text, str) for text in (*groups, *tags.values())):
        raise InvalidSession("groups or tags are not as we write them")
    return Session(
        credentials, claims, _typed(claims, "parent", str, ""), _session_policy(claims),
        _typed(private, "provider", str, ""), _typed(private, "issued", int, 0), tuple(groups), tags,
        _typed(claims, "tokenRevokeType", str, ""), _typed(claims, "roleArn", str, ""), _typed(private, "session", str, ""),
    )  # fmt: skip


def _typed(claims: Mapping[str, Any], name: str, kind: type[Any], absent: Any) -> Any:
    """Return a claim of ours, which is of exactly this type or absent."""
    value = claims.get(name, absent)
    if type(value) is not kind:
        raise InvalidSession(f"{name} is not as we write it")
    return value


def _verified(keyring: Keyring, token: str) -> tuple[SessionKey, dict[str, Any]]:
    """Return the key that made a token and its claims; the IdP's times among them are not ours."""
    if len(token) > MAX_TOKEN:
        raise InvalidSession("longer than any we write")
    try:
        if token.count(".") == _PARTS_OF_JWE - 1:
            return _unsealed(keyring, token)
        return _signed(keyring, token)
    except (jwt.InvalidTokenError, InvalidTag, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidSession(type(error).__name__) from None


def _signed(keyring: Keyring, token: str) -> tuple[SessionKey, dict[str, Any]]:
    """Verify a JWS: only HS512 by one of our keys is believed."""
    key = keyring.keys[str(jwt.get_unverified_header(token).get("kid"))]
    claims: dict[str, Any] = jwt.decode(
        token, key.signing, [ALGORITHM],
        options={"require": ["exp"], "verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False,
                 "verify_sub": False, "verify_jti": False, "verify_iss": False},
    )  # fmt: skip
    return key, claims


def _seal(key: SessionKey, payload: Mapping[str, Any]) -> str:
    """Return a JWE in compact form (RFC 7516 section 7.1).

    The nonce is a PRF of the payload, which holds an access key that was never used before: unique without a source of
    randomness here, and without state that gateways would have to share.
    """
    text = json.dumps(payload, separators=(",", ":")).encode()
    header = _sealed_header(key)
    nonce = hmac.digest(_expand(key.signing, b"token nonce"), text, "sha512")[:12]
    both = AESGCM(_expand(key.signing, b"token sealing")[:32]).encrypt(nonce, text, header.encode())
    return ".".join((header, "", _b64(nonce), _b64(both[:-16]), _b64(both[-16:])))


def _unsealed(keyring: Keyring, token: str) -> tuple[SessionKey, dict[str, Any]]:
    """Open a JWE: its header must be, byte for byte, the one that we write for one of our keys."""
    header, wrapped, nonce, text, tag = token.split(".")
    key = keyring.keys[str(json.loads(_bytes(header))["kid"])]
    if header != _sealed_header(key) or wrapped or len(_bytes(nonce)) != 12 or len(_bytes(tag)) != 16:
        raise ValueError("not as we write them")
    cipher = AESGCM(_expand(key.signing, b"token sealing")[:32])
    claims = json.loads(cipher.decrypt(_bytes(nonce), _bytes(text) + _bytes(tag), header.encode()))
    if not isinstance(claims, dict):
        raise ValueError("no claims")  # noqa: TRY004 - a wrong token, not a wrong argument
    return key, claims


def _sealed_header(key: SessionKey) -> str:
    return _b64(json.dumps({"alg": "dir", "enc": "A256GCM", "kid": key.kid}, separators=(",", ":")).encode())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Decode base64url without padding, in its one spelling only (RFC 7515 appendix C)."""
    found = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _b64(found) != text:
        raise ValueError("not base64url as we write it")
    return found


def _session_policy(claims: Mapping[str, Any]) -> str | None:
    encoded = claims.get("sessionPolicy")
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8")
    except (ValueError, TypeError):
        raise InvalidSession("the session policy does not decode") from None
