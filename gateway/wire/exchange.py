"""One turn on the wire: what its steps say is done, one after the other, until the client has its answer.

Everything happens in the callback that brought the bytes; only a step that says `Later`, or a new connection, makes a task.
Nothing is held but what the other side has no room for: who is ahead is paused. How a body goes to the backend is told in
upload.py, how the answer reaches the client in answer.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.wire.answer import Answer, say_whole
from gateway.wire.answer_heads import ResponseHead
from gateway.wire.body import NO_BODY, Body, collector
from gateway.wire.chunks import BadChunk
from gateway.wire.question import Question
from gateway.wire.steps import (
    Ask,
    BodyTooLarge,
    Collect,
    CutShort,
    Drop,
    HandOver,
    Later,
    Pass,
    Pull,
    Read,
    Say,
    Send,
    Step,
    Turn,
)  # fmt: skip
from gateway.wire.upload import Pieces, Upload, send_whole
from gateway.wire.upstream import Upstream

if TYPE_CHECKING:
    from gateway.wire.client import Client

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})  # RFC 9110 section 9.2.2


class Exchange:
    """One request being answered on one client connection."""

    __slots__ = (
        "_answer", "_collected", "_collects", "_send", "_task", "_upstream", "body", "client", "head", "turn", "upload",
    )  # fmt: skip

    def __init__(self, client: Client, turn: Turn) -> None:
        self.client = client
        self.turn = turn
        self.head = head = turn.head
        client.keeps = head.keep_alive
        self.body = Body(head) if head.has_body else NO_BODY
        self._answer: Answer | None = None
        self.upload: Upload | None = None
        self._send: Send | None = None
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | Question | None = None  # what is waited for
        self._collects: Collect | None = None
        self._collected: bytearray | None = None

    @property
    def answer(self) -> Answer:
        """Return what the client is told; most are told all at once and need none (`whole`)."""
        if self._answer is None:
            self._answer = Answer(self.client, self.head, self.turn.traffic)
        return self._answer

    # ---- steps

    def start(self) -> None:
        """Begin the turn."""
        self._next(self.turn.begin)

    def _next(self, then: Callable[..., Step], *args: Any) -> None:
        """Carry out the step that this gives."""
        self._do(self._step(then, *args))

    def _step(self, then: Callable[..., Step], *args: Any) -> Step:
        """Return the step that this gives; what it raises is refused."""
        try:
            return then(*args)
        except Exception as error:  # noqa: BLE001 - the turn knows which errors are answers, and logs the others
            return self.turn.refuse(error)

    def _do(self, step: Step) -> None:
        if isinstance(step, Send):
            self._connect(step)
        elif isinstance(step, Say):
            self.answer.say(step)
            self.client.finished()
        elif isinstance(step, Ask):
            self._task = question = Question(step, self.client.plane.pool, self._next)
            question.begin()
        elif isinstance(step, Later):
            self.answer.wait(step, self.client.plane.pool.now)
            self._wait(step.work)
        elif isinstance(step, Read):
            self._read(step)
        elif isinstance(step, Pull):
            self._pull(step)
        elif isinstance(step, Drop):
            self._next(step.then)
        elif isinstance(step, HandOver):
            self.client.hand_over()
        else:
            self._next(_misplaced, step)

    def _wait(self, work: Callable[[], Any]) -> None:
        async def waited() -> None:
            try:
                step = await work()
            except Exception as error:  # noqa: BLE001 - as in _step
                step = self.turn.refuse(error)
            self._task = None
            if not self.client.lost:
                self._do(step)

        self._task = self.client.plane.spawn(waited())

    # ---- the client's body

    def _read(self, step: Read) -> None:
        """Read the body whole."""
        if (self.head.length or 0) > step.limit:
            self._do(self.turn.refuse(BodyTooLarge(step.limit)))
            return
        collected, take = collector(step.limit)
        self.want(take, lambda: self._next(step.then, bytes(collected)))

    def _pull(self, step: Pull) -> None:
        """Let somebody pull the body."""
        pieces = Pieces(self.client)
        self._wait(lambda: step.work(pieces.next))  # first: what is here already may be refused, and end it
        self.want(pieces.take, pieces.end)

    def want(self, take: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Have the body brought from now on."""
        if self.body is NO_BODY:
            self.body = Body(self.head)
        if self.body.expects and not self.body.began:
            self.body.expects = False
            self.client.transport.write(CONTINUE)
        self.body.take, self.body.end = take, end
        self.client.resume()  # it was paused if more came than was wanted
        self.feed(b"")

    def feed(self, data: bytes) -> None:
        """Take bytes from the client; what follows the body goes back to the connection."""
        self.turn.traffic.received += len(data)
        try:
            rest = self.body.feed(data)
        except BadChunk as bad:
            self.fail(CutShort(str(bad)))
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
        self.body.discard()
        self.client.keeps = False  # what came behind the body is lost with it
        if self.answer.started:
            self.answer.cut(type(error).__name__)
        else:
            self._do(self.turn.refuse(error))

    def eof(self) -> None:
        """The client sends no more."""
        if not self.body.done and not self.body.is_here:
            self.fail(CutShort("the client closed"))
        elif self.client.secure and self.answer.ends_open:  # the loop would say our end too
            self._cut("client")

    # ---- to the backend

    def _connect(self, step: Send) -> None:
        self._send = step
        upstream = self.client.plane.pool.take(step.origin)
        if upstream is not None:
            self._begin_sending(step, upstream)
        else:
            self._task = self.client.plane.spawn(self._connected(step))

    async def _connected(self, step: Send) -> None:
        """Send over a new connection."""
        try:
            made = await self.client.plane.pool.connect(step.origin)
        except (OSError, TimeoutError, ValueError) as error:
            self._task = None
            self._unconnected(step, error)
            return
        self._task = None
        if self.client.lost:
            self.client.plane.pool.give(made)
        elif self.upload is not None and self.upload.running:
            self._upstream = made
            self.upload.replaced(made)
            self.client.resume()
        else:
            self._begin_sending(step, made)

    def _unconnected(self, step: Send, error: Exception) -> None:
        if self.upload is not None:
            self.upload.stop()
            self.body.discard()
        if not self.client.lost:
            self._next(step.failed, type(error).__name__)

    def _begin_sending(self, step: Send, upstream: Upstream) -> None:
        self._upstream = upstream
        if step.source is None and not (step.streams and self.head.has_body):
            upstream.send(self, step.method, step.head + step.body, whole=True)
        elif step.source is None and (here := self.body.whole()) is not None:
            send_whole(self, step, upstream, *here)
        elif not upstream.fresh and upstream.died:  # what is sent piece by piece is sent once
            upstream.abandon()
            self._connect(step)
        else:
            self.upload = Upload(self, step, upstream)
            self.upload.begin()

    def room(self, *, there_is: bool) -> None:
        """The backend has no room for more of the body, or has it again (Taker)."""
        if self.upload is not None:
            self.upload.room(there_is=there_is)

    def _let_go(self) -> None:
        """End what runs for this turn at the backend."""
        self.answer.let_go()
        self._stop_upload()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._upstream is not None:
            self._drop()

    def _stop_upload(self) -> None:
        """Send no more of a body; a connection over which nothing went is the pool's again."""
        upload = self.upload
        if upload is None or not upload.running:
            return
        if upload.unsent:
            self.release()
        upload.stop()

    def release(self) -> None:
        """Give the connection back: nothing was sent over it."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.release()

    def _drop(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()

    # ---- the backend's answer: we are the Taker of the connection

    def answered(self, head: ResponseHead) -> None:
        """Take an answer's head."""
        send = self._send
        assert send is not None  # noqa: S101 - nothing was asked otherwise
        if self.upload is not None and self.upload.running and not self._may_answer_now(send, self.upload, head):
            return
        step = self._step(send.answered, head)
        if isinstance(step, Pass):
            if self.answer.started:  # a slow answer, whose head is out
                self._cut("two heads")
            else:
                self.answer.begin(step, head)
                if self.client.full:  # said before there was an answer to stop, and not said again
                    self.read_more(please=False)
        elif isinstance(step, Collect):
            self._collects, self._collected = step, bytearray()
            self.answer.wait(step, self.client.plane.pool.now)
        else:
            self._drop()
            self._do(step)

    def whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        """Take an answer that came whole."""
        send, self._send, self._upstream, self.upload = self._send, None, None, None
        assert send is not None  # noqa: S101 - nothing was asked otherwise
        step = self._step(send.answered, head)
        if isinstance(step, Pass):
            if self._answer is not None and self._answer.started:  # a slow answer, whose head is out
                self._cut("two heads")
            else:
                say_whole(self.client, self.head, self.turn.traffic, step, head, body)
                self.client.finished()
        elif isinstance(step, Collect):
            self._next(step.whole, bytes(body))
        else:
            self._do(step)

    def _may_answer_now(self, send: Send, upload: Upload, head: ResponseHead) -> bool:
        """Stop an upload that is answered before its end; return whether the answer is one."""
        upload.stop()
        self.body.discard()
        if head.status < 300:  # no success of what was not sent whole
            self._drop()
            self._next(send.failed, "answered before the upload ended")
            return False
        self.client.resume()
        return True

    def piece(self, data: bytes | memoryview) -> None:
        """Take bytes of the answer's body."""
        if self._collected is None:
            self.answer.piece(data)
        else:
            self._collect(data)

    def _collect(self, data: bytes | memoryview) -> None:
        assert self._collects is not None  # noqa: S101 - set together
        assert self._collected is not None  # noqa: S101 - as above
        self._collected += data
        if len(self._collected) > self._collects.limit:
            self._drop()
            collected, self._collected = bytes(self._collected), None
            self._next(self._collects.whole, collected)  # which refuses it

    def flush(self) -> None:
        """Nothing more is here for now."""
        if self._collected is None and self.answer.started and self._upstream is not None:
            self.answer.flush(self._upstream)

    def ended(self) -> None:
        """The answer was whole."""
        self._upstream = self.upload = None
        if self._collected is None:
            self.answer.end()
            self.client.finished()
        elif self._collects is not None:
            body, self._collected = bytes(self._collected), None
            self._next(self._collects.then, body)

    def broken(self, reason: str, *, unused: bool) -> None:
        """The backend's connection ended first."""
        step, self._upstream = self._send, None
        assert step is not None  # noqa: S101 - nothing was asked otherwise
        if self.answer.started:
            self._cut(reason)
        elif self.upload is not None and self.upload.running and self.upload.unsent and step.source is None:
            self.client.pause()  # nothing has been sent: another connection will do
            self._task = self.client.plane.spawn(self._connected(step))
        elif unused and self._repeatable(step):
            self._connect(step)
        else:
            self._collected = None
            self._let_go()
            self.body.discard()
            self._next(step.failed, reason)

    def _repeatable(self, step: Send) -> bool:
        """Return whether a request that nobody has read may be sent again: safe to, and nothing of it used up."""
        return step.method in _REPEATABLE and step.source is None and not (step.streams and self.head.has_body)

    # ---- the connection and the clock

    def _cut(self, reason: str) -> None:
        self._let_go()
        self.answer.cut(reason)

    def tick(self, now: float) -> None:
        """Look at the clock."""
        if self.upload is not None:
            self.upload.tick(now)
        self.answer.tick(now)

    def gone(self) -> None:
        """The client is gone: the backend is freed."""
        self._let_go()
        self.turn.traffic.cut = self.turn.traffic.cut or "client"

    def read_more(self, *, please: bool) -> None:
        """The client has room for more of the answer, or not."""
        upstream = self._upstream
        self.answer.room(there_is=please)
        if upstream is None or not self.answer.started or self.answer.pumping or upstream.transport.is_closing():
            return
        upstream.transport.resume_reading() if please else upstream.transport.pause_reading()
        upstream.seen = upstream.now


def _misplaced(step: object) -> Step:
    raise TypeError(f"{type(step).__name__} without an answer")
