"""The control surface, on aiohttp: STS, administration, health, metrics. The data plane hands connections over, one request each.

Every answer closes its connection: an S3 request that followed on it would arrive here, where nobody answers it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway import handed
from gateway.admin import scrapers
from gateway.admin.surface import Administration
from gateway.errors import AccessDenied, InternalError, S3Error, render
from gateway.guests import Guests
from gateway.observe import AccessLine
from gateway.s3.authenticate import authenticate
from gateway.s3.request import MAX_HEADERS, S3Request
from gateway.s3.reserved import is_administration, plain, raw_path
from gateway.stories.case import World
from gateway.turns.desk import HEALTH, METRICS, Desk
from gateway.wire.heads import MAX_FIELD, MAX_TARGET
from sts.readiness import Readiness
from sts.service import ACTIONS, StsService
from sts.wire import StsError, parse_call, render_error

MAX_FORM = 2**20  # bytes of an STS call
#: MinIO's clients and load balancers ask for the cluster (`mc ready`); all that a gateway can say of it is what it can say of itself.
READY = frozenset({"/minio/health/ready", "/minio/health/cluster", "/minio/health/cluster/read"})
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus's text format
_log = logging.getLogger("minio_gw.control")


def _is_a_failure(record: logging.LogRecord) -> bool:
    """Return whether a record is not of a head that aiohttp refuses: anybody could write tracebacks of those into the log."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_http_log = logging.getLogger("minio_gw.control.http")
_http_log.addFilter(_is_a_failure)


@dataclass
class Control:
    """The control surface of one process.

    `not_ready` says why it is not ready, empty when it is; `readiness` whom STS cannot ask; `gauges` what the pool has.
    """

    desk: Desk
    world: World
    sts: StsService
    administration: Administration
    not_ready: Callable[[], Awaitable[list[str]]]
    readiness: Readiness
    metrics_public: bool
    gauges: Callable[[], Mapping[str, float]] = dict

    def server(self) -> web.Server:
        """Return what makes the protocol of a connection that is handed over; it reads every head that the plane has read."""
        return Guests(
            self.handle, access_log=None, max_line_size=MAX_TARGET, max_field_size=MAX_FIELD, max_headers=2 * MAX_HEADERS,
            auto_decompress=False, lingering_time=2, handler_cancellation=True, logger=_http_log,
        )  # fmt: skip

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path = raw_path(http.raw_path)
        if path.startswith(HEALTH):
            response = await self._health(path)
        elif path in METRICS:
            response = await self._metrics(http, path)
        elif is_administration(plain(http.raw_path)):
            response = await self.administration.handle(http)
        else:
            response = await self._sts(http)
        response.headers["Server"] = "minio-gw"  # aiohttp would tell its own version, and Python's
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.force_close()
        return response

    async def _health(self, path: str) -> web.Response:
        """Live: this process answers. Ready: it can serve: the view loaded, the backend and the policy service answer; cluster is the same.

        Who has credentials needs no identity provider: that one is away is told, and makes nothing unready.
        """
        if path == "/minio/health/live":
            return web.Response(text="")
        if path not in READY:
            return web.Response(status=404)
        reasons = await self.not_ready()
        told = {"ready": not reasons, "reasons": reasons, "sts_unready": await self.readiness.unready()}
        return web.json_response(told, status=503 if reasons else 200)

    async def _metrics(self, http: web.BaseRequest, path: str) -> web.Response:
        """Tell Prometheus what this process counted: anybody where the settings make that public, else who may (scrapers.py).

        A refusal has its line in the log and counts; what is told is no request of the metrics, or each look would change what is looked at.
        """
        with handed.served(http, self.desk, scrapers.ACTION, unless=200) as line:
            try:
                await self._may_scrape(http, line)
            except S3Error as error:
                line.error, line.reason = error.code, error.reason
                self.desk.denials.note(line, error, self.desk.clock())
                return handed.answered(line, self._refusal(error, path, line.request_id))
            return handed.answered(line, self._exposed())

    def _exposed(self) -> web.Response:
        """Return what was counted; the look itself is not in flight."""
        own = {"requests_in_flight": self.desk.inflight - 1, "log_lines_lost": self.desk.log.lost}
        gauges = {**own, **self.gauges()}
        service = self.desk.service
        text = self.desk.counters.render(gauges, service.tally if service is not None else None)
        return web.Response(body=text.encode(), headers={"Content-Type": EXPOSITION})

    async def _may_scrape(self, http: web.BaseRequest, line: AccessLine) -> None:
        """Return if the metrics may be told. Raises AccessDenied and what else a head's reading may."""
        if http.method not in {"GET", "HEAD"}:
            raise AccessDenied(reason="metrics are only read")
        if not self.metrics_public:
            request = handed.head(http, line, self.desk)
            await scrapers.admit(request, self.world, now=int(self.desk.clock()))

    def _refusal(self, error: S3Error, path: str, request_id: str) -> web.Response:
        return _xml(render(error, resource=path, request_id=request_id), request_id, error.status)

    async def _sts(self, http: web.BaseRequest) -> web.Response:
        """Answer an STS call, log it and count it."""
        with handed.served(http, self.desk, "STS") as line:
            return handed.answered(line, await self._answered(http, line))

    async def _answered(self, http: web.BaseRequest, line: AccessLine) -> web.Response:
        try:
            return await self._call(http, handed.head(http, line, self.desk), line)
        except (StsError, S3Error) as error:
            line.error, line.reason = error.code, error.reason or error.text
            self.desk.denials.note(line, error, time.time())
            return _xml(render_error(error.code, error.text, line.request_id), line.request_id, error.status)
        except Exception:  # noqa: BLE001 - the last resort: logged once, answered as InternalError
            _log.exception("request %s failed", line.request_id)
            line.error = "InternalError"
            return self._refusal(InternalError(), line.path, line.request_id)

    async def _call(self, http: web.BaseRequest, request: S3Request, line: AccessLine) -> web.Response:
        body = await handed.body(http, MAX_FORM)
        line.bytes_in = len(body)
        signer = None
        if request.header("authorization"):
            payload = hashlib.sha256(body).hexdigest()
            signer = authenticate(
                request, self.world.lookup, self.world.keys, now=int(time.time()), service="sts", payload=payload
            ).principal
        query = http.raw_path.partition("?")[2]
        call = parse_call(
            query, body, request.header("content-type"), signer=signer, source_ip=line.source_ip,
            certificate=_certificate(http), secure=request.secure,
        )  # fmt: skip
        call = replace(call, user_agent=request.header("user-agent"), referer=request.header("referer"))
        line.operation = call.action if call.action in ACTIONS else "STS"  # an invented name is no label
        return _xml(await self.sts.call(call, request_id=line.request_id), line.request_id)


def _certificate(http: web.BaseRequest) -> bytes | None:
    """Return the client's certificate (DER) of this very connection; what a header says of one is never believed (trap 44)."""
    handshake = http.transport.get_extra_info("ssl_object") if http.transport else None
    # A resumed session brings the certificate of another connection, which nobody has verified since.
    if handshake is None or handshake.session_reused:
        return None
    shown: bytes | None = handshake.getpeercert(binary_form=True)
    return shown


def _xml(body: bytes, request_id: str, status: int = 200) -> web.Response:
    response = web.Response(status=status, body=body, content_type="application/xml")
    response.headers["x-amz-request-id"] = request_id
    return response
