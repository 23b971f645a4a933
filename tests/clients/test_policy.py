"""The policy check, end to end: IAM policies, session policies, and a real OPA."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.conftest import credentials_for, s3_client
from tests.servers.opa import start_opa
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess, http_status, until
from tests.traps.raw import allowing, ask, narrowed

REGO = """package gw
default allow := false
allow if input.owner
allow if {
    input.claims.azp == "app"
    startswith(input.bucket, "team-")
    not input.action == "s3:DeleteBucket"
}
allow if {
    input.claims.azp == "reader"
    input.action == "s3:GetObject"
    startswith(input.bucket, "team-")
}
allow if {
    input.claims.azp == "reader"
    input.action == "s3:ListBucket"
    startswith(input.conditions.prefix[0], "shown/")
}
leak if "Authorization" in object.keys(input.conditions)
"""


def error(call, *args, **kwargs) -> str:
    """Return the code of the error a call ends in, "" when it ends in none."""
    try:
        call(*args, **kwargs)
    except ClientError as found:
        return found.response["Error"]["Code"]
    return ""


@pytest.fixture(scope="module")
def opa(tmp_path_factory):
    """A real OPA with a policy."""
    server = start_opa({"gw.rego": REGO}, tmp_path_factory.mktemp("opa"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def with_opa(servers, weed, issuer, opa):
    """A gateway that asks OPA."""
    server = GatewayProcess(
        servers / "with-opa",
        weed.endpoint,
        MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_IAM_OPA_URL=f"{opa.url}/v1/data/gw",
    ).start()
    yield server
    server.close()


def test_readonly_may_read_and_nothing_else(gateway, issuer, s3):
    """The canned policy readonly, named by the token's claim, reads objects and is refused all else."""
    name = f"r-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    reader = s3_client(gateway.endpoint, credentials_for(gateway, issuer, "reader"))
    assert reader.get_object(Bucket=name, Key="k")["Body"].read() == b"x"
    assert error(reader.put_object, Bucket=name, Key="k", Body=b"y") == "AccessDenied"
    assert error(reader.list_objects_v2, Bucket=name) == "AccessDenied"
    assert error(reader.delete_object, Bucket=name, Key="k") == "AccessDenied"
    assert name in [b["Name"] for b in reader.list_buckets()["Buckets"]], "GetBucketLocation shows the bucket"
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


def test_list_buckets_shows_what_the_caller_may_list(gateway, s3):
    """A session that may list one bucket is shown that one."""
    import boto3

    names = [f"l{i}-{uuid.uuid4().hex[:10]}" for i in range(3)]
    for name in names:
        s3.create_bucket(Bucket=name)
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{names[1]}"}],
    }
    sts = boto3.client(
        "sts",
        endpoint_url=gateway.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ROOT_USER,
        aws_secret_access_key=ROOT_PASSWORD,
    )
    found = sts.assume_role(
        RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="s1", Policy=json.dumps(policy)
    )["Credentials"]
    narrow = s3_client(
        gateway.endpoint,
        {
            "accessKey": found["AccessKeyId"],
            "secretKey": found["SecretAccessKey"],
            "sessionToken": found["SessionToken"],
        },
    )
    assert [b["Name"] for b in narrow.list_buckets()["Buckets"]] == [names[1]]
    assert error(narrow.list_objects_v2, Bucket=names[0]) == "AccessDenied"
    for name in names:
        s3.delete_bucket(Bucket=name)


def test_anonymous_is_refused(gateway):
    """A request without a signature is AccessDenied, with a request id and no body for HEAD."""
    answer = httpx.get(f"{gateway.endpoint}/any/key")
    assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True)
    assert answer.headers["x-amz-request-id"] in answer.text
    head = httpx.head(f"{gateway.endpoint}/any/key")
    assert (head.status_code, head.content) == (403, b"")


def test_a_token_without_policy_gets_no_session(gateway, issuer):
    """Without OPA a token that names no policy is told which claim is missing."""
    from client_grants import get_token

    token = get_token(issuer.urls["token"], "nobody", "nobody-secret")["access_token"]
    answer = httpx.post(gateway.endpoint, params={"Action": "AssumeRoleWithClientGrants", "Token": token})
    assert answer.status_code == 400
    assert "<Code>InvalidParameterValue</Code>" in answer.text
    assert "policy" in answer.text


def test_opa_decides(with_opa, issuer):
    """OPA allows what its policy allows and nothing else; a batch delete asks it for every key."""
    s3 = s3_client(with_opa.endpoint, credentials_for(with_opa, issuer, "app"))
    name = f"team-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=name)
    for i in range(40):
        s3.put_object(Bucket=name, Key=f"k{i}", Body=b"x")
    assert error(s3.create_bucket, Bucket=f"other-{uuid.uuid4().hex[:10]}") == "AccessDenied"
    assert error(s3.delete_bucket, Bucket=name) == "AccessDenied"
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": f"k{i}"} for i in range(40)]})
    assert len(answer["Deleted"]) == 40
    assert name in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    root = s3_client(with_opa.endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD})
    root.delete_bucket(Bucket=name)
    other = s3_client(with_opa.endpoint, credentials_for(with_opa, issuer, "reader"))
    assert error(other.list_objects_v2, Bucket="team-any") == "AccessDenied"


def test_opa_decides_who_is_told_that_nothing_is_there(with_opa, issuer):
    """It is asked about a listing of the key, behind the store's 404, by a story told whole and by one told again."""
    s3, other = (s3_client(with_opa.endpoint, credentials_for(with_opa, issuer, who)) for who in ("app", "reader"))
    name = f"team-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=name)
    for _ in range(4):
        assert error(s3.get_object, Bucket=name, Key="absent") == "NoSuchKey"
        assert error(other.get_object, Bucket=name, Key="absent") == "AccessDenied"
        assert error(other.get_object, Bucket=name, Key="shown/absent") == "NoSuchKey"
        assert error(other.head_object, Bucket=name, Key="absent") == "403"
        assert error(other.head_object, Bucket=name, Key="shown/absent") == "404"
    s3_client(with_opa.endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD}).delete_bucket(Bucket=name)


def test_anonymous_requests_beside_opa(servers, weed, opa, direct):
    """With OPA the named policies judge anonymous requests, as bucket policies did in MinIO; without them nobody gets in, whatever OPA says."""
    name = f"team-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    direct.put_object(Bucket=name, Key="k", Body=b"x")
    where = {"MINIO_IAM_OPA_URL": f"{opa.url}/v1/data/gw"}
    closed = GatewayProcess(servers / "opa-closed", weed.endpoint, **where).start()
    public = GatewayProcess(
        servers / "opa-public", weed.endpoint, MINIO_GW_ANONYMOUS_POLICY="readonly", **where
    ).start()
    try:
        assert httpx.get(f"{public.endpoint}/{name}/k").content == b"x"
        assert httpx.put(f"{public.endpoint}/{name}/k", content=b"y").status_code == 403
        assert httpx.get(f"{public.endpoint}/{name}").status_code == 403
        assert httpx.get(f"{closed.endpoint}/{name}/k").status_code == 403
        root = s3_client(public.endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD})
        root.delete_object(Bucket=name, Key="k")  # asked of OPA, as before
    finally:
        closed.close()
        public.close()
    direct.delete_bucket(Bucket=name)


def test_trap_31_opa_away_is_not_ready_and_denies(servers, weed, issuer, tmp_path):
    """With OPA away at start the gateway serves, says it is not ready, and denies; it heals when OPA comes."""
    from tests.servers.processes import free_port

    port = free_port()
    server = GatewayProcess(
        servers / "opa-away",
        weed.endpoint,
        MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_IAM_OPA_URL=f"http://127.0.0.1:{port}/v1/data/gw",
    ).start(ready=False)
    try:
        assert http_status(server.endpoint + "/minio/health/ready") == 503
        root = s3_client(server.endpoint, {"accessKey": ROOT_USER, "secretKey": ROOT_PASSWORD})
        assert error(root.list_buckets) == "AccessDenied"
        until(lambda: "policy service" in server.process.text, "the refusal is in the log")
        opa = start_opa({"gw.rego": REGO}, tmp_path, port=port)
        try:
            until(lambda: http_status(server.endpoint + "/minio/health/ready") == 200, "the gateway is ready")
            assert error(root.list_buckets) == ""
        finally:
            opa.close()
    finally:
        server.close()


def test_bad_configuration_is_reported_all_at_once():
    """Every problem is named with its variable and a remedy, and the exit status is 2."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MINIO_"))} | {
        "MINIO_ROOT_USER": "only-half",
        "MINIO_ETCD_ENDPOINTS": "http://127.0.0.1:1",
        "MINIO_ETCD_CLIENT_CERT": "/nowhere.pem",
        "MINIO_GW_WORKRES": "2",
        "MINIO_GW_POLICY_DIR": "/nowhere",
        "MINIO_IAM_OPA_URL": "localhost",
    }
    words = ["gateway", "s3", "--address", "127.0.0.1:19999", "http://127.0.0.1:19999"]
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", *words], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    for name in (
        "MINIO_ROOT_PASSWORD",
        "MINIO_ETCD_ENDPOINTS",
        "MINIO_ETCD_CLIENT_CERT_KEY",
        "MINIO_GW_WORKERS",
        "MINIO_GW_POLICY_DIR",
        "MINIO_IAM_OPA_URL",
        "ENDPOINT",
    ):
        assert name in done.stderr, name
    assert done.stderr.count("Remedy:") >= 7


def test_workers_share_one_port_and_one_store(servers, weed, issuer):
    """With two workers a session issued by either works at both, and SIGTERM ends all of them."""
    server = GatewayProcess(
        servers / "workers", weed.endpoint, "--workers", "2", MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"]
    ).start()
    credentials = credentials_for(server, issuer)
    for _ in range(12):
        assert "Buckets" in s3_client(server.endpoint, credentials).list_buckets()
    assert server.close() == 0
    assert http_status(server.endpoint + "/minio/health/live") == 0


def test_trap_33_a_writer_learns_nothing_of_what_is_there(gateway, issuer, direct):
    """Who may write and delete but not read is told neither yes nor no about an ETag, which is the MD5 of what is read."""
    name = f"drop-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    etag = direct.put_object(Bucket=name, Key="f", Body=b"pin=1234")["ETag"]
    try:
        writer = narrowed(gateway, issuer, allowing("s3:PutObject", "s3:DeleteObject"))
        for tag in (etag, f'"{"0" * 32}"'):
            for method, header in (("PUT", "If-Match"), ("PUT", "If-None-Match"), ("DELETE", "If-Match")):
                assert ask(gateway, method, f"/{name}/f", {header: tag}, who=writer).status == 403
            document = f"<Delete><Object><Key>f</Key><ETag>{tag}</ETag></Object></Delete>".encode()
            assert ask(gateway, "POST", f"/{name}?delete", body=document, who=writer).body.count(b"AccessDenied") == 1
        assert direct.get_object(Bucket=name, Key="f")["Body"].read() == b"pin=1234"
        both = narrowed(gateway, issuer, allowing("s3:PutObject", "s3:GetObject"))
        assert ask(gateway, "PUT", f"/{name}/f", {"If-Match": f'"{"0" * 32}"'}, who=both).status == 412
        assert ask(gateway, "PUT", f"/{name}/f", {"If-Match": etag}, who=both).status == 200
        assert ask(gateway, "PUT", f"/{name}/new", {"If-None-Match": "*"}, who=writer).status == 200
    finally:
        for key in ("f", "new"):
            direct.delete_object(Bucket=name, Key=key)
        direct.delete_bucket(Bucket=name)
