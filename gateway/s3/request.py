"""One S3 request as a value: the head decoded exactly once.

The raw target is split into bucket and key (path style, or virtual-host style under a configured domain), the query
into decoded pairs, the headers into a dictionary with lower-case names. Everything later (signature, routing, policy,
re-signing) reads this one value, so that no two of them can understand a request differently.

`parse` raises an S3Error of status 400, nothing else; what it takes in is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.errors import (
    InvalidArgument,
    InvalidBucketName,
    InvalidRequest,
    InvalidURI,
    KeyTooLongError,
    RequestHeaderSectionTooLarge,
)
from gateway.signing.sigv4 import uri_encode

MAX_TARGET = 16_384  # characters of a request's target: a presigned URL with a session token fits
MAX_HEADERS = 128
MAX_HEAD = 65_536  # characters of all header names and values
MAX_KEY_BYTES = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html

#: Headers that may legally repeat, and say the same when joined (RFC 9110 section 5.3); none of them decides anything.
_REPEATABLE = frozenset({"via", "x-forwarded-for", "forwarded", "cookie", "accept", "accept-encoding", "accept-language",
                         "cache-control", "pragma", "te", "connection", "warning"})  # fmt: skip
#: Keys of the client's, and what goes with them.
_CUSTOMER_KEYS = frozenset(
    f"{prefix}server-side-encryption-customer-{part}"
    for prefix in ("x-amz-", "x-amz-copy-source-") for part in ("key", "algorithm", "key-md5")
)  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9\-._~/]*")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CANONICAL = re.compile(r"(?:[A-Za-z0-9\-._~/]|%[0-9A-Fa-f]{2})*")
_TARGET = re.compile(r"[\x21-\x7e]+")
# General-purpose bucket names, and the older us-east-1 ones with capitals and underscores.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{1,254}")


class S3Path(NamedTuple):
    """Where a request points: `bucket` and `key` decoded ("" where there is none)."""

    bucket: str
    key: str
    virtual_host: bool = False


class Names:
    """What the names of a request's headers say by themselves: the same for every request of the same client.

    `amazon` are those that begin with x-amz-: a signature must cover them all. `customer_keys`: there are keys of SSE-C.
    """

    __slots__ = ("all", "amazon", "customer_keys", "order")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.order = names
        self.all = frozenset(names)
        self.amazon = frozenset(name for name in names if name.startswith("x-amz-"))
        self.customer_keys = not _CUSTOMER_KEYS.isdisjoint(names)


@lru_cache(maxsize=256)
def names_of(names: tuple[str, ...]) -> Names:
    """Return what these lower-case names say."""
    return Names(names)


@dataclass(frozen=True, init=False)
class S3Request:
    """The head of one request.

    `target` is the path as sent (percent-encoded, without query), `query` the decoded pairs in their order,
    `headers` by lower-case name, `source_ip` the peer as the shell established it, `secure` true over TLS.
    `parameters` is the query as a dictionary (`parse` has refused duplicates), `names` those of the headers.
    """

    method: str
    target: str
    path: S3Path
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    source_ip: str
    secure: bool = False

    def __init__(
        self,
        method: str,
        target: str,
        path: S3Path,
        query: tuple[tuple[str, str], ...],
        headers: Mapping[str, str],
        source_ip: str,
        secure: bool = False,  # noqa: FBT001, FBT002 - a field
    ) -> None:
        # At once: a frozen dataclass's own __init__ sets one field after the other, on the path of every request.
        vars(self).update(
            method=method, target=target, path=path, query=query, headers=headers, source_ip=source_ip, secure=secure,
            parameters=dict(query), names=names_of(tuple(headers)),
        )  # fmt: skip

    if TYPE_CHECKING:

        @property
        def parameters(self) -> dict[str, str]:
            """The query as a dictionary."""

        @property
        def names(self) -> Names:
            """What the names of the headers say."""

    def header(self, name: str) -> str:
        """Return a header's value, "" when it is absent."""
        return self.headers.get(name, "")

    @property
    def canonical_target(self) -> str:
        """The target as AWS canonicalizes it for S3: decoded once, encoded once, never normalized."""
        return self.target if _PLAIN.fullmatch(self.target) else uri_encode(unquote_to_bytes(self.target), slash=False)

    @property
    def canonical_targets(self) -> tuple[str, ...]:
        """The canonical URIs a signature may cover: AWS's form, and the target itself where it needs no encoding.

        SDKs sign what they send; AWS signs what it decodes. They differ for a needless escape only (`%7E`, `%2F`),
        and both name the same key.
        """
        canonical = self.canonical_target
        if self.target == canonical or not _CANONICAL.fullmatch(self.target):
            return (canonical,)
        return (canonical, self.target)

    @property
    def content_length(self) -> int | None:
        """The declared length of the body in bytes, None when there is none (RFC 9110 section 8.6)."""
        value = self.headers.get("content-length")
        return int(value) if value is not None else None


def parse(
    method: str,
    raw_target: str,
    headers: Iterable[tuple[str, str]] | dict[str, str],
    *,
    domains: tuple[str, ...] = (),
    source_ip: str,
    secure: bool = False,
    repeatable: frozenset[str] = frozenset(),
) -> S3Request:
    """Decode a request's head, once.

    `repeatable` are parameters that may be given more than once (S3 has none). `raw_target` is origin-form or absolute-form (RFC 9112 section 3.2); `headers` may be a dictionary already, by
    lower-case name, where none stands twice; `domains` are the names under which `bucket.domain` is a bucket.
    """
    if len(raw_target) > MAX_TARGET:
        raise InvalidURI("The URI is too long.", reason="target too long")
    if not _TARGET.fullmatch(raw_target):
        raise InvalidURI(reason="target with characters outside RFC 3986")
    fields = _checked(headers) if isinstance(headers, dict) else _fields(headers)
    origin = raw_target if raw_target[0] == "/" else _origin_form(raw_target, fields["host"])
    target, _, query = origin.partition("?")
    if "#" in target or "#" in query:
        raise InvalidURI(reason="fragment in a request target")
    return S3Request(
        method,
        target,
        _split(target, fields["host"], domains),
        _query(query, repeatable) if query else (),
        fields,
        source_ip,
        secure,
    )


def _origin_form(raw: str, host: str) -> str:
    """Return the path and query of an absolute target; its host must be the Host header's (RFC 9112 section 3.2.2)."""
    match = re.fullmatch(r"https?://([^/?#]+)(/.*|\?.*)?", raw, re.IGNORECASE)
    if match is None:
        raise InvalidURI(reason="target in neither origin nor absolute form")
    if match[1].lower() != host.lower():
        raise InvalidURI(reason="the absolute target's host is not the Host header's")
    path = match[2] or "/"
    return path if path.startswith("/") else "/" + path


def _fields(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    room = MAX_HEAD
    for number, (name, value) in enumerate(headers, 1):
        room -= len(name) + len(value)
        if number > MAX_HEADERS or room < 0:
            raise RequestHeaderSectionTooLarge
        lower = name.lower()
        if lower in fields:
            if lower not in _REPEATABLE:
                raise InvalidRequest(f"The header {lower} was sent more than once.", reason="duplicate header")
            value = f"{fields[lower]},{value}"  # noqa: PLW2901
        fields[lower] = value
    return _checked(fields)


def _checked(fields: dict[str, str]) -> dict[str, str]:
    """Return the fields. What is in a dictionary already is bounded by whoever made it, but for its number."""
    if len(fields) > MAX_HEADERS:
        raise RequestHeaderSectionTooLarge
    length = fields.get("content-length")
    if length is not None and not (length.isascii() and length.isdigit() and len(length) < 20):
        raise InvalidRequest("The Content-Length header is not a number.", reason="content-length")
    if not fields.get("host"):
        raise InvalidRequest("The Host header is missing.", reason="no host")
    return fields


def _query(raw: str, repeatable: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Split and decode a query; `+` means a space, as every S3 server reads it."""
    pairs: list[tuple[str, str]] = []
    seen: set[str] = set()
    for piece in raw.split("&"):
        if not piece:
            continue
        name, _, value = piece.partition("=")
        decoded = _text(name.replace("+", " "))
        if decoded in seen and decoded not in repeatable:
            raise InvalidArgument(f"The parameter {decoded} was given more than once.", reason="duplicate parameter")
        seen.add(decoded)
        pairs.append((decoded, _text(value.replace("+", " "))))
    return tuple(pairs)


def _split(target: str, host: str, domains: tuple[str, ...]) -> S3Path:
    if domains and (hosted := _bucket_of_host(host, domains)):
        return S3Path(_checked_bucket(hosted), decoded_key(target[1:]), virtual_host=True)
    bucket, _, key = target[1:].partition("/")
    if not bucket:
        if key:
            raise InvalidBucketName(reason="empty bucket before a key")
        return S3Path("", "")
    return S3Path(_bucket(bucket), decoded_key(key))


@lru_cache(maxsize=1024)
def _bucket(raw: str) -> str:
    return _checked_bucket(_text(raw))


def _bucket_of_host(host: str, domains: tuple[str, ...]) -> str:
    """Return the bucket named by a virtual host, "" for a path-style one."""
    name = (host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host).lower()
    for domain in domains:
        if name.endswith("." + domain):
            return name[: -len(domain) - 1]
    return ""


def is_bucket_name(text: str) -> bool:
    """Return whether a text can be a bucket's name, wherever it stands."""
    return bool(_BUCKET.fullmatch(text)) and ".." not in text


def _checked_bucket(bucket: str) -> str:
    if not is_bucket_name(bucket):
        raise InvalidBucketName(reason=f"bucket name {bucket[:70]!r}")
    return bucket


def decoded_key(raw: str) -> str:
    """Return the key that a path writes. Raises KeyTooLongError, InvalidURI."""
    if "%" not in raw and len(raw) <= MAX_KEY_BYTES:  # visible ASCII, as every target
        return raw
    key = _text(raw)
    if len(key) * 4 > MAX_KEY_BYTES and len(key.encode()) > MAX_KEY_BYTES:
        raise KeyTooLongError
    if "\x00" in key:
        raise InvalidURI(reason="NUL in a key")
    return key


def _text(raw: str) -> str:
    """Decode percent-escapes, once; S3 keys and parameters are UTF-8."""
    if "%" not in raw:
        return raw
    if _ESCAPE.search(raw):
        raise InvalidURI(reason="broken percent-escape")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidURI(reason="escape is not UTF-8") from None
