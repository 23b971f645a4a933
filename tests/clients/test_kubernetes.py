"""A pod's service-account token and AWS's environment variables: what docs/identity.md tells people to do, done by boto3."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError

from sts.settings import OpenIdSettings
from tests.servers.processes import GatewayProcess
from tests.unit.sts.provider import KEYS, Provider, jwks
from tests.unit.sts.test_openid import KUBERNETES, discovery, service_account

ROLE = OpenIdSettings(client_id="minio-gw", role_policies=("readwrite",)).role_arn("")


@pytest.fixture
def gateway(tmp_path, weed):
    """A gateway that believes a cluster, whose discovery document and keys a real HTTP server has."""
    cluster = Provider()
    cluster.body = jwks(KEYS[0])
    discovery(cluster, KUBERNETES)
    settings = {
        "MINIO_IDENTITY_OPENID_CONFIG_URL_K8S": f"{cluster.base}/config", "MINIO_IDENTITY_OPENID_CLIENT_ID_K8S": "minio-gw",
        "MINIO_IDENTITY_OPENID_ROLE_POLICY_K8S": "readwrite",
        "MINIO_GW_OPENID_SUBJECTS_K8S": "system:serviceaccount:batch:*",
    }  # fmt: skip
    server = GatewayProcess(tmp_path / "gateway", weed.endpoint, **settings).start()
    yield server
    server.close()
    cluster.close()


@pytest.fixture
def pod(gateway, tmp_path, monkeypatch):
    """Return a way to be a pod with a token: AWS's variables, and nothing else, make its S3 client."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    variables = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": ROLE, "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL_STS": gateway.endpoint, "AWS_ENDPOINT_URL_S3": gateway.endpoint,
        "AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def client(token: str):
        (tmp_path / "token").write_text(token)
        return boto3.session.Session().client("s3")

    return client


def test_a_pod_works_with_its_own_token(gateway, pod):
    """A pod of the trusted namespace writes and reads; the start has printed the role's ARN that it names."""
    s3 = pod(service_account())
    s3.create_bucket(Bucket="of-a-pod")
    s3.put_object(Bucket="of-a-pod", Key="k", Body=b"x")
    assert s3.get_object(Bucket="of-a-pod", Key="k")["Body"].read() == b"x"
    assert f"Role openid:k8s: {ROLE}" in gateway.process.text


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"namespace": "default"}, "IDPRejectedClaim"),
        ({"aud": [KUBERNETES]}, "InvalidIdentityToken"),
        ({"exp": 1}, "ExpiredTokenException"),
    ],
)
def test_other_tokens_of_the_cluster_give_nothing(pod, claims, code):
    """Another namespace, a token for the API server, and one that is over are told why by STS itself."""
    with pytest.raises(ClientError) as refused:
        pod(service_account(**claims)).list_buckets()
    assert refused.value.response["Error"]["Code"] == code
