"""Fresh names and secrets: their form, and that every character can stand everywhere."""

from __future__ import annotations

import re

from iam.names import new_access_key, new_secret


def test_access_keys_are_as_minios():
    """Twenty characters of 0-9 A-Z, no two alike."""
    keys = {new_access_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch("[0-9A-Z]{20}", key) for key in keys)


def test_secrets_are_as_minios():
    """Forty characters of A-Z a-z 0-9 +, which do not show themselves."""
    secret = new_secret()
    assert re.fullmatch("[A-Za-z0-9+]{40}", secret.reveal())
    assert secret.reveal() not in repr(secret)


def test_every_character_stands_in_every_place():
    """Over many draws each place holds each character of the alphabet: none is fixed, none is left out."""
    keys = [new_access_key() for _ in range(3000)]
    assert all(len({key[place] for key in keys}) == 36 for place in range(20))
