"""router: an exact table, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.admin.call import Body, Route
from gateway.admin.errors import XMinioAdminVersionMismatch
from gateway.admin.router import MINIO, OURS, ROUTES, find
from gateway.errors import MethodNotAllowed

DOCUMENT = Path(__file__).parents[4] / "docs" / "admin-api.md"
METHODS = {"GET", "PUT", "POST", "DELETE"}


def row(path: str, method: str, route: Route) -> str:
    """Return the row of the documentation that says what the table says."""
    query = ", ".join([*route.needs, *(f"[{name}]{'*' if name in route.repeatable else ''}" for name in route.may)])
    own = "yes" if route.own else ""
    actions = " or ".join(action.removeprefix("admin:") for action in route.actions)
    return f"| {method} | `{path.removeprefix(MINIO).removeprefix(OURS)}` | {query} | {route.body} | {route.answer} | {actions} | {own} |"


def test_the_documentation_has_the_table():
    """docs/admin-api.md lists every call with its parameters, bodies and actions, and no other."""
    told = re.findall(r"^\| (?:GET|PUT|POST|DELETE) .*$", DOCUMENT.read_text(), re.MULTILINE)
    assert told == [row(path, method, route) for (path, method), route in ROUTES.items()]


def test_every_route_is_well_made():
    """Each has an admin: action; what is judged by its body has one; parameters are needed or not, not both."""
    for (path, method), route in ROUTES.items():
        assert method == route.method in METHODS
        assert path.endswith(route.path)
        assert route.actions
        assert all(action.startswith("admin:") for action in route.actions)
        assert not route.by_body or route.body is not Body.NONE
        assert not set(route.needs) & set(route.may)
        assert route.repeatable <= set(route.may)


@pytest.mark.parametrize(
    "path",
    [
        "/minio/admin/v3", "/minio/admin/v3/", "/minio/admin/v3/list-users/", "/minio/admin/v3//list-users", "/minio/admin/v3/List-Users",
        "/minio/admin/v4/list-users", "/minio/admin/v1/list-users", "/minio/admin/v3/list-users%20", "/minio/admin/v3/./list-users",
        "/minio/admin/v3/x/../list-users", "/minio-gw/admin/v1/list-users", "/minio/admin/v3/sessions", "/minio-gw/admin/v2/sessions",
        "/minio/admin/v3/revoke-tokens", "/minio/admin/v3/revoke-tokens/", "/minio/admin/v3/revoke-tokens/a/b",
        "/minio/admin/v3/revoke-tokens/a%62", "/minio/admin/v3/revoke-tokens/{}", "/minio/%61dmin/v3/list-users",
    ],
)  # fmt: skip
def test_what_is_not_in_the_table_is_another_version(path):
    """Any other path, however alike, is 426: nothing is decoded, normalized or guessed."""
    with pytest.raises(XMinioAdminVersionMismatch) as refused:
        find("GET", path)
    assert refused.value.status == 426


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get", "PATCH"])
def test_a_path_has_its_methods_only(method):
    """Another method on a known path is 405."""
    with pytest.raises(MethodNotAllowed):
        find(method, f"{MINIO}/list-users")


def test_a_word_is_taken_from_the_path():
    """`{}` stands for one word of letters and digits."""
    found = find("POST", f"{MINIO}/revoke-tokens/openid")
    assert (found.word, found.route.path) == ("openid", "/revoke-tokens/{}")
