"""One client's connection: heads in their order, one exchange at a time, what it sends too early held within bounds.

Pipelined requests are answered in order (RFC 9112 section 9.3.2). A connection that is closed with bytes unread is half-closed
first and drained for a moment, so that the client can read why.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, cast

from gateway.wire.exchange import Exchange
from gateway.wire.heads import END, MAX_HEAD, BadHead, RequestReader
from gateway.wire.outlet import Outlet
from gateway.wire.steps import Late, Say, Turn

if TYPE_CHECKING:
    from gateway.wire.plane import Plane

PIPELINED = 131_072  # bytes held while a request is being answered
LINGER = 2.0  # seconds a closing connection is drained
ROUND = 16  # requests of one connection that are answered before others have their turn
HIGH, LOW = 1 << 19, 1 << 17  # bytes of the write buffer at which the backend is paused, and read on
# Under TLS any: there is another buffer beneath, and OpenSSL never gives back what this one has grown to.

_BARE = re.compile(rb"(?<!\r)\n\r?\n|\n\n")  # what would end a head for who takes a bare LF


class Client:
    """One connection: an asyncio.Protocol by its methods, since a class that inherits one has slower attributes."""

    __slots__ = (
        "_ended",
        "_guest",
        "_inbox",
        "_lingers_until",
        "_looked",
        "_reader",
        "_running",
        "_since",
        "_stuck",
        "_unsent",
        "exchange",
        "full",
        "keeps",
        "lost",
        "peer",
        "plane",
        "secure",
        "seen",
        "transport",
    )  # fmt: skip

    def __init__(self, plane: Plane, *, secure: bool) -> None:
        self.plane = plane
        self.secure = secure
        self.transport: Outlet
        self.exchange: Exchange | None = None
        self.keeps = True  # the connection, when the request being answered is
        self.lost = False
        self.peer = ""
        self._guest: Any = None
        self.seen = plane.pool.now
        self._inbox = b""
        self._looked = 0  # bytes of the inbox in which no head ends: the first ones
        self._reader = RequestReader()
        self._running = False
        self._since = 0.0  # since when the head in the inbox is waited for
        self._lingers_until = 0.0
        self._stuck = 0.0  # since when the client takes nothing of what waits for it, 0 while it does
        self._ended = False  # the client sends no more
        self.full = False  # the client does not read what is written
        self._unsent = 0  # bytes of the write buffer when the clock was last looked at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio)."""
        # uvloop's is a Transport by its methods only.
        self.transport = Outlet(cast("asyncio.Transport", transport), self.plane.pool.outbox)
        self.transport.set_write_buffer_limits(*((1, 0) if self.secure else (HIGH, LOW)))
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else ""
        self._guest = self.plane.desk.meet(self.peer, secure=self.secure)
        if not self.plane.admit(self):
            self._say_and_close(self.plane.desk.crowded(self.peer))

    def data_received(self, data: bytes) -> None:
        """Take bytes (asyncio)."""
        self.seen = self.plane.pool.now
        if self._lingers_until:
            return
        exchange = self.exchange
        if exchange is not None and not exchange.body.done:
            exchange.feed(data)
            return
        if not self._inbox:
            self._since = self.seen
        self._inbox = self._inbox + data if self._inbox else data
        if exchange is None:
            self._run()
        if len(self._inbox) > PIPELINED:
            self.pause()

    def _run(self) -> None:
        """Answer what is there, request by request, for as long as the answers come at once; after some it is others' turn."""
        if self._running:
            return
        self._running = True
        left = ROUND
        try:
            while self.exchange is None and self._inbox and self._goes_on:
                if not left and not (self.secure and self._ended):  # which is answered now or never
                    self.plane.pool.soon(self._run)
                    break
                left -= 1
                if not self._next_request():
                    break
        finally:
            self._running = False

    @property
    def _goes_on(self) -> bool:
        """Return whether another request may be begun: behind the last one there is none (RFC 9112 section 9.6)."""
        return self.keeps and not (self._lingers_until or self.lost or self.full or self.transport.is_closing())

    def _next_request(self) -> bool:
        inbox = self._inbox
        if inbox.startswith(b"\r\n"):  # RFC 9112 section 2.2: an empty line before a request is skipped
            self._put(inbox[2:])
            inbox = self._inbox
            if not inbox:
                if self._ended:
                    self.close(unread=False)
                return False
        begin = max(0, self._looked - 3)  # where the last look ended: a head may come byte by byte
        end = inbox.find(END, begin, MAX_HEAD)
        if end < 0:
            self._wait(inbox, begin)
            return False
        end += 4
        self._put(inbox[end:])
        raw = inbox if len(inbox) == end else inbox[:end]
        turn = self.plane.desk.again(self._guest, raw) or self._turn(raw)
        if turn is None:
            return False
        self.exchange = exchange = Exchange(self, turn)
        if exchange.body.done or not self._inbox:
            exchange.start()
        else:
            early = self._inbox
            self._put(b"")
            exchange.body.feed(early)  # kept: nobody has asked for it yet
            exchange.turn.traffic.received += len(early)
            exchange.start()
        if self._ended:
            self._tell_the_end()
        return True

    def _wait(self, inbox: bytes, begin: int) -> None:
        """Wait for the rest of a head, where one may come; `begin` is where what has not been looked at begins."""
        self._looked = len(inbox)
        if len(inbox) >= MAX_HEAD:
            self._malformed("head too long", too_large=True)
        elif self._ended:
            self._malformed("the head ends in the middle", too_large=False)
        elif _BARE.search(inbox, begin):
            self._malformed("bare LF", too_large=False)

    def _put(self, data: bytes) -> None:
        """Have this in the inbox."""
        self._inbox, self._looked = data, 0

    def _turn(self, raw: bytes) -> Turn | None:
        """Return the turn of a head that is read, None when it is none and has been answered."""
        try:
            head = self._reader.read(raw)
        except BadHead as error:
            self._malformed(error.reason, too_large=error.too_large)
            return None
        return self.plane.desk.turn(self._guest, head)

    def _malformed(self, reason: str, *, too_large: bool) -> None:
        self._say_and_close(self.plane.desk.malformed(reason, self.peer, too_large=too_large))

    def _say_and_close(self, say: Say) -> None:
        framing = f"Content-Length: {len(say.body)}\r\nConnection: close\r\n\r\n".encode()
        self.transport.write(say.head + framing + say.body)
        self.close(unread=True)

    def connection_field(self) -> bytes:
        """Return the Connection field of the answer, having decided whether the connection is kept.

        It is not when a body is still to come that nobody wants: what is in it must never be read as a request.
        """
        exchange = self.exchange
        if exchange is None:
            return b"Connection: close\r\n"
        if not exchange.body.done or self.plane.draining or self._has_ended:
            self.keeps = False
        if not self.keeps:
            return b"Connection: close\r\n"
        return b"" if exchange.head.minor else b"Connection: keep-alive\r\n"

    def finished(self) -> None:
        """The exchange is answered: go on with the next, or end."""
        has_ended = self._has_ended
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        exchange.turn.finish()
        self.seen = self._since = self.plane.pool.now  # from now on it is idle, or its next head is waited for
        if not self.keeps or self.lost or has_ended:
            self.close(unread=not exchange.body.done or bool(self._inbox))
            return
        self._read_on()
        if self._inbox and not self._running:
            self._run()

    def _read_on(self) -> None:
        """Read more once most of what has come too early is answered."""
        if self.transport.paused and len(self._inbox) <= PIPELINED:
            self.resume()

    def unread(self, data: bytes) -> None:
        """Take back what belongs to the next request: it was counted for this one."""
        if self._lingers_until or self.transport.is_closing():
            return  # behind the last request is none
        self._put(data + self._inbox)
        if self.exchange is not None:
            self.exchange.turn.traffic.received -= len(data)
        if self.exchange is None and not self._running:
            self._run()

    def pause(self) -> None:
        """Read no more for now."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on; while it was not read a client was not silent."""
        if not self.transport.is_closing():
            if not self.transport.is_reading():
                self.seen = self.plane.pool.now
            self.transport.resume_reading()

    def close(self, *, unread: bool) -> None:
        """Close; with bytes unread drain them first for a moment, or the client might never see the answer.

        What has come behind the last answer is no request any more (RFC 9112 section 9.6).
        """
        self._put(b"")
        if self.transport.is_closing():
            return
        ends_half = not self._ended and self.transport.can_write_eof()
        if self._ended or (not ends_half and not unread):  # nothing more comes, or TLS
            self.transport.close()
            return
        self._lingers_until = self.plane.pool.now + LINGER
        self.resume()
        if ends_half:
            self.transport.write_eof()

    def eof_received(self) -> bool:
        """The client sends no more; it may still be reading (asyncio)."""
        self._ended = True
        if self.secure:  # it ends both ways at once: what has come is answered now or never
            self.full = False
        if self._lingers_until or (self.exchange is None and not self._inbox):
            self.transport.close()  # by the outlet, where the last answer may wait: a loop that closes does not know of it
        elif self.exchange is None:
            self._run()
        else:
            self._tell_the_end()
        return not self.secure

    def _tell_the_end(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.eof()

    @property
    def _has_ended(self) -> bool:
        """Return whether the client has sent its last request."""
        if not self._ended or self._inbox.strip(b"\r\n"):
            return False
        return self.exchange is None or not self.exchange.body.behind

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """The client is gone (asyncio)."""
        self.lost = True
        self.plane.clients.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.gone()
            exchange.turn.finish()

    def pause_writing(self) -> None:
        """The client reads slower than the backend writes (asyncio)."""
        self._stuck = self.plane.pool.now
        self.full = True
        if self.exchange is not None:
            self.exchange.read_more(please=False)

    def resume_writing(self) -> None:
        """The client has caught up (asyncio)."""
        self._stuck = 0.0
        self.full = False
        if self.exchange is not None:
            self.exchange.read_more(please=True)
        elif not self._lingers_until:
            self._read_on()
            self.plane.pool.soon(self._run)  # asyncio's loop ends a connection twice that is closed in here

    def stop(self, why: str) -> None:
        """End the connection at once, and say why in the log."""
        if self.exchange is not None:
            self.exchange.answer.cut(why)
        else:
            self.transport.abort()

    def hand_over(self) -> None:
        """Give the connection, and the request that it has just brought, to the control surface."""
        exchange, self.exchange = self.exchange, None
        self.plane.clients.discard(self)
        self.lost = True  # to us
        if exchange is not None:
            self.plane.hand_over(self, exchange)

    def taken(self, exchange: Exchange) -> bytes:
        """Return, and forget, what has come after the head of a request that is handed over."""
        rest = exchange.body.early() + self._inbox
        self._put(b"")
        return rest

    def sweep(self, now: float) -> None:
        """Look at the clock: slow heads, idle bodies and idle connections end."""
        if self.exchange is None and self._still_writes(now):
            return
        if self._lingers_until:
            if now > self._lingers_until:
                self.transport.close() if self.secure else self.transport.abort()  # under TLS our end is still to be said
            return
        exchange, times = self.exchange, self.plane.times
        if self._stuck and self._takes():
            self._stuck = now
        if self._stuck and now - self._stuck > times.body:
            self.stop("the client takes nothing")
            return
        if exchange is None:
            if self._inbox and now - self._since > times.head:
                self._say_and_close(self.plane.desk.late(self.peer))
            elif not self._inbox and now - self.seen > times.idle:
                self.transport.close()
            return
        if exchange.body.wanted and self.transport.is_reading() and now - self.seen > times.body:
            exchange.fail(Late())
        exchange.tick(now)

    def _takes(self) -> bool:
        """Return whether the client has taken something of what waits for it since the clock was last looked at."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        return self._unsent < before

    def _still_writes(self, now: float) -> bool:
        """Return whether an answer is still on its way to a client that reads slowly; one that does not read at all ends."""
        takes = self._takes()
        if not self._unsent:
            return False
        if takes:
            self.seen = now
        elif now - self.seen > self.plane.times.idle:
            self.transport.abort()
        if self._lingers_until:
            self._lingers_until = now + LINGER
        return True
