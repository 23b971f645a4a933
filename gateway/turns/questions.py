"""What a policy service is asked about a story told again: the question, written about its words (decisions 0009 and 0015).

The functions that write every question write it once about marks; what changes from request to request is filled in: the words of the
head, the key, where the request is from, what time it is, how old its signature is.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence

from gateway.s3.context import RequestContext, iso
from gateway.wire.forms import Template, mark
from iam.model import AccessRequest
from iam.opa_questions import opa_input, question

#: What marks are written with. JSON leaves it as it is, and no client can have written it.
_NONCE = secrets.token_hex(16)
_KEY, _SOURCE, _TIME, _EPOCH, _AGE = range(5)  # behind the words of the head


def stand_in(number: int) -> str:
    """Return what stands for a word while a question is being written."""
    return f"{_NONCE}-{number}-"


def has_stand_in(text: bytes) -> bool:
    """Return whether a real question holds what stands for words: whoever wrote that knew what nobody can."""
    return _NONCE.encode() in text


class QuestionTemplate:
    """The question about one story. `request` is it, its words `stand_in(0)` and so on, of which a head has `holes`."""

    def __init__(self, request: AccessRequest, context: RequestContext, holes: int) -> None:
        key, source, time, epoch, age = (stand_in(holes + n) for n in (_KEY, _SOURCE, _TIME, _EPOCH, _AGE))
        document = opa_input(request._replace(key=key, context=context._replace(source_ip=source)))
        document["conditions"] |= {"CurrentTime": [time], "EpochTime": [epoch], "signatureAge": [age]}
        text = question(document)
        for number in range(holes + 5):
            text = text.replace(stand_in(number).encode(), mark(number).encode())
        self._template = Template(text)
        self._second, self._now = -1, (b"", b"")

    def about(self, words: Sequence[bytes], key: str, source_ip: str, now: int, age_ms: int) -> bytes:
        """Return the question about these words of a head; `now` in epoch seconds."""
        if now != self._second:
            self._second, self._now = now, (iso(now).encode(), b"%d" % now)
        time, epoch = self._now
        return self._template.fill(
            [*[_written(word) for word in words], _said(key), _said(source_ip), time, epoch, b"%d" % age_ms]
        )


def _written(word: bytes) -> bytes:
    """Return a word of printable ASCII as JSON writes it in a string."""
    return _said(word.decode("ascii")) if b'"' in word or b"\\" in word else word


def _said(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode("ascii")
