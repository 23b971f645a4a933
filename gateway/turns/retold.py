"""The turn of a story that is told again (habit.py): it is sent as the habit says, and its answer crosses as it is.

What an answer may still bring, another region, an error of the backend's framing or that nothing is there, is a matter for the turn
that tells whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.backends.regions import REDIRECTS
from gateway.backends.stores import Stores
from gateway.errors import AccessDenied
from gateway.stories import answers
from gateway.stories.plans import Forward
from gateway.turns.again import Again
from gateway.turns.guest import Guest
from gateway.turns.turn import S3Turn, Sent, status_line
from gateway.wire.answer_heads import ResponseHead
from gateway.wire.steps import Pass, Step
from iam.model import Decision

if TYPE_CHECKING:
    from gateway.turns.desk import Desk


class Retold(S3Turn):
    """One request whose story is told again."""

    def __init__(self, desk: Desk, guest: Guest, again: Again) -> None:
        super().__init__(desk, guest, again.asked, again.path, again.source_ip, secure=again.habit.secure)
        self._again = again
        self._line.named(*again.habit.names)
        if isinstance(desk.backend, Stores):
            self._line.backend = again.habit.backend.name

    def begin(self) -> Step:
        """Send what the habit says, when who decides elsewhere has said yes."""
        again, service = self._again, self.desk.service
        if not again.question:
            return self._sent_again()
        if service is not None:
            return service.ask(again.question, self._judged)
        return self._asked([again.access()], lambda decisions: self._judged(decisions[0]))

    def _judged(self, decision: Decision) -> Step:
        again = self._again
        again.habit.must_still()
        if not decision:
            raise AccessDenied(reason=decision.reason, asked=again.access())
        if again.habit.send(again, int(self.desk.clock())):
            return self._sent_again()
        return self._forward(self._asked_for())  # the backend's keys or region have changed meanwhile

    def _sent_again(self) -> Again:
        again = self._again
        again.answered, again.failed = self._answered_again, self._unanswered
        return again

    def _asked_for(self) -> Forward:
        """Return the plan in full."""
        return self._again.habit.forward(self._again.words, self._line.source_ip)

    def finish(self) -> None:
        """Be over: what says what to do with an answer is let go, or both would hold each other until the collector came."""
        super().finish()
        self._again.answered = self._again.failed = _over

    def _answered_again(self, answer: ResponseHead) -> Step:
        habit, status = self._again.habit, answer.status
        if status in REDIRECTS or status in {400, 404}:
            asked = self._asked_for()
            return self._answered(Sent(asked, asked, habit.backend, None, self._again.streams), answer)
        passage = answers.passage(answer.names)
        if passage is None:
            headers = answers.client_headers(answer.fields, habit.path.bucket, self.desk.world.region)
            self._note(headers)
            return Pass(self._head_of(status, headers))
        line = self._line
        line.status = status
        if passage.request_id_at >= 0:
            line.backend_request_id = answer.values[passage.request_id_at].decode("utf-8", "replace")[:64]
        return Pass(
            b"%b%bx-amz-request-id: %b\r\n%b"
            % (status_line(status), passage.fields.fill(answer.values), line.request_id.encode(), self.desk.common())
        )


def _over(what: object) -> Step:
    raise TypeError(f"{type(what).__name__} for a turn that is over")
