"""An OpenID provider whose every answer a test may write: a real local HTTP server, real keys, real tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

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
]


def jwks(*keys) -> bytes:
    """Return a key set."""
    return json.dumps({"keys": list(keys)}).encode()


class Provider(ThreadingHTTPServer):
    """Serves `body` on every path but those in `pages`; counts its requests. While `gate` is clear it answers nobody."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        self.url = f"{self.base}/jwks"
        self.asked: list[str] = []
        self.status, self.body, self.headers = 200, jwks(*KEYS), {}
        self.pages: dict[str, bytes] = {}
        self.gate = threading.Event()
        self.gate.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.gate.wait(20)
        body = self.server.pages.get(self.path, self.server.body)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Clock:
    """A clock that a test turns, in seconds."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def wso2_claims(**more):
    """Return claims shaped like WSO2's client_credentials tokens: no `sub`, `aud` a string."""
    now = int(time.time())
    return {
        "aud": "cid",
        "azp": "cid",
        "iss": "https://localhost:9443/oauth2/token",
        "exp": now + 600,
        "iat": now,
        "jti": "d2cf1b4b-5a1c-4e5b-93d3-5f0a3d1a9f7e",
    } | more


def keycloak_claims(**more):
    """Return claims shaped like those of a Keycloak service account."""
    now = int(time.time())
    return {
        "exp": now + 300, "iat": now, "jti": "trrtcc:5e3b", "iss": "http://localhost:8080/realms/minio",
        "aud": ["account", "minio"], "sub": "0d1a7d5e-7f0b-4c1c-bb1e-7f2c9be2a6b1", "typ": "Bearer", "azp": "cid",
        "acr": "1", "realm_access": {"roles": ["offline_access"]}, "scope": "email profile",
        "email_verified": False, "clientHost": "127.0.0.1", "clientAddress": "127.0.0.1", "client_id": "cid",
        "preferred_username": "service-account-cid", "policy": ["readwrite"],
    } | more  # fmt: skip


def token(key=RSA_KEY, algorithm="RS256", kid="rsa", header=None, **more):
    """Return a token with WSO2's claims and more; kid None leaves that out."""
    headers = ({} if kid is None else {"kid": kid}) | (header or {})
    return jwt.encode(wso2_claims(**more), key, algorithm, headers=headers)


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def hmac_signed(secret: bytes, header: dict) -> str:
    """Return a token signed with HMAC by hand: PyJWT refuses to use a public key as a secret."""
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(wso2_claims()).encode())}"
    return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
