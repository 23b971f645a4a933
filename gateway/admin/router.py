"""Which call is it? An exact table of methods and paths; nothing is decoded, normalized or guessed.

MinIO's clients ask for version 4 of its API first and take 426 as "ask for version 3": so that is the answer to every path that
is not in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from gateway.admin import (
    access_keys,
    accounts,
    entities,
    explain,
    groups,
    info,
    keys,
    policies,
    portability,
    sessions,
    users,
)
from gateway.admin.call import Route
from gateway.admin.errors import XMinioAdminInvalidArgument, XMinioAdminVersionMismatch
from gateway.errors import MethodNotAllowed
from gateway.s3.request import S3Request

MINIO, OURS = "/minio/admin/v3", "/minio-gw/admin/v1"
_MINIO_ROUTES = (
    *users.ROUTES, *groups.ROUTES, *policies.ROUTES, *entities.ROUTES, *accounts.ROUTES, *access_keys.ROUTES, *info.ROUTES,
    *sessions.MINIO_ROUTES,
)  # fmt: skip
_OUR_ROUTES = (*sessions.ROUTES, *keys.ROUTES, *explain.ROUTES, *portability.ROUTES)


def _table(prefix: str, routes: Iterable[Route]) -> dict[tuple[str, str], Route]:
    return {(f"{prefix}{route.path}", route.method): route for route in routes}


#: (path, method) -> route; a path that ends in `{}` stands for each with one word there.
ROUTES: Mapping[tuple[str, str], Route] = MappingProxyType(_table(MINIO, _MINIO_ROUTES) | _table(OURS, _OUR_ROUTES))
_PATHS = frozenset(path for path, _ in ROUTES)


class Found(NamedTuple):
    """The route of a request, and the word that `{}` stands for."""

    route: Route
    word: str = ""


def find(method: str, path: str) -> Found:
    """Return the route of a raw path, as it was sent. Raises XMinioAdminVersionMismatch, MethodNotAllowed."""
    word = ""
    if path not in _PATHS or path.endswith("{}"):
        start, _, word = path.rpartition("/")
        path = f"{start}/{{}}"
        if path not in _PATHS or not (word.isascii() and word.isalnum()):
            raise XMinioAdminVersionMismatch
    route = ROUTES.get((path, method))
    if route is None:
        raise MethodNotAllowed
    return Found(route, word)


def check_query(route: Route, request: S3Request) -> None:
    """Return if a request has the parameters that its route needs, and none that it does not know."""
    given = request.parameters.keys()
    unknown = sorted(given - {*route.needs, *route.may})
    if unknown:
        raise XMinioAdminInvalidArgument(f"This call does not know the parameter {unknown[0][:64]}.")
    missing = [name for name in route.needs if name not in given]
    if missing:
        raise XMinioAdminInvalidArgument(f"The parameter {missing[0]} is missing.")
