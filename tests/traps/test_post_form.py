"""The traps of POST forms, over real sockets, through a real gateway process, in front of a recording backend."""

from __future__ import annotations

import http.client
import json
import re
import uuid
from urllib.parse import urlsplit

import boto3
import pytest

from iam.model import Credentials, Secret
from tests.conftest import credentials_for, s3_client
from tests.faults.test_streaming import rss
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess, until
from tests.servers.recording import RecordingBackend
from tests.traps.test_traps import Raw, code
from tests.unit.gateway.forms import BOUNDARY, multipart, signed_form

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def backend():
    """A backend that records every byte."""
    server = RecordingBackend()
    yield server
    server.close()


@pytest.fixture(scope="module")
def edge(servers, backend, issuer):
    """A gateway in front of the recording backend."""
    server = GatewayProcess(
        servers / "forms-edge", backend.endpoint, MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_DOMAIN="s3.example.test",
    ).start()  # fmt: skip
    yield server
    server.close()


@pytest.fixture
def recorded(backend):
    """The signed requests that reach the backend during one test; the head of an upload cut in another may come late."""
    backend.requests.clear()
    return lambda: [request for request in backend.signed if "/cut/" not in request.line]


@pytest.fixture(scope="module")
def session(edge, issuer):
    """Temporary credentials of this gateway."""
    return credentials_for(edge, issuer)


def signed(
    edge, session, fields: dict | None = None, conditions: list | None = None, *, key: str = "dir/k", **how
) -> dict:
    """Return a form's fields, signed by boto3; conditions are these and that `fields` are as they are."""
    fields = fields or {}
    exact = [{name: value} for name, value in fields.items()]
    client = s3_client(edge.endpoint, session)
    return client.generate_presigned_post("bkt", key, fields, exact + (conditions or []), **how)["fields"]


def head(edge, length: int, target: str = "/bkt", **headers: str) -> bytes:
    sent = {
        "Host": urlsplit(edge.endpoint).netloc, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(length), **headers,
    }  # fmt: skip
    return f"POST {target} HTTP/1.1\r\n".encode() + "".join(f"{n}: {v}\r\n" for n, v in sent.items()).encode() + b"\r\n"


def post(
    edge, fields: dict, file: bytes | None = b"content", target: str = "/bkt", filename: str = "f", **headers: str
):
    body = multipart(fields.items(), file, filename=filename)
    return Raw(edge.port).send(head(edge, len(body), target, **headers) + body).answer()


def test_a_form_reaches_the_backend_as_a_put(edge, recorded, session):
    """What arrives is a PutObject signed with the backend's key: no field of the signature, no token, no form."""
    fields = signed(edge, session, {"x-amz-meta-a": "b", "acl": "private", "Content-Type": "a/b"})
    assert post(edge, fields, **{"x-amz-storage-class": "GLACIER", "Cookie": "c"})[0] == 204
    (request,) = recorded()
    assert request.line == "PUT /bkt/dir/k HTTP/1.1"
    assert (request.body, request.complete) == (b"content", True)
    theirs = {
        n: v
        for n, v in request.headers.items()
        if n not in {"host", "authorization", "x-amz-date", "accept", "user-agent"}
    }
    assert theirs == {
        "content-length": "7", "content-type": "a/b", "x-amz-acl": "private", "x-amz-meta-a": "b",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD", **{n: v for n, v in theirs.items() if n in {"accept-encoding", "connection"}},
    }  # fmt: skip
    sent = request.head + request.body
    for secret in (fields["x-amz-signature"], fields["x-amz-security-token"], fields["policy"], session["secretKey"]):
        assert secret.encode() not in sent


def test_a_pages_origin_reaches_the_store(edge, backend, recorded, session):
    """A script's form carries its origin to the store, whose CORS answer reaches the page."""
    answer, backend.answer = (
        backend.answer,
        backend.answer.replace(b"ETag", b"Access-Control-Allow-Origin: https://a.example\r\nETag"),
    )
    try:
        status, head = post(edge, signed(edge, session), Origin="https://a.example")
    finally:
        backend.answer = answer
    assert (status, recorded()[0].headers["origin"]) == (204, "https://a.example")
    assert b"Access-Control-Allow-Origin: https://a.example\r\n" in head


def test_trap_03_a_form_is_authenticated_and_nothing_else_is_one(edge, recorded, session):
    """A bad or missing signature, an unknown key, and forms on any other path or with a parameter store nothing."""
    good = signed(edge, session)
    for change, wanted in [
        ({"x-amz-signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"x-amz-credential": good["x-amz-credential"].replace(session["accessKey"], "UNKNOWNKEY")}, None),
        ({"x-amz-security-token": "x"}, None),
        ({"policy": good["policy"][:-8] + "AAAAAAA="}, "SignatureDoesNotMatch"),
    ]:
        answer = post(edge, good | change)
        assert answer[0] in {400, 403}, change
        assert wanted in {None, code(answer)}
    for name in (
        "policy",
        "x-amz-signature",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-algorithm",
        "x-amz-security-token",
    ):
        assert post(edge, {n: v for n, v in good.items() if n != name})[0] in {400, 403}, name
    assert code(post(edge, {"key": "k"})) == "AccessDenied"
    for target in (
        "/",
        "/bkt/k",
        "/bkt/dir/k",
        "/bkt?uploads",
        "/bkt?x=1",
        "/bkt?delete",
        "/bkt?acl",
        "//bkt",
        "/bkt//",
    ):
        assert post(edge, good, target=target)[0] in {400, 403, 404, 405, 501}, target
    for headers in ({"Authorization": "AWS4-HMAC-SHA256 x"}, {"Content-Type": "multipart/mixed; boundary=" + BOUNDARY}):
        assert post(edge, good, **headers)[0] in {400, 403, 405}, headers
    assert recorded() == []


def test_trap_03_an_archive_is_not_unpacked(edge, recorded, session):
    """The field that makes some stores unpack the file into keys that nobody judged is refused."""
    assert code(post(edge, signed(edge, session, {"x-amz-meta-snowball-auto-extract": "true"}))) == "NotImplemented"
    assert recorded() == []


def test_sigv2_forms_are_refused_by_name(edge, recorded):
    """A client that signs its forms with V2 is told what to use instead."""
    answer = post(edge, {"key": "k", "AWSAccessKeyId": ROOT_USER, "policy": "e30=", "signature": "x"})
    assert (answer[0], code(answer)) == (400, "InvalidRequest")
    assert b"AWS4-HMAC-SHA256" in answer[1]
    assert recorded() == []


@pytest.mark.parametrize(
    ("size", "wanted"), [(9, "EntityTooSmall"), (101, "EntityTooLarge"), (5 * MEBIBYTE, "EntityTooLarge")]
)
def test_trap_34_size_range(edge, recorded, session, size, wanted):
    """A file that is too small or too large never reaches the backend; both ends of the range do."""
    fields = signed(edge, session, conditions=[["content-length-range", 10, 100]])
    try:
        answer = post(edge, fields, b"x" * size)
        assert code(answer) == wanted
    except ConnectionError:  # told so while it was still sending
        assert size > MEBIBYTE
    assert recorded() == []
    for fits in (10, 100):
        assert post(edge, fields, b"x" * fits)[0] == 204
    assert [len(r.body) for r in recorded()] == [10, 100]


def test_trap_34_a_length_that_lies_never_becomes_an_object(edge, backend, session):
    """A form whose end comes earlier or later than Content-Length says is cut short at the backend."""
    backend.requests.clear()
    fields = signed(edge, session, key="cut/k", conditions=[["content-length-range", 0, 2 * MEBIBYTE]])
    body = multipart(fields.items(), b"x" * 2 * MEBIBYTE)
    assert Raw(edge.port).send(head(edge, len(body)) + body).answer()[0] == 204
    assert [r.complete for r in backend.signed] == [True]
    end = b"\r\n--" + BOUNDARY.encode() + b"--\r\n"
    for changed in (
        body[:-2], body.removesuffix(end) + b"x" * len(end), body.removesuffix(end) + b"xx" + end[:-2],
        body[: -MEBIBYTE] + end + body[-MEBIBYTE + len(end) :],
    ):  # fmt: skip
        answer = Raw(edge.port).send(head(edge, len(changed)) + changed).answer()
        assert code(answer) == "MalformedPOSTRequest"
    raw = Raw(edge.port).send(head(edge, len(body)) + body[:-1])
    raw.socket.shutdown(1)
    raw.answer()
    assert not any(r.complete for r in backend.signed[1:])


def test_trap_34_starts_with(edge, recorded, session):
    """A key outside the prefix that the policy names is refused, whether it is the form's own or the file's name."""
    fields = signed(edge, session, conditions=[["starts-with", "$Content-Type", "image/"]], key="dir/${filename}")
    good = {**fields, "Content-Type": "image/png"}
    for change in (
        {"key": "other/k"}, {"key": "Dir/k"}, {"key": "/dir/k"}, {"key": "dir"}, {"key": "dir/../k"}, {"key": "dir/.."}, {"key": "./dir/k"},
        {"key": "${filename}"}, {"Content-Type": "text/html"}, {"Content-Type": "image/png, text/html"}, {"Content-Type": ""},
    ):  # fmt: skip
        assert post(edge, good | change)[0] in {400, 403}, change
    assert post(edge, good, filename="..")[0] == 400
    assert recorded() == []
    for name, line in [("a b", "dir/a%20b"), ("../../x", "dir/x"), ("..\\\\x", "dir/x"), ("%2e%2e", "dir/%252e%252e")]:
        assert post(edge, good, filename=name)[0] == 204
        assert recorded()[-1].line == f"PUT /bkt/{line} HTTP/1.1"


@pytest.mark.parametrize("name", [
    "acl", "tagging", "Content-Type", "Cache-Control", "x-amz-meta-a", "x-amz-storage-class", "x-amz-acl", "x-amz-grant-read",
    "x-amz-server-side-encryption", "x-amz-object-lock-mode", "x-amz-website-redirect-location", "success_action_redirect",
    "success_action_status", "redirect", "submit", "x-amz-copy-source", "x-amz-checksum-crc32",
])  # fmt: skip
def test_trap_34_extra_field(edge, recorded, session, name):
    """A field that no condition names is refused, whatever it means, and an ignored one changes nothing."""
    answer = post(edge, signed(edge, session) | {name: "private"})
    assert (answer[0], code(answer)) == (403, "AccessDenied")
    assert b"Extra input fields" in answer[1]
    assert recorded() == []
    assert post(edge, signed(edge, session) | {f"x-ignore-{name}": "private"})[0] == 204
    assert "private" not in recorded()[0].headers.values()


def test_trap_34_other_bucket_or_key(edge, recorded, session):
    """A form is good for its bucket and its key: not for another path, host, `bucket` field or key."""
    fields = signed(edge, session)
    assert post(edge, fields, target="/other")[0] == 403
    assert post(edge, fields, target="/", Host="other.s3.example.test")[0] == 403
    assert post(edge, fields, target="/bkt", Host="other.s3.example.test")[0] in {400, 403, 405}
    assert post(edge, fields | {"key": "dir/k2"})[0] == 403
    assert post(edge, fields | {"bucket": "other"})[0] == 403
    assert post(edge, fields | {"bucket": "bkt"}, target="/other")[0] == 403
    doubled = multipart([*fields.items(), ("Key", "dir/k2")], b"x")
    assert Raw(edge.port).send(head(edge, len(doubled)) + doubled).answer()[0] == 400
    assert recorded() == []
    assert post(edge, fields | {"bucket": "bkt"})[0] == 204
    assert post(edge, fields, target="/", Host="bkt.s3.example.test")[0] == 204
    assert [r.line for r in recorded()] == ["PUT /bkt/dir/k HTTP/1.1"] * 2


def test_trap_34_expired(edge, recorded, session):
    """A form whose policy has expired is refused."""
    fields = signed(edge, session, ExpiresIn=1)
    until(lambda: post(edge, fields)[0] == 403, "the policy expires", 10)
    answer = post(edge, fields)
    assert (code(answer), b"Policy expired" in answer[1]) == ("AccessDenied", True)
    recorded().clear()


def test_trap_34_missing_condition(edge, recorded, session):
    """What a condition names must be in the form; and a policy that names no bucket, or no key, allows none."""
    who = Credentials(session["accessKey"], Secret(session["secretKey"]), Secret(session["sessionToken"]))
    for conditions in ([{"key": "k"}], [{"bucket": "bkt"}], [], [{"bucket": "bkt"}, {"key": "k"}, {"acl": "private"}]):
        fields, _ = signed_form({"key": "k"}, conditions, who=who, bucket="bkt")
        assert code(post(edge, fields)) == "AccessDenied", conditions
    fields, _ = signed_form({"key": "k"}, [{"bucket": "bkt"}, {"key": "k"}], who=who, bucket="bkt")
    assert code(post(edge, fields | {"x-amz-security-token": ""})) in {"InvalidTokenId", "InvalidAccessKeyId"}
    assert recorded() == []
    assert post(edge, fields)[0] == 204


def test_a_session_policy_binds_a_form(edge, recorded):
    """A session that may write under one prefix may so by a form, and may set no acl, tags or retention with it."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bkt/mine/*"}],
    }
    sts = boto3.client(
        "sts",
        endpoint_url=edge.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ROOT_USER,
        aws_secret_access_key=ROOT_PASSWORD,
    )
    found = sts.assume_role(
        RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="s1", Policy=json.dumps(policy)
    )["Credentials"]
    narrow = {
        "accessKey": found["AccessKeyId"],
        "secretKey": found["SecretAccessKey"],
        "sessionToken": found["SessionToken"],
    }
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    assert code(post(edge, signed(edge, narrow, key="theirs/k"))) == "AccessDenied"
    for name, value in [
        ("acl", "public-read"),
        ("tagging", tags),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-grant-read", "id=x"),
    ]:
        assert code(post(edge, signed(edge, narrow, {name: value}, key="mine/k"))) == "AccessDenied", name
    assert recorded() == []
    assert post(edge, signed(edge, narrow, key="mine/k"))[0] == 204


def test_trap_14_a_form_without_a_right_is_not_swallowed(edge, recorded, session):
    """Ten gigabytes behind a bad signature, no signature or fields without end are answered at once, in constant memory."""
    good = signed(edge, session, conditions=[["content-length-range", 0, 2**40]])
    bodies = [multipart((good | {"x-amz-signature": "0" * 64}).items(), b""), multipart([("key", "k")], b"")]
    endless = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="key"\r\n\r\n'.encode()
    before = rss(edge)
    for start in (*bodies, endless):
        raw = Raw(edge.port).send(head(edge, 10 * 2**30) + start.removesuffix(f"\r\n--{BOUNDARY}--\r\n".encode()))
        try:
            for _ in range(64):
                raw.send(b"x" * MEBIBYTE)
        except OSError:
            pass
        else:
            assert raw.answer()[0] in {400, 403}
    assert rss(edge) - before < 16
    assert recorded() == []


def test_trap_21_continue_only_for_what_the_head_allows(edge, recorded, session):
    """A client that waits is asked to go on only for a form that may be one, and refused before it has sent its file."""
    for wrong in (
        head(edge, 10, "/bkt/k", Expect="100-continue"),
        head(edge, 10, Expect="100-continue").replace(b"boundary", b"b"),
    ):
        answer = Raw(edge.port).send(wrong).answer()
        assert answer[0] in {400, 403, 405}
        assert b"100 Continue" not in answer[1]
    bad = multipart((signed(edge, session) | {"x-amz-signature": "0" * 64}).items(), b"")
    raw = Raw(edge.port).send(head(edge, len(bad) + 2**20, Expect="100-continue"))
    assert raw.socket.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    answer = raw.send(bad.removesuffix(f"\r\n--{BOUNDARY}--\r\n".encode())).answer()
    assert (answer[0], code(answer)) == (403, "SignatureDoesNotMatch")
    assert recorded() == []


def test_a_form_without_a_length_is_refused(edge, recorded, session):
    """The file's length follows from the request's: without Content-Length there is MissingContentLength."""
    body = multipart(signed(edge, session).items(), b"x")
    lines = head(edge, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    answer = Raw(edge.port).send(lines + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n").answer()
    assert (answer[0], code(answer)) == (411, "MissingContentLength")
    assert recorded() == []


def test_fields_before_the_file_are_bounded(edge, recorded, session):
    """More than 20 KiB or more than a hundred fields before the file are refused."""
    good = signed(edge, session)
    assert code(post(edge, good | {"x-ignore-a": "x" * 20480})) == "MaxPostPreDataLengthExceeded"
    assert code(post(edge, good | {f"x-ignore-{i}": "" for i in range(100)})) == "InvalidArgument"
    assert recorded() == []


def test_no_header_can_be_injected(edge, recorded, session):
    """Line ends in fields that become headers are refused; in a redirect, they make it as if absent."""
    for name in ("Content-Type", "x-amz-meta-a", "Content-Disposition"):
        assert code(post(edge, signed(edge, session, {name: "a\r\nx-amz-acl: public-read"}))) == "InvalidArgument"
    assert recorded() == []
    status, answer = post(
        edge, signed(edge, session, {"success_action_redirect": "https://a.example/\r\nSet-Cookie: a=b"})
    )
    assert status == 204
    assert re.search(rb"\r\nset-cookie", answer, re.IGNORECASE) is None


def test_forms_can_follow_each_other_on_one_connection(edge, recorded, session):
    """After a form the connection carries the next request."""
    connection = http.client.HTTPConnection("127.0.0.1", edge.port)
    for size in (0, 10, 2 * MEBIBYTE):
        body = multipart(signed(edge, session, key=uuid.uuid4().hex).items(), b"x" * size)
        connection.request("POST", "/bkt", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
    connection.close()
    assert [len(r.body) for r in recorded()] == [0, 10, 2 * MEBIBYTE]
