"""Connections of the control surface: a client that ends its side behind a whole request is answered, as on the plane.

aiohttp's own protocol takes the end of what a client sends for the end of the client, and drops the answer. It need not be: probes
and scripts that pipe a request into a socket end their side behind it, and read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import StreamReader, web


class Guest(web.RequestHandler):
    """One connection. `asked` is the body of the request that is being answered."""

    __slots__ = ("asked",)

    def __init__(self, manager: web.Server, **how: Any) -> None:
        self.asked: StreamReader | None = None
        super().__init__(manager, **how)

    def eof_received(self) -> bool:  # type: ignore[override] # aiohttp's says nothing, which closes
        """Stay until the answer has left if all of the request is here; one that is cut short ends now (asyncio)."""
        # TLS ends both ways at once.
        if self.transport is None or self.transport.get_extra_info("ssl_object") is not None:
            return False
        body = self._messages[0][1] if self._messages else self.asked
        return body is not None and body.is_eof()


class Guests(web.Server):
    """Makes the protocol of each connection that the plane hands over."""

    def __init__(self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], **how: Any) -> None:
        super().__init__(handle, request_factory=_request, **how)

    def __call__(self) -> Guest:
        """Return the protocol of a new connection."""
        return Guest(self, loop=self._loop, **self._kwargs)


def _request(
    message: Any, body: StreamReader, guest: web.RequestHandler, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    """Make the request of a head, and remember its body: the message is in no queue any more."""
    cast("Guest", guest).asked = body
    return web.BaseRequest(message, body, guest, writer, task, asyncio.get_running_loop())
