"""Several providers: which one proves a token, what its bearer gets, what UserInfo adds. The providers are real HTTP servers."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import replace

import pytest

from sts.jwks import INTERVAL
from sts.openid import OpenId
from sts.settings import OpenIdSettings
from sts.wire import StsCall, StsError
from tests.unit.sts.provider import EC_KEY, KEYS, RSA_KEY, Clock, Provider, jwks, token

ONE, TWO = "https://one.test", "https://two.test"
ACTIONS = ("AssumeRoleWithClientGrants", "AssumeRoleWithWebIdentity")


def discovery(server, issuer, **more):
    """Let a provider say who it is."""
    server.pages["/config"] = json.dumps({"issuer": issuer, "jwks_uri": server.url, **more}).encode()


@pytest.fixture
def one():
    """A provider of RSA keys."""
    server = Provider()
    server.body = jwks(KEYS[0])
    discovery(server, ONE)
    yield server
    server.close()


@pytest.fixture
def two():
    """A provider of one EC key."""
    server = Provider()
    server.body = jwks(KEYS[1])
    discovery(server, TWO)
    yield server
    server.close()


@pytest.fixture
def settings(one, two):
    """The claim-based provider without a suffix, the claim-based `lab`, and `k8s`, which gives a role to tokens of the first."""
    return {
        "": OpenIdSettings(config_url=f"{one.base}/config", client_id="cid"),
        "lab": OpenIdSettings(config_url=f"{two.base}/config", client_id="cid", name="lab"),
        "k8s": OpenIdSettings(
            config_url=f"{one.base}/config", client_id="robots", name="k8s", role_policies=("readonly",),
            subjects=("system:*",),
        ),
    }  # fmt: skip


@pytest.fixture
def clock():
    """The clock of the fetches."""
    return Clock()


@pytest.fixture
async def openid(settings, clock):
    """All three providers."""
    found = OpenId(tuple(settings.values()), time.time, clock=clock)
    yield found
    await found.close()


def of_one(**more):
    return token(**{"iss": ONE, "sub": "ann"} | more)


def of_two(**more):
    return token(EC_KEY, "ES256", "ec", **{"iss": TWO, "sub": "ann"} | more)


def robot(**more):
    return of_one(**{"aud": "robots", "azp": "robots", "sub": "system:a"} | more)


def rights(openid, proof):
    """Return the policies of a session of this proof."""
    return openid.policies(proof.provider, {**proof.claims, "roleArn": proof.role_arn})


async def prove(openid, text, action=ACTIONS[1], **parameters):
    """Return the proof of a call, or the code of its error."""
    call = StsCall(action, {"Token": text, **parameters}, None, "192.0.2.1")
    try:
        return await openid.prove(call)
    except StsError as error:
        return error.code


async def test_the_issuer_chooses(openid):
    """Each claim-based provider proves its own tokens, and the same subject of two providers is two identities."""
    first, second = await prove(openid, of_one(policy="a", groups=["g"])), await prove(openid, of_two(policy="b"))
    assert (first.provider, first.parent, first.groups) == ("openid", "openid:_:ann", ("openid:_:g",))
    assert (second.provider, second.parent, second.issuer) == ("openid:lab", "openid:lab:ann", TWO)
    assert (first.subject, first.audience, first.role_arn) == ("ann", "cid", "")
    assert rights(openid, first) == ("a",)
    assert rights(openid, second) == ("b",)


async def test_trap_40_an_issuer_only_chooses(openid, caplog):
    """A token that claims another's issuer is verified by that one's keys, and nothing of it is believed or repeated."""
    caplog.set_level(logging.DEBUG)
    for forged in (of_one(iss=TWO), of_two(iss=ONE), of_one(iss="https://evil.test/look-for-me")):
        assert await prove(openid, forged) == "InvalidIdentityToken"
        call = StsCall(ACTIONS[0], {"Token": forged}, None, "192.0.2.1")
        with pytest.raises(StsError) as refused:
            await openid.prove(call)
        assert "evil" not in f"{refused.value}{refused.value.reason}"
    assert "look-for-me" not in caplog.text


async def test_trap_41_an_issuer_that_is_not_configured_is_never_fetched(openid, one, two):
    """A token whose issuer is a running server that nobody configured asks that server nothing, with any key of its own."""
    stranger = Provider()
    try:
        discovery(stranger, stranger.base)
        for header in ({}, {"jku": stranger.url}, {"x5u": stranger.url}, {"kid": stranger.url}):
            forged = token(iss=stranger.base, sub="ann", header=header)
            assert await prove(openid, forged) == "InvalidIdentityToken"
        assert stranger.asked == []
        assert set(one.asked + two.asked) == {"/config", "/jwks"}
    finally:
        stranger.close()


async def test_trap_42_strange_issuers_make_no_storm(openid, one, two, clock):
    """However many tokens of whatever issuers come, nobody is asked beyond once per interval."""
    for _ in range(2):
        clock.at += INTERVAL
        await asyncio.gather(*(prove(openid, of_one(iss=f"https://{i}.test")) for i in range(50)))
    assert one.asked.count("/config") <= 4  # two of the three providers are this server's
    assert two.asked.count("/config") <= 2


async def test_a_role(openid, settings):
    """Who names the role's ARN, and is trusted, gets the role's policies and not those of his claim."""
    arn = settings["k8s"].role_arn("")
    proof = await prove(openid, robot(policy="consoleAdmin"), RoleArn=arn)
    assert (proof.provider, proof.parent, proof.role_arn) == ("openid:k8s", "openid:k8s:system:a", arn)
    assert rights(openid, proof) == ("readonly",)


@pytest.mark.parametrize(
    ("more", "verdict"),
    [({"sub": "ann"}, "IDPRejectedClaim"), ({"aud": "cid", "azp": "cid"}, "InvalidIdentityToken"), ({"iss": TWO}, "InvalidIdentityToken"),
     ({"exp": 1}, "ExpiredTokenException"), ({"sub": None}, "InvalidIdentityToken")],
)  # fmt: skip
async def test_trap_39_a_role_asks_for_issuer_audience_and_subject(openid, settings, more, verdict):
    """A genuine token of another subject, audience or issuer does not take the role."""
    assert await prove(openid, robot(**more), RoleArn=settings["k8s"].role_arn("")) == verdict


async def test_trap_49_both_ways_give_one_verdict(openid, settings):
    """Whatever the token and the role, either action, and either name of the parameter, says the same."""
    arn = settings["k8s"].role_arn("")
    tokens = [
        of_one(), of_two(), robot(), robot(sub="ann"), of_one(iss=TWO), of_one(exp=1), of_two(aud="x", azp="x"), robot(policy="a"),
        "junk", of_one(header={"typ": "logout+jwt"}),
    ]  # fmt: skip
    roles = ["", arn, "arn:aws:iam::123456789012:role/dummy", "arn:minio:iam:::role/dummy-internal"]
    names = [{}, {"ProviderId": "lab"}, {"ProviderId": "k8s"}, {"ProviderId": "_"}]
    verdicts = set()
    for text in tokens:
        for role in roles:
            for name in names:
                found = [await prove(openid, text, action, RoleArn=role, **name) for action in ACTIONS]
                assert found[0] == found[1]
                verdicts.add(found[0] if isinstance(found[0], str) else found[0].provider)
    assert verdicts == {
        "openid", "openid:lab", "openid:k8s", "InvalidIdentityToken", "InvalidParameterValue", "IDPRejectedClaim", "ExpiredTokenException",
    }  # fmt: skip


@pytest.mark.parametrize("arn", ["arn:aws:iam::123456789012:role/dummy", "arn:minio:iam:::role/dummy-internal", "x"])
async def test_a_foreign_role_is_taken_for_none(openid, arn):
    """SDKs always send a RoleArn: for a claim-based provider it does not matter, and the session has no role."""
    assert (await prove(openid, of_one(), RoleArn=arn)).role_arn == ""


async def test_a_role_is_not_taken_by_chance(settings):
    """Where the only provider gives a role, a call without its ARN is refused: nobody takes a role that he did not name."""
    found = OpenId([settings["k8s"]], time.time)
    for arn in ("", "arn:aws:iam::123456789012:role/dummy"):
        assert await prove(found, robot(), RoleArn=arn) == "InvalidParameterValue"
    await found.close()


async def test_a_role_named_by_another_region_is_none(settings):
    """The region is part of the ARN that the operator was told."""
    found = OpenId([settings["k8s"]], time.time, region="eu-west-1")
    assert await prove(found, robot(), RoleArn=settings["k8s"].role_arn("")) == "InvalidParameterValue"
    assert (await prove(found, robot(), RoleArn=settings["k8s"].role_arn("eu-west-1"))).provider == "openid:k8s"
    await found.close()


async def test_a_role_is_not_a_way_around_its_provider(openid, settings):
    """A token of one provider with the RoleArn of another is verified by that other, and never falls back."""
    arn = settings["k8s"].role_arn("")
    assert await prove(openid, of_two(), RoleArn=arn) == "InvalidIdentityToken"
    assert await prove(openid, of_one(policy="consoleAdmin"), RoleArn=arn) == "InvalidIdentityToken"


@pytest.mark.parametrize(
    ("provider_id", "verdict"),
    [("lab", "openid:lab"), ("LAB", "openid:lab"), ("_", "InvalidIdentityToken"), ("nobody", "InvalidParameterValue"),
     ("k8s", "InvalidIdentityToken")],
)  # fmt: skip
async def test_provider_id(openid, provider_id, verdict):
    """ProviderId chooses by name; the provider that it names then verifies the token as ever."""
    found = await prove(openid, of_two(), ProviderId=provider_id)
    assert (found if isinstance(found, str) else found.provider) == verdict


async def test_two_providers_that_say_one_issuer(settings, two):
    """When a provider says that it is another, tokens of that issuer belong to whom the operator gave it, or to nobody."""
    discovery(two, ONE)
    found = OpenId([settings[""], settings["lab"]], time.time)
    await found.ready()
    assert await prove(found, of_one()) == "InvalidParameterValue"
    await found.close()
    found = OpenId([replace(settings[""], issuer=ONE), settings["lab"]], time.time)
    await found.ready()
    assert (await prove(found, of_one())).provider == "openid"
    await found.close()


async def test_a_provider_that_is_away_takes_no_other_away(openid, one, two, clock):
    """Tokens of the others go on; those of nobody known are told to try again, until all have said who they are."""
    two.status = 500
    assert (await prove(openid, of_one())).provider == "openid"
    assert await prove(openid, of_two()) == "IDPCommunicationError"
    assert "500" in await openid.ready()
    two.status = 200
    clock.at += INTERVAL
    assert (await prove(openid, of_two())).provider == "openid:lab"
    assert await openid.ready() is None


async def test_nobody_configured():
    """Without a provider both actions say so."""
    for action in ACTIONS:
        assert await prove(OpenId([], time.time), "x", action) == "STSNotInitialized"


async def test_rotation_while_serving(one, settings, clock):
    """Old key, both, the new one alone: each token is good exactly while its key is published, at one fetch per step."""
    found = OpenId([settings[""]], time.time, clock=clock)
    old, new = of_one(), token(EC_KEY, "ES256", "ec", iss=ONE, sub="ann")
    assert (await prove(found, old)).subject == "ann"
    assert await prove(found, new) == "InvalidIdentityToken"
    one.body = jwks(*KEYS[:2])
    clock.at += INTERVAL
    assert (await prove(found, new)).subject == (await prove(found, old)).subject == "ann"
    one.body = jwks(KEYS[1])
    clock.at += 300
    assert (await prove(found, new)).subject == "ann"
    assert await prove(found, old) == "InvalidIdentityToken"
    assert one.asked.count("/jwks") == 3
    await found.close()


KUBERNETES = "https://kubernetes.default.svc.cluster.local"


def service_account(namespace="batch", name="loader", **more):
    """Return a token as the kubelet projects it into a pod (kubernetes.io/docs: service account token volume projection)."""
    now = int(time.time())
    claims = {
        "aud": ["minio-gw"], "azp": None, "exp": now + 3607, "iat": now, "iss": KUBERNETES, "jti": "f4b1c0de-0000-4000-8000-000000000000",
        "kubernetes.io": {
            "namespace": namespace, "node": {"name": "node-1", "uid": "6c6a"}, "pod": {"name": f"{name}-0", "uid": "5ee5"},
            "serviceaccount": {"name": name, "uid": "a087"}, "warnafter": now + 3607,
        },
        "nbf": now, "sub": f"system:serviceaccount:{namespace}:{name}",
    } | more  # fmt: skip
    import jwt

    return jwt.encode({n: v for n, v in claims.items() if v is not None}, RSA_KEY, "RS256", headers={"kid": "rsa"})


async def test_kubernetes_service_accounts(one):
    """A projected token takes the role of its namespace; another namespace, the API server's audience and a legacy token do not."""
    discovery(one, KUBERNETES)
    settings = OpenIdSettings(
        config_url=f"{one.base}/config", client_id="minio-gw", name="k8s", role_policies=("readwrite",),
        subjects=("system:serviceaccount:batch:*",), carried=(),
    )  # fmt: skip
    found = OpenId([settings], time.time)
    arn = settings.role_arn("")
    proof = await prove(found, service_account(), RoleArn=arn)
    assert proof.parent == "openid:k8s:system:serviceaccount:batch:loader"
    assert (proof.audience, rights(found, proof), set(proof.claims)) == ("minio-gw", ("readwrite",), {"iss", "sub"})
    assert await prove(found, service_account("default"), RoleArn=arn) == "IDPRejectedClaim"
    api = service_account(aud=["https://kubernetes.default.svc.cluster.local"])
    assert await prove(found, api, RoleArn=arn) == "InvalidIdentityToken"
    legacy = service_account(iss="kubernetes/serviceaccount", aud=None, exp=None)
    assert await prove(found, legacy, RoleArn=arn) == "InvalidIdentityToken"
    await found.close()


@pytest.fixture
async def enriching(one, settings):
    """A provider whose UserInfo endpoint has more to say."""
    discovery(one, ONE, userinfo_endpoint=f"{one.base}/userinfo")
    one.pages["/userinfo"] = json.dumps(
        {"sub": "ann", "policy": "fromuserinfo", "mail": "a@test", "exp": 2**40, "azp": "x", "nbf": 0, "parent": "root"}
    ).encode()
    found = OpenId([replace(settings[""], userinfo=True)], time.time)
    yield found
    await found.close()


async def test_userinfo_adds_what_the_token_lacks(enriching, one):
    """Claims of UserInfo fill gaps; they replace nothing, and never what only the token may say."""
    proof = await prove(enriching, of_one(mail="of-the-token"), WebIdentityAccessToken="opaque.access-token")
    assert (proof.claims["policy"], proof.claims["mail"]) == ("fromuserinfo", "of-the-token")
    assert (proof.claims["azp"], "nbf" in proof.claims, "parent" in proof.claims) == ("cid", False, False)
    assert proof.expires_at < 2**40
    assert one.asked.count("/userinfo") == 1


@pytest.mark.parametrize(
    ("access", "page", "status", "verdict"),
    [
        ("", None, 200, "MissingParameter"),
        ("two words", None, 200, "InvalidIdentityToken"),
        ("a\r\nX-Evil: 1", None, 200, "InvalidIdentityToken"),
        ("other", {"sub": "bob", "policy": "consoleAdmin"}, 200, "InvalidIdentityToken"),
        ("other", {"policy": "consoleAdmin"}, 200, "InvalidIdentityToken"),
        ("junk", [], 200, "IDPCommunicationError"),
        ("refused", None, 401, "InvalidIdentityToken"),
        ("refused", None, 403, "InvalidIdentityToken"),
        ("away", None, 500, "IDPCommunicationError"),
        ("moved", None, 302, "IDPCommunicationError"),
    ],
)
async def test_userinfo_of_another_or_none(enriching, one, access, page, status, verdict):
    """UserInfo counts only when it is about the token's subject (OpenID Connect Core 5.3.2); its absence is never an empty answer."""
    assert await enriching.ready() is None
    one.status = status
    if page is not None:
        one.pages["/userinfo"] = json.dumps(page).encode()
    for action in ACTIONS:
        assert await prove(enriching, of_one(), action, WebIdentityAccessToken=access) == verdict


async def test_userinfo_is_asked_for_good_tokens_only(enriching, one):
    """Nobody makes the gateway ask UserInfo with a token that proves nothing."""
    assert await prove(enriching, of_one(exp=1), WebIdentityAccessToken="a") == "ExpiredTokenException"
    assert "/userinfo" not in one.asked


async def test_carried_claims(one, settings):
    """Only the listed claims go into the session, and rights come as before."""
    found = OpenId([replace(settings[""], carried=("mail",))], time.time)
    proof = await prove(found, of_one(mail="a@test", phone="1", policy="p", groups=["g"]))
    assert set(proof.claims) == {"iss", "sub", "azp", "mail", "policy"}
    assert (rights(found, proof), proof.groups) == (("p",), ("openid:_:g",))
    await found.close()


async def test_a_token_that_names_nobody(openid):
    """A token whose subject can be no name proves nobody."""
    assert await prove(openid, of_one(sub="a\nb")) == "InvalidIdentityToken"
    assert await prove(openid, of_one(sub="s" * 2000)) == "InvalidIdentityToken"


@pytest.mark.parametrize(
    ("claim", "found"),
    [("staff", ("openid:_:staff",)), ("a, b", ("openid:_:a", "openid:_:b")), ({"a": 1}, "InvalidIdentityToken"), (["a", 5], "InvalidIdentityToken")],
)  # fmt: skip
async def test_trap_30_groups_of_another_shape_are_refused(openid, claim, found):
    """Groups are read in each of their shapes, and a token whose groups cannot be read gets no session without them."""
    proof = await prove(openid, of_one(groups=claim))
    assert (proof if isinstance(proof, str) else proof.groups) == found


async def test_rights_of_a_provider_that_is_gone(openid):
    """A session of a provider that is configured no more has no policies."""
    assert openid.policies("openid:gone", {"policy": "readwrite"}) == ()
    assert openid.policies("user", {"policy": "readwrite"}) == ()
    assert openid.policies("openid", {"policy": "readwrite"}) == ("readwrite",)
