"""Paths that are the gateway's own, whatever the bucket: MinIO reserves the bucket name `minio`, of which these are a part; STS has the root.

A bucket of such a name can be used but for the keys that would have such paths. Pure.
"""

from __future__ import annotations

from urllib.parse import unquote

from gateway.s3.request import S3Request

#: Buckets that share their paths with us.
BUCKETS = frozenset({"minio", "minio-gw"})
_ADMINISTRATION = ("/minio/admin/", "/minio-gw/admin/")  # MinIO's, and ours


def is_administration(path: str) -> bool:
    """Return whether a path is the administration API's, on every host."""
    return path.startswith(_ADMINISTRATION)


def spells_administration(request: S3Request) -> bool:
    """Return whether a request writes such a path in another way (`/minio/%61dmin/`): its signature would be the same."""
    path = request.path
    return path.bucket in BUCKETS and not path.virtual_host and is_administration(f"/{path.bucket}/{path.key}")


def is_sts(request: S3Request) -> bool:
    """Return whether a request is an STS call: a POST to the root with a form, or with an action in its query."""
    if request.method != "POST" or request.target != "/" or request.path.bucket:
        return False
    form = request.header("content-type").startswith("application/x-www-form-urlencoded")
    return form or "Action" in request.parameters


def raw_path(target: str) -> str:
    """Return the path of a raw target, in origin or absolute form (RFC 9112 section 3.2), as it was sent."""
    path = target.partition("?")[0]
    return path if path.startswith("/") else f"/{path.partition('://')[2].partition('/')[2]}"


def plain(target: str) -> str:
    """Return the path of a raw target, in either form, as it reads when it is decoded."""
    return unquote(raw_path(target))
