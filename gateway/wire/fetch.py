"""One request of the gateway's own, awaited, its answer pulled piece by piece: copies between backends, lists, tags."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from gateway.wire.answer_heads import ResponseHead
from gateway.wire.pool import Pool
from gateway.wire.steps import Origin
from gateway.wire.upstream import Upstream

AHEAD = 1 << 20  # bytes of an answer that may wait to be pulled


class Unanswered(Exception):
    """The backend did not answer, or not to the end."""


class _Unused(Unanswered):
    """A kept connection was dead."""


class Fetched:
    """An answer: its head, and its body to be pulled."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream: Upstream | None = upstream
        self._here: deque[bytes] = deque()
        self._waiting = 0
        self._changed = asyncio.Event()
        self._ended = False
        self._error: Unanswered | None = None
        self._head: ResponseHead | None = None
        self._room = asyncio.Event()
        self._room.set()

    @property
    def status(self) -> int:
        """Return the status."""
        return self.head.status

    @property
    def head(self) -> ResponseHead:
        """Return the head; it is there once `fetch` has returned."""
        assert self._head is not None  # noqa: S101 - fetch waits for it
        return self._head

    @property
    def headers(self) -> dict[str, str]:
        """Return the fields by lower-case name."""
        return {name.lower(): value for name, value in self.head.fields}

    @property
    def content_length(self) -> int | None:
        """Return the body's length in bytes, None when it is not told."""
        return self.head.length

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises Unanswered when it breaks off."""
        while True:
            while self._here:
                piece = self._here.popleft()
                self._waiting -= len(piece)
                if self._waiting < AHEAD and self._upstream is not None:
                    self._upstream.transport.resume_reading()
                yield piece
            if self._error is not None:
                raise self._error
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Let go: an answer that was not read to its end costs its connection."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()

    # ---- as upstream.Taker

    def answered(self, head: ResponseHead) -> None:
        """Take the head."""
        self._head = head
        self._changed.set()
        self._room.set()  # it answers before it has read everything: nothing more is sent

    def piece(self, data: bytes | memoryview) -> None:
        """Take bytes."""
        self._here.append(bytes(data))
        self._waiting += len(data)
        if self._waiting >= AHEAD and self._upstream is not None:
            self._upstream.transport.pause_reading()
        self._changed.set()

    def whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        """Take an answer that came whole."""
        self.answered(head)
        if body:
            self._here.append(bytes(body))
            self._waiting += len(body)
        self.ended()

    def flush(self) -> None:
        """Nothing waits here."""

    def ended(self) -> None:
        """The answer was whole."""
        self._upstream, self._ended = None, True
        self._changed.set()

    def broken(self, reason: str, *, unused: bool) -> None:
        """The connection ended first."""
        self._upstream = None
        self._error = _Unused(reason) if unused else Unanswered(reason)
        self._changed.set()
        self._room.set()

    def room(self, *, there_is: bool) -> None:
        """There is room for more of the request, or not."""
        (self._room.set if there_is else self._room.clear)()

    async def send(self, method: str, head: bytes, body: bytes | AsyncIterator[bytes], *, chunked: bool) -> None:
        """Send the request and wait for its answer's head."""
        upstream = self._upstream
        assert upstream is not None  # noqa: S101 - given
        if isinstance(body, bytes):
            upstream.send(self, method, head + body, whole=True)
        else:
            await self._stream(upstream, method, head, body, chunked=chunked)
        while self._head is None:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()

    async def _stream(
        self, upstream: Upstream, method: str, head: bytes, body: AsyncIterator[bytes], *, chunked: bool
    ) -> None:
        """Send a head with the first piece of its body, then the others; stop when an answer is there."""
        async for piece in body:
            data = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
            if head:
                upstream.send(self, method, head + data, whole=False)
                head = b""
            elif self._head is None and self._error is None:
                upstream.seen = upstream.now
                upstream.transport.write(data)
            else:
                return
            await self._room.wait()
        end = b"0\r\n\r\n" if chunked else b""
        if head:
            upstream.send(self, method, head + end, whole=True)
        elif end:
            upstream.transport.write(end)
        upstream.whole = True


async def fetch(
    pool: Pool,
    origin: Origin,
    method: str,
    head: bytes,
    body: bytes | AsyncIterator[bytes] = b"",
    *,
    chunked: bool = False,
    harmless: bool = False,
) -> Fetched:
    """Send a request and return its answer. Raises Unanswered.

    `chunked`: the body goes in chunks. What has no body to stream is repeated once when a kept connection was dead; a POST
    only where the caller knows that it is `harmless`.
    """
    try:
        upstream = pool.take(origin) or await pool.connect(origin)
        try:
            return await _sent(upstream, method, head, body, chunked=chunked)
        except _Unused:
            if not isinstance(body, bytes) or (method == "POST" and not harmless):
                raise
        return await _sent(await pool.connect(origin), method, head, body, chunked=chunked)
    except (OSError, TimeoutError) as error:
        raise Unanswered(type(error).__name__) from error


async def _sent(
    upstream: Upstream, method: str, head: bytes, body: bytes | AsyncIterator[bytes], *, chunked: bool
) -> Fetched:
    fetched = Fetched(upstream)
    try:
        await fetched.send(method, head, body, chunked=chunked)
    except BaseException:
        fetched.close()
        raise
    return fetched


async def ask(
    pool: Pool, origin: Origin, method: str, head: bytes, *, limit: int, seconds: float
) -> tuple[Fetched, bytes]:
    """Return the answer to a small request, read whole. Raises Unanswered.

    `limit` in bytes of its body, `seconds` for all of it.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await fetch(pool, origin, method, head)
            try:
                return answer, await whole(answer, limit)
            finally:
                answer.close()
    except TimeoutError as error:
        raise Unanswered(type(error).__name__) from error


async def whole(answer: Fetched, limit: int) -> bytes:
    """Return an answer's body. Raises Unanswered, also when it is longer than `limit` bytes."""
    body = bytearray()
    async for piece in answer.pieces():
        body += piece
        if len(body) > limit:
            raise Unanswered("too much")
    return bytes(body)
