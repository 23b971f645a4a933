"""A browser's cross-origin requests get through the gateway what they get from the store."""

from __future__ import annotations

import http.client
import uuid
from urllib.parse import urlsplit

import pytest

PAGE = "https://page.example.test"


@pytest.fixture
def bucket(direct):
    """A bucket whose CORS configuration lets one page read and write."""
    name = f"cors-{uuid.uuid4().hex[:8]}"
    direct.create_bucket(Bucket=name)
    rule = {
        "AllowedMethods": ["GET", "PUT"], "AllowedOrigins": [PAGE], "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60,
    }  # fmt: skip
    direct.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [rule]})
    direct.put_object(Bucket=name, Key="k", Body=b"for a page")
    yield name
    direct.delete_object(Bucket=name, Key="k")
    direct.delete_bucket(Bucket=name)


def answer(url, method, headers):
    """Return status, CORS headers and body of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", headers=headers)
        found = connection.getresponse()
        seen = {n.lower(): v for n, v in found.getheaders() if n.lower().startswith("access-control-")}
        return found.status, seen, found.read() if method == "GET" else b""
    finally:
        connection.close()


@pytest.mark.parametrize("origin", [PAGE, "https://elsewhere.test"])
@pytest.mark.parametrize("asked", ["GET", "PUT", "DELETE"])
def test_preflight(s3, direct, bucket, origin, asked):
    """A preflight of a presigned URL is answered as the store answers it, allowed or not, without credentials."""
    headers = {"Origin": origin, "Access-Control-Request-Method": asked, "Access-Control-Request-Headers": "x-amz-date"}
    through, oracle = (
        answer(c.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}), "OPTIONS", headers)
        for c in (s3, direct)
    )
    assert through == oracle
    if asked != "DELETE":
        assert oracle[1].get("access-control-allow-origin") == (PAGE if origin == PAGE else None)


@pytest.mark.parametrize("origin", [PAGE, "https://elsewhere.test"])
def test_request_of_a_page(s3, direct, bucket, origin):
    """The request that follows carries the store's CORS headers, for the page that may have them."""
    through, oracle = (
        answer(c.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}), "GET", {"Origin": origin})
        for c in (s3, direct)
    )
    assert through == oracle
    assert oracle[1].get("access-control-allow-origin") == (PAGE if origin == PAGE else None)
