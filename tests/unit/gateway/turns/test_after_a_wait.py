"""turn: what has waited, for a body, a region or credentials, is sent only in time, and only for who still may ask.

What a policy is told is of the time at which its request began, so that must not be long ago.
"""

from __future__ import annotations

import base64
import contextlib
import time
from hashlib import md5, sha256

import pytest
from multidict import CIMultiDict

from gateway.errors import InvalidAccessKeyId
from gateway.signing.sigv4 import MAX_SKEW
from tests.unit.gateway.forms import BOUNDARY, multipart, signed_form
from tests.unit.gateway.front import Answer, Front, serve, until
from tests.unit.gateway.signers import ANN, HOST, lookup

TAGGING = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
DELETE = b"<Delete><Object><Key>mine/k</Key></Object></Delete>"
TRAILED = b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n"


class Late:
    """A gateway whose clock a test turns, and whose sessions end when it says so."""

    def __init__(self, ends) -> None:
        self.ahead, self.ended, self.lookups = 0.0, False, 0
        self._ends = ends
        self.front: Front

    def clock(self) -> float:
        return time.time() + self.ahead

    def lookup(self, key, token):
        self.lookups += 1
        if self.ended or self._ends():
            raise InvalidAccessKeyId
        return lookup(key, token)

    async def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes, at: int, turned, *, known=0
    ) -> Answer:
        """Send a head and a body up to a byte; once credentials were looked up `known` times, do something, and send the rest."""
        reader, writer = await self.front.raw(method, target, headers)
        writer.write(body[:at])
        await until(lambda: self.front.desk.inflight == 1 and self.lookups >= known)
        turned()
        writer.write(body[at:])
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        head, _, document = answer.partition(b"\r\n\r\n")
        return Answer(int(head.split()[1]), CIMultiDict(), document)

    async def document(self, kind: str, turned) -> Answer:
        """Send a document, or a small upload that is decoded first, of which all but a byte comes at once."""
        method, target, body, how = KINDS[kind]
        signed = self.front.headers(
            method, target, {"Content-Length": str(len(body)), **how.get("headers", {})}, **how["sign"]
        )
        return await self.send(method, target, signed, body, len(body) - 1, turned, known=1)

    async def form(self, at: bytes, turned, *, lifetime: int, known: int = 0) -> Answer:
        """Send a form up to some bytes of it."""
        body = multipart(signed_form({"key": "k"}, lifetime=lifetime)[0].items(), b"content")
        headers = {
            "Host": HOST, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Length": str(len(body)),
        }  # fmt: skip
        return await self.send("POST", "/ann", headers, body, body.index(at), turned, known=known)

    def later(self, seconds: float) -> None:
        self.ahead = seconds

    def end(self) -> None:
        self.ended = True


KINDS = {
    "tagging": ("PUT", "/ann/k?tagging", TAGGING, {"sign": {"payload": sha256(TAGGING).hexdigest()}}),
    "delete": (
        "POST", "/ann?delete=", DELETE,
        {"sign": {"payload": sha256(DELETE).hexdigest(), "who": ANN},
         "headers": {"Content-MD5": base64.b64encode(md5(DELETE, usedforsecurity=False).digest()).decode()}},
    ),
    "trailed": (
        "PUT", "/ann/k", TRAILED,
        {"sign": {"payload": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "who": ANN},
         "headers": {"x-amz-decoded-content-length": "3", "x-amz-trailer": "x-amz-checksum-crc32"}},
    ),
}  # fmt: skip


@pytest.fixture
async def make_late(store):
    """Make gateways, each with what turns it."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(settings, ends=bool) -> Late:
            made = Late(ends)
            made.front = await serve(stack, store.endpoint, None, made.lookup, settings=settings)
            made.front.desk.clock = made.clock
            return made

        yield make


@pytest.fixture
async def late(make_late):
    """One before a store that does not take aws-chunked."""
    return await make_late({"aws_chunked": False})


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_that_is_judged_may_take_as_long_as_a_signature_is_good(late, store, kind):
    """A second more is RequestTimeout, and the store is not asked."""
    assert (await late.document(kind, lambda: late.later(MAX_SKEW - 5))).status == 200
    assert len(store.requests) == 1
    late.later(0)
    refused = await late.document(kind, lambda: late.later(MAX_SKEW + 1))
    assert (refused.status, refused.code) == (400, "RequestTimeout")
    assert len(store.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_session_that_ends_behind_its_bodys_head_sends_nothing(late, store, kind):
    """Whoever may not ask any more when the last byte is there gets his error, and nothing of it is sent."""
    refused = await late.document(kind, late.end)
    assert (refused.status, refused.code) == (403, "InvalidAccessKeyId")
    assert store.requests == []


@pytest.mark.parametrize(
    ("seconds", "status", "code"), [(500, 204, ""), (700, 403, "AccessDenied"), (901, 400, "RequestTimeout")]
)
async def test_a_forms_policy_is_judged_when_its_fields_are_there(late, store, seconds, status, code):
    """A policy of ten minutes that comes five hundred seconds late is good; one that comes after its end is not."""
    answer = await late.form(b"--", lambda: late.later(seconds), lifetime=600)
    assert answer.status == status
    assert not code or answer.code == code
    assert len(store.requests) == (status == 204)


@pytest.mark.parametrize(("seconds", "status"), [(890, 204), (901, 400)])
async def test_a_small_forms_file_is_bounded_too(late, store, seconds, status):
    """It is read before anybody is asked, so it must be there in time."""
    answer = await late.form(b"content", lambda: late.later(seconds), lifetime=600, known=1)
    assert answer.status == status
    assert len(store.requests) == (status == 204)


async def test_a_session_that_ends_while_a_region_is_asked_for_sends_no_body(make_late, store):
    """A body goes to a bucket whose region is known; whoever may not ask any more when it is gets his error."""
    late = await make_late({"regions": "on"}, ends=lambda: store.requests)
    answer = await late.front.call("PUT", "/ann/k", body=b"abc", who=ANN)
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
    assert [request.line.split()[0] for request in store.requests] == ["HEAD"]


async def test_a_session_that_ends_while_credentials_are_asked_for_sends_nothing(
    make_late, store, tmp_path, monkeypatch
):
    """The chain may ask a command, or a service, for the gateway's own credentials; nothing is signed with them then."""
    asked = tmp_path / "asked"
    known = '{"Version": 1, "AccessKeyId": "K", "SecretAccessKey": "s"}'
    command = tmp_path / "command"
    command.write_text(f"#!/bin/sh\ntouch {asked}\necho '{known}'\n")
    command.chmod(0o700)
    (tmp_path / "config").write_text(f"[profile slow]\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    late = await make_late({"credentials": "chain", "profile": "slow"}, ends=asked.exists)
    answer = await late.front.call("GET", "/ann/k", who=ANN)
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
    assert asked.exists()
    assert store.requests == []
