"""One turn on the wire: the client's request goes out as its steps say, the backend's answer comes back.

Everything happens in the callback that brought the bytes; only a step that says `Later`, or a new connection, makes a task.
Nothing is held but what the other side has no room for: who is ahead is paused. A body that must be verified is sent with
one piece held back, so that its announced length cannot be reached before its end is known to be good.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from gateway.wire.body import Body
from gateway.wire.chunks import BadChunk
from gateway.wire.heads import RequestHead, ResponseHead
from gateway.wire.steps import Collect, Drop, HandOver, Later, Pass, Pull, Read, Say, Send, Step, Turn
from gateway.wire.upstream import Upstream

if TYPE_CHECKING:
    from gateway.wire.client import Client

PATIENCE = 5.0  # seconds a client of a slow answer waits for a sign of life
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})  # RFC 9110 section 9.2.2


class BodyTooLarge(Exception):
    """A body that is read whole is longer than its step allows; `limit` in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"more than {limit} bytes")


class AnswerTooLarge(Exception):
    """An answer that is read whole is longer than its step allows."""


class Late(Exception):
    """No byte of the client's body came for too long."""


class CutShort(Exception):
    """The client's body ended, or went on, otherwise than it was announced."""


class Exchange:
    """One request being answered on one client connection."""

    __slots__ = ("_answer", "_collected", "_held", "_out", "_prolog", "_room", "_send", "_size", "_slow", "_slow_since", "_started", "_task", "_unsent", "_upstream",
                 "body", "client", "head", "sending", "turn")  # fmt: skip

    def __init__(self, client: Client, turn: Turn, head: RequestHead) -> None:
        self.client = client
        self.turn = turn
        self.head = head
        self.body = Body(head)
        self.sending = False  # the client's body goes to the backend
        self._send: Send | None = None
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._answer: Pass | Collect | None = None
        self._collected: bytearray | None = None
        self._held = b""
        self._unsent = b""  # the request's head, until the first piece of its body goes with it
        self._out = b""  # the answer's head, until its first bytes go with it
        self._size: int | None = None  # of the answer to the client; None: chunked, or until the end
        self._slow = b""  # the head of an answer whose client is told that we are still there, and what begins its body
        self._prolog = b""
        self._slow_since = 0.0
        self._room = asyncio.Event()
        self._room.set()
        self._started = False  # the client has been told the head of its answer

    # ---- steps

    def start(self) -> None:
        """Begin the turn."""
        self._next(self.turn.begin)

    def _next(self, then: Callable[..., Step], *args: Any) -> None:
        """Carry out the step that this gives; what it raises is refused."""
        try:
            step = then(*args)
        except Exception as error:  # noqa: BLE001 - the turn knows which errors are answers, and logs the others
            step = self.turn.refuse(error)
        self._do(step)

    def _do(self, step: Step) -> None:
        if isinstance(step, Send):
            self._connect(step)
        elif isinstance(step, Say):
            self._say(step)
        elif isinstance(step, Later):
            self._slow, self._prolog, self._slow_since = step.slow, step.prolog, self.client.plane.pool.now
            self._wait(step.work)
        elif isinstance(step, Read):
            self._read(step)
        elif isinstance(step, Pull):
            self._continue()
            pieces = Pieces(self)
            self._want(pieces.take, pieces.end)
            self._wait(lambda: step.work(pieces.next))
        elif isinstance(step, HandOver):
            self.client.hand_over()
        else:
            self._next(_misplaced, step)

    def _wait(self, work: Callable[[], Any]) -> None:
        async def waited() -> None:
            try:
                step = await work()
            except Exception as error:  # noqa: BLE001 - as in _next
                step = self.turn.refuse(error)
            self._task = None
            if not self.client.lost:
                self._do(step)

        self._task = self.client.plane.spawn(waited())

    # ---- the client's body

    def _read(self, step: Read) -> None:
        """Read the body whole."""
        if (self.head.length or 0) > step.limit:
            self._next(_raise, BodyTooLarge(step.limit))
            return
        self._continue()
        collected = bytearray()

        def take(data: bytes) -> None:
            collected.extend(data)
            if len(collected) > step.limit:
                raise BodyTooLarge(step.limit)

        self._want(take, lambda: self._next(step.then, bytes(collected)))

    def _continue(self) -> None:
        if self.head.expects and not self.body.began:
            self.head.expects = False
            self.client.transport.write(CONTINUE)

    def _want(self, take: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Have the body brought from now on."""
        self.body.take, self.body.end = take, end
        self.client.resume()  # it was paused if more came than was wanted
        self.feed(b"")

    def feed(self, data: bytes) -> None:
        """Take bytes from the client; what follows the body goes back to the connection."""
        traffic = self.turn.traffic
        traffic.received += len(data)
        try:
            rest = self.body.feed(data)
        except BadChunk as error:
            self.fail(CutShort(str(error)))
        except Exception as error:  # noqa: BLE001 - a relay's refusal, or BodyTooLarge: the turn knows
            self.fail(error)
        else:
            if rest:
                self.client.unread(rest)
            if self.body.waits:
                self.client.pause()

    def fail(self, error: Exception) -> None:
        """The client's body is not what it should be: nothing of it may become whole at the backend."""
        self._let_go()
        self.sending = False
        self.body.discard()
        self.head.keep_alive = False  # what came behind the body is lost with it
        if self._started:
            self._cut(type(error).__name__)
        else:
            self._next(_raise, error)

    def late(self) -> None:
        """The client's body does not come."""
        self.fail(Late("no byte came for too long"))

    def eof(self) -> None:
        """The client sends no more."""
        if not self.body.done:
            self.fail(CutShort("the client closed"))

    # ---- to the backend

    def _connect(self, step: Send) -> None:
        self._send = step
        upstream = self.client.plane.pool.take(step.origin)
        if upstream is not None:
            self._begin_sending(upstream)
            return

        async def connect() -> None:
            try:
                made = await self.client.plane.pool.connect(step.origin)
            except (OSError, TimeoutError, ValueError) as error:
                self._task = None
                if not self.client.lost:
                    self._next(step.failed, type(error).__name__)
                return
            self._task = None
            if self.client.lost:
                self.client.plane.pool.give(made)
            else:
                self._begin_sending(made)

        self._task = self.client.plane.spawn(connect())

    def _begin_sending(self, upstream: Upstream) -> None:
        step = self._send
        assert step is not None  # noqa: S101 - set by _connect
        self._upstream, self._answer, self._held = upstream, None, b""
        self._room.set()
        streams = step.streams and self.head.has_body
        # A head goes with the first piece of its body: there are stores that make an empty object of a head alone.
        self._unsent = step.head if streams or step.source is not None else b""
        if self._unsent:
            upstream.reserve(self)
        if step.source is not None:
            self._task = self.client.plane.spawn(self._send_source(step.source))
            return
        if not streams:
            upstream.send(self, step.method, step.head + step.body, whole=True)
            return
        self._continue()
        self.sending = True
        self._want(self._send_piece if step.relay is None else self._relay_piece, self._sent)
        if self.sending:
            self.client.resume()

    async def _send_source(self, source: AsyncIterator[bytes]) -> None:
        """Send what a source yields, as there is room for it."""
        upstream = self._upstream
        try:
            async for piece in source:
                if self._upstream is not upstream or upstream is None:
                    return
                self._send_piece(piece)
                while not self._room.is_set():
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001 - the source's refusal: the turn knows
            self._task = None
            if not self.client.lost:
                self.fail(error)
            return
        self._task = None
        self._sent_whole(upstream)

    def _send_piece(self, data: bytes) -> None:
        if self._upstream is not None and data:
            self._upstream.seen = self.client.plane.pool.now
            step = self._send
            if step is not None and step.chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            if self._unsent and step is not None:
                head, self._unsent = self._unsent, b""
                self._upstream.send(self, step.method, head + data, whole=False)
            else:
                self._upstream.transport.write(data)

    def _relay_piece(self, data: bytes) -> None:
        """Send what the relay lets out, one piece late."""
        if self._upstream is not None:
            self._upstream.seen = self.client.plane.pool.now
        assert self._send is not None  # noqa: S101 - set by _connect
        assert self._send.relay is not None  # noqa: S101 - chosen for it
        out = self._send.relay.feed(data)
        if out:
            if self._held:
                self._send_piece(self._held)
            self._held = out

    def _sent(self) -> None:
        """The client's body is whole; so, when its relay says so, is the request."""
        step, upstream = self._send, self._upstream
        if step is not None and step.relay is not None:
            step.relay.finish()
            self._send_piece(self._held)
            self._held = b""
        self.sending = False
        self._sent_whole(upstream)

    def _sent_whole(self, upstream: Upstream | None) -> None:
        step = self._send
        if upstream is None or step is None:
            return
        end = b"0\r\n\r\n" if step.chunked else b""
        if self._unsent:  # an empty body
            head, self._unsent = self._unsent, b""
            upstream.send(self, step.method, head + end, whole=True)
        elif end:
            upstream.transport.write(end)
        upstream.whole = True

    def room(self, *, there_is: bool) -> None:
        """The backend has no room for more of the body, or has it again."""
        if self.sending:
            self.client.resume() if there_is else self.client.pause()
        (self._room.set if there_is else self._room.clear)()

    def _let_go(self) -> None:
        """End what runs for this turn at the backend."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None and self._unsent:
            self._unsent = b""
            upstream.release()
        elif upstream is not None:
            upstream.abandon()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    # ---- the backend's answer

    def answered(self, head: ResponseHead) -> None:
        """Take an answer's head."""
        assert self._send is not None  # noqa: S101 - nothing was asked otherwise
        if self.sending or self._task is not None:  # it answers before the upload ends: the rest of it is for nobody
            self.sending, self._unsent = False, b""
            if head.status < 300:  # no success of what was not sent whole
                self.body.discard()
                self._let_go()
                self._next(self._send.failed, "answered before the upload ended")
                return
            if self._task is not None:
                self._task.cancel()
                self._task = None
            self.body.discard()
            self.client.resume()
        try:
            step = self._send.answered(head)
        except Exception as error:  # noqa: BLE001 - as in _next
            step = self.turn.refuse(error)
        if isinstance(step, Pass):
            self._answer = step
            self._pass(step, head)
        elif isinstance(step, Collect):
            self._answer, self._collected = step, bytearray()
            self._slow, self._prolog, self._slow_since = step.slow, step.prolog, self.client.plane.pool.now
        else:
            self._drop()
            if isinstance(step, Drop):
                self._next(step.then)
            else:
                self._do(step)

    def _drop(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()

    def _pass(self, step: Pass, head: ResponseHead) -> None:
        """Prepare the head that the client gets with the first bytes of the body."""
        if self._started:  # a slow answer, whose head is out
            self._cut("two heads")
            return
        self._slow = b""
        if self.head.method == "HEAD" or head.status in {204, 304}:
            length = next((value for name, value in head.fields if name.lower() == "content-length"), None)
            headed = self.head.method == "HEAD" and head.status not in {204, 304}
            framing = f"Content-Length: {length or 0}\r\n" if headed else ""
            self._size = 0
        elif head.length is not None:
            framing, self._size = f"Content-Length: {head.length}\r\n", head.length
        elif self.head.minor:
            framing, self._size = "Transfer-Encoding: chunked\r\n", None
        else:
            framing, self._size, self.head.keep_alive = "", None, False
        self._out = step.head + framing.encode() + self.client.connection_field(self) + b"\r\n"
        self._started = True

    def piece(self, data: bytes) -> None:
        """Take bytes of the answer's body."""
        if self._collected is not None:
            self._collect(data)
            return
        if self._size is None and self.head.minor:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.turn.traffic.sent += len(data)
        if self._out:
            data, self._out = self._out + data, b""
        self.client.transport.write(data)

    def _collect(self, data: bytes) -> None:
        assert isinstance(self._answer, Collect)  # noqa: S101 - set together
        assert self._collected is not None  # noqa: S101 - as above
        self._collected += data
        if len(self._collected) > self._answer.limit:
            self._drop()
            self._collected = None
            self._next(_raise, AnswerTooLarge(f"more than {self._answer.limit} bytes"))

    def flush(self) -> None:
        """Nothing more is here for now: the head must not wait for it."""
        if self._out and self._started and self._collected is None:
            self.client.transport.write(self._out)
            self._out = b""

    def ended(self) -> None:
        """The answer was whole."""
        self._upstream = None
        if self._collected is not None:
            assert isinstance(self._answer, Collect)  # noqa: S101 - set together
            body, self._collected = bytes(self._collected), None
            self._next(self._answer.then, body)
            return
        end = b"0\r\n\r\n" if self._size is None and self.head.minor else b""
        if self._out or end:
            self.client.transport.write(self._out + end)
            self._out = b""
        self.client.finished()

    def broken(self, reason: str, *, unused: bool) -> None:
        """The backend's connection ended first."""
        step, self._upstream = self._send, None
        assert step is not None  # noqa: S101 - nothing was asked otherwise
        if self._started:
            self._cut(reason)
        elif self._unsent and self.sending:
            self._replace(step)
        elif unused and self._repeatable(step):
            self._connect(step)
        else:
            self.sending, self._unsent, self._collected = False, b"", None
            self._let_go()
            self.body.discard()
            self._next(step.failed, reason)

    def _repeatable(self, step: Send) -> bool:
        """Return whether a request that nobody has read may be sent again: safe to, and nothing of it used up."""
        return step.method in _REPEATABLE and step.source is None and not (step.streams and self.head.has_body)

    def _replace(self, step: Send) -> None:
        """Find another connection for a request of which nothing has been sent."""
        self.client.pause()

        async def connect() -> None:
            try:
                made = await self.client.plane.pool.connect(step.origin)
            except (OSError, TimeoutError, ValueError) as error:
                self._task = None
                self.sending, self._unsent = False, b""
                self.body.discard()
                if not self.client.lost:
                    self._next(step.failed, type(error).__name__)
                return
            self._task = None
            made.reserve(self)
            self._upstream = made
            if self.client.lost:
                self._let_go()
            else:
                self.client.resume()

        self._task = self.client.plane.spawn(connect())

    def _cut(self, reason: str) -> None:
        """A short body must not look whole: the client sees its connection end."""
        self.turn.traffic.cut = reason
        self._let_go()
        if self._size is None and not self.head.minor:  # only an error tells this client from a whole answer
            raw = self.client.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.transport.abort()

    # ---- to the client

    def _say(self, step: Say) -> None:
        if self._started:  # a slow answer, whose head is out
            self._out = b""
            body = step.body.removeprefix(self._prolog)
            self.client.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n")
        else:
            if step.close:
                self.head.keep_alive = False
            body = b"" if self.head.method == "HEAD" else step.body
            framing = f"Content-Length: {len(body)}\r\n".encode()
            head = step.head + framing + self.client.connection_field(self) + b"\r\n"
            self.client.transport.write(head + body)
        self.turn.traffic.sent += len(body)
        self._started = True
        self.client.finished()

    def tick(self, now: float) -> None:
        """Give a sign of life to the client of a slow answer."""
        if not self._slow or not self.head.minor or self._size == 0:
            return
        if now - self._slow_since < PATIENCE:
            return
        self._slow_since = now
        sign = b" "
        if not self._started:
            self._started = True
            sign = self._prolog + sign
            head = self._slow + b"Transfer-Encoding: chunked\r\n" + self.client.connection_field(self) + b"\r\n"
            self.client.transport.write(head)
        self.client.transport.write(b"%x\r\n%b\r\n" % (len(sign), sign))

    def gone(self) -> None:
        """The client is gone: the backend is freed."""
        self._let_go()
        self.turn.traffic.cut = self.turn.traffic.cut or "client"

    def read_more(self, *, please: bool) -> None:
        """The client has room for more of the answer, or not."""
        if self._upstream is not None and self._started and not self._upstream.transport.is_closing():
            transport = self._upstream.transport
            transport.resume_reading() if please else transport.pause_reading()
            self._upstream.seen = self.client.plane.pool.now


class Pieces:
    """The client's body for somebody who pulls it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._here: deque[bytes] = deque()
        self._came = asyncio.Event()
        self._error: Exception | None = None

    def take(self, data: bytes) -> None:
        """Take bytes; more are not read before these are pulled."""
        self._here.append(data)
        self._came.set()
        self._exchange.client.pause()

    def end(self) -> None:
        """The body is whole."""
        self._here.append(b"")
        self._came.set()

    async def next(self) -> bytes:
        """Return what is there, b"" at the end."""
        while not self._here:
            self._came.clear()
            self._exchange.client.resume()
            await self._came.wait()
        return self._here.popleft()


def _raise(error: Exception) -> Step:
    raise error


def _misplaced(step: object) -> Step:
    raise TypeError(f"{type(step).__name__} without an answer")
