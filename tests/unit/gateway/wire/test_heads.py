"""HTTP/1.1 request heads: read as h11 reads them, and everything that two servers could frame differently is refused."""

from __future__ import annotations

import contextlib

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.heads import MAX_FIELD, MAX_FIELDS, MAX_TARGET, BadHead, RequestReader, _FieldReader

TOKENS = st.text("abcXYZ019-_.!~", min_size=1, max_size=12).map(lambda name: f"x-{name}")
VALUES = st.text("abc XYZ=;,\"'/:\t~", max_size=20)
FIELDS = st.lists(st.tuples(TOKENS, VALUES), max_size=8)


def request(head: bytes):
    """Return the head of a request."""
    return RequestReader().read(head)


def lines(fields) -> bytes:
    """Return fields as bytes."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()


@given(st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST", "OPTIONS"]), st.text("ab/%20?=&", max_size=30), FIELDS, st.none() | st.integers(0, 10**18))  # fmt: skip
def test_h11_reads_requests_alike(method, path, fields, length):
    """Method, target, fields and length are those that another parser finds."""
    told = [("Host", "a"), *fields, *([] if length is None else [("Content-Length", str(length))])]
    head = f"{method} /{path} HTTP/1.1\r\n".encode() + lines(told) + b"\r\n"
    found = request(head)
    server = h11.Connection(h11.SERVER)
    server.receive_data(head)
    event = server.next_event()
    assert (found.method, found.target) == (event.method.decode(), event.target.decode())
    assert found.fields == [(name.decode(), value.decode()) for name, value in event.headers.raw_items()]
    assert (found.length, found.chunked, found.raw) == (length, False, head)
    assert found.has_body is bool(length)


REFUSED = [
    b"Content-Length: 1\r\nContent-Length: 1", b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: 1, 1",
    b"Content-Length: +1", b"Content-Length: -1", b"Content-Length: 0x1", b"Content-Length: ", b"Content-Length: 1 1",
    b"Content-Length: " + b"1" * 20, b"Content-Length: 1\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 1", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding: \x0bchunked", b"Content-Length : 1", b" A: folded", b"A: b\r\n c: folded",
    b"A: b\r\n\tfolded", b"A: b\nContent-Length: 1", b"A: b\rContent-Length: 1", b"A: \x00", b"A\x00: b", b"A b: c", b": empty", b"A",
    b"A: b\n\nGET /x HTTP/1.1\r\nB: c", b"\xff: a", b"A: \xff",
]  # fmt: skip


@pytest.mark.parametrize("field", REFUSED)
def test_ambiguous_fields_are_refused(field):
    """Lengths twice, signed, lists or beside chunks; other codings; folds, bare LF and CR, NUL, spaces in names: refused."""
    with pytest.raises(BadHead):
        request(b"PUT / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"GET /", b"GET / RTSP/1.0", b"GET / RTSP/1.1", b"GET / ICE/1.0",  b"GET / HTTP/2.0", b"GET / HTTP/1.2", b"GET / HTTP/0.9", b"GET / http/1.1", b"GET /\n HTTP/1.1",
        b"GET / HTTP/1.1\nHost: a", b"GET /a b HTTP/1.1", b"GET /\x00 HTTP/1.1", b"G\x00T / HTTP/1.1", b"PRI * HTTP/2.0",
        b"\x16\x03\x01", b"GET / HTTP/1.1 ", b"GET /\xff HTTP/1.1",
    ],
)  # fmt: skip
def test_request_lines_that_are_none_are_refused(line):
    """Other versions, spaces, bare LF, NUL and bytes that are not ASCII are no request line."""
    with pytest.raises(BadHead):
        request(line + b"\r\nHost: a\r\n\r\n")


def test_chunks_in_http_1_0_are_refused():
    """HTTP/1.0 knows no transfer codings: a server before us would look for the end elsewhere."""
    with pytest.raises(BadHead):
        request(b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * MAX_TARGET),
        b"GET / HTTP/1.1\r\nA: %b\r\n\r\n" % (b"a" * MAX_FIELD),
        b"GET / HTTP/1.1\r\n%b\r\n" % (b"A: b\r\n" * (MAX_FIELDS + 1)),
    ],
    ids=["target", "field", "fields"],
)
def test_what_is_too_large_says_so(head):
    """Targets, fields and their number have limits, and the refusal tells them from malformed heads."""
    with pytest.raises(BadHead) as refused:
        request(head)
    assert refused.value.too_large


@pytest.mark.parametrize(
    ("version", "field", "kept"),
    [
        (b"1.1", b"", True), (b"1.1", b"Connection: close\r\n", False), (b"1.1", b"Connection: te, Close\r\n", False),
        (b"1.0", b"", False), (b"1.0", b"Connection: keep-alive\r\n", True), (b"1.1", b"Connection: a\r\nConnection: close\r\n", False),
    ],
)  # fmt: skip
def test_connections_are_kept_as_the_version_says(version, field, kept):
    """HTTP/1.1 keeps unless told to close, HTTP/1.0 closes unless told to keep."""
    assert request(b"GET / HTTP/%b\r\n%b\r\n" % (version, field)).keep_alive is kept


@given(st.lists(st.sampled_from([
    b"GET / HTTP/1.1\r\n\r\n", b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", b"GET / HTTP/1.1\r\nProxy-Connection: close\r\n\r\n",
    b"HEAD / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"bad\r\n\r\n",
    b"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"PUT / HTTP/1.1\r\nUpgrade: a\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\n",
]), max_size=8))  # fmt: skip
def test_one_head_says_nothing_about_the_next(heads):
    """Each head of a connection is read as the first one would be."""
    reader = RequestReader()
    for head in heads:
        outcomes = []
        for one in (reader, RequestReader()):
            try:
                outcomes.append(one.read(head))
            except BadHead as error:
                outcomes.append(error.reason)
        assert outcomes[0] == outcomes[1]


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_read_and_nothing_else(data):
    """No bytes make a reader fall over."""
    with contextlib.suppress(BadHead):
        request(data + b"\r\n\r\n")


REPEATED = st.lists(
    st.tuples(st.sampled_from(["Host", "host", "X-A", "x-a", "Expect", "Connection", "Content-Length", "Transfer-Encoding"]),
              st.sampled_from(["a", "", "close", "keep-alive", "100-continue", "7", "chunked", "é", "b  c", "a ", "7\t", "chunked "])),
    max_size=5,
)  # fmt: skip


def told(reader, head: bytes):
    """Return all that a reader says of a head."""
    try:
        found = reader.read(head)
    except BadHead as error:
        return error.too_large
    return (found.method, found.target, found.fields, found.minor, found.keep_alive, found.length, found.chunked, found.expects)  # fmt: skip


@given(st.lists(REPEATED, min_size=1, max_size=3), st.sampled_from(["HTTP/1.1", "HTTP/1.0"]))
def test_a_head_read_by_its_shape_is_read_field_by_field(heads, version):
    """What is known of the names beforehand changes nothing, whatever the connection's heads before were."""
    reader = RequestReader()
    for fields in heads:
        head = f"GET /a {version}\r\n".encode() + lines(fields) + b"\r\n"
        assert told(reader, head) == told(_FieldReader(), head)


@given(FIELDS)
def test_named_fields_are_the_fields(fields):
    """The dictionary that S3 reads has each field once, in lower case; where one stands twice there is none."""
    head = b"GET /a HTTP/1.1\r\n" + lines([("Host", "a"), *fields]) + b"\r\n"
    found = request(head)
    named = [(name.lower(), value) for name, value in found.fields]
    assert [value for _, value in named[1:]] == [value.strip(" \t") for _, value in fields]
    assert (None if found.named is None else list(found.named.items())) in (None, named)
    spaced = any(value != value.rstrip(" \t") or not value.strip(" \t") for _, value in fields)
    assert spaced or (found.named is None) == (len({name for name, _ in named}) < len(named))


def test_space_behind_a_value_is_no_part_of_what_frames_a_message():
    """RFC 9112 5.1: not of a length, a coding or an expectation either; a policy and the plane read the same value."""
    found = request(b"PUT /a HTTP/1.1\r\nContent-Length: 3 \t\r\nExpect: 100-continue \r\nConnection: close \r\n\r\n")
    assert (found.length, found.expects, found.keep_alive) == (3, True, False)
    assert request(b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked \r\n\r\n").chunked
    for bad in (b"3 3", b"3 ,3", b" "):
        with pytest.raises(BadHead):
            request(b"PUT /a HTTP/1.1\r\nContent-Length: %b \r\n\r\n" % bad)
