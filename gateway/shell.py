"""The aiohttp shell: reads heads, carries plans out, streams both ways. It decides nothing.

Bodies are never held: a chunk goes to the other side before the next is read, so a slow reader slows the backend and a
client that leaves closes the backend's connection. `100 Continue` is sent only once the plan says Forward (trap 21).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address

import aiohttp
from aiohttp import web

from gateway import forward, story, xml
from gateway.authenticate import authenticate
from gateway.backend import Backend
from gateway.errors import (
    AccessDenied,
    EntityTooLarge,
    IncompleteBody,
    InternalError,
    InvalidRequest,
    S3Error,
    ServiceUnavailable,
    SlowDown,
    render,
)
from gateway.observe import AccessLine, AccessLog, Counters, RequestIds
from gateway.request import S3Request, parse
from gateway.story import World
from iam.authorize import Authorizer
from iam.model import AccessRequest, Decision
from sts.service import ACTIONS, StsService
from sts.wire import StsError, parse_call, render_error

MAX_FORM = 2**20  # bytes of an STS call
MAX_ANSWER = 16 * 2**20  # bytes of an answer that is edited (ListBuckets, DeleteObjects)
BODY_TIMEOUT = 120.0  # seconds without a byte of an upload
DECISIONS_AT_ONCE = 32
_log = logging.getLogger("minio_gw.shell")
_CUT = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass
class Gateway:
    """One gateway's shell: everything it needs is handed to it by `app`."""

    world: World
    backend: Backend
    sts: StsService
    log: AccessLog
    ids: RequestIds
    domains: tuple[str, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    max_inflight: int = 2048
    inflight: int = 0
    counters: Counters = field(default_factory=Counters)

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever happens; log it and count it."""
        started = time.perf_counter()
        line = AccessLine(self.ids.next(), http.method, http.raw_path.partition("?")[0], self._source_ip(http))
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
        return parse(
            http.method, http.raw_path, headers, domains=self.domains, source_ip=line.source_ip, secure=http.secure
        )

    def _source_ip(self, http: web.BaseRequest) -> str:
        """Return the peer's address; X-Forwarded-For counts only when the peer is a listed proxy (traps 18, 19)."""
        peer = http.transport.get_extra_info("peername") if http.transport else None
        address = peer[0] if isinstance(peer, tuple) else ""
        for hop in reversed(http.headers.get("X-Forwarded-For", "").split(",")):
            if not self._trusted(address) or not hop.strip():
                break
            address = hop.strip()
        return address

    def _trusted(self, address: str) -> bool:
        try:
            return any(ip_address(address) in network for network in self.trusted_proxies)
        except ValueError:
            return False

    async def _s3(self, http: web.BaseRequest, request: S3Request, line: AccessLine) -> web.StreamResponse:
        plan = story.begin(request, self.world, int(time.time()))
        while isinstance(plan, story.NeedsBody | story.NeedsDecisions):
            _note(line, plan)
            if isinstance(plan, story.NeedsBody):
                plan = plan.then(await _read_body(http, plan.limit, line))
            else:
                plan = plan.then(await decide_all(self.world.authorizer, plan.questions))
        _note(line, plan)
        if isinstance(plan, story.Refused):
            return _xml(http, xml.merge_delete_result(None, plan.refused, AccessDenied()), line)
        return await self._forward(http, request, plan, line)

    async def _forward(
        self, http: web.BaseRequest, request: S3Request, plan: story.Forward, line: AccessLine
    ) -> web.StreamResponse:
        upstream = forward.build(
            request, plan.operation, plan.caller, target=self.backend.target, credentials=await self.backend.credentials(),
            keys=self.world.keys, now=int(time.time()), body=plan.body,
        )  # fmt: skip
        upload = _Upload(http, upstream, line) if plan.body is None and _has_body(http) else None
        try:
            answer = await self.backend.send(upstream, upload.stream() if upload else None)
        except _CUT as error:
            if upload is not None and upload.error is not None:
                raise upload.error from error
            raise ServiceUnavailable(
                "The backend does not answer.", reason=f"backend: {type(error).__name__}"
            ) from error
        try:
            if upload is not None and upload.error is not None:
                raise upload.error
            if answer.status == 200 and (plan.refused or plan.keep is not None):
                return await self._edited(http, plan, answer, line)
            return await _stream_back(http, answer, line)
        finally:
            answer.release() if answer.content.at_eof() else answer.close()

    async def _edited(
        self, http: web.BaseRequest, plan: story.Forward, answer: aiohttp.ClientResponse, line: AccessLine
    ) -> web.StreamResponse:
        """Edit an answer that shows more, or less, than this caller's request means."""
        body = await answer.content.read(MAX_ANSWER + 1)
        while not answer.content.at_eof() and len(body) <= MAX_ANSWER:
            body += await answer.content.read(MAX_ANSWER + 1)
        if len(body) > MAX_ANSWER:
            raise InternalError(reason="the backend's answer is too large to edit")
        if plan.refused:
            return _xml(http, xml.merge_delete_result(body, plan.refused, AccessDenied()), line)
        names = xml.bucket_names(body)
        decisions = await decide_all(self.world.authorizer, plan.keep(names).questions) if plan.keep else []
        kept = frozenset(name for i, name in enumerate(names) if any(decisions[2 * i : 2 * i + 2]))
        if not kept:
            raise AccessDenied(reason=f"no bucket may be listed: {plan.reason}")
        return _xml(http, xml.keep_buckets(body, kept), line)

    async def _sts(self, http: web.BaseRequest, request: S3Request, line: AccessLine) -> web.StreamResponse:
        line.operation = "STS"
        try:
            body = await _read_body(http, MAX_FORM, line)
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


class _Upload:
    """The body on its way up: verified while it crosses; what went wrong stands in `error`."""

    def __init__(self, http: web.BaseRequest, upstream: forward.UpstreamRequest, line: AccessLine) -> None:
        self._http = http
        self._relay = upstream.relay
        self._line = line
        self.error: S3Error | None = None

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield what the backend gets; raising cuts its connection short of the announced length."""
        await _continue(self._http)
        try:
            if self._relay is None:
                while piece := await _next_piece(self._http, self._line):
                    yield piece
                return
            # One piece is always held back: the announced length cannot be reached before the framing is whole.
            held = b""
            while piece := await _next_piece(self._http, self._line):
                out = self._relay.feed(piece)
                if out and held:
                    yield held
                held = out or held
            self._relay.finish()
            yield held
        except S3Error as error:
            self.error = error
            raise


async def _next_piece(http: web.BaseRequest, line: AccessLine) -> bytes:
    """Read what is there of the body, b"" at its end. A body cut short, or silent, is an IncompleteBody."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            piece = await http.content.readany()
    except (
        aiohttp.ClientError,
        aiohttp.http_exceptions.HttpProcessingError,
        OSError,
        TimeoutError,
        web.RequestPayloadError,
    ) as error:
        raise IncompleteBody(reason=f"upload: {type(error).__name__}") from error
    line.bytes_in += len(piece)
    return piece


async def _read_body(http: web.BaseRequest, limit: int, line: AccessLine) -> bytes:
    if (http.content_length or 0) > limit:
        raise EntityTooLarge(f"This body may hold {limit} bytes at most.")
    await _continue(http)
    body = bytearray()
    while piece := await _next_piece(http, line):
        body += piece
        if len(body) > limit:
            raise EntityTooLarge(f"This body may hold {limit} bytes at most.")
    return bytes(body)


async def _continue(http: web.BaseRequest) -> None:
    """Tell a client that waits to go on (RFC 9110 section 10.1.1)."""
    if (
        http.headers.get("Expect", "").lower() == "100-continue"
        and http.transport is not None
        and not http.content.at_eof()
    ):
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _stream_back(http: web.BaseRequest, answer: aiohttp.ClientResponse, line: AccessLine) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in forward.answer_headers(answer.headers.items()):
        response.headers.add(name, value)
    _own_headers(response, line)
    line.status = answer.status
    if http.method == "HEAD" or answer.status in {204, 304}:
        if http.method == "HEAD" and "Content-Length" not in answer.headers:
            response.headers["Content-Length"] = "0"
        await response.prepare(http)
        return response
    await response.prepare(http)
    try:
        async for piece in answer.content.iter_any():
            await response.write(piece)
            line.bytes_out += len(piece)
        await response.write_eof()
    except _CUT as error:
        line.error, line.reason = "Cut", f"{type(error).__name__}"
        # A short body must not look whole: the client sees its connection end.
        if http.transport is not None:
            http.transport.abort()
    return response


def _has_body(http: web.BaseRequest) -> bool:
    return bool(http.content_length) or "Transfer-Encoding" in http.headers


def _is_sts(http: web.BaseRequest, request: S3Request) -> bool:
    if http.method != "POST" or request.target != "/" or request.path.bucket:
        return False
    form = request.header("content-type").startswith("application/x-www-form-urlencoded")
    return form or "Action" in request.parameters


def _note(line: AccessLine, plan: story.Plan) -> None:
    line.operation = plan.operation.name
    line.access_key_id = plan.caller.principal.access_key_id or "-"
    line.parent = plan.caller.principal.parent or "-"


def _own_headers(response: web.StreamResponse, line: AccessLine) -> None:
    response.headers["Server"] = "minio-gw"
    response.headers["x-amz-request-id"] = line.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"


def _xml(http: web.BaseRequest, body: bytes, line: AccessLine, status: int = 200) -> web.Response:
    response = web.Response(status=status, body=b"" if http.method == "HEAD" else body, content_type="application/xml")
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
