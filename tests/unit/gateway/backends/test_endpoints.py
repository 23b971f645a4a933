"""endpoints: what an endpoint says of itself, and what of a URL people may see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.endpoints import addressing_of, endpoint_parts, region_of, shown


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://s3.example.org/", "https://s3.example.org"),
        ("s3.example.org:8443", "https://s3.example.org:8443"),
        ("https://[::1]:9000", "https://[::1]:9000"),
        *((text, None) for text in ("", "ftp://x", "http://", "http://s/path", "http://s?x", "http://s#x", "http://u:p@s", "http://s:0",
                                    "http://s:99999", "http://s t", "http://ü")),
    ],
)  # fmt: skip
def test_an_endpoint_is_a_scheme_and_a_host(endpoint, origin):
    """Without a scheme it is https; a path, a query, a user or a port that cannot be make it none."""
    parts = endpoint_parts(endpoint)
    assert (parts and f"{parts.scheme}://{parts.netloc}") == origin


@pytest.mark.parametrize(
    ("host", "region", "virtual"),
    [
        ("s3.eu-central-1.amazonaws.com", "eu-central-1", True),
        ("s3-us-west-2.amazonaws.com", "us-west-2", True),
        ("s3.dualstack.us-east-2.amazonaws.com", "us-east-2", True),
        ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1", True),
        ("s3.amazonaws.com", "", True),
        ("s3.eu-central-1.amazonaws.com.example.org", "", False),
        ("store.test", "", False),
    ],
)
def test_amazon_hosts_name_their_region(host, region, virtual):
    """Amazon's hosts address buckets as virtual hosts, others by path, unless something else is said."""
    assert region_of(host) == region
    assert addressing_of("auto", host) == ("virtual" if virtual else "path")
    assert (addressing_of("path", host), addressing_of("virtual", host)) == ("path", "virtual")


@given(st.text("abc:/?#@.%", max_size=30))
def test_a_shown_url_has_no_password(text):
    """What stands before an @, and what follows ? or #, is not shown."""
    assert "secret" not in shown(f"https://user:secret{text}@host/path?secret#secret")
