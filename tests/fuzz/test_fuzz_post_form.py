"""Invariant: any POST form is read in one way however it is cut, and ends as a PutObject of its bucket or as an S3Error.

And that in time linear in its size, with no more kept than 20 KiB of fields and one piece. `target(data)` is the fuzz target of
one input; hypothesis drives it here (FUZZ_EXAMPLES of them, more for a longer run).
"""

from __future__ import annotations

import os
import time
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import S3Error
from gateway.s3.multipart import MAX_BEFORE_FILE, MAX_HEADERS, Form, FormReader
from gateway.signing.sigv4 import Scope, signing_key
from gateway.stories.plans import Forward, NeedsForm
from gateway.stories.story import begin
from tests.unit.gateway.forms import form_request, multipart, policy_text, signed_form
from tests.unit.gateway.signers import ROOT
from tests.unit.gateway.storied import world

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400"))
B = "b"
NOW = 2**31
#: What forms are made of, and what breaks them.
WORDS = [
    b"--b", b"\r\n--b", b"\r\n--b--\r\n", b"\r\n", b"\r\n\r\n", b"--", b"\n", b"\0", b'"', b"\\", b";", b"=", b"\xff", b"\xc3", b"${filename}", b"..",
    b"Content-Disposition: form-data; name=", b'Content-Disposition: form-data; name="file"; filename="', b"key", b"policy", b"file", b"acl",
    b"tagging", b"<Tagging><TagSet>", b"<!DOCTYPE a>", b"x-amz-meta-a", b"x-amz-signature", b"success_action_redirect", b"[", b"{", b"e30=",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["eq", "starts-with", "content-length-range", "$key", "$", "expiration", "conditions", "2099-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["expiration", "conditions", "key", "bucket", ""]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def read(data: bytes, piece: int):
    """Return form and file of a body fed in pieces of a size, or the refusal's code."""
    reader, file = FormReader(B.encode()), b""
    try:
        for start in range(0, len(data), piece):
            file += reader.feed(data[start : start + piece])
        reader.finish()
    except S3Error as error:
        return error.code
    return reader.form, file


def target(data: bytes) -> None:
    """Hold the invariant for one input: the body of a form with the boundary `b`."""
    started = time.perf_counter()
    whole = read(data, max(len(data), 1))
    for piece in (1, 3, 64):
        cut = read(data, piece)
        # Where a body is wrong in two ways, the pieces may decide which of them is seen first.
        assert cut == whole or isinstance(cut, str) == isinstance(whole, str) is True
    if not isinstance(whole, str):
        form, file = whole
        assert form.offset <= MAX_BEFORE_FILE
        told(form, len(file))
    assert time.perf_counter() - started < 5


def told(form, length: int) -> None:
    """Tell the story of a form that was read: a PutObject of this bucket and no other, or an S3Error."""
    plan = begin(form_request(b"", "/bkt", B), world(), NOW)
    assert isinstance(plan, NeedsForm)
    try:
        found = plan.then(form, NOW)(length)
    except S3Error:
        return
    assert isinstance(found, Forward)
    request = found.request
    assert (request.method, request.path.bucket, request.query, request.content_length) == ("PUT", "bkt", (), length)
    assert request.target.startswith("/bkt/")
    assert not {".", ".."} & set(request.path.key.split("/"))
    assert all("\r" not in n + v and "\n" not in n + v and "\0" not in n + v for n, v in request.headers.items())


@settings(max_examples=EXAMPLES)
@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=40).map(b"".join), st.booleans())
def test_any_bytes(data, framed):
    """Bytes made of what forms are made of."""
    target(b"--b\r\n" + data + b"\r\n--b--\r\n" if framed else data)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_form_with_a_wound(data):
    """A good form with some bytes taken out, put in or doubled."""
    fields, _ = signed_form({"key": "dir/${filename}", "x-amz-meta-a": "b"}, who=ROOT, bucket="bkt")
    body = bytearray(multipart(fields.items(), b"content", boundary=B))
    for _ in range(data.draw(st.integers(1, 3))):
        start, size = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 20))
        put = data.draw(st.sampled_from(WORDS) | st.binary(max_size=4) | st.just(bytes(body[start : start + 40])))
        body[start : start + size] = put
    target(bytes(body))


#: Conditions that the form below meets: with these and no others it is allowed.
MET = [["starts-with", f"${n}", ""] for n in ("key", "bucket", "x-amz-algorithm", "x-amz-credential", "x-amz-date")]


@settings(max_examples=EXAMPLES)
@given(
    JSON
    | st.fixed_dictionaries(
        {
            "expiration": st.just("2099-01-01T00:00:00Z"),
            "conditions": st.lists(JSON, max_size=2).map(lambda more: MET + more),
        }
    )
)
def test_any_signed_policy(document):
    """Whatever a signer signs as a policy allows this form because every condition of it holds, or it is refused."""
    text, scope = policy_text(document), Scope("20380119", "us-east-1", "s3")
    signature = signing_key(ROOT.secret.reveal(), scope).sign(text)
    fields = {
        "key": "k", "policy": text, "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"ROOTKEY/{scope.text}",
        "x-amz-date": "20380119T031408Z", "x-amz-signature": signature,
    }  # fmt: skip
    told(Form(fields, "f", 100), 7)


def test_memory_is_bounded():
    """Endless fields, headers, delimiters that never come and an endless end: none is kept."""
    starts = [
        b"", b"--b", b"--b\r\nA: ", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n',
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n', b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n\r\n--b--\r\n',
    ]  # fmt: skip
    for start in starts:
        for piece in (b"x" * 65536, b"\r\n--" * 16384, b"\r\n--b\r\nA" * 8192):
            reader = FormReader(B.encode())
            tracemalloc.start()
            try:
                reader.feed(start)
                for _ in range(64):
                    reader.feed(piece)
            except S3Error:
                pass
            finally:
                kept, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
            assert kept < MAX_HEADERS + MAX_BEFORE_FILE + 2 * 65536, start
            assert peak < 2**20, start
