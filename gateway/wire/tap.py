"""A large body that a client sends under TLS: decrypted into one buffer, and from there into the backend's socket.

Protocols that take `bytes` get them copied together by the loop, record by record; a BufferedProtocol says where decrypted bytes
go. The buffer is the thread's, used within one callback only: what the backend's socket does not take at once is copied.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from gateway.wire.carriers import SHARED

if TYPE_CHECKING:
    from gateway.wire.body import Body
    from gateway.wire.client import Client
    from gateway.wire.exchange import Exchange

TAPPED = 1 << 18  # bytes taken at a time


class Tap(asyncio.BufferedProtocol):
    """Stands in for a client while a body comes of which nothing has to be kept, and makes way at its end."""

    __slots__ = ("_body", "_client")

    def __init__(self, client: Client, body: Body) -> None:
        self._client = client
        self._body = body

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        """Return room for what belongs to the body, and no more (asyncio)."""
        return SHARED.view[: min(TAPPED, self._body.left or TAPPED)]

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes (asyncio)."""
        client, data = self._client, SHARED.view[:nbytes]
        exchange = client.exchange
        if exchange is not None and exchange.body is self._body:
            self._take(exchange, data)
        else:
            client.data_received(bytes(data))  # what comes for anybody else may be kept
        if self._body.done:
            client.transport.set_protocol(cast("asyncio.Protocol", client))

    def _take(self, exchange: Exchange, data: memoryview) -> None:
        """Send bytes of the body on; nothing of them is kept here."""
        self._client.seen = self._client.plane.pool.now
        exchange.turn.traffic.received += len(data)
        if exchange.upload is not None:
            exchange.upload.pour(data)
        self._body.moved(len(data))

    def eof_received(self) -> bool:
        """Tell the client's connection (asyncio)."""
        return self._client.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the client's connection (asyncio)."""
        self._client.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the client's connection (asyncio)."""
        self._client.pause_writing()

    def resume_writing(self) -> None:
        """Tell the client's connection (asyncio)."""
        self._client.resume_writing()
