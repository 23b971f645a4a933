"""Tokens of identity providers: what is believed, and what never is. The provider is a real local HTTP server."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from sts.jwks import INTERVAL, IdpUnavailable
from sts.oidc import MAX_TOKEN, OidcVerifier, TokenExpired, TokenRefused, _header, unverified_issuer
from sts.settings import OpenIdSettings
from tests.unit.sts.provider import (
    EC_KEY,
    ED_KEY,
    KEYS,
    RSA_KEY,
    Clock,
    Provider,
    encoded,
    hmac_signed,
    jwk,
    jwks,
    keycloak_claims,
    public_pem,
    token,
    wso2_claims,
)

OTHER_RSA = rsa.generate_private_key(65537, 2048)


@pytest.fixture
def provider():
    """A provider."""
    server = Provider()
    yield server
    server.close()


@pytest.fixture
def clock():
    """The clock of the fetches."""
    return Clock()


@pytest.fixture
async def verifier(provider, clock):
    """A verifier for the provider's keys, with client id `cid`."""
    one = OidcVerifier(OpenIdSettings(jwks_url=provider.url, client_id="cid"), time.time, clock=clock)
    yield one
    await one.close()


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA_KEY, "RS256", "rsa"), (RSA_KEY, "PS384", "rsa"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed")],
)
async def test_good_tokens_are_believed(verifier, key, algorithm, kid):
    """A token of any allowed algorithm, signed by the key it names, gives its claims."""
    assert (await verifier.verify(token(key, algorithm, kid)))["azp"] == "cid"


async def test_wso2(verifier, provider):
    """WSO2's client_credentials token: x5t beside the same kid, aud a string, no sub; its claims come whole."""
    provider.body = jwks(jwk(RSA_KEY, RSAAlgorithm, "NTAxZmMxNDMyZDg3", alg="RS256"))
    claims = wso2_claims()
    header = {"x5t": "NTAxZmMxNDMyZDg3", "kid": "NTAxZmMxNDMyZDg3"}
    assert await verifier.verify(jwt.encode(claims, RSA_KEY, "RS256", headers=header)) == claims


async def test_keycloak(verifier, provider):
    """Keycloak's service account token, among a key for encryption: azp names the client that aud does not."""
    provider.body = jwks(jwk(RSA_KEY, RSAAlgorithm, "enc", use="enc", alg="RSA-OAEP"), *KEYS)
    claims = keycloak_claims()
    assert await verifier.verify(jwt.encode(claims, RSA_KEY, "RS256", headers={"kid": "rsa"})) == claims


@pytest.mark.parametrize("audience", ["cid", ["account", "cid"], "account,cid", "account, cid"])
async def test_shapes_of_audience(verifier, audience):
    """WSO2's string, Keycloak's array and a comma list all name the client."""
    assert await verifier.verify(token(aud=audience, azp="other"))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"])
async def test_types_of_token(verifier, kind):
    """JWTs and access tokens (RFC 9068) are taken, in any case of letters."""
    assert await verifier.verify(token(header={"typ": kind}))


async def test_trap_38_algorithm_confusion(verifier, provider):
    """HS256 over a public key or the client's secret, none, a key's wrong algorithm, and keys brought along are refused."""
    rs_only = KEYS[0] | {"kid": "rs-only", "alg": "RS256"}
    provider.body = jwks(*KEYS, rs_only)
    forged = [
        hmac_signed(public_pem(RSA_KEY), {"alg": "HS256", "kid": "rsa", "typ": "JWT"}),
        hmac_signed(KEYS[0]["n"].encode(), {"alg": "HS256", "kid": "rsa", "typ": "JWT"}),
        hmac_signed(b"client-secret", {"alg": "HS256", "kid": "cid", "typ": "JWT"}),
        hmac_signed(b"", {"alg": "none", "kid": "rsa"}),
        jwt.encode(wso2_claims(), None, "none", headers={"kid": "rsa"}),
        token(EC_KEY, "ES256", "rsa"),
        token(RSA_KEY, "PS256", "rs-only"),
        token(OTHER_RSA),
        token(kid="../../etc/passwd"),
        token(kid="https://evil.example/jwks"),
        token(header={"jku": "https://evil.example/jwks"}),
        token(header={"jwk": KEYS[0]}),
        token(header={"x5u": "https://evil.example/cert"}),
        token(header={"x5c": ["MIIB"]}),
        token(header={"crit": ["exp"]}),
        token(header={"typ": "logout+jwt"}),
        token()[:-4],
        token() + ".x",
        "",
        "x" * (MAX_TOKEN + 1),
    ]
    for one in forged:
        with pytest.raises(TokenRefused):
            await verifier.verify(one)
    assert await verifier.verify(token(kid="rs-only"))


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "b64", "crit", "x"]), st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2), st.sampled_from(["RS256", "JWT", "none"]),
)))  # fmt: skip
def test_any_header_is_read_or_refused(header):
    """Whatever JSON a header holds, it is read or refused as a token: nothing else is raised."""
    try:
        _header(f"{encoded(json.dumps(header).encode())}.e30.AAAA")
    except TokenRefused as error:
        assert str(error)  # noqa: PT017 - either outcome is right, another exception is not


@pytest.mark.parametrize("header", [b"[" * 9000, b'{"a":' * 2000, b"\xff", b"{}", b"[]", b"5", b'"x"', b""])
async def test_junk_is_refused(verifier, header):
    """Nesting without end, bytes that are no text, and JSON that is no object are refused, not an error of ours."""
    with pytest.raises(TokenRefused):
        await verifier.verify(f"{encoded(header)}.{encoded(b'{}')}.AAAA")


@pytest.mark.parametrize("payload", [b"[]", b"5", b"", b"\xff", b"{" * 3000, b'{"exp":NaN}', b'{"exp":1e999}'])
async def test_signed_junk_is_refused(verifier, payload):
    """A payload that is no JSON object, or whose exp is no number, is refused even when the provider signed it."""
    one = jwt.api_jws.encode(payload, RSA_KEY, "RS256", headers={"kid": "rsa"})
    with pytest.raises(TokenRefused):
        await verifier.verify(one)


@pytest.mark.parametrize(
    "more",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": -5},
        {"exp": True},
        {"exp": [2**40]},
        {"exp": 2**60},
        {"exp": "9" * 5000},
        {"aud": "other", "azp": "other"},
        {"aud": [], "azp": ""},
        {"aud": {"cid": 1}, "azp": "other"},
        {"aud": "ci", "azp": "cidx"},
        {"nbf": int(time.time()) + 86_400},
        {"nbf": "never"},
        {"iat": int(time.time()) + 86_400},
        {"sub": {"name": "root"}},
        {"azp": ["cid"], "aud": "cid"},
    ],
)
async def test_trap_39_incomplete_tokens(verifier, more):
    """A token without a usable exp, for another client, not valid yet, or with claims of the wrong type is refused."""
    with pytest.raises(TokenRefused):
        await verifier.verify(token(**more))


async def test_trap_39_no_exp_at_all(verifier):
    """A token that never ends is refused."""
    claims = wso2_claims()
    del claims["exp"]
    with pytest.raises(TokenRefused, match="exp is missing"):
        await verifier.verify(jwt.encode(claims, RSA_KEY, "RS256", headers={"kid": "rsa"}))


@pytest.mark.parametrize("form", [int, str, float])
async def test_exp_may_be_digits(verifier, form):
    """A number, a fraction and a string of digits are times; the claims then hold the number."""
    at = int(time.time()) + 60
    found = (await verifier.verify(token(exp=form(at))))["exp"]
    assert (found, type(found)) == (at, int)


@pytest.mark.parametrize(("left", "good"), [(1, True), (0, False), (-1, False)])
async def test_expiry_is_exact(provider, left, good):
    """A token is good until its last second and expired from then on, by the clock that was passed in."""
    one = OidcVerifier(OpenIdSettings(jwks_url=provider.url), lambda: 5000.0)
    proof = token(exp=5000 + left, iat=4000)
    if good:
        assert await one.verify(proof)
    else:
        with pytest.raises(TokenExpired):
            await one.verify(proof)
    await one.close()


@pytest.mark.parametrize(("leeway", "ahead", "good"), [(0, 0, True), (0, 1, False), (5, 5, True), (5, 6, False)])
async def test_leeway_is_for_the_beginning_only(provider, leeway, ahead, good):
    """A provider whose clock is ahead is believed within the leeway, which is 0 unless set."""
    one = OidcVerifier(OpenIdSettings(jwks_url=provider.url, leeway=leeway), lambda: 5000.0)
    proof = token(exp=6000, iat=5000 + ahead, nbf=5000 + ahead)
    if good:
        assert await one.verify(proof)
    else:
        with pytest.raises(TokenRefused, match="not valid yet"):
            await one.verify(proof)
    with pytest.raises(TokenExpired):
        await one.verify(token(exp=5000, iat=4000))
    await one.close()


async def test_without_a_client_id_no_audience_is_asked_for(provider):
    """As in 2018: with no client id configured, a token for anybody is good."""
    one = OidcVerifier(OpenIdSettings(jwks_url=provider.url), time.time)
    assert await one.verify(token(aud="whoever", azp="whoever"))
    await one.close()


@pytest.mark.parametrize(
    ("issuer", "good"), [("https://idp.example", True), ("https://evil.example", False), ("", False), (None, False)]
)
async def test_trap_39_issuer(provider, issuer, good):
    """Where discovery names the issuer, only its tokens are good."""
    provider.pages["/config"] = json.dumps({"issuer": "https://idp.example", "jwks_uri": provider.url}).encode()
    one = OidcVerifier(OpenIdSettings(config_url=f"{provider.base}/config"), time.time)
    claims = {n: v for n, v in wso2_claims(iss=issuer).items() if v is not None}
    proof = jwt.encode(claims, RSA_KEY, "RS256", headers={"kid": "rsa"})
    if good:
        assert await one.verify(proof)
    else:
        with pytest.raises(TokenRefused, match="iss"):
            await one.verify(proof)
    await one.close()


async def test_trap_40_nothing_is_believed_before_the_signature(verifier, caplog):
    """Forged claims are neither told apart nor repeated: expired or not, for us or not, the answer is the signature's."""
    caplog.set_level(logging.DEBUG)
    said = set()
    for more in ({}, {"exp": 1}, {"aud": "other", "azp": "other"}, {"sub": "a-name-to-look-for"}):
        forged = token(OTHER_RSA, **more)
        with pytest.raises(TokenRefused) as refused:
            await verifier.verify(forged)
        said.add((type(refused.value), str(refused.value)))
        assert forged not in caplog.text
    assert len(said) == 1
    assert "a-name-to-look-for" not in f"{said}{caplog.text}"


async def test_trap_42_unknown_key_ids_make_one_fetch(verifier, provider, clock):
    """A flood of unknown key ids asks the provider once per interval; good keys stay good while it is down."""
    await verifier.verify(token())
    provider.status = 500
    clock.at += INTERVAL

    async def refused(i: int) -> None:
        with pytest.raises(TokenRefused):
            await verifier.verify(token(kid=f"unknown{i}"))

    await asyncio.gather(*(refused(i) for i in range(50)))
    assert len(provider.asked) == 2
    assert await verifier.verify(token())


async def test_a_new_key_is_found(verifier, provider, clock):
    """After a rotation the first token of the new key fetches it; the old one's tokens stop when it is gone."""
    await verifier.verify(token())
    provider.body = jwks(jwk(OTHER_RSA, RSAAlgorithm, "new"))
    clock.at += INTERVAL
    assert await verifier.verify(token(OTHER_RSA, kid="new"))
    with pytest.raises(TokenRefused):
        await verifier.verify(token())


@pytest.mark.parametrize("kid", [None, "rsa"])
async def test_a_new_key_under_the_old_name_is_found(verifier, provider, clock, kid):
    """A key changed without a new id, or without ids at all, is fetched when a signature fails; again once per interval."""
    names = {} if kid is None else {"kid": kid}
    bare = {n: v for n, v in jwk(RSA_KEY, RSAAlgorithm, "").items() if n != "kid"}
    provider.body = jwks(bare | names)
    assert await verifier.verify(token(kid=kid))
    provider.body = jwks({n: v for n, v in jwk(OTHER_RSA, RSAAlgorithm, "").items() if n != "kid"} | names)
    with pytest.raises(TokenRefused):
        await verifier.verify(token(OTHER_RSA, kid=kid))
    assert len(provider.asked) == 1
    clock.at += INTERVAL
    assert await verifier.verify(token(OTHER_RSA, kid=kid))


async def test_no_key_id(verifier, provider):
    """Without a key id a token is good only when exactly one key fits."""
    assert await verifier.verify(token(EC_KEY, "ES256", None))
    provider.body = jwks(*KEYS, jwk(OTHER_RSA, RSAAlgorithm, "second"))
    other = OidcVerifier(OpenIdSettings(jwks_url=provider.url), time.time)
    with pytest.raises(TokenRefused, match="which"):
        await other.verify(token(kid=None))
    await other.close()


async def test_no_keys_ever(verifier, provider):
    """While no key has been had, that is said of the provider, not of the token; and it is ready once they come."""
    provider.status = 500
    with pytest.raises(IdpUnavailable, match="500"):
        await verifier.verify(token())
    assert "500" in await verifier.ready()
    provider.status = 200
    verifier._provider._clock.at += INTERVAL
    assert await verifier.ready() is None
    assert await verifier.verify(token())


async def test_expired_is_said(verifier):
    """An expired token is TokenExpired."""
    with pytest.raises(TokenExpired):
        await verifier.verify(token(exp=int(time.time()) - 1))


@pytest.mark.parametrize(
    ("more", "claim"),
    [({"exp": None}, "exp"), ({"exp": 1}, "exp"), ({"exp": "soon"}, "exp"), ({"nbf": 2**40}, "nbf"), ({"iat": 2**40}, "iat"),
     ({"aud": "x", "azp": "x"}, "aud"), ({"sub": 5}, "sub"), ({"typ": "Refresh"}, "typ"), ({"events": {}}, "typ")],
)  # fmt: skip
async def test_a_refusal_names_the_claim(verifier, more, claim):
    """Whoever maps the refusal to an error knows which claim is at fault."""
    with pytest.raises(TokenRefused) as refused:
        await verifier.verify(token(**more))
    assert refused.value.claim == claim


@pytest.mark.parametrize(
    ("types", "header", "claim", "good"),
    [
        ((), None, None, True), ((), "at+jwt", None, True), ((), "secevent+jwt", None, False), ((), None, "Bearer", True),
        ((), None, "Refresh", False), ((), None, "Offline", False), ((), None, "Logout", False), ((), None, 5, True),
        (("at+jwt",), "at+jwt", None, True), (("at+jwt",), "application/AT+JWT", None, True), (("at+jwt",), "JWT", None, False),
        (("at+jwt",), None, None, False), (("bearer",), "JWT", "Bearer", True), (("ID",), "JWT", "Bearer", False),
        (("ID",), "JWT", "ID", True), (("my+jwt",), "my+jwt", None, True), (("Refresh",), "JWT", "Refresh", False),
        (("at+jwt", "jwt"), "JWT", None, True),
    ],
)  # fmt: skip
async def test_trap_39_typ(provider, types, header, claim, good):
    """Where the operator asks for a typ, by the header's name or Keycloak's claim, no other kind of token is a proof."""
    one = OidcVerifier(OpenIdSettings(jwks_url=provider.url, types=types), time.time)
    # PyJWT writes JWT unless it is told an empty type, which it leaves out.
    text = token(header={"typ": header or ""}, **({} if claim is None else {"typ": claim}))
    assert jwt.get_unverified_header(text).get("typ") == header
    if good:
        assert await one.verify(text)
    else:
        with pytest.raises(TokenRefused, match=r"typ|purpose"):
            await one.verify(text)
    await one.close()


async def test_trap_39_a_pinned_issuer(provider):
    """An issuer that the operator names binds a key set without discovery, and a discovery document that says another."""
    one = OidcVerifier(OpenIdSettings(jwks_url=provider.url, issuer="https://idp.test"), time.time)
    assert await one.verify(token(iss="https://idp.test"))
    for issuer in ("https://evil.test", "https://idp.test/"):
        with pytest.raises(TokenRefused, match="issuer"):
            await one.verify(token(iss=issuer))
    await one.close()
    provider.pages["/config"] = json.dumps({"issuer": "https://other.test", "jwks_uri": provider.url}).encode()
    two = OidcVerifier(OpenIdSettings(config_url=f"{provider.base}/config", issuer="https://idp.test"), time.time)
    with pytest.raises(IdpUnavailable, match="not the configured one"):
        await two.verify(token(iss="https://other.test"))
    await two.close()


@given(st.one_of(st.text(max_size=40), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["iss", "x"]), inner, max_size=2), max_leaves=5,
).map(lambda claims: f"e30.{encoded(json.dumps(claims).encode())}.AAAA")))  # fmt: skip
def test_trap_40_the_claimed_issuer_is_read_or_is_none(text):
    """Whatever a token looks like, its claimed issuer is a text, and reading it raises nothing."""
    assert isinstance(unverified_issuer(text), str)


def test_the_claimed_issuer():
    """The issuer is read as it stands; junk, nesting without end and tokens that are too long say none."""
    assert unverified_issuer(token(iss="https://idp.test")) == "https://idp.test"
    junk = [
        "",
        "..",
        "a.b",
        f"e30.{encoded(b'[' * 9000)}.x",
        f"e30.{encoded(bytes([255]))}.x",
        token(iss="x" * MAX_TOKEN),
    ]
    assert {unverified_issuer(text) for text in junk} == {""}
