"""The key layout in etcd, in one place.

    <prefix>minio-gw/v1/sessions/<accessKey>       a session record, under its expiry window's lease
    <prefix>minio-gw/v1/revocations/<accessKey>    a revocation, under the same kind of lease

`prefix` is MINIO_ETCD_PATH_PREFIX, glued in front of every key without a "/" of ours, as MinIO does. Nothing of MinIO's
own layout (config/iam/...) is touched. Pure.
"""

from __future__ import annotations

import re

_ROOT = "minio-gw/v1/"
_NAME = re.compile(r"[0-9A-Za-z]{3,128}")


def sessions(prefix: str) -> str:
    """Return the prefix of session records."""
    return f"{prefix}{_ROOT}sessions/"


def revocations(prefix: str) -> str:
    """Return the prefix of revocations."""
    return f"{prefix}{_ROOT}revocations/"


def is_name(access_key_id: str) -> bool:
    """Return whether an access key may be part of a key: letters and digits, nothing that could leave the prefix."""
    return _NAME.fullmatch(access_key_id) is not None


def range_end(prefix: bytes) -> bytes:
    """Return the end of the range of keys with a prefix, as etcd wants it; a zero byte means to the last key."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\0"
