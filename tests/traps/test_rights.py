"""What a right covers, and what it does not: copies, versions, listings, configurations, documents (traps 22 to 36, 62, 64)."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gateway.s3.operations import table
from tests.servers.processes import GatewayProcess
from tests.traps.raw import Wire, allowing, ask, narrowed, presigned, signed, written

READ = allowing("s3:GetObject", resource="arn:aws:s3:::aa/*")
WRITE = allowing("s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging", resource="arn:aws:s3:::bb/*")


@pytest.mark.parametrize("target", ["/bb/k", "/bb/k?partNumber=1&uploadId=u"])
@pytest.mark.parametrize("source", ["cc/k", "/cc/k", "aa/k?versionId=v", "cc/k?versionId=v"])
def test_trap_23_a_copy_reads_its_source(edge, issuer, recorded, target, source):
    """A reader of A and writer of B may not copy from C, nor a version of A that he may not read."""
    who = narrowed(edge, issuer, READ, WRITE)
    refused = ask(edge, "PUT", target, {"x-amz-copy-source": source}, who=who)
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert recorded() == []


#: x-amz-copy-source -> what is wrong with it; none may be read as another object than was judged.
SOURCES = [
    "aa%252Fk", "//aa%2Fk", "%2F%2Faa%2Fk", "aa%2F..%2Fcc%2Fk", "aa/../cc/k", "aa%2F%2E%2E%2Fcc/k", "%2Faa%5C..%5Ck", "aa%2F", "aa/%2e%2e/cc/k", "aa/%2E%2E%2Fcc/k", "aa/./k", "../aa/k", "aa", "aa/", "/", "//aa/k",
    "?versionId=v", "aa%3FversionId=v", "aa%2Fk?versionId=v&acl", "aa/k?versionId=v&acl", "aa/k?acl", "aa/k%ff", "aa/k%00", "aa/k%00l", "aa/k?versionId=v%00", "arn:aws:s3:us-east-1:1:accesspoint/p/object/k", "", "a a/k", "aa#/k",
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_trap_24_a_copy_source_is_read_in_one_way(edge, recorded, source):
    """A source without a bucket and a key, with dot segments or with more than a version is refused, root or not."""
    answer = ask(edge, "PUT", "/bb/k", {"x-amz-copy-source": source})
    assert (answer.status, recorded()) == (400, []), answer


@pytest.mark.parametrize(
    "source",
    ["aa/k/l+", "/aa/k/l+", "aa%2Fk%2Fl+", "/aa%2Fk%2Fl%2B", "%2Faa%2Fk%2Fl+", "%2faa/k%2Fl%2b", "%61a/%6B/l+"],
)
@pytest.mark.parametrize("version", ["", "?versionId=v"])
def test_trap_24_a_copy_source_is_judged_as_it_is_sent(edge, issuer, recorded, source, version):
    """Clients encode none, some or all of it: it is one key to the policy and, written anew, to the backend; `+` is a plus."""
    headers = {"x-amz-copy-source": source + version}
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    tags = ["s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging"]
    others = narrowed(
        edge,
        issuer,
        allowing("s3:PutObject", *tags),
        allowing(action, resource=["arn:aws:s3:::aa/k", "arn:aws:s3:::aa/k%2Fl+"]),
    )
    assert (ask(edge, "PUT", "/bb/k", headers, who=others).status, recorded()) == (403, [])
    who = narrowed(edge, issuer, allowing("s3:PutObject", *tags), allowing(action, resource="arn:aws:s3:::aa/k/l+"))
    assert ask(edge, "PUT", "/bb/k", headers, who=who).status == 200
    assert recorded()[0].headers["x-amz-copy-source"] == f"aa/k/l%2B{version}"


def test_trap_24_an_encoded_question_mark_is_of_the_key(edge, recorded):
    """`%3F` in a source is a character of the key, and stays one at the backend."""
    assert ask(edge, "PUT", "/bb/k", {"x-amz-copy-source": "/aa/k%3FversionId=v%2Bw"}).status == 200
    assert recorded()[0].headers["x-amz-copy-source"].lower() == "aa/k%3fversionid%3dv%2bw"


@pytest.mark.parametrize(("method", "target"), [("GET", "/bb/k"), ("HEAD", "/bb/k"), ("DELETE", "/bb/k"), ("PUT", "/bb/k?tagging="), ("PUT", "/bb"), ("POST", "/bb/k?uploads=")])  # fmt: skip
def test_trap_25_a_copy_source_makes_no_other_request_a_copy(edge, recorded, method, target):
    """On anything but a copy the header is refused or stays behind."""
    ask(edge, method, target, {"x-amz-copy-source": "/aa/secret", "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    for request in recorded():
        assert "x-amz-copy-source" not in request.headers


@pytest.mark.parametrize(
    ("method", "target", "weaker"),
    [
        ("GET", "/aa?versions=", "s3:ListBucket"),
        ("GET", "/aa?uploads=", "s3:ListBucket"),
        ("GET", "/aa/k?uploadId=u", "s3:GetObject"),
        ("GET", "/aa/k?tagging=", "s3:GetObject"),
        ("GET", "/aa/k?acl=", "s3:GetObject"),
        ("GET", "/aa/k?retention=", "s3:GetObject"),
        ("GET", "/aa?location=", "s3:ListBucket"),
        ("GET", "/aa?policy=", "s3:ListBucket"),
        ("DELETE", "/aa/k?uploadId=u", "s3:DeleteObject"),
        ("DELETE", "/aa/k?tagging=", "s3:DeleteObject"),
    ],
)
def test_trap_27_a_request_needs_its_own_right(edge, issuer, recorded, method, target, weaker):
    """No listing, reading or deleting falls back to the right of the operation that looks like it."""
    who = narrowed(edge, issuer, allowing(weaker))
    answer = ask(edge, method, target, who=who)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert recorded() == []


def test_trap_29_a_session_policy_narrows_and_never_widens(edge, issuer, recorded):
    """What the parent may not, no session policy grants; a deny in it counts; one that allows nothing allows nothing."""
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::bkt/k"}
    for statements in (
        [deny],
        [allowing("s3:*"), deny],
        [allowing("s3:*", resource="arn:aws:s3:::other/*")],
        [allowing("admin:*", resource="*")],
    ):
        answer = ask(edge, "GET", "/bkt/k", who=narrowed(edge, issuer, *statements))
        assert (answer.status, answer.code) == (403, "AccessDenied"), statements
    assert recorded() == []


@pytest.mark.parametrize("value", ["public-read", "public-read ", "public-read\t", " public-read \t "])
def test_trap_20_space_around_a_value_hides_it_from_no_policy(edge, issuer, recorded, value):
    """The space is no part of a value: not for the backend, which would drop it, and not for a policy that denies the value."""
    deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::*",
            "Condition": {"StringEquals": {"s3:x-amz-acl": "public-read"}}}  # fmt: skip
    who = narrowed(edge, issuer, allowing("s3:*"), deny)
    answer = ask(edge, "PUT", "/bkt/k", {"x-amz-acl": value}, who=who)
    assert (answer.status, answer.code, recorded()) == (403, "AccessDenied", [])


class _Opa(BaseHTTPRequestHandler):
    """A policy service that answers as it is told."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, kind, body = self.server.says
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def opa():
    """A policy service under the test's command."""
    server = HTTPServer(("127.0.0.1", 0), _Opa)
    server.says = (200, "application/json", b'{"result": true}')
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def asking(tmp_path_factory, backend, issuer, opa):
    """A gateway that asks this policy service."""
    server = GatewayProcess(
        tmp_path_factory.mktemp("asking"),
        backend.endpoint,
        MINIO_IDENTITY_OPENID_CONFIG_URL=issuer.urls["config"],
        MINIO_POLICY_PLUGIN_URL=f"http://127.0.0.1:{opa.server_port}/v1",
    ).start(ready=False)
    yield server
    server.close()


@pytest.mark.parametrize("says", [
    (500, "application/json", b'{"result": true}'), (404, "text/plain", b"true"), (200, "application/json", b"{}"),
    (200, "application/json", b'{"result": null}'), (200, "application/json", b'{"result": "true"}'), (200, "application/json", b'{"result": 1}'),
    (200, "text/html", b"<html>true</html>"), (200, "application/json", b'{"result": true, "result": false}'), (200, "application/json", b""),
    (200, "application/json", b'{"result": {"allow": "true"}}'), (302, "application/json", b'{"result": true}'), (204, "application/json", b""),
], ids=repr)  # fmt: skip
def test_trap_31_anything_but_a_clear_yes_is_a_no(asking, issuer, opa, recorded, says):
    """A policy service that fails, or answers anything but true, has refused; a clear yes crosses."""
    who = narrowed(asking, issuer, allowing("s3:*"))
    opa.says = says
    answer = ask(asking, "GET", "/bkt/k", who=who)
    assert (answer.status, answer.code, recorded()) == (403, "AccessDenied", [])
    opa.says = (200, "application/json", b'{"result": true}')
    assert ask(asking, "GET", "/bkt/k", who=who).status == 200


def test_trap_31_no_yes_is_for_the_next_request_of_a_known_client(asking, issuer, opa, recorded):
    """On one connection, its story well known: each request is asked about, and a no is a no the moment it is said."""
    who = narrowed(asking, issuer, allowing("s3:*"))
    yes, no = (200, "application/json", b'{"result": true}'), (200, "application/json", b'{"result": false}')
    crossed = 0
    with Wire(asking.port) as wire:
        for says in (yes, yes, yes, no, yes, (500, "text/plain", b""), no, yes):
            opa.says = says
            answer = wire.send(written("GET", "/bkt/k", signed(asking, "GET", "/bkt/k", {}, who))).answer()
            crossed += says == yes
            assert (answer.status, len(recorded())) == (200 if says == yes else 403, crossed)


@pytest.mark.parametrize(
    "parameter", ["response-content-type", "response-cache-control", "response-expires", "response-content-disposition"]
)
def test_trap_35_answer_headers_are_for_who_signs(tmp_path_factory, backend, recorded, parameter, public):
    """An anonymous reader may not choose answer headers; a signed one may."""
    with Wire(public.port) as wire:
        answer = wire.send(written("GET", f"/bkt/k?{parameter}=text", {"Host": "x"})).answer()
        assert (answer.status, answer.code, recorded()) == (400, "InvalidRequest", [])
        assert wire.send(written("GET", "/bkt/k", {"Host": "x"})).answer().status == 200
    assert ask(public, "GET", f"/bkt/k?{parameter}=text").status == 200


@pytest.fixture(scope="module")
def public(tmp_path_factory, backend):
    """A gateway whose objects anybody may read."""
    server = GatewayProcess(
        tmp_path_factory.mktemp("public"), backend.endpoint, MINIO_GW_ANONYMOUS_POLICY="readonly"
    ).start()
    yield server
    server.close()


@pytest.mark.parametrize("sub", ["policy", "acl", "cors", "replication", "website", "lifecycle", "notification", "versioning", "ownershipControls", "publicAccessBlock"])  # fmt: skip
def test_trap_36_rights_over_rights_are_not_those_over_objects(edge, issuer, recorded, sub):
    """Who may do everything with objects and list and make buckets may not change who else may."""
    who = narrowed(edge, issuer, allowing("s3:*Object", "s3:ListBucket", "s3:CreateBucket", "s3:DeleteBucket"))
    for method in ("PUT", "DELETE"):
        answer = ask(edge, method, f"/bkt?{sub}=", who=who)
        assert answer.status in {403, 405, 501}, (method, answer)
    assert recorded() == []


STATICS = sorted({name for operations in table().values() for operation in operations for name, _ in operation.static})


@pytest.mark.parametrize("sub", STATICS)
def test_trap_62_every_sub_resource_is_itself_or_nothing(edge, backend, recorded, sub):
    """Whatever names an operation in the model never reaches the backend without it, whatever the method and the spelling."""
    for path in ("/bkt", "/bkt/k"):
        for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
            for spelled in (f"{sub}=", f"{sub.upper()}=", f"{sub}=x"):
                with Wire(edge.port) as wire:
                    wire.send(written(method, f"{path}?{spelled}", signed(edge, method, f"{path}?{spelled}")))
                    answer = wire.answer(head=method == "HEAD")
                assert answer is not None
                for request in recorded():
                    sent = request.line.split(" ")[1]
                    assert sent == f"{path}?{spelled}", f"{method} {path}?{spelled} reached the backend as {sent}"
                backend.requests.clear()


@pytest.mark.parametrize(
    "kind",
    [
        "application/xml",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json",
        "",
    ],
)
@pytest.mark.parametrize("body", [b"", b"<Delete/>", b"<Delete><Object><Key>no/k</Key></Object></Delete>"])
def test_trap_64_a_batch_delete_is_judged_whatever_it_calls_itself(edge, issuer, recorded, kind, body):
    """No Content-Type and no empty document takes a batch delete past the judgement of its keys."""
    who = narrowed(edge, issuer, allowing("s3:DeleteObject", resource="arn:aws:s3:::bkt/ok/*"))
    answer = ask(edge, "POST", "/bkt?delete=", {"Content-Type": kind} if kind else {}, body, who)
    if b"no/k" in body:
        assert re.findall(rb"<Key>(.*?)</Key>.*?<Code>(.*?)</Code>", answer.body) == [(b"no/k", b"AccessDenied")]
    else:
        assert (answer.status, answer.code) == (400, "MalformedXML")
    assert recorded() == []


def test_trap_04_a_presigned_url_carries_no_more_than_was_signed(edge, recorded):
    """A parameter or an x-amz- header added to a presigned URL breaks it."""
    target = presigned(edge, "PUT", "/bkt/k")
    for added, headers in (
        ("&x-id=1&acl", {}),
        ("&X-Amz-Acl=public-read", {}),
        ("", {"x-amz-acl": "public-read"}),
        ("", {"x-amz-tagging": "a=b"}),
    ):
        with Wire(edge.port) as wire:
            host = {"Host": f"127.0.0.1:{edge.port}"}
            answer = wire.send(written("PUT", target + added, host | headers, b"x")).answer()
        assert answer.status in {400, 403, 501}, added
    assert recorded() == []
