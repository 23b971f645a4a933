"""A request's body as the aiohttp shell reads it: piece by piece, under a deadline, never held whole unless it is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from gateway.chunked import SignedRelay, UnsignedRelay
from gateway.errors import EntityTooLarge, IncompleteBody, RequestTimeout, S3Error
from gateway.forward import UpstreamRequest
from gateway.observe import AccessLine

_CUT = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, web.RequestPayloadError)


@dataclass(frozen=True)
class Incoming:
    """One body; `timeout` is how many seconds it may be silent."""

    http: web.BaseRequest
    line: AccessLine
    timeout: float

    @property
    def length(self) -> int | None:
        """The announced length in bytes, None when there is none."""
        return self.http.content_length

    async def piece(self) -> bytes:
        """Return what is there of the body, b"" at its end. Raises IncompleteBody (cut short) or RequestTimeout (silent)."""
        try:
            async with asyncio.timeout(self.timeout):
                piece = await self.http.content.readany()
        except TimeoutError:
            raise RequestTimeout(reason="a silent upload") from None
        except _CUT as error:
            raise IncompleteBody(reason=f"upload: {type(error).__name__}") from error
        self.line.bytes_in += len(piece)
        return piece

    async def whole(self, limit: int) -> bytes:
        """Return the whole body, at most `limit` bytes of it. Raises EntityTooLarge, and as `piece`."""
        if (self.length or 0) > limit:
            raise EntityTooLarge(f"This body may hold {limit} bytes at most.")
        self.proceed()
        body = bytearray()
        while piece := await self.piece():
            body += piece
            if len(body) > limit:
                raise EntityTooLarge(f"This body may hold {limit} bytes at most.")
        return bytes(body)

    def proceed(self) -> None:
        """Tell a client that waits to go on; one of HTTP/1.0 cannot know how (RFC 9110 section 10.1.1)."""
        http = self.http
        if (
            http.headers.get("Expect", "").lower() == "100-continue"
            and http.version >= aiohttp.HttpVersion11
            and http.transport is not None
            and not http.content.at_eof()
        ):
            http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class Streamed:
    """The body on its way up, verified while it crosses."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._error: S3Error | None = None

    def check(self) -> None:
        """Raise what went wrong with the body, if anything did."""
        if self._error is not None:
            raise self._error

    async def through(self, upstream: UpstreamRequest) -> AsyncIterator[bytes]:
        """Yield what the backend gets; raising cuts its connection short of the announced length."""
        self._incoming.proceed()
        try:
            async for piece in self._pieces(upstream.relay):
                yield piece
        except S3Error as error:
            self._error = error
            raise

    async def whole(self, decoder: UnsignedRelay | SignedRelay) -> bytes:
        """Return the verified payload of an aws-chunked body; its announced length bounds it."""
        self._incoming.proceed()
        return b"".join([piece async for piece in self._pieces(decoder)])

    async def _pieces(self, relay: UnsignedRelay | SignedRelay | None) -> AsyncIterator[bytes]:
        if relay is None:
            while piece := await self._incoming.piece():
                yield piece
            return
        # One piece is always held back: the announced length cannot be reached before the framing is whole.
        held = b""
        while piece := await self._incoming.piece():
            out = relay.feed(piece)
            if out and held:
                yield held
            held = out or held
        relay.finish()
        yield held
