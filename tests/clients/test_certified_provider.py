"""The OpenID-certified provider from npm: access tokens, a person's ID token with UserInfo, keys that change while we serve."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import httpx
import jwt
import pytest
from client_grants import assume_role_with_client_grants, get_token
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.conftest import s3_client
from tests.servers.people import sign_in
from tests.servers.processes import GatewayProcess, Process, free_port, until
from tests.unit.sts.provider import token as forged_token

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".tools" / "oidc-provider"


def private_jwk(kid: str) -> dict:
    """Return a new private key as the provider takes it."""
    key = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048)))
    del key["key_ops"]  # ["sign"], which the provider would publish
    return key | {"kid": kid, "use": "sig", "alg": "RS256"}


class Certified:
    """The provider, which signs with the first of its keys."""

    def __init__(self, directory: Path, node: str) -> None:
        self._keys = directory / "keys.json"
        self._log = directory / "provider.log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.config_url = f"{self.url}/.well-known/openid-configuration"
        command = [node, "tests/servers/oidc_provider/server.mjs", str(port), str(INSTALLED), str(self._keys)]
        self.process = Process(command, self._log)

    def start(self, *keys: dict) -> None:
        """Start it, or start it again, with these keys."""
        self.process.stop()
        self._keys.write_text(json.dumps({"keys": keys}))
        self._log.write_text("")
        self.process.start()
        ended = lambda: self.process.popen.poll() is not None  # noqa: E731
        until(lambda: "listening http" in self.process.text or ended(), "the provider listens")
        assert not ended(), self.process.text

    def token(self) -> str:
        """Return a client's access token."""
        return get_token(f"{self.url}/token", "certified", "certified-secret")["access_token"]


@pytest.fixture
def provider(tmp_path):
    """A running certified provider with one key."""
    node = shutil.which("node")
    if node is None or not (INSTALLED / "node_modules").is_dir():
        pytest.skip("no oidc-provider here; deploy/tools/install-oidc-provider.sh installs it where Node is")
    server = Certified(tmp_path, node)
    server.start(private_jwk("first"))
    yield server
    server.process.stop()


def gateway_for(provider, folder, weed, **settings) -> GatewayProcess:
    """Return a gateway that believes the provider."""
    settings = {"MINIO_IDENTITY_OPENID_CONFIG_URL": provider.config_url, "MINIO_GW_OPENID_AUDIENCES": ""} | settings
    return GatewayProcess(folder, weed.endpoint, **settings).start()


def call(gateway, **parameters) -> httpx.Response:
    """Return the answer to AssumeRoleWithWebIdentity."""
    form = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", **parameters}
    return httpx.post(gateway.endpoint, data=form, timeout=30)


def test_certified_provider(provider, tmp_path, weed):
    """Its at+jwt access token, the only typ that is taken here, checked for issuer and audience, gives a working session."""
    settings = {"MINIO_IDENTITY_OPENID_CLIENT_ID": "urn:minio-gw", "MINIO_GW_OPENID_TYP": "at+jwt"}
    gateway = gateway_for(provider, tmp_path / "gateway", weed, **settings)
    try:
        credentials = assume_role_with_client_grants(gateway.endpoint, provider.token(), 1200)
        assert "Buckets" in s3_client(gateway.endpoint, credentials).list_buckets()
    finally:
        gateway.close()


def test_a_person(provider, tmp_path, weed):
    """An ID token of the authorization code flow gets its policy from UserInfo, and nothing without the access token."""
    settings = {"MINIO_IDENTITY_OPENID_CLIENT_ID": "web", "MINIO_IDENTITY_OPENID_CLAIM_USERINFO": "on"}
    gateway = gateway_for(provider, tmp_path / "gateway", weed, **settings)
    try:
        tokens = sign_in(provider.config_url, "web", "web-secret", user="ann", password="any", scope="openid s3")
        assert "policy" not in jwt.decode(tokens["id_token"], options={"verify_signature": False})
        said = {"WebIdentityToken": tokens["id_token"], "WebIdentityAccessToken": tokens["access_token"]}
        answer = call(gateway, **said)
        assert answer.status_code == 200, answer.text
        assert "<SubjectFromWebIdentityToken>ann<" in answer.text
        names = {"accessKey": "AccessKeyId", "secretKey": "SecretAccessKey", "sessionToken": "SessionToken"}
        credentials = {name: re.search(f"<{tag}>(.*?)<", answer.text)[1] for name, tag in names.items()}
        assert "Buckets" in s3_client(gateway.endpoint, credentials).list_buckets()
        assert "MissingParameter" in call(gateway, WebIdentityToken=tokens["id_token"]).text
        assert "InvalidIdentityToken" in call(gateway, **said | {"WebIdentityAccessToken": "another"}).text
    finally:
        gateway.close()


@pytest.mark.slow
def test_its_keys_change_while_the_gateway_serves(provider, tmp_path, weed):
    """A new key is found, the old one goes on while it is published and ends with it, and nobody is cut off on the way."""
    gateway = gateway_for(
        provider, tmp_path / "gateway", weed, MINIO_IDENTITY_OPENID_CLIENT_ID="urn:minio-gw"
    )  # fmt: skip
    first, second = json.loads((tmp_path / "keys.json").read_text())["keys"][0], private_jwk("second")
    try:
        old = provider.token()
        assert call(gateway, WebIdentityToken=old).status_code == 200
        provider.process.stop()
        assert call(gateway, WebIdentityToken=old).status_code == 200  # the provider is away, its key is known
        provider.start(second, first)
        new = provider.token()
        assert [jwt.get_unverified_header(text)["kid"] for text in (old, new)] == ["first", "second"]
        until(lambda: call(gateway, WebIdentityToken=new).status_code == 200, "the new key is found", 60)
        assert call(gateway, WebIdentityToken=old).status_code == 200
        provider.start(second)

        def refused() -> bool:
            call(
                gateway, WebIdentityToken=forged_token(kid="nobody's", iss=provider.url)
            )  # makes the gateway look again
            return "InvalidIdentityToken" in call(gateway, WebIdentityToken=old).text

        until(refused, "the withdrawn key is gone", 60)
        assert call(gateway, WebIdentityToken=new).status_code == 200
    finally:
        gateway.close()
