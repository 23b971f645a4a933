"""aws-chunked: a relay that verifies the framing (and signatures) of a body while it crosses.

`feed(data)` returns the bytes that may go to the backend now (b"" = need more), or raises an S3Error.
`finish()` at the end of the body raises IncompleteBody if anything is missing. After an error, stop sending.
The final zero chunk and its trailers come out only when everything before them is verified, so that a bad upload stays
short of its announced length at the backend and never becomes an object (traps 10, 11, 13).

Framing: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and .../sigv4-streaming-trailers.html
"""

from __future__ import annotations

import re
from enum import Enum, auto
from hashlib import sha256

from gateway.errors import EntityTooLarge, IncompleteBody, InvalidRequest, SignatureDoesNotMatch
from gateway.sigv4 import EMPTY_SHA256, Scope, matches, sign_string

MAX_SIGNED_CHUNK = 16 * 2**20  # bytes; a signed chunk is held until it is verified
MAX_LINE = 1024
MAX_TRAILERS = 16 * 1024

_UNSIGNED_HEAD = re.compile(rb"([0-9A-Fa-f]{1,16})")
_SIGNED_HEAD = re.compile(rb"([0-9A-Fa-f]{1,16});chunk-signature=([0-9a-f]{64})")
_TRAILER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[ \t]*")
_SIGNATURE_TRAILER = "x-amz-trailer-signature"


class ChunkChain:
    """The chain of chunk signatures: each covers the one before it, the first the request's (`seed_signature`)."""

    def __init__(self, key: bytes, timestamp: str, scope: Scope, seed_signature: str) -> None:
        self._key = key
        self._head = f"{timestamp}\n{scope.text}"
        self._previous = seed_signature

    def chunk(self, content_hash: str) -> str:
        """Return the signature of the next chunk, given the SHA-256 of its data in hexadecimal."""
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self._head}\n{self._previous}\n{EMPTY_SHA256}\n{content_hash}"
        self._previous = sign_string(self._key, text)
        return self._previous

    def trailer(self, content_hash: str) -> str:
        """Return the signature of the trailers, given the SHA-256 of their lines in hexadecimal."""
        text = f"AWS4-HMAC-SHA256-TRAILER\n{self._head}\n{self._previous}\n{content_hash}"
        self._previous = sign_string(self._key, text)
        return self._previous


class _State(Enum):
    HEAD = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    DONE = auto()


class _Relay:
    """What both relays share: the framing, one state at a time. Subclasses say what goes out."""

    def __init__(self, decoded_length: int, trailers: tuple[str, ...]) -> None:
        self._left = decoded_length
        self._announced = trailers
        self._buffer = bytearray()
        self._state = _State.HEAD
        self._chunk_left = 0
        self._last = b""
        self._lines: list[tuple[str, str]] = []
        self._trailer_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the whole body, terminator included, has been seen."""
        return self._state is _State.DONE

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the client, return bytes for the backend."""
        if self._state is _State.DONE and data:
            raise InvalidRequest("Data after the end of the chunked body.")
        self._buffer += data
        out = bytearray()
        while self._step(out):
            pass
        return bytes(out)

    def finish(self) -> None:
        """Say that the body has ended. Raises IncompleteBody when it should not have."""
        if self._state is not _State.DONE:
            raise IncompleteBody(reason=f"chunked body ended in {self._state.name}")

    def _step(self, out: bytearray) -> bool:
        """Advance by one piece; return whether there may be another."""
        if self._state is _State.HEAD:
            return self._head(out)
        if self._state is _State.DATA:
            return self._data(out)
        if self._state is _State.DATA_END:
            return self._data_end(out)
        if self._state is _State.TRAILERS:
            return self._trailer(out)
        if self._buffer:
            raise InvalidRequest("Data after the end of the chunked body.")
        return False

    def _line(self) -> bytes | None:
        """Take one CRLF-terminated line, None when it is not all there."""
        end = self._buffer.find(b"\r\n", 0, MAX_LINE + 2)
        if end < 0:
            if len(self._buffer) > MAX_LINE:
                raise InvalidRequest("A line of the chunked body is too long.")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _head(self, out: bytearray) -> bool:
        line = self._line()
        if line is None:
            return False
        size = self._take_head(line, out)
        if size > self._left:
            raise IncompleteBody("The chunks hold more than x-amz-decoded-content-length says.")
        if size == 0:
            if self._left:
                raise IncompleteBody("The chunks hold less than x-amz-decoded-content-length says.")
            self._state = _State.TRAILERS
            return True
        self._left -= size
        self._chunk_left = size
        self._state = _State.DATA
        return True

    def _trailer(self, out: bytearray) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            self._add_trailer(line)
            return True
        self._check_trailers()
        self._take_end(out)
        self._state = _State.DONE
        return True

    def _add_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        match = _TRAILER.fullmatch(line.decode("latin-1"))
        if match is None or self._trailer_bytes > MAX_TRAILERS:
            raise InvalidRequest("A trailer of the chunked body is malformed.")
        name = match[1].lower()
        if any(name == seen for seen, _ in self._lines):
            raise InvalidRequest(f"The trailer {name} was sent more than once.")
        self._lines.append((name, match[2]))

    def _check_trailers(self) -> None:
        names = {name for name, _ in self._lines if name != _SIGNATURE_TRAILER}
        if names != set(self._announced):
            raise InvalidRequest("The trailers sent are not those that x-amz-trailer announced.")

    def _data(self, out: bytearray) -> bool:
        raise NotImplementedError

    def _data_end(self, out: bytearray) -> bool:
        raise NotImplementedError

    def _take_head(self, line: bytes, out: bytearray) -> int:
        raise NotImplementedError

    def _take_end(self, out: bytearray) -> None:
        raise NotImplementedError


class UnsignedRelay(_Relay):
    """STREAMING-UNSIGNED-PAYLOAD-TRAILER: bytes cross as they are, their framing checked, the terminator held back."""

    def _take_head(self, line: bytes, out: bytearray) -> int:
        match = _UNSIGNED_HEAD.fullmatch(line)
        if match is None:
            raise InvalidRequest("A chunk's head is malformed.")
        size = int(match[1], 16)
        if size:
            out += line + b"\r\n"
        else:
            self._last = line + b"\r\n"
        return size

    def _data(self, out: bytearray) -> bool:
        piece = self._buffer[: self._chunk_left]
        if not piece:
            return False
        out += piece
        del self._buffer[: len(piece)]
        self._chunk_left -= len(piece)
        if not self._chunk_left:
            self._state = _State.DATA_END
        return True

    def _data_end(self, out: bytearray) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise InvalidRequest("A chunk is longer than its head says.")
        out += b"\r\n"
        del self._buffer[:2]
        self._state = _State.HEAD
        return True

    def _add_trailer(self, line: bytes) -> None:
        super()._add_trailer(line)
        self._last += line + b"\r\n"

    def _take_end(self, out: bytearray) -> None:
        out += self._last + b"\r\n"


class SignedRelay(_Relay):
    """Signed chunks: each verified, then sent on under the backend's signature over the same content hash.

    Sizes keep their spelling and signatures their length, so the body's length does not change.
    """

    def __init__(self, decoded_length: int, incoming: ChunkChain, outgoing: ChunkChain, trailers: tuple[str, ...]) -> None:
        super().__init__(decoded_length, trailers)
        self._incoming = incoming
        self._outgoing = outgoing
        self._size = b""
        self._signature = ""

    def _take_head(self, line: bytes, out: bytearray) -> int:
        match = _SIGNED_HEAD.fullmatch(line)
        if match is None:
            raise InvalidRequest("A chunk's head is malformed.")
        self._size, self._signature = match[1], match[2].decode()
        size = int(self._size, 16)
        if size > MAX_SIGNED_CHUNK:
            raise EntityTooLarge(f"A signed chunk may hold {MAX_SIGNED_CHUNK} bytes at most.")
        if size == 0:
            self._last = self._verified(b"")
        return size

    def _data(self, out: bytearray) -> bool:
        """Wait for the whole chunk and its CRLF: nothing of it may leave unverified."""
        if len(self._buffer) < self._chunk_left + 2:
            return False
        data = bytes(self._buffer[: self._chunk_left])
        if self._buffer[self._chunk_left : self._chunk_left + 2] != b"\r\n":
            raise InvalidRequest("A chunk is longer than its head says.")
        del self._buffer[: self._chunk_left + 2]
        out += self._verified(data) + data + b"\r\n"
        self._state = _State.HEAD
        return True

    def _verified(self, data: bytes) -> bytes:
        """Check the chunk's signature and return its head for the backend."""
        content_hash = sha256(data).hexdigest()
        if not matches(self._incoming.chunk(content_hash), self._signature):
            raise SignatureDoesNotMatch(reason="a chunk's signature differs")
        return self._size + b";chunk-signature=" + self._outgoing.chunk(content_hash).encode() + b"\r\n"

    def _take_end(self, out: bytearray) -> None:
        """Verify the trailers' signature; it stands last, over `name:value\\n` of each trailer before it."""
        if not self._announced:
            if self._lines:
                raise InvalidRequest("Trailers in a body that announced none.")
            out += self._last + b"\r\n"
            return
        if not self._lines or self._lines[-1][0] != _SIGNATURE_TRAILER:
            raise SignatureDoesNotMatch(reason="the trailers are not signed")
        lines = self._lines[:-1]
        content_hash = sha256("".join(f"{name}:{value}\n" for name, value in lines).encode("latin-1")).hexdigest()
        if not matches(self._incoming.trailer(content_hash), self._lines[-1][1]):
            raise SignatureDoesNotMatch(reason="the trailers' signature differs")
        sent = [*lines, (_SIGNATURE_TRAILER, self._outgoing.trailer(content_hash))]
        out += self._last + "".join(f"{name}:{value}\r\n" for name, value in sent).encode("latin-1") + b"\r\n"


def decode_body(body: bytes, decoded_length: int, trailers: tuple[str, ...], chain: ChunkChain | None) -> bytes:
    """Return the payload of a small, whole aws-chunked body, verified (for XML that the gateway itself reads)."""
    if chain is None:
        relay: _Relay = UnsignedRelay(decoded_length, trailers)
    else:
        relay = SignedRelay(decoded_length, chain, ChunkChain(b"", "", Scope("", "", ""), ""), trailers)
    framed = relay.feed(body)
    relay.finish()
    return _payload(framed)


def _payload(framed: bytes) -> bytes:
    """Cut the payload out of a body that a relay has accepted."""
    parts, at = [], 0
    while True:
        end = framed.index(b"\r\n", at)
        size = int(framed[at:end].partition(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(framed[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
