"""A directory that does what a test tells it, on a real socket: sansldap's server side, and any bytes besides."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sansldap import BindRequest, LDAPMessage, LDAPResultCode, LDAPServer, SearchRequest

OK = LDAPResultCode.SUCCESS


@dataclass
class Visit:
    """One connection: what came, and how to answer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    session: LDAPServer = field(default_factory=LDAPServer)

    async def say(self, data: bytes = b"") -> None:
        """Send what the session has to send, and these bytes."""
        self.writer.write(self.session.data_to_send() + data)
        await self.writer.drain()


Script = Callable[[Visit, LDAPMessage], Awaitable[None]]


async def takes_everybody(visit: Visit, message: LDAPMessage) -> None:
    """Take every password and find nothing."""
    if isinstance(message, BindRequest):
        visit.session.bind_response(message.message_id)
    elif isinstance(message, SearchRequest):
        visit.session.search_result_done(message.message_id)
    await visit.say()


class Directory:
    """Follows `script` for each message that comes; `came` are the messages, `visits` the connections."""

    def __init__(self, script: Script = takes_everybody, context: ssl.SSLContext | None = None) -> None:
        self.script, self.came, self.visits = script, list[LDAPMessage](), 0
        self._context, self._tasks = context, set[asyncio.Task]()

    async def __aenter__(self) -> Directory:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        self._tasks.add(asyncio.current_task())
        visit = Visit(reader, writer)
        try:
            with contextlib.suppress(Exception, asyncio.CancelledError):  # who is first ends it
                while data := await reader.read(2**16):
                    for message in visit.session.receive(data):
                        self.came.append(message)
                        await self.script(visit, message)
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)  # the loop closes the socket in its next round
