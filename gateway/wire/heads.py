"""HTTP/1.1 heads: bytes -> RequestHead or ResponseHead, strictly; llhttp (httptools) reads them.

The parser is fed a head and never a body, so framing is decided here once: a length, chunks, or nothing. What two servers
could read differently is refused (RFC 9112 sections 5 and 6; trap 20): bare LF, folded lines, space before the colon,
Content-Length twice or beside Transfer-Encoding, any transfer coding but chunked.
"""

from __future__ import annotations

from dataclasses import dataclass

import httptools

MAX_HEAD = 65_536  # bytes of a whole head
MAX_TARGET = 16_384  # bytes: a session token in a presigned URL fits
MAX_FIELD = 16_384  # bytes of one header
MAX_FIELDS = 256
_MINOR = {b" HTTP/1.1": 1, b" HTTP/1.0": 0}
END = b"\r\n\r\n"
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # RFC 9110 section 5.6.2

Fields = list[tuple[str, str]]


class BadHead(Exception):
    """A head that is not understood; `too_large` when it is only too long."""

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        self.reason = reason
        self.too_large = too_large
        super().__init__(reason)


@dataclass(slots=True)
class RequestHead:
    """One request's head. `length` in bytes, None without Content-Length; `minor` is HTTP/1's minor version."""

    method: str
    target: str
    fields: Fields
    minor: int
    keep_alive: bool
    length: int | None
    chunked: bool
    expects: bool
    raw: bytes = b""

    @property
    def has_body(self) -> bool:
        """Return whether a body follows."""
        return self.chunked or bool(self.length)


@dataclass(slots=True)
class ResponseHead:
    """One answer's head. `length` None: chunked, or until the connection ends."""

    status: int
    fields: Fields
    keep_alive: bool
    length: int | None
    chunked: bool


class RequestReader:
    """Reads the heads of one connection, one after the other."""

    __slots__ = ("_fields", "_parser", "_url")

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._url = b""

    def on_url(self, url: bytes) -> None:
        """Take the target (httptools)."""
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header (httptools)."""
        self._fields.append((name, value))

    def read(self, head: bytes) -> RequestHead:
        """Return the head that these bytes are, CRLF CRLF included. Raises BadHead."""
        self._fields, self._url = [], b""
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
        found = self._understood(parser, head)
        # llhttp would wait for the body that it must not see, and takes no more after `close`.
        self._parser = parser if found.keep_alive and not found.has_body and found.method != "CONNECT" else None
        return found

    def _understood(self, parser: httptools.HttpRequestParser, head: bytes) -> RequestHead:
        minor = _MINOR.get(head.partition(b"\r")[0][-9:])  # llhttp takes RTSP and ICE for HTTP
        if minor is None:
            raise BadHead("neither HTTP/1.1 nor HTTP/1.0")
        if len(self._url) > MAX_TARGET or len(self._fields) > MAX_FIELDS:
            raise BadHead("target or number of headers", too_large=True)
        try:
            fields = [(name.decode("ascii"), value.decode()) for name, value in self._fields]
            target = self._url.decode("ascii")
        except UnicodeDecodeError:
            raise BadHead("not UTF-8") from None
        length, chunked, expects, options = _request_framing(fields)
        if chunked and not minor:
            raise BadHead("Transfer-Encoding in HTTP/1.0")
        return RequestHead(
            parser.get_method().decode(), target, fields, minor, "close" not in options and (bool(minor) or "keep-alive" in options), length, chunked,
            expects and bool(minor), head,
        )  # fmt: skip


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


def read_response(head: bytes, method: str) -> ResponseHead:
    """Return the head of an answer to a request of this method. Raises BadHead."""
    status_line, *lines = _lines(head)
    status = _status(status_line)
    fields: Fields = []
    length: int | None = None
    chunked, keep_alive = False, status_line.startswith(b"HTTP/1.1")
    for line in lines:
        raw_name, colon, raw_value = line.partition(b":")
        written, value = raw_name.decode("latin-1"), raw_value.strip(b" \t").decode("utf-8", "replace")
        name = written.lower()
        if not colon or not raw_name or raw_name.translate(None, _TOKEN):
            raise BadHead("header of an answer")
        if name == "content-length":
            if (length is not None and value != str(length)) or not (
                value.isascii() and value.isdigit() and len(value) < 20
            ):
                raise BadHead("Content-Length of an answer")
            length = int(value)
        elif name == "transfer-encoding":
            if value.lower() != "chunked":
                raise BadHead("Transfer-Encoding of an answer")
            chunked = True
        elif name == "connection":
            options = value.lower()
            keep_alive = "close" not in options and (keep_alive or "keep-alive" in options)
        fields.append((written, value))
    if chunked and length is not None:
        raise BadHead("Content-Length beside Transfer-Encoding in an answer")
    if method == "HEAD" or status in {204, 304} or status < 200:
        return ResponseHead(status, fields, keep_alive, 0, chunked=False)
    return ResponseHead(status, fields, keep_alive, length, chunked)


def _lines(head: bytes) -> list[bytes]:
    """Return a head's lines; what ends a line for some readers only is refused."""
    lines = head[:-4].split(b"\r\n")
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\x00" in head:
        raise BadHead("bare CR or LF, or NUL, in an answer")
    return lines


def _status(line: bytes) -> int:
    if (
        len(line) < 12
        or not line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
        or not line[9:12].isdigit()
        or line[9:10] == b"0"
    ):
        raise BadHead("status line of an answer")
    if len(line) > 12 and line[12:13] != b" ":
        raise BadHead("status line of an answer")
    return int(line[9:12])
