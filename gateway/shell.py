"""The aiohttp shell: reads heads, carries plans out, streams both ways. It decides nothing.

Bodies are never held: a chunk goes to the other side before the next is read, so a slow reader slows the backend and a
client that leaves closes the backend's connection. `100 Continue` is sent only once the plan says Forward (trap 21), or that
a form's fields must be read, where its signature is.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

import aiohttp
from aiohttp import web

from gateway import answers, story, xml
from gateway.authenticate import authenticate
from gateway.backend import Backend
from gateway.case import World
from gateway.context import Tags
from gateway.errors import (
    InternalError,
    InvalidRequest,
    S3Error,
    ServiceUnavailable,
    SlowDown,
    render,
)
from gateway.exchange import CUT, Exchange, Upload, document
from gateway.form_upload import FormUpload
from gateway.incoming import Incoming, Streamed
from gateway.naming import untold
from gateway.observe import AccessLine, AccessLog, Counters, RequestIds
from gateway.peer import is_secure, source_ip
from gateway.plans import Answer, Forward, Headers, NeedsBody, NeedsDecisions, NeedsForm, NeedsTags, Plan, Reply
from gateway.request import S3Request, parse
from gateway.stores import Stores
from iam.authorize import Authorizer
from iam.model import AccessRequest, Decision
from sts.service import ACTIONS, StsService
from sts.wire import StsError, parse_call, render_error

MAX_FORM = 2**20  # bytes of an STS call
DECISIONS_AT_ONCE = 32
PATIENCE = 5.0  # seconds without a byte, after which a client is told that we are still there
_DECLARATION = re.compile(rb"\A\s*<\?xml[^>]*\?>\s*")
_log = logging.getLogger("minio_gw.shell")


@dataclass
class Gateway:
    """One gateway's shell: everything it needs is handed to it by `app`."""

    world: World
    backend: Backend | Stores
    sts: StsService
    log: AccessLog
    ids: RequestIds
    domains: tuple[str, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    max_inflight: int = 2048
    body_timeout: float = 120.0
    inflight: int = 0
    counters: Counters = field(default_factory=Counters)

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever happens; log it and count it."""
        started = time.perf_counter()
        source = source_ip(_peer(http), ",".join(http.headers.getall("X-Forwarded-For", ())), self.trusted_proxies)
        line = AccessLine(self.ids.next(), http.method, http.raw_path.partition("?")[0], source)
        self.inflight += 1
        try:
            response = await self._answer(http, line)
            line.status = response.status
            return response
        finally:
            self.inflight -= 1
            line.seconds = time.perf_counter() - started
            self.counters.count(line)
            self.log.write(line)

    def refuse(self, http: web.BaseRequest, error: S3Error) -> web.StreamResponse:
        """Answer what never became a request, and log and count it as one."""
        line = AccessLine(self.ids.next(), "-", "-", _peer(http), status=error.status)
        response = _refusal(http, error, line)
        self.counters.count(line)
        self.log.write(line)
        return response

    async def _answer(self, http: web.BaseRequest, line: AccessLine) -> web.StreamResponse:
        try:
            if self.inflight > self.max_inflight:
                raise SlowDown(reason="too many requests in flight")  # noqa: TRY301 - one place renders every refusal
            request = self._parse(http, line)
            if _is_sts(http, request):
                return await self._sts(http, request, line)
            return await self._s3(http, request, line)
        except S3Error as error:
            return _refusal(http, error, line)
        except (asyncio.CancelledError, ConnectionResetError, aiohttp.ClientConnectionResetError):
            line.status = line.status or 499
            raise
        except Exception:  # noqa: BLE001 - the last resort: logged once, answered as InternalError
            _log.exception("request %s failed", line.request_id)
            return _refusal(http, InternalError(), line)

    def _parse(self, http: web.BaseRequest, line: AccessLine) -> S3Request:
        try:
            headers = [(n.decode("ascii"), v.decode("utf-8")) for n, v in http.raw_headers]
        except UnicodeDecodeError:
            raise InvalidRequest("A header is not UTF-8.") from None
        if http.version not in {aiohttp.HttpVersion10, aiohttp.HttpVersion11}:
            raise InvalidRequest("This HTTP version is not spoken here.", reason="version")
        proto = http.headers.get("X-Forwarded-Proto", "")
        secure = is_secure(_peer(http), proto, self.trusted_proxies, tls=http.secure)
        return parse(http.method, http.raw_path, headers, domains=self.domains, source_ip=line.source_ip, secure=secure)

    async def _s3(self, http: web.BaseRequest, request: S3Request, line: AccessLine) -> web.StreamResponse:
        plan = story.begin(request, self.world, int(time.time()))
        incoming = Incoming(http, line, self.body_timeout)
        body: Upload | None = Streamed(incoming) if _has_body(http) else None
        while not isinstance(plan, Reply):
            _note(line, plan)
            if isinstance(plan, NeedsBody):
                plan, body = plan.then(await incoming.whole(plan.limit)), None
            elif isinstance(plan, NeedsForm):
                plan, body = await _form(plan, incoming)
            elif isinstance(plan, NeedsDecisions):
                plan = plan.then(await decide_all(self.world.authorizer, plan.questions))
            elif isinstance(plan, NeedsTags):
                plan = plan.then(await self._tags_of(plan))
            else:
                answered = await self._forward(http, plan, body, line)
                if isinstance(answered, web.StreamResponse):
                    return answered
                plan, body = answered, None
        _note(line, plan)
        return _reply(http, plan, line)

    async def _tags_of(self, plan: NeedsTags) -> Sequence[Tags | None]:
        if isinstance(self.backend, Stores):
            return await self.backend.tags_of(plan.objects)
        return await Exchange(self.backend, self.world.keys).tags_of(plan.objects)

    async def _forward(
        self, http: web.BaseRequest, plan: Forward, body: Upload | None, line: AccessLine
    ) -> web.StreamResponse | Plan:
        """Send a request; return the response that was streamed to the client, or how the story goes on."""
        asked = plan
        if isinstance(self.backend, Stores):
            line.backend = self.backend.backends(plan)
            if not self.backend.is_simple(plan):
                return await _waited(http, plan, self.backend.answered(plan), line)
            plan, exchange = self.backend.route(plan)
        else:
            exchange = Exchange(self.backend, self.world.keys)
        answer = await exchange.send(plan, body if plan.body is None else None)
        line.backend_request_id = answer.headers.get("x-amz-request-id", "")[:64]
        headers = answers.client_headers(answer.headers.items(), asked.request, self.world.region)
        headers = headers if plan is asked else untold(headers)
        try:
            if plan.mend and answer.status >= 400 and http.method != "HEAD":
                mended = plan.mend(answer.status, await document(answer))
                return _xml(http, mended, line, answer.status, answers.edited(headers))
            if answer.status != 200 or (plan.then is None and plan.edit is None):
                return await _stream_back(http, answer, headers, line, self.body_timeout)
            if plan.then is None:
                return await _edited(http, plan, answer, headers, line)
            body_of_it = await document(answer)
            body_of_it = plan.edit(body_of_it) if plan.edit else body_of_it
            return plan.then(Answer(answer.status, headers, body_of_it))
        except CUT as error:
            raise ServiceUnavailable(reason=f"backend: {type(error).__name__}") from error
        finally:
            answer.release() if answer.content.at_eof() else answer.close()

    async def _sts(self, http: web.BaseRequest, request: S3Request, line: AccessLine) -> web.StreamResponse:
        line.operation = "STS"
        try:
            body = await Incoming(http, line, self.body_timeout).whole(MAX_FORM)
            signer = None
            if request.header("authorization"):
                payload = hashlib.sha256(body).hexdigest()
                signer = authenticate(
                    request, self.world.lookup, self.world.keys, now=int(time.time()), service="sts", payload=payload
                ).principal
            query = http.raw_path.partition("?")[2]
            call = parse_call(query, body, request.header("content-type"), signer=signer, source_ip=line.source_ip)
            line.operation = call.action if call.action in ACTIONS else "STS"  # an invented name is no label
            document = await self.sts.call(call, request_id=line.request_id)
            return _xml(http, document, line)
        except (StsError, S3Error) as error:
            line.error, line.reason = error.code, error.reason or error.text
            return _xml(http, render_error(error.code, error.text, line.request_id), line, error.status)


async def _form(plan: NeedsForm, incoming: Incoming) -> tuple[Plan, FormUpload]:
    """Read a form up to its file; what signs it is in there, so a client that waits to be asked is asked for that."""
    upload = FormUpload(plan.boundary, incoming.length or 0, incoming.piece)
    incoming.proceed()
    judged = plan.then(await upload.form())
    return judged(await upload.length()), upload


async def decide_all(authorizer: Authorizer, questions: Sequence[AccessRequest]) -> list[Decision]:
    """Return the decisions in order, a bounded number of them asked at a time."""
    limit = asyncio.Semaphore(DECISIONS_AT_ONCE)

    async def one(question: AccessRequest) -> Decision:
        now = authorizer.decide_now(question)
        if now is not None:
            return now
        async with limit:
            return await authorizer.decide(question)

    if len(questions) == 1:
        return [await one(questions[0])]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(question)) for question in questions]
    return [task.result() for task in tasks]


async def _stream_back(
    http: web.BaseRequest, answer: aiohttp.ClientResponse, headers: Headers, line: AccessLine, patience: float
) -> web.StreamResponse:
    """Send an answer on as it comes; a client that takes nothing of it for `patience` seconds has left."""
    response = _response(answer, headers, line)
    if http.method == "HEAD" or answer.status in {204, 304}:
        if http.method == "HEAD" and "Content-Length" not in answer.headers:
            response.headers["Content-Length"] = "0"
        await response.prepare(http)
        return response
    await response.prepare(http)
    try:
        async for piece in answer.content.iter_any():
            async with asyncio.timeout(patience):
                await response.write(piece)
            line.bytes_out += len(piece)
        async with asyncio.timeout(patience):
            await response.write_eof()
    except CUT as error:
        _cut(http, error, line)
    return response


async def _edited(
    http: web.BaseRequest, plan: Forward, answer: aiohttp.ClientResponse, headers: Headers, line: AccessLine
) -> web.StreamResponse:
    """Edit a document that may be long in coming: the white space before it keeps the client's connection alive."""
    edit = plan.edit or bytes
    reading = asyncio.get_running_loop().create_task(document(answer))
    response = _response(answer, answers.edited(headers), line)
    try:
        done, _ = await asyncio.wait({reading}, timeout=PATIENCE)
        if done:
            return _xml(http, edit(reading.result()), line, headers=answers.edited(headers))
        await response.prepare(http)
        await response.write(xml.PROLOG.encode())
        while not done:
            await response.write(b" ")
            done, _ = await asyncio.wait({reading}, timeout=PATIENCE)
        body = _DECLARATION.sub(b"", edit(reading.result()), count=1)
        line.bytes_out = len(body)
        await response.write(body)
        await response.write_eof()
    except (*CUT, S3Error) as error:
        if not response.prepared:
            raise
        _cut(http, error, line)
    finally:
        reading.cancel()
    return response


async def _waited(
    http: web.BaseRequest, plan: Forward, work: Coroutine[None, None, Plan], line: AccessLine
) -> web.StreamResponse | Plan:
    """Return how the story goes on after work that may be long; a copy's client gets white space and a document, as of S3."""
    working = asyncio.get_running_loop().create_task(work)
    try:
        patience = None if plan.then else PATIENCE
        done, _ = await asyncio.wait({working}, timeout=patience)
        if done:
            return working.result()
        response = web.StreamResponse(headers={"Content-Type": "application/xml"})
        _own_headers(response, line)
        await response.prepare(http)
        await response.write(xml.PROLOG.encode())
        while not done:
            await response.write(b" ")
            done, _ = await asyncio.wait({working}, timeout=PATIENCE)
        body = _late(working, line)
        line.status, line.bytes_out = 200, len(body)
        await response.write(_DECLARATION.sub(b"", body, count=1))
        await response.write_eof()
        return response
    finally:
        working.cancel()


def _late(working: asyncio.Task[Plan], line: AccessLine) -> bytes:
    """Return the document of work that is done, an error's too: its status has been sent."""
    try:
        plan = working.result()
        return plan.body if isinstance(plan, Reply) else b""
    except S3Error as error:
        line.error, line.reason = error.code, error.reason
        return render(error, resource=line.path, request_id=line.request_id)
    except Exception:  # noqa: BLE001 - as in `_answer`, which could not answer any more
        _log.exception("request %s failed", line.request_id)
        line.error = InternalError().code
        return render(InternalError(), resource=line.path, request_id=line.request_id)


def _response(answer: aiohttp.ClientResponse, headers: Headers, line: AccessLine) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in headers:
        response.headers.add(name, value)
    _own_headers(response, line)
    line.status = answer.status
    return response


def _cut(http: web.BaseRequest, error: BaseException, line: AccessLine) -> None:
    """A short body must not look whole: the client sees its connection end."""
    line.error, line.reason = "Cut", type(error).__name__
    if http.transport is not None:
        http.transport.abort()


def _peer(http: web.BaseRequest) -> str:
    peer = http.transport.get_extra_info("peername") if http.transport else None
    return peer[0] if isinstance(peer, tuple) else ""


def _has_body(http: web.BaseRequest) -> bool:
    return bool(http.content_length) or "Transfer-Encoding" in http.headers


def _is_sts(http: web.BaseRequest, request: S3Request) -> bool:
    if http.method != "POST" or request.target != "/" or request.path.bucket:
        return False
    form = request.header("content-type").startswith("application/x-www-form-urlencoded")
    return form or "Action" in request.parameters


def _note(line: AccessLine, plan: Plan) -> None:
    line.operation = plan.operation.name
    if isinstance(plan, Forward):
        line.path = plan.request.target  # a form's key is known now
    line.access_key_id = plan.caller.principal.access_key_id or "-"
    line.parent = plan.caller.principal.parent or "-"


def _own_headers(response: web.StreamResponse, line: AccessLine) -> None:
    response.headers["Server"] = "minio-gw"
    response.headers["x-amz-request-id"] = line.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"


def _reply(http: web.BaseRequest, plan: Reply, line: AccessLine) -> web.Response:
    return _xml(http, plan.body, line, plan.status, plan.headers)


def _xml(
    http: web.BaseRequest, body: bytes, line: AccessLine, status: int = 200, headers: Headers = ()
) -> web.Response:
    response = web.Response(status=status, body=b"" if http.method == "HEAD" else body, content_type="application/xml")
    for name, value in headers:
        if name.lower() != "content-type":
            response.headers.add(name, value)
    _own_headers(response, line)
    line.bytes_out = len(body)
    return response


def _refusal(http: web.BaseRequest, error: S3Error, line: AccessLine) -> web.StreamResponse:
    """Render an error; a body that was not read is not worth keeping the connection for."""
    line.error, line.reason = error.code, error.reason
    response = _xml(http, render(error, resource=line.path, request_id=line.request_id), line, error.status)
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    if not http.content.at_eof():
        response.force_close()
    return response
