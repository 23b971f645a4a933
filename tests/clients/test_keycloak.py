"""Keycloak with the realm that we deploy: a service's and a person's tokens, a role, and keys that change while we serve."""

from __future__ import annotations

import re

import httpx
import jwt
import pytest
from client_grants import get_token

from sts.settings import OpenIdSettings
from tests.conftest import s3_client
from tests.servers.keycloak import CLIENT_SECRET, Keycloak, installed
from tests.servers.people import CALLBACK, sign_in
from tests.servers.processes import GatewayProcess, until
from tests.unit.sts.provider import token as forged_token

pytestmark = pytest.mark.slow
ROLE = OpenIdSettings(client_id="s3-web", role_policies=("readonly",)).role_arn("")


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory):
    """A running Keycloak with the deployed realm, and in it a client for people and one person."""
    home = installed()
    if home is None:
        pytest.skip("no Keycloak here; deploy/tools/install-keycloak.sh installs it where Java and Maven are")
    server = Keycloak(home, tmp_path_factory.mktemp("keycloak") / "server")
    try:
        web = {"clientId": "s3-web", "secret": "web-secret", "redirectUris": [CALLBACK], "publicClient": False}
        server.admin("POST", "/clients", json=web)
        password = {"type": "password", "value": "a-password", "temporary": False}
        ann = {"username": "ann", "enabled": True, "credentials": [password]}
        server.admin("POST", "/users", json=ann)
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, keycloak, weed):
    """A gateway with the lab's settings for services, and a role for people; Keycloak's ID tokens only for that."""
    settings = {
        "MINIO_IDENTITY_OPENID_CONFIG_URL": keycloak.config_url, "MINIO_IDENTITY_OPENID_CLIENT_ID": "minio-gw",
        "MINIO_GW_OPENID_AUDIENCES": "", "MINIO_GW_OPENID_TYP": "Bearer",
        "MINIO_IDENTITY_OPENID_CONFIG_URL_PEOPLE": keycloak.config_url, "MINIO_IDENTITY_OPENID_CLIENT_ID_PEOPLE": "s3-web",
        "MINIO_IDENTITY_OPENID_ROLE_POLICY_PEOPLE": "readonly", "MINIO_GW_OPENID_SUBJECTS_PEOPLE": "*",
        "MINIO_GW_OPENID_TYP_PEOPLE": "ID",
    }  # fmt: skip
    server = GatewayProcess(tmp_path_factory.mktemp("gateway"), weed.endpoint, **settings).start()
    yield server
    server.close()


def call(gateway, text, action="AssumeRoleWithWebIdentity", **parameters) -> httpx.Response:
    """Return the answer of STS to a token."""
    form = {"Action": action, "Version": "2011-06-15", "WebIdentityToken": text, **parameters}
    return httpx.post(gateway.endpoint, data=form, timeout=30)


def credentials(answer: httpx.Response) -> dict[str, str]:
    """Return the credentials of an answer."""
    assert answer.status_code == 200, answer.text
    names = {"accessKey": "AccessKeyId", "secretKey": "SecretAccessKey", "sessionToken": "SessionToken"}
    return {name: re.search(f"<{tag}>(.*?)<", answer.text)[1] for name, tag in names.items()}


def service_token(keycloak) -> str:
    return get_token(keycloak.token_url, "s3-lab", CLIENT_SECRET)["access_token"]


@pytest.mark.parametrize("action", ["AssumeRoleWithClientGrants", "AssumeRoleWithWebIdentity"])
def test_a_service(keycloak, gateway, action):
    """A service account's access token names its policy by the realm's mapper, and its session writes."""
    s3 = s3_client(gateway.endpoint, credentials(call(gateway, service_token(keycloak), action)))
    bucket = f"kc-{action.lower()[-10:]}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_person(keycloak, gateway):
    """The authorization code flow's ID token takes the role and reads; the access token and the refresh token of it do not."""
    service = s3_client(gateway.endpoint, credentials(call(gateway, service_token(keycloak))))
    service.create_bucket(Bucket="kc-person")
    service.put_object(Bucket="kc-person", Key="k", Body=b"x")
    tokens = sign_in(keycloak.config_url, "s3-web", "web-secret", user="ann", password="a-password")
    said = {"RoleArn": ROLE, "RoleSessionName": "ann"}
    s3 = s3_client(gateway.endpoint, credentials(call(gateway, tokens["id_token"], **said)))
    assert s3.get_object(Bucket="kc-person", Key="k")["Body"].read() == b"x"
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.put_object(Bucket="kc-person", Key="k", Body=b"y")
    assert "InvalidParameterValue" in call(gateway, tokens["id_token"], ProviderId="people").text
    for other in ("access_token", "refresh_token"):
        assert "InvalidIdentityToken" in call(gateway, tokens[other], **said).text, other


def test_its_keys_change_while_the_gateway_serves(keycloak, gateway):
    """A new key is found, the old one goes on while it is published and ends when the realm withdraws it."""
    old = service_token(keycloak)
    assert call(gateway, old).status_code == 200
    keycloak.new_key()
    new = service_token(keycloak)
    kids = [jwt.get_unverified_header(text)["kid"] for text in (old, new)]
    assert kids[0] != kids[1]
    until(lambda: call(gateway, new).status_code == 200, "the new key is found", 60)
    assert call(gateway, old).status_code == 200
    keycloak.withdraw_old_keys()

    def refused() -> bool:
        call(gateway, forged_token(kid="nobody's", iss=keycloak.realm))  # makes the gateway look again
        return "InvalidIdentityToken" in call(gateway, old).text

    until(refused, "the withdrawn key is gone", 60)
    assert call(gateway, new).status_code == 200
