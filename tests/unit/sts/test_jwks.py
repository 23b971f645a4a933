"""The provider's keys: which are usable, when they are fetched, what a hostile or absent provider can do."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from sts import jwks
from sts.fetch import MAX_DOCUMENT
from sts.jwks import INTERVAL, MAX_AGE, MAX_KEYS, ProviderKeys, usable_keys
from sts.settings import OpenIdSettings
from tests.unit.sts.provider import EC_KEY, KEYS, RSA_KEY, Clock, Provider, jwk
from tests.unit.sts.provider import jwks as key_set

SMALL_RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
K256 = ec.generate_private_key(ec.SECP256K1())


@pytest.fixture
def provider():
    """A provider."""
    server = Provider()
    yield server
    server.close()


@pytest.fixture
async def keys(provider):
    """The provider's keys, by its key set's address."""
    one = ProviderKeys(OpenIdSettings(jwks_url=provider.url), Clock())
    yield one
    await one.close()


ODD = {
    "encryption": jwk(RSA_KEY, RSAAlgorithm, "odd", use="enc"),
    "encryption by alg": jwk(RSA_KEY, RSAAlgorithm, "odd", alg="RSA-OAEP"),
    "only signs": jwk(RSA_KEY, RSAAlgorithm, "odd", key_ops=["sign"]),
    "key_ops is a number": jwk(RSA_KEY, RSAAlgorithm, "odd", key_ops=5),
    "alg is a list": jwk(RSA_KEY, RSAAlgorithm, "odd", alg=["RS256"]),
    "kid is a list": jwk(RSA_KEY, RSAAlgorithm, ["odd"]),
    "too short": jwk(SMALL_RSA, RSAAlgorithm, "odd"),
    "another curve": jwk(K256, ECAlgorithm, "odd"),
    "not on its curve": jwk(EC_KEY, ECAlgorithm, "odd") | {"x": "AAAA"},
    "published private key": json.loads(RSAAlgorithm.to_jwk(RSA_KEY)) | {"kid": "odd"},
    "shared secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "odd", "alg": "HS256"},
    "unknown type": {"kty": "odd", "kid": "odd"},
    "without numbers": {"kty": "RSA", "kid": "odd"},
    "numbers of another type": {"kty": "RSA", "kid": "odd", "n": 5, "e": []},
    "not an object": "odd",
    "nothing": None,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_key_is_skipped_and_takes_no_other_away(odd):
    """A key that must not, or cannot, verify tokens is left out; those around it stay."""
    assert [key.kid for key in usable_keys({"keys": [KEYS[0], odd, KEYS[1]]})] == ["rsa", "ec"]


def test_trap_38_a_key_says_which_algorithms_it_may_verify():
    """By type, by curve, and by the key's own alg; never HS* or none."""
    sets = [key.algorithms for key in usable_keys({"keys": [*KEYS, KEYS[0] | {"alg": "PS256"}]})]
    rsa_algorithms = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert sets == [rsa_algorithms, {"ES256"}, {"EdDSA"}, {"PS256"}]


@pytest.mark.parametrize(
    "document",
    [{}, {"keys": {}}, {"keys": []}, {"keys": None}, {"keys": [ODD["shared secret"]]}, {"keys": KEYS * MAX_KEYS}],
)
def test_a_set_without_usable_keys_is_refused(document):
    """No keys, no list of keys, no key that may verify, or absurdly many: a ValueError."""
    with pytest.raises(ValueError, match="key"):
        usable_keys(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["RSA", "EC", "OKP", "AQAB"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["kty", "kid", "use", "alg", "key_ops", "crv", "n", "e", "x", "y", "k", "d"]), inner, max_size=8),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_junk_in_a_set_is_skipped(junk):
    """Whatever JSON stands beside a good key, that key is found and nothing is raised."""
    assert "rsa" in [key.kid for key in usable_keys({"keys": [junk, KEYS[0]]})]


async def test_trap_42_one_fetch_is_shared(keys, provider):
    """A hundred who ask at once for keys that are not there yet make one request."""
    found = await asyncio.gather(*(keys.known() for _ in range(100)))
    assert provider.asked == ["/jwks"]
    assert {len(one) for one in found} == {3}


async def test_trap_42_at_most_one_fetch_per_interval(keys, provider):
    """Asked again and again, the provider is bothered once per interval, whether it answers or not."""
    for status in (200, 500):
        provider.status = status
        keys._clock.at += INTERVAL
        before = len(provider.asked)
        for _ in range(20):
            await keys.refresh()
        assert len(provider.asked) == before + 1
    assert len(keys.keys) == 3
    assert "500" in keys.trouble


async def test_trap_42_who_leaves_does_not_end_the_fetch(keys, provider):
    """A caller who is cancelled while the keys come leaves them to the others: nobody can keep them from arriving."""
    provider.gate.clear()
    async with asyncio.TaskGroup() as group:
        leaving, staying = group.create_task(keys.known()), group.create_task(keys.known())
        async with asyncio.timeout(5):
            while not provider.asked:  # noqa: ASYNC110 - the provider runs in a thread and has no asyncio.Event
                await asyncio.sleep(0)
        leaving.cancel()
        provider.gate.set()
        assert len(await staying) == 3
    assert provider.asked == ["/jwks"]


async def test_a_withdrawn_key_goes(keys, provider):
    """Keys are fetched again when they are old; until then nobody is asked; an absent provider takes none away."""
    await keys.known()
    keys._clock.at += MAX_AGE - 1
    await keys.known()
    assert len(provider.asked) == 1
    keys._clock.at += 1
    provider.body = key_set(KEYS[1])
    assert [key.kid for key in await keys.known()] == ["ec"]
    keys._clock.at += MAX_AGE
    provider.status = 503
    assert [key.kid for key in await keys.known()] == ["ec"]


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, "status 302"),
        ({"status": 500}, "status 500"),
        ({"body": b" " * (MAX_DOCUMENT + 1)}, "too large"),
        ({"body": b"<html>"}, "JSON"),
        ({"body": b"[" * 100_000}, "RecursionError"),
        ({"body": b"[]"}, "not a JSON object"),
        ({"body": b'{"\xff": 1}'}, "Unicode"),
        ({"body": b'{"keys": 5}'}, "key set"),
        ({"body": gzip.compress(b" " * 2**24), "headers": {"Content-Encoding": "gzip"}}, "Unicode"),
    ],
)
async def test_trap_41_the_fetch_is_bounded(keys, provider, change, trouble):
    """A redirect, an error, junk, a huge answer, and one that would unpack into a huge one give no keys, and say why."""
    vars(provider).update(change)
    assert await keys.known() == ()
    assert trouble in keys.trouble
    assert provider.asked == ["/jwks"]


async def test_trap_41_a_slow_provider_is_given_up(keys, provider, monkeypatch):
    """A provider that says nothing costs the deadline at most."""
    monkeypatch.setattr(jwks, "DEADLINE", 0.05)
    provider.gate.clear()
    async with asyncio.timeout(4):
        assert await keys.known() == ()
    assert "Timeout" in keys.trouble


async def test_nobody_listens(provider):
    """A provider that is not there gives no keys and says so."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        one = ProviderKeys(OpenIdSettings(jwks_url=f"http://127.0.0.1:{unused.getsockname()[1]}/jwks"))
        assert await one.known() == ()
        assert "ConnectError" in one.trouble
        await one.close()


@pytest.fixture
async def discovered(provider):
    """The provider's keys, by its discovery document."""
    one = ProviderKeys(OpenIdSettings(config_url=f"{provider.base}/config"), Clock())
    yield one
    await one.close()


async def test_discovery(discovered, provider):
    """The discovery document says where the keys are and who issues."""
    provider.pages["/config"] = json.dumps({"issuer": "https://idp.example", "jwks_uri": provider.url}).encode()
    assert len(await discovered.known()) == 3
    assert (discovered.issuer, provider.asked) == ("https://idp.example", ["/config", "/jwks"])


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://idp.example"},
        {"jwks_uri": "http://127.0.0.1:1/"},
        {"issuer": "", "jwks_uri": "http://127.0.0.1:1/"},
        {"issuer": ["x"], "jwks_uri": "http://127.0.0.1:1/"},
        {"issuer": "x", "jwks_uri": 5},
        {"issuer": "x", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "x", "jwks_uri": "http://[broken"},
        {"issuer": "x", "jwks_uri": "http://h:port/"},
    ],
)
async def test_trap_41_a_strange_discovery_document(discovered, provider, document):
    """A discovery document without issuer or key set, or with an address that is none, gives no keys and no exception."""
    provider.pages["/config"] = json.dumps(document).encode()
    assert await discovered.known() == ()
    assert provider.asked == ["/config"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, as WSO2 comes with one: (certificate file, key file)."""
    from ipaddress import ip_address

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tls")
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "c.pem").write_bytes(made.public_bytes(pem))
    (folder / "k.pem").write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()))
    return folder / "c.pem", folder / "k.pem"


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_is_verified(provider, certificate, trusted):
    """A self-signed provider is believed with its CA file, and never without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    provider.socket = context.wrap_socket(provider.socket, server_side=True)
    address = provider.url.replace("http:", "https:")
    one = ProviderKeys(OpenIdSettings(jwks_url=address, ca_file=certificate[0] if trusted else None))
    assert len(await one.known()) == (3 if trusted else 0), one.trouble
    assert trusted or "CERTIFICATE_VERIFY_FAILED" in one.trouble
    await one.close()


async def test_trap_41_https_does_not_fall_to_http(provider, certificate):
    """Keys named by an https discovery document are fetched over https only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    provider.socket = context.wrap_socket(provider.socket, server_side=True)
    provider.pages["/config"] = json.dumps({"issuer": "x", "jwks_uri": provider.url}).encode()
    settings = OpenIdSettings(config_url=provider.base.replace("http:", "https:") + "/config", ca_file=certificate[0])
    one = ProviderKeys(settings)
    assert await one.known() == ()
    assert "not https" in one.trouble
    await one.close()


def test_pyjwt_has_all_algorithms_we_name():
    """Every algorithm in the tables is one PyJWT knows: a typing error would silently refuse everybody's tokens."""
    named = {a for algorithms in jwks._BY_KEY_TYPE.values() for a in algorithms} | set(jwks._BY_CURVE.values())
    assert named <= set(jwt.algorithms.get_default_algorithms())
