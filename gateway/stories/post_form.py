"""The story of a POST form: the PutObject it means, judged and sent like any other.

A browser's form carries key, headers and signature as fields before the file. The fields are read first; then

    who signed the policy -> does the policy allow this form -> the PutObject it means -> may they -> Forward

so that nothing of the file is asked for before. The PutObject is an S3Request built from the fields by allow-list; of the
POST's own headers it keeps only those that say who asks (host, user-agent, …), never one that would cross to the backend.
Everything raises an S3Error. https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from gateway.errors import (
    AccessDenied,
    InvalidArgument,
    InvalidRequest,
    InvalidTag,
    KeyTooLongError,
    MissingContentLength,
    SignatureDoesNotMatch,
)
from gateway.s3 import aliases, post_policy, xml
from gateway.s3.actions import required
from gateway.s3.authenticate import Caller, PayloadMode, check_scope
from gateway.s3.multipart import Form, boundary_of, is_form
from gateway.s3.operations import Operation, named, resolve
from gateway.s3.request import MAX_KEY_BYTES, S3Path, S3Request
from gateway.signing.sigv4 import SignatureClaim, check_time, matches, parse_form, uri_encode
from gateway.stories import answers
from gateway.stories.case import Case, World
from gateway.stories.plans import Answer, NeedsForm, Plan, Reply
from iam.model import Principal, PrincipalType

#: Fields that sign a form: all of them, or none.
_SIGNING = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_SIGV2 = frozenset({"awsaccesskeyid", "signature"})
#: Fields that are headers of PutObject under their own name, beside the x-amz- ones that the operation knows.
_CONTENT = frozenset({
    "cache-control", "content-disposition", "content-encoding", "content-language", "content-md5", "content-type", "expires",
})  # fmt: skip
_RENAMED = {"acl": "x-amz-acl", "tagging": "x-amz-tagging"}
#: They describe the framing of a PUT's body, or where in an object it belongs: a form's file is plain and whole.
_NEVER = frozenset({"x-amz-decoded-content-length", "x-amz-trailer", "x-amz-write-offset-bytes"})
_METADATA = "x-amz-meta-"
_NAME = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
MAX_TAGS = 10
_STATUS = {"200": 200, "201": 201}
#: S3's own default. Without one some stores look into the file, and whoever fills the form in would choose the type.
DEFAULT_TYPE = "binary/octet-stream"


def is_post_form(request: S3Request) -> bool:
    """Return whether this is a form for a bucket. With a signature of its own or a parameter it is no form of ours."""
    return (
        request.method == "POST"
        and bool(request.path.bucket)
        and not request.path.key
        and not request.query
        and "authorization" not in request.headers
        and is_form(request.header("content-type"))
    )


def begin(request: S3Request, world: World) -> Plan:
    """Tell the story of one form. Its length must be known: the file's length is told to the backend beforehand."""
    if "transfer-encoding" in request.headers or request.content_length is None:
        raise MissingContentLength
    boundary = boundary_of(request.header("content-type"))
    operation = named("PutObject", "PUT", "object")
    nobody = Caller(
        Principal(PrincipalType.ANONYMOUS), PayloadMode.UNSIGNED, PayloadMode.UNSIGNED.value, request.target
    )
    return NeedsForm(operation, nobody, boundary, lambda form, now: _judge(_Post(request, form, operation, world, now)))


@dataclass(frozen=True)
class _Post:
    """A form whose fields have been read by `now` (epoch seconds)."""

    request: S3Request
    form: Form
    operation: Operation
    world: World
    now: int

    @property
    def fields(self) -> Mapping[str, str]:
        return self.form.fields

    @property
    def bucket(self) -> str:
        return self.request.path.bucket


def _judge(post: _Post) -> Callable[[int], Plan]:
    """Establish who signed and whether the policy allows this form; go on when the file's length is known."""
    claim = _claim(post.fields)
    _signer(post, claim)
    key = _key(post.form)
    policy = None
    if claim is not None:
        policy = post_policy.parse(post.fields["policy"])
        policy.judge({**post.fields, "key": key, "bucket": post.bucket}, post.now)
    if post.fields.get("bucket", post.bucket) != post.bucket:
        raise AccessDenied(reason="the form names another bucket")
    put = _put_request(post, key)
    resolve(put)  # refuses what no PutObject may carry

    def sized(length: int) -> Plan:
        if policy is not None:
            policy.judge_size(length)
        principal = _signer(post, claim)  # a small file has been read meanwhile
        whole = replace(put, headers={**put.headers, "content-length": str(length)})
        caller = Caller(principal, PayloadMode.UNSIGNED, PayloadMode.UNSIGNED.value, put.canonical_target, claim)
        return _put(Case(whole, post.operation, caller, post.world, post.now), post.fields)

    return sized


def _claim(fields: Mapping[str, str]) -> SignatureClaim | None:
    """Return what the form says about its signature, None for an anonymous one."""
    if not _SIGV2.isdisjoint(fields):
        raise InvalidRequest(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            reason="SigV2 form",
        )
    missing = [name for name in _SIGNING if name not in fields]
    if len(missing) == len(_SIGNING):
        if "x-amz-security-token" in fields:
            raise AccessDenied(reason="a session token without a signature")
        return None
    if missing:
        raise _missing(missing[0])
    return parse_form(fields)


def _signer(post: _Post, claim: SignatureClaim | None) -> Principal:
    """Return who signed the policy; the policy as it was sent is what is signed."""
    world = post.world
    if claim is None:
        return Principal(PrincipalType.ANONYMOUS, policies=world.anonymous_policies)
    check_scope(claim, "s3", world.region)
    credentials, principal = world.lookup(claim.access_key_id, post.fields.get("x-amz-security-token", ""))
    check_time(claim, post.now)
    expected = world.keys.get(credentials.secret.reveal(), claim.scope).sign(post.fields["policy"])
    if not matches(expected, claim.signature):
        raise SignatureDoesNotMatch(reason=f"form signature of {claim.access_key_id} differs")
    return principal


def _key(form: Form) -> str:
    """Return the key, the file's name in place of `${filename}`.

    Whoever fills a form in is less trusted than its signer: a segment `..` could lead out of the prefix that the policy
    confines him to, at a store that cleans paths.
    """
    if not form.fields.get("key"):
        raise _missing("key")
    key = form.fields["key"].replace("${filename}", form.filename)
    if not key:
        raise InvalidArgument("User key must have a length greater than 0.", ArgumentName="key")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise KeyTooLongError
    if "\x00" in key or aliases.has_dots(key):
        raise InvalidArgument("The key must not have . or .. as a path segment, nor NUL.", ArgumentName="key")
    return key


def _headers(fields: Mapping[str, str], operation: Operation) -> dict[str, str]:
    """Return the headers of the PutObject. An empty field is as good as none, but for metadata."""
    headers: dict[str, str] = {"content-type": DEFAULT_TYPE} if not fields.get("content-type") else {}
    for name, value in fields.items():
        header = _RENAMED.get(name, name)
        if not _crosses(header, operation) or not (value or header.startswith(_METADATA)):
            continue
        if header in headers:
            raise InvalidArgument(f"The fields {name} and {header} must not both be given.")
        value = _tags(value) if name == "tagging" else value.strip()  # noqa: PLW2901 - the header's value from here on
        if not _NAME.fullmatch(header) or _CONTROL.search(value):
            raise InvalidArgument("A field has a name or value that no header can have.", ArgumentName=name)
        headers[header] = value
    return headers


def _crosses(header: str, operation: Operation) -> bool:
    known = header.startswith("x-amz-") and header in operation.headers
    return header in _CONTENT or header.startswith(_METADATA) or (known and header not in _NEVER)


def _tags(document: str) -> str:
    """Return the tagging field, an XML document, as the header x-amz-tagging."""
    tags = xml.parse_tagging(document.encode())
    if len(tags) > MAX_TAGS or len(dict(tags)) < len(tags):
        raise InvalidTag(reason="too many tags, or one twice")
    return urlencode(tags, quote_via=quote)


def _put_request(post: _Post, key: str) -> S3Request:
    """Return the PutObject, still without its length."""
    request, operation = post.request, post.operation
    path = uri_encode(key, slash=False)
    hosted = request.path.virtual_host
    about = {
        name: value for name, value in request.headers.items()
        if name not in operation.headers and not name.startswith("x-amz-") and name != "content-length"
    }  # fmt: skip
    return replace(
        request,
        method="PUT",
        target=f"/{path}" if hosted else f"/{post.bucket}/{path}",
        path=S3Path(post.bucket, key, hosted),
        headers={**about, **_headers(post.fields, operation)},
    )


def _put(case: Case, fields: Mapping[str, str]) -> Plan:
    """Ask for every right that the PutObject needs, and send it."""
    forward = lambda: case.forward(then=lambda answer: _answered(case, fields, answer))  # noqa: E731
    return case.must(required(case.operation, case.request), forward)


def _answered(case: Case, fields: Mapping[str, str], answer: Answer) -> Plan:
    """Answer as the form asked to be answered: 303 to its own page, 201 with a document, 200, else 204."""
    path, location = case.request.path, answers.own_url(case.request)
    etag = next((value for name, value in answer.headers if name.lower() == "etag"), "")
    kept = tuple((n, v) for n, v in answer.headers if n.lower() != "content-length")
    page = answers.redirect_url(
        fields.get("success_action_redirect", fields.get("redirect", "")), path.bucket, path.key, etag
    )
    if page:
        return Reply(case.operation, case.caller, b"", 303, (*kept, ("location", page)))
    status = _STATUS.get(fields.get("success_action_status", ""), 204)
    body = xml.post_response(location, path.bucket, path.key, etag) if status == 201 else b""
    return Reply(case.operation, case.caller, body, status, (*kept, ("location", location)))


def _missing(field: str) -> InvalidArgument:
    return InvalidArgument(
        f"Bucket POST must contain a field named '{field}'. If it is specified, please check the order of the fields.",
        ArgumentName=field,
    )
