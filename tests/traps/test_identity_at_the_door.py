"""Traps of identity that show at a real gateway's port: whose credentials count where, what pages may read, what answers unconfigured."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import httpx
import pytest
from botocore.credentials import Credentials

from tests.servers.processes import GatewayProcess
from tests.traps.raw import ask, exchange, presigned, written

ROOT = Path(__file__).parents[2]
EVIL = {"Origin": "https://evil.test"}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, backend, issuer):
    """Another site: the same root pair, the same provider, the same backend, a store of its own."""
    server = GatewayProcess(
        tmp_path_factory.mktemp("elsewhere"), backend.endpoint, MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"]
    ).start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def bare(tmp_path_factory, backend):
    """A gateway with a root pair and nothing else."""
    server = GatewayProcess(tmp_path_factory.mktemp("bare"), backend.endpoint).start()
    yield server
    server.close()


def keys(session) -> Credentials:
    return Credentials(session["accessKey"], session["secretKey"], session["sessionToken"])


def test_trap_52_a_session_is_of_its_own_site(edge, elsewhere, session, recorded):
    """Credentials of one site are nothing at another, though both have the same root pair: by header and presigned."""
    assert ask(edge, "GET", "/bucket/k", who=keys(session)).status == 200
    before = len(recorded())
    answer = ask(elsewhere, "GET", "/bucket/k", who=keys(session))
    assert (answer.status, answer.code) == (403, "InvalidTokenId")
    target = presigned(elsewhere, "GET", "/bucket/k", keys(session))
    (answer,) = exchange(
        elsewhere.port, written("GET", target, {"Host": f"127.0.0.1:{elsewhere.port}", "Connection": "close"})
    )
    assert (answer.status, answer.code) == (403, "InvalidTokenId")
    assert len(recorded()) == before


@pytest.mark.parametrize("path", ["/v3/s3tokens", "/v2.0/s3tokens", "/v3/ec2tokens", "/v3/credentials"])
def test_trap_52_nobody_exchanges_a_signature_for_a_token(edge, path, recorded):
    """There is no call that takes a signed request of somebody's and gives rights for it: Keystone's paths are buckets like any other."""
    body = b'{"credentials":{"access":"rootaccess","signature":"x","token":"x"}}'
    answer = httpx.post(f"{edge.endpoint}{path}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {403, 405}
    assert recorded() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/bucket/k"), ("POST", "/?Action=AssumeRoleWithClientGrants&Version=2011-06-15&Token=x"),
     ("POST", "/"), ("OPTIONS", "/"), ("GET", "/minio/admin/v3/list-users"), ("OPTIONS", "/minio/admin/v3/list-users"),
     ("GET", "/minio-gw/admin/v1/sessions"), ("GET", "/minio/health/live"), ("GET", "/minio/v2/metrics/cluster")],
)  # fmt: skip
def test_trap_55_no_page_of_another_origin_reads_an_answer_of_ours(edge, method, path):
    """No answer that the gateway makes itself, good or bad, names an origin: a browser shows it to no page."""
    asks = {**EVIL, "Access-Control-Request-Method": "PUT", "Cookie": "a=b"}
    answer = httpx.request(method, edge.endpoint + path, headers=asks)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_trap_55_an_sts_answer_is_for_who_asked(edge, issuer, session):
    """Nor does the answer with fresh credentials in it."""
    from client_grants import get_token

    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    form = {"Action": "AssumeRoleWithClientGrants", "Version": "2011-06-15", "Token": token}
    answer = httpx.post(edge.endpoint, data=form, headers=EVIL)
    assert answer.status_code == 200
    assert b"SecretAccessKey" in answer.content
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("action", "parameters"),
    [("AssumeRoleWithClientGrants", {"Token": "x.y.z"}), ("AssumeRoleWithWebIdentity", {"WebIdentityToken": "x.y.z"}),
     ("AssumeRoleWithLDAPIdentity", {"LDAPUsername": "test", "LDAPPassword": "test"}),
     ("AssumeRoleWithCustomToken", {"Token": "test", "RoleArn": "arn:minio:iam:::role/idmp-test"}),
     ("AssumeRoleWithCertificate", {})],
)  # fmt: skip
def test_trap_57_a_way_in_that_nobody_configured_is_closed(bare, action, parameters):
    """Without settings there is no provider, no directory, no plugin and no CA, and none of the program's own."""
    answer = httpx.post(bare.endpoint, data={"Action": action, "Version": "2011-06-15", **parameters})
    assert answer.status_code in {400, 503}
    assert b"<Code>STSNotInitialized</Code>" in answer.content or b"<Code>InsecureConnection</Code>" in answer.content
    assert b"SecretAccessKey" not in answer.content


def test_trap_57_tests_are_no_part_of_the_program():
    """What is installed holds no test server and imports none: neither tests nor examples, nor what only they need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["gateway*", "sts*", "iam*"]
    foreign = {"tests", "examples", "bench", "unittest", "pytest", "hypothesis", "boto3", "minio", "authlib", "joserfc"}
    for path in (p for package in ("gateway", "sts", "iam") for p in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & foreign, path
