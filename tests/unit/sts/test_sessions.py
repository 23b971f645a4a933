"""Session tokens: what they hold, who can make them, and that nothing in them leads to the secret."""

from __future__ import annotations

import base64
import json
import re

import jwt
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from sts.sessions import (
    MAX_TOKEN,
    OUR_CLAIMS,
    PRIVATE,
    ExpiredSession,
    InvalidSession,
    Keyring,
    SessionKey,
    mint,
    open_session,
    secret_for,
)
from tests.servers.iam import a_keyring
from tests.unit.sts.provider import RSA_KEY, encoded

ROOT_SECRET = "root-secret-of-the-unit-tests"
KEYRING = a_keyring(ROOT_SECRET)
KEY = KEYRING.keys[KEYRING.current]
OTHER = a_keyring("another-root-secret")
OTHER_KEY = OTHER.keys[OTHER.current]
ACCESS_KEY = "A" * 20
GOOD = {"accessKey": ACCESS_KEY, "exp": 2**40}


def minted(claims=None, keyring=KEYRING, *, access_key_id=ACCESS_KEY, expires_at=2**40) -> str:
    return mint(keyring, claims or {}, access_key_id=access_key_id, expires_at=expires_at).session_token.reveal()


def signed(claims, key=KEY.signing, algorithm="HS512", kid=KEY.kid, **header) -> str:
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} | header)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda n: n not in OUR_CLAIMS | {"iss"}), JSON, max_size=6))
def test_what_is_minted_opens(claims):
    """Whatever claims an identity has, the token opens to them, with accessKey and exp set by us, and to the same secret."""
    credentials = mint(KEYRING, claims, access_key_id=ACCESS_KEY, expires_at=2000)
    opened = open_session(KEYRING, credentials.session_token.reveal(), now=1999)
    assert opened.claims == {**claims, "accessKey": ACCESS_KEY, "exp": 2000}
    assert opened.credentials == credentials
    assert (opened.parent, opened.session_policy) == ("", None)


def test_the_form_of_the_token():
    """HS512 with our key id; the claims as they came, sorted by name; exp an integer."""
    header, payload, _ = minted({"sub": "s", "aud": ["a", "b"], "exp": "overwritten"}, expires_at=2000).split(".")
    pad = "=="
    assert json.loads(base64.urlsafe_b64decode(header + pad)) == {"alg": "HS512", "kid": KEY.kid, "typ": "JWT"}
    assert base64.urlsafe_b64decode(payload + pad) == (
        b'{"accessKey":"AAAAAAAAAAAAAAAAAAAA","aud":["a","b"],"exp":2000,"sub":"s"}'
    )


def test_the_form_of_the_secret():
    """Forty characters of MinIO's alphabet; the same at every gateway that has the key."""
    secret = secret_for(KEY, ACCESS_KEY).reveal()
    assert re.fullmatch(r"[A-Za-z0-9+]{40}", secret)
    again = a_keyring(ROOT_SECRET)
    assert secret_for(again.keys[again.current], ACCESS_KEY).reveal() == secret
    assert secret_for(KEY, "B" * 20).reveal() != secret


def test_trap_45_the_keys_are_nobodys_secret():
    """Signing key, derivation key and root secret are three different things, of 512 bits each where they are ours."""
    assert len({KEY.signing, KEY.derivation, ROOT_SECRET.encode()}) == 3
    assert len(KEY.signing) == len(KEY.derivation) == 64
    assert KEYRING.current != OTHER.current


FOREIGN = {
    "minted elsewhere": minted(keyring=OTHER),
    "another key under our id": signed(GOOD, OTHER_KEY.signing),
    "the root secret as key": signed(GOOD, ROOT_SECRET.ljust(64, "x").encode()),
    "the derivation key": signed(GOOD, KEY.derivation),
    "unknown key id": signed(GOOD, kid="nobody"),
    "no key id": jwt.encode(GOOD, KEY.signing, "HS512"),
    "HS256": signed(GOOD, algorithm="HS256"),
    "RS256": signed(GOOD, RSA_KEY, "RS256"),
    "none": signed(GOOD, None, "none"),
    "no exp": signed({"accessKey": ACCESS_KEY}),
    "exp null": signed(GOOD | {"exp": None}),
    "exp text": signed(GOOD | {"exp": str(2**40)}),
    "exp fraction": signed(GOOD | {"exp": 2.0**40}),
    "exp true": signed(GOOD | {"exp": True}),
    "no access key": signed({"exp": 2**40}),
    "access key of root": signed(GOOD | {"accessKey": "root"}),
    "access key with more": signed(GOOD | {"accessKey": ACCESS_KEY + "\n"}),
    "access key a list": signed(GOOD | {"accessKey": [ACCESS_KEY]}),
    "parent a list": signed(GOOD | {"parent": ["root"]}),
    "policy no base64": signed(GOOD | {"sessionPolicy": "{}"}),
    "policy no text": signed(GOOD | {"sessionPolicy": "/w=="}),
    "policy an object": signed(GOOD | {"sessionPolicy": {"Version": "2012-10-17"}}),
    "critical header": signed(GOOD, crit=["x"], x=1),
    "no JWT": "junk",
    "empty": "",
    "not ASCII": "é.é.é",
    "nested without end": f"{encoded(b'[' * 9000)}.e30.AAAA",
    "signed nesting": jwt.api_jws.encode(b"[" * 9000, KEY.signing, "HS512", headers={"kid": KEY.kid}),
    "too long": minted({"x": "y" * MAX_TOKEN}),
}


@pytest.mark.parametrize("token", FOREIGN.values(), ids=FOREIGN)
def test_trap_45_tokens_that_we_did_not_write_do_not_open(token):
    """Another key, key id or algorithm, a missing or odd exp or accessKey, and junk are InvalidSession and nothing else."""
    with pytest.raises(InvalidSession) as refused:
        open_session(KEYRING, token, now=0)
    assert not isinstance(refused.value, ExpiredSession)


def test_trap_45_every_character_counts():
    """A token with any one character changed does not open."""
    token = minted({"sub": "s"})
    for i, c in enumerate(token):
        with pytest.raises(InvalidSession):
            open_session(KEYRING, token[:i] + ("A" if c != "A" else "B") + token[i + 1 :], now=0)


@pytest.mark.parametrize(("now", "good"), [(1999, True), (2000, False), (2001, False)])
def test_expiry_is_exact(now, good):
    """A session is good before its expiry, and no second longer; its IdP's nbf and iat are not asked again."""
    token = minted({"nbf": 2**40, "iat": 2**40}, expires_at=2000)
    if good:
        assert open_session(KEYRING, token, now=now).credentials.expires_at == 2000
    else:
        with pytest.raises(ExpiredSession):
            open_session(KEYRING, token, now=now)


def test_keys_rotate():
    """A key ring that mints with a new key still opens what the old one minted, until the old one is taken out."""
    old = minted()
    both = Keyring(OTHER.current, {**KEYRING.keys, **OTHER.keys})
    new = minted(keyring=both)
    assert {open_session(both, one, now=0).credentials.secret.reveal() for one in (old, new)} == {
        secret_for(KEY, ACCESS_KEY).reveal(), secret_for(OTHER_KEY, ACCESS_KEY).reveal(),
    }  # fmt: skip
    with pytest.raises(InvalidSession):
        open_session(OTHER, old, now=0)


def test_trap_59_the_secret_needs_the_servers_key():
    """For one access key two derivation keys give two secrets, whatever signs the token."""
    same_signing = SessionKey(KEY.kid, KEY.signing, OTHER_KEY.derivation)
    secrets = {secret_for(key, ACCESS_KEY).reveal() for key in (KEY, OTHER_KEY, same_signing)}
    assert len(secrets) == 2
    assert secret_for(same_signing, ACCESS_KEY) == secret_for(OTHER_KEY, ACCESS_KEY)


def test_trap_60_the_token_does_not_carry_the_secret():
    """Decoded without any key, no part of a token holds the secret, in plain or in another coding."""
    secret = secret_for(KEY, ACCESS_KEY).reveal()
    token = minted({"sub": "s", "policy": "readwrite"})
    parts = [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]
    raw = base64.b64decode(secret)
    for form in (secret.encode(), raw, raw.hex().encode(), base64.b64encode(secret.encode())):
        assert all(form[:12] not in part for part in [token.encode(), *parts])


def test_trap_54_nothing_shows_its_secrets():
    """Neither keys nor credentials nor sessions show a secret or a token in their repr, nor errors what they refused."""
    token = minted()
    opened = open_session(KEYRING, token, now=0)
    shown = f"{KEYRING!r}{KEY!r}{opened!r}{opened.credentials!r}"
    for hidden in (token, opened.credentials.secret.reveal(), repr(KEY.signing)[2:20], repr(KEY.derivation)[2:20]):
        assert hidden not in shown
    with pytest.raises(InvalidSession) as refused:
        open_session(OTHER, token, now=0)
    assert token not in str(refused.value)


def sealed(claims=None, keyring=KEYRING, expires_at=2**40) -> str:
    """Return a sealed token."""
    found = mint(keyring, claims or {}, access_key_id=ACCESS_KEY, expires_at=expires_at, sealed=True)
    return found.session_token.reveal()


@given(st.dictionaries(st.text().filter(lambda n: n not in OUR_CLAIMS | {"iss"}), JSON, max_size=6))
def test_what_is_sealed_opens_alike(claims):
    """A sealed token opens to what the readable one says, and to the same secret: whoever opens it need not know the setting."""
    one, two = (open_session(KEYRING, text, now=0) for text in (sealed(claims), minted(claims)))
    assert (one.claims, one.credentials.secret) == (two.claims, two.credentials.secret)


def test_a_sealed_token_is_a_jwe():
    """By RFC 7516 an independent reading with the key finds the claims: five parts, direct encryption, A256GCM, the header covered."""
    header, wrapped, nonce, text, tag = sealed({"sub": "s"}, expires_at=2000).split(".")
    read = lambda part: base64.urlsafe_b64decode(part + "==")  # noqa: E731
    assert json.loads(read(header)) == {"alg": "dir", "enc": "A256GCM", "kid": KEY.kid}
    assert (wrapped, len(read(nonce)), len(read(tag))) == ("", 12, 16)
    key = HKDF(SHA512(), length=64, salt=None, info=b"minio-gw v1 token sealing").derive(KEY.signing)[:32]
    opened = Cipher(algorithms.AES(key), modes.GCM(read(nonce), read(tag))).decryptor()
    opened.authenticate_additional_data(header.encode())
    assert json.loads(opened.update(read(text)) + opened.finalize()) == {
        "accessKey": ACCESS_KEY, "exp": 2000, "sub": "s",
    }  # fmt: skip


def test_sealed_tokens_of_two_sessions_have_nothing_in_common():
    """Another access key gives another nonce and another text; the same session the same."""
    other = mint(KEYRING, {"sub": "s"}, access_key_id="B" * 20, expires_at=2**40, sealed=True).session_token.reveal()
    one, two = sealed({"sub": "s"}).split("."), other.split(".")
    assert one[0] == two[0]
    assert not set(one[2:]) & set(two[2:])
    assert sealed({"sub": "s"}) == sealed({"sub": "s"})


def test_trap_45_every_character_of_a_sealed_token_counts():
    """A sealed token with any one character changed, cut or added does not open."""
    token = sealed({"sub": "s"})
    for i, c in enumerate(token):
        for changed in (token[:i] + ("A" if c != "A" else "B") + token[i + 1 :], token[:i] + token[i + 1 :]):
            with pytest.raises(InvalidSession):
                open_session(KEYRING, changed, now=0)
    for more in (token + "A", token + "=", token + ".", "." + token, token + "\n"):
        with pytest.raises(InvalidSession):
            open_session(KEYRING, more, now=0)


def jwe(header: dict | list, parts: str = "AAAA.BBBB.CCCC") -> str:
    return f"{encoded(json.dumps(header).encode())}..{parts}"


@pytest.mark.parametrize(
    "token",
    [
        sealed(keyring=OTHER),
        jwe({"alg": "dir", "enc": "A256GCM", "kid": KEY.kid}),
        jwe({"alg": "none", "enc": "A256GCM", "kid": KEY.kid}),
        jwe({"kid": [KEY.kid]}),
        jwe({}),
        jwe([]),
        "....",
        "é....",
        sealed().replace(".", ".AAAA", 1),
        ".".join([*sealed().split(".")[:1], *sealed({"sub": "x"}).split(".")[1:3], *sealed().split(".")[3:]]),
    ],
)
def test_trap_45_sealed_tokens_that_we_did_not_write_do_not_open(token):
    """Another key, another header, parts of two tokens, and junk are InvalidSession and nothing else."""
    with pytest.raises(InvalidSession) as refused:
        open_session(KEYRING, token, now=0)
    assert not isinstance(refused.value, ExpiredSession)


def test_trap_45_no_key_has_two_uses():
    """What signs does not seal: a readable token's text, encrypted with the signing key itself, does not open."""
    header, _, nonce, _, _ = sealed().split(".")
    both = AESGCM(KEY.signing[:32]).encrypt(
        base64.urlsafe_b64decode(nonce + "=="), json.dumps(GOOD).encode(), header.encode()
    )
    with pytest.raises(InvalidSession):
        open_session(KEYRING, f"{header}..{nonce}.{encoded(both[:-16])}.{encoded(both[-16:])}", now=0)


def test_a_sealed_session_ends():
    """Its expiry is exact, as the readable one's."""
    assert open_session(KEYRING, sealed(expires_at=2000), now=1999)
    with pytest.raises(ExpiredSession):
        open_session(KEYRING, sealed(expires_at=2000), now=2000)


def test_our_claims_are_the_sessions_members():
    """What the token says of provider, moment, groups, tags, role, type and name is what the session has."""
    private = {"provider": "ldap", "issued": 5, "groups": ["g"], "tags": {"a": "b"}, "session": "n"}
    found = open_session(
        KEYRING, minted({"parent": "p", "roleArn": "r", "tokenRevokeType": "t", PRIVATE: private}), now=0
    )
    assert (found.parent, found.provider, found.issued_at, found.groups, found.tags) == (
        "p",
        "ldap",
        5,
        ("g",),
        {"a": "b"},
    )
    assert (found.role_arn, found.revoke_type, found.name) == ("r", "t", "n")


@pytest.mark.parametrize(
    "odd",
    [
        {PRIVATE: "user"}, {PRIVATE: ["provider"]}, {PRIVATE: {"provider": 1}}, {PRIVATE: {"issued": "5"}},
        {PRIVATE: {"issued": True}}, {PRIVATE: {"groups": "g"}}, {PRIVATE: {"groups": [1]}}, {PRIVATE: {"tags": ["a"]}},
        {PRIVATE: {"tags": {"a": 1}}}, {PRIVATE: {"session": 1}}, {"tokenRevokeType": 1}, {"roleArn": []}, {"parent": None},
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [minted, sealed])
def test_a_shape_that_we_never_write_does_not_open(make, odd):
    """Though it be signed, a token whose claims of ours have another type opens to nobody."""
    with pytest.raises(InvalidSession):
        open_session(KEYRING, make(odd), now=0)
