"""A client that the gateway knows gets nothing that a stranger would not get: the traps again, on connections that have a habit."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from botocore.credentials import Credentials

from tests.traps.raw import Wire, corrupt, signed, written


@pytest.fixture
def who(session):
    """The session as botocore signs with it."""
    return Credentials(session["accessKey"], session["secretKey"], session["sessionToken"])


@pytest.fixture
def known(edge, who):
    """A connection over which three uploads and three downloads were answered."""
    with Wire(edge.port) as wire:
        for number in range(3):
            for method in ("PUT", "GET"):
                target = f"/bkt/k{number}"
                wire.send(written(method, target, good(edge, method, target, who), b"x" if method == "PUT" else b""))
                assert wire.answer().status == 200
        yield wire


def good(edge, method, target, who, **how):
    """Return the headers of the request that is told again; a GET's and a PUT's are alike."""
    return signed(
        edge,
        method,
        target,
        {"User-Agent": "client/1", "x-amz-meta-a": "b"} if method == "PUT" else {"User-Agent": "client/1"},
        who,
        **how,
    )


def late(hours: int) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y%m%dT%H%M%SZ")


def token(headers: dict[str, str]) -> dict[str, str]:
    value = headers["X-Amz-Security-Token"]
    return headers | {"X-Amz-Security-Token": value[:-2] + ("AA" if value[-2:] != "AA" else "BB")}


def but(head: bytes, old: bytes, new: bytes) -> bytes:
    """Return a head in which one thing is another."""
    assert old in head
    return head.replace(old, new, 1)


PUTS = {
    "another signature": lambda edge, who, head: written("PUT", "/bkt/k", corrupt(good(edge, "PUT", "/bkt/k", who)), b"x"),
    "another key": lambda edge, who, head: but(head, b"/bkt/k", b"/bkt/l"),
    "another bucket": lambda edge, who, head: but(head, b"/bkt/k", b"/bkz/k"),
    "another method": lambda edge, who, head: but(head, b"PUT", b"GET"),
    "a parameter": lambda edge, who, head: but(head, b"/bkt/k ", b"/bkt/k?acl "),
    "an unsigned header": lambda edge, who, head: but(head, b"User-Agent", b"x-amz-acl: public-read\r\nUser-Agent"),
    "an unsigned value": lambda edge, who, head: but(head, b"x-amz-meta-a: b", b"x-amz-meta-a: c"),
    "a header twice": lambda edge, who, head: but(head, b"User-Agent", b"x-amz-meta-a: b\r\nUser-Agent"),
    "an old signature": lambda edge, who, head: written("PUT", "/bkt/k", good(edge, "PUT", "/bkt/k", who, date=late(-2)), b"x"),
    "a signature for later": lambda edge, who, head: written("PUT", "/bkt/k", good(edge, "PUT", "/bkt/k", who, date=late(2)), b"x"),
    "another token": lambda edge, who, head: written("PUT", "/bkt/k", token(good(edge, "PUT", "/bkt/k", who)), b"x"),
    "no token": lambda edge, who, head: re.sub(rb"X-Amz-Security-Token: [^\r]*\r\n", b"", head),
    "no signature": lambda edge, who, head: re.sub(rb"Authorization: [^\r]*\r\n", b"", head),
    "two lengths": lambda edge, who, head: but(head, b"Content-Length: 1", b"Content-Length: 1\r\nContent-Length: 1"),
    "length and coding": lambda edge, who, head: but(head, b"Content-Length: 1", b"Content-Length: 1\r\nTransfer-Encoding: chunked"),
    "a signed length": lambda edge, who, head: but(head, b"Content-Length: 1", b"Content-Length: +1"),
    "a bare LF": lambda edge, who, head: but(head, b"x-amz-meta-a: b\r\n", b"x-amz-meta-a: b\n"),
    "a folded line": lambda edge, who, head: but(head, b"x-amz-meta-a: b\r\n", b"x-amz-meta-a: b\r\n c\r\n"),
    "a space before the colon": lambda edge, who, head: but(head, b"Content-Length:", b"Content-Length :"),
    "HTTP/1.0": lambda edge, who, head: but(head, b" HTTP/1.1", b" HTTP/1.2"),
}  # fmt: skip


@pytest.mark.parametrize("hostile", PUTS.values(), ids=PUTS)
def test_trap_37_a_known_client_is_refused_as_a_stranger_is(edge, who, recorded, known, hostile):
    """The same status and code as on a new connection of a client that was never seen, and nothing reaches the store."""
    before = len(recorded())
    head = written("PUT", "/bkt/k", good(edge, "PUT", "/bkt/k", who), b"x")
    data = hostile(edge, who, head)
    assert data != head
    answer = known.send(data).answer()
    with Wire(edge.port) as stranger:
        expected = stranger.send(data).answer()
    assert answer.status >= 400
    assert (answer.status, answer.code) == (expected.status, expected.code)
    assert len(recorded()) == before


def test_a_known_client_is_served_as_a_stranger_is(edge, who, recorded, known):
    """What reaches the store is the same request, whether the client is known or new; only its time may differ."""
    data = written("PUT", "/bkt/other/key-7", good(edge, "PUT", "/bkt/other/key-7", who), b"xyz")
    assert known.send(data).answer().status == 200
    with Wire(edge.port) as stranger:
        assert stranger.send(data).answer().status == 200
    first, second = recorded()[-2:]
    volatile = {"x-amz-date", "authorization"}
    assert first.line == second.line == "PUT /bkt/other/key-7 HTTP/1.1"
    assert {n: v for n, v in first.headers.items() if n not in volatile} == {
        n: v for n, v in second.headers.items() if n not in volatile
    }
    assert first.body == second.body == b"xyz"
