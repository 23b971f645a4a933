"""Answers' heads: read as h11 reads them, refused where two readers could differ, and recognized only where nothing differs but values."""

from __future__ import annotations

import contextlib

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.answer_heads import AnswerReader, read_response
from gateway.wire.heads import BadHead

TOKENS = st.text("abcXYZ019-_.!~", min_size=1, max_size=12).map(lambda name: f"x-{name}")
VALUES = st.text("abc XYZ=;,\"'/:\t~", max_size=20).map(str.strip)
FIELDS = st.lists(st.tuples(TOKENS, VALUES), max_size=8)


def lines(fields) -> bytes:
    """Return fields as bytes."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_read_and_nothing_else(data):
    """No bytes make the reader fall over."""
    for junk in (data, b"HTTP/1.1 " + data, b"HTTP/1.1 200 OK\r\n" + data):
        with contextlib.suppress(BadHead):
            read_response(junk + b"\r\n\r\n", "GET")


@given(st.integers(200, 599), FIELDS, st.none() | st.integers(0, 10**18))
def test_h11_reads_answers_alike(status, fields, length):
    """Status, fields and length of an answer are those that another parser finds."""
    told = [*fields, *([] if length is None else [("Content-Length", str(length))])]
    head = f"HTTP/1.1 {status} Fine\r\n".encode() + lines(told) + b"\r\n"
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.receive_data(head)
    event = client.next_event()
    found = read_response(head, "GET")
    assert found.status == event.status_code
    assert found.fields == [(name.decode(), value.decode()) for name, value in event.headers.raw_items()]
    assert found.length == (0 if status in {204, 304} else length)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\nA: b", b"HTTP/1.1 200 O\nK", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 20", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 OK", b"HTTP/2 200 OK", b"HTTP/1.1  200 OK",
        b"HTTP/1.1 +20 OK", b"ICY 200 OK", b"\x15\x03\x01\x00\x02\x02P", b"HTTP/1.1 200 OK\r\nA\nSet-Cookie: b", b"HTTP/1.1 200 OK\r\nA\rB: b",
        b"HTTP/1.1 200 OK\r\nA: b\nB: c", b"HTTP/1.1 200 OK\r\nA: b\rc", b"HTTP/1.1 200 OK\r\nA: \x00", b"HTTP/1.1 200 OK\r\nA : b",
        b"HTTP/1.1 200 OK\r\n A: b", b"HTTP/1.1 200 OK\r\nA B: c", b"HTTP/1.1 200 OK\r\nA: b\r\n folded", b"HTTP/1.1 200 OK\r\nA", b"HTTP/1.1 200 OK\r\n: a",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
    ],
)  # fmt: skip
def test_answers_that_are_none_are_refused(head):
    """A backend cannot slip a field past us in a bare LF or CR, nor have its body end in two places."""
    with pytest.raises(BadHead):
        read_response(head + b"\r\n\r\n", "GET")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("PUT", 100)])
def test_answers_without_bodies_have_none(method, status):
    """The method and the status say it, whatever the fields say."""
    for framing in (b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b""):
        found = read_response(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, framing), method)
        assert (found.length, found.chunked) == (0, False)


@pytest.mark.parametrize(
    ("head", "kept"),
    [(b"HTTP/1.1 200 OK\r\n", True), (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", False), (b"HTTP/1.0 200 OK\r\n", False),
     (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True), (b"HTTP/1.1 200 OK\r\nConnection: te, close\r\n", False)],
)  # fmt: skip
def test_a_backends_connection_is_kept_when_it_says_so(head, kept):
    """As for requests."""
    assert read_response(head + b"\r\n", "GET").keep_alive is kept


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["ETag", "etag", "X-A", "Content-Length", "Connection", "Transfer-Encoding", "x-amz-request-id"]),
        st.sampled_from(["", "a", "a b", " a", "a ", "7", "12345678", "007", "9" * 20, "close", "keep-alive", "chunked", "gzip", "é", "a\rb", "a\nb", "\x00", "\t"]),
    ),
    max_size=4,
)  # fmt: skip


def told(read, head: bytes, method: str):
    """Return all that a reader says of a head."""
    try:
        found = read(head, method)
    except BadHead:
        return None
    return (found.status, found.fields, found.length, found.chunked, found.keep_alive)


@given(
    st.lists(ANSWERS, min_size=1, max_size=3),
    st.sampled_from(["200 OK", "204 No", "304", "404 Not"]),
    st.lists(st.sampled_from(["GET", "HEAD"]), min_size=4, max_size=4),
)
def test_a_recognized_head_is_read_as_an_unknown_one(heads, status, methods):
    """Whatever a backend has answered before, and to which method, each head says what it says to a reader that has seen none."""
    reader = AnswerReader()
    for method in methods:
        for fields in heads:
            head = f"HTTP/1.1 {status}\r\n".encode() + lines(fields) + b"\r\n"
            assert told(reader.read, head, method) == told(read_response, head, method)


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked\r\n", "Content-Length: 7\r\n", ""])
def test_what_answers_a_head_says_nothing_of_the_body_of_a_get(framing):
    """The same head, learnt of answers that have no body, frames the body of one that has (RFC 9112 6.3)."""
    reader, head = AnswerReader(), f"HTTP/1.1 404 Not Found\r\nServer: AmazonS3\r\n{framing}\r\n".encode()
    for method in ("HEAD", "HEAD", "HEAD", "GET", "HEAD", "GET"):
        assert told(reader.read, head, method) == told(read_response, head, method)
    assert len(reader._shapes) == 1


def test_the_third_answer_of_a_kind_is_recognized():
    """Else nothing would be saved; another status or name is read whole again."""
    reader = AnswerReader()
    for number in range(4):
        reader.read(b"HTTP/1.1 200 OK\r\nETag: %d\r\nContent-Length: %d\r\n\r\n" % (number, 10**number), "GET")
        assert len(reader._shapes) == (number > 0)
    for other in (
        b"HTTP/1.1 206 OK\r\nETag: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nEtag: 1\r\nContent-Length: 1\r\n\r\n",
    ):
        assert reader._shapes[0].form.words(other) is None


def test_the_shape_that_is_used_stays():
    """Odd answers, however many, do not crowd out the common one: it is learnt once."""
    reader, common, odd = AnswerReader(), b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 1\r\n\r\n", 40
    for number in range(odd):
        for _ in range(2):
            reader.read(common, "GET")
            reader.read(b"HTTP/1.1 200 OK\r\nX-%d: 1\r\nContent-Length: 1\r\n\r\n" % number, "GET")
    assert reader._made == odd + 1


def test_a_value_that_was_always_the_same_may_become_another():
    """What is taken for constant is learnt not to be, one value or several; the head is read right all the while, and one shape is left."""
    reader, values = AnswerReader(), {"Server": "a", "X-A": "a", "ETag": "a", "X-B": "a"}
    for changed in ([], [], ["ETag"], ["Server"], ["X-A", "X-B"], ["Server", "X-B"], []):
        values.update({name: values[name] + "b" for name in changed})
        head = b"HTTP/1.1 200 OK\r\n" + lines(values.items()) + b"\r\n"
        for _ in range(2):
            assert told(reader.read, head, "GET") == told(read_response, head, "GET")
        assert len(reader._shapes) == 1
    assert len(reader._shapes[0].form.fixed) == 1 + 4  # all four are holes now
    made = reader._made
    reader.read(b"HTTP/1.1 200 OK\r\n" + lines(dict.fromkeys(values, "new").items()) + b"\r\n", "GET")
    assert reader._made == made


def test_how_an_answer_is_framed_is_never_a_word():
    """Of heads that differ in their framing each is another kind."""
    reader = AnswerReader()
    for connection in ("keep-alive", "close", "keep-alive", "close", "keep-alive"):
        head = b"HTTP/1.1 200 OK\r\nConnection: %b\r\nContent-Length: 3\r\n\r\n" % connection.encode()
        assert reader.read(head, "GET").keep_alive is (connection == "keep-alive")
    assert len(reader._shapes) == 2
