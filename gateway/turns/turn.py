"""One S3 request on the wire: the story's plans become the plane's steps.

It decides nothing that the story has decided: it builds and signs what is sent, at the moment of sending, and writes heads.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from gateway.backends.backend import Backend
from gateway.backends.naming import untold
from gateway.backends.regions import REDIRECTS, elsewhere
from gateway.backends.stores import Stores
from gateway.errors import InternalError, RequestTimeout, ServiceUnavailable, SlowDown, render
from gateway.observe import AccessLine
from gateway.s3 import decoding, xml
from gateway.s3.request import parse
from gateway.s3.reserved import is_administration, is_sts, spells_administration
from gateway.signing.sigv4 import MAX_SKEW
from gateway.stories import absence, answers, forward, story
from gateway.stories.case import Case, is_still
from gateway.stories.plans import (
    Answer,
    Forward,
    Headers,
    NeedsBody,
    NeedsDecisions,
    NeedsForm,
    NeedsTags,
    Plan,
    Reply,
    names_of,
)  # fmt: skip
from gateway.turns.decisions import decide_all
from gateway.turns.form_upload import FormUpload
from gateway.turns.guest import Guest
from gateway.turns.habit import Told
from gateway.turns.refusals import as_s3
from gateway.wire.answer_heads import ResponseHead
from gateway.wire.heads import RequestHead
from gateway.wire.steps import Collect, Drop, HandOver, Later, Pass, Pull, Read, Say, Send, Step, Traffic
from iam.model import AccessRequest, Credentials, Decision

if TYPE_CHECKING:
    from gateway.turns.desk import Desk

MAX_ANSWER = 16 * 2**20  # bytes of an answer that is read whole
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_DECLARATION = re.compile(rb"\A\s*<\?xml[^>]*\?>\s*")
_log = logging.getLogger("minio_gw.turn")


class Sent(NamedTuple):
    """What was sent: as it was asked, as its place understands it, where, and with which body."""

    asked: Forward
    plan: Forward
    backend: Backend
    payload: bytes | None
    streams: bool


class S3Turn(Traffic):
    """One request being answered; it counts its own traffic. What most turns never set is the class's."""

    _upload: FormUpload | None = None
    _region_asked = False
    _followed = False  # a region, once
    _now = 0  # epoch seconds: when the story began

    def __init__(
        self,
        desk: Desk,
        guest: Guest,
        head: RequestHead,
        path: str,
        source_ip: str,
        *,
        secure: bool,
    ) -> None:
        self.head = head
        self._desk: Desk | None = desk
        self._guest = guest
        self._secure = secure
        self._line = AccessLine(desk.ids.next(), head.method, path, source_ip)
        self._started = time.perf_counter()
        self._uses_body = head.has_body  # until the story has read it
        desk.inflight += 1

    @property
    def traffic(self) -> Traffic:
        """Where the plane counts what moved."""
        return self

    @property
    def desk(self) -> Desk:
        """Return what this turn works with, until it is finished."""
        assert self._desk is not None  # noqa: S101 - steps end before `finish`
        return self._desk

    def begin(self) -> Step:
        """Tell the story of the request, or hand it over when it is not S3's."""
        desk, head = self.desk, self.head
        is_relative = head.target.startswith("/")
        if (head.target.startswith("/minio/") or not is_relative) and desk.is_probe(head.target):
            self._leave()
            return HandOver()
        if desk.inflight > desk.max_inflight:
            raise SlowDown(reason="too many requests in flight")
        if head.target.startswith("/minio") and is_administration(head.target):
            self._leave()
            return HandOver()
        request = parse(
            head.method,
            head.target,
            head.fields if head.named is None else head.named,
            domains=desk.domains,
            source_ip=self._line.source_ip,
            secure=self._secure,
        )
        if (head.method == "POST" and is_sts(request)) or spells_administration(request):
            self._leave()
            return HandOver()
        self._now = int(desk.clock())
        return self._plan(story.begin(request, desk.world, self._now))

    def _plan(self, plan: Plan) -> Step:
        line = self._line
        line.named(*names_of(plan))
        if isinstance(plan, Forward):
            line.path = plan.request.target  # a form's key is known now
        match plan:
            case Forward():
                return self._forward(plan)
            case Reply():
                return self._say(plan.body, plan.status, plan.headers)
            case NeedsBody():
                self._uses_body = False
                return Read(plan.limit, lambda body: self._with_body(plan, body))
            case NeedsDecisions():
                return self._asked(plan.questions, lambda decisions: self._plan(plan.then(decisions)))
            case NeedsTags():
                return Later(lambda: self._tagged(plan))
            case NeedsForm():
                self._uses_body = False
                return Pull(lambda pull: self._form(plan, pull))

    def _asked(self, questions: Sequence[AccessRequest], then: Callable[[Sequence[Decision]], Step]) -> Step:
        """Have questions answered elsewhere: one by a step, several by awaiting them together."""
        service = self.desk.service
        if service is None or len(questions) > 1 or self.desk.world.authorizer.decide_now(questions[0]) is not None:
            return Later(lambda: self._decided(questions, then))
        content = service.content(questions[0])
        return (
            service.ask(content, lambda decision: then([decision])) if isinstance(content, bytes) else then([content])
        )

    async def _decided(self, questions: Sequence[AccessRequest], then: Callable[[Sequence[Decision]], Step]) -> Step:
        return then(await decide_all(self.desk.world.authorizer, questions, self.desk.service))

    def _with_body(self, plan: NeedsBody, body: bytes) -> Step:
        self._in_time()
        return self._plan(plan.then(body))

    def _in_time(self) -> None:
        """Hold that a body took no longer than a signature's date may be wrong: what a policy is told is of when it began.

        A client that sends a byte of its document now and then could else do tomorrow what it may do today only.
        """
        if self.desk.clock() - self._now > MAX_SKEW:
            raise RequestTimeout(reason="a body that took too long")

    async def _tagged(self, plan: NeedsTags) -> Step:
        return self._plan(plan.then(await self.desk.tags_of(plan.objects)))

    async def _form(self, plan: NeedsForm, pull: Callable[[], Awaitable[bytes]]) -> Step:
        """Read a form up to its file; what signs it is in there. The file is then the body of what it means."""
        self._upload = upload = FormUpload(plan.boundary, self.head.length or 0, pull)
        form = await upload.form()
        self._in_time()
        self._now = int(self.desk.clock())
        judged, length = plan.then(form, self._now), await upload.length()
        self._in_time()
        return self._plan(judged(length))

    # ---- to the backend

    def _forward(self, asked: Forward, payload: bytes | None = None, credentials: Credentials | None = None) -> Step:
        """Send what was asked to its place, as soon as all that this needs is known."""
        where = self.desk.backend
        plan, backend = asked, where
        if isinstance(where, Stores):
            self._line.backend = where.backends(asked)
            if not where.is_simple(asked):
                return self._wide(where, asked)
            plan, exchange = where.route(asked)
            backend = exchange.backend
        assert isinstance(backend, Backend)  # noqa: S101 - Stores were asked above
        credentials = credentials or backend.known_credentials()
        if credentials is None:
            return Later(lambda: self._with_credentials(asked, payload, backend))
        streams = self._uses_body and plan.body is None
        if streams and not self._region_asked and backend.asks_region(plan.request.path.bucket):
            self._region_asked = True
            return Later(lambda: self._in_region(asked, plan, backend))
        if streams and not backend.target.aws_chunked and decoding.comes_whole(plan.caller):
            self._uses_body = False
            return Read(2 * decoding.MAX_WHOLE, lambda body: self._decoded(asked, body))
        return self._send(Sent(asked, plan, backend, payload, streams), credentials)

    def _wide(self, stores: Stores, asked: Forward) -> Step:
        """What no single backend can answer; a copy across may be long, its client gets white space, as of S3."""
        work = Later(lambda: self._answered_wide(stores, asked))
        if asked.then is None:
            work.slow = self._head_of(200, (("Content-Type", "application/xml"),))
            work.prolog = xml.PROLOG.encode()
        return work

    async def _answered_wide(self, stores: Stores, asked: Forward) -> Step:
        plan = await stores.answered(asked)
        if isinstance(plan, Reply) and plan.status == 404:  # a copy's source
            return self._absent(asked, Answer(404, plan.headers, plan.body))
        return self._plan(plan)

    async def _with_credentials(self, asked: Forward, payload: bytes | None, backend: Backend) -> Step:
        credentials = await backend.credentials()
        is_still(asked.request, asked.caller, self.desk.world)
        return self._forward(asked, payload, credentials)

    async def _in_region(self, asked: Forward, plan: Forward, backend: Backend) -> Step:
        await backend.find_region(plan.request.path.bucket)
        is_still(asked.request, asked.caller, self.desk.world)
        return self._forward(asked)

    def _decoded(self, asked: Forward, body: bytes) -> Step:
        """Go on with the payload of an aws-chunked body, for a backend that does not take the framing."""
        self._in_time()
        is_still(asked.request, asked.caller, self.desk.world)
        decoder = decoding.decoder(asked.request, asked.caller)
        payload = decoder.feed(body)
        decoder.finish()
        request, caller = decoding.plain(asked.request, asked.caller, payload, decoder.trailers)
        return self._forward(asked._replace(request=request, caller=caller), payload)

    def _send(self, sent: Sent, credentials: Credentials) -> Step:
        plan, backend, now = sent.plan, sent.backend, int(self.desk.clock())
        upstream = forward.build(
            plan.request, plan.operation, plan.caller, target=backend.regions.target(plan.request.path.bucket),
            credentials=credentials, keys=self.desk.world.keys, now=now, body=plan.body,
        )  # fmt: skip
        upload = self._upload if plan.body is None else None
        head = forward.wire_head(upstream, streams=sent.streams or upload is not None)
        if plan is sent.asked and sent.payload is None and upload is None:
            told = Told(self.head, plan, backend, credentials, now, sent.streams, head)
            self.desk.learn(self._guest, told)
        return Send(
            backend.origin(upstream.headers["host"]), upstream.method, head,
            lambda answer: self._answered(sent, answer), self._unanswered,
            sent.payload if sent.payload is not None else plan.body or b"", sent.streams,
            sent.streams and upstream.length is None, upstream.relay, upload.through(upstream) if upload else None,
        )  # fmt: skip

    def _unanswered(self, reason: str) -> Step:
        raise ServiceUnavailable("The backend does not answer.", reason=f"backend: {reason}")

    # ---- its answer

    def _answered(self, sent: Sent, answer: ResponseHead) -> Step:
        plan = sent.plan
        if answer.status in REDIRECTS or answer.status == 400:
            again = self._elsewhere(sent, answer)
            if again is not None:
                return again
        headers = answers.client_headers(answer.fields, sent.asked.request.path.bucket, self.desk.world.region)
        if plan is not sent.asked:
            headers = untold(headers)
        self._note(headers)
        if (plan.mend and answer.status >= 400 and self.head.method != "HEAD") or _is_of_a_key(sent, answer.status):
            return Collect(MAX_ANSWER, lambda body: self._failed(sent, Answer(answer.status, headers, body)))
        if answer.status != 200 or (plan.then is None and plan.edit is None):
            return Pass(self._head_of(answer.status, headers))
        if plan.then is not None:
            return Collect(MAX_ANSWER, lambda body: self._go_on(plan, headers, body))
        edited = answers.edited(headers)
        return Collect(
            MAX_ANSWER, lambda body: self._edited(plan, edited, body), self._head_of(200, edited), xml.PROLOG.encode()
        )

    def _failed(self, sent: Sent, answer: Answer) -> Step:
        """Tell of an error in our names; that a key is not there not to everybody."""
        mend, headers, document = sent.plan.mend, answers.edited(answer.headers), answer.body
        if mend and self.head.method != "HEAD":
            document = mend(answer.status, document)
        if _is_of_a_key(sent, answer.status):
            return self._absent(sent.asked, Answer(404, headers, document))
        return self._say(document, answer.status, headers)

    def _absent(self, asked: Forward, answer: Answer) -> Step:
        case = Case(asked.request, asked.operation, asked.caller, self.desk.world, int(self.desk.clock()))
        return self._plan(absence.told(case, answer))

    def _note(self, headers: Headers) -> None:
        for name, value in headers:
            if name == answers.BACKEND_REQUEST_ID:
                self._line.backend_request_id = value[:64]

    def _elsewhere(self, sent: Sent, answer: ResponseHead) -> Step | None:
        """Follow a bucket to its region, once; what cannot be followed is an error, not the backend's address."""
        regions, bucket = sent.backend.regions, sent.plan.request.path.bucket
        fields = {name.lower(): value for name, value in answer.fields}
        region = elsewhere(answer.status, fields, regions.target(bucket).region)
        if region:
            regions.learn(bucket, region)
            if not sent.streams and self._upload is None and not self._followed:
                self._followed = True
                return Drop(lambda: self._forward(sent.asked, sent.payload))
        if answer.status in REDIRECTS:
            raise InternalError(reason=f"the backend redirects with {answer.status}")
        return None

    def _edited(self, plan: Forward, headers: Headers, body: bytes) -> Step:
        assert plan.edit is not None  # noqa: S101 - chosen for it
        return self._say(_DECLARATION.sub(xml.PROLOG.encode(), plan.edit(body), count=1), 200, headers)

    def _go_on(self, plan: Forward, headers: Headers, body: bytes) -> Step:
        assert plan.then is not None  # noqa: S101 - chosen for it
        document = plan.edit(body) if plan.edit else body
        return self._plan(plan.then(Answer(200, headers, document)))

    # ---- to the client

    def _say(self, body: bytes, status: int, headers: Headers = ()) -> Say:
        named = (*((n, v) for n, v in headers if n.lower() != "content-type"), ("Content-Type", "application/xml"))
        return Say(self._head_of(status, named), body)

    def _head_of(self, status: int, headers: Headers) -> bytes:
        """Write a head without its framing fields."""
        self._line.status = status
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers if name.lower() != "content-length"])
        own = f"{fields}x-amz-request-id: {self._line.request_id}\r\n"
        return status_line(status) + own.encode() + self.desk.common()

    def refuse(self, error: BaseException) -> Step:
        """Render an error; what is not one of S3's is ours, logged once."""
        shown = as_s3(error)
        if shown is None:
            _log.error("request %s failed", self._line.request_id, exc_info=error)
            shown = InternalError()
        line = self._line
        line.error, line.reason = shown.code, shown.reason
        self.desk.denials.note(line, shown, self.desk.clock())
        document = render(shown, resource=line.path, request_id=line.request_id)
        more: Headers = (("Retry-After", "1"),) if shown.status == 503 else ()
        if "Region" in shown.elements:  # an answer to HEAD has no document that could say it
            more += ((answers.REGION_HEADER, shown.elements["Region"]),)
        return self._say(document, shown.status, more)

    def finish(self) -> None:
        """Log and count, once."""
        if self._desk is None:
            return
        line, desk = self._line, self._desk
        line.bytes_in, line.bytes_out = self.received, self.sent
        line.seconds = time.perf_counter() - self._started
        if self.cut:
            line.error, line.reason = line.error or "Cut", line.reason or self.cut
            line.status = line.status or 499
        desk.inflight -= 1
        self._desk = None
        desk.counters.count(line)
        desk.log.write(line)

    def _leave(self) -> None:
        if self._desk is not None:
            self._desk.inflight -= 1
            self._desk = None


def _is_of_a_key(sent: Sent, status: int) -> bool:
    """Return whether an answer may say that a key is not there."""
    return status == 404 and bool(sent.asked.request.path.key)


@lru_cache(maxsize=512)
def status_line(status: int) -> bytes:
    """Return the first line of an answer."""
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n".encode()
