"""A development OpenID provider on loopback: discovery, keys, client_credentials. FOR DEVELOPMENT AND TESTS ONLY.

    python examples/dev_issuer.py --client app:app-secret:readwrite --port 0
    python examples/dev_issuer.py --clients clients.json        {"app": {"secret": "app-secret", "policy": "readwrite"}}

Prints one JSON line with its URLs when it is ready. Authlib's joserfc makes the keys and signs the tokens. POST /dev/rotate
signs with a new key from then on. Nobody is asked who they are for that: it listens on loopback only.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from joserfc import jwt
from joserfc.jwk import RSAKey

MAX_FORM = 65_536  # bytes


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
                        "grant_types_supported": ["client_credentials"], "response_types_supported": [],
                        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
                        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]})  # fmt: skip
        elif self.path == "/jwks":
            self._json({"keys": [key.as_dict(private=False) for key in self.server.keys]})
        else:
            self._json({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        """Answer the token endpoint (RFC 6749 section 4.4) and the development-only rotation."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_FORM:
            self.close_connection = True
            self._json({"error": "invalid_request"}, 400)
            return
        body = self.rfile.read(int(length)).decode(errors="replace")
        if self.path == "/dev/rotate":
            self.server.rotate()
            self._json({"rotated": True})
        elif self.path == "/token":
            self._token(parse_qs(body))
        else:
            self._json({"error": "not_found"}, 404)

    def _token(self, form: dict[str, list[str]]) -> None:
        client_id, secret = self._client(form)
        expected, policy = self.server.clients.get(client_id, ("", ""))
        if not expected or not hmac.compare_digest(expected.encode(), secret.encode()):
            self._json({"error": "invalid_client"}, 401)
        elif form.get("grant_type") != ["client_credentials"]:
            self._json({"error": "unsupported_grant_type"}, 400)
        else:
            token = self.server.token(client_id, policy)
            self._json({"access_token": token, "token_type": "Bearer", "expires_in": self.server.lifetime})

    def _client(self, form: dict[str, list[str]]) -> tuple[str, str]:
        """Return the client's id and secret, by Basic or in the form (RFC 6749 section 2.3.1)."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return form.get("client_id", [""])[0], form.get("client_secret", [""])[0]
        try:
            name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return "", ""
        return unquote(name), unquote(secret)

    def _json(self, document: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="development"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Keep quiet: a request line could hold a secret."""


def _clients(texts: list[str], file: Path | None) -> dict[str, tuple[str, str]]:
    """Return id -> (secret, policy), from the command line and a JSON file."""
    listed = json.loads(file.read_text()) if file else {}
    clients = {name: (one["secret"], one.get("policy", "")) for name, one in listed.items()}
    for text in texts:
        client_id, secret, *policy = text.split(":", 2)
        clients[client_id] = (secret, policy[0] if policy else "")
    return clients


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", action="append", default=[], metavar="ID:SECRET[:POLICY]")
    parser.add_argument("--clients", type=Path, metavar="FILE", help="a JSON file of clients")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lifetime", type=int, default=3600, help="seconds a token lives")
    options = parser.parse_args()
    clients = _clients(options.client, options.clients)
    if not clients:
        parser.error("no client: give --client or --clients")
    issuer = Issuer(options.port, clients, options.lifetime)
    urls = {"issuer": issuer.url, "token": f"{issuer.url}/token", "jwks": f"{issuer.url}/jwks",
            "config": f"{issuer.url}/.well-known/openid-configuration"}  # fmt: skip
    print("DEVELOPMENT OpenID provider: never use it for anything else", file=sys.stderr)
    print(json.dumps(urls), flush=True)
    try:
        issuer.serve_forever()
    except KeyboardInterrupt:
        issuer.server_close()


if __name__ == "__main__":
    main()
