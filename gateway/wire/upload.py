"""A request's body on its way to the backend: the client's, or what a source yields.

The head goes with the first piece: there are stores that make an empty object of a head alone. A body that a relay verifies
is sent with one piece held back, so that its announced length cannot be reached before its end is known to be good. What is
left of a large body goes by the pump, where both connections are plaintext, through the relay where that keeps its length; from
a client under TLS by the tap, where nobody has to see it.

What a step pulls of a body (Pieces) before it knows what to send is no upload yet; what it leaves is a source.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from gateway.wire.outlet import is_plain
from gateway.wire.pump import PUMPED, Pump, SourceEnded, TargetBroken, can_pump
from gateway.wire.sieve import Refused, Sieve
from gateway.wire.steps import CutShort, Late, Relay, Send
from gateway.wire.tap import Tap

if TYPE_CHECKING:
    from gateway.wire.client import Client
    from gateway.wire.exchange import Exchange
    from gateway.wire.upstream import Upstream


class Upload:
    """One body being sent. `running` until it is sent whole, or nothing more of it is to be sent."""

    __slots__ = ("_exchange", "_held", "_pump", "_pumps", "_room", "_step", "_task", "_unsent", "_upstream", "running")

    def __init__(self, exchange: Exchange, step: Send, upstream: Upstream) -> None:
        self.running = True
        self._exchange = exchange
        self._step = step
        self._upstream: Upstream | None = upstream
        self._unsent = step.head  # until the first piece of the body goes with it
        self._held = b""
        self._pumps = not step.chunked and (step.relay is None or step.relay.keeps_length)
        self._pump: Pump | None = None
        self._room: asyncio.Event | None = None  # for a source, which can wait
        self._task: asyncio.Task[None] | None = None
        upstream.reserve(exchange)

    @property
    def unsent(self) -> bool:
        """Return whether nothing of the request has been sent."""
        return bool(self._unsent)

    def begin(self) -> None:
        """Send what there is of the body, and what comes."""
        step, exchange = self._step, self._exchange
        if step.source is not None:
            self._room = asyncio.Event()
            self._room.set()
            self._task = exchange.client.plane.spawn(self._send_source(step.source, self._room))
        elif step.relay is not None:
            relay = step.relay
            exchange.want(lambda data: self._verify(relay, data), lambda: self._verified(relay))
        else:
            exchange.want(self._take, self._sent)

    def replaced(self, upstream: Upstream) -> None:
        """Go on over another connection: nothing was sent over the one before."""
        self._upstream = upstream
        upstream.reserve(self._exchange)

    def room(self, *, there_is: bool) -> None:
        """The backend has no room for more of the body, or has it again."""
        if self._room is not None:
            (self._room.set if there_is else self._room.clear)()
        elif self.running and self._pump is None:
            client = self._exchange.client
            client.resume() if there_is else client.pause()

    def stop(self) -> None:
        """Send nothing more."""
        self.running, self._upstream, self._unsent = False, None, b""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
            self._exchange.client.keeps = False  # what the pump held of the body was counted by nobody
            self._exchange.client.resume()

    def tick(self, now: float) -> None:
        """End what the pump waits too long for: the client's bytes, or room at the backend."""
        pump, client, upstream = self._pump, self._exchange.client, self._upstream
        if pump is None or upstream is None:
            return
        silent, times = now - client.seen, client.plane.times
        if pump.waits_for_target:
            if silent > times.backend:
                upstream.fresh = True  # it may be at work: what it was asked is not asked again
                upstream.broke("silent")
        elif silent > times.body:
            self._exchange.fail(Late())

    # ---- piece by piece

    def _send(self, data: bytes) -> None:
        upstream, step = self._upstream, self._step
        if upstream is None or not data:
            return
        if step.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._unsent:
            head, self._unsent = self._unsent, b""
            upstream.send(self._exchange, step.method, head + data, whole=False)
        else:
            upstream.seen = upstream.now
            upstream.transport.write(data)

    def pour(self, data: memoryview) -> None:
        """Send bytes of the tap's buffer, which come after the first piece: nothing of them is kept there."""
        if self._upstream is not None:
            self._upstream.seen = self._upstream.now
            self._upstream.transport.pour(b"", data)

    def _take(self, data: bytes) -> None:
        """Send a piece of the client's body; let the rest go by the pump when there is much."""
        self._send(data)
        if self._pumps and self._exchange.body.left >= PUMPED and self._upstream is not None:
            self._start_pump(self._upstream)

    def _sift(self, relay: Relay) -> None:
        """Let the rest go by the pump, through the relay, when there is much."""
        if self._pumps and self._exchange.body.left >= PUMPED and self._upstream is not None:
            self._send(self._held)  # it is not the last: that is still to come
            self._held = b""
            self._start_pump(self._upstream, Sieve(relay))

    def _sent(self) -> None:
        """The body is whole, and so is the request."""
        self.running = False
        upstream, step = self._upstream, self._step
        if upstream is None:
            return
        end = b"0\r\n\r\n" if step.chunked else b""
        if self._unsent:  # an empty body
            head, self._unsent = self._unsent, b""
            upstream.send(self._exchange, step.method, head + end, whole=True)
        elif end:
            upstream.transport.write(end)
        upstream.whole = True

    def _verify(self, relay: Relay, data: bytes) -> None:
        """Send what the relay lets out, one piece late."""
        if self._upstream is not None:
            self._upstream.seen = self._upstream.now
        out = relay.feed(data)
        if out:
            self._send(self._held)
            self._held = out
            self._sift(relay)

    def _verified(self, relay: Relay) -> None:
        """Send the last piece, if the relay says that the body was good."""
        relay.finish()
        self._send(self._held)
        self._held = b""
        self._sent()

    async def _send_source(self, source: AsyncIterator[bytes], room: asyncio.Event) -> None:
        """Send what a source yields, as there is room for it."""
        try:
            async for piece in source:
                if not self.running:
                    return
                self._send(piece)
                await room.wait()
        except Exception as error:  # noqa: BLE001 - the source's refusal: the turn knows
            self._task = None
            if self.running:
                self._exchange.fail(error)
            return
        self._task = None
        self._sent()

    # ---- from socket to socket

    def _start_pump(self, upstream: Upstream, through: Sieve | None = None) -> None:
        self._pumps = False  # once: what could not be pumped is sent piece by piece
        source, target = self._exchange.client.transport, upstream.transport
        if source.is_closing() or target.is_closing():
            return
        if not can_pump(source, target):
            if through is None and is_plain(target):
                source.set_protocol(Tap(self._exchange.client, self._exchange.body))
            return
        source.pause_reading()
        self._pump = Pump(source, target, self._exchange.body.left, self._pumped, self._moved, through)
        self._pump.start()
        self._moved(0)  # from now on the clock looks at it

    def _moved(self, count: int) -> None:
        exchange = self._exchange
        exchange.turn.traffic.received += count
        exchange.client.seen = exchange.client.plane.pool.now
        if self._upstream is not None:
            self._upstream.seen = exchange.client.seen

    def _pumped(self, moved: int, error: BaseException | None) -> None:
        self._pump = None
        exchange, upstream = self._exchange, self._upstream
        if upstream is None:
            return
        if isinstance(error, Refused):
            exchange.client.resume()
            exchange.fail(error.reason)
        elif error is None or not isinstance(error, ConnectionError):  # all; or nothing, where there are no descriptors
            exchange.client.resume()
            exchange.body.moved(moved)
        elif isinstance(error, TargetBroken):
            upstream.broke(str(error))
        elif isinstance(error, SourceEnded) and error.__cause__ is None:
            exchange.client.resume()
            exchange.fail(CutShort("the client closed"))
        else:
            exchange.client.transport.abort()


def send_whole(exchange: Exchange, step: Send, upstream: Upstream, body: bytes, rest: bytes) -> None:
    """Send a request whose body came with its head; the `rest` after it is the client's next."""
    if rest:
        exchange.client.unread(rest)
    if exchange.client.transport.paused:  # it sent more than was wanted then; whether it vanishes is to be seen
        exchange.client.resume()
    try:
        if step.relay is not None:
            body = step.relay.feed(body)
            step.relay.finish()
    except Exception as error:  # noqa: BLE001 - the relay's refusal: the turn knows
        exchange.release()
        exchange.fail(error)
    else:
        if step.chunked:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        upstream.send(exchange, step.method, step.head + body, whole=True)


class Pieces:
    """The client's body for somebody who pulls it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._here: deque[bytes] = deque()
        self._came = asyncio.Event()

    def take(self, data: bytes) -> None:
        """Take bytes; more are not read before these are pulled."""
        self._here.append(data)
        self._came.set()
        self._client.pause()

    def end(self) -> None:
        """The body is whole."""
        self._here.append(b"")
        self._came.set()

    async def next(self) -> bytes:
        """Return what is there, b"" at the end."""
        while not self._here:
            self._came.clear()
            self._client.resume()
            await self._came.wait()
        return self._here.popleft()
