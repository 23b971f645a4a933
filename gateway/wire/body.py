"""A request's body as it comes: framed by a length or in chunks, held until somebody wants it."""

from __future__ import annotations

from collections.abc import Callable

from gateway.wire.chunks import BadChunk, ChunkedReader, read_whole
from gateway.wire.heads import RequestHead
from gateway.wire.steps import BodyTooLarge

_ENDLESS = 1 << 62  # bytes, of a body that is thrown away


def _nothing() -> None:
    """End without consequence."""


def _away(_: bytes) -> None:
    """Throw bytes away."""


class Body:
    """One body. `take` gets its bytes, `end` is called when it is whole; until `take` is set they are kept.

    `behind`: what came behind it with its last bytes, told before `end` is called: the next request, or its beginning.
    `expects`: the client waits for 100 Continue (RFC 9110 section 10.1.1), and nobody has said it yet.
    """

    __slots__ = ("_chunks", "_early", "_left", "began", "behind", "done", "end", "expects", "take")

    def __init__(self, head: RequestHead) -> None:
        self._left = head.length or 0
        self._chunks = ChunkedReader() if head.chunked else None
        self._early = b""
        self.began = False
        self.behind = b""
        self.expects = head.expects
        self.done = not head.has_body
        self.take: Callable[[bytes], None] | None = None
        self.end: Callable[[], None] = _nothing

    @property
    def left(self) -> int:
        """Return how many bytes of a body of known length are still to come; 0 for chunks."""
        return self._left if self._chunks is None else 0

    @property
    def wanted(self) -> bool:
        """Return whether somebody waits for what is still to come."""
        return not self.done and self.take is not None and self.take is not _away

    @property
    def waits(self) -> bool:
        """Return whether nobody wants the body yet."""
        return self.take is None and not self.done

    @property
    def is_here(self) -> bool:
        """Return whether all of it came before anybody wanted it."""
        if self.take is not None:
            return False
        return read_whole(self._early) is not None if self._chunks is not None else 0 < self._left <= len(self._early)

    def whole(self) -> tuple[bytes, bytes] | None:
        """Return a body that came whole before anybody wanted it, and what follows it; it is over then. None: it is not all here."""
        early = self._early
        if self._chunks is not None:
            found = read_whole(early)
        else:
            found = (early[: self._left], early[self._left :]) if 0 < self._left <= len(early) else None
        if found is not None:
            self._early, self._left, self.done, self.take = b"", 0, True, _away
        return found

    def early(self) -> bytes:
        """Return what came before anybody wanted it, and forget it."""
        early, self._early = self._early, b""
        return early

    def discard(self) -> None:
        """Throw away what is still to come."""
        self.take, self.end = _away, _nothing

    def moved(self, count: int) -> None:
        """Be told that somebody else moved bytes of the body; with the last of them it is whole."""
        self._left -= count
        if count and not self._left:
            self.done = True
            self._finish()

    def feed(self, data: bytes) -> bytes:
        """Take bytes; return what follows the body. Raises BadChunk, and what `take` and `end` raise."""
        if data:
            self.began = True
        take = self.take
        if take is None:
            self._early += data
            return b""
        if self._early:
            data, self._early = self._early + data, b""
        if self.done:
            if not data:
                self._finish()
            return data
        return self._plain(data, take) if self._chunks is None else self._chunked(data, take)

    def _plain(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        rest = b""
        if len(data) > self._left:
            rest, data = data[self._left :], data[: self._left]
        self._left -= len(data)
        self.done = not self._left
        if data:
            take(data)
        if self.done:
            self.behind = rest
            self._finish()
        return rest

    def _chunked(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        chunks = self._chunks
        if chunks is None:
            raise BadChunk("no chunks")
        try:
            for piece in chunks.feed(data):
                (self.take or take)(piece)
        except BadChunk:
            if self.take is not _away:
                raise
            self._chunks, self._left = None, _ENDLESS  # nobody wants it: it has no end now, and the answer goes on
            return b""
        if chunks.done:
            self.done, self.behind = True, chunks.rest
            self._finish()
        return chunks.rest

    def _finish(self) -> None:
        end, self.end, self.take = self.end, _nothing, _away  # a body that is over keeps nobody alive
        end()


def collector(limit: int) -> tuple[bytearray, Callable[[bytes], None]]:
    """Return what a body is collected in, and what takes its bytes. That raises BodyTooLarge beyond `limit` bytes."""
    collected = bytearray()

    def take(data: bytes) -> None:
        collected.extend(data)
        if len(collected) > limit:
            raise BodyTooLarge(limit)

    return collected, take


#: What every request without a body has: whole already. Whoever wants one after all makes his own.
NO_BODY = Body(RequestHead("GET", "/", [], 1, keep_alive=True, length=0, chunked=False, expects=False))
