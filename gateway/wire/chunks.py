"""The chunked transfer coding (RFC 9112 section 7.1), decoded as it comes. Not S3's aws-chunked, which is `gateway.signing.chunked`.

Extensions are read over, trailer fields are dropped; both are bounded. A bare LF, a sign or a space in a size, a trailer that is no
field is refused: two servers would read it differently (trap 20).
"""

from __future__ import annotations

import re

from gateway.wire.heads import TOKEN

MAX_LINE = 4096  # bytes of a size line with its extensions
MAX_TRAILERS = 16_384  # bytes
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_FIELD = re.compile(TOKEN + rb":[^\x00]*")  # RFC 9112 section 5
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n\x00]*)?")


class BadChunk(Exception):
    """A body that is not chunked as the RFC says."""


class ChunkedReader:
    """Decodes one body: feed bytes, take what is payload; after `done`, `rest` is what followed it."""

    __slots__ = ("_buffer", "_left", "_state", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = "size"
        self._trailers = 0  # bytes of them
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces of payload in these bytes. Raises BadChunk."""
        pieces: list[bytes] = []
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while not self.done and at < len(buffer):
            if self._state == "data":
                piece = buffer[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._state = "data" if self._left else "end"
                continue
            moved = self._line(buffer, at)
            if moved < 0:
                break
            at = moved
        self._buffer = b"" if self.done else buffer[at:]
        if self.done:
            self.rest = buffer[at:]
        elif len(self._buffer) > (MAX_TRAILERS if self._state == "trailers" else MAX_LINE) + 1:  # a CR may be the last
            raise BadChunk("a line without an end")
        return pieces

    def _line(self, buffer: bytes, at: int) -> int:
        """Read what stands between data; return where it ends, -1 when it is not all there."""
        end = buffer.find(b"\r\n", at)
        if end < 0:
            if b"\n" in buffer[at:]:
                raise BadChunk("bare LF")
            return -1
        line = buffer[at:end]
        if b"\n" in line or b"\r" in line:
            raise BadChunk("bare CR or LF")
        if self._state == "end":
            if line:
                raise BadChunk("no CRLF after the data of a chunk")
            self._state = "size"
        elif self._state == "trailers":
            self._trailers += len(line)
            if self._trailers > MAX_TRAILERS or (line and not _FIELD.fullmatch(line)):
                raise BadChunk("trailer fields")
            self.done = not line
        else:
            self._size(line)
        return end + 2

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None or len(line) > MAX_LINE:
            raise BadChunk("size of a chunk")
        self._left = int(match[1], 16)
        self._state = "data" if self._left else "trailers"


def read_whole(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the payload of a body that is all here, and what follows it; None where a reader must say what it is.

    That is: what has not come whole, has extensions or trailers, or is not as it should be.
    """
    pieces: list[bytes] = []
    at = 0
    while (match := _CHUNK.match(data, at)) is not None:
        begin = match.end()
        end = begin + int(match[1], 16)
        if data[end : end + 2] != b"\r\n":
            return None
        if end == begin:
            return b"".join(pieces), data[end + 2 :]
        pieces.append(data[begin:end])
        at = end + 2
    return None
