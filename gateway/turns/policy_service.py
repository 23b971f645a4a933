"""Questions to the policy service over the data plane's own connections.

Every request may ask one, so it must not cost more than the request itself: a general HTTP client costs ten times as much.
`iam.opa_questions` says what is asked and what the answer means. One question is a step of its turn (`ask`), several follow each other
(`question`, by decisions.py); what no S3 request asks, administration and the probe, is awaited (`post`, by `iam.opa`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from gateway.wire.fetch import fetch, whole
from gateway.wire.pool import Pool
from gateway.wire.question import Question
from gateway.wire.resumption import client_context
from gateway.wire.steps import Ask, Origin
from iam.model import AccessRequest, Decision, Deny
from iam.opa import OpaSettings
from iam.opa_questions import MAX_ANSWER, Tally, judged, question_of, trouble


class _Asked:
    """One question on its way: its answer is judged and counted. No closures: compiled, two that share a third keep each other."""

    __slots__ = ("_began", "_tally", "_then")

    def __init__(self, tally: Tally, then: Callable[[Decision], Any]) -> None:
        self._tally, self._then = tally, then
        self._began = time.perf_counter()

    def answered(self, status: int, body: bytes) -> Any:
        """Go on with what an answer decides."""
        return self._decided(judged(status, body))

    def failed(self, error: Exception) -> Any:
        """Go on without an answer."""
        return self._decided(trouble(error))

    def _decided(self, decision: Decision) -> Any:
        self._tally.count(decision, time.perf_counter() - self._began)
        return self._then(decision)


class PolicyService:
    """An `iam.opa.Service` over `pool`."""

    def __init__(self, settings: OpaSettings, pool: Pool) -> None:
        parts = urlsplit(settings.url)
        secure = parts.scheme == "https"
        tls = client_context(settings.ca_file) if secure else None
        self._origin = Origin(parts.hostname or "", parts.port or (443 if secure else 80), tls)
        self._pool = pool
        self._seconds = settings.timeout
        self.tally = Tally()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fields = "".join(f"{name}: {value}\r\n" for name, value in settings.headers().items())
        self._head = f"POST {target} HTTP/1.1\r\nhost: {parts.netloc}\r\n{fields}".encode()

    def ask(self, content: bytes, then: Callable[[Decision], Any]) -> Ask:
        """Return the step that asks and goes on with the decision, to a step where a turn asks; no answer is a denial."""
        asked = _Asked(self.tally, then)
        data = b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(content), content)
        return Ask(self._origin, data, MAX_ANSWER, self._seconds, asked.answered, asked.failed)

    def content(self, request: AccessRequest) -> bytes | Deny:
        """Return what is asked about a request; what cannot be asked is denied, and counted as every question without an answer is."""
        try:
            return question_of(request)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the answer is no
            denied = trouble(error)
            self.tally.count(denied, 0.0)
            return denied

    def question(self, content: bytes, told: Callable[[Decision], None]) -> Question:
        """Return a question that tells its decision, for who asks several of them; no answer is a denial."""
        return Question(self.ask(content, told), self._pool, _tell)

    async def post(self, content: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer, the body of status 200 only. Raises Unanswered."""
        head = self._head + b"content-length: %d\r\n\r\n" % len(content)
        answer = await fetch(self._pool, self._origin, "POST", head, content, harmless=True)
        try:
            return answer.status, await whole(answer, MAX_ANSWER) if answer.status == 200 else b""
        finally:
            answer.close()

    async def close(self) -> None:
        """Nothing: the connections are the pool's."""


def _tell(then: Callable[..., Any], *what: object) -> None:
    then(*what)
