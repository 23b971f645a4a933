"""What is under deploy/, judged by the gateway itself: its settings load, and its policies understand its questions."""

import json
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from gateway.s3.context import RequestContext
from gateway.settings.config import Config, ConfigErrors, load
from iam.model import AccessRequest, Principal, PrincipalType
from iam.opa import OpaAuthorizer, OpaSettings
from tests.servers.opa import start_opa

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = {"MINIO_ROOT_USER": "minio", "MINIO_ROOT_PASSWORD": "a-long-enough-password"}
NOW = int(time.time())


def documents(path):
    """Return the YAML documents of a file by kind."""
    return {d["kind"]: d for d in yaml.safe_load_all((DEPLOY / path).read_text()) if d}


def configured(environ, endpoint=""):
    """Return the gateway's own reading of an environment."""
    return load("gateway", {}, endpoint, environ, lambda path: path.read_text(), lambda path: sorted(path.iterdir()))


def kubernetes_settings():
    """Return the ConfigMap of the base, with the example's in front."""
    base = documents("kubernetes/base/configmap.yaml")["ConfigMap"]["data"]
    return base | documents("kubernetes/overlays/example/settings.yaml")["ConfigMap"]["data"]


def compose():
    """Return the compose file with a value in place of each variable."""
    text = (DEPLOY / "compose/compose.yaml").read_text()
    return yaml.safe_load(re.sub(r"\$\{(\w+)(?::?[-?]([^}]*))?\}", lambda m: f"made-up-{m[1].lower()}", text))


def env_file(path):
    """Return the variables of an environment file."""
    lines = (DEPLOY / path).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_kubernetes_settings_load_and_drain_within_the_pods_grace():
    """The ConfigMap is a configuration without problems, and SIGKILL comes after the drain."""
    config = configured(ROOT | kubernetes_settings(), "https://s3.example.org")
    assert config.backend.credentials == "chain"
    pod = documents("kubernetes/base/deployment.yaml")["Deployment"]["spec"]["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert config.drain + pause < pod["terminationGracePeriodSeconds"]


def test_kubernetes_readiness_probe_waits_as_long_as_the_gateway_asks_others():
    """A store and a policy service that take their whole time make a pod not ready by its own answer, with the reason."""
    config = configured(ROOT | kubernetes_settings())
    pod = documents("kubernetes/base/deployment.yaml")["Deployment"]["spec"]["template"]["spec"]
    assert (
        pod["containers"][0]["readinessProbe"]["timeoutSeconds"] > config.opa.timeout + 3
    )  # gateway.backends.backend's probe


def test_the_examples_root_password_starts_nothing():
    """Who applies the example as it is gets no gateway with a password that everybody knows."""
    (secret,) = [
        s
        for s in documents("kubernetes/overlays/example/kustomization.yaml")["Kustomization"]["secretGenerator"]
        if s["name"] == "minio-gw-root"
    ]
    values = dict(literal.split("=", 1) for literal in secret["literals"])
    with pytest.raises(ConfigErrors, match="MINIO_ROOT_PASSWORD"):
        configured({"MINIO_ROOT_USER": values["user"], "MINIO_ROOT_PASSWORD": values["password"]})


def test_compose_settings_load_and_trust_nginx_only():
    """Both gateways' environment is a configuration without problems; X-Forwarded-For counts from nginx alone."""
    lab = compose()
    for name in ("gateway-1", "gateway-2"):
        service = lab["services"][name]
        config = configured(service["environment"], service["command"][-1])
        assert isinstance(config, Config)
        assert config.trusted_proxies == (lab["services"]["nginx"]["networks"]["front"]["ipv4_address"] + "/32",)
        assert config.drain < int(service["stop_grace_period"].removesuffix("s"))
        hosts = {urlsplit(endpoint).hostname for endpoint in config.etcd.endpoints}
        assert hosts | {"opa", "store", "keycloak"} == service["depends_on"].keys()


def test_keycloak_issues_what_the_lab_asks_for():
    """The audience, the policy claim and the token's life of the realm are those the gateways and STS take."""
    config = configured(compose()["services"]["gateway-1"]["environment"])
    realm = json.loads((DEPLOY / "keycloak/realm-minio.json").read_text())
    (client,) = realm["clients"]
    mappers = {mapper["name"]: mapper["config"] for mapper in client["protocolMappers"]}
    assert mappers["audience"]["included.custom.audience"] == config.openid.client_id
    assert mappers["policy"]["claim.name"] == config.claim_prefix + config.claim_name
    assert 900 <= realm["accessTokenLifespan"] <= 43_200


def test_systemd_settings_load_and_drain_before_the_service_is_killed():
    """The example environment is a configuration without problems once the root password's credential is there."""
    config = configured(env_file("systemd/minio-gw.env.example") | {"MINIO_ROOT_PASSWORD": "a-long-enough-password"})
    stop = re.search(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "systemd/minio-gw.service").read_text(), re.MULTILINE)
    assert config.drain < int(stop[1])


@pytest.fixture(scope="module")
def opa(tmp_path_factory):
    """Run a policy server with the example policies."""
    names = ("httpapi_authz.rego", "team_buckets.rego")
    server = start_opa({n: (DEPLOY / "opa" / n).read_text() for n in names}, tmp_path_factory.mktemp("opa"))
    yield server
    server.close()


def question(action, bucket, claims, source_ip="10.1.2.3", *, now=NOW, headers=(), query=()):
    """Return one question as the gateway makes it of a session with these claims."""
    principal = Principal(PrincipalType.ASSUMED_ROLE, "TEMPORARYKEY", claims={"exp": NOW + 900, **claims})
    context = RequestContext(dict(headers), list(query), principal, source_ip, secure=True, now=now)
    return AccessRequest(principal, action, bucket, "a/b", context)


TEAM = {"sub": "ada", "groups": ["genomics"]}
FORGED = {"headers": {"sourceip": "10.1.2.3"}.items(), "query": [("SourceIp", "10.1.2.3"), ("EpochTime", "1")]}
TEAM_CASES = {
    "own bucket": (question("s3:PutObject", "genomics-raw", TEAM), True),
    "another team's": (question("s3:GetObject", "imaging-a", TEAM), False),
    "a reader's put": (question("s3:PutObject", "genomics-raw", {"groups": ["genomics", "readers"]}), False),
    "a service by azp": (question("s3:GetObject", "scans-1", {"azp": "s3-nightly"}), True),
    "from elsewhere": (question("s3:GetObject", "genomics-raw", TEAM, "192.0.2.1"), False),
    "from elsewhere, forged": (question("s3:GetObject", "genomics-raw", TEAM, "192.0.2.1", **FORGED), False),
    "by IPv6": (question("s3:GetObject", "genomics-raw", TEAM, "fd00::7"), True),
    "session over": (question("s3:GetObject", "genomics-raw", TEAM, now=NOW + 900), False),
    "session over, forged": (question("s3:GetObject", "genomics-raw", TEAM, now=NOW + 900, **FORGED), False),
    "no claims that count": (question("s3:GetObject", "genomics-raw", {"sub": "ada"}), False),
}


@pytest.mark.parametrize("case", TEAM_CASES)
async def test_team_buckets_understands_the_gateways_questions(opa, case):
    """The example policy answers the document that the gateway really sends as its Rego tests say."""
    asked, allowed = TEAM_CASES[case]
    authorizer = OpaAuthorizer(OpaSettings(f"{opa.url}/v1/data/team_buckets", timeout=10.0))
    decision = await authorizer.decide(asked)
    await authorizer.close()
    assert bool(decision) is allowed, decision


@pytest.mark.parametrize(("action", "claims", "allowed"), [
    ("s3:GetObject", {"policy": "readonly"}, True),
    ("s3:PutObject", {"policy": ["readonly"]}, False),
    ("s3:PutObject", {"policy": "readonly,writeonly"}, True),
    ("s3:GetObject", {}, False),
])  # fmt: skip
async def test_httpapi_authz_understands_the_gateways_questions(opa, action, claims, allowed):
    """The sample of old, at its old URL, answers the document that the gateway really sends."""
    authorizer = OpaAuthorizer(OpaSettings(f"{opa.url}/v1/data/httpapi/authz", timeout=10.0))
    decision = await authorizer.decide(question(action, "lab", claims))
    await authorizer.close()
    assert bool(decision) is allowed, decision


async def test_root_passes_the_example_policies(opa):
    """Root is asked about, too, and neither policy locks it out (minio.md's sample of 2018 did)."""
    root = Principal(PrincipalType.ACCOUNT, "minio", owner=True)
    context = RequestContext({}, [], root, "192.0.2.1", secure=False, now=NOW)
    for document in ("httpapi/authz", "team_buckets"):
        authorizer = OpaAuthorizer(OpaSettings(f"{opa.url}/v1/data/{document}", timeout=10.0))
        assert await authorizer.decide(AccessRequest(root, "s3:DeleteBucket", "b", "", context))
        await authorizer.close()
