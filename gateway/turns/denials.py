"""The latest refusals of this process, for the operator's question why: what was asked and by whom; no secret, no signature.

A refusal is kept as long as fewer than `at_most` are, and they have fewer than `size` characters together: whoever is refused
chooses how long his request is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from gateway.errors import AccessDenied
from gateway.observe import AccessLine
from gateway.s3.context import RequestContext
from iam.model import AccessRequest

AT_MOST = 4096
SIZE = 8 * 2**20  # characters
_OF_A_LINE = 512  # characters that a refusal takes besides what its client chose


class Denial(NamedTuple):
    """One refusal: its line in the log, when it was (epoch seconds), and the question that was answered no, if one was asked."""

    line: AccessLine
    at: int
    asked: AccessRequest | None
    size: int


class Denials:
    """Refusals by request id, the oldest given up first."""

    def __init__(self, at_most: int = AT_MOST, size: int = SIZE) -> None:
        self._kept: OrderedDict[str, Denial] = OrderedDict()
        self._at_most, self._limit = at_most, size
        self._size = 0

    def note(self, line: AccessLine, error: Exception, now: float) -> None:
        """Keep a refusal; its line says who was refused what, where the story had not come to say it."""
        asked = error.asked if isinstance(error, AccessDenied) else None
        if asked is not None:
            asked = _without_credentials(asked)
            _name(line, asked)
        denial = Denial(line, int(now), asked, _size(line, asked))
        self._kept[line.request_id] = denial
        self._size += denial.size
        while len(self._kept) > self._at_most or self._size > self._limit:
            _, gone = self._kept.popitem(last=False)
            self._size -= gone.size

    def find(self, request_id: str) -> Denial | None:
        """Return a refusal, None for what was not refused here or was given up."""
        return self._kept.get(request_id)

    def __len__(self) -> int:
        return len(self._kept)


def _name(line: AccessLine, asked: AccessRequest) -> None:
    if line.access_key_id == "-" and isinstance(asked.context, RequestContext):
        who = asked.principal
        line.named(asked.context.operation or asked.action, who.access_key_id or "-", who.parent or "-")


def _without_credentials(asked: AccessRequest) -> AccessRequest:
    context = asked.context
    return asked._replace(context=context.masked()) if isinstance(context, RequestContext) else asked


def _size(line: AccessLine, asked: AccessRequest | None) -> int:
    """Return about how many characters a refusal keeps alive."""
    size = _OF_A_LINE + len(line.path) + len(line.reason)
    if asked is None or not isinstance(asked.context, RequestContext):
        return size
    headers, query = asked.context.headers.items(), asked.context.query
    told = sum(len(value) for value in asked.context.told.values())
    return (
        size + len(asked.key) + told + sum(len(n) + len(v) for n, v in headers) + sum(len(n) + len(v) for n, v in query)
    )
