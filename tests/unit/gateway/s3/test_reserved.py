"""reserved: paths that are ours, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.reserved import is_administration, plain, spells_administration
from tests.unit.gateway.signers import HOST, read


@pytest.mark.parametrize("path", ["/minio/admin/v3/x", "/minio-gw/admin/", "/minio/admin/"])
def test_plain_paths_are_ours(path):
    """Both beginnings, whatever follows; and so in absolute form and with a query."""
    assert is_administration(path)
    assert is_administration(plain(f"http://{HOST}{path}?a=/b"))


@pytest.mark.parametrize(
    "path",
    [
        "/minio/admin",
        "/minio/adminx/",
        "/minio2/admin/x",
        "/Minio/admin/x",
        "/xyz/minio/admin/",
        "/minio/health/live",
        "/",
    ],
)
def test_others_are_not(path):
    """What only looks alike stays S3's."""
    assert not is_administration(path)
    assert not spells_administration(read("GET", path))


@given(st.sampled_from(["/minio/admin/v3/groups", "/minio-gw/admin/v1/keys"]), st.data())
def test_every_spelling_is_recognized(path, data):
    """Percent-encode what you like: where the decoded path is ours, it is handed over, and nobody takes it for an object."""
    coded = "".join(
        f"%{ord(c):02x}" if i not in {0, path.index("/", 1)} and data.draw(st.booleans()) else c
        for i, c in enumerate(path)
    )
    assert spells_administration(read("GET", coded))
    assert is_administration(plain(coded))


def test_a_bucket_of_a_host_name_is_another_matter():
    """`minio` as a virtual host's bucket does not share our paths."""
    request = read("GET", "/admin/v3/x", {"Host": "minio.s3.example.test"}, domains=("s3.example.test",))
    assert request.path.bucket == "minio"
    assert not spells_administration(request)
