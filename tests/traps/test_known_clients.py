"""A client that the gateway knows gets nothing that a stranger would not get: the traps again, on connections that have a habit."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from botocore.credentials import Credentials

from tests.traps.raw import Wire, corrupt, presigned, signed, written


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


def refused(edge, recorded, known, data: bytes) -> None:
    """Hold that a known client gets what a client gets that was never seen, an error, and that nothing reaches the store."""
    before = len(recorded())
    answer = known.send(data).answer()
    with Wire(edge.port) as stranger:
        expected = stranger.send(data).answer()
    assert answer.status >= 400
    assert (answer.status, answer.code) == (expected.status, expected.code)
    assert len(recorded()) == before


@pytest.mark.parametrize("hostile", PUTS.values(), ids=PUTS)
def test_trap_37_a_known_client_is_refused_as_a_stranger_is(edge, who, recorded, known, hostile):
    """The same status and code as on a new connection of a client that was never seen, and nothing reaches the store."""
    head = written("PUT", "/bkt/k", good(edge, "PUT", "/bkt/k", who), b"x")
    data = hostile(edge, who, head)
    assert data != head
    refused(edge, recorded, known, data)


LIST = "/bkt?list-type=2&prefix=a%2Fb&max-keys=7"
LISTINGS = {
    "another prefix": (b"a%2Fb", b"a%2Fc"), "a needless escape of another": (b"a%2Fb", b"%63%2Fb"), "a lower-case escape of another": (b"a%2Fb", b"a%2fc"),
    "a broken escape": (b"a%2Fb", b"a%2"), "no UTF-8": (b"a%2Fb", b"a%FF"), "a plus": (b"a%2Fb", b"a+b"), "an equals sign": (b"a%2Fb", b"a=b"),
    "a parameter more": (b"a%2Fb", b"a%2Fb&delimiter=%2F"), "a parameter twice": (b"a%2Fb", b"a%2Fb&prefix=c"), "another name": (b"prefix=", b"prefixa="),
    "no value": (b"prefix=a%2Fb", b"prefix"), "a name behind a name": (b"prefix=a%2Fb", b"prefixa%2Fb"), "another operation": (b"list-type=2", b"versions"),
    "a fragment": (b"max-keys=7", b"max-keys=7#"), "another number": (b"max-keys=7", b"max-keys=8"), "no number": (b"max-keys=7", b"max-keys=x"),
    "another bucket": (b"/bkt?", b"/bkz?"), "a key": (b"/bkt?", b"/bkt/k?"), "another sort of list": (b"list-type=2", b"list-type=1"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), LISTINGS.values(), ids=LISTINGS)
def test_trap_37_who_has_listed_is_refused_as_a_stranger_is(edge, who, recorded, old, new):
    """One listing says nothing about another: of each the parameters are covered by its own signature, in one spelling."""
    with Wire(edge.port) as wire:
        for number in range(3):
            target = LIST.replace("%2Fb", f"%2F{number}")
            wire.send(written("GET", target, good(edge, "GET", target, who)))
            assert wire.answer().status == 200
        refused(edge, recorded, wire, but(written("GET", LIST, good(edge, "GET", LIST, who)), old, new))


URLS = {
    "another key": lambda edge, who, head: but(head, b"/bkt/k?", b"/bkt/l?"),
    "another type of answer": lambda edge, who, head: but(head, b"text%2Fplain", b"text%2Fhtml"),
    "a longer time": lambda edge, who, head: but(head, b"Expires=60", b"Expires=90"),
    "another signature": lambda edge, who, head: re.sub(rb"Signature=\w{8}", b"Signature=00000000", head),
    "no signature": lambda edge, who, head: re.sub(rb"&X-Amz-Signature=\w*", b"", head),
    "a method": lambda edge, who, head: but(head, b"GET ", b"HEAD "),
    "a parameter more": lambda edge, who, head: but(head, b"/bkt/k?", b"/bkt/k?acl&"),
    "a header of the store's": lambda edge, who, head: but(head, b"User-Agent", b"x-amz-acl: public-read\r\nUser-Agent"),
    "a header that is a parameter": lambda edge, who, head: but(head, b"&X-Amz-Expires", b"&x-amz-acl=public-read&X-Amz-Expires"),
    "another host": lambda edge, who, head: but(head, b"Host: 127", b"Host: 128"),
    "another token": lambda edge, who, head: re.sub(rb"Security-Token=\w\w", b"Security-Token=AB", head),
    "expired": lambda edge, who, head: asked(edge, presigned(edge, "GET", "/bkt/k?response-content-type=text%2Fplain", who, date=late(-1))),
    "for later": lambda edge, who, head: asked(edge, presigned(edge, "GET", "/bkt/k?response-content-type=text%2Fplain", who, date=late(1))),
}  # fmt: skip


def asked(edge, target: str) -> bytes:
    return written("GET", target, {"Host": f"127.0.0.1:{edge.port}", "User-Agent": "browser/1"})


@pytest.mark.parametrize("hostile", URLS.values(), ids=URLS)
def test_trap_37_who_has_followed_a_url_is_refused_as_a_stranger_is(edge, who, recorded, hostile):
    """A URL is good for what it was presigned for, and for its time, on whichever connection it is followed."""
    with Wire(edge.port) as wire:
        for key in ("a", "b", "k"):
            head = asked(edge, presigned(edge, "GET", f"/bkt/{key}?response-content-type=text%2Fplain", who))
            assert wire.send(head).answer().status == 200
        data = hostile(edge, who, head)
        assert data != head
        refused(edge, recorded, wire, data)


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


@pytest.mark.parametrize("in_url", [False, True], ids=["signed", "presigned"])
def test_who_has_listed_is_served_as_a_stranger_is(edge, who, recorded, in_url):
    """What reaches the store names this listing's prefix and page, in canonical spelling, and nothing that the client signed with."""
    with Wire(edge.port) as wire:
        for number in range(4):
            target = f"/bkt?list-type=2&prefix=%C3%A9%2F{number}&continuation-token={number}%2B%3D&max-keys={number}"
            sent = presigned(edge, "GET", target, who) if in_url else target
            headers = {"Host": f"127.0.0.1:{edge.port}"} if in_url else good(edge, "GET", target, who)
            data = written("GET", sent, headers)
            assert wire.send(data).answer().status == 200
            with Wire(edge.port) as stranger:
                assert stranger.send(data).answer().status == 200
            first, second = recorded()[-2:]
            assert first.line == second.line == f"GET {target} HTTP/1.1"
            assert first.headers.keys() == second.headers.keys()
            assert "X-Amz" not in first.line
