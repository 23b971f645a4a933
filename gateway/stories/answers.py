"""The backend's answer as the client may see it: headers by allow-list, and what names the backend translated.

A client signs with the region that it is told and follows the location that it is given; both are the gateway's, not the
backend's. Hop-by-hop headers (RFC 9110 section 7.6.1) and cookies never cross.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

from gateway.s3.decoding import without_framing
from gateway.s3.operations import Operation
from gateway.s3.request import S3Request
from gateway.s3.xml import PROLOG, S3_NAMESPACE
from gateway.stories.plans import Headers
from gateway.wire.forms import Template, mark

BACKEND_REQUEST_ID = "x-minio-gw-backend-request-id"
REGION_HEADER = "x-amz-bucket-region"
_KEPT = frozenset({
    "accept-ranges", "age", "allow", "cache-control", "content-disposition", "content-encoding", "content-language",
    "content-length", "content-md5", "content-range", "content-type", "etag", "expires", "last-modified",
    "retry-after", "vary",
})  # fmt: skip
#: Headers whose name (where one is given) or value is another for the client.
_TRANSLATED = {"x-amz-request-id": BACKEND_REQUEST_ID, "location": "", REGION_HEADER: "", "content-encoding": ""}
_PREFIXES = ("x-amz-", "access-control-")
_NEVER = frozenset({"x-amz-security-token"})
#: Describe bytes that are no longer those of the answer once it was edited.
_OF_THE_BYTES = frozenset({"content-length", "content-md5", "content-encoding", "etag"})
#: Visible ASCII only: nothing that could end a header, and nothing that a browser and we could read differently.
_WEB_URL = re.compile(r"https?://[A-Za-z0-9\[][\x21-\x7e]*", re.IGNORECASE)
_EDITED = frozenset({"CompleteMultipartUpload", "GetBucketLocation"})
_LOCATION = re.compile(rb"<Location>[^<]*</Location>")


def translation(operation: Operation, request: S3Request, region: str) -> Callable[[bytes], bytes] | None:
    """Return what edits a successful answer of this operation, None when its bytes cross untouched.

    `region` is the gateway's own, "" when it takes every region.
    """
    if operation.name not in _EDITED:
        return None
    if operation.name == "CompleteMultipartUpload":
        location = f"<Location>{escape(own_url(request))}</Location>".encode()
        return lambda body: _LOCATION.sub(lambda _: location, body, count=1)
    if operation.name == "GetBucketLocation" and region:
        return lambda _: _location_constraint(region)
    return None


def own_url(request: S3Request) -> str:
    """Return the URL under which the client asked, without its query."""
    return f"{'https' if request.secure else 'http'}://{request.header('host')}{request.target}"


def client_headers(headers: Sequence[tuple[str, str]], bucket: str, region: str) -> Headers:
    """Return the headers that the client may see, in their order."""
    seen = []
    for index, name, translated in _crossing(tuple([name for name, _ in headers])):
        value = headers[index][1]
        if translated:
            found = _translated(name, value, bucket, region)
            if found is not None:
                seen.append(found)
        else:
            seen.append((name, value))
    return tuple(seen)


@lru_cache(maxsize=256)
def _crossing(names: tuple[str, ...]) -> tuple[tuple[int, str, bool], ...]:
    """Return which of an answer's headers cross: the place, the name as it is written, whether it is translated."""
    found = []
    for index, name in enumerate(names):
        lower = name.lower()
        if lower in _TRANSLATED:
            found.append((index, _TRANSLATED[lower] or name, True))
        elif lower not in _NEVER and (lower in _KEPT or lower.startswith(_PREFIXES)):
            found.append((index, name, False))
    return tuple(found)


class Passage(NamedTuple):
    """How fields of these names cross untranslated: `fields` of their values, where the store's request id stands (-1: nowhere)."""

    fields: Template
    request_id_at: int


@lru_cache(maxsize=256)
def passage(names: tuple[str, ...]) -> Passage | None:
    """Return how fields of these names cross, None where a value is translated. What frames the message is not written."""
    fields, request_id_at = "", -1
    for index, name, translated in _crossing(names):
        lower = names[index].lower()
        if translated and name != BACKEND_REQUEST_ID:
            return None
        if name == BACKEND_REQUEST_ID:
            request_id_at = index
        if lower != "content-length":
            fields += f"{name}: {mark(index)}\r\n"
    return Passage(Template(fields.encode()), request_id_at)


def edited(headers: Headers) -> Headers:
    """Return the headers of an answer whose document is another now."""
    return tuple((n, v) for n, v in headers if n.lower() not in _OF_THE_BYTES and "checksum" not in n.lower())


def _translated(name: str, value: str, bucket: str, region: str) -> tuple[str, str] | None:
    """Return a header with what it says of the backend said of us, None when it says nothing then."""
    match name.lower():
        case "location":  # CreateBucket's: the store may name itself in it
            return name, f"/{bucket}"
        case "x-amz-bucket-region":
            return name, region or value
        case "content-encoding":
            value = without_framing(value)
            return (name, value) if value else None
    return name, value


def redirect_url(url: str, bucket: str, key: str, etag: str) -> str:
    """Return where success_action_redirect leads, "" when it is no http or https URL (then S3 does as if it were absent)."""
    if not _WEB_URL.fullmatch(url):
        return ""
    base, _, fragment = url.partition("#")
    base += ("&" if "?" in base else "?") + urlencode({"bucket": bucket, "key": key, "etag": etag}, quote_via=quote)
    return f"{base}#{fragment}" if fragment else base


def _location_constraint(region: str) -> bytes:
    """Return a GetBucketLocation answer; us-east-1 is the empty one."""
    text = "" if region == "us-east-1" else escape(region)
    return f'{PROLOG}<LocationConstraint xmlns="{S3_NAMESPACE}">{text}</LocationConstraint>'.encode()
