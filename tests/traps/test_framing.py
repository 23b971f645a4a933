"""What is no request, or two: each refused, or the connection ended, and the backend sees nothing (traps 20 and 56).

Written against the bytes of a real gateway process only: whatever reads HTTP in it must pass.
"""

from __future__ import annotations

import pytest

from tests.traps.raw import Answer, Wire, corrupt, signed, written

TRAILER_MODE = {"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": "4"}
INNER = b"4\r\nbody\r\n0\r\n\r\n"  # aws-chunked: what the transfer coding carries
SIZE = b"%x" % len(INNER)


def lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{n}: {v}\r\n" for n, v in headers.items()).encode()


def refused(answer: Answer | None) -> None:
    """Assert S3's own refusal with a request id in header and document, or no answer at all."""
    if answer is None:
        return
    assert answer.status in {400, 411, 501, 505}, answer
    assert answer.code, answer
    assert answer.headers["x-amz-request-id"] == answer.request_id
    assert answer.headers["content-type"] == "application/xml"


#: After a well signed `PUT /bkt/k`: how long is its body?
LENGTHS = {
    "the same length twice": b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a list of lengths": b"Content-Length: 1, 1\r\n\r\nx",
    "length and coding": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "coding and length": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding before chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding after chunked": b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "identity": b"Transfer-Encoding: identity\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a coding with a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a plus": b"Content-Length: +1\r\n\r\nx",
    "a minus": b"Content-Length: -1\r\n\r\nx",
    "an empty length": b"Content-Length:\r\n\r\nx",
    "a hexadecimal length": b"Content-Length: 0x1\r\n\r\nx",
    "an underscore": b"Content-Length: 1_0\r\n\r\nxxxxxxxxxx",
    "a length beyond 64 bits": b"Content-Length: 18446744073709551617\r\n\r\nx",
    "a space before the colon": b"Content-Length : 1\r\n\r\nx",
    "a tab before the colon": b"Content-Length\t: 1\r\n\r\nx",
    "a coding with a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunks of an unknown total": b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("framing", LENGTHS.values(), ids=LENGTHS)
def test_trap_20_a_body_has_one_length(edge, recorded, framing):
    """A well signed upload whose length could be read in two ways, or in none, is refused."""
    with Wire(edge.port) as wire:
        wire.send(b"PUT /bkt/k HTTP/1.1\r\n" + lines(signed(edge, "PUT", "/bkt/k")) + framing)
        refused(wire.answer())
    assert recorded() == []


#: After a well signed `GET /bkt/k`: one more header line, or what looks like one.
HEADERS = {
    "a folded line": b"X-A: 1\r\n folded\r\n\r\n",
    "a line folded by a tab": b"X-A: 1\r\n\tfolded\r\n\r\n",
    "a bare LF between lines": b"X-A: 1\nX-B: 2\r\n\r\n",
    "a bare LF at the end": b"X-A: 1\r\n\n",
    "a bare CR": b"X-A: 1\rX-B: 2\r\n\r\n",
    "CR CR LF": b"X-A: 1\r\r\n\r\n",
    "NUL in a value": b"X-A: 1\x002\r\n\r\n",
    "NUL in a name": b"X\x00A: 1\r\n\r\n",
    "a control character": b"X-A: 1\x012\r\n\r\n",
    "DEL": b"X-A: 1\x7f2\r\n\r\n",
    "a value that is no UTF-8": b"X-A: \xff\r\n\r\n",
    "a name beyond ASCII": b"X-\xc3\xa9: 1\r\n\r\n",
    "no colon": b"XA\r\n\r\n",
    "no name": b": 1\r\n\r\n",
    "a name with a bracket": b"X(A): 1\r\n\r\n",
    "a name with a space": b"X A: 1\r\n\r\n",
    "Host twice": b"Host: other\r\n\r\n",
    "a deciding header twice": b"X-Amz-Date: 20200101T000000Z\r\n\r\n",
    "Authorization twice": b"Authorization: AWS4-HMAC-SHA256 x\r\n\r\n",
    "Range twice": b"Range: bytes=0-1\r\nrANGE: bytes=2-3\r\n\r\n",
    "a body behind a GET": b"Content-Length: 4\r\n\r\nbody",
    "a chunked body behind a GET": b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("more", HEADERS.values(), ids=HEADERS)
def test_trap_20_a_header_is_one_line_of_one_meaning(edge, recorded, more):
    """A well signed request with a line that could be read in two ways is refused."""
    with Wire(edge.port) as wire:
        wire.send(b"GET /bkt/k HTTP/1.1\r\n" + lines(signed(edge, "GET", "/bkt/k")) + more)
        refused(wire.answer())
    assert recorded() == []


#: What stands before the headers of a well signed `GET /bkt/k`.
REQUEST_LINES = {
    "bare LF": b"GET /bkt/k HTTP/1.1\n",
    "a space before the first header": b"GET /bkt/k HTTP/1.1\r\n X-A: 1\r\n",
    "a space in the target": b"GET /bkt/a b HTTP/1.1\r\n",
    "tabs": b"GET\t/bkt/k\tHTTP/1.1\r\n",
    "NUL in the target": b"GET /bkt/k\x00 HTTP/1.1\r\n",
    "UTF-8 in the target": b"GET /bkt/\xc3\xa9 HTTP/1.1\r\n",
    "a fragment": b"GET /bkt/k#f HTTP/1.1\r\n",
    "a lower-case method": b"get /bkt/k HTTP/1.1\r\n",
    "no method": b" /bkt/k HTTP/1.1\r\n",
    "HTTP/1.2": b"GET /bkt/k HTTP/1.2\r\n",
    "HTTP/2.0": b"GET /bkt/k HTTP/2.0\r\n",
    "HTTP/1.10": b"GET /bkt/k HTTP/1.10\r\n",
    "an absolute target of another host": b"GET http://other/bkt/k HTTP/1.1\r\n",
    "an absolute target with a user": b"GET http://u@127.0.0.1/bkt/k HTTP/1.1\r\n",
    "an absolute target of another scheme": b"GET ftp://127.0.0.1/bkt/k HTTP/1.1\r\n",
    "an authority": b"GET bkt:80 HTTP/1.1\r\n",
    "an empty bucket": b"GET //bkt/k HTTP/1.1\r\n",
    "a backslash": b"GET /bkt\\k HTTP/1.1\r\n",
    "a broken escape": b"GET /bkt/%zz HTTP/1.1\r\n",
    "an escaped NUL": b"GET /bkt/%00 HTTP/1.1\r\n",
    "an escape that is no UTF-8": b"GET /bkt/%ff HTTP/1.1\r\n",
    "a parameter twice": b"GET /bkt?prefix=a&prefix=b HTTP/1.1\r\n",
    "a parameter twice, once escaped": b"GET /bkt?prefix=a&%70refix=b HTTP/1.1\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\n",
    "another protocol": b"GET /bkt/k RTSP/1.0\r\n",
    "CONNECT": b"CONNECT bkt:443 HTTP/1.1\r\n",
}


@pytest.mark.parametrize("line", REQUEST_LINES.values(), ids=REQUEST_LINES.keys())
def test_trap_20_a_request_line_is_one_line_of_one_meaning(edge, recorded, line):
    """A request line that is not method, target and HTTP/1.0 or 1.1 is refused."""
    with Wire(edge.port) as wire:
        wire.send(line + lines(signed(edge, "GET", "/bkt/k")) + b"\r\n")
        refused(wire.answer())
    assert recorded() == []


#: Bytes that never become a request.
NO_HTTP = {
    "HTTP/0.9": b"GET /bkt/k\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + b"\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
    "zeros": bytes(64) + b"\r\n\r\n",
    "high bytes": bytes(range(128, 256)) + b"\r\n\r\n",
    "a proxy's preface": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /bkt/k HTTP/1.1\r\nHost: x\r\n\r\n",
    "no Host": b"GET /bkt/k HTTP/1.1\r\nX: 1\r\n\r\n",
    "no Host, HTTP/1.0": b"GET /bkt/k HTTP/1.0\r\n\r\n",
    "an empty Host": b"GET /bkt/k HTTP/1.1\r\nHost:\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
def test_trap_56_what_is_no_request_gets_a_refusal(edge, recorded, data):
    """Bytes that are no HTTP/1.1 request are refused, and the process serves the next."""
    with Wire(edge.port) as wire:
        refused(wire.send(data).answer())
    with Wire(edge.port) as wire:
        assert wire.send(written("GET", "/bkt/k", signed(edge, "GET", "/bkt/k"))).answer().status == 200
    assert len(recorded()) == 1


#: How the transfer coding of a good aws-chunked upload may be spoilt.
CHUNKS = {
    "an extension over two lines": SIZE + b';a="\r\n"\r\n' + INNER + b"\r\n0\r\n\r\n",
    "an extension ended by a bare LF": SIZE + b";a=b\n" + INNER + b"\r\n0\r\n\r\n",
    "a bare LF after the size": SIZE + b"\n" + INNER + b"\r\n0\r\n\r\n",
    "a minus": b"-" + SIZE + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
    "a plus": b"+" + SIZE + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
    "0x": b"0x" + SIZE + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
    "an underscore": b"0_" + SIZE + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
    "a space before the size": b" " + SIZE + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000000" + SIZE + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
    "no size": b"\r\n" + INNER + b"\r\n0\r\n\r\n",
    "no size but an extension": b";a=b\r\n" + INNER + b"\r\n0\r\n\r\n",
    "a chunk longer than its size": SIZE + b"\r\n" + INNER + b"XX\r\n0\r\n\r\n",
    "a chunk ended by a bare LF": SIZE + b"\r\n" + INNER + b"\n0\r\n\r\n",
    "an end of a bare LF": SIZE + b"\r\n" + INNER + b"\r\n0\r\n\n",
    "a trailer that is no field": SIZE + b"\r\n" + INNER + b"\r\n0\r\nXGET /bkt/other HTTP/1.1\r\n\r\n",
    "a NUL in the size": SIZE + b"\x00\r\n" + INNER + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
def test_trap_20_chunks_are_of_one_length(edge, recorded, body):
    """A chunked body whose chunks could be read in two ways is never whole at the backend."""
    headers = signed(edge, "PUT", "/bkt/k", TRAILER_MODE)
    with Wire(edge.port) as wire:
        wire.send(written("PUT", "/bkt/k", headers | {"Transfer-Encoding": "chunked"}) + body)
        answer = wire.answer()
    assert answer is None or answer.status == 400
    assert not any(r.complete for r in recorded())


def test_trap_20_chunk_extensions_and_trailer_fields_cross_nothing(edge, recorded):
    """An extension and a trailer field of the transfer coding mean nothing: the body crosses, they do not."""
    body = SIZE + b";x-amz-acl=public-read\r\n" + INNER + b"\r\n0\r\nX-Amz-Acl: public-read\r\n\r\n"
    headers = signed(edge, "PUT", "/bkt/k", TRAILER_MODE)
    with Wire(edge.port) as wire:
        wire.send(written("PUT", "/bkt/k", headers | {"Transfer-Encoding": "chunked"}) + body)
        answer = wire.answer()
    assert answer is None or answer.status in {200, 400}
    for request in recorded():
        assert b"public-read" not in request.head + request.body
        assert request.body == (INNER if request.complete else request.body)


def test_trap_20_a_good_chunked_upload_crosses(edge, recorded):
    """What the refusals above spoil is a good upload: unspoilt it crosses whole."""
    headers = signed(edge, "PUT", "/bkt/k", TRAILER_MODE)
    with Wire(edge.port) as wire:
        wire.send(written("PUT", "/bkt/k", headers | {"Transfer-Encoding": "chunked"}))
        wire.send(SIZE[:1]).send(SIZE[1:] + b"\r\n" + INNER + b"\r\n0\r\n\r\n")
        assert wire.answer().status == 200
    assert [(r.body, r.complete) for r in recorded()] == [(INNER, True)]


def test_trap_20_pipelined_requests_are_answered_in_order(edge, recorded, backend):
    """Several requests in one segment, a refused one in the middle: each has its own answer, in order."""
    backend.answer = lambda r: f"HTTP/1.1 200 OK\r\nContent-Length: {len(r.line)}\r\n\r\n{r.line}".encode()
    try:
        targets = ["/bkt/1", "/bkt/2", "/bkt/3", "/bkt/4", "/bkt/5"]
        good = {t: signed(edge, "GET", t) for t in targets}
        good["/bkt/3"] = corrupt(good["/bkt/3"])
        with Wire(edge.port) as wire:
            wire.send(b"".join(written("GET", t, good[t]) for t in targets))
            answers = [wire.answer() for _ in targets]
    finally:
        backend.answer = RECORDS
    assert [a.status for a in answers] == [200, 200, 403, 200, 200]
    assert answers[2].code == "SignatureDoesNotMatch"
    bodies = [a.body.split(b" ")[1].decode() for a in answers if a.status == 200]
    assert bodies == ["/bkt/1", "/bkt/2", "/bkt/4", "/bkt/5"]
    assert sorted(r.line.split(" ")[1] for r in recorded()) == bodies


RECORDS = b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "e"\r\n\r\n'


def test_trap_20_what_follows_a_refused_body_is_no_request(edge, recorded):
    """The body of a refused upload is not read as a request, whatever it looks like."""
    inner = written("GET", "/bkt/secret", signed(edge, "GET", "/bkt/secret"))
    with Wire(edge.port) as wire:
        wire.send(written("PUT", "/bkt/k", corrupt(signed(edge, "PUT", "/bkt/k")), inner))
        assert wire.answer().status == 403
        assert wire.closed()
    assert recorded() == []


def test_trap_20_what_follows_a_malformed_request_is_no_request(edge, recorded):
    """After bytes that are no request the connection ends: where the next one begins is unknown."""
    good = written("GET", "/bkt/k", signed(edge, "GET", "/bkt/k"))
    with Wire(edge.port) as wire:
        wire.send(b"GET /bkt/k HTTP/1.1\r\nHost : x\r\n\r\n" + good)
        refused(wire.answer())
        assert wire.closed()
    assert recorded() == []


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_trap_20_an_upgrade_is_not_taken(edge, recorded, protocol):
    """Nobody is led to another protocol: the request is answered as it is, and what follows is a request or nothing."""
    headers = signed(edge, "GET", "/bkt/k") | {"Connection": "Upgrade", "Upgrade": protocol}
    with Wire(edge.port, timeout=3) as wire:
        wire.send(written("GET", "/bkt/k", headers) + written("GET", "/bkt/no", {"Host": "x"}))
        assert wire.answer().status == 200
        second = wire.answer()
    assert second is None or second.status in {400, 403}
    assert [r.line for r in recorded()] == ["GET /bkt/k HTTP/1.1"]
    assert "upgrade" not in recorded()[0].headers


def test_trap_20_hop_by_hop_names_take_nothing_away(edge, recorded):
    """A Connection header that names other headers removes none of what is sent on."""
    headers = signed(edge, "GET", "/bkt/k", {"Range": "bytes=0-1"})
    with Wire(edge.port) as wire:
        wire.send(written("GET", "/bkt/k", headers | {"Connection": "close, range, host, authorization"}))
        assert wire.answer().status == 200
    assert recorded()[0].headers["range"] == "bytes=0-1"


def test_trap_54_a_malformed_head_is_not_repeated(edge, session):
    """What a broken head held, credentials too, is neither in the answer nor in the log."""
    head = signed(edge, "GET", "/bkt/k") | {"X-Amz-Security-Token": session["sessionToken"] + "\x01"}
    with Wire(edge.port) as wire:
        answer = wire.send(written("GET", "/bkt/k", head)).answer()
    assert answer is None or session["sessionToken"].encode() not in answer.body
    assert session["sessionToken"] not in edge.process.text
    assert "Traceback" not in edge.process.text


def test_a_client_may_end_its_side_first(edge):
    """A client that shuts its sending side down after its request still gets the answer."""
    with Wire(edge.port) as wire:
        answer = wire.send(written("GET", "/bkt/k", signed(edge, "GET", "/bkt/k"))).end().answer()
    assert answer is not None
    assert answer.status == 200
