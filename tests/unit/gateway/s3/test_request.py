"""A head is decoded exactly once, and two readings of it cannot differ."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidArgument, InvalidURI, S3Error
from gateway.s3.request import parse

HOST = ("host", "gw.example")
KEYS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=60)


def head(target: str, *headers: tuple[str, str], method: str = "GET", domains: tuple[str, ...] = ()):
    return parse(
        method,
        target,
        [HOST, *headers] if not any(n == "host" for n, _ in headers) else headers,
        domains=domains,
        source_ip="127.0.0.1",
    )


@given(KEYS)
def test_any_key_comes_back_from_its_encoding(key):
    """Encoding a key and parsing the target gives the key, and the canonical target is the encoding."""
    target = "/bucket/" + quote(key, safe="/-._~")
    request = head(target)
    assert (request.path.bucket, request.path.key) == ("bucket", key)
    assert request.canonical_target == target
    assert request.canonical_targets == (target,)


@given(st.dictionaries(KEYS, KEYS, max_size=6))
def test_any_query_comes_back_from_its_encoding(query):
    """Encoding a query and parsing it gives the same pairs in the same order."""
    text = "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in query.items())
    assert dict(head(f"/b12?{text}").query) == query


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_a_target_parses_or_is_an_s3_error(text):
    """Whatever the target, it is understood or refused; nothing else is raised."""
    try:
        request = head("/" + text)
    except S3Error:
        return
    assert "\x00" not in request.path.key


def test_trap_17_nothing_is_normalized():
    """Dots, double slashes and escaped slashes stay what they are."""
    for target, key in [
        ("/buc/a//b", "a//b"),
        ("/buc/../x", "../x"),
        ("/buc/%2e%2e/x", "../x"),
        ("/buc/a%2Fb", "a/b"),
        ("/buc/a/", "a/"),
        ("/buc/%2520", "%20"),
    ]:
        assert head(target).path.key == key
    assert head("/buc/a%2Fb").canonical_targets == ("/buc/a/b", "/buc/a%2Fb")


def test_trap_61_virtual_host_names_the_bucket():
    """Under a configured domain the bucket is in the Host and the path is the key."""
    request = head("/B/key", ("host", "aaa.s3.example.test:9000"), domains=("s3.example.test",))
    assert (request.path.bucket, request.path.key, request.path.virtual_host) == ("aaa", "B/key", True)
    assert head("/B12/key", ("host", "aaa.evil.test"), domains=("s3.example.test",)).path.bucket == "B12"


@pytest.mark.parametrize(
    "target",
    [
        "/b12/%zz",
        "/b12/%00",
        "/b12/%ff",
        "b12/k",
        "/b12/k#f",
        "//k",
        "/..",
        "/a%2Fb/k",
        "/b12?a=1&a=2",
        "ftp://x/b",
        "/b12/" + "k" * 1025,
    ],
)
def test_bad_targets_are_refused(target):
    """A target that is broken or could be read in two ways is a 400."""
    with pytest.raises(S3Error) as refused:
        head(target)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "headers",
    [
        [("x-amz-acl", "a"), ("X-Amz-Acl", "b")],
        [("content-length", "1"), ("content-length", "1")],
        [("content-length", "+1")],
        [("host", "")],
    ],
)
def test_bad_headers_are_refused(headers):
    """A header that decides must be there once, and a length must be one."""
    with pytest.raises(S3Error):
        head("/b12/k", *headers)


def test_absolute_form():
    """A proxy-style target is the same request, with or without a path."""
    assert head("http://gw.example/b12/k?x=1") == head("/b12/k?x=1")
    assert head("HTTPS://GW.example?x=1") == head("/?x=1")
    assert head("http://gw.example") == head("/")


@pytest.mark.parametrize(
    "host", ["other.example", "b12.gw.example", "gw.example:80", "user@gw.example", "gw.example.", ""]
)
def test_trap_20_absolute_form_of_another_host(host):
    """A target that names another host than the Host header could be read in two ways: it is refused."""
    with pytest.raises(InvalidURI):
        head(f"http://{host}/b12/k")


def test_a_parameter_is_repeated_only_where_a_list_is_meant():
    """Both values are kept in their order; another parameter twice is refused as ever."""
    how = {"headers": {"host": "h"}, "source_ip": "192.0.2.7", "repeatable": frozenset({"user"})}
    assert parse("GET", "/bkt?user=b&x=1&user=a", **how).query == (("user", "b"), ("x", "1"), ("user", "a"))
    with pytest.raises(InvalidArgument):
        parse("GET", "/bkt?user=b&x=1&x=1", **how)
