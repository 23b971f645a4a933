"""Traps 38 to 42 and 49 at a real gateway process: tokens that prove nothing, providers that answer as none should."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sts.settings import OpenIdSettings
from tests.servers.hostile import HUGE, Hostile
from tests.servers.processes import GatewayProcess
from tests.unit.sts.provider import KEYS, RSA_KEY, Provider, hmac_signed, jwks, public_pem, token, wso2_claims
from tests.unit.sts.test_openid import discovery

ISSUER = "https://idp.test"
ACTIONS = ("AssumeRoleWithClientGrants", "AssumeRoleWithWebIdentity")
ROLE = OpenIdSettings(client_id="robots", role_policies=("readonly",)).role_arn("")
STRANGER = rsa.generate_private_key(65537, 2048)
INVALID = (400, "InvalidIdentityToken")


@pytest.fixture(scope="module")
def provider():
    """The provider that is configured."""
    server = Provider()
    server.body = jwks(KEYS[0])
    discovery(server, ISSUER)
    yield server
    server.close()


@pytest.fixture(scope="module")
def hostile(provider):
    """Three addresses that are configured, too, and answer as no provider should."""
    server = Hostile(provider.base)
    yield server
    server.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, backend, provider, hostile):
    """A gateway with a claim-based provider, a role of the same one, and the hostile ones."""
    config, client, issuer = (
        "MINIO_IDENTITY_OPENID_CONFIG_URL",
        "MINIO_IDENTITY_OPENID_CLIENT_ID",
        "MINIO_GW_OPENID_ISSUER",
    )
    settings = {
        config: f"{provider.base}/config", client: "cid", "MINIO_GW_OPENID_AUDIENCES": "",
        f"{config}_ROBOTS": f"{provider.base}/config", f"{client}_ROBOTS": "robots",
        "MINIO_IDENTITY_OPENID_ROLE_POLICY_ROBOTS": "readonly", "MINIO_GW_OPENID_SUBJECTS_ROBOTS": "robot-*",
        "MINIO_PROMETHEUS_AUTH_TYPE": "public",
    }  # fmt: skip
    for name, path in [("MOVED", "redirect/config"), ("HUGE", "huge"), ("DRIP", "drip")]:
        settings |= {
            f"{config}_{name}": f"{hostile.base}/{path}",
            f"{client}_{name}": "cid",
            f"{issuer}_{name}": f"https://{name}.test",
        }
    server = GatewayProcess(tmp_path_factory.mktemp("openid"), backend.endpoint, **settings).start()
    yield server
    server.close()


def good(**more):
    return token(**{"iss": ISSUER, "sub": "ann", "policy": "readwrite"} | more)


def lacking(*names, **more):
    claims = wso2_claims(**{"iss": ISSUER, "sub": "ann", "policy": "readwrite"} | more)
    return jwt.encode({n: v for n, v in claims.items() if n not in names}, RSA_KEY, "RS256", headers={"kid": "rsa"})


def call(gateway, text, action=ACTIONS[1], **parameters):
    """Return the status of a call and its error's code, "" for none."""
    form = {"Action": action, "Version": "2011-06-15", "WebIdentityToken": text, **parameters}
    answer = httpx.post(gateway.endpoint, data=form, timeout=30)
    code = re.search("<Code>(.*?)</Code>", answer.text)
    return answer.status_code, code[1] if code else ""


def test_trap_38_forged_algorithms_and_keys(gateway, provider):
    """The public key as a secret, none, keys and addresses brought along: refused, and nobody is asked for them."""
    forged = [
        hmac_signed(public_pem(RSA_KEY), {"alg": "HS256", "kid": "rsa", "typ": "JWT"}),
        hmac_signed(b"", {"alg": "none", "kid": "rsa"}),
        jwt.encode(wso2_claims(iss=ISSUER, sub="ann"), None, "none", headers={"kid": "rsa"}),
        good(header={"jku": f"{provider.base}/evil"}), good(header={"x5u": f"{provider.base}/evil"}), good(header={"jwk": KEYS[0]}),
        good(kid=f"{provider.base}/evil"), good(kid="../../../../etc/passwd"), good()[:-4],
    ]  # fmt: skip
    assert {call(gateway, text) for text in forged} == {INVALID}
    assert call(gateway, good()) == (200, "")
    assert set(provider.asked) == {"/config", "/jwks"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda: lacking("exp"), id="no exp"),
        pytest.param(lambda: lacking("iss"), id="no iss"),
        pytest.param(lambda: lacking("aud", "azp"), id="no aud"),
        pytest.param(lambda: lacking("sub"), id="no sub"),
        pytest.param(lambda: good(aud="other", azp="other"), id="for another"),
        pytest.param(lambda: good(nbf=int(time.time()) + 60), id="not yet"),
        pytest.param(lambda: good(iat=int(time.time()) + 60), id="of the future"),
        pytest.param(lambda: good(exp=True), id="exp is no time"),
        pytest.param(lambda: good(header={"typ": "logout+jwt"}), id="typ"),
        pytest.param(lambda: good(typ="Refresh"), id="refresh"),
        pytest.param(lambda: good(events={}), id="security event"),
    ],
)
def test_trap_39_incomplete_tokens(gateway, text):
    """A genuine signature does not make up for what a token lacks, or is for."""
    assert call(gateway, text()) == INVALID


def test_trap_39_a_start_without_an_audience_is_refused(tmp_path, backend, provider):
    """A provider whose tokens for anybody would be taken does not start, and the operator is told what to set."""
    settings = {"MINIO_IDENTITY_OPENID_CONFIG_URL": f"{provider.base}/config", "MINIO_GW_OPENID_AUDIENCES": ""}
    process = GatewayProcess(tmp_path / "open", backend.endpoint, **settings).process.start()
    assert process.popen.wait(60) == 2
    assert "MINIO_IDENTITY_OPENID_CLIENT_ID is missing" in process.text
    assert "MINIO_GW_OPENID_ANY_AUDIENCE" in process.text


def test_trap_40_what_is_not_verified_is_told_to_nobody(gateway):
    """Claims of a forged token are in no answer, no log line and no metric, whatever issuer they claim."""
    other = jwt.encode(
        wso2_claims(iss=ISSUER, sub="look-for-me", policy="look-for-me"), STRANGER, "RS256", headers={"kid": "rsa"}
    )
    for text in (other, good(iss="https://look-for-me.test"), lacking(iss="https://look-for-me.test")):
        assert call(gateway, text) == INVALID
    metrics = httpx.get(f"{gateway.endpoint}/minio/v2/metrics/cluster").text
    assert "AssumeRoleWithWebIdentity" in metrics
    assert "look-for-me" not in metrics + gateway.process.text


def test_trap_41_an_issuer_that_is_not_listed_is_never_fetched(gateway):
    """A token that names a running server as its issuer, its key set and its certificate asks that server nothing."""
    stranger = Provider()
    try:
        discovery(stranger, stranger.base)
        for header in ({}, {"jku": stranger.url}, {"kid": stranger.url}):
            assert call(gateway, token(iss=stranger.base, sub="ann", header=header)) == INVALID
        assert stranger.asked == []
    finally:
        stranger.close()


def test_trap_41_a_provider_that_answers_as_none_should(gateway, hostile, provider):
    """A redirect is not followed, 50 MB and a drip are given up; that takes seconds at most and nobody else waits for it."""
    assert call(gateway, good()) == (200, "")
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        slow = {
            name: pool.submit(call, gateway, good(iss=f"https://{name}.test")) for name in ("MOVED", "HUGE", "DRIP")
        }
        while not slow["DRIP"].done():
            asked = time.monotonic()
            assert call(gateway, good()) == (200, "")
            assert time.monotonic() - asked < 4
    assert {one.result() for one in slow.values()} == {(503, "IDPCommunicationError")}
    assert time.monotonic() - started < 25
    assert sorted(hostile.asked) == ["/drip", "/huge", "/redirect/config"]
    assert hostile.sent < HUGE / 2  # what the kernel holds is under way


def test_trap_42_a_flood_of_key_ids_is_one_request(gateway, provider):
    """A hundred tokens with key ids that nobody has, and a hundred issuers: one fetch per provider and interval."""
    before = provider.asked.count("/jwks")
    flood = [good(kid=f"unknown-{i}") for i in range(100)] + [good(iss=f"https://{i}.test") for i in range(100)]
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda text: call(gateway, text), flood))
    assert found <= {INVALID, (503, "IDPCommunicationError")}
    assert provider.asked.count("/jwks") - before <= 2 * (1 + (time.monotonic() - started) // 10)
    assert call(gateway, good()) == (200, "")


def test_trap_42_keys_stay_good_while_the_provider_is_away(gateway, provider):
    """While the key set cannot be had, tokens of known keys go on."""
    assert call(gateway, good()) == (200, "")
    provider.status = 503
    try:
        assert call(gateway, good(kid="unknown")) == INVALID
        assert call(gateway, good()) == (200, "")
    finally:
        provider.status = 200


def test_trap_49_both_ways_ask_for_the_same_trust(gateway):
    """Neither action, and neither name of the token, is a way around a role's audience and subject, or into a role unasked."""
    robot = {"aud": "robots", "azp": "robots"}
    cases = [
        (good(**robot, sub="robot-1"), ROLE, (200, "")),
        (good(**robot, sub="ann"), ROLE, (403, "IDPRejectedClaim")),
        (good(sub="robot-1"), ROLE, INVALID),
        (good(**robot, sub="robot-1"), "", INVALID),
        (good(**robot, sub="robot-1"), "arn:aws:iam::123456789012:role/dummy", INVALID),
        (good(), "arn:aws:iam::123456789012:role/dummy", (200, "")),
    ]
    for text, role, verdict in cases:
        parameters = {"RoleArn": role, "RoleSessionName": "session"} if role else {}
        assert {call(gateway, text, action, **parameters) for action in ACTIONS} == {verdict}
        named = {"WebIdentityToken": "", "Token": text, **parameters}
        assert {call(gateway, "", action, **named) for action in ACTIONS} == {verdict}
