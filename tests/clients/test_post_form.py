"""POST forms, as browsers and HTTP clients send them: presigned by boto3, sent to the store and through the gateway."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import md5
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import httpx
import pytest
import requests
from minio import Minio
from minio.datatypes import PostPolicy

from gateway.s3 import xml
from tests.conftest import ROOT, credentials_for, s3_client
from tests.faults.test_streaming import rss
from tests.servers.opa import start_opa
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER, GatewayProcess, run, until
from tests.unit.gateway.forms import BOUNDARY, multipart

FILE = bytes(range(256)) * 700 + b"\r\n--\r\n"  # 175 KiB, with what a careless reader takes for a delimiter


NPM = ROOT / ".tools" / "npm-clients" / "node_modules"


def by_httpx(url: str, fields: dict, name: str, data: bytes) -> tuple[int, dict, bytes]:
    answer = httpx.post(url, data=fields, files={"file": (name, data, "text/x-of-the-part")})
    return answer.status_code, dict(answer.headers), answer.content


def by_aiohttp(url: str, fields: dict, name: str, data: bytes) -> tuple[int, dict, bytes]:
    async def post():
        form = aiohttp.FormData(fields)
        form.add_field("file", io.BytesIO(data), filename=name, content_type="text/x-of-the-part")
        async with aiohttp.ClientSession() as session, session.post(url, data=form, allow_redirects=False) as answer:
            return answer.status, {n.lower(): v for n, v in answer.headers.items()}, await answer.read()

    return run(post())


def by_curl(url: str, fields: dict, name: str, data: bytes) -> tuple[int, dict, bytes]:
    words = [word for n, v in fields.items() for word in ("--form-string", f"{n}={v}")]
    done = subprocess.run(
        ["curl", "-s", "-i", *words, "-F", f"file=@-;filename={name};type=text/x-of-the-part", url],
        input=data, capture_output=True, check=True,
    )  # fmt: skip
    answer = done.stdout.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return int(head.split()[1]), {n.decode().lower(): v.strip().decode() for n, _, v in lines}, body


def by_requests(url: str, fields: dict, name: str, data: bytes) -> tuple[int, dict, bytes]:
    answer = requests.post(url, data=fields, files={"file": (name, data)}, allow_redirects=False, timeout=60)
    return answer.status_code, {n.lower(): v for n, v in answer.headers.items()}, answer.content


NODE = """
const [url, fields, name] = process.argv.slice(1)
const form = new FormData()
for (const [n, v] of Object.entries(JSON.parse(fields))) form.append(n, v)
const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
form.append("file", new Blob(chunks, {type: "text/x-of-the-part"}), name)
const answer = await fetch(url, {method: "POST", body: form, redirect: "manual"})
console.log(JSON.stringify([answer.status, Object.fromEntries(answer.headers), await answer.text()]))
"""


def by_node(url: str, fields: dict, name: str, data: bytes) -> tuple[int, dict, bytes]:
    """Post as a browser's script does: FormData and fetch."""
    words = ["node", "--input-type=module", "-e", NODE, "--", url, json.dumps(fields), name]
    done = subprocess.run(words, input=data, capture_output=True, check=True)
    status, headers, body = json.loads(done.stdout)
    return status, headers, body.encode()


CLIENTS = [
    by_httpx, by_aiohttp, by_requests,
    pytest.param(by_node, marks=pytest.mark.skipif(shutil.which("node") is None, reason="no Node on this machine")),
    pytest.param(by_curl, marks=pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")),
]  # fmt: skip


@pytest.fixture(scope="module")
def bucket(s3):
    """A bucket, and what is in it when the tests are done is deleted."""
    name = f"form-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=name)
    yield name
    for found in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


def presign(client, bucket: str, key: str, fields: dict | None = None, conditions: list | None = None):
    """Return URL and fields of a form that boto3 signs; what is in `fields` must be so."""
    fields = fields or {}
    exact = [{name: value} for name, value in fields.items()]
    found = client.generate_presigned_post(
        bucket, key, Fields=fields, Conditions=exact + (conditions or []), ExpiresIn=300
    )
    return found["url"], found["fields"]


def stored(client, bucket: str, key: str) -> dict:
    """Return what is there of an object, as the store itself says it."""
    found = client.get_object(Bucket=bucket, Key=key)
    head = {
        n: found.get(n)
        for n in ("ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "Metadata", "ETag")
    }
    return head | {"body": found["Body"].read()}


@pytest.mark.parametrize("post", CLIENTS)
def test_a_form_is_stored_as_the_store_itself_would(s3, direct, bucket, post):
    """Every client's form, signed with temporary credentials, ends as the same object as directly at the store."""
    fields = {
        "Content-Type": "image/x-test", "Cache-Control": "max-age=7", "Content-Disposition": 'attachment; filename="ü.bin"',
        "x-amz-meta-colour": "blue",
    }  # fmt: skip
    results = []
    for client in (direct, s3):
        url, form = presign(
            client, bucket, f"{post.__name__}/${{filename}}", fields, [["content-length-range", 1, 2**20]]
        )
        status, headers, _ = post(url, form, "a file.bin", FILE)
        # aiohttp percent-encodes file names, which no store decodes
        key = f"{post.__name__}/" + ("a%20file.bin" if post is by_aiohttp else "a file.bin")
        results.append((status, headers["etag"], stored(direct, bucket, key)))
        direct.delete_object(Bucket=bucket, Key=key)
    assert results[0] == results[1]
    assert results[1][0] == 204
    assert results[1][2]["body"] == FILE
    assert results[1][2]["Metadata"] == {"colour": "blue"}


@pytest.mark.parametrize("post", CLIENTS)
def test_a_form_too_large_to_be_held(s3, direct, bucket, post):
    """Five MiB from every client, curl waiting for 100 Continue before it sends them, are streamed and whole."""
    url, form = presign(s3, bucket, f"large/{post.__name__}")
    data = os.urandom(5 * 2**20)
    assert post(url, form, "f", data)[0] == 204
    found = direct.get_object(Bucket=bucket, Key=f"large/{post.__name__}")["Body"].read()
    assert (len(found), md5(found).hexdigest()) == (len(data), md5(data).hexdigest())


def code(body: bytes) -> str:
    found = re.search(rb"<Code>(\w+)</Code>", body)
    return found[1].decode() if found else ""


@pytest.mark.parametrize(
    ("change", "size"),
    [
        ({}, 5), ({}, 10), ({}, 4), ({}, 11), ({"x-ignore-me": "x"}, 5), ({"x-amz-meta-new": "x"}, 5), ({"key": "verdict/other"}, 5),
        ({"key": "other"}, 5), ({"x-amz-meta-colour": "red"}, 5), ({"x-amz-meta-colour": None}, 5), ({"Content-Type": "text/html"}, 5),
        ({"Content-Type": "image/other"}, 5), ({"x-amz-signature": "0" * 64}, 5), ({"policy": "e30="}, 5), ({"x-amz-date": "20200101T000000Z"}, 5),
    ],
)  # fmt: skip
def test_a_form_is_judged_as_the_store_itself_would(s3, direct, bucket, change, size):
    """The same form, changed in the same way, has the same status and error code directly and through the gateway.

    Not so a field `acl` or `success_action_status` that no condition names: SeaweedFS takes it, AWS and we do not (trap 34).
    """
    verdicts = []
    for client in (direct, s3):
        fields = {"x-amz-meta-colour": "blue"}
        conditions = [["content-length-range", 5, 10], ["starts-with", "$Content-Type", "image/"]]
        url, form = presign(client, bucket, "verdict/${filename}", fields, conditions)
        changed = {
            name: value for name, value in ({**form, "Content-Type": "image/x"} | change).items() if value is not None
        }
        status, _, body = by_httpx(url, changed, "f", b"x" * size)
        verdicts.append((status, code(body)))
    if change.get("x-amz-date"):
        assert [status // 100 for status, _ in verdicts] == [4, 4]  # the store finds the signature wrong, we the date
    else:
        assert verdicts[0] == verdicts[1]


def test_the_type_of_a_file_is_what_its_signer_said(s3, direct, bucket):
    """Without a Content-Type field an object has S3's default type, whatever the part or the file's bytes say."""
    for fields in ({}, {"Content-Type": ""}):
        url, form = presign(s3, bucket, "untyped", fields)
        assert by_httpx(url, form, "f.html", b"<html><script>alert(1)</script></html>")[0] == 204
        assert stored(direct, bucket, "untyped")["ContentType"] == "binary/octet-stream"


def test_a_policy_service_is_asked_about_a_form(servers, weed, issuer, direct, bucket, tmp_path_factory):
    """OPA sees a form's key, length and authType; while it is asked the file waits, and then goes up whole."""
    rego = """package gw
    default allow := false
    allow if {
        input.action == "s3:PutObject"
        startswith(input.object, "opa/")
        input.conditions.authType == ["POST"]
        to_number(input.conditions["Content-Length"][0]) <= 3000000
    }"""
    opa = start_opa({"gw.rego": rego}, tmp_path_factory.mktemp("opa-forms"))
    asking = GatewayProcess(
        servers / "forms-opa", weed.endpoint, MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_IAM_OPA_URL=f"{opa.url}/v1/data/gw",
    ).start()  # fmt: skip
    try:
        client = s3_client(asking.endpoint, credentials_for(asking, issuer))
        for key, size, status in [
            ("opa/a", 10, 204), ("opa/b", 3_000_000, 204), ("opa/c", 3_000_001, 403), ("other", 10, 403),
        ]:  # fmt: skip
            url, form = presign(client, bucket, key)
            assert (key, by_httpx(url, form, "f", b"x" * size)[0]) == (key, status)
        found = direct.list_objects_v2(Bucket=bucket, Prefix="opa/")["Contents"]
        assert [(o["Key"], o["Size"]) for o in found] == [("opa/a", 10), ("opa/b", 3_000_000)]
    finally:
        asking.close()
        opa.close()


@pytest.mark.parametrize("status", ["200", "201", "204", "nonsense"])
def test_success_action_status(s3, direct, gateway, bucket, status):
    """200 and 201 are answered as asked, 201 with a document whose Location is the gateway's; all else is 204."""
    url, form = presign(s3, bucket, "dir/a b<&", {"success_action_status": status})
    found, headers, body = by_httpx(url, form, "f", b"x")
    assert found == {"200": 200, "201": 201}.get(status, 204)
    location = f"{gateway.endpoint}/{bucket}/dir/a%20b%3C%26"
    assert headers["location"] == location
    if status != "201":
        assert body == b""
        return
    root = xml.document(body, "PostResponse")
    said = {xml.local(child): child.text for child in root}
    assert said == {"Location": location, "Bucket": bucket, "Key": "dir/a b<&", "ETag": headers["etag"]}
    assert stored(direct, bucket, "dir/a b<&")["ETag"] == headers["etag"]


@pytest.mark.parametrize("page", ["https://app.example.test/done?x=1#top", "http://app.example.test/"])
def test_success_action_redirect(s3, bucket, page):
    """A browser is sent to the form's page, told bucket, key and etag; what the page's URL had stays."""
    url, form = presign(s3, bucket, "dir/r&r", {"success_action_redirect": page})
    status, headers, _ = by_httpx(url, form, "f", b"x")
    there, asked = urlsplit(headers["location"]), urlsplit(page)
    assert (status, there.netloc, there.path, there.fragment) == (303, asked.netloc, asked.path, asked.fragment)
    told = [*parse_qsl(asked.query), ("bucket", bucket), ("key", "dir/r&r"), ("etag", headers["etag"])]
    assert parse_qsl(there.query) == told


@pytest.mark.parametrize("page", ["javascript:alert(1)", "//evil.example", "https://x/\r\nSet-Cookie: a=b", "/local"])
def test_a_redirect_that_is_no_web_page_is_as_if_absent(s3, bucket, page):
    """Only http and https URLs are followed, and none can write a header."""
    url, form = presign(s3, bucket, "redirected", {"success_action_redirect": page})
    status, headers, _ = by_httpx(url, form, "f", b"x")
    assert (status, headers["location"]) == (204, url + "/redirected")
    assert "set-cookie" not in headers


def test_tags_and_acl_are_what_the_form_says(s3, direct, bucket):
    """The tagging field, a document, becomes the object's tags."""
    tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>"
    url, form = presign(s3, bucket, "tagged", {"tagging": tags})
    assert by_httpx(url, form, "f", b"x")[0] == 204
    assert direct.get_object_tagging(Bucket=bucket, Key="tagged")["TagSet"] == [{"Key": "a b", "Value": "1&2"}]


def test_an_empty_file_and_an_awkward_key(s3, direct, bucket):
    """A form without a byte of file makes an empty object, under a key of any characters."""
    key = "ключ/+ %2F~é?#&/f"
    url, form = presign(s3, bucket, key)
    assert by_httpx(url, form, "f", b"")[0] == 204
    assert direct.get_object(Bucket=bucket, Key=key)["Body"].read() == b""


def test_the_form_of_a_virtual_host(gateway, s3, direct, bucket):
    """`POST /` at bucket.domain is the same form."""
    _, form = presign(s3, bucket, "hosted")
    answer = httpx.post(
        gateway.endpoint + "/", data=form | {}, files={"file": b"x"}, headers={"Host": f"{bucket}.s3.example.test"}
    )
    assert (answer.status_code, answer.headers["location"]) == (204, f"http://{bucket}.s3.example.test/hosted")
    assert stored(direct, bucket, "hosted")["body"] == b"x"


def test_a_form_signed_by_a_reader_stores_nothing(gateway, issuer, direct, bucket):
    """The signature is good, the signer may not write: AccessDenied, as for his PutObject."""
    reader = s3_client(gateway.endpoint, credentials_for(gateway, issuer, "reader"))
    url, form = presign(reader, bucket, "reader's")
    status, _, body = by_httpx(url, form, "f", b"x")
    assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)
    assert direct.list_objects_v2(Bucket=bucket, Prefix="reader's")["KeyCount"] == 0


def test_a_minio_client_form(gateway, app_credentials, direct, bucket):
    """minio-py's own PostPolicy makes forms that work."""
    client = Minio(
        gateway.endpoint.removeprefix("http://"), access_key=app_credentials["accessKey"],
        secret_key=app_credentials["secretKey"], session_token=app_credentials["sessionToken"], secure=False, region="us-east-1",
    )  # fmt: skip
    policy = PostPolicy(bucket, datetime.now(UTC) + timedelta(hours=1))
    policy.add_starts_with_condition("$key", "minio/")
    policy.add_content_length_range_condition(1, 100)
    form = client.presigned_post_policy(policy) | {"key": "minio/k"}
    assert by_httpx(f"{gateway.endpoint}/{bucket}", form, "f", b"x")[0] == 204
    assert stored(direct, bucket, "minio/k")["body"] == b"x"


MINIO_JS = """
const {Client} = require("minio")
const [options, bucket] = process.argv.slice(1)
const client = new Client(JSON.parse(options))
const policy = client.newPostPolicy()
policy.setBucket(bucket)
policy.setKeyStartsWith("minio-js/")
policy.setContentType("text/x-js")
policy.setContentLengthRange(1, 100)
policy.setUserMetaData({colour: "blue"})
policy.setExpires(new Date(Date.now() + 60000))
client.presignedPostPolicy(policy).then(made => console.log(JSON.stringify(made)))
"""


@pytest.mark.skipif(not (NPM / "minio").exists(), reason="minio-js is not installed")
def test_a_minio_js_form(gateway, app_credentials, direct, bucket):
    """minio-js sends the bucket as a field too; its forms work, with its own conditions."""
    options = {
        "endPoint": "127.0.0.1", "port": gateway.port, "useSSL": False, "region": "us-east-1", **app_credentials,
    }  # fmt: skip
    done = subprocess.run(
        ["node", "-e", MINIO_JS, "--", json.dumps(options), bucket],
        capture_output=True,
        check=True,
        env={**os.environ, "NODE_PATH": str(NPM)},
    )
    made = json.loads(done.stdout)
    assert made["formData"]["bucket"] == bucket
    form = made["formData"] | {"key": "minio-js/k"}
    assert by_httpx(made["postURL"], form, "f", b"x")[0] == 204
    found = stored(direct, bucket, "minio-js/k")
    assert (found["body"], found["ContentType"], found["Metadata"]) == (b"x", "text/x-js", {"colour": "blue"})
    assert by_httpx(made["postURL"], form | {"key": "other"}, "f", b"x")[0] == 403


def test_anonymous_forms_need_a_policy_for_the_anonymous(servers, weed, direct, bucket, gateway, tmp_path):
    """A form without a signature is an anonymous PutObject: refused, unless the anonymous have a policy that allows it."""
    assert by_httpx(f"{gateway.endpoint}/{bucket}", {"key": "anonymous"}, "f", b"x")[0] == 403
    (tmp_path / "drop.json").write_text(
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:PutObject",'
        f' "Resource": "arn:aws:s3:::{bucket}/drop/*", "Condition": {{"Null": {{"s3:authType": "true"}}}}}}]}}'
    )
    open_gateway = GatewayProcess(
        servers / "open", weed.endpoint, MINIO_GW_POLICY_DIR=str(tmp_path), MINIO_GW_ANONYMOUS_POLICY="drop",
        MINIO_ROOT_USER=ROOT_USER, MINIO_ROOT_PASSWORD=ROOT_PASSWORD,
    ).start()  # fmt: skip
    try:
        url = f"{open_gateway.endpoint}/{bucket}"
        assert by_httpx(url, {"key": "drop/${filename}"}, "C:\\dir\\a.txt", b"x")[0] == 204
        assert stored(direct, bucket, "drop/a.txt")["body"] == b"x"
        for key in ("anonymous", "drop/../k"):
            assert by_httpx(url, {"key": key}, "f", b"x")[0] in {400, 403}
    finally:
        open_gateway.close()


def test_a_large_form_moves_in_constant_memory(gateway, s3, direct, bucket, tmp_path):
    """64 MiB in a form do not make the gateway grow by 32 MiB, and arrive byte for byte."""
    size, piece = 64 * 2**20, os.urandom(2**20)
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(size // len(piece)):
            file.write(piece)
    url, form = presign(s3, bucket, "large", conditions=[["content-length-range", size, size]])
    before, highest = rss(gateway), 0

    def watched():
        nonlocal highest
        with path.open("rb") as file:
            while data := file.read(2**20):
                highest = max(highest, rss(gateway))
                yield data

    boundary = uuid.uuid4().hex
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in form.items()
    )
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    tail = f"\r\n--{boundary}--\r\n"

    def body():
        yield head.encode()
        yield from watched()
        yield tail.encode()

    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(len(head) + size + len(tail)),
    }  # fmt: skip
    assert httpx.post(url, content=body(), headers=headers, timeout=120).status_code == 204
    assert highest - before < 32
    found, digest = direct.get_object(Bucket=bucket, Key="large"), md5(usedforsecurity=False)
    for data in found["Body"].iter_chunks(2**20):
        digest.update(data)
    expected = md5(usedforsecurity=False)
    for _ in range(size // len(piece)):
        expected.update(piece)
    assert (found["ContentLength"], digest.digest()) == (size, expected.digest())


def test_trap_34_a_form_gone_wrong_leaves_the_object_as_it_was(gateway, s3, direct, bucket):
    """Fields behind a large file, a wrong end, a wrong digest, a connection that ends: the store still has what it had."""
    direct.put_object(Bucket=bucket, Key="kept", Body=b"before")
    data = os.urandom(3 * 2**20)
    _, form = presign(s3, bucket, "kept")
    body = multipart(form.items(), data)
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    behind = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="submit"\r\n\r\nUpload'.encode()
    for wrong in (
        body.removesuffix(end) + behind + end,
        body[:-2],
        body[:-2] + b"xx",
        body.removesuffix(end) + b"x" * len(end),
    ):
        answer = httpx.post(f"{gateway.endpoint}/{bucket}", content=wrong, headers=headers)
        assert (answer.status_code, code(answer.content)) == (400, "MalformedPOSTRequest")
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        lines = {"Host": "x", **headers, "Content-Length": str(len(body))}
        head = f"POST /{bucket} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
        client.sendall(head.encode() + b"\r\n" + body[:-1])
    for field, value in [("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="), ("x-amz-checksum-sha256", "A" * 43 + "=")]:
        url, form = presign(s3, bucket, "kept", {field: value})
        status, _, answer = by_httpx(url, form, "f", data)
        assert (status, code(answer)) in {
            (400, "BadDigest"),
            (400, "InvalidDigest"),
            (400, "XAmzContentChecksumMismatch"),
        }
    cut = rf"PutObject (400|499) POST /{bucket}/kept .*(IncompleteBody|Cut)"  # a half-closed connection may still read
    until(lambda: re.search(cut, gateway.process.text), "the cut form is logged", 20)
    assert stored(direct, bucket, "kept")["body"] == b"before"
    assert direct.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_the_log_names_the_key(gateway, s3, bucket):
    """The access line of a form is that of the PutObject it means."""
    url, form = presign(s3, bucket, "logged/k")
    assert by_httpx(url, form, "f", b"x")[0] == 204
    line = rf"PutObject 204 POST /{bucket}/logged/k "
    until(lambda: re.search(line, gateway.process.text), "the line is written: the answer may be there before it")
