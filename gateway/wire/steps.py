"""What the plane is told to do next: it knows heads, framings and these steps, nothing about S3.

A `Turn` is one request being answered. The plane calls `begin` when the head is there and carries out the step it gets;
each step leads to the next through its own function, until the client has its answer. What goes wrong with a body on the
way is an error that the turn is told by `refuse`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.wire.answer_heads import ResponseHead
from gateway.wire.heads import Fields, RequestHead


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to connect: `tls` None for plaintext."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Say:
    """Answer with this: `head` is the status line and fields, each with its CRLF, without framing fields."""

    head: bytes
    body: bytes = b""
    close: bool = False


Piece = bytes | bytearray | memoryview


class Relay(Protocol):
    """Re-frames a body on its way to the backend, verifying it."""

    @property
    def keeps_length(self) -> bool:
        """Return whether as many bytes go out as come in, the last of them when all is verified."""

    def feed(self, data: bytes) -> bytes:
        """Return what may be sent on."""

    def sift(self, data: memoryview) -> Sequence[Piece]:
        """Return the same in pieces, of a relay that keeps the length: good as long as `data` is."""

    def fits(self, room: int) -> int:
        """Return how many bytes to ask for next, of `room`: as many as are cheapest to verify."""

    def finish(self) -> None:
        """Say that the body has ended; raises when it should not have."""


@dataclass(slots=True)
class Send:
    """Send a request to an origin; `answered` says what becomes of its answer.

    `head` is complete, with the empty line. `body` is sent with it; with `streams` the client's body follows, through
    `relay` where there is one and in chunks where its length is not known; with `source` what that yields follows.
    """

    origin: Origin
    method: str
    head: bytes
    answered: Callable[[ResponseHead], Step]
    failed: Callable[[str], Step]
    body: bytes = b""
    streams: bool = False
    chunked: bool = False
    relay: Relay | None = None
    source: AsyncIterator[bytes] | None = None


class Pass:
    """Stream the answer to the client under this head, as `Say.head`."""

    __slots__ = ("head",)

    def __init__(self, head: bytes) -> None:  # a dataclass's is interpreted, and this is made for every answer
        self.head = head


@dataclass(slots=True)
class Collect:
    """Read the answer whole, `limit` bytes at most, and go on.

    With `slow`, a client that would wait long is answered with this head and `prolog` at once, then kept alive by spaces;
    the next step's body, a Say's, then follows without its head.
    """

    limit: int
    then: Callable[[bytes], Step]
    slow: bytes = b""
    prolog: bytes = b""

    def whole(self, body: bytes) -> Step:
        """Go on with an answer that was read whole. Raises AnswerTooLarge."""
        if len(body) > self.limit:
            raise AnswerTooLarge(f"more than {self.limit} bytes")
        return self.then(body)


@dataclass(slots=True)
class Drop:
    """Throw the answer away and go on."""

    then: Callable[[], Step]


@dataclass(slots=True)
class Read:
    """Read the client's body whole, `limit` bytes at most, and go on; `too_large` says what else."""

    limit: int
    then: Callable[[bytes], Step]


@dataclass(slots=True)
class Pull:
    """Go on with a function that pulls the body piece by piece; b"" is its end. What it leaves may be a Send's `source`."""

    work: Callable[[Callable[[], Awaitable[bytes]]], Awaitable[Step]]


@dataclass(slots=True)
class Later:
    """Wait for something, and go on with the step it gives; with `slow` as `Collect`."""

    work: Callable[[], Awaitable[Step]]
    slow: bytes = b""
    prolog: bytes = b""


@dataclass(slots=True)
class Ask:
    """Ask an origin something small that changes nothing there, and go on with status and body of its answer.

    `data` is a whole POST, head and body; of an answer with status 200 the body is read, `limit` bytes at most, of others nothing
    (b""). Where there is none after `seconds`, or ever, `failed` is given a TimeoutError or an Unanswered.
    """

    origin: Origin
    data: bytes
    limit: int
    seconds: float
    then: Callable[[int, bytes], Step]
    failed: Callable[[Exception], Step]


@dataclass(slots=True)
class HandOver:
    """Not ours: the connection goes to the control surface, with its bytes, for good."""


Step = Say | Send | Pass | Collect | Drop | Read | Pull | Later | Ask | HandOver


class Traffic:
    """What moved, for the log: bytes of bodies; `cut` why an answer ended early."""

    received: int = 0
    sent: int = 0
    cut: str = ""


class Turn(Protocol):
    """One request being answered."""

    head: RequestHead

    @property
    def traffic(self) -> Traffic:
        """Where the plane counts what moved."""

    def begin(self) -> Step:
        """Return the first step."""

    def refuse(self, error: BaseException) -> Step:
        """Return what to say when a step raised this."""

    def finish(self) -> None:
        """Be told that the turn is over: log and count."""


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


class Desk(Protocol):
    """Makes turns: the application's side of the plane."""

    def meet(self, peer: str, *, secure: bool) -> Any:
        """Return what the desk remembers of a connection, which is kept with it."""

    def again(self, guest: Any, raw: bytes) -> Turn | None:
        """Return the turn of a head that the desk knows without reading it, None for one that it must be told."""

    def turn(self, guest: Any, head: RequestHead) -> Turn:
        """Return the turn of a request."""

    def malformed(self, reason: str, peer: str, *, too_large: bool) -> Say:
        """Return the answer to a head that is none, and log it."""

    def late(self, peer: str) -> Say:
        """Return the answer to a head that does not come, and log it."""

    def crowded(self, peer: str) -> Say:
        """Return the answer to a connection for which there is no room, and log it."""


__all__ = [
    "AnswerTooLarge", "Ask", "BodyTooLarge", "Collect", "CutShort", "Desk", "Drop", "Fields", "HandOver", "Late", "Later", "Origin",
    "Pass", "Piece", "Pull", "Read", "Relay", "Say", "Send", "Step", "Traffic", "Turn", "field",
]  # fmt: skip
