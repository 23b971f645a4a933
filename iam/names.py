"""Fresh names and secrets, from the operating system's randomness."""

from __future__ import annotations

import secrets
import string

from iam.model import Secret

_KEY_ALPHABET = string.digits + string.ascii_uppercase
_SECRET_ALPHABET = string.ascii_letters + string.digits + "+"
_SPARE = 8  # bytes of randomness beyond what the text holds: no character is likelier than another by more than 2**-64


def new_access_key() -> str:
    """Return a fresh access key id: twenty characters of 0-9 A-Z."""
    return _text(_KEY_ALPHABET, 20)


def new_secret() -> Secret:
    """Return a fresh secret key: forty characters of A-Z a-z 0-9 +, as MinIO's are."""
    return Secret(_text(_SECRET_ALPHABET, 40))


def _text(alphabet: str, length: int) -> str:
    """Return a text of one draw of randomness: a system call for each character would be a fiftieth of an STS call."""
    base = len(alphabet)
    number = int.from_bytes(secrets.token_bytes((base**length).bit_length() // 8 + 1 + _SPARE))
    digits = []
    for _ in range(length):
        number, digit = divmod(number, base)
        digits.append(alphabet[digit])
    return "".join(digits)
