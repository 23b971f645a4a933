"""aws-chunked: a relay that verifies the framing (and signatures) of a body while it crosses.

`feed(data)` returns the bytes that may go to the backend now (b"" = need more), or raises an S3Error; `sift(data)` the same
in pieces, most of them views of `data`, which may be a buffer that is used again: what a relay holds back it has copied.
`finish()` at the end of the body raises IncompleteBody if anything is missing. After an error, stop sending.
The final zero chunk and its trailers come out only when everything before them is verified, so that a bad upload stays
short of its announced length at the backend and never becomes an object (traps 10, 11, 13).

`Framed` (the rule): what goes out is exactly as long as what came in, so the backend's Content-Length is the client's:
sizes and trailers keep their spelling, and one signature is as long as another. `Payload`, for backends that do not know
aws-chunked and for bodies that the gateway reads: the payload alone goes out, its checksum verified before its last piece.

Framing: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and .../sigv4-streaming-trailers.html
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from gateway.errors import EntityTooLarge, IncompleteBody, InvalidRequest, S3Error, SignatureDoesNotMatch
from gateway.signing.checksums import BodyCheck
from gateway.signing.chunk_chain import ChunkChain
from gateway.signing.digests import sha256_each, sha256_hex
from gateway.signing.envelope import Framed, Payload, Piece, joined
from gateway.signing.sigv4 import Scope, SigningKey, matches

MAX_SIGNED_CHUNK = 16 * 2**20  # bytes; a signed chunk is held until it is verified
MAX_LINE = 1024  # bytes, without its CRLF
MAX_TRAILERS = 16 * 1024  # bytes of all the trailers, CRLFs included

_UNSIGNED_HEAD = re.compile(rb"([0-9A-Fa-f]{1,16})")
_SIGNED_HEAD = re.compile(rb"([0-9A-Fa-f]{1,16});chunk-signature=([0-9a-f]{64})")
_SIGNED_LINE = re.compile(_SIGNED_HEAD.pattern + rb"\r\n")
_FIELD = rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[ \t]*"
# minio-go (so mc too) ends a trailer with LF CRLF, and AWS takes it: hence the optional LF.
_TRAILER = re.compile(_FIELD + rb"\n?")
_UNSIGNED_LINE = re.compile(_UNSIGNED_HEAD.pattern + rb"\r\n")
_ONE_TRAILER = re.compile(rb"\r\n0\r\n" + _FIELD + rb"\r\n\r\n")
_SIGNATURE_TRAILER = "x-amz-trailer-signature"
_NOTHING = memoryview(b"")


#: Numbers and no Enum: they are compared for every piece, and compiled these are constants.
_HEAD: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4
_REFUSED: Final = 5
_STATES = ("HEAD", "DATA", "DATA_END", "TRAILERS", "DONE", "REFUSED")


class _Relay(ABC):
    """What both relays share: the framing, one piece at a time. Subclasses say what goes out, and when.

    Each `_<state>` method reads one piece of `data` from position `at`, hands to `_out` what may leave, and returns
    the position after the piece: the same position when the piece is not all there yet.
    """

    def __init__(self, decoded_length: int, trailers: tuple[str, ...], out: Framed | None = None) -> None:
        self._left = decoded_length  # bytes of payload that no chunk head has announced yet
        self._announced = frozenset(name.lower() for name in trailers)
        self._state: int = _HEAD
        self._out = out or Framed()
        self._held = b""  # the start of a line whose end has not come
        self._chunk_left = 0
        self._end = b""  # the zero chunk and its trailers, as they will be sent
        self._trailers: dict[str, str] = {}

    @property
    def done(self) -> bool:
        """Whether the whole body, terminator included, has been seen and verified."""
        return self._state == _DONE

    @property
    def trailers(self) -> Mapping[str, str]:
        """The trailers by lower-case name, their signature left out; verified once `done`."""
        return MappingProxyType(self._trailers)

    @property
    def keeps_length(self) -> bool:
        """Whether as many bytes go out as come in, so that nothing but the end itself completes the announced length."""
        return self._out.keeps_length

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the client, return bytes for the backend.

        Raises InvalidRequest (framing, trailers), IncompleteBody (the chunks hold more or less than the announced
        length), SignatureDoesNotMatch or EntityTooLarge; then every later call raises as well.
        """
        return joined(self.sift(data), data)

    def sift(self, data: bytes | memoryview) -> list[Piece]:
        """Take bytes as `feed` does, return pieces. Those of a relay that keeps the length are good as long as `data` is."""
        try:
            self._fed(memoryview(data))
        except S3Error:
            self._state = _REFUSED
            raise
        return self._out.pieces()

    def fits(self, room: int) -> int:
        """Return how many bytes to take next, where there is room for so many: any other number is right too."""
        return room

    def finish(self) -> None:
        """Say that the body has ended. Raises IncompleteBody when it should not have."""
        if self._state != _DONE:
            raise IncompleteBody(reason=f"chunked body ended in {_STATES[self._state]}")

    def _fed(self, data: memoryview) -> None:
        if self._held:
            data = memoryview(self._held + data)
        at = 0
        while at < len(data):
            after = self._step(data, at)
            if after == at:
                break
            at = after
        self._held = bytes(data[at:])

    def _step(self, data: memoryview, at: int) -> int:
        state = self._state
        if state == _HEAD:
            return self._head(data, at)
        if state == _DATA:
            return self._data(data, at)
        if state == _DATA_END:
            return self._data_end(data, at)
        if state == _TRAILERS:
            return self._trailer(data, at)
        raise (
            InvalidRequest("Data after the end of the chunked body.")
            if state == _DONE
            else InvalidRequest(reason="data after a refusal")
        )

    def _head(self, data: memoryview, at: int) -> int:
        end = _line_end(data, at)
        if end < 0:
            return at
        size = self._take_head(bytes(data[at:end]))
        if size > self._left:
            raise IncompleteBody("The chunks hold more than x-amz-decoded-content-length says.")
        if not size and self._left:
            raise IncompleteBody("The chunks hold less than x-amz-decoded-content-length says.")
        self._left -= size
        self._chunk_left = size
        self._state = _DATA if size else _TRAILERS
        return end + 2

    def _data(self, data: memoryview, at: int) -> int:
        piece = data[at : at + self._chunk_left]
        self._take_data(piece)
        self._chunk_left -= len(piece)
        if not self._chunk_left:
            self._state = _DATA_END
        return at + len(piece)

    def _data_end(self, data: memoryview, at: int) -> int:
        found = bytes(data[at : at + 2])
        if not b"\r\n".startswith(found):
            raise InvalidRequest("A chunk is longer than its head says.")
        if len(found) < 2:
            return at
        self._take_data_end()
        self._state = _HEAD
        return at + 2

    def _trailer(self, data: memoryview, at: int) -> int:
        end = _line_end(data, at)
        if end < 0:
            return at
        if end > at:
            self._end += self._take_trailer(bytes(data[at:end])) + b"\r\n"
            if len(self._end) > MAX_TRAILERS:
                raise InvalidRequest("The trailers of the chunked body are too long.")
        else:
            self._check_trailers()
            self._out.end(self._end + b"\r\n", self._trailers)
            self._state = _DONE
        return end + 2

    def _take_trailer(self, line: bytes) -> bytes:
        """Note a trailer and return the line to send: an announced one, once."""
        name, value, _ = _parse_trailer(line)
        if name not in self._announced:
            raise InvalidRequest("A trailer was sent that x-amz-trailer does not announce.", reason=f"trailer {name}")
        if name in self._trailers:
            raise InvalidRequest(f"The trailer {name} was sent more than once.")
        self._trailers[name] = value
        return line

    def _check_trailers(self) -> None:
        if self._trailers.keys() != self._announced:
            raise InvalidRequest("A trailer that x-amz-trailer announces was not sent.")

    @abstractmethod
    def _take_head(self, line: bytes) -> int:
        """Take a chunk's head; return its size."""

    @abstractmethod
    def _take_data(self, piece: memoryview) -> None:
        """Take bytes of a chunk."""

    @abstractmethod
    def _take_data_end(self) -> None:
        """Take the end of a chunk's bytes."""


def _line_end(data: memoryview, at: int) -> int:
    """Return the position of a line's CRLF, -1 when it has not come yet."""
    end = bytes(data[at : at + MAX_LINE + 2]).find(b"\r\n")
    if end < 0 and len(data) - at > MAX_LINE + 1:
        raise InvalidRequest("A line of the chunked body is too long.")
    return end if end < 0 else at + end


def _parse_trailer(line: bytes) -> tuple[str, str, slice]:
    """Return a trailer's lower-case name, its value, and where in the line the value stands."""
    match = _TRAILER.fullmatch(line)
    if match is None:
        raise InvalidRequest("A trailer of the chunked body is malformed.")
    return match[1].decode("ascii").lower(), match[2].decode("ascii"), slice(*match.span(2))


class UnsignedRelay(_Relay):
    """STREAMING-UNSIGNED-PAYLOAD-TRAILER: bytes cross as they are, their framing checked, the terminator held back."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes, as any relay does; a small body mostly comes at once, in one chunk with one trailer."""
        return data if self._is_all(data) else super().feed(data)

    def _is_all(self, data: bytes) -> bool:
        """Return whether this is all of the body, and take it then; what is not quite so is for the steps to judge."""
        if self._state != _HEAD or self._held or not self.keeps_length:
            return False
        head = _UNSIGNED_LINE.match(data)
        if head is None or not 0 < int(head[1], 16) == self._left or len(data) - head.end() - self._left > MAX_LINE:
            return False
        tail = _ONE_TRAILER.fullmatch(data, head.end() + self._left)
        if tail is None or (name := tail[1].decode("ascii").lower()) not in self._announced or len(self._announced) > 1:
            return False
        self._trailers[name] = tail[2].decode("ascii")
        self._left, self._state = 0, _DONE
        return True

    def _take_head(self, line: bytes) -> int:
        match = _UNSIGNED_HEAD.fullmatch(line)
        if match is None:
            raise InvalidRequest("A chunk's head is malformed.")
        size = int(match[1], 16)
        if size:
            self._out.frame(line + b"\r\n")
        else:
            self._end = line + b"\r\n"
        return size

    def _take_data(self, piece: memoryview) -> None:
        self._out.payload(piece)

    def _take_data_end(self) -> None:
        self._out.frame(b"\r\n")


class SignedRelay(_Relay):
    """Signed chunks: each verified whole, then sent on under the backend's signature over the same content hash.

    `trailers` empty: STREAMING-AWS4-HMAC-SHA256-PAYLOAD; else ...-PAYLOAD-TRAILER, whose last trailer signs the others.
    """

    def __init__(
        self,
        decoded_length: int,
        incoming: ChunkChain,
        outgoing: ChunkChain,
        trailers: tuple[str, ...],
        out: Framed | None = None,
    ) -> None:
        super().__init__(decoded_length, trailers, out)
        self._incoming = incoming
        self._outgoing = outgoing
        self._size = b""
        self._signature = ""
        self._before = bytearray()  # of a chunk that does not come at once: what came before,
        self._now = _NOTHING  # and what came now
        self._hash = sha256()
        self._sealed = False  # the trailers' signature has been seen
        self._stride = 1  # bytes of the last chunk that came whole, with its frame

    def fits(self, room: int) -> int:
        """Return as many bytes as end with a chunk, when the next ones are as long as the last: none is then hashed in pieces."""
        if self._held or self._state not in (_HEAD, _DATA):
            return room
        begun = self._chunk_left + 2 if self._state == _DATA else 0
        if begun > room:
            return room
        return begun + (room - begun) // self._stride * self._stride or room

    def _take_head(self, line: bytes) -> int:
        match = _SIGNED_HEAD.fullmatch(line)
        if match is None:
            raise InvalidRequest("A chunk's head is malformed.")
        self._size, self._signature = match[1], match[2].decode("ascii")
        size = int(self._size, 16)
        if size > MAX_SIGNED_CHUNK:
            raise EntityTooLarge(f"A signed chunk may hold {MAX_SIGNED_CHUNK} bytes at most.")
        if not size:
            self._end = self._verified_head(self._hash.hexdigest())
        return size

    def _fed(self, data: memoryview) -> None:
        super()._fed(data)
        if self._now:  # what it is a view of may be used again
            self._before += self._now
            self._now = _NOTHING

    def _head(self, data: memoryview, at: int) -> int:
        # First all are hashed, side by side, then all verified.
        whole, at = self._whole(data, at)
        digests = sha256_each([data[begin:end] for _, begin, end in whole])
        for (head, begin, end), content_hash in zip(whole, digests, strict=True):
            self._size, self._signature = head[1], head[2].decode("ascii")
            self._out.chunk(self._verified_head(content_hash), data[begin : end + 2])
        return super()._head(data, at)

    def _whole(self, data: memoryview, at: int) -> tuple[list[tuple[re.Match[bytes], int, int]], int]:
        """Return the chunks that lie whole in `data` (head, where their content begins and ends), and the position after them.

        Any other is for the steps to judge.
        """
        whole = []
        while (head := _SIGNED_LINE.match(data, at)) is not None:
            size, begin = int(head[1], 16), head.end()
            end = begin + size
            if not 0 < size <= min(self._left, MAX_SIGNED_CHUNK) or bytes(data[end : end + 2]) != b"\r\n":
                break
            whole.append((head, begin, end))
            self._left -= size
            self._stride = end + 2 - at
            at = end + 2
        return whole, at

    def _take_data(self, piece: memoryview) -> None:
        self._hash.update(piece)
        self._now = piece

    def _take_data_end(self) -> None:
        self._let_out(self._hash.hexdigest(), self._before, self._now)
        self._hash, self._before, self._now = sha256(), bytearray(), _NOTHING

    def _let_out(self, content_hash: str, *pieces: Piece) -> None:
        self._out.frame(self._verified_head(content_hash))
        self._out.payload(*pieces)
        self._out.frame(b"\r\n")

    def _verified_head(self, content_hash: str) -> bytes:
        """Check the chunk's signature over its content and return its head for the backend."""
        if not matches(self._incoming.chunk(content_hash), self._signature):
            raise SignatureDoesNotMatch(reason="a chunk's signature differs")
        return self._size + b";chunk-signature=" + self._outgoing.chunk(content_hash).encode("ascii") + b"\r\n"

    def _take_trailer(self, line: bytes) -> bytes:
        if self._sealed:
            raise InvalidRequest("A trailer was sent after the trailers' signature.")
        name, value, place = _parse_trailer(line)
        if name != _SIGNATURE_TRAILER or not self._announced:
            return super()._take_trailer(line)
        self._sealed = True
        return line[: place.start] + self._resigned_trailers(value).encode("ascii") + line[place.stop :]

    def _resigned_trailers(self, given: str) -> str:
        """Verify the signature over the lines `name:value` before it, each with LF, and return the backend's."""
        lines = "".join(f"{name}:{value}\n" for name, value in self._trailers.items())
        content_hash = sha256_hex(lines.encode("ascii"))
        if not matches(self._incoming.trailer(content_hash), given):
            raise SignatureDoesNotMatch(reason="the trailers' signature differs")
        return self._outgoing.trailer(content_hash)

    def _check_trailers(self) -> None:
        super()._check_trailers()
        if self._announced and not self._sealed:
            raise SignatureDoesNotMatch(reason="the trailers are not signed")


def decoder(
    decoded_length: int, trailers: tuple[str, ...], chain: ChunkChain | None, check: BodyCheck | None = None
) -> UnsignedRelay | SignedRelay:
    """Return a relay that lets the payload out, without its framing; `chain` is None when the chunks are unsigned."""
    if chain is None:
        return UnsignedRelay(decoded_length, trailers, Payload(check))
    # Its outgoing signatures are thrown away: the one verifier serves both uses.
    return SignedRelay(
        decoded_length, chain, ChunkChain(SigningKey(b""), "", Scope("", "", ""), ""), trailers, Payload(check)
    )
