"""The heads of answers: bytes -> ResponseHead, strictly; what a backend repeats is recognized (wire/forms.py).

As for requests (heads.py) framing is decided here once, and what two readers could understand differently is refused: bare CR or
LF, a line that is no field, lengths that differ, a length beside chunks, any transfer coding but chunked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from gateway.wire.forms import Form, Hole, picker
from gateway.wire.heads import FRAMING, TOKEN, BadHead, Fields

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?", re.DOTALL)
_FIELD = re.compile((rb"\r\n(" + TOKEN + rb"):[ \t]*([^\r\n]*)").decode())  # RFC 9112 section 5
_BODILESS = frozenset({204, 304})
_VALUE = rb"(?:[!-~](?:[\t -~]*[!-~])?)?"
_LENGTH = rb"[0-9]{1,19}"
#: What is another one in most answers; that other fields are too is learnt from them. How the message is framed never is.
_VARYING = frozenset({"content-length", "date", "etag", "last-modified", "x-amz-id-2", "x-amz-request-id"})
_SHAPES = 4  # of one backend at a time
_MADE = 64  # of one backend in all: one whose answers are never alike has none
_SEEN = 256
_LONGEST = 8192  # bytes of a head


class ResponseHead:
    """One answer's head. `length` None: chunked, or until the connection ends. `names` and `values` are those of the fields."""

    __slots__ = ("chunked", "keep_alive", "length", "names", "status", "values")

    def __init__(
        self,
        status: int,
        names: tuple[str, ...],
        values: tuple[bytes, ...],
        length: int | None,
        *,
        keep_alive: bool,
        chunked: bool,
    ) -> None:
        self.status = status
        self.names = names
        self.values = values
        self.length = length
        self.keep_alive = keep_alive
        self.chunked = chunked

    @property
    def fields(self) -> Fields:
        """Return the fields as they came."""
        return [(name, value.decode("utf-8", "replace")) for name, value in zip(self.names, self.values, strict=True)]


class AnswerReader:
    """Reads the answers of one backend. They are mostly alike: the same names, and of the values only some are others."""

    __slots__ = ("_made", "_seen", "_shapes")

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []
        self._seen: dict[tuple[object, ...], _Kind] = {}
        self._made = 0

    def read(self, head: bytes, method: str) -> ResponseHead:
        """Return the head of an answer to a request of this method. Raises BadHead."""
        for place, shape in enumerate(self._shapes):
            words = shape.form.words(head)
            if words is not None:
                if place:  # the most used stays when another one comes
                    self._shapes.insert(0, self._shapes.pop(place))
                return shape.head(words, method)
        found = _parsed(head)
        framing = tuple(found.values[index] for index, name in _answer_framing(found.names) if name != "content-length")
        what = head[: head.index(b"\r")], found.names, framing
        kind = self._seen.get(what)
        if kind is not None:
            self._learn(head, found, kind)
        elif len(self._seen) < _SEEN:
            self._seen[what] = _Kind(found.values)
        return _to(method, found)

    def _learn(self, head: bytes, found: ResponseHead, kind: _Kind) -> None:
        """Recognize heads like this one from now on."""
        if self._made >= _MADE or len(head) > _LONGEST:
            return
        self._made += 1
        kind.note(found.values)
        shape = _shape(head, found, kind)
        if shape is not None and shape.form.words(head) is not None:
            self._shapes = [shape, *(other for other in self._shapes if other.kind is not kind)][:_SHAPES]


class _Kind:
    """Heads with one status line, the same names and framing: the values of the first, and where others had another one."""

    __slots__ = ("_first", "varying")

    def __init__(self, values: tuple[bytes, ...]) -> None:
        self._first = values
        self.varying: set[int] = set()

    def note(self, values: tuple[bytes, ...]) -> None:
        """Remember which values are others."""
        self.varying.update(i for i, (one, other) in enumerate(zip(self._first, values, strict=True)) if one != other)


class _Shape:
    """A head of which some values may be others; a length is read again."""

    __slots__ = ("_constant", "_found", "_length_at", "_values", "form", "kind")

    def __init__(self, form: Form, found: ResponseHead, kind: _Kind, holes: Sequence[int]) -> None:
        self.form = form
        self.kind = kind
        self._found = found
        self._length_at = next((i for i, name in enumerate(found.names) if name.lower() == "content-length"), -1)
        places = range(len(found.names))
        constant = [place for place in places if place not in holes]
        self._constant = tuple(found.values[place] for place in constant)
        order = [*constant, *holes]
        self._values = picker([order.index(place) for place in places])

    def head(self, words: tuple[bytes, ...], method: str) -> ResponseHead:
        """Return the head with these words in its holes."""
        found, values = self._found, self._values(self._constant + words)
        length = int(values[self._length_at]) if self._length_at >= 0 else found.length
        return _to(
            method,
            ResponseHead(found.status, found.names, values, length, keep_alive=found.keep_alive, chunked=found.chunked),
        )


def _shape(head: bytes, found: ResponseHead, kind: _Kind) -> _Shape | None:
    """Return the shape of a head, None where it is written oddly."""
    lower = [name.lower() for name in found.names]
    if found.status < 200 or lower.count("content-length") > 1:
        return None
    holes, places, start = [], [], head.index(b"\r")
    for place, (name, value) in enumerate(zip(found.names, found.values, strict=True)):
        line = b"\r\n%b: %b" % (name.encode(), value)
        if not head.startswith(line + b"\r\n", start):
            return None
        start += len(line)
        if lower[place] in _VARYING or place in kind.varying:
            places.append(place)
            holes.append(Hole(start - len(value), start, _LENGTH if lower[place] == "content-length" else _VALUE))
    return _Shape(Form(head, holes), found, kind, places)


def read_response(head: bytes, method: str) -> ResponseHead:
    """Return the head of an answer to a request of this method. Raises BadHead."""
    return _to(method, _parsed(head))


def _to(method: str, found: ResponseHead) -> ResponseHead:
    """Return a head as the answer to a request of this method: what it says of a body may not be true (RFC 9112 6.3).

    A shape is learnt of what the head itself says, never of this: HEAD and GET share their heads, and not their bodies.
    """
    if method == "HEAD" or found.status in _BODILESS or found.status < 200:
        return ResponseHead(found.status, found.names, found.values, 0, keep_alive=found.keep_alive, chunked=False)
    return found


def _parsed(head: bytes) -> ResponseHead:
    """Return what a head says, whomever it answers. Raises BadHead."""
    text = head.decode("utf-8", "replace")
    fields: Fields = _FIELD.findall(text)
    ends = len(fields) + 2  # each field begins with one line end; two are left
    if text.count("\n") != ends or text.count("\r") != ends or "\x00" in text:
        raise BadHead("bare CR or LF, or NUL, or a line that is no field, in an answer")
    if " \r" in text or "\t\r" in text:
        fields = [(name, value.rstrip(" \t")) for name, value in fields]
    status, keep_alive = _status(head[: head.index(b"\r")])
    names = tuple([name for name, _ in fields])
    length: int | None = None
    chunked = False
    for index, name in _answer_framing(names):
        length, chunked, keep_alive = _answer_framed(name, fields[index][1], length, chunked=chunked, kept=keep_alive)
    if chunked and length is not None:
        raise BadHead("Content-Length beside Transfer-Encoding in an answer")
    values = tuple([value.encode() for _, value in fields])
    return ResponseHead(status, names, values, length, keep_alive=keep_alive, chunked=chunked)


@lru_cache(maxsize=256)
def _answer_framing(names: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Return where the fields are that frame an answer."""
    return tuple((i, name.lower()) for i, name in enumerate(names) if name.lower() in FRAMING)


def _answer_framed(
    name: str, value: str, length: int | None, *, chunked: bool, kept: bool
) -> tuple[int | None, bool, bool]:
    """Return length, chunked and whether the connection is kept, as one field more says it. Raises BadHead."""
    if name == "content-length":
        if (length is not None and value != str(length)) or not (
            value.isascii() and value.isdigit() and len(value) < 20
        ):
            raise BadHead("Content-Length of an answer")
        return int(value), chunked, kept
    if name == "transfer-encoding":
        if value.lower() != "chunked":
            raise BadHead("Transfer-Encoding of an answer")
        return length, True, kept
    if name == "connection":
        options = value.lower()
        return length, chunked, "close" not in options and (kept or "keep-alive" in options)
    return length, chunked, kept


@lru_cache(maxsize=64)
def _status(line: bytes) -> tuple[int, bool]:
    """Return the status of a status line, and whether the connection is kept if no field says otherwise. Raises BadHead."""
    match = _STATUS.fullmatch(line)
    if match is None:
        raise BadHead("status line of an answer")
    return int(match[2]), match[1] == b"1"
