"""HTTP/1.1 request heads: bytes -> RequestHead, strictly; llhttp (httptools) reads them. Those of answers: answer_heads.py.

The parser is fed a head and never a body, so framing is decided here once: a length, chunks, or nothing. What two servers
could read differently is refused (RFC 9112 sections 5 and 6; trap 20): bare LF, folded lines, space before the colon,
Content-Length twice or beside Transfer-Encoding, any transfer coding but chunked.

Clients and backends repeat the names of their fields in their order: what a list of names says by itself is worked out
once (`Shape`). Only a head in which every name stands once takes that way; the others are read field by field.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import httptools

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # of which names are made (RFC 9110 section 5.6.2)
MAX_HEAD = 65_536  # bytes of a whole head
MAX_TARGET = 16_384  # bytes: a session token in a presigned URL fits
MAX_FIELD = 16_384  # bytes of one header
MAX_FIELDS = 256
_MINOR = {b" HTTP/1.1": 1, b" HTTP/1.0": 0}
_VERSIONS = (b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")
FRAMING = frozenset({"content-length", "transfer-encoding", "expect", "connection"})
END = b"\r\n\r\n"

Fields = list[tuple[str, str]]


class BadHead(Exception):
    """A head that is not understood; `too_large` when it is only too long."""

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        self.reason = reason
        self.too_large = too_large
        super().__init__(reason)


class Shape:
    """What the names of a head's fields say: `lower` those names in lower case, `framing` those that frame the message."""

    __slots__ = ("framing", "lower", "names")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = tuple(name.decode("ascii") for name in names)
        self.lower = tuple(name.lower() for name in self.names)
        self.framing = tuple(name for name in self.lower if name in FRAMING)


@lru_cache(maxsize=256)
def _shape(names: tuple[bytes, ...]) -> Shape | None:
    """Return the shape of these names, None when one stands twice in another case."""
    shape = Shape(names)
    return shape if len(set(shape.lower)) == len(names) else None


@dataclass(slots=True)
class RequestHead:
    """One request's head. `length` in bytes, None without Content-Length; `minor` is HTTP/1's minor version.

    It does not change, since one head may be that of many requests whose stories are told again; only `listed` is read when it is asked for.
    `named` are the fields by lower-case name, where none stands twice; then `names` are those as they came.
    """

    method: str
    target: str
    listed: Fields | None
    minor: int
    keep_alive: bool
    length: int | None
    chunked: bool
    expects: bool
    raw: bytes = b""
    named: dict[str, str] | None = None
    names: tuple[str, ...] = ()

    @property
    def fields(self) -> Fields:
        """Return the fields as they came."""
        if self.listed is None:
            if self.named is None:  # the head was recognized without being read
                self.listed = _FieldReader().read(self.raw).fields
            else:
                self.listed = list(zip(self.names, self.named.values(), strict=True))
        return self.listed

    @property
    def has_body(self) -> bool:
        """Return whether a body follows."""
        return self.chunked or bool(self.length)


class RequestReader:
    """Reads the heads of one connection, one after the other."""

    __slots__ = ("_given", "_parser", "_urls", "on_header", "on_url")

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = None
        self._given: dict[bytes, bytes] = {}
        self._urls: list[bytes] = []
        # llhttp calls these for each field, so they are no methods of ours. A name that stands twice is noticed by the count.
        self.on_header = self._given.setdefault
        self.on_url = self._urls.append

    def read(self, head: bytes) -> RequestHead:
        """Return the head that these bytes are, CRLF CRLF included. Raises BadHead."""
        self._given.clear()
        self._urls.clear()
        parser = self._parser or httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # we do not; RFC 9110 section 7.8 lets a server ignore it
        except httptools.HttpParserError as error:
            used, self._parser = self._parser, None
            if used is not None:  # the head before may be why: to llhttp, Proxy-Connection: close is a close
                return self.read(head)
            raise BadHead(str(error)) from None
        found = self._shaped(parser.get_method(), head) or _FieldReader().read(head)
        # llhttp would wait for the body that it must not see, and takes no more after `close`.
        self._parser = parser if found.keep_alive and not found.has_body and found.method != "CONNECT" else None
        return found

    def _shaped(self, method: bytes, head: bytes) -> RequestHead | None:
        """Return the head as its shape tells, None where it must be read field by field. Raises BadHead."""
        given, urls = self._given, self._urls
        if len(urls) != 1 or not given or len(given) != head.count(b"\r\n") - 2 or len(head) > MAX_FIELD:
            return None
        if b" \r" in head or b"\t\r" in head:  # space behind a value is taken off field by field
            return None
        shape, url = _shape(tuple(given)), urls[0]
        if shape is None or not head.startswith(_VERSIONS, len(method) + 1 + len(url)) or len(given) > MAX_FIELDS:
            return None
        try:
            values = b"\n".join(given.values()).decode().split("\n")
            target = url.decode("ascii")
        except UnicodeDecodeError:
            raise BadHead("not UTF-8") from None
        named = dict(zip(shape.lower, values))  # noqa: B905 - as many as there are names, since no value has a line end
        minor = head[len(method) + len(url) + 9] - 48
        if not shape.framing:
            return RequestHead(
                method.decode(), target, None, minor, minor == 1, None, False, False, head, named, shape.names
            )
        found = _head(method.decode(), target, [(name, named[name]) for name in shape.framing], minor, head)
        found.named, found.names = named, shape.names
        return found


class _FieldReader:
    """Reads one head field by field: names that repeat, long fields, and what is refused."""

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._url = b""

    def on_url(self, url: bytes) -> None:
        """Take the target (httptools)."""
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header (httptools)."""
        self._fields.append((name, value))

    def read(self, head: bytes) -> RequestHead:
        """Return the head; llhttp has taken it once already. Raises BadHead."""
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise BadHead(str(error)) from None
        minor = _MINOR.get(head.partition(b"\r")[0][-9:])  # llhttp takes RTSP and ICE for HTTP
        if minor is None:
            raise BadHead("neither HTTP/1.1 nor HTTP/1.0")
        if len(self._url) > MAX_TARGET or len(self._fields) > MAX_FIELDS:
            raise BadHead("target or number of headers", too_large=True)
        try:
            # llhttp leaves the space behind a value, which is no part of it (RFC 9112 section 5.1): a policy must not read it as one.
            fields = [(name.decode("ascii"), value.decode().rstrip(" \t")) for name, value in self._fields]
            target = self._url.decode("ascii")
        except UnicodeDecodeError:
            raise BadHead("not UTF-8") from None
        found = _head(parser.get_method().decode(), target, fields, minor, head)
        found.listed = fields
        return found


def _head(method: str, target: str, framing: Fields, minor: int, raw: bytes) -> RequestHead:
    """Return the head whose message is framed by these fields. Raises BadHead."""
    length, chunked, expects, options = _request_framing(framing)
    if chunked and not minor:
        raise BadHead("Transfer-Encoding in HTTP/1.0")
    keep_alive = "close" not in options and (bool(minor) or "keep-alive" in options)
    return RequestHead(method, target, None, minor, keep_alive, length, chunked, expects and bool(minor), raw)


def _request_framing(fields: Fields) -> tuple[int | None, bool, bool, str]:
    """Return length, chunked, whether the client waits for 100 Continue, and the connection's options."""
    length: int | None = None
    options = ""
    chunked = expects = False
    for name, value in fields:
        size = len(name)
        if size + len(value) > MAX_FIELD:
            raise BadHead("header too long", too_large=True)
        if size == 14 and name.lower() == "content-length":
            if length is not None or not (value.isascii() and value.isdigit() and len(value) < 20):
                raise BadHead("Content-Length")
            length = int(value)
        elif size == 17 and name.lower() == "transfer-encoding":
            if chunked or value.lower() != "chunked":
                raise BadHead("Transfer-Encoding")
            chunked = True
        elif size == 6 and name.lower() == "expect":
            expects = value.lower() == "100-continue"
        elif size == 10 and name.lower() == "connection":
            options = f"{options},{value.lower()}"
    if chunked and length is not None:
        raise BadHead("Content-Length beside Transfer-Encoding")
    return length, chunked, expects, options
