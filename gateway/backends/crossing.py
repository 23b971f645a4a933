"""A copy from one backend to another: the source is read, and written as it comes, through the gateway.

The destination is told the source's whole length before its first byte, so that a source which breaks off leaves an upload
that is short, and no object. What S3 would copy along is carried over: metadata and tags, unless the request replaces them.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html and API_UploadPartCopy.html
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement

from gateway.backends.exchange import Exchange, read_whole
from gateway.backends.naming import untold
from gateway.errors import (
    InternalError,
    InvalidArgument,
    InvalidRequest,
    MalformedXML,
    PreconditionFailed,
    S3Error,
    ServiceUnavailable,
)
from gateway.s3 import decoding, xml
from gateway.s3.actions import CopySource, copy_source
from gateway.s3.authenticate import PayloadMode
from gateway.s3.operations import named
from gateway.s3.request import S3Path
from gateway.signing.sigv4 import EMPTY_SHA256, uri_encode
from gateway.stories import answers
from gateway.stories.forward import UpstreamRequest
from gateway.stories.plans import Forward, Reply
from gateway.wire.fetch import Fetched, Unanswered

MAX_COPY = 5 * 2**30  # bytes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_RANGE = re.compile(r"bytes=([0-9]{1,16})-([0-9]{1,16})")
_SSE_C = "server-side-encryption-customer-"
#: Headers of the copy that are those of the read.
_READ = {
    **{f"x-amz-copy-source-{name}": name for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")},
    **{f"x-amz-copy-source-{_SSE_C}{part}": f"x-amz-{_SSE_C}{part}" for part in ("algorithm", "key", "key-md5")},
    "x-amz-copy-source-range": "range",
    "x-amz-source-expected-bucket-owner": "x-amz-expected-bucket-owner",
    "x-amz-request-payer": "x-amz-request-payer",
}  # fmt: skip
#: What describes an object, beside x-amz-meta-*.
_METADATA = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"}
)

_PART, _PUT = named("UploadPart", "PUT", "object"), named("PutObject", "PUT", "object")

Route = Callable[[Forward], tuple[Forward, Exchange]]


async def across(plan: Forward, route: Route, region: str) -> Reply:
    """Return the answer to a copy whose source is in another backend than its destination. Raises S3Error."""
    source = copy_source(plan.request.header("x-amz-copy-source"))
    part = plan.operation.name == "UploadPartCopy"
    _check(plan, part=part)
    placed, exchange = route(_read(plan, source))
    answer = await exchange.send(placed, None)
    try:
        if answer.status not in {200, 206}:
            return await _refused(plan, placed, answer)
        length = _length(plan, answer)
        headers = (
            _part_headers(plan) if part else _object_headers(plan, answer, await _tags(plan, source, answer, route))
        )
        return await _written(plan, route, region, _Source(answer, length), headers)
    finally:
        answer.close()


def _check(plan: Forward, *, part: bool) -> None:
    request = plan.request
    for name in ("x-amz-metadata-directive", "x-amz-tagging-directive"):
        if request.header(name) not in {"", "COPY", "REPLACE"}:
            raise InvalidArgument(f"Unknown {name}.")
    if (
        part
        and "x-amz-copy-source-range" in request.headers
        and not _RANGE.fullmatch(request.header("x-amz-copy-source-range"))
    ):
        raise InvalidArgument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the"
            " zero-based offsets of the first and last bytes to copy"
        )


def _read(plan: Forward, source: CopySource, operation: str = "GetObject") -> Forward:
    """Return the plan to read the source, or what belongs to it."""
    headers = {
        to: plan.request.header(name)
        for name, to in _READ.items()
        if name in plan.operation.headers & plan.request.headers.keys()
    }
    query = {"tagging": ""} if operation == "GetObjectTagging" else {}
    query |= {"versionId": source.version} if source.version else {}
    target = f"/{source.bucket}/{uri_encode(source.key, slash=False)}"
    request = replace(
        plan.request, method="GET", target=target, path=S3Path(source.bucket, source.key), query=tuple(query.items()),
        headers=headers | {"host": plan.request.header("host")},
    )  # fmt: skip
    caller = plan.caller._replace(
        mode=PayloadMode.HEX, payload_hash=EMPTY_SHA256, target=target, decoded_length=None
    )  # fmt: skip
    return Forward(request, named(operation, "GET", "object"), caller)


async def _refused(plan: Forward, placed: Forward, answer: Fetched) -> Reply:
    """Return why the source cannot be read, in its backend's own words; a condition that fails is a 412 of every copy."""
    if answer.status == 304:
        raise PreconditionFailed
    if answer.status < 400:
        raise InternalError(reason=f"the copy's source answers {answer.status}")
    return await _error(plan, placed, answer)


async def _error(plan: Forward, placed: Forward, answer: Fetched) -> Reply:
    body = await read_whole(answer)
    return Reply(plan.operation, plan.caller, placed.mend(answer.status, body) if placed.mend else body, answer.status)


def _length(plan: Forward, answer: Fetched) -> int:
    """Return how many bytes are copied. Raises what S3 says of a source that is too large, or too small for its range."""
    if answer.content_length is None:
        raise InternalError(reason="the copy's source does not tell its length")
    if answer.content_length > MAX_COPY:
        raise InvalidRequest(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {MAX_COPY}"
        )
    wanted = _RANGE.fullmatch(plan.request.header("x-amz-copy-source-range"))
    if plan.operation.name == "UploadPartCopy" and wanted:
        given = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/.*", answer.headers.get("content-range", ""))
        if answer.status != 206 or given is None or given[1] != str(int(wanted[1])) or given[2] != str(int(wanted[2])):
            raise InvalidArgument("The x-amz-copy-source-range is not valid for the source object.")
    return answer.content_length


def _part_headers(plan: Forward) -> dict[str, str]:
    return {n: v for n, v in plan.request.headers.items() if n in _PART.headers and not _of_a_body(n)}


def _object_headers(plan: Forward, answer: Fetched, tags: str) -> dict[str, str]:
    """Return the headers of the object to be written: the request's own, and what is copied along."""
    headers = {n: v for n, v in plan.request.headers.items() if not _of_a_body(n) and n != "x-amz-tagging"}
    if tags:
        headers["x-amz-tagging"] = tags
    if plan.request.header("x-amz-metadata-directive") == "REPLACE":
        described = {n: v for n, v in plan.request.headers.items() if _describes(n)}
    else:
        described = {n.lower(): v for n, v in answer.headers.items() if _describes(n.lower())}
    # aws-chunked was the framing of an upload, and some stores keep it (trap 12).
    encoding = decoding.without_framing(described.pop("content-encoding", ""))
    headers = {n: v for n, v in headers.items() if not _describes(n)} | described
    return headers | ({"content-encoding": encoding} if encoding else {})


def _describes(name: str) -> bool:
    return name in _METADATA or name.startswith("x-amz-meta-")


def _of_a_body(name: str) -> bool:
    """Return whether a header is about the copy request's own, empty body."""
    return name in decoding.FRAMING or name in {"content-md5", "content-length"} or name.startswith("x-amz-checksum-")


async def _tags(plan: Forward, source: CopySource, answer: Fetched, route: Route) -> str:
    """Return the x-amz-tagging of the copy: the request's, or the source's where it has any."""
    if plan.request.header("x-amz-tagging-directive") == "REPLACE":
        return plan.request.header("x-amz-tagging")
    if answer.headers.get("x-amz-tagging-count", "0") == "0":
        return ""
    version = answer.headers.get("x-amz-version-id", source.version)
    placed, exchange = route(_read(plan, replace(source, version=version), "GetObjectTagging"))
    found = await exchange.send(placed, None)
    body = await read_whole(found)
    if found.status != 200:
        raise ServiceUnavailable("The tags of the copy's source cannot be read.", reason=f"tagging: {found.status}")
    try:
        return urlencode(xml.tags(body))
    except MalformedXML as error:
        raise InternalError(reason=f"the tags of the copy's source: {error.reason}") from error


@dataclass
class _Source:
    """The source's bytes on their way to the destination."""

    answer: Fetched
    length: int
    error: S3Error | None = None

    async def through(self, upstream: UpstreamRequest) -> AsyncIterator[bytes]:  # noqa: ARG002 - Upload's signature
        """Yield what the source sends; raising cuts the destination's connection short of the announced length."""
        try:
            async for piece in self.answer.pieces():
                yield piece
        except Unanswered as error:
            self.error = ServiceUnavailable(
                "The copy's source broke off.", reason=f"copy source: {type(error).__name__}"
            )  # fmt: skip
            raise self.error from error

    def check(self) -> None:
        """Raise what went wrong with the source, if anything did."""
        if self.error is not None:
            raise self.error


async def _written(plan: Forward, route: Route, region: str, source: _Source, headers: Mapping[str, str]) -> Reply:
    part = plan.operation.name == "UploadPartCopy"
    request = replace(plan.request, headers={**headers, "content-length": str(source.length)})
    caller = plan.caller._replace(
        mode=PayloadMode.UNSIGNED, payload_hash=PayloadMode.UNSIGNED.value, decoded_length=None
    )  # fmt: skip
    placed, exchange = route(Forward(request, _PART if part else _PUT, caller))
    answer = await exchange.send(placed, source if source.length else None)
    try:
        if answer.status != 200:
            return await _error(plan, placed, answer)
        seen = untold(answers.edited(answers.client_headers(answer.head.fields, plan.request.path.bucket, region)))
        version = source.answer.headers.get("x-amz-version-id")
        seen += (("x-amz-copy-source-version-id", version),) if version else ()
        return Reply(plan.operation, plan.caller, _result(part, answer), headers=seen)
    finally:
        answer.close()


def _result(part: bool, answer: Fetched) -> bytes:  # noqa: FBT001 - private
    """Return the document of a copy that was written; its time is the destination's clock."""
    date = answer.headers.get("date", "")
    try:
        written = parsedate_to_datetime(date).astimezone(UTC)
    except ValueError:
        written = datetime.fromtimestamp(time.time(), UTC)
    root = Element("CopyPartResult" if part else "CopyObjectResult")
    SubElement(root, "LastModified").text = written.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    SubElement(root, "ETag").text = answer.headers.get("etag", "")
    return xml.whole(root)
