"""Each trap of the field, closed: over real sockets, through a real gateway process, in front of a recording backend."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import zlib
from pathlib import Path
from urllib.parse import quote, urlsplit

import jwt
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.conftest import credentials_for, s3_client
from tests.servers.processes import BACKEND, ROOT_PASSWORD, ROOT_USER, GatewayProcess, until

MODES = [
    "UNSIGNED-PAYLOAD", hashlib.sha256(b"body").hexdigest(), "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "nonsense", "",
]  # fmt: skip


def keys(found: dict[str, str]) -> Credentials:
    return Credentials(found["accessKey"], found["secretKey"], found.get("sessionToken"))


ROOT_KEYS = Credentials(ROOT_USER, ROOT_PASSWORD)


class Raw:
    """One HTTP exchange, byte by byte."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def send(self, data: bytes) -> Raw:
        self.socket.sendall(data)
        return self

    def __del__(self) -> None:
        self.socket.close()

    def answer(self) -> tuple[int, bytes]:
        """Return status and everything received until the connection ends or the body is whole."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            if not piece:
                break
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        while length and len(body) < int(length[1]):
            piece = self.socket.recv(65536)
            if not piece:
                break
            body += piece
        self.socket.close()
        return (int(head.split()[1]) if head else 0), head + b"\r\n\r\n" + body


def signed(
    edge, method: str, target: str, headers: dict[str, str] | None = None, who: Credentials = ROOT_KEYS
) -> dict[str, str]:
    """Return the headers of a request that botocore signed."""
    request = AWSRequest(method, f"{edge.endpoint}{target}", headers=dict(headers or {}))
    if request.headers.get("X-Amz-Content-SHA256") is None:
        request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    signer = SigV4Auth(who, "s3", "us-east-1")
    signer._normalize_url_path = lambda path: path
    signer.payload = lambda request: request.headers["X-Amz-Content-SHA256"]
    del request.headers["X-Amz-Date"]
    signer.add_auth(request)
    return {"Host": urlsplit(edge.endpoint).netloc, **dict(request.headers.items())}


def send(edge, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    if body or method in {"PUT", "POST"}:
        lines.append(f"Content-Length: {len(body)}")
    return Raw(edge.port).send("\r\n".join([*lines, "", ""]).encode() + body).answer()


def code(answer: tuple[int, bytes]) -> str:
    found = re.search(rb"<Code>(.*?)</Code>", answer[1])
    return found[1].decode() if found else ""


def corrupt(headers: dict[str, str]) -> dict[str, str]:
    return {
        n: re.sub(r"Signature=\w{8}", "Signature=00000000", v) if n == "Authorization" else v
        for n, v in headers.items()
    }


def test_trap_01_wrong_signature_is_refused_in_trailer_mode(edge, recorded):
    """A trailer upload with a wrong signature, an unknown key or no key is refused and nothing reaches the backend."""
    mode = {
        "X-Amz-Content-SHA256": MODES[2],
        "X-Amz-Decoded-Content-Length": "4",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }
    body = b"4\r\nbody\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    good = signed(edge, "PUT", "/bkt/k", mode)
    stranger = signed(edge, "PUT", "/bkt/k", mode, Credentials("STRANGER", "stranger-secret"))
    nobody = {n: v for n, v in good.items() if n != "Authorization"}
    for headers in (corrupt(good), stranger, nobody):
        assert send(edge, "PUT", "/bkt/k", headers, body)[0] == 403
    assert recorded() == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", ["header", "query", "none"])
def test_trap_02_no_payload_mode_escapes_verification(edge, recorded, mode, place):
    """A bad signature is refused wherever it stands and whatever the payload mode says."""
    extra = {"X-Amz-Content-SHA256": mode, "X-Amz-Decoded-Content-Length": "4"} if mode else {}
    target = "/bkt/k"
    headers = {"Host": urlsplit(edge.endpoint).netloc, **extra}
    if place == "header":
        headers = corrupt(signed(edge, "PUT", "/bkt/k", extra))
    if place == "query":
        request = AWSRequest("PUT", f"{edge.endpoint}/bkt/k")
        S3SigV4QueryAuth(ROOT_KEYS, "s3", "us-east-1", expires=60).add_auth(request)
        parts = urlsplit(request.url)
        target = f"{parts.path}?{re.sub('Signature=.{8}', 'Signature=00000000', parts.query)}"
    assert send(edge, "PUT", target, headers, b"body")[0] in {400, 403, 501}
    assert recorded() == []


def test_trap_03_special_bodies_take_the_same_road(edge, recorded):
    """A form upload and an archive upload with a bad signature, or none, are refused."""
    form = {"Host": urlsplit(edge.endpoint).netloc, "Content-Type": "multipart/form-data; boundary=x"}
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\nk\r\n' % name for name in (b"key", b"file")
    )
    assert code(send(edge, "POST", "/bkt", form, body + b"--x--\r\n")) == "AccessDenied"
    archive = corrupt(signed(edge, "PUT", "/bkt/k.tar", {"X-Amz-Meta-Snowball-Auto-Extract": "true"}))
    assert code(send(edge, "PUT", "/bkt/k.tar", archive, b"x")) == "SignatureDoesNotMatch"
    assert recorded() == []


@pytest.mark.parametrize("name", [
    "x-amz-acl", "x-amz-copy-source", "x-amz-tagging", "x-amz-storage-class", "x-amz-website-redirect-location",
    "x-amz-object-lock-mode", "x-amz-server-side-encryption", "x-amz-grant-read", "x-amz-meta-a", "x-amz-security-token",
])  # fmt: skip
def test_trap_04_unsigned_amz_header_is_refused(edge, recorded, name):
    """An x-amz- header added in flight is refused."""
    answer = send(edge, "PUT", "/bkt/k", {**signed(edge, "PUT", "/bkt/k"), name: "/other/key"}, b"x")
    assert answer[0] == 403
    assert recorded() == []


def test_trap_06_and_32_internal_names_change_nothing(edge, recorded, issuer):
    """Headers named like condition keys or internals neither decide nor cross."""
    reader = keys(credentials_for(edge, issuer, "reader"))
    names = {"aws:username": "root", "jwt-policy": "readwrite", "X-Minio-Internal-Owner": "true", "owner": "true"}
    assert (
        code(
            send(
                edge,
                "PUT",
                "/bkt/k",
                {**signed(edge, "PUT", "/bkt/k", who=reader), **{n: v for n, v in names.items() if ":" not in n}},
                b"x",
            )
        )
        == "AccessDenied"
    )
    assert recorded() == []


def test_trap_07_two_signatures_are_none(edge, recorded):
    """A presigned URL with an Authorization header beside it is refused."""
    request = AWSRequest("GET", f"{edge.endpoint}/bkt/k")
    S3SigV4QueryAuth(ROOT_KEYS, "s3", "us-east-1", expires=60).add_auth(request)
    parts = urlsplit(request.url)
    answer = send(edge, "GET", f"{parts.path}?{parts.query}", signed(edge, "GET", "/bkt/k"))
    assert (answer[0], code(answer)) == (400, "InvalidArgument")
    assert recorded() == []


def test_trap_08_pinned_payload_hash_goes_to_the_backend(edge, recorded):
    """The hash that the client signed is the hash that the backend is asked to check."""
    pinned = hashlib.sha256(b"right").hexdigest()
    send(edge, "PUT", "/bkt/k", signed(edge, "PUT", "/bkt/k", {"X-Amz-Content-SHA256": pinned}), b"wrong")
    assert recorded()[0].headers["x-amz-content-sha256"] == pinned


def chunk(key: bytes, head: str, previous: str, data: bytes) -> tuple[bytes, str]:
    """Return one signed chunk and its signature, written here independently of the gateway."""
    import hmac

    empty = hashlib.sha256(b"").hexdigest()
    text = f"AWS4-HMAC-SHA256-PAYLOAD\n{head}\n{previous}\n{empty}\n{hashlib.sha256(data).hexdigest()}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"{len(data):x};chunk-signature={signature}\r\n".encode() + data + b"\r\n", signature


def signed_chunks(edge, pieces: list[bytes]) -> tuple[dict[str, str], list[bytes]]:
    """Return the headers and the chunks (the zero chunk last) of a signed streaming upload."""
    import hmac

    total = sum(len(p) for p in pieces)
    headers = signed(
        edge, "PUT", "/bkt/k", {"X-Amz-Content-SHA256": MODES[3], "X-Amz-Decoded-Content-Length": str(total)}
    )
    previous = re.search("Signature=(.*)", headers["Authorization"])[1]
    stamp = headers["X-Amz-Date"]
    key = b"AWS4" + ROOT_PASSWORD.encode()
    for part in (stamp[:8], "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    chunks = []
    for piece in [*pieces, b""]:
        framed, previous = chunk(key, f"{stamp}\n{stamp[:8]}/us-east-1/s3/aws4_request", previous, piece)
        chunks.append(framed)
    return headers, chunks


def test_signed_chunks_cross_resigned(edge, recorded):
    """A whole signed upload reaches the backend at the same length, under the backend's signatures."""
    headers, chunks = signed_chunks(edge, [b"a" * 9000, b"b" * 100])
    assert send(edge, "PUT", "/bkt/k", headers, b"".join(chunks))[0] == 200
    request = recorded()[0]
    assert request.complete
    assert len(request.body) == len(b"".join(chunks))
    assert re.sub(rb"chunk-signature=\w+", b"", request.body) == re.sub(rb"chunk-signature=\w+", b"", b"".join(chunks))
    assert request.body != b"".join(chunks)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_trap_10_corrupt_chunk_never_becomes_an_object(edge, recorded, which):
    """A corrupt first, later or final chunk is refused, and the upload at the backend stays short of its length."""
    headers, chunks = signed_chunks(edge, [b"a" * 9000, b"b" * 100])
    chunks[which] = re.sub(rb"chunk-signature=\w{8}", b"chunk-signature=00000000", chunks[which])
    answer = send(edge, "PUT", "/bkt/k", headers, b"".join(chunks))
    assert (answer[0], code(answer)) == (403, "SignatureDoesNotMatch")
    assert not any(r.complete for r in recorded())


@pytest.mark.parametrize("end", [0, 1, 3, 4, 5, 8, 9, 10, 11, 12, 13, 30, 43, 44])
def test_trap_11_truncated_chunked_upload_is_no_object(edge, recorded, end):
    """A stream cut at any framing byte stays short at the backend."""
    body = b"4\r\nbody\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    mode = {
        "X-Amz-Content-SHA256": MODES[2],
        "X-Amz-Decoded-Content-Length": "4",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }
    headers = signed(edge, "PUT", "/bkt/k", mode)
    answer = send(edge, "PUT", "/bkt/k", headers, body[:end])
    assert answer[0] in {400, 411}
    assert not any(r.complete and r.body for r in recorded())


@pytest.mark.parametrize(
    ("length", "status"), [("3", 400), ("5", 400), ("-1", 400), ("", 411), ("99999999999999999999", 400), ("4x", 400)]
)
def test_trap_13_decoded_length_lies(edge, recorded, length, status):
    """A decoded length that is wrong, missing or no length is refused, and no object exists."""
    body = b"4\r\nbody\r\n0\r\n\r\n"
    mode = {"X-Amz-Content-SHA256": MODES[2]} | ({"X-Amz-Decoded-Content-Length": length} if length else {})
    assert send(edge, "PUT", "/bkt/k", signed(edge, "PUT", "/bkt/k", mode), body)[0] == status
    assert not any(r.complete for r in recorded())


def test_trap_12_envelope_is_not_stored(gateway, s3, app_credentials):
    """An aws-chunked upload is stored as its payload, and nothing of the envelope is in its metadata."""
    s3.create_bucket(Bucket="trap12")
    checksum = base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big"))
    body = b"4\r\nbody\r\n0\r\nx-amz-checksum-crc32:" + checksum + b"\r\n\r\n"
    mode = {
        "X-Amz-Content-SHA256": MODES[2],
        "X-Amz-Decoded-Content-Length": "4",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked",
    }
    headers = signed(gateway, "PUT", "/trap12/k", mode, keys(app_credentials))
    assert send(gateway, "PUT", "/trap12/k", headers, body)[0] == 200
    found = s3.get_object(Bucket="trap12", Key="k")
    assert (found["Body"].read(), found.get("ContentEncoding"), found["ETag"]) == (
        b"body",
        None,
        f'"{hashlib.md5(b"body").hexdigest()}"',
    )
    s3.delete_object(Bucket="trap12", Key="k")
    s3.delete_bucket(Bucket="trap12")


def test_trap_14_unauthenticated_body_is_not_swallowed(edge, recorded):
    """Ten gigabytes announced without a signature are answered at once, and memory does not grow."""
    pid = edge.process.popen.pid
    rss = lambda: int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # noqa: E731
    before = rss()
    raw = Raw(edge.port).send(f"PUT /bkt/k HTTP/1.1\r\nHost: x\r\nContent-Length: {10 * 2**30}\r\n\r\n".encode())
    try:
        for _ in range(64):
            raw.send(b"x" * 2**20)
    except OSError:
        pass
    else:
        assert raw.answer()[0] == 403
    assert rss() - before < 16 * 1024
    assert recorded() == []


def test_trap_17_the_path_is_sent_as_it_was_signed(edge, recorded):
    """Keys with dots, double slashes, escapes and spaces reach the backend under exactly the signed path."""
    for path in [
        "/bkt/a//bkt",
        "/bkt/a/../c",
        "/bkt/./x",
        "/bkt/a/.%2E/%5Cx".replace("%2E", "."),
        "/bkt/sp%20ace",
        "/bkt/plus%2B",
        "/bkt/%E6%97%A5",
        "/bkt/trailing/",
    ]:
        recorded().clear()
        edge_headers = signed(edge, "GET", path)
        assert send(edge, "GET", path, edge_headers)[0] == 200, path
        assert recorded()[-1].line.split(" ")[1] == path


def test_trap_17_a_path_that_leads_out_of_its_bucket_is_not_sent(edge, recorded):
    """A store that cleans paths would go to another bucket, or take the bucket itself; whoever asks, it hears nothing."""
    for path in ("/bkt/../x", "/bkt/a/../../x", "/bkt/..%5Cx", "/bkt/%2E%2E/x", "/bkt//", "/bkt/%5C", "/bkt/a/.."):
        for method in ("GET", "DELETE"):
            assert send(edge, method, path, signed(edge, method, path))[0] == 400, path
    assert recorded() == []


def test_trap_20_smuggling_is_refused(edge, backend):
    """Duplicate lengths, CL with TE, obs-fold, bare LF and duplicate parameters are 400, and nothing is forwarded."""
    backend.requests.clear()
    heads = [
        b"PUT /bkt/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"PUT /bkt/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"GET /bkt/k HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n folded\r\n\r\n",
        b"GET /bkt/k HTTP/1.1\nHost: x\n\n",
        b"GET /bkt/k HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /bkt?prefix=a&prefix=b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /bkt/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    for head in heads:
        assert Raw(edge.port).send(head).answer()[0] == 400, head
    assert backend.signed == []


def test_trap_21_continue_only_after_authorization(edge, recorded):
    """A client that waits for 100 Continue gets the final refusal instead; a good one gets 100 and may send."""
    good = {**signed(edge, "PUT", "/bkt/k"), "Expect": "100-continue", "Content-Length": "4"}
    head = lambda h: ("PUT /bkt/k HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in h.items()) + "\r\n").encode()  # noqa: E731
    assert Raw(edge.port).send(head(corrupt(good))).answer()[0] == 403
    raw = Raw(edge.port).send(head(good))
    assert raw.socket.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert raw.send(b"body").answer()[0] == 200
    assert [r.body for r in recorded()] == [b"body"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "HEAD"])
@pytest.mark.parametrize(
    "query", ["policy", "acl=", "ACL", "unknown", "acl&x=1", "x=1&acl", "uploads=1", "tagging=x", "versionId"]
)
@pytest.mark.parametrize("path", ["/bkt", "/bkt/k"])
def test_trap_22_subresource_is_never_the_base_operation(edge, recorded, method, query, path):
    """No sub-resource, known or not, in any spelling, falls through to the operation without it."""
    pairs = "&".join(sorted(p if "=" in p else p + "=" for p in query.split("&")))
    status, _ = send(edge, method, f"{path}?{pairs}", signed(edge, method, f"{path}?{pairs}"))
    for request in recorded():
        sent = request.line.split(" ")[1].partition("?")[2]
        assert sent, f"{method} {path}?{query} reached the backend as its base operation"
        assert set(sent.split("&")) == set(pairs.split("&"))
    assert recorded() or status in {400, 405, 501}


def test_trap_23_copy_needs_the_right_to_its_source(edge, recorded, issuer):
    """A copy asks for the source too: one that the session policy does not cover is refused."""
    narrow = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::mine", "arn:aws:s3:::mine/*"]}],
    }
    who = keys(narrowed(edge, issuer, narrow))
    for target in ("/mine/k", "/mine/k?partNumber=1&uploadId=u"):
        for source in ("/other/secret", "other/secret", "/mine%2F..%2Fother/x", "", "mine/../other?versionId=1&x=2"):
            if not source:
                continue
            answer = send(edge, "PUT", target, signed(edge, "PUT", target, {"x-amz-copy-source": source}, who))
            assert answer[0] in {400, 403}, source
        assert recorded() == []
        answer = send(edge, "PUT", target, signed(edge, "PUT", target, {"x-amz-copy-source": "mine/a%20b"}, who))
        assert answer[0] == 200
        assert recorded()[0].headers["x-amz-copy-source"] == "mine/a%20b"
        edge_clear = recorded()
        assert len(edge_clear) == 1
        break


def narrowed(edge, issuer, policy: dict) -> dict[str, str]:
    """Return a session that its own policy narrows."""
    import httpx
    from client_grants import get_token

    token = get_token(issuer.urls["token"], "app", "app-secret")["access_token"]
    answer = httpx.post(
        edge.endpoint,
        data={
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "WebIdentityToken": token,
            "Policy": json.dumps(policy),
        },
    )
    names = {"accessKey": "AccessKeyId", "secretKey": "SecretAccessKey", "sessionToken": "SessionToken"}
    assert answer.status_code == 200, answer.text
    return {ours: re.search(f"<{theirs}>(.*?)<", answer.text)[1] for ours, theirs in names.items()}


def test_trap_26_a_version_needs_its_own_right(edge, recorded, issuer):
    """Who may GetObject may not read a version by it."""
    only = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": "*"}],
    }
    who = keys(narrowed(edge, issuer, only))
    assert send(edge, "GET", "/bkt/k", signed(edge, "GET", "/bkt/k", who=who))[0] == 200
    for method in ("GET", "HEAD", "DELETE"):
        assert send(edge, method, "/bkt/k?versionId=v", signed(edge, method, "/bkt/k?versionId=v", who=who))[0] == 403
    assert len(recorded()) == 1


def test_trap_28_every_key_of_a_batch_delete_is_judged(gateway, issuer, s3):
    """Of a thousand keys one forbidden is reported as AccessDenied, the others are deleted."""
    s3.create_bucket(Bucket="trap28")
    for key in ("ok/1", "ok/2", "no/1"):
        s3.put_object(Bucket="trap28", Key=key, Body=b"x")
    only = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::trap28/ok/*"}],
    }
    client = s3_client(gateway.endpoint, narrowed(gateway, issuer, only))
    objects = [{"Key": f"ok/{i}"} for i in range(999)] + [{"Key": "no/1"}]
    answer = client.delete_objects(Bucket="trap28", Delete={"Objects": objects})
    assert [(e["Key"], e["Code"]) for e in answer["Errors"]] == [("no/1", "AccessDenied")]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="trap28")["Contents"]] == ["no/1"]
    refused = client.delete_objects(Bucket="trap28", Delete={"Objects": [{"Key": "no/1"}]})
    assert refused["Errors"][0]["Code"] == "AccessDenied"
    s3.delete_object(Bucket="trap28", Key="no/1")
    s3.delete_bucket(Bucket="trap28")


@pytest.mark.parametrize("body", [
    b"", b"<Delete/>", b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>", b"<!DOCTYPE x><Delete><Object><Key>a</Key></Object></Delete>",
    b'<Delete xmlns="urn:other"><Object><Key>a</Key></Object></Delete>', b"<Delete><Object><Key>a<!-- --><b/></Key></Object></Delete>",
    b"<Delete><Object><Name>a</Name></Object></Delete>", b"<Delete><Object><Key></Key></Object></Delete>", b"not xml",
])  # fmt: skip
def test_trap_28_strange_delete_documents_are_refused(edge, recorded, body):
    """A document that could be read in two ways is MalformedXML and nothing is forwarded."""
    answer = send(edge, "POST", "/bkt?delete=", signed(edge, "POST", "/bkt?delete="), body)
    assert (answer[0], code(answer)) == (400, "MalformedXML")
    assert recorded() == []


def test_trap_45_foreign_session_tokens_are_refused(edge, recorded, session):
    """A token signed with the root secret, with no algorithm, or changed, opens nothing."""
    claims = jwt.decode(session["sessionToken"], options={"verify_signature": False})
    header = jwt.get_unverified_header(session["sessionToken"])
    forged = [
        jwt.encode(claims, ROOT_PASSWORD.encode().ljust(64), "HS512", headers=header),
        jwt.encode(claims, None, "none", headers={"kid": header["kid"]}),
        session["sessionToken"][:-4] + "AAAA",
    ]
    for token in forged:
        who = Credentials(session["accessKey"], session["secretKey"], token)
        assert code(send(edge, "GET", "/bkt/k", signed(edge, "GET", "/bkt/k", who=who))) == "InvalidTokenId"
    assert recorded() == []


def test_trap_50_keys_and_tokens_must_belong_together(edge, recorded, session, issuer):
    """A temporary key without its token, with another's, or a permanent key with one, is refused."""
    other = credentials_for(edge, issuer)
    mixes = [
        (Credentials(session["accessKey"], session["secretKey"]), "InvalidAccessKeyId"),
        (Credentials(session["accessKey"], session["secretKey"], other["sessionToken"]), "InvalidTokenId"),
        (Credentials(ROOT_USER, ROOT_PASSWORD, session["sessionToken"]), "InvalidTokenId"),
        (Credentials(session["accessKey"], other["secretKey"], session["sessionToken"]), "SignatureDoesNotMatch"),
    ]
    for who, expected in mixes:
        assert code(send(edge, "GET", "/bkt/k", signed(edge, "GET", "/bkt/k", who=who))) == expected
    unsigned = {
        **signed(edge, "GET", "/bkt/k", who=Credentials(session["accessKey"], session["secretKey"])),
        "X-Amz-Security-Token": session["sessionToken"],
    }
    assert send(edge, "GET", "/bkt/k", unsigned)[0] == 403
    assert recorded() == []


def test_trap_53_nothing_of_the_client_reaches_the_backend(edge, recorded, session):
    """No client key, token, signature, cookie or bearer is in what the backend receives, header or query."""
    request = AWSRequest("GET", f"{edge.endpoint}/bkt/k")
    S3SigV4QueryAuth(keys(session), "s3", "us-east-1", expires=60).add_auth(request)
    parts = urlsplit(request.url)
    extra = {
        "Host": parts.netloc,
        "Cookie": "c=1",
        "X-Forwarded-For": "6.6.6.6",
        "Proxy-Authorization": "Bearer b",
        "X-Custom": "y",
    }
    assert send(edge, "GET", f"{parts.path}?{parts.query}", extra)[0] == 200
    assert (
        send(
            edge,
            "GET",
            "/bkt/k2",
            {**signed(edge, "GET", "/bkt/k2", who=keys(session)), **{n: v for n, v in extra.items() if n != "Host"}},
        )[0]
        == 200
    )
    client_signature = re.search("X-Amz-Signature=(\\w+)", parts.query)[1]
    for one in recorded():
        text = one.head.decode()
        for secret in (
            session["accessKey"],
            session["secretKey"],
            session["sessionToken"],
            quote(session["sessionToken"], safe=""),
            client_signature,
            "c=1",
            "6.6.6.6",
            "Bearer",
            "x-custom",
        ):
            assert secret not in text
        assert BACKEND.access_key_id in one.headers["authorization"]
        assert one.line.split(" ")[1] in {"/bkt/k", "/bkt/k2"}


def test_trap_61_virtual_host_bucket_is_the_one_that_counts(edge, recorded):
    """With bucket A in the Host, /B/key is key B/key of bucket A, in the decision and at the backend."""
    request = AWSRequest("GET", "http://aaa.s3.example.test/B/key")
    S3SigV4Auth(ROOT_KEYS, "s3", "us-east-1").add_auth(request)
    assert send(edge, "GET", "/B/key", {"Host": "aaa.s3.example.test", **dict(request.headers.items())})[0] == 200
    assert recorded()[0].line.split(" ")[1] == "/aaa/B/key"


def test_trap_54_and_60_no_secret_is_printed_and_none_is_in_a_token(edge, session):
    """The gateway's output holds no secret of the run; the token, read without a key, holds none either."""
    text = edge.process.text
    for secret in (ROOT_PASSWORD, BACKEND.secret.reveal(), session["secretKey"], session["sessionToken"]):
        assert secret not in text
    claims = jwt.decode(session["sessionToken"], options={"verify_signature": False})
    assert session["secretKey"] not in json.dumps(claims)
    assert ROOT_PASSWORD not in json.dumps(claims)


def test_trap_66_plain_requests_without_any_feature_are_verified(servers, backend, recorded):
    """With no identity provider, no OPA and no etcd a bad signature is refused all the same."""
    bare = GatewayProcess(servers / "bare", backend.endpoint).start()
    try:
        assert code(send(bare, "GET", "/bkt/k", corrupt(signed(bare, "GET", "/bkt/k")))) == "SignatureDoesNotMatch"
        assert send(bare, "GET", "/bkt/k", {"Host": "x"})[0] == 403
        assert recorded() == []
    finally:
        bare.close()


def test_sigterm_drains(servers, backend):
    """SIGTERM lets a running upload finish, and the process ends with status 0."""
    import signal

    one = GatewayProcess(servers / f"drain{os.getpid()}", backend.endpoint).start()
    headers = signed(one, "PUT", "/bkt/k") | {"Content-Length": "8"}
    raw = Raw(one.port).send(
        ("PUT /bkt/k HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n").encode() + b"half"
    )
    backend.requests.clear()
    until(lambda: any(r.body == b"half" for r in backend.signed), "the upload has begun")
    one.process.popen.send_signal(signal.SIGTERM)
    until(lambda: _refuses(one.port), "no new connection is taken")
    assert raw.send(b"half").answer()[0] == 200
    assert one.process.popen.wait(20) == 0


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False
