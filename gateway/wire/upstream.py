"""One connection to a backend: one request and its answer at a time, kept alive between them in the pool (pool.py).

A connection goes back to the pool only when its answer was whole, its request was sent whole, and nothing unasked for came
after it; one that speaks unasked, or before its request has left, is closed. It is never returned paused: the next answer would not arrive.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Protocol, cast

from gateway.wire.answer_heads import ResponseHead
from gateway.wire.chunks import BadChunk, ChunkedReader
from gateway.wire.heads import END, MAX_HEAD, BadHead
from gateway.wire.outlet import Outlet
from gateway.wire.resumption import ResumingContext
from gateway.wire.stream import has_broken

if TYPE_CHECKING:
    from gateway.wire.group import Address
    from gateway.wire.pool import Pool

FEW = 16_384  # bytes behind a head that are cheaper to copy than to leave where they are
HIGH, LOW = 1 << 19, 1 << 17  # bytes of a write buffer at which the other side is told to wait, and to go on


class Taker(Protocol):
    """Who takes an answer."""

    def answered(self, head: ResponseHead) -> None:
        """Take the head."""

    def piece(self, data: bytes | memoryview) -> None:
        """Take bytes of the body: a part of what was read, where a copy of it would cost more."""

    def flush(self) -> None:
        """Nothing more is here for now."""

    def whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        """Take an answer that came whole, to a request that was sent whole; the connection is the pool's again already."""

    def ended(self) -> None:
        """The answer was whole; the connection is the pool's again."""

    def broken(self, reason: str, *, unused: bool) -> None:
        """The connection ended first; `unused`: it was a kept one, and not a byte of an answer had come."""

    def room(self, *, there_is: bool) -> None:
        """The write buffer is full, or has room again."""


class Upstream:
    """One connection to a backend: an asyncio.Protocol by its methods, as the client's is."""

    __slots__ = ("_asked", "_buffer", "_chunks", "_head", "_kept", "_left", "_method", "_pool", "_remembers", "_taker", "address", "fresh",
                 "seen", "settled", "transport", "whole")  # fmt: skip

    def __init__(self, pool: Pool, address: Address) -> None:
        self.address = address
        self.transport: Outlet
        self.fresh = True
        self.settled = False  # it is counted as open, no more as being opened
        self.whole = True  # the request was sent whole
        self.seen = pool.now
        self._pool = pool
        self._remembers = isinstance(address.group.origin.tls, ResumingContext)
        self._taker: Taker | None = None
        self._asked: bytes | None = None  # the beginning of the request, from when it is given to be written
        self._buffer = b""
        self._head: ResponseHead | None = None
        self._chunks: ChunkedReader | None = None
        self._left: int | None = 0
        self._method = ""
        self._kept = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio)."""
        # uvloop's is a Transport by its methods only.
        self.transport = Outlet(cast("asyncio.Transport", transport), self._pool.outbox)
        self.transport.set_write_buffer_limits(HIGH, LOW)
        self.transport.heed_the_end()
        self._pool.opened(self)

    def reserve(self, taker: Taker) -> None:
        """Belong to a request whose first bytes are still to come."""
        self._taker, self._asked, self._head, self._buffer, self.whole = taker, None, None, b"", False
        self.seen = self._pool.now

    def release(self) -> None:
        """Go back to the pool: nothing was sent."""
        self._taker, self.whole = None, True
        self._pool.give(self)

    def send(self, taker: Taker, method: str, data: bytes, *, whole: bool) -> None:
        """Send a request's head and as much of its body as there is; `whole` when that is all."""
        self._taker, self._asked, self._method, self.whole = taker, data, method, whole
        self._head, self._chunks, self._buffer, self._left = None, None, b"", 0
        self.seen = self._pool.now
        if self.transport.is_closing():  # it ended while it was held for this request: nobody else will say so
            self._pool.soon(self.broke, "closed")
        else:
            self.transport.write(data)

    @property
    def now(self) -> float:
        """Return the pool's clock, in seconds."""
        return self._pool.now

    @property
    def owes(self) -> bool:
        """Return whether the backend is who must go on: not a client that does not read its answer, or sends no more."""
        begun = self.whole or self._head is not None  # what is answered early is sent no further
        return self.transport.is_reading() and (begun or self.transport.get_write_buffer_size() > 0)

    @property
    def died(self) -> bool:
        """Return whether it has ended: the loop may not have said so (stream.has_broken)."""
        return self.transport.is_closing() or has_broken(self.transport.get_extra_info("socket"))

    @property
    def expects(self) -> bool:
        """Return whether more of an answer is to come."""
        return self._taker is not None

    @property
    def left(self) -> int:
        """Return how many bytes of an answer of known length are still to come."""
        return self._left or 0

    def took(self, count: int, *, more: bool) -> None:
        """Be told that somebody else moved the rest of the answer; `more` came after it."""
        self._left = self.left - count
        self.seen = self._pool.now
        if not self._left:
            self._end(b"?" if more else b"")

    def data_received(self, data: bytes) -> None:
        """Take bytes (asyncio)."""
        if self._taker is None:
            self.transport.abort()  # an answer that nobody asked for
            return
        if self._asked is None or self.transport.holds(self._asked):
            self.broke("an answer to nothing")  # it would be taken for this one's, and this one's for the next one's
            return
        self.seen, self.fresh = self._pool.now, True  # whatever becomes of the answer, it has begun
        try:
            if self._head is not None:
                self._body(data)
                return
            body = self._heads(self._buffer + data if self._buffer else data)
            if body is not None and self._taker is not None:
                self._body(body)
        except (BadHead, BadChunk) as error:
            self.broke(str(error))

    def _heads(self, data: bytes) -> bytes | memoryview | None:
        """Read the answer's head, past interim ones; return what follows it, None when there is nothing more to do."""
        while True:
            end = data.find(END)
            if end < 0:
                if len(data) > MAX_HEAD:
                    raise BadHead("an answer's head is too long")
                self._buffer = data
                return None
            head = self.address.answers.read(data[: end + 4], self._method)
            if head.status >= 200:
                break
            if head.status == 101:
                raise BadHead("switching protocols")
            data = data[end + 4 :]
        self._buffer, body = b"", memoryview(data)[end + 4 :] if len(data) > FEW else data[end + 4 :]
        if head.length == len(body) and self.whole and head.keep_alive and not self._remembers:
            self._whole(head, body)
            return None
        self._head, self._left, self._kept = head, head.length, head.keep_alive
        if head.chunked:
            self._chunks = ChunkedReader()
        if head.length is None and not head.chunked:
            self._kept = False
        assert self._taker is not None  # noqa: S101 - data_received looked
        self._taker.answered(head)
        return body

    def _whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        taker, self._taker = self._taker, None
        self._pool.give(self)
        assert taker is not None  # noqa: S101 - data_received looked
        taker.whole(head, body)

    def _body(self, data: bytes | memoryview) -> None:
        taker = self._taker
        assert taker is not None  # noqa: S101 - data_received looked
        if self._chunks is not None:
            for piece in self._chunks.feed(bytes(data)):
                taker.piece(piece)
                if self._taker is not taker:  # it had enough
                    return
            if self._chunks.done and self._taker is taker:
                self._end(self._chunks.rest)
                return
        elif self._left is None:
            if data:
                taker.piece(data)
        else:
            rest = data[self._left :]
            data = data[: self._left] if rest else data
            self._left -= len(data)
            if data:
                taker.piece(data)
            if not self._left and self._taker is taker:
                self._end(rest)
                return
        if self._taker is taker:
            taker.flush()

    def _end(self, rest: bytes | memoryview) -> None:
        taker, self._taker = self._taker, None
        if self._remembers:
            self._remember()
        if self._kept and self.whole and not rest:
            self._pool.give(self)
        else:
            self.transport.abort()
        if taker is not None:
            taker.ended()

    def _remember(self) -> None:
        """Keep the TLS session, once."""
        self._remembers = False
        context = self.address.group.origin.tls
        connection = self.transport.get_extra_info("ssl_object")
        if isinstance(context, ResumingContext) and isinstance(connection, ssl.SSLObject):
            context.remember(connection)

    def broke(self, reason: str) -> None:
        """End the connection and say why."""
        taker, self._taker = self._taker, None
        unused = not self.fresh
        self.transport.abort()
        if unused:
            self._pool.doubt(self.address)
        if taker is not None:
            taker.broken(reason, unused=unused)

    def abandon(self) -> None:
        """End the connection: nobody takes its answer any more."""
        self._taker = None
        self.transport.abort()

    def eof_received(self) -> None:
        """The backend closes: that ends a body without a length, and breaks every other (asyncio)."""
        delimits = self._head is not None and self._left is None and self._chunks is None
        if self._taker is not None and delimits and self._is_its_end():
            self._end(b"")

    def _is_its_end(self) -> bool:
        """Return whether it was the backend who ended: under TLS it says so (RFC 9112 section 9.8), else it was anybody.

        uvloop tells of an end only if it was said, asyncio's loop of any; OpenSSL knows.
        """
        connection = self.transport.get_extra_info("ssl_object")
        try:
            return connection is None or not connection.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone (asyncio): that alone ends no body."""
        self._pool.gone(self, exc)
        if self._taker is not None:
            self.broke(type(exc).__name__ if exc else "closed")

    def pause_writing(self) -> None:
        """The write buffer is full (asyncio)."""
        if self._taker is not None:
            self._taker.room(there_is=False)

    def resume_writing(self) -> None:
        """The write buffer has room (asyncio)."""
        if self._taker is not None:
            self._taker.room(there_is=True)
