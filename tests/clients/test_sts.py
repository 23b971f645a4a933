"""STS as SDKs use it: from the environment alone, refreshed by themselves; every action by its own client."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from client_grants import get_token

from tests.clients.conftest import installed
from tests.clients.matrix import PROGRAMS
from tests.clients.test_tls import over_tls
from tests.conftest import credentials_for, s3_client
from tests.servers.certificates import Authority
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, DevIssuer, GatewayProcess, until
from tests.unit.sts.test_custom_token import Hook

ARN = "arn:aws:iam::123456789012:role/any"
LIFETIME = 12  # seconds of a token, and so of a session: two calls of the slowest client, and no more
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}


@pytest.fixture(scope="module")
def short(tmp_path_factory, weed):
    """A provider whose tokens soon end, and a gateway that trusts it."""
    folder = tmp_path_factory.mktemp("short")
    issuer = DevIssuer(folder / "issuer", "app:app-secret:readwrite", lifetime=LIFETIME)
    server = GatewayProcess(
        folder / "gateway", weed.endpoint, MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"], MINIO_GW_SESSION_TOKENS="sealed",
    ).start()  # fmt: skip
    yield server, issuer
    server.close()
    issuer.close()


def _python(_: pytest.FixtureRequest) -> list[str]:
    return [sys.executable, str(PROGRAMS / "web_identity.py")]


def _cli(_: pytest.FixtureRequest) -> list[str]:
    return [
        str(installed(".venv-awscli/bin/python", "`make conformance` makes it")),
        str(PROGRAMS / "web_identity_cli.py"),
    ]


def _node(_: pytest.FixtureRequest) -> list[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    return [node, str(PROGRAMS / "web_identity.mjs")]


@pytest.mark.parametrize("client", [_python, _cli, _node], ids=["boto3", "aws cli", "JavaScript"])
def test_the_environment_is_enough(client, short, tmp_path, request):
    """With the token file, the role and the endpoint in the environment a client works, and goes on past its session's end."""
    server, issuer = short
    command = client(request)
    token = tmp_path / "token"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MINIO_"))} | {
        "AWS_ENDPOINT_URL_STS": server.endpoint, "AWS_ROLE_ARN": ARN, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ENDPOINT_URL_S3": server.endpoint, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    if client is _node:
        environ["MATRIX_MODULES"] = str(
            installed(".tools/npm-clients/node_modules", "deploy/tools/install-npm-clients.sh").parent
        )
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True) as program:
        keys, ends = [], 0.0
        for _ in range(2):
            until(lambda ends=ends: time.time() > ends, "the session has ended", LIFETIME + 5)
            token.write_text(get_token(issuer.urls["token"], "app", "app-secret")["access_token"])
            ends = time.time() + LIFETIME
            program.stdin.write("go\n")
            program.stdin.flush()
            keys.append(program.stdout.readline().strip())
        program.stdin.close()
    assert all(len(key) == 20 for key in keys), keys
    assert keys[0] != keys[1]


def test_a_presigned_url_tells_nothing_of_its_signer(short, gateway, issuer):
    """Sealed, the token in a presigned URL has neither subject nor policy in any part of it, and the URL works; readable, it has."""
    subject = b"service-account-app"
    for server, provider, told in ((*short, False), (gateway, issuer, True)):
        url = s3_client(server.endpoint, credentials_for(server, provider)).generate_presigned_url("list_buckets")
        token = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["X-Amz-Security-Token"][0]
        parts = [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]
        assert any(subject in part for part in (url.encode(), *parts)) is told
        assert any(b"readwrite" in part for part in (url.encode(), *parts)) is told
        with urllib.request.urlopen(url) as answer:
            assert b"<Buckets" in answer.read()


@pytest.fixture(scope="module")
def secure(tmp_path_factory, weed):
    """A gateway that asks for client certificates; its `ca` signs them, its policies know `backup`."""
    folder = tmp_path_factory.mktemp("mutual")
    (folder / "policies").mkdir()
    (folder / "policies" / "backup.json").write_text(json.dumps(POLICY))
    ca = Authority()
    (folder / "clients.pem").write_bytes(ca.pem)
    server = over_tls(
        folder, weed.endpoint, MINIO_IDENTITY_TLS_ENABLE="on", MINIO_GW_CLIENT_CA=str(folder / "clients.pem"),
        MINIO_GW_POLICY_DIR=str(folder / "policies"),
    )  # fmt: skip
    server.ca, server.folder = ca, folder
    yield server
    server.close()


def test_minio_py_by_its_certificate(secure):
    """minio-py's own provider gets credentials by a client certificate, and uses them; one called like a canned policy gets none."""
    import urllib3
    from minio import Minio
    from minio.credentials import CertificateIdentityProvider

    def client(name: str) -> Minio:
        pair = secure.ca.pair(secure.folder / f"{name}.pem", (name,))
        pool = urllib3.PoolManager(ca_certs=secure.trust, cert_file=str(pair), key_file=str(pair), retries=False)
        provider = CertificateIdentityProvider(sts_endpoint=secure.endpoint, http_client=pool)
        return Minio(secure.endpoint.removeprefix("https://"), credentials=provider, http_client=pool)

    assert isinstance(client("backup").list_buckets(), list)
    with pytest.raises(ValueError, match="400"):
        client("consoleAdmin").list_buckets()


def sts(endpoint: str, keys: dict[str, str] | None = None):
    """Return boto3's client of STS; without keys it does not sign."""
    config = Config(retries={"max_attempts": 0}, **({} if keys else {"signature_version": UNSIGNED}))
    keys = keys or {}
    return boto3.client(
        "sts", endpoint_url=endpoint, region_name="us-east-1", config=config, aws_access_key_id=keys.get("accessKey"),
        aws_secret_access_key=keys.get("secretKey"), aws_session_token=keys.get("sessionToken"),
    )  # fmt: skip


ROOT = {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD}


def keys_of(answer) -> dict[str, str]:
    """Return the credentials in boto3's answer."""
    found = answer["Credentials"]
    return {
        "accessKey": found["AccessKeyId"],
        "secretKey": found["SecretAccessKey"],
        "sessionToken": found["SessionToken"],
    }


def test_who_one_is(gateway, app_credentials):
    """boto3's GetCallerIdentity tells root, a session of root's and a federated one apart."""
    assert sts(gateway.endpoint, ROOT).get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"
    taken = keys_of(sts(gateway.endpoint, ROOT).assume_role(RoleArn=ARN, RoleSessionName="work"))
    found = sts(gateway.endpoint, taken).get_caller_identity()
    assert found["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{ROOT_USER}/work"
    assert found["UserId"] == f"{taken['accessKey']}:work"
    assert "/openid:" in sts(gateway.endpoint, app_credentials).get_caller_identity()["Arn"]


def test_a_session_token_of_permanent_keys(gateway, app_credentials):
    """GetSessionToken gives root's keys a session that works; a session gets none."""
    taken = keys_of(sts(gateway.endpoint, ROOT).get_session_token(DurationSeconds=900))
    assert "Buckets" in s3_client(gateway.endpoint, taken).list_buckets()
    for keys in (taken, app_credentials):
        with pytest.raises(ClientError) as refused:
            sts(gateway.endpoint, keys).get_session_token()
        assert refused.value.response["Error"]["Code"] == "AccessDenied"


def test_boto3_narrows_and_tags(gateway):
    """Policy, PolicyArns, Tags and TransitiveTagKeys of boto3's AssumeRole are taken; the session may what they allow only."""
    answer = sts(gateway.endpoint, ROOT).assume_role(
        RoleArn=ARN, RoleSessionName="work", Policy=json.dumps(POLICY), Tags=[{"Key": "team", "Value": "red"}],
        PolicyArns=[{"arn": "arn:aws:iam::aws:policy/readonly"}], TransitiveTagKeys=["team"], ExternalId="ignored",
    )  # fmt: skip
    assert answer["PackedPolicySize"] > 0
    s3 = s3_client(gateway.endpoint, keys_of(answer))
    assert "Buckets" in s3.list_buckets()
    with pytest.raises(ClientError) as refused:
        s3.create_bucket(Bucket="not-to-be-made")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"


@pytest.mark.parametrize(
    ("name", "parameters", "error"),
    [
        ("assume_role", {"SerialNumber": "arn:aws:iam::1:mfa/me", "TokenCode": "123456"}, "InvalidParameterValue"),
        ("assume_role", {"Policy": "{}"}, "MalformedPolicyDocumentException"),
        ("assume_role", {"SourceIdentity": "me"}, "InvalidParameterValue"),
        ("assume_role", {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/none"}]}, "InvalidParameterValue"),
    ],
)
def test_boto3_knows_the_errors(gateway, name, parameters, error):
    """Codes that boto3 has classes for come as these, and the others by their code."""
    client = sts(gateway.endpoint, ROOT)
    with pytest.raises(ClientError) as refused:
        getattr(client, name)(RoleArn=ARN, RoleSessionName="work", **parameters)
    assert error in {type(refused.value).__name__, refused.value.response["Error"]["Code"]}


def test_boto3_knows_a_bad_token(gateway):
    """A web identity token that proves nobody is refused, and the message repeats nothing of it."""
    with pytest.raises(ClientError) as refused:
        sts(gateway.endpoint).assume_role_with_web_identity(
            RoleArn=ARN, RoleSessionName="work", WebIdentityToken="not.a.token"
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "not.a.token" not in str(refused.value)


@pytest.fixture(scope="module")
def hooked(tmp_path_factory, weed):
    """A gateway that asks a webhook, and the webhook."""
    hook, folder = Hook(), tmp_path_factory.mktemp("hooked")
    server = GatewayProcess(
        folder, weed.endpoint, MINIO_IDENTITY_PLUGIN_URL=hook.url, MINIO_IDENTITY_PLUGIN_AUTH_TOKEN="word of the hook",
        MINIO_IDENTITY_PLUGIN_ROLE_POLICY="readwrite", MINIO_IDENTITY_PLUGIN_ROLE_ID="hook",
    ).start()  # fmt: skip
    yield server, hook
    server.close()
    hook.close()


def custom(endpoint: str, token: str, form: bool = False) -> bytes:
    """Call AssumeRoleWithCustomToken as minio-go does, in the query, or in a form."""
    parameters = urllib.parse.urlencode({
        "Action": "AssumeRoleWithCustomToken", "Version": "2011-06-15", "Token": token, "RoleArn": "arn:minio:iam:::role/idmp-hook",
    })  # fmt: skip
    target, body = (f"{endpoint}/", parameters.encode()) if form else (f"{endpoint}/?{parameters}", b"")
    with urllib.request.urlopen(urllib.request.Request(target, body, method="POST")) as answer:
        return answer.read()


@pytest.mark.parametrize("form", [False, True], ids=["query", "form"])
def test_a_custom_token(hooked, form):
    """An opaque token that the webhook vouches for becomes credentials that work; the webhook was asked with its own token."""
    server, hook = hooked
    found = dict(re.findall(rb"<(\w+)>([^<]+)</", custom(server.endpoint, "opaque", form)))
    assert found[b"AssumedUser"] == b"ann"
    names = {"accessKey": b"AccessKeyId", "secretKey": b"SecretAccessKey", "sessionToken": b"SessionToken"}
    assert (
        "Buckets"
        in s3_client(server.endpoint, {key: found[name].decode() for key, name in names.items()}).list_buckets()
    )
    assert hook.asked[-1][2]["Authorization"] == "word of the hook"


def test_trap_54_a_custom_token_is_not_printed(hooked):
    """Whatever the webhook does, neither the answer nor the gateway's log holds the token that was presented or the webhook's own."""
    server, hook = hooked
    for status in (200, 403, 500):
        hook.status = status
        answers = []
        try:
            answers.append(custom(server.endpoint, "hunter2-presented"))
        except urllib.error.HTTPError as error:
            answers.append(error.read())
        assert b"hunter2" not in answers[0]
    hook.status = 200
    until(lambda: server.process.text.count(" AssumeRoleWithCustomToken ") >= 3, "all three are in the log")
    assert "hunter2" not in server.process.text
    assert "word of the hook" not in server.process.text
