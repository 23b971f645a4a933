"""A place applied to a request on its way to the backend, and undone in what the backend answers.

Policies, signatures and clients know the gateway's names only. Keys are glued to the prefix and cut from it as texts, never
as paths; a listing that names anything outside the prefix is an error of the backend and is not shown. What would reach the
whole bucket behind a prefix, or would name buckets in a document that we do not read, is refused. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element, SubElement

from gateway import errors
from gateway.backends.places import Place
from gateway.backends.seal import Seal
from gateway.errors import InternalError, InvalidRequest, KeyTooLongError, MalformedXML, MethodNotAllowed, xml_text
from gateway.s3 import aliases, xml
from gateway.s3.actions import copy_source
from gateway.s3.operations import Operation
from gateway.s3.request import MAX_KEY_BYTES, S3Path, S3Request
from gateway.signing.sigv4 import uri_encode
from gateway.stories.plans import Forward, Headers

#: Bucket operations that reach, or tell of, no more than the keys of one prefix, or what all of the bucket has in common.
_OF_A_PREFIX = frozenset({
    "DeleteObjects", "GetBucketEncryption", "GetBucketLocation", "GetBucketRequestPayment", "GetBucketVersioning",
    "GetObjectLockConfiguration", "HeadBucket", "ListMultipartUploads", "ListObjects", "ListObjectsV2",
    "ListObjectVersions", "OptionsObject",
})  # fmt: skip
#: Bucket operations on the bucket alone: their documents name no bucket.
_OF_A_BUCKET = _OF_A_PREFIX | frozenset({
    "CreateBucket", "DeleteBucket", "DeleteBucketCors", "DeleteBucketEncryption", "DeleteBucketLifecycle",
    "DeleteBucketOwnershipControls", "DeleteBucketTagging", "DeleteBucketWebsite", "DeletePublicAccessBlock",
    "GetBucketAccelerateConfiguration", "GetBucketAcl", "GetBucketCors", "GetBucketLifecycleConfiguration",
    "GetBucketNotificationConfiguration", "GetBucketOwnershipControls", "GetBucketPolicyStatus", "GetBucketTagging",
    "GetBucketWebsite", "GetPublicAccessBlock", "PutBucketAccelerateConfiguration", "PutBucketAcl", "PutBucketCors",
    "PutBucketEncryption", "PutBucketLifecycleConfiguration", "PutBucketNotificationConfiguration",
    "PutBucketOwnershipControls", "PutBucketRequestPayment", "PutBucketTagging", "PutBucketVersioning",
    "PutBucketWebsite", "PutObjectLockConfiguration", "PutPublicAccessBlock",
})  # fmt: skip
#: Object operations whose answers name buckets and keys in a way that is not undone here.
_NOT_AN_OBJECTS = frozenset({
    "DeleteObjectAnnotation", "GetObjectAnnotation", "GetObjectTorrent", "ListObjectAnnotations", "PutObjectAnnotation",
})  # fmt: skip
_KEY_PARAMETERS = frozenset({"prefix", "marker", "start-after", "key-marker"})


@dataclass(frozen=True, slots=True)
class _Document:
    """What of an answer holds names: the bucket's, keys of the whole, and the member of each entry that is a key."""

    root: str
    bucket: str = ""
    keys: tuple[str, ...] = ()
    entries: Mapping[str, str] | None = None


_LISTED = {"CommonPrefixes": "Prefix"}
_DOCUMENTS: dict[str, _Document] = {
    "ListObjects": _Document("ListBucketResult", "Name", ("Prefix", "Marker", "NextMarker"), {"Contents": "Key"} | _LISTED),
    "ListObjectsV2": _Document("ListBucketResult", "Name", ("Prefix", "StartAfter"), {"Contents": "Key"} | _LISTED),
    "ListObjectVersions": _Document(
        "ListVersionsResult", "Name", ("Prefix", "KeyMarker", "NextKeyMarker"),
        {"Version": "Key", "DeleteMarker": "Key"} | _LISTED,
    ),
    "ListMultipartUploads": _Document(
        "ListMultipartUploadsResult", "Bucket", ("Prefix", "KeyMarker", "NextKeyMarker"), {"Upload": "Key"} | _LISTED,
    ),
    "ListParts": _Document("ListPartsResult", "Bucket", ("Key",)),
    "CreateMultipartUpload": _Document("InitiateMultipartUploadResult", "Bucket", ("Key",)),
    "CompleteMultipartUpload": _Document("CompleteMultipartUploadResult", "Bucket", ("Key",)),
    "CopyObject": _Document("CopyObjectResult"),
    "UploadPartCopy": _Document("CopyPartResult"),
    "DeleteObjects": _Document("DeleteResult", entries={"Deleted": "Key", "Error": "Key"}),
}  # fmt: skip
#: Elements that repeat what the client asked for.
_ECHOES = {"Prefix": "prefix", "Marker": "marker", "StartAfter": "start-after", "KeyMarker": "key-marker"}
_TOKENS = {"ContinuationToken", "NextContinuationToken"}
#: Elements of an error that hold no name of the backend's; others are left out.
_HARMLESS = frozenset({
    "ActualObjectSize", "CalculatedDigest", "Code", "Condition", "ETag", "ExpectedDigest", "HostId", "MaxSizeAllowed",
    "Method", "MinSizeAllowed", "PartNumber", "ProposedSize", "RangeRequested", "RequestId", "ServerTime", "UploadId",
    "VersionId",
})  # fmt: skip
_CODES = {400: "InvalidRequest", 403: "AccessDenied", 404: "NoSuchKey", 405: "MethodNotAllowed", 409: "OperationAborted",
          412: "PreconditionFailed", 416: "InvalidRange", 501: "NotImplemented", 503: "ServiceUnavailable"}  # fmt: skip
#: Headers of an answer that name the bucket or a key of it.
_TELLING = ("x-amz-bucket-arn", "x-amz-error-", "x-amz-restore-output-path")
_REFUSED = "The backend refused this request."


def is_plain(place: Place, bucket: str) -> bool:
    """Return whether a bucket has the same name, and its keys too, at the backend."""
    return place.bucket == bucket and not place.prefix


def applied(plan: Forward, place: Place, source: Place | None, seal: Seal) -> Forward:
    """Return the plan as the backend is to understand it, with what undoes the place in its answers.

    `source` is the place of a copy's source, at the same backend. Raises NotImplemented or MethodNotAllowed for what cannot be
    done in such a place, InvalidRequest and KeyTooLongError for keys that cannot be there.
    """
    request = plan.request
    if is_plain(place, request.path.bucket) and (source is None or is_plain(source, _source_bucket(request))):
        return plan
    _check_operation(plan.operation, place)
    moved = _Names(request, plan.operation, place, seal)
    headers = request.headers if source is None else {**request.headers, "x-amz-copy-source": _source(request, source)}
    key = inside(place, request.path.key) if request.path.key else ""
    target = _target(plan, place)
    query = tuple((n, moved.parameter(n, v)) for n, v in _with_prefix(request, plan.operation, place))
    there = replace(
        request, target=target, path=S3Path(place.bucket, key), query=query, headers=headers,
    )  # fmt: skip
    undo = moved.undone if plan.operation.name in _DOCUMENTS else None
    return plan._replace(
        request=there, caller=plan.caller._replace(target=target), body=_body(plan, place),
        edit=_both(undo, plan.edit), mend=moved.mended,
    )  # fmt: skip


def untold(headers: Headers) -> Headers:
    """Return an answer's headers without those that would tell where the bucket is."""
    return tuple((name, value) for name, value in headers if not name.lower().startswith(_TELLING))


def inside(place: Place, key: str) -> str:
    """Return a key as it is at the backend.

    Dot segments are refused behind a prefix: a store that takes keys for paths would leave the prefix with them.
    """
    if place.prefix and aliases.has_dots(key):
        raise InvalidRequest("This bucket takes no keys with . or .. as a path segment.", reason="dot segment in a key")
    if len((place.prefix + key).encode()) > MAX_KEY_BYTES:
        raise KeyTooLongError(reason="with the prefix of its place")
    return place.prefix + key


def _check_operation(operation: Operation, place: Place) -> None:
    name = operation.name
    allowed = _OF_A_PREFIX if place.prefix else _OF_A_BUCKET
    if name in _NOT_AN_OBJECTS or (operation.level == "bucket" and name not in _OF_A_BUCKET):
        raise errors.NotImplemented(f"{name} is not implemented for this bucket.", reason="the bucket is renamed")
    if operation.level == "bucket" and name not in allowed:
        raise MethodNotAllowed(
            f"{name} is not allowed against this bucket.", reason="the bucket is a prefix of another"
        )


def _source_bucket(request: S3Request) -> str:
    return copy_source(request.header("x-amz-copy-source")).bucket


def _source(request: S3Request, place: Place) -> str:
    source = copy_source(request.header("x-amz-copy-source"))
    version = f"?versionId={uri_encode(source.version, slash=True)}" if source.version else ""
    return f"{place.bucket}/{uri_encode(inside(place, source.key), slash=False)}{version}"


def _target(plan: Forward, place: Place) -> str:
    """Return the canonical path there: the prefix in front of the key exactly as the client's signature covered it."""
    signed = plan.caller.target
    rest = signed if plan.request.path.virtual_host else "/" + signed[1:].partition("/")[2]
    return f"/{place.bucket}/{place.prefix if plan.request.path.key else ''}{rest[1:]}"


def _with_prefix(request: S3Request, operation: Operation, place: Place) -> tuple[tuple[str, str], ...]:
    """Return the query, with an empty prefix where a listing has none: the place's own goes in front of it."""
    if place.prefix and "prefix" in operation.query and "prefix" not in request.parameters:
        return (*request.query, ("prefix", ""))
    return request.query


def _body(plan: Forward, place: Place) -> bytes | None:
    if plan.operation.name != "DeleteObjects" or plan.body is None or not place.prefix:
        return plan.body
    entries, quiet = xml.parse_delete(plan.body)
    return xml.render_delete(tuple(replace(e, key=inside(place, e.key)) for e in entries), quiet=quiet)


def _both(
    one: Callable[[bytes], bytes] | None, other: Callable[[bytes], bytes] | None
) -> Callable[[bytes], bytes] | None:
    if one is None or other is None:
        return one or other
    return lambda body: other(one(body))


class _Names:
    """The names of one request, on both sides."""

    def __init__(self, request: S3Request, operation: Operation, place: Place, seal: Seal) -> None:
        self._request = request
        self._document = _DOCUMENTS.get(operation.name, _Document(""))
        self._place = place
        self._seal = seal
        self._listing = "prefix" in operation.query

    def parameter(self, name: str, value: str) -> str:
        """Return a query parameter as the backend is to see it."""
        if not self._place.prefix or not self._listing:
            return value
        if name == "continuation-token":
            return self._seal.open(value, self._request.path.bucket)
        if name in _KEY_PARAMETERS:
            return self._place.prefix + value if value or name == "prefix" else value
        return value

    def undone(self, body: bytes) -> bytes:
        """Return a document of a successful answer in the gateway's names. Raises InternalError."""
        try:
            root = xml.document(body, self._document.root, "Error")  # some operations fail after they said 200
        except MalformedXML as error:
            raise InternalError(reason=f"the backend's answer: {error.reason}") from error
        if xml.local(root) == "Error":
            return self.mended(200, body)
        self._rename(root)
        return xml.whole(root)

    def mended(self, status: int, body: bytes) -> bytes:
        """Return an error's document without a name of the backend's; one that is no error of S3's is written anew."""
        if not body:
            return body
        try:
            found = xml.document(body, "Error")
        except MalformedXML:
            found = Element("Error")
            SubElement(found, "Code").text = _CODES.get(status, "InternalError")
            SubElement(found, "Message").text = _REFUSED
        return xml.PROLOG.encode() + xml.rendered(self._error(found)).encode()

    def _error(self, found: Element) -> Element:
        path = self._request.path
        resource = f"/{path.bucket}/{path.key}" if path.key else f"/{path.bucket}"
        ours = {"BucketName": path.bucket, "Bucket": path.bucket, "Key": path.key, "Resource": resource}
        error = Element("Error")
        for child in found:
            name = xml.local(child)
            if name == "Message":
                SubElement(error, name).text = self._said(child.text or "")
            elif name in ours or name in _HARMLESS:
                SubElement(error, name).text = xml_text(ours.get(name, child.text or ""))
        return error

    def _said(self, message: str) -> str:
        """Return a message, another one where it tells where the bucket is."""
        place = self._place
        told = place.bucket != self._request.path.bucket and place.bucket in message
        return _REFUSED if told or (place.prefix and place.prefix.strip("/") in message) else message

    def _rename(self, root: Element) -> None:
        encoded = any(xml.local(child) == "EncodingType" and child.text == "url" for child in root)
        entries = self._document.entries or {}
        gone = []
        for child in root:
            name = xml.local(child)
            if name in entries:
                if not self._entry(child, entries[name], encoded=encoded):
                    gone.append(child)
            else:
                self._of_the_whole(child, name, encoded=encoded)
        for child in gone:
            root.remove(child)
        _count(root, len(gone))

    def _of_the_whole(self, element: Element, name: str, *, encoded: bool) -> None:
        text = element.text or ""
        if name == self._document.bucket:
            element.text = self._request.path.bucket
        elif name == "Key" and name in self._document.keys:
            element.text = xml_text(self._request.path.key)
        elif name in self._document.keys:
            element.text = self._cut(text, encoded=encoded) if text else text
            if element.text is None:
                element.text = self._echo(name)
        elif name in _TOKENS and self._place.prefix and text:
            given = self._request.parameters.get("continuation-token", "")
            element.text = given if name == "ContinuationToken" else self._seal.close(text, self._request.path.bucket)

    def _echo(self, name: str) -> str:
        """Return what the client asked for, where the backend repeats it in a form of its own."""
        if name not in _ECHOES:
            raise InternalError(reason="the backend's answer leaves the prefix of the place")
        return self._request.parameters.get(_ECHOES[name], "")

    def _entry(self, entry: Element, member: str, *, encoded: bool) -> bool:
        """Rename one entry; return False for one that has no name here: the prefix itself. Raises InternalError."""
        for child in entry:
            if xml.local(child) == "Message":
                child.text = self._said(child.text or "")
            elif xml.local(child) == member:
                key = self._cut(child.text or "", encoded=encoded)
                if key is None:
                    raise InternalError(reason="the backend's answer leaves the prefix of the place")
                child.text = key
                if not key:
                    return False
        return True

    def _cut(self, text: str, *, encoded: bool) -> str | None:
        """Return a key without the prefix, None when it does not begin with it.

        The prefix is made of unreserved characters and slashes: only slashes may have been encoded.
        """
        prefix = self._place.prefix
        if not prefix or not encoded:
            return text.removeprefix(prefix) if text.startswith(prefix) else None
        match = re.match("(?:/|%2[Ff])".join(re.escape(part) for part in prefix.split("/")), text)
        return text[match.end() :] if match else None


def _count(root: Element, fewer: int) -> None:
    for child in root:
        if xml.local(child) == "KeyCount" and fewer and (child.text or "").isdigit():
            child.text = str(max(0, int(child.text or 0) - fewer))
