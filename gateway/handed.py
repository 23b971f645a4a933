"""A request that the data plane handed over to the control surface: its line in the log, its head, its body."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web

from gateway.errors import EntityTooLarge, IncompleteBody, S3Error
from gateway.observe import AccessLine
from gateway.peer import is_secure, lines, source_ip
from gateway.s3.request import S3Request, parse
from gateway.turns.desk import Desk

BODY_TIMEOUT = 20.0  # seconds for a body to arrive


@contextmanager
def served(http: web.BaseRequest, desk: Desk, operation: str, *, unless: int = 0) -> Iterator[AccessLine]:
    """Give the access line of a request; count it and write it, also when its client does not wait for the answer.

    An answer of the status `unless` is neither counted nor written.
    """
    started = time.perf_counter()
    forwarded = lines(http.headers.items(), "x-forwarded-for")
    address = source_ip(peer(http), forwarded, desk.trusted_proxies)
    line = AccessLine(desk.ids.next(), http.method, http.raw_path.partition("?")[0], address, operation=operation)
    desk.inflight += 1
    try:
        yield line
    finally:
        desk.inflight -= 1
        line.status = line.status or 499
        line.seconds = time.perf_counter() - started
        if line.status != unless:
            desk.counters.count(line)
            desk.log.write(line)


def answered(line: AccessLine, response: web.Response) -> web.Response:
    """Note an answer in its line, and return it."""
    line.status = response.status
    line.bytes_out = len(response.body) if isinstance(response.body, bytes) else 0
    return response


def head(http: web.BaseRequest, line: AccessLine, desk: Desk, repeatable: frozenset[str] = frozenset()) -> S3Request:
    """Return the head of a request. Raises an S3Error."""
    headers = [(n.decode("ascii", "replace"), v.decode("utf-8", "replace")) for n, v in http.raw_headers]
    proto = lines(http.headers.items(), "x-forwarded-proto")
    secure = is_secure(peer(http), proto, desk.trusted_proxies, tls=http.secure)
    return parse(
        http.method,
        http.raw_path,
        headers,
        domains=desk.domains,
        source_ip=line.source_ip,
        secure=secure,
        repeatable=repeatable,
    )


async def body(http: web.BaseRequest, limit: int, too_large: type[S3Error] = EntityTooLarge) -> bytes:
    """Return a body of `limit` bytes at most. Raises `too_large`, IncompleteBody."""
    refused = too_large(f"This body may hold {limit} bytes at most.")
    if (http.content_length or 0) > limit:
        raise refused
    _continue(http)
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for piece in http.content.iter_any():
                found += piece
                if len(found) > limit:
                    raise refused
    except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, TimeoutError) as error:
        raise IncompleteBody(reason=f"body: {type(error).__name__}") from error
    return bytes(found)


def _continue(http: web.BaseRequest) -> None:
    """Tell a client that waits to go on; one of HTTP/1.0 cannot know how (RFC 9110 section 10.1.1)."""
    waits = http.headers.get("Expect", "").lower() == "100-continue" and http.version >= aiohttp.HttpVersion11
    if waits and http.transport is not None and not http.content.at_eof():
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def peer(http: web.BaseRequest) -> str:
    """Return the address at the other end, "" when it is gone."""
    found = http.transport.get_extra_info("peername") if http.transport else None
    return found[0] if isinstance(found, tuple) else ""
