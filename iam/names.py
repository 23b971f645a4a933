"""Fresh names and secrets, from the operating system's randomness."""

from __future__ import annotations

import secrets
import string

from iam.model import Secret

_KEY_ALPHABET = string.digits + string.ascii_uppercase
_SECRET_ALPHABET = string.ascii_letters + string.digits + "+"


def new_access_key() -> str:
    """Return a fresh access key id: twenty characters of 0-9 A-Z."""
    return "".join(secrets.choice(_KEY_ALPHABET) for _ in range(20))


def new_secret() -> Secret:
    """Return a fresh secret key: forty characters of A-Z a-z 0-9 +, as MinIO's are."""
    return Secret("".join(secrets.choice(_SECRET_ALPHABET) for _ in range(40)))
