"""What leaves of an aws-chunked body while `chunked` verifies it: the body as it came, or its payload alone.

A relay hands over what it has understood and asks `take()` for what may go. The end (the zero chunk, or a payload's last
piece) is handed out only when the relay has called `end`: framing, signatures and trailers are then verified.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.signing.checksums import BodyCheck

Piece = bytes | bytearray | memoryview


def joined(pieces: list[Piece], data: bytes) -> bytes:
    """Return pieces as one: `data` itself, not copied, when they are one view of all of it."""
    if len(pieces) == 1 and isinstance(only := pieces[0], memoryview) and only.obj is data and len(only) == len(data):
        return data
    return b"".join(pieces)


class Framed:
    """What leaves of a body in aws-chunked framing: everything, and its end when all of it is verified."""

    def __init__(self) -> None:
        self._ready: list[Piece] = []

    @property
    def keeps_length(self) -> bool:
        """Whether as many bytes leave as came."""
        return True

    def frame(self, data: bytes) -> None:
        """Take framing."""
        self._ready.append(data)

    def payload(self, *pieces: Piece) -> None:
        """Take payload: of signed chunks, verified."""
        self._ready += pieces

    def chunk(self, head: bytes, content: memoryview) -> None:
        """Take a whole chunk, verified: its head, and its content with the line end after it."""
        self._ready.append(head)
        self._ready.append(content)

    def end(self, data: bytes, trailers: Mapping[str, str]) -> None:
        """Take the zero chunk and its trailers: framing and signatures are verified."""
        del trailers
        self._ready.append(data)

    def take(self) -> bytes:
        """Return what may leave now."""
        return b"".join(self.pieces())

    def pieces(self) -> list[Piece]:
        """Return what may leave now, as it was handed over."""
        ready, self._ready = self._ready, []
        return ready


class Payload(Framed):
    """What leaves of a body without its framing. One piece is held until `check` has accepted the whole payload."""

    def __init__(self, check: BodyCheck | None = None) -> None:
        super().__init__()
        self._check = check
        self._held: tuple[Piece, ...] = ()

    @property
    def keeps_length(self) -> bool:
        """Whether as many bytes leave as came."""
        return False

    def frame(self, data: bytes) -> None:
        """Drop framing."""

    def chunk(self, head: bytes, content: memoryview) -> None:
        """Take a whole chunk's payload."""
        del head
        self.payload(content[:-2])

    def payload(self, *pieces: Piece) -> None:
        """Take payload, let go of what came before it."""
        if self._check is not None:
            for piece in pieces:
                self._check.update(bytes(piece))
        self._ready += self._held
        self._held = pieces

    def end(self, data: bytes, trailers: Mapping[str, str]) -> None:
        """Verify the digests, let go of the last piece. Raises as BodyCheck.finish."""
        del data
        if self._check is not None:
            self._check.finish(trailers)
        self._ready += self._held
