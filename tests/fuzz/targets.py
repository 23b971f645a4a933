"""What is fuzzed: each target takes any bytes, and lets nothing escape but what its first line allows.

A target fails by raising: an error of another type, or an AssertionError where two readings of the same bytes differ. Time and
memory are bounded by who runs it (`tests/fuzz/run.py`, `tests/fuzz/test_targets.py`). `SEEDS` are good inputs to start from.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

import jwt

from gateway.admin.call import Document
from gateway.admin.errors import render as render_json
from gateway.errors import MalformedXML, S3Error, render
from gateway.s3 import multipart, post_policy, xml
from gateway.s3.actions import copy_source, required
from gateway.s3.authenticate import authenticate
from gateway.s3.decoding import decoder
from gateway.s3.operations import resolve
from gateway.s3.request import S3Request, parse
from gateway.signing.chunked import SignedRelay, UnsignedRelay
from gateway.signing.sigv4 import SigningKeys, check_time, parse_authorization, parse_presigned
from gateway.stories import documents
from gateway.turns.habit import Habit
from gateway.turns.retold import Retold
from gateway.wire.answer_heads import read_response
from gateway.wire.chunks import BadChunk, ChunkedReader
from gateway.wire.heads import END, BadHead, RequestReader
from iam import policy
from iam.evaluate import decide
from iam.model import AccessRequest, Credentials, Principal, PrincipalType
from sts.parameters import wanted
from sts.sessions import ALGORITHM, InvalidSession, mint, open_session
from sts.wire import StsError, parse_call, render_error
from tests.servers.iam import a_keyring
from tests.traps import raw
from tests.unit.gateway import told
from tests.unit.gateway.signers import ANN, HOST, ROOT, boto, lookup
from tests.unit.gateway.signing.test_chunked import (
    backend_chain,
    client_chain,
    encode_signed,
    encode_unsigned,
)

NOW = 1_770_000_000  # the seeds are signed at this second, so that a corpus never ages
STAMP = b"20260202T024000Z"
KEYRING = a_keyring("a root secret of the fuzzers")
KEYS = SigningKeys()
CRC = "x-amz-checksum-crc32c"


def request_head(data: bytes) -> None:
    """Parse or an S3Error of status 400: a head of `target`, then `name: value` lines; in time and memory of its size."""
    request = _head(data)
    if request is None:
        return
    assert unquote_to_bytes(request.canonical_target) == unquote_to_bytes(request.target)
    if not request.path.virtual_host and request.path.bucket:
        bucket, _, key = unquote_to_bytes(request.canonical_target)[1:].partition(b"/")
        assert (bucket, key) == (request.path.bucket.encode(), request.path.key.encode())
    try:
        required(resolve(request), request)
    except S3Error as error:
        render(error, resource=request.target, request_id="id")


def _head(data: bytes) -> S3Request | None:
    """Read a head as the gateway does; None when it is refused."""
    first, *lines = data.split(b"\n")
    method, _, target = first.decode("latin-1").partition(" ")
    try:
        headers = [(n.decode("ascii"), v.strip().decode()) for n, _, v in (line.partition(b":") for line in lines)]
    except UnicodeDecodeError:
        return None
    try:
        return parse(method, target, headers, domains=("s3.example.test",), source_ip="192.0.2.1")
    except S3Error as error:
        refused = error
    assert refused.status == 400, refused
    return None


def authorization(data: bytes) -> None:
    """A claim or an S3Error: a timestamp, a line end, an Authorization header; in time and memory of its size."""
    timestamp, _, value = data.decode("latin-1").partition("\n")
    try:
        claim = parse_authorization(value, timestamp)
        check_time(claim, NOW)
    except S3Error:
        return
    assert claim.scope.text in value
    assert claim.signature in value
    assert "host" in claim.signed_headers


def presigned_query(data: bytes) -> None:
    """A claim or an S3Error: the query of a presigned URL; in time and memory of its size."""
    request = _head(b"GET /bkt/k?" + data.replace(b"\n", b"") + b"\nhost:h")
    if request is None:
        return
    try:
        claim = parse_presigned(request.query)
        check_time(claim, NOW)
    except S3Error:
        return
    assert claim.expires is not None
    assert 1 <= claim.expires <= 604_800


def whole_head(data: bytes) -> None:
    """A caller or an S3Error: a whole head, authenticated; nobody gets in but by the signatures that the seeds carry."""
    request = _head(data)
    if request is None:
        return
    try:
        caller = authenticate(request, lookup, KEYS, now=NOW)
        if caller.mode.chunked:
            decoder(request, caller)
    except S3Error:
        return
    if caller.claim is not None:
        assert caller.claim.signature in _SIGNATURES
        assert caller.principal.access_key_id == caller.claim.access_key_id


def known_head(data: bytes) -> None:
    """What is sent for a head that is told again is what is sent when it is told whole; it is known by every habit there is."""
    data = data.partition(END)[0] + END
    guest = told.guest(_DESK)
    for habit in _KNOWN:
        again = habit.again(guest, data, NOW)
        assert again is None or told.first_of(Retold(_DESK, guest, again)) == told.whole(_DESK, data, guest)


def wire_head(data: bytes) -> None:
    """A head or BadHead, for requests and answers: one line a field, no line break within, and one framing."""
    data = data.partition(END)[0] + END  # what a connection hands over as a head
    with suppress(BadHead):
        head = RequestReader().read(data)
        assert head.minor in {0, 1}
        assert not (head.chunked and head.length is not None)
        assert head.target
        assert not any(c in name + value for name, value in head.fields for c in "\r\n\x00")
    with suppress(BadHead):
        answer = read_response(data, "GET")
        assert 100 <= answer.status <= 999
        assert not any(c in name + value for name, value in answer.fields for c in "\r\n\x00")


def wire_chunks(data: bytes) -> None:
    """The same payload and rest, or BadChunk, however a chunked body is cut; never more than came."""

    def read(cuts: list[int]) -> tuple[bytes, bytes, bool] | None:
        reader, taken = ChunkedReader(), b""
        bounds = [0, *cuts, len(body)]
        try:
            for at, end in pairwise(bounds):
                if reader.done:
                    return taken, reader.rest + body[at:], True
                taken += b"".join(reader.feed(body[at:end]))
        except BadChunk:
            return None
        return taken, reader.rest, reader.done

    step, body = (data[0] % 16 + 1, data[1:]) if data else (1, b"")
    whole = read([])
    cut = read(list(range(step, len(body), step)))
    assert whole is None or len(whole[0]) + len(whole[1]) <= len(body)
    # A body that is refused when it is cut is refused whole; a line without an end may be noticed later.
    assert cut == whole or whole is None or not whole[2]


def aws_chunked(data: bytes) -> None:
    """Bytes for the backend or an S3Error, however the body is cut; no more comes out than went in, nothing twice.

    Four bytes of settings (mode, trailers, payload length, size of the pieces), then the body.
    """
    mode, trailers, length, step = (*data[:4], 0, 0, 0, 0)[:4]
    body = data[4:]
    names = (CRC,) if trailers % 2 else ()
    whole = _relayed(mode, names, length, [body])
    pieces = [body[at : at + step + 1] for at in range(0, len(body), step + 1)]
    assert whole == _relayed(mode, names, length, pieces)
    sent, error = whole
    assert len(sent) <= len(body)
    if error is None and mode % 2 == 0:
        assert sent == body
    if error is None:
        assert len(sent) == len(body)


def _relayed(mode: int, names: tuple[str, ...], length: int, pieces: list[bytes]) -> tuple[bytes, type | None]:
    """Return what came out before an error, and the error; a cut body's last bytes depend on how it was cut."""
    relay: SignedRelay | UnsignedRelay = (
        SignedRelay(length, client_chain(), backend_chain(), names) if mode % 2 else UnsignedRelay(length, names)
    )
    sent = b""
    try:
        for piece in pieces:
            sent += relay.feed(piece)
        relay.finish()
    except S3Error as error:
        return b"", type(error)
    return sent, None


def delete_document(data: bytes) -> None:
    """Entries or MalformedXML, and the document rebuilt from them says the same; no entity, DTD or foreign name."""
    try:
        entries, quiet = xml.parse_delete(data)
    except MalformedXML:
        return
    assert not _declares(data)
    assert sum(len(entry.key) + len(entry.version) for entry in entries) <= len(data)  # nothing was expanded
    assert xml.parse_delete(xml.render_delete(entries, quiet=quiet)) == (entries, quiet)
    xml.merge_delete_result(None, entries, MalformedXML())


def _declares(data: bytes) -> bool:
    """Return whether a document has a DTD or instructions, as expat sees it: their text alone may stand in a key."""
    seen: list[object] = []
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = lambda *what: seen.append(what)
    parser.ProcessingInstructionHandler = lambda *what: seen.append(what)
    parser.Parse(data, True)
    return bool(seen)


def read_document(data: bytes) -> None:
    """A tree or MalformedXML: any document that is read, CompleteMultipartUpload's shape too; rebuilt it is the same."""
    roots = ("CompleteMultipartUpload", "Tagging", "Retention", "CreateBucketConfiguration", "RestoreRequest")
    try:
        root = xml.document(data, *roots)
        members = documents._members(root)
        again = xml.document(xml.whole(root), *roots)
    except MalformedXML:
        return
    assert documents._members(again) == members
    try:
        xml.parse_tagging(data)
    except S3Error:
        return


def policy_document(data: bytes) -> None:
    """A policy or a PolicyError with a place; a policy that parses decides, either way, without an error."""
    try:
        found = policy.parse(data.decode("utf-8", "replace"))
    except policy.PolicyError as error:
        problems = error.problems
    else:
        _decided(found)
        return
    assert problems


def _decided(found: policy.Policy) -> None:
    who = Principal(PrincipalType.ASSUMED_ROLE, "KEY", claims={"sub": "ann", "groups": ["a", "*"]}, parent="ann")
    for action, bucket, key in (("s3:GetObject", "bkt", "a/b"), ("s3:ListBucket", "bkt", ""), ("admin:Info", "", "")):
        decide([found], AccessRequest(who, action, bucket, key))


def session_token(data: bytes) -> None:
    """A session or InvalidSession: any text as a token, and any JSON object signed with the right key as its claims."""
    text = data.decode("latin-1")
    _opened(text)
    try:
        claims = json.loads(data)
    except (ValueError, RecursionError):
        return
    key = KEYRING.keys[KEYRING.current]
    if isinstance(claims, dict):
        token = jwt.api_jws.encode(data, key.signing, ALGORITHM, headers={"kid": key.kid})
        _opened(token)


def _opened(token: str) -> None:
    try:
        session = open_session(KEYRING, token, now=NOW)
    except InvalidSession:
        return
    assert session.credentials.expires_at > NOW
    assert session.claims["accessKey"] == session.credentials.access_key_id
    assert session.session_policy is None or isinstance(session.session_policy, str)


def sts_form(data: bytes) -> None:
    """A call or an StsError: a query, a line end, a form; every parameter once."""
    query, _, body = data.partition(b"\n")
    try:
        call = parse_call(
            query.decode("latin-1"), body, "application/x-www-form-urlencoded", signer=None, source_ip="192.0.2.1"
        )
        assert call.parameters["Action"] == call.action != ""
        asked = wanted(call)
    except StsError as error:
        render_error(error.code, error.text, "id")
        return
    assert asked.action.name == call.action
    assert asked.policy is None or policy.parse(asked.policy)


def post_form(data: bytes) -> None:
    """A form or an S3Error, however the body is cut: one byte says into pieces of which size."""
    step, body = (data[0] if data else 0) + 1, data[1:]
    whole = _formed([body])
    assert whole == _formed([body[at : at + step] for at in range(0, len(body), step)])


def _formed(pieces: list[bytes]) -> tuple[object, bytes]:
    reader = multipart.FormReader(b"bound")
    file = b""
    try:
        for piece in pieces:
            file += reader.feed(piece)
        reader.finish()
    except S3Error:
        return None, b""
    return reader.form, file


def form_policy(data: bytes) -> None:
    """A policy or an S3Error: the policy field of a form, in base64 or not; one that parses judges without an error."""
    for text in (data.decode("latin-1"), base64.b64encode(data).decode()):
        try:
            found = post_policy.parse(text)
            found.judge({"key": "user/eric/k", "bucket": "bkt"}, NOW)
            found.judge_size(10)
        except S3Error:
            continue


def content_type(data: bytes) -> None:
    """A boundary or an S3Error: the Content-Type of a form; in time and memory of its size."""
    try:
        boundary = multipart.boundary_of(data.decode("latin-1"))
    except S3Error:
        return
    assert 1 <= len(boundary) <= 70


def copied_from(data: bytes) -> None:
    """A source or an S3Error: x-amz-copy-source; no dot segment, no empty bucket or key."""
    try:
        source = copy_source(data.decode("latin-1"))
    except S3Error:
        return
    assert source.bucket
    assert source.key
    assert not {".", ".."} & {*source.key.split("/"), source.bucket}


def admin_document(data: bytes) -> None:
    """Members of the asked types or an S3Error: the body of an administration call, by every way to read a member."""
    try:
        found = Document.read(data, ("user", "members", "flag", "policy", "expiration"))
        assert isinstance(found.text("user"), str)
        assert all(isinstance(name, str) for name in found.texts("members"))
        assert found.flag("flag") in {True, False}
        json.loads(found.json_text("policy") or "null")
        assert isinstance(found.moment("expiration"), int | None)
    except S3Error as error:
        json.loads(render_json(error, resource="/x", request_id="R"))


def _written_head(method: str, target: str, headers: dict[str, str]) -> bytes:
    return f"{method} {target}\n".encode() + "\n".join(f"{n}:{v}" for n, v in headers.items()).encode()


def _signed(method: str, target: str, headers: dict[str, str] | None = None, who: Credentials = ROOT) -> bytes:
    return _written_head(
        method, target, raw.signed(None, method, target, headers, boto(who), date=STAMP.decode(), host=HOST)
    )


_TRAILER = {
    "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "9", "x-amz-trailer": CRC,
}  # fmt: skip
_HEADS = [
    _signed("GET", "/bkt/a%2Fb//c?versionId=v"),
    _signed("PUT", "/bkt/k?tagging=", {"x-amz-acl": "private"}, ANN),
    _signed("PUT", "/bkt/k", {"x-amz-copy-source": "/a/b?versionId=1"}),
    _signed("PUT", "/bkt/k", _TRAILER),
    b"GET http://bkt.s3.example.test/k?prefix=a&delimiter=%2F\nhost:bkt.s3.example.test\nrange:bytes=0-1",
]
_SIGNATURES = {head.partition(b"Signature=")[2][:64].decode() for head in _HEADS}
_CHUNKED = b"payload of"
_DELETE = xml.render_delete((xml.DeleteEntry("a&b\r", "v"), xml.DeleteEntry("k", "", (("ETag", "e"),))), quiet=True)
_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "s", "Effect": "Allow", "Action": ["s3:Get*", "s3:ListBucket"], "Resource": "arn:aws:s3:::${jwt:sub}/*",
         "Condition": {"StringLike": {"s3:prefix": ["home/*", ""]}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                       "DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}, "Bool": {"aws:SecureTransport": "true"},
                       "NumericLessThanEquals": {"s3:max-keys": "10"}, "Null": {"s3:x-amz-acl": "true"}}},
        {"Effect": "Deny", "NotAction": "s3:*", "NotResource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]},
    ],
}  # fmt: skip
_CLAIMS = {"accessKey": "A" * 20, "exp": NOW + 60, "parent": "p", "sessionPolicy": base64.b64encode(b"{}").decode()}
_FORM_POLICY = {
    "expiration": "2030-01-01T00:00:00.000Z",
    "conditions": [{"bucket": "bkt"}, ["starts-with", "$key", "user/"], ["content-length-range", 1, 10]],
}
_FORM = (
    b'--bound\r\nContent-Disposition: form-data; name="key"\r\n\r\nuser/${filename}\r\n'
    b'--bound\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
    b"content\r\n--bound--\r\n"
)

_DESK = told.make(clock=lambda: NOW)
_KEY = "/ann/k%20e%CC%81y"
_TOLD = [
    raw.written(method, target, raw.signed(None, method, target, headers | {"X-Amz-Content-SHA256": payload}, boto(ANN), date=STAMP.decode(), host=HOST))
    for method, target, headers, payload in (
        ("GET", _KEY, {"Range": "bytes=0-9", "If-None-Match": '"e"', "User-Agent": "a b", "X-Forwarded-For": "192.0.2.1, ::1"}, "UNSIGNED-PAYLOAD"),
        ("PUT", _KEY, {"Content-Length": "7", "x-amz-meta-a": "b", "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA==", "Content-Type": "a/b; c"}, "a" * 64),
        ("PUT", _KEY, {"Content-Length": "50", "x-amz-decoded-content-length": "7", "x-amz-trailer": "x-amz-checksum-crc32"}, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("PUT", f"{_KEY}?partNumber=2&uploadId=a.b", {"Content-Length": "190", "x-amz-decoded-content-length": "7"}, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("DELETE", _KEY, {"amz-sdk-invocation-id": "8a3f1a0e"}, "UNSIGNED-PAYLOAD"),
        ("GET", "/ann?list-type=2&prefix=a%2Fb&delimiter=%2F&max-keys=7&continuation-token=", {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, "UNSIGNED-PAYLOAD"),
    )
]  # fmt: skip
_URL = raw.presigned(
    SimpleNamespace(endpoint=f"http://{HOST}"),
    "GET",
    f"{_KEY}?response-content-type=a%2Fb",
    boto(ANN),
    date=STAMP.decode(),
)
_TOLD.append(raw.written("GET", _URL, {"Host": HOST, "User-Agent": "a"}))


def _known() -> list[Habit]:
    """Return a habit of each of these heads."""
    guest = told.guest(_DESK)
    for head in _TOLD:
        told.whole(_DESK, head, guest)
        assert told.again(_DESK, head, guest)
    return _DESK.habits.all()


_KNOWN = _known()
SEEDS: dict[Callable[[bytes], None], list[bytes]] = {
    known_head: _TOLD,
    wire_head: [
        b"GET /bkt/k?a=b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"PUT /k HTTP/1.0\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n",
        b'HTTP/1.1 206 Partial\r\nETag: "e"\r\nContent-Length: 3\r\nConnection: close\r\n\r\n',
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    wire_chunks: [
        b"\x03" + b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-T: v\r\n\r\nGET ",
        b"\x00a\r\n0123456789\r\n0\r\n\r\n",
    ],
    request_head: _HEADS,
    authorization: [
        STAMP + b"\n" + head.partition(b"Authorization:")[2].partition(b"\n")[0]
        for head in _HEADS
        if b"Authorization" in head
    ],
    presigned_query: [
        b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F" + STAMP[:8] + b"%2Fus-east-1%2Fs3%2Faws4_request"
        b"&X-Amz-Date=" + STAMP + b"&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + b"0" * 64,
    ],
    whole_head: _HEADS,
    aws_chunked: [
        bytes([0, 0, len(_CHUNKED), 3]) + encode_unsigned([_CHUNKED]),
        bytes([0, 1, len(_CHUNKED), 0]) + encode_unsigned([_CHUNKED[:4], _CHUNKED[4:]], ((CRC, "wdBDMA=="),)),
        bytes([1, 0, len(_CHUNKED), 7]) + encode_signed([_CHUNKED], client_chain()),
        bytes([1, 1, len(_CHUNKED), 1]) + encode_signed([_CHUNKED], client_chain(), ((CRC, "wdBDMA=="),)),
    ],
    delete_document: [
        _DELETE,
        b'<!DOCTYPE d [<!ENTITY a "aaa"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>',
        '<?xml version="1.0"?><!DOCTYPE d><Delete><Object><Key>k</Key></Object></Delete>'.encode("utf-16-be"),
        b'<d:Delete xmlns:d="http://s3.amazonaws.com/doc/2006-03-01/"><d:Object><d:Key><![CDATA[a]]></d:Key></d:Object></d:Delete>',
    ],
    read_document: [
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
        b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>",
        b"<Tagging>" + b"<a>" * 40 + b"</a>" * 40 + b"</Tagging>",
    ],
    policy_document: [json.dumps(_POLICY).encode()],
    session_token: [
        json.dumps(_CLAIMS).encode(),
        mint(KEYRING, {"parent": "p"}, access_key_id="A" * 20, expires_at=NOW + 60).session_token.reveal().encode(),
        mint(KEYRING, {}, access_key_id="A" * 20, expires_at=NOW + 60, sealed=True).session_token.reveal().encode(),
    ],
    sts_form: [
        b"\nAction=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken=a.b.c&DurationSeconds=3600",
        b"Action=AssumeRoleWithClientGrants&Token=a.b.c\n",
        b"Action=AssumeRole&Tags.member.1.Key=a&Tags.member.1.Value=b&TransitiveTagKeys.member.1=a&PolicyArns.member.1.arn=p\n",
    ],
    post_form: [b"\x05" + _FORM, b"\x00" + _FORM],
    form_policy: [json.dumps(_FORM_POLICY).encode(), base64.b64encode(json.dumps(_FORM_POLICY).encode())],
    content_type: [b'multipart/form-data; boundary="bo\\"und"; charset=utf-8'],
    admin_document: [
        b'{"user": "bob", "members": ["ann", "eve"], "flag": true, "policy": {"a": [1, null]}, "expiration": "2030-01-01T00:00:00+02:00"}',
        b'{"members": "bob", "policy": null, "expiration": "0001-01-01T00:00:00Z"}',
    ],
    copied_from: [b"/bkt/a%20b?versionId=v", b"bkt/%2e%2e/k"],
}
TARGETS = {target.__name__: target for target in SEEDS}
#: Words that mean something to one target or another: what a blind change would hardly find.
WORDS = [
    b"<!DOCTYPE ", b"<!ENTITY ", b"<![CDATA[", b'<?xml version="1.0" encoding="', b"&#13;", b"&lt;", b"xmlns=", b"<Key>", b"\r\n", b"%00",
    b"%2F", b"%2e", b"%zz", b"//", b"../", b"..", b"?", b"#", b"+", b"&", b"=", b";chunk-signature=", b"x-amz-trailer-signature:",
    b"0\r\n\r\n", b"ffffffffffffffff", b"X-Amz-Signature=", b"X-Amz-Expires=", b"X-Amz-Security-Token=", b"host", b"\x00",
    b"${", b"}", b"*", b'"Effect"', b'"Deny"', b'"NotAction"', b'"Condition"', b"ForAllValues:", b"IfExists", b"1e999", b"NaN", b"\\ud800",
    b"-1", b"18446744073709551616", b"--bound", b"--", b'Content-Disposition: form-data; name="', b"\xff", b"\xc3\xa9", b"\xed\xa0\x80",
]  # fmt: skip
