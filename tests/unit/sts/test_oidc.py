"""Tokens of identity providers: what is believed, and what never is. The provider is a real local HTTP server."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sts.oidc import IdpUnavailable, OidcVerifier, TokenExpired, TokenRefused
from sts.settings import OpenIdSettings

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jwk(key, algorithm, kid, **more):
    """Return the public JWK of a key."""
    return json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"} | more


KEYS = [
    jwk(RSA_KEY, RSAAlgorithm, "rsa"),
    jwk(EC_KEY, ECAlgorithm, "ec"),
    jwk(ED_KEY, OKPAlgorithm, "ed"),
    {"kty": "odd", "kid": "odd"},
]


class Provider(ThreadingHTTPServer):
    """Serves a key set; counts how often it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/jwks"
        self.asked = 0
        self.status, self.body, self.location = 200, json.dumps({"keys": KEYS}).encode(), ""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def provider():
    """A provider."""
    server = Provider()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
async def verifier(provider):
    """A verifier for the provider's keys, with client id `cid`."""
    one = OidcVerifier(OpenIdSettings(jwks_url=provider.url, client_id="cid"), time.time)
    yield one
    await one.close()


def claims(**more):
    """Return claims shaped like WSO2's client_credentials tokens: no `sub`, `aud` a string."""
    now = int(time.time())
    return {
        "aud": "cid",
        "azp": "cid",
        "iss": "https://localhost:9443/oauth2/token",
        "exp": now + 600,
        "iat": now,
        "jti": "j",
    } | more


def token(key=RSA_KEY, algorithm="RS256", kid="rsa", header=None, **more):
    return jwt.encode(claims(**more), key, algorithm, headers={"kid": kid} | (header or {}))


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA_KEY, "RS256", "rsa"), (RSA_KEY, "PS384", "rsa"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed")],
)
async def test_good_tokens_are_believed(verifier, key, algorithm, kid):
    """A token of any allowed algorithm, signed by the key it names, gives its claims."""
    assert (await verifier.verify(token(key, algorithm, kid)))["azp"] == "cid"


@pytest.mark.parametrize("audience", ["cid", ["account", "cid"], "account,cid"])
async def test_shapes_of_audience(verifier, audience):
    """WSO2's string, Keycloak's array and a comma list all name the client."""
    assert await verifier.verify(token(aud=audience, azp="other"))


async def test_keycloak_audience_account_with_azp(verifier):
    """Keycloak's `aud: account` is good when azp names the client."""
    assert await verifier.verify(
        token(aud="account", azp="cid", sub="u", typ="Bearer", preferred_username="service-account-cid")
    )


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def hmac_signed(secret: bytes, header: dict) -> str:
    """Return a token signed with HMAC by hand: PyJWT refuses to use a public key as a secret."""
    import base64
    import hashlib
    import hmac

    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()  # noqa: E731
    text = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims()).encode())}"
    return f"{text}.{encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


async def test_trap_38_algorithm_confusion(verifier):
    """HS256 over a public key or the client's secret, none, a key's wrong algorithm, and keys brought along are refused."""
    forged = [
        hmac_signed(public_pem(RSA_KEY), {"alg": "HS256", "kid": "rsa", "typ": "JWT"}),
        hmac_signed(b"client-secret", {"alg": "HS256", "kid": "cid", "typ": "JWT"}),
        jwt.encode(claims(), None, "none", headers={"kid": "rsa"}),
        token(EC_KEY, "ES256", "rsa"),
        token(rsa.generate_private_key(65537, 2048)),
        token(kid="../../etc/passwd"),
        token(kid="https://evil.example/jwks"),
        token(header={"jku": "https://evil.example/jwks"}),
        token(header={"jwk": KEYS[0]}),
        token(header={"x5u": "https://evil.example/cert"}),
        token(header={"crit": ["exp"]}),
    ]
    for one in forged:
        with pytest.raises(TokenRefused):
            await verifier.verify(one)


@pytest.mark.parametrize(
    "more",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": -5},
        {"exp": True},
        {"aud": "other", "azp": "other"},
        {"aud": [], "azp": ""},
        {"nbf": int(time.time()) + 500},
    ],
)
async def test_trap_39_incomplete_tokens(verifier, more):
    """A token without a usable exp, for another client, or not valid yet is refused."""
    with pytest.raises(TokenRefused):
        await verifier.verify(token(**more))


async def test_expired_is_said(verifier):
    """An expired token is TokenExpired."""
    with pytest.raises(TokenExpired):
        await verifier.verify(token(exp=int(time.time()) - 1))


async def test_trap_42_unknown_key_ids_make_one_fetch(verifier, provider):
    """A flood of unknown key ids asks the provider once per interval; good keys stay good while it is down."""
    await verifier.verify(token())
    provider.status = 500
    for i in range(50):
        with pytest.raises(TokenRefused):
            await verifier.verify(token(kid=f"unknown{i}"))
    assert provider.asked <= 2
    assert await verifier.verify(token())


@pytest.mark.parametrize("trouble", ["redirect", "huge", "junk", "500"])
async def test_trap_41_the_fetch_is_bounded(verifier, provider, trouble):
    """A redirect, a huge answer, junk or an error gives no keys and is said to be the provider's."""
    provider.status = {"redirect": 302, "500": 500}.get(trouble, 200)
    provider.location = "http://127.0.0.1:1/" if trouble == "redirect" else ""
    provider.body = {"huge": b" " * (2 * 2**20), "junk": b"<html>"}.get(trouble, b"{}")
    with pytest.raises(IdpUnavailable):
        await verifier.verify(token())
