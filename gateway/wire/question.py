"""A small question of our own to an origin, in the middle of a turn (steps.Ask): no task and no future where a kept connection is free.

It may be asked again: a kept connection that turns out to be dead says nothing about who is asked, and an Ask changes nothing. A new one
that breaks says something. It is told once: an answer, or why there is none; or never, when the turn lets go of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.wire.answer_heads import ResponseHead
from gateway.wire.fetch import Unanswered
from gateway.wire.steps import Ask, Step

if TYPE_CHECKING:
    from gateway.wire.pool import Pool
    from gateway.wire.upstream import Upstream


class Question:
    """One Ask, being asked: the taker of its answer. `tell` is given what goes on, and with what."""

    __slots__ = ("_body", "_clock", "_pool", "_step", "_task", "_tell", "_upstream")

    def __init__(self, step: Ask, pool: Pool, tell: Callable[..., None]) -> None:
        self._step = step
        self._pool = pool
        self._tell: Callable[..., None] | None = tell
        self._body = b""
        self._clock: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._upstream: Upstream | None = None

    def begin(self) -> None:
        """Ask."""
        pool = self._pool
        self._clock = pool.later(self._step.seconds, self._late)
        upstream = pool.take(self._step.origin)
        if upstream is not None:
            self._send(upstream)
        else:
            self._task = self._pool.spawn(self._connected())

    def _send(self, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.send(self, "POST", self._step.data, whole=True)

    async def _connected(self) -> None:
        """Ask over a new connection, or a kept one that became free first."""
        try:
            made = await self._pool.connect(self._step.origin)
        except (OSError, TimeoutError, ValueError) as error:
            self._task = None
            self._fail(Unanswered(type(error).__name__))
            return
        self._task = None
        self._send(made)

    def cancel(self) -> None:
        """Forget it: whoever asked is gone, or has been told."""
        self._tell = None
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()

    def _told(self, then: Callable[..., Step], *what: Any) -> None:
        tell = self._tell
        self.cancel()
        if tell is not None:
            tell(then, *what)

    def _fail(self, error: Exception) -> None:
        self._told(self._step.failed, error)

    def _late(self) -> None:
        self._fail(TimeoutError())

    # ---- its answer, as upstream.Taker

    def answered(self, head: ResponseHead) -> None:
        """Take the head; what is no success is not read."""
        if head.status != 200:
            self._told(self._step.then, head.status, b"")

    def piece(self, data: bytes | memoryview) -> None:
        """Take bytes of the body, as many as were allowed."""
        self._body += data
        if len(self._body) > self._step.limit:
            self._fail(Unanswered("too much"))

    def whole(self, head: ResponseHead, body: bytes | memoryview) -> None:
        """Take an answer that came whole; its connection is the pool's already."""
        self._upstream = None
        if head.status != 200:
            self._told(self._step.then, head.status, b"")
        elif len(body) > self._step.limit:
            self._fail(Unanswered("too much"))
        else:
            self._told(self._step.then, 200, bytes(body))

    def flush(self) -> None:
        """Nothing waits here."""

    def ended(self) -> None:
        """The answer was whole."""
        self._upstream = None
        self._told(self._step.then, 200, self._body)

    def broken(self, reason: str, *, unused: bool) -> None:
        """The connection ended first."""
        self._upstream = None
        if unused:
            self._task = self._pool.spawn(self._connected())
        else:
            self._fail(Unanswered(reason))

    def room(self, *, there_is: bool) -> None:
        """A question waits in its connection until it is sent; it is small."""
