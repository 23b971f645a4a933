"""The key layout in etcd, in one place.

    <prefix>minio-gw/v1/sessions/<accessKey>       a session record, under its expiry window's lease
    <prefix>minio-gw/v1/iam/<kind>/<name>          a record that every gateway watches; the name percent-encoded
    <prefix>minio-gw/v1/iam/mark                   empty; written by whoever resumes a watch, to see when all before it has arrived

`prefix` is MINIO_ETCD_PATH_PREFIX, glued in front of every key without a "/" of ours, as MinIO does. Nothing of MinIO's
own layout (config/iam/...) is touched. Pure.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from iam.records import Kind

MARK = b"mark"  # no record: a kind alone
_ROOT = "minio-gw/v1/"
_NAME = re.compile(r"[0-9A-Za-z]{3,128}")


def sessions(prefix: str) -> str:
    """Return the prefix of session records."""
    return f"{prefix}{_ROOT}sessions/"


def records(prefix: str) -> str:
    """Return the prefix of the records that are watched."""
    return f"{prefix}{_ROOT}iam/"


def record(kind: Kind, name: str) -> str:
    """Return what follows `records(prefix)` in a record's key: nothing of a name can leave its place (RFC 3986 section 2.1)."""
    return f"{kind}/{quote(name, safe='')}"


def parse_record(key: str) -> tuple[Kind, str] | None:
    """Return kind and name of a key behind `records(prefix)`, None for what is not ours."""
    kind, _, name = key.partition("/")
    known = kind in Kind._value2member_map_
    return (Kind(kind), unquote(name)) if known and name and record(Kind(kind), unquote(name)) == key else None


def is_name(access_key_id: str) -> bool:
    """Return whether an access key may be part of a session's key: letters and digits, nothing that could leave the prefix."""
    return _NAME.fullmatch(access_key_id) is not None


def range_end(prefix: bytes) -> bytes:
    """Return the end of the range of keys with a prefix, as etcd wants it; a zero byte means to the last key."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\0"
