"""Two real gateways over three real etcd members: one IAM view, whatever happens to etcd."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from client_grants import assume_role_with_client_grants, get_token

from tests.conftest import s3_client
from tests.servers.cluster import EtcdCluster
from tests.servers.delay import DelayingProxy
from tests.servers.processes import GatewayProcess, http_status, until

GRANTS = 10_000


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """Three real members."""
    cluster = EtcdCluster(tmp_path_factory.mktemp("etcd"), 3).start()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def slow_path(etcd):
    """A proxy that delays everything one gateway reads from etcd."""
    proxy = DelayingProxy(etcd.members[0].client_port, delay=0.5)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory, etcd, weed, issuer):
    """Gateways A and B over all three members."""
    folder = tmp_path_factory.mktemp("pair")
    settings = {
        "MINIO_ETCD_ENDPOINTS": ",".join(etcd.endpoints),
        "MINIO_IDENTITY_OPENID_CONFIG_URL": issuer.urls["config"],
    }
    gateways = [GatewayProcess(folder / name, weed.endpoint, "--quiet", **settings).start() for name in "ab"]
    yield gateways
    for gateway in gateways:
        gateway.close()


def grant(gateway, issuer):
    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    return assume_role_with_client_grants(gateway.endpoint, token, 3600)


def sts_status(gateway, issuer) -> int:
    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    answer = httpx.post(gateway.endpoint, params={"Action": "AssumeRoleWithClientGrants", "Token": token}, timeout=20)
    return answer.status_code


def refused(gateway, credentials) -> str:
    """Return the error code of a listing, "" when it is allowed."""
    from botocore.exceptions import ClientError

    try:
        s3_client(gateway.endpoint, credentials).list_buckets()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def admin(gateway, *words: str) -> str:
    """Run the admin command with the gateway's settings."""
    import os
    import subprocess
    import sys

    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MINIO_"))} | gateway.process.env
    env["MINIO_GW_ADMIN_URL"] = gateway.endpoint
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "admin", *words], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _issue_and_use(a, b, token: str, count: int, endpoint_b: str) -> list[str]:
    """Issue at A and use at B on the very next request, `count` times; return the error codes seen."""
    import re

    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    seen: list[str] = []

    async def one(client: httpx.AsyncClient) -> None:
        issued = await client.post(a.endpoint, params={"Action": "AssumeRoleWithClientGrants", "Token": token})
        if issued.status_code != 200:
            seen.append(f"STS {issued.status_code}")
            return
        key, secret, session = (
            re.search(f"<{n}>([^<]*)</{n}>", issued.text)[1] for n in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
        request = AWSRequest("GET", f"{endpoint_b}/")
        S3SigV4Auth(Credentials(key, secret, session), "s3", "us-east-1").add_auth(request)
        answer = await client.get(f"{endpoint_b}/", headers=dict(request.headers.items()))
        if answer.status_code != 200:
            seen.append(re.search("<Code>(.*?)</Code>", answer.text)[1])

    async def worker(client: httpx.AsyncClient, share: int) -> None:
        for _ in range(share):
            await one(client)

    async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(worker(client, count // 16))
    return seen


async def test_issued_at_a_used_at_b(pair, issuer):
    """A credential issued at A works at B on the very next request."""
    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    assert await _issue_and_use(*pair, token, 320, pair[1].endpoint) == []


@pytest.mark.slow
async def test_ten_thousand_issued_at_a_used_at_b_with_etcd_slowed(tmp_path, pair, slow_path, weed, issuer):
    """10,000 credentials issued at A work at B on the very next request, with B's view of etcd half a second late."""
    settings = {"MINIO_ETCD_ENDPOINTS": slow_path.endpoint, "MINIO_IDENTITY_OPENID_CONFIG_URL": issuer.urls["config"]}
    late = GatewayProcess(tmp_path / "late", weed.endpoint, "--quiet", **settings).start()
    try:
        token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
        assert await _issue_and_use(pair[0], late, token, GRANTS, late.endpoint) == []
    finally:
        late.close()


def test_trap_51_revoked_at_one_refused_at_the_other_within_a_second(pair, issuer):
    """A revoked session is refused by every gateway within one second."""
    credentials = grant(pair[0], issuer)
    assert [refused(g, credentials) for g in pair] == ["", ""]
    assert credentials["accessKey"] in admin(pair[0], "sessions", "list")
    admin(pair[0], "sessions", "revoke", credentials["accessKey"])
    began = time.monotonic()
    until(lambda: all(refused(g, credentials) == "InvalidAccessKeyId" for g in pair), "the session is refused", 5)
    assert time.monotonic() - began < 1.0


def test_leader_killed(pair, etcd, issuer):
    """S3 with an issued session never fails while the leader dies; STS goes on after the election."""
    credentials = grant(pair[0], issuer)
    leader = etcd.leader()
    leader.kill()
    began = time.monotonic()
    while time.monotonic() - began < 2:
        assert [refused(g, credentials) for g in pair] == ["", ""]
    until(lambda: [sts_status(g, issuer) for g in pair] == [200, 200], "STS works after the election", 20)
    leader.start()


def test_all_of_etcd_stopped_and_back(pair, etcd, issuer):
    """With etcd away issued sessions work, STS says 503 clearly, readiness stays; all heals without a restart."""
    credentials = grant(pair[0], issuer)
    revoked = grant(pair[0], issuer)
    admin(pair[0], "sessions", "revoke", revoked["accessKey"])
    until(lambda: all(refused(g, revoked) for g in pair), "the revocation is seen", 5)
    for member in etcd.members:
        member.kill()
    assert [refused(g, credentials) for g in pair] == ["", ""]
    assert all(refused(g, revoked) for g in pair), "a revocation that was seen must not be forgotten"
    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    answer = httpx.post(pair[0].endpoint, params={"Action": "AssumeRoleWithClientGrants", "Token": token}, timeout=20)
    assert answer.status_code == 503
    assert "<Code>ServiceUnavailable</Code>" in answer.text
    for member in etcd.members:
        member.start()
    etcd.wait()
    until(lambda: [sts_status(g, issuer) for g in pair] == [200, 200], "STS is back", 30)
    fresh = grant(pair[1], issuer)
    admin(pair[0], "sessions", "revoke", fresh["accessKey"])
    until(lambda: all(refused(g, fresh) for g in pair), "revocations are seen again", 5)
    assert http_status(pair[0].endpoint + "/minio/health/ready") == 200
