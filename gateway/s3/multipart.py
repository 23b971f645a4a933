"""multipart/form-data, read strictly and piece by piece: bytes in, events out (RFC 7578, RFC 2046 section 5.1).

`feed(data)` returns the events that these bytes complete, the same however the body was cut into pieces (but for where one
part's `Content` is cut). `finish()` says that no more comes. Both raise MalformedPOSTRequest for whatever is not exactly
the form that browsers and S3 clients send: no preamble, no padding, no folded lines, one name to a part, nothing behind
the closing delimiter but its line end. Not more is kept than a part's headers (8 KiB) or a delimiter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.errors import InvalidArgument, MalformedPOSTRequest, MaxPostPreDataLengthExceeded

MEDIA_TYPE = "multipart/form-data"
MAX_HEADERS = 8192  # bytes of one part's headers
MAX_BEFORE_FILE = 20 * 1024  # bytes of a form before its file
MAX_FIELDS = 100
#: RFC 2046 section 5.1.1: 1 to 70 characters, of which the last is no space.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - RFC 9110's word for it
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"'
_PARAMETER = re.compile(rf"[ \t]*;[ \t]*({_TOKEN})=({_TOKEN}|{_QUOTED})")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_ESCAPED = re.compile(r'\\(["\\])')
#: Transfer encodings that change nothing; RFC 7578 section 4.7 has done away with all of them.
_PLAIN = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class Part:
    """A part begins: its field's name, its file's name (None without), and where in the body its content begins."""

    name: str
    filename: str | None
    offset: int


@dataclass(frozen=True, slots=True)
class Content:
    """Some bytes of the part's content."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part's content is complete."""


@dataclass(frozen=True, slots=True)
class FormEnd:
    """The closing delimiter was read."""


Event = Part | Content | PartEnd | FormEnd


@dataclass(frozen=True, slots=True)
class Form:
    """What stands before the file: `fields` by lower-case name, the file's name, and the `offset` of its first byte."""

    fields: Mapping[str, str]
    filename: str
    offset: int


def is_form(content_type: str) -> bool:
    """Return whether a Content-Type is multipart/form-data, well-formed or not."""
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names. Raises MalformedPOSTRequest."""
    found = _parameters(content_type, MEDIA_TYPE)
    boundary = found.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise MalformedPOSTRequest(reason="no usable boundary")
    return boundary.encode("ascii")


def closing(boundary: bytes) -> bytes:
    """Return what ends a form, as everybody writes it: the closing delimiter and its line end."""
    return b"\r\n--" + boundary + b"--\r\n"


class MultipartReader:
    """Reads one form."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter needs no line end before it; with one it is like all others.
        self._buffer = bytearray(b"\r\n")
        self._taken = -2
        self._step: Callable[[list[Event]], bool] = self._first

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return the events that they complete."""
        self._buffer += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def finish(self) -> None:
        """Say that the body has ended."""
        if self._step != self._epilogue or bytes(self._buffer) not in {b"", b"\r\n"}:
            raise MalformedPOSTRequest(reason="the form has no end")

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._taken += size
        return taken

    def _first(self, _: list[Event]) -> bool:
        size = len(self._delimiter)
        if not self._delimiter.startswith(self._buffer[:size]):
            raise MalformedPOSTRequest(reason="the form does not begin with its boundary")
        if len(self._buffer) < size:
            return False
        self._take(size)
        self._step = self._after_delimiter
        return True

    def _after_delimiter(self, events: list[Event]) -> bool:
        if len(self._buffer) < 2:
            return False
        end = self._take(2)
        if end == b"--":
            events.append(FormEnd())
            self._step = self._epilogue
        elif end == b"\r\n":
            self._step = self._headers
        else:
            raise MalformedPOSTRequest(reason="something follows a boundary on its line")
        return True

    def _headers(self, events: list[Event]) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEADERS + 4)
        if end < 0:
            if len(self._buffer) >= MAX_HEADERS + 4:
                raise MalformedPOSTRequest(reason="the headers of a part are too long")
            return False
        name, filename = _disposition(self._take(end + 4)[:-4])
        events.append(Part(name, filename, self._taken))
        self._step = self._content
        return True

    def _content(self, events: list[Event]) -> bool:
        found = self._buffer.find(self._delimiter)
        size = found if found >= 0 else len(self._buffer) - len(self._delimiter) + 1
        if size > 0:
            events.append(Content(self._take(size)))
        if found < 0:
            return False
        self._take(len(self._delimiter))
        events.append(PartEnd())
        self._step = self._after_delimiter
        return True

    def _epilogue(self, _: list[Event]) -> bool:
        if not b"\r\n".startswith(self._buffer):
            raise MalformedPOSTRequest(reason="something follows the form")
        return False


class FormReader:
    """Reads a form up to its file, then the file: `form` is there as soon as the file begins.

    `feed` returns bytes of the file. Fields after the file are ignored, as S3 does it. Raises as MultipartReader, and
    InvalidArgument (fields given twice, too many, or not UTF-8; not one file) or MaxPostPreDataLengthExceeded.
    https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
    """

    def __init__(self, boundary: bytes) -> None:
        self._reader = MultipartReader(boundary)
        self._fields: dict[str, str] = {}
        self._name = ""
        self._value = bytearray()
        self._fed = 0
        self._in_file = False
        self.form: Form | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body; return those of the file among them."""
        self._fed += len(data)
        file = b"".join([self._take(event) for event in self._reader.feed(data)])
        if self.form is None and self._fed > MAX_BEFORE_FILE:
            raise MaxPostPreDataLengthExceeded
        return file

    def finish(self) -> None:
        """Say that the body has ended."""
        self._reader.finish()
        if self.form is None:
            raise InvalidArgument("POST requires exactly one file upload per request.")

    def _take(self, event: Event) -> bytes:
        match event:
            case Part():
                self._begin(event)
            case Content(data) if self._in_file:
                return data
            case Content(data) if self.form is None:
                self._value += data
            case PartEnd() if self.form is None:
                self._fields[self._name] = _text(self._value)
            case PartEnd():
                self._in_file = False
        return b""

    def _begin(self, part: Part) -> None:
        name = part.name.lower()
        if name == "file":
            self._begin_file(part)
        elif self.form is None:
            if name in self._fields or len(self._fields) == MAX_FIELDS:
                raise InvalidArgument(f"The form has more than {MAX_FIELDS} fields, or one of them twice.")
            self._name = name
            self._value.clear()

    def _begin_file(self, part: Part) -> None:
        if self.form is not None:
            raise InvalidArgument("POST requires exactly one file upload per request.")
        if part.offset > MAX_BEFORE_FILE:
            raise MaxPostPreDataLengthExceeded
        self._in_file = True
        self.form = Form(self._fields, _base_name(part.filename or ""), part.offset)


def _base_name(path: str) -> str:
    """Return what follows the last slash or backslash: some clients send their own path."""
    return path[max(path.rfind("/"), path.rfind("\\")) + 1 :]


def _text(value: bytearray) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument("A form field is not UTF-8.") from None


def _disposition(block: bytes) -> tuple[str, str | None]:
    """Return field and file name of a part from its headers. Others than Content-Disposition mean nothing (section 4.8)."""
    headers = _parse_headers(block)
    if headers.get("content-transfer-encoding", "binary").lower() not in _PLAIN:
        raise MalformedPOSTRequest(reason="a part with a transfer encoding")
    found = _parameters(headers.get("content-disposition", ""), "form-data")
    if "name" not in found or "name*" in found or "filename*" in found:  # section 4.2: filename* must not be used
        raise MalformedPOSTRequest(reason="a part without one plain name")
    return found["name"], found.get("filename")


def _parse_headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        lines = block.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise MalformedPOSTRequest(reason="a part's header is not UTF-8") from None
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None or match[1].lower() in headers:
            raise MalformedPOSTRequest(reason="a part's header is malformed, or twice")
        headers[match[1].lower()] = match[2].strip(" \t")
    return headers


def _parameters(value: str, expected: str) -> dict[str, str]:
    """Return the parameters of `type; name=value; …`, names in lower case; the type must be the expected one."""
    kind = value.partition(";")[0]
    position, found = len(kind), dict[str, str]()
    if kind.strip(" \t").lower() != expected:
        raise MalformedPOSTRequest(reason=f"not {expected}")
    while position < len(value.rstrip(" \t")):
        match = _PARAMETER.match(value, position)
        if match is None or match[1].lower() in found:
            raise MalformedPOSTRequest(reason="a parameter is malformed, or twice")
        found[match[1].lower()] = _unquoted(match[2])
        position = match.end()
    return found


def _unquoted(text: str) -> str:
    r"""Take the quotes off; only `\"` and `\\` are escapes, since a Windows path may stand there as it is."""
    return _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text
