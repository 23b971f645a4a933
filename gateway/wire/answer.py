"""The answer's way to the client: a head, then a body framed by its length, by chunks, or by the connection's end.

The head goes with the first bytes of its body. What is left of a large body of known length goes by the pump, where both
connections are plaintext, and by the feed to a client under TLS. A short body must never look whole: what breaks off cuts the
client's connection.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from gateway.wire.answer_heads import ResponseHead
from gateway.wire.feed import Feed, can_feed
from gateway.wire.heads import RequestHead
from gateway.wire.outlet import socket_of
from gateway.wire.pump import PUMPED, Pump, SourceEnded, TargetBroken, can_pump, unread
from gateway.wire.steps import Collect, Later, Pass, Say, Traffic

if TYPE_CHECKING:
    from gateway.wire.client import Client
    from gateway.wire.upstream import Upstream

PATIENCE = 5.0  # seconds a client of a slow answer waits for a sign of life
JOINED = 16_384  # bytes of a piece up to which one copy with the head is cheaper than writing it where it is


def framing(client: Client, asked: RequestHead, answer: ResponseHead) -> tuple[bytes, int | None]:
    """Return the field that says where the body ends, and its size: None in chunks, or until the connection's end."""
    if answer.status in {204, 304}:
        return b"", 0
    if asked.method == "HEAD":
        told = next((value for name, value in answer.fields if name.lower() == "content-length"), "")
        return f"Content-Length: {told}\r\n".encode() if told else b"", 0  # none of ours (RFC 9110 section 8.6)
    if answer.length is not None:
        return b"Content-Length: %d\r\n" % answer.length, answer.length
    if asked.minor:
        return b"Transfer-Encoding: chunked\r\n", None
    client.keeps = False
    return b"", None


def say_whole(
    client: Client, asked: RequestHead, traffic: Traffic, step: Pass, answer: ResponseHead, body: bytes | memoryview
) -> None:
    """Answer with a head and the body that came with it."""
    field, _ = framing(client, asked, answer)
    head = b"%b%b%b\r\n" % (step.head, field, client.connection_field())
    traffic.sent += len(body)
    if len(body) > JOINED:
        client.transport.pour(head, body)
    else:
        client.transport.write(b"".join((head, body)))


class Answer:
    """What one client is told."""

    __slots__ = ("_client", "_head", "_out", "_prolog", "_pump", "_pumps", "_size", "_slow", "_slow_since", "_traffic", "_upstream",
                 "started")  # fmt: skip

    def __init__(self, client: Client, head: RequestHead, traffic: Traffic) -> None:
        self.started = False  # the client has been told, or is about to be told, its head
        self._client = client
        self._head = head
        self._traffic = traffic
        self._out = b""  # the head, until its first bytes go with it
        self._size: int | None = None  # None: chunked, or until the end
        self._slow = b""  # the head of an answer whose client is told that we are still there, and what begins its body
        self._prolog = b""
        self._slow_since = 0.0
        self._pumps = True
        self._pump: Pump | Feed | None = None
        self._upstream: Upstream | None = None  # whose answer is being pumped

    def say(self, step: Say) -> None:
        """Answer with this alone."""
        write = self._client.transport.write
        if self.started:  # a slow answer, whose head is out
            self._out = b""
            body = step.body.removeprefix(self._prolog)
            write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n")
        else:
            if step.close:
                self._client.keeps = False
            body = b"" if self._head.method == "HEAD" else step.body
            framing = b"Content-Length: %d\r\n" % len(body)
            write(step.head + framing + self._client.connection_field() + b"\r\n" + body)
            self.started = True
        self._traffic.sent += len(body)

    # ---- a backend's answer

    def begin(self, step: Pass, answer: ResponseHead) -> None:
        """Prepare the head that the client gets with the first bytes of the body."""
        self._slow = b""
        self._out = step.head + self._framing(answer) + self._client.connection_field() + b"\r\n"
        self.started = True

    def _framing(self, answer: ResponseHead) -> bytes:
        """Return the field that says where the body ends, having decided it."""
        field, self._size = framing(self._client, self._head, answer)
        return field

    def piece(self, data: bytes | memoryview) -> None:
        """Send bytes of the body."""
        if self._size is None and self._head.minor:
            data = b"".join((b"%x\r\n" % len(data), data, b"\r\n"))
        self._traffic.sent += len(data)
        out, self._out = self._out, b""
        if len(data) > JOINED:
            self._client.transport.pour(out, data)
        else:
            self._client.transport.write(b"".join((out, data)) if out else data)

    def flush(self, upstream: Upstream) -> None:
        """Nothing more is here for now: the head must not wait for it. What is still to come is pumped where it can be."""
        if self._out:
            self._client.transport.write(self._out)
            self._out = b""
        if upstream.left >= PUMPED and self._pumps:
            self._start_pump(upstream)

    def end(self) -> None:
        """The body is whole."""
        end = b"0\r\n\r\n" if self._size is None and self._head.minor else b""
        if self._out or end:
            self._client.transport.write(self._out + end)
            self._out = b""

    @property
    def ends_open(self) -> bool:
        """Return whether it has begun, and only the connection's end says where it ends."""
        return self.started and self._size is None and not self._head.minor

    def cut(self, reason: str) -> None:
        """A short body must not look whole: the client sees its connection end."""
        self._traffic.cut = reason
        transport = self._client.transport
        if self._size is None and not self._head.minor:  # only an error tells this client from a whole answer
            with contextlib.suppress(OSError):  # it has gone
                socket_of(transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    # ---- from socket to socket

    def _start_pump(self, upstream: Upstream) -> None:
        self._pumps = False  # once: what could not be pumped is passed on piece by piece
        source, target = upstream.transport, self._client.transport
        if source.is_closing() or target.is_closing():
            return
        if can_pump(source, target):
            self._pump = Pump(source, target, upstream.left, self._pumped, self._moved)
        elif can_feed(source, target):
            self._pump = Feed(source, target, upstream.left, self._pumped, self._moved, full=self._client.full)
        else:
            return
        source.pause_reading()
        self._upstream = upstream
        self._pump.start()
        self._moved(0)  # from now on the clock looks at it

    def _moved(self, count: int) -> None:
        self._traffic.sent += count
        self._client.seen = self._client.plane.pool.now
        if self._upstream is not None:
            self._upstream.seen = self._client.seen

    def _pumped(self, moved: int, error: BaseException | None) -> None:
        upstream, self._upstream, self._pump = self._upstream, None, None
        if upstream is None:
            return
        if error is None:
            upstream.took(moved, more=unread(upstream.transport) > 0)
        elif isinstance(error, SourceEnded):
            upstream.broke(str(error))
        elif isinstance(error, TargetBroken):
            self._client.transport.abort()
        elif not self._client.full:  # no descriptors: nothing was moved
            upstream.transport.resume_reading()

    @property
    def pumping(self) -> bool:
        """Return whether the pump has the backend's connection, which is paused then."""
        return self._pump is not None

    def room(self, *, there_is: bool) -> None:
        """The client has no room for more, or has it again: a feed must know."""
        if isinstance(self._pump, Feed):
            self._pump.room(there_is=there_is)

    def let_go(self) -> None:
        """Stop the pump, before either connection is closed."""
        pump, self._pump, self._upstream = self._pump, None, None
        if pump is not None:
            pump.cancel()

    # ---- the clock

    def wait(self, step: Collect | Later, now: float) -> None:
        """Know how to keep the client patient while a step takes its time."""
        self._slow, self._prolog, self._slow_since = step.slow, step.prolog, now

    def tick(self, now: float) -> None:
        """Give a sign of life to the client of a slow answer; end what the pump waits too long for."""
        if self._pump is not None:
            self._look_at(self._pump, now)
        elif self._slow and self._head.minor and self._size != 0 and now - self._slow_since >= PATIENCE:
            self._slow_since = now
            self._sign()

    def _look_at(self, pump: Pump | Feed, now: float) -> None:
        silent, times = now - self._client.seen, self._client.plane.times
        if pump.waits_for_target:
            if silent > times.body:
                self._client.stop("the client takes nothing")
        elif silent > times.backend and self._upstream is not None:
            self._upstream.broke("silent")

    def _sign(self) -> None:
        sign = b" "
        if not self.started:
            self.started = True
            sign = self._prolog + sign
            self._client.transport.write(
                self._slow + b"Transfer-Encoding: chunked\r\n" + self._client.connection_field() + b"\r\n"
            )
        self._client.transport.write(b"%x\r\n%b\r\n" % (len(sign), sign))
