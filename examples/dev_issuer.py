"""A development OpenID provider on loopback: discovery, keys, client_credentials. FOR DEVELOPMENT AND TESTS ONLY.

    python examples/dev_issuer.py --client app:app-secret:readwrite --port 0

Prints one JSON line with its URLs when it is ready. Authlib's joserfc makes the keys and signs the tokens.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey


class Issuer(ThreadingHTTPServer):
    """The provider: its clients, its keys and how long its tokens live (seconds)."""

    daemon_threads = True

    def __init__(self, port: int, clients: dict[str, tuple[str, str]], lifetime: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.clients = clients
        self.lifetime = lifetime
        self.keys: list[RSAKey] = []
        self.rotate()

    def rotate(self) -> None:
        """Sign with a new key from now on; the one before stays published."""
        key = RSAKey.generate_key(2048, {"kid": uuid.uuid4().hex, "use": "sig", "alg": "RS256"}, private=True)
        self.keys = [key, *self.keys[:1]]

    def token(self, client_id: str, policy: str) -> str:
        """Return an access token shaped like those of a client_credentials grant."""
        now = int(time.time())
        key = self.keys[0]
        claims: dict[str, Any] = {
            "iss": self.url, "sub": f"service-account-{client_id}", "aud": [client_id, "account"], "azp": client_id,
            "iat": now, "exp": now + self.lifetime, "jti": str(uuid.uuid4()),
        }  # fmt: skip
        if policy:
            claims["policy"] = policy
        return jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "JWT"}, claims, key)


class Handler(BaseHTTPRequestHandler):
    """The provider's four addresses."""

    server: Issuer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer discovery and keys."""
        url = self.server.url
        if self.path == "/.well-known/openid-configuration":
            self._json({"issuer": url, "jwks_uri": f"{url}/jwks", "token_endpoint": f"{url}/token",
                        "grant_types_supported": ["client_credentials"]})  # fmt: skip
        elif self.path == "/jwks":
            self._json({"keys": [key.as_dict(private=False) for key in self.server.keys]})
        else:
            self._json({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        """Answer the token endpoint (RFC 6749 section 4.4) and the development-only rotation."""
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
        if self.path == "/dev/rotate":
            self.server.rotate()
            self._json({"rotated": True})
            return
        client_id, secret = self._client(form)
        known = self.server.clients.get(client_id)
        if self.path != "/token" or form.get("grant_type") != ["client_credentials"]:
            self._json({"error": "unsupported_grant_type"}, 400)
        elif known is None or known[0] != secret:
            self._json({"error": "invalid_client"}, 401)
        else:
            token = self.server.token(client_id, known[1])
            self._json({"access_token": token, "token_type": "Bearer", "expires_in": self.server.lifetime})

    def _client(self, form: dict[str, list[str]]) -> tuple[str, str]:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            name, _, secret = base64.b64decode(value).decode().partition(":")
            return name, secret
        return form.get("client_id", [""])[0], form.get("client_secret", [""])[0]

    def _json(self, document: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Keep quiet: a request line could hold a secret."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", action="append", required=True, metavar="ID:SECRET[:POLICY]")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lifetime", type=int, default=3600, help="seconds a token lives")
    options = parser.parse_args()
    clients = {}
    for text in options.client:
        client_id, secret, *policy = text.split(":", 2)
        clients[client_id] = (secret, policy[0] if policy else "")
    issuer = Issuer(options.port, clients, options.lifetime)
    urls = {"issuer": issuer.url, "token": f"{issuer.url}/token", "jwks": f"{issuer.url}/jwks",
            "config": f"{issuer.url}/.well-known/openid-configuration"}  # fmt: skip
    print(json.dumps(urls), flush=True)
    print("development OpenID provider: never use it for anything else", file=sys.stderr)
    try:
        issuer.serve_forever()
    except KeyboardInterrupt:
        issuer.server_close()


if __name__ == "__main__":
    main()
