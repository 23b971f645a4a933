"""One story told again: the step that sends it, and the facts that a policy asks about (decision 0009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.signing.chunked import SignedRelay, UnsignedRelay
from gateway.wire.heads import RequestHead
from gateway.wire.steps import Send
from iam.model import AccessRequest, Context

if TYPE_CHECKING:
    from gateway.turns.habit import Habit

Relay = UnsignedRelay | SignedRelay


class Again(Send):
    """A story told again: the step that sends it; `words` are those of its holes, `asked` is the head that was sent to us.

    It is also what a policy asks about the request: the facts are found when it does, and most ask nothing (iam.model.Context).
    With a `question` it is a step only when a policy service has said yes to that, and `Habit.send` has made it one.
    """

    __slots__ = ("_facts", "_now", "asked", "habit", "question", "source_ip", "words")

    def __init__(self, habit: Habit, words: tuple[bytes, ...], now: int, source_ip: str) -> None:
        self.habit = habit
        self.words = words
        self._now, self.source_ip = now, source_ip
        self._facts: Context | None = None
        self.question = b""  # what must be asked elsewhere first
        self.asked: RequestHead

    def send(self, data: bytes, relay: Relay | None) -> None:
        """Be the step that sends this; who made it says what becomes of its answer."""
        asked = self.asked
        self.origin, self.method, self.head, self.relay = self.habit.origin, asked.method, data, relay
        self.body, self.source, self.streams, self.chunked = b"", None, asked.has_body, asked.chunked

    @property
    def path(self) -> str:
        """Return the path of the request's target."""
        return self.habit.target_of(self.words)

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values of a condition key. Raises UnknownFact."""
        return self._context().values(key)

    def document(self) -> dict[str, list[str]]:
        """Return MinIO's `conditions` document."""
        return self._context().document()

    def access(self) -> AccessRequest:
        """Return what is asked about the request, in full."""
        return self.habit.access(self.words, self._now, self.source_ip)

    def _context(self) -> Context:
        if self._facts is None:
            self._facts = self.access().context
        return self._facts
