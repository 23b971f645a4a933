"""One client connection under aiohttp, made as strict as the rest: until `gateway.wire` takes its place.

Bytes that are no HTTP/1.1 get S3's own error document with a request id, and one access line; aiohttp by itself would
print them, credentials and all, and send them back (trap 54). A head that does not end in time ends its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from gateway.errors import InternalError, InvalidRequest, RequestHeaderSectionTooLarge, RequestTimeout, S3Error

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refuse = Callable[[web.BaseRequest, S3Error], web.StreamResponse]


class Server(web.Server):
    """aiohttp's server, with connections of ours. `refuse` answers what never became a request."""

    def __init__(self, handler: Handler, refuse: Refuse, head_timeout: float, **how: Any) -> None:
        super().__init__(handler, **how)
        self.refuse = refuse
        self.head_timeout = head_timeout

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(RequestHandler):
    """One connection: a deadline for each head that has begun, and refusals in S3's words."""

    __slots__ = ("_body", "_deadline", "_server")

    def __init__(self, server: Server, **how: Any) -> None:
        super().__init__(server, **how)
        self._server = server
        self._deadline: asyncio.TimerHandle | None = None
        self._body: StreamReader = EMPTY_PAYLOAD  # of the last request whose head has come

    def data_received(self, data: bytes) -> None:
        """Feed the parser; the clock runs while it has the beginning of a head."""
        between, before = self._body.is_eof(), self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._body = self._messages[-1][1]
            self._disarm()
        elif between and self._deadline is None:
            self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let the clock go too."""
        self._disarm()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words, which repeat what came
    ) -> web.StreamResponse:
        """Answer as every refusal is answered, without a byte of what came; then the connection ends."""
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is on its way")
        response = self._server.refuse(request, _in_s3s_words(status, exc))
        response.force_close()
        return response

    def _arm(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(self._server.head_timeout, self._late)

    def _late(self) -> None:
        if self._waiter is None or self._waiter.done():  # a request before it is still being answered
            self._arm()
            return
        self._deadline = None
        self._messages.append((_ErrInfo(status=400, exc=RequestTimeout(), message=""), EMPTY_PAYLOAD))
        self._waiter.set_result(None)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _in_s3s_words(status: int, error: BaseException | None) -> S3Error:
    if isinstance(error, S3Error):
        return error
    if status != 400:
        return InternalError(reason=type(error).__name__)
    if isinstance(error, LineTooLong) or "Too many headers" in str(error):
        return RequestHeaderSectionTooLarge()
    return InvalidRequest("The request is not well-formed HTTP/1.1.", reason=type(error).__name__)
