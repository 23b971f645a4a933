"""A story told again: its answer reaches the client, and the log, as that of one told whole."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from gateway.errors import AccessDenied
from gateway.wire.answer_heads import read_response
from gateway.wire.heads import RequestReader
from gateway.wire.steps import Collect, Pass, Say, Send
from tests.unit.gateway.told import MAY, guest, head, make, policies, whole

ANSWERS = [
    b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 2\r\nServer: x\r\nx-amz-request-id: 7\r\nx-amz-meta-a: b\r\n',
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n",
    b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n',
    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nContent-Length: 2\r\nX-Amz-Request-Id: "
    + b"9" * 100
    + b"\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: aws-chunked,gzip\r\nx-amz-bucket-region: over-there\r\nContent-Length: 2\r\n",
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n",
    b"HTTP/1.1 503 Slow Down\r\nRetry-After: 3\r\nContent-Length: 2\r\n",
]


def both(desk, raw: bytes):
    """Return two turns of a head, told again and told whole, and their first steps."""
    who = guest(desk)
    whole(desk, raw, who)
    turns = desk.again(who, raw), desk.turn(guest(desk), RequestReader().read(raw))
    return [(turn, turn.begin()) for turn in turns]


@pytest.mark.parametrize("answer", ANSWERS)
def test_its_answer_is_that_of_a_story_told_whole(answer):
    """Head and line of the log are the same, but for the request's own id and time."""
    desk = make()
    now = int(time.time())
    desk.clock = lambda: now
    found = []
    for turn, step in both(desk, head("GET", "/ann/a%20b")):
        passed = step.answered(read_response(answer + b"\r\n", "GET"))
        if isinstance(passed, Collect):
            passed = passed.whole(b"no")
        assert isinstance(passed, Pass | Say)
        turn.sent = 2
        turn.finish()
        line = turn._line.members() | {"seconds": 0}
        found.append((re.sub(rb"(x-amz-request-id: )[0-9A-F]+", rb"\1", passed.head), line | {"request_id": ""}))
    assert found[0] == found[1]


def test_an_answer_that_does_not_come_is_503():
    """What a turn says that is told whole."""
    raised = []
    for turn, step in both(make(), head("GET", "/ann/a")):
        with pytest.raises(Exception, match="does not answer") as caught:
            step.failed("closed")
        turn.refuse(caught.value)
        turn.finish()
        raised.append((type(caught.value), turn._line.status, turn._line.error, turn._line.reason))
    assert raised[0] == raised[1]


@pytest.mark.parametrize(("first", "mine"), [
    ("/ann/first", "/ann/mine"), ("/ann?list-type=2&prefix=first&max-keys=1", "/ann?list-type=2&prefix=m%2F%C3%A9&max-keys=7"),
])  # fmt: skip
def test_a_redirected_story_is_followed_with_its_own_words(first, mine):
    """A backend that sends us to another region is asked there for the key, or the page, of this request."""
    desk = make()
    who = guest(desk)
    whole(desk, head("GET", first), who)
    turn = desk.again(who, head("GET", mine))
    step = turn.begin()
    moved = step.answered(
        read_response(b"HTTP/1.1 301 Moved\r\nx-amz-bucket-region: eu-west-1\r\nContent-Length: 0\r\n\r\n", "GET")
    )
    there = moved.then()
    assert isinstance(there, Send)
    assert there.head.startswith(f"GET {mine} HTTP/1.1\r\n".encode())
    assert b"eu-west-1" in there.head
    turn.finish()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_that_a_key_is_not_there_is_told_by_the_rights_to_it(method):
    """Not by those to the key that the story was learnt of (decision 0017)."""
    reads = MAY | {"Action": "s3:GetObject"}
    lists = MAY | {"Action": "s3:ListBucket", "Condition": {"StringLike": {"s3:prefix": "mine/*"}}}
    known = policies(reads, lists)
    desk = make(lambda: known)
    who, found = guest(desk), []
    whole(desk, head(method, "/ann/mine/first"), who)
    for key in ("mine/b", "other"):
        turn = desk.again(who, head(method, f"/ann/{key}"))
        step = turn.begin().answered(read_response(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", method))
        with contextlib.suppress(AccessDenied):
            found.append((key, step.whole(b"").head[:12]))
        turn.finish()
    assert found == [("mine/b", b"HTTP/1.1 404")]
