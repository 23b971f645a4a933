"""post_form: a form is the PutObject it means, judged by its policy and by the signer's rights; everything else is refused."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import ExpiredToken, InvalidAccessKeyId, S3Error
from gateway.s3.multipart import Form, FormReader
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.case import World
from gateway.stories.plans import Answer, Forward, NeedsDecisions, NeedsForm, Reply
from gateway.stories.post_form import is_post_form
from gateway.stories.story import begin
from iam.authorize import AllOf, IamPolicies
from iam.model import Allow, Deny
from iam.policy import parse
from tests.unit.gateway.forms import BOUNDARY, form_request, multipart, policy_text, signed_form
from tests.unit.gateway.signers import ANN, EVE, PRINCIPALS, ROOT, lookup, read
from tests.unit.gateway.storied import LOCAL, world

TAGS = (
    "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag><Tag><Key>c</Key><Value/></Tag></TagSet></Tagging>"
)


def told(fields, now, file=b"content", where=None, *, filename="f", target="/ann", **headers):
    """Tell the story of a form up to the plan behind its file's length."""
    body = multipart(fields.items(), file, filename=filename)
    plan = begin(form_request(body, target, **headers), where or world(), now)
    assert isinstance(plan, NeedsForm)
    reader = FormReader(plan.boundary)
    held = reader.feed(body)
    assert held == file
    return plan.then(reader.form, now)(len(held))


def refusal(*told_with, **how) -> str:
    with pytest.raises(S3Error) as error:
        told(*told_with, **how)
    return error.value.code


def form(fields=None, *conditions, **how):
    """Return a signed form for ann/k."""
    fields = {"key": "k", **(fields or {})}
    return (
        signed_form(fields, **how) if not conditions else signed_form(fields, [{"bucket": "ann"}, *conditions], **how)
    )


def test_a_form_is_the_put_it_means():
    """Method, path, headers and length are the PutObject's; nothing of the signature or of the POST's own body is left."""
    fields = {
        "Content-Type": "image/x", "Cache-Control": "no-store", "Expires": "x", "Content-Encoding": "gzip", "x-amz-meta-A": " b ",
        "x-amz-meta-empty": "", "x-amz-storage-class": "", "success_action_status": "200", "x-ignore-me": "x", "submit": "Upload",
    }  # fmt: skip
    plan = told(*form(fields, who=ROOT), **{"User-Agent": "browser", "x-amz-acl": "public-read", "Content-MD5": "x"})
    assert isinstance(plan, Forward)
    request = plan.request
    assert (request.method, request.target, request.path.bucket, request.path.key, request.query) == (
        "PUT",
        "/ann/k",
        "ann",
        "k",
        (),
    )
    assert request.headers == {
        "host": "gw.example.test", "user-agent": "browser", "content-length": "7", "content-type": "image/x", "cache-control": "no-store",
        "expires": "x", "content-encoding": "gzip", "x-amz-meta-a": "b", "x-amz-meta-empty": "",
    }  # fmt: skip
    assert plan.operation.name == "PutObject"
    assert (plan.caller.principal, plan.caller.mode.value, plan.caller.payload_hash) == (
        PRINCIPALS["ROOTKEY"],
        *["UNSIGNED-PAYLOAD"] * 2,
    )
    assert (plan.caller.auth_type, plan.caller.target) == ("POST", "/ann/k")


@pytest.mark.parametrize(("field", "value", "header", "expected"), [
    ("acl", "public-read", "x-amz-acl", "public-read"), ("x-amz-acl", "private", "x-amz-acl", "private"),
    ("tagging", TAGS, "x-amz-tagging", "a%20b=1%262&c="), ("x-amz-tagging", "a=b", "x-amz-tagging", "a=b"),
    ("x-amz-checksum-crc32", "AAAAAA==", "x-amz-checksum-crc32", "AAAAAA=="), ("Content-MD5", "AA==", "content-md5", "AA=="),
    ("x-amz-server-side-encryption", "AES256", "x-amz-server-side-encryption", "AES256"),
    ("x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-mode", "GOVERNANCE"),
    ("x-amz-website-redirect-location", "/x", "x-amz-website-redirect-location", "/x"),
])  # fmt: skip
def test_fields_that_are_headers(field, value, header, expected):
    """Each field that PutObject knows crosses as its header."""
    assert told(*form({field: value}, who=ROOT)).request.headers[header] == expected


@pytest.mark.parametrize("field", [
    "x-amz-copy-source", "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-write-offset-bytes", "x-amz-unknown", "authorization",
    "host", "x-forwarded-for", "content-length", "if-none-match", "transfer-encoding", "cookie", "x-amz-content-sha256",
])  # fmt: skip
def test_fields_that_are_no_headers(field):
    """A field that a policy covers but PutObject does not know, or that describes another body, never crosses."""
    headers = told(*form({field: "7x"}, who=ROOT)).request.headers
    assert "7x" not in headers.values()


@pytest.mark.parametrize(("fields", "code"), [
    ({"acl": "private", "x-amz-acl": "public-read"}, "InvalidArgument"),
    ({"tagging": TAGS, "x-amz-tagging": "a=b"}, "InvalidArgument"),
    ({"x-amz-meta-a": "b\r\nx-amz-acl: public-read"}, "InvalidArgument"),
    ({"Content-Type": "a\0"}, "InvalidArgument"),
    ({"x-amz-meta-a b": "c"}, "InvalidArgument"),
    ({"x-amz-meta-a\r\nx": "c"}, "InvalidArgument"),
    ({"tagging": "a=b"}, "MalformedXML"),
    ({"tagging": "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"}, "MalformedXML"),
    ({"tagging": "<Tagging><TagSet>" + "<Tag><Key>a</Key><Value>b</Value></Tag>" * 2 + "</TagSet></Tagging>"}, "InvalidTag"),
    ({"x-amz-meta-snowball-auto-extract": "true"}, "NotImplemented"),
    ({"bucket": "other"}, "AccessDenied"),
    ({"key": ""}, "InvalidArgument"),
    ({"key": "a/../b"}, "InvalidArgument"),
    ({"key": ".."}, "InvalidArgument"),
    ({"key": "a\0b"}, "InvalidArgument"),
    ({"key": "k" * 1025}, "KeyTooLongError"),
])  # fmt: skip
def test_fields_that_cannot_be_are_refused(fields, code):
    """Two of one header, header injection, tags and keys that are none: refused, even to the owner."""
    fields, now = form(fields, who=ROOT)
    request = form_request(b"", "/ann")
    plan = begin(request, world(), now)
    with pytest.raises(S3Error) as error:
        plan.then(Form({name.lower(): value for name, value in fields.items()}, "f", 0), now)
    assert error.value.code == code


@pytest.mark.parametrize(("key", "filename", "expected"), [
    ("a/${filename}", "x y.jpg", "a/x y.jpg"), ("${filename}", "C:\\\\dir\\\\b", "b"), ("a/${filename}/c", "", "a//c"), ("${filename}", "${filename}", "${filename}"),
])  # fmt: skip
def test_filename_stands_in_the_key(key, filename, expected):
    """`${filename}` is the file's name without its path, once."""
    fields, now = form({"key": key}, ["starts-with", "$key", ""])
    assert told(fields, now, filename=filename).request.path.key == expected


def test_the_final_key_is_judged():
    """Policy and rights are asked about the key with the file's name in it, not about the pattern."""
    fields, now = form({"key": "mine/${filename}"}, {"key": "mine/${filename}"})
    assert refusal(fields, now) == "AccessDenied"
    fields, now = form({"key": "mine/${filename}"}, ["starts-with", "$key", "mine/a"])
    assert told(fields, now, filename="ab").request.path.key == "mine/ab"
    assert refusal(fields, now, filename="b") == "AccessDenied"
    assert refusal(fields, now, filename="..") == "InvalidArgument"


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"), min_size=1, max_size=60))
@example("/")
@example("\\//")
@example("a\\..")
@example("a//b")
@example("..\\a")
def test_any_key_is_sent_as_it_was_judged(key):
    """The target decodes to the key that was judged, byte for byte; what a store could read as no key of the bucket is refused."""
    fields, now = form({"key": key}, who=ROOT)
    segments = set(key.replace("\\", "/").split("/"))
    if {".", ".."} & segments or segments == {""}:
        assert refusal(fields, now) == ("AccessDenied" if segments == {""} else "InvalidArgument")
        return
    expected = key.replace("${filename}", "f")
    if expected == key:
        again = read("PUT", told(fields, now).request.target)
        assert (again.path.bucket, again.path.key) == ("ann", expected)


def test_a_virtual_host_form_stays_one():
    """Under bucket.domain the target is the key alone."""
    fields, now = form(who=ROOT)
    body = multipart(fields.items())
    request = read(
        "POST", "/", {"Host": "ann.s3.test", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Length": str(len(body))},
        domains=("s3.test",),
    )  # fmt: skip
    plan = begin(request, world(), now)
    reader = FormReader(plan.boundary)
    reader.feed(body)
    put = plan.then(reader.form, now)(0).request
    assert (put.target, put.path.bucket, put.path.key, put.path.virtual_host) == ("/k", "ann", "k", True)


@pytest.mark.parametrize("change", [
    {"x-amz-signature": "0" * 64}, {"policy": policy_text({"expiration": "2099-01-01T00:00:00Z", "conditions": []})},
])  # fmt: skip
def test_a_wrong_signature_is_refused_before_the_policy_is_read(change):
    """The policy counts only when its signer is known."""
    fields, now = form()
    assert refusal(fields | change, now) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(("change", "code"), [
    ({"x-amz-credential": "ANNKEY/20990101/us-east-1/s3/aws4_request"}, "InvalidArgument"),
    ({"x-amz-credential": "nonsense"}, "InvalidArgument"),
    ({"x-amz-algorithm": "AWS4-HMAC-SHA1"}, "InvalidArgument"),
    ({"x-amz-algorithm": "AWS4-ECDSA-P256-SHA256"}, "InvalidRequest"),
    ({"x-amz-date": "yesterday"}, "InvalidArgument"),
    ({"x-amz-signature": "ABC"}, "InvalidArgument"),
    ({"x-amz-security-token": "eve-token"}, "InvalidTokenId"),
    ({"x-amz-security-token": None}, "InvalidTokenId"),
    *(({name: None}, "InvalidArgument") for name in ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")),
    ({"AWSAccessKeyId": "ANNKEY"}, "InvalidRequest"),
    ({"signature": "x"}, "InvalidRequest"),
])  # fmt: skip
def test_a_signature_is_whole_and_ours(change, code):
    """All fields of a V4 signature, each well-formed, and the token that belongs to the key; V2 is refused by its name."""
    fields, now = form()
    changed = {name: value for name, value in (fields | change).items() if value is not None}
    assert refusal(changed, now) == code


def test_a_bucket_field_must_be_the_bucket():
    """Some clients send the bucket as a field, which is the bucket of the path or the form is refused."""
    fields, now = form()
    assert told(fields | {"bucket": "ann"}, now).request.path.bucket == "ann"
    assert refusal(fields | {"bucket": "other"}, now) == "AccessDenied"


def test_another_region_or_service_is_refused():
    """The credential scope is ours, as in a header signature."""
    fields, now = form(region="eu-west-1")
    assert refusal(fields, now, where=world(region="us-east-1")) == "AuthorizationHeaderMalformed"
    assert isinstance(told(fields, now), Forward)


@pytest.mark.parametrize(("later", "code"), [(-901, "AccessDenied"), (-899, None), (59, None), (61, "AccessDenied")])
def test_a_form_has_its_time(later, code):
    """Before it was signed (15 minutes of grace) and after its policy expired, a form is worth nothing."""
    fields, now = form()
    if code is None:
        assert isinstance(told(fields, now + later), Forward)
    else:
        assert refusal(fields, now + later) == code


def test_a_signing_key_is_good_for_seven_days():
    """A policy that outlives its signing key does not count any more."""
    fields, now = form(lifetime=30 * 86400)
    assert isinstance(told(fields, now + 7 * 86400), Forward)
    assert refusal(fields, now + 7 * 86400 + 1) == "AccessDenied"


def test_the_signers_rights_decide():
    """A good form of somebody who may not write, or not there, or not with these fields, is AccessDenied."""
    assert refusal(*form(who=EVE)) == "AccessDenied"
    fields, now = signed_form({"key": "k"}, bucket="other")
    assert refusal(fields, now, target="/other") == "AccessDenied"
    for field in ("acl", "x-amz-object-lock-mode", "x-amz-tagging", "x-amz-grant-read"):
        assert refusal(*form({field: "x"})) == "AccessDenied", field
    assert isinstance(told(*form()), Forward)


@pytest.mark.parametrize("error", [ExpiredToken(), InvalidAccessKeyId()], ids=["expired", "revoked"])
def test_a_session_that_ends_while_its_file_is_read_uploads_nothing(error):
    """A small file is read before anybody is asked: its signer is looked up behind it."""
    fields, now = form()
    body = multipart(fields.items(), b"content")
    asked = []

    def ending(key, token):
        asked.append(key)
        if len(asked) > 1:
            raise error
        return lookup(key, token)

    plan = begin(form_request(body), World(ending, LOCAL, SigningKeys()), now)
    reader = FormReader(plan.boundary)
    reader.feed(body)
    sized = plan.then(reader.form, now)
    with pytest.raises(type(error)):
        sized(7)


def test_policies_see_a_form():
    """s3:authType is POST, and tags, storage class and user agent of the form can be conditions."""
    condition = {
        "StringEquals": {"s3:authType": "POST", "s3:x-amz-storage-class": "GLACIER", "s3:RequestObjectTag/a b": "1&2", "aws:UserAgent": "ua"},
        "NumericLessThan": {"s3:signatureAge": "5000"},
    }  # fmt: skip
    text = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "s3:Put*", "Resource": "arn:aws:s3:::ann/k", "Condition": condition}
        ],
    }
    where = world(AllOf(IamPolicies(lambda: {"ann": parse(json.dumps(text))})))
    fields, now = form({"tagging": TAGS, "x-amz-storage-class": "GLACIER"})
    assert isinstance(told(fields, now, where=where, user_agent="ua"), Forward)
    assert refusal(fields, now + 6, where=where, user_agent="ua") == "AccessDenied"
    fields, now = form({"x-amz-storage-class": "GLACIER"})
    assert refusal(fields, now, where=where, user_agent="ua") == "AccessDenied"


def test_remote_decisions_are_waited_for(remote):
    """With a policy service the same questions are asked, and one Deny is a denial."""
    plan = told(*form({"acl": "private"}), where=remote)
    assert isinstance(plan, NeedsDecisions)
    assert [(q.action, q.bucket, q.key) for q in plan.questions] == [
        ("s3:PutObject", "ann", "k"),
        ("s3:PutObjectAcl", "ann", "k"),
    ]
    assert plan.questions[0].context.document()["authType"] == ["POST"]
    assert plan.questions[0].context.document()["Content-Length"] == ["7"]
    assert isinstance(plan.then([Allow(), Allow()]), Forward)
    with pytest.raises(S3Error):
        plan.then([Allow(), Deny("no")])


@pytest.mark.parametrize(("size", "code"), [(0, "EntityTooSmall"), (1, None), (3, None), (4, "EntityTooLarge")])
def test_the_range_is_kept_before_anything_is_sent(size, code):
    """A file of another size than the policy allows has no plan."""
    fields, now = form(None, {"key": "k"}, ["content-length-range", 1, 3], ["starts-with", "$x-amz-security-token", ""])
    if code is None:
        assert told(fields, now, b"x" * size).request.content_length == size
    else:
        assert refusal(fields, now, b"x" * size) == code


def test_anonymous_forms():
    """Without a signature a form is an anonymous PutObject: what the anonymous may, and no token without a signature."""
    text = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::ann/drop/*"}],
    }
    where = world(AllOf(IamPolicies(lambda: {"drop": parse(json.dumps(text))})), anonymous_policies=("drop",))
    plan = told({"key": "drop/x"}, 0, where=where)
    assert (plan.caller.principal.access_key_id, plan.caller.auth_type) == ("", "")
    assert refusal({"key": "drop/x"}, 0) == "AccessDenied"
    assert refusal({"key": "k"}, 0, where=where) == "AccessDenied"
    assert refusal({"key": "drop/x", "acl": "public-read"}, 0, where=where) == "AccessDenied"
    assert refusal({"key": "drop/x", "x-amz-security-token": "ann-token"}, 0, where=where) == "AccessDenied"


@pytest.mark.parametrize(("method", "target", "headers"), [
    ("PUT", "/ann", {}), ("POST", "/", {}), ("POST", "/ann/k", {}), ("POST", "/ann?delete", {}), ("POST", "/ann?x", {}),
    ("POST", "/ann", {"Authorization": "AWS4-HMAC-SHA256 x"}), ("POST", "/ann", {"Content-Type": "multipart/mixed; boundary=x"}),
])  # fmt: skip
def test_trap_03_other_requests_are_no_forms(method, target, headers):
    """Multipart bodies elsewhere, with a parameter or with a signature of their own take the ordinary road."""
    assert not is_post_form(read(method, target, {"Content-Type": "multipart/form-data; boundary=x", **headers}))
    assert is_post_form(read("POST", "/ann/", {"Content-Type": "multipart/form-data; boundary=x"}))


@pytest.mark.parametrize(("headers", "code"), [
    ({"Content-Type": "multipart/form-data; boundary=x"}, "MissingContentLength"),
    ({"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}, "MissingContentLength"),
    ({"Content-Type": "multipart/form-data", "Content-Length": "1"}, "MalformedPOSTRequest"),
])  # fmt: skip
def test_trap_14_and_21_what_the_head_shows_is_refused_before_a_byte_is_read(headers, code):
    """A form of unknown length or without a boundary is refused from its head."""
    with pytest.raises(S3Error) as error:
        begin(read("POST", "/ann", headers), world(), 0)
    assert error.value.code == code


def answered(fields) -> Reply:
    plan = told(*form(fields, who=ROOT))
    return plan.then(Answer(200, (("ETag", '"e"'), ("x-amz-version-id", "v"), ("Content-Length", "0")), b""))


@pytest.mark.parametrize(("fields", "status", "location"), [
    ({}, 204, "http://gw.example.test/ann/k"),
    ({"success_action_status": "200"}, 200, "http://gw.example.test/ann/k"),
    ({"success_action_status": "201"}, 201, "http://gw.example.test/ann/k"),
    ({"success_action_status": "302"}, 204, "http://gw.example.test/ann/k"),
    ({"redirect": "https://a.example"}, 303, None),
    ({"success_action_redirect": "https://a.example/?x", "success_action_status": "201"}, 303, None),
    ({"success_action_redirect": "https://a.example/\r\nX: y"}, 204, "http://gw.example.test/ann/k"),
    ({"success_action_redirect": "data:text/html,x"}, 204, "http://gw.example.test/ann/k"),
    ({"success_action_redirect": "https:///x"}, 204, "http://gw.example.test/ann/k"),
])  # fmt: skip
def test_the_answer_is_the_one_asked_for(fields, status, location):
    """Status, ETag, version and a Location of ours; a page to go to only when it is one of the web."""
    reply = answered(fields)
    headers = dict(reply.headers)
    assert (reply.status, headers["ETag"], headers["x-amz-version-id"]) == (status, '"e"', "v")
    assert "Content-Length" not in headers
    if location:
        assert headers["location"] == location
    else:
        page, _, query = headers["location"].partition("?")
        assert page.rstrip("/") == "https://a.example"
        assert parse_qsl(query)[-3:] == [("bucket", "ann"), ("key", "k"), ("etag", '"e"')]
    assert (reply.body != b"") == (status == 201)


def test_a_form_of_another_signer_is_his():
    """The token in the form names the session whose rights count."""
    fields, now = form()
    assert fields["x-amz-security-token"] == ANN.session_token.reveal()
    assert told(fields, now).caller.principal == PRINCIPALS["ANNKEY"]
