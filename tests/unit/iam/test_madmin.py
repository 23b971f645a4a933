"""MinIO's encrypted bodies, against the client library that users have."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minio import crypto

from iam.madmin import SIZE_LIMIT, Scheme, Undecryptable, decrypt, encrypt, looks_encrypted

SIZES = (1, 16383, 16384, 16385, 32769)
ROOT = Path(__file__).parents[3]
CHEAP = Scheme.PBKDF2_AES


class Response(io.BytesIO):
    """As much of urllib3's answer as the library reads."""

    def release_conn(self) -> None:
        """There is no connection."""


@pytest.mark.parametrize("size", SIZES)
def test_what_the_library_encrypts_is_read(size):
    """A body that minio-py encrypted is decrypted, at every size around a fragment's."""
    data = os.urandom(size)
    assert decrypt("secret-key", crypto.encrypt(data, "secret-key")) == data


@pytest.mark.parametrize("scheme", [Scheme.ARGON2ID_AES, Scheme.ARGON2ID_CHACHA20])
@pytest.mark.parametrize("size", [0, *SIZES])
def test_what_we_encrypt_is_read_by_the_library(size, scheme):
    """An answer of ours is decrypted by minio-py, in both schemes that it knows."""
    data = os.urandom(size)
    body = encrypt("secret-key", data, random=os.urandom, scheme=scheme)
    assert crypto.decrypt(Response(body), "secret-key") == data


@settings(max_examples=5, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=40), st.binary(max_size=200), st.integers(0, 3))
def test_any_password_and_body_against_the_library(password, data, fragments):
    """Whatever the password and the body, both sides read each other."""
    data = data + bytes(16384 * fragments)
    assert crypto.decrypt(Response(encrypt(password, data, random=os.urandom)), password) == data
    if data:
        assert decrypt(password, crypto.encrypt(data, password)) == data


@settings(deadline=None)
@given(st.binary(max_size=100), st.sampled_from([0, 1, 16283, 16284, 16384, 32768]))
def test_the_scheme_of_fips_builds_comes_back(data, more):
    """PBKDF2, which minio-py does not know, comes back as it went, at any size."""
    data = data + bytes(more)
    assert decrypt("p", encrypt("p", data, random=os.urandom, scheme=CHEAP)) == data


def test_the_scheme_of_fips_builds_is_what_it_says():
    """The PBKDF2 scheme's first fragment opens with the standard library's PBKDF2 of the published costs."""
    import hashlib

    from Crypto.Cipher import AES

    body = encrypt("pass", b"text", random=os.urandom, scheme=CHEAP)
    key = hashlib.pbkdf2_hmac("sha256", b"pass", body[:32], 8192, 32)
    tag = AES.new(key, AES.MODE_GCM, body[33:41] + bytes(4)).digest()
    cipher = AES.new(key, AES.MODE_GCM, body[33:41] + b"\1\0\0\0")
    cipher.update(b"\x80" + tag)
    assert (body[32], cipher.decrypt_and_verify(body[41:-16], body[-16:])) == (2, b"text")


@settings(deadline=None)
@given(st.data())
def test_a_changed_byte_is_noticed(data):
    """No byte of an encrypted body can be changed unnoticed."""
    body = bytearray(encrypt("p", b"x" * 20, random=os.urandom, scheme=CHEAP))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Undecryptable):
        decrypt("p", bytes(body))


@settings(deadline=None)
@given(st.integers(0, 2 * 16400 + 41))
def test_a_cut_body_is_noticed(length):
    """A body that ends early is refused, at a fragment's end as well."""
    body = encrypt("p", bytes(2 * 16384 + 5), random=os.urandom, scheme=CHEAP)
    with pytest.raises(Undecryptable):
        decrypt("p", body[:length])


def test_fragments_that_changed_places_are_noticed():
    """A fragment counts at its own place only."""
    body = encrypt("p", bytes(3 * 16384), random=os.urandom, scheme=CHEAP)
    head, first, second, last = body[:41], body[41:16441], body[16441:32841], body[32841:]
    with pytest.raises(Undecryptable):
        decrypt("p", head + second + first + last)
    with pytest.raises(Undecryptable):
        decrypt("p", head + first + first + second + last)


def test_another_password_does_not_open():
    """The password must be the same; the refusal names neither it nor what was encrypted."""
    with pytest.raises(Undecryptable, match="password is another") as refusal:
        decrypt("sesame-2", encrypt("sesame-1", b"plain text", random=os.urandom))
    assert not [word for word in ("sesame", "plain") if word in str(refusal.value)]


@pytest.mark.parametrize("scheme", [3, 0x20, 255])
def test_an_unknown_scheme_is_refused(scheme):
    """A scheme byte beyond the three is refused before any key is derived."""
    body = bytearray(encrypt("p", b"text", random=os.urandom, scheme=CHEAP))
    body[32] = scheme
    with pytest.raises(Undecryptable, match="scheme"):
        decrypt("p", bytes(body))


def test_the_size_limit_is_minios_unless_lifted():
    """A body of more than 262272 bytes is refused before it costs anything; a stored value has no such limit."""
    body = encrypt("p", bytes(SIZE_LIMIT), random=os.urandom, scheme=CHEAP)
    with pytest.raises(Undecryptable, match="262272"):
        decrypt("p", body)
    assert decrypt("p", body, limit=None) == bytes(SIZE_LIMIT)


def test_a_full_configuration_passes_the_limit():
    """The largest body of MinIO's clients, 256 KiB less what encryption adds, is read."""
    data = bytes(SIZE_LIMIT - 41 - 16 * 16)
    assert decrypt("p", encrypt("p", data, random=os.urandom, scheme=CHEAP)) == data


@given(st.dictionaries(st.text(), st.text(), max_size=3))
def test_json_does_not_look_encrypted(document):
    """Plain JSON, whose 33rd byte is no control character, is never taken for an encrypted body."""
    import json

    assert not looks_encrypted(json.dumps(document, indent=8).encode())
    assert looks_encrypted(encrypt("p", b"", random=os.urandom, scheme=CHEAP))


def test_many_threads_at_once_come_to_an_end():
    """Bodies are encrypted and decrypted in several threads at once; OpenSSL's Argon2id hung there for ever."""
    program = """
import os
from concurrent.futures import ThreadPoolExecutor
from iam.madmin import decrypt, encrypt
def there_and_back(number):
    return decrypt("p", encrypt("p", bytes([number]), random=os.urandom))
with ThreadPoolExecutor(4) as threads:
    assert list(threads.map(there_and_back, range(12))) == [bytes([n]) for n in range(12)]
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=True)
