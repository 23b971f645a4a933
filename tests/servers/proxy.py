"""A TCP proxy on loopback that can delay, cut, refuse and swallow, switched while connections are open.

It runs in the test's own event loop. `delay` holds back every piece that the server sends. `swallowing` keeps all
connections open and takes every byte without passing it on: a black hole, which no kernel notices. `cut()` ends the
open connections; `refusing` ends new ones at once. `budgets` are numbers of bytes, one for each of the next connections:
after so many from the server (the last of them delivered) the connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self


class Proxy:
    """Forwards a free loopback port, or the one named, to another loopback port: `async with Proxy(port) as proxy`."""

    def __init__(self, target: int, host: str = "127.0.0.1", port: int = 0) -> None:
        self._target = target
        self._host = host
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.port = port
        self.delay = 0.0
        self.refusing = False
        self.budgets: list[int] = []
        self.accepted = 0
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._open.set()
        self.cut()
        await self._server.wait_closed()
        await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def endpoint(self) -> str:
        return f"http://{self._host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._writers) // 2

    @property
    def swallowing(self) -> bool:
        return not self._open.is_set()

    @swallowing.setter
    def swallowing(self, value: bool) -> None:
        (self._open.clear if value else self._open.set)()

    def cut(self) -> None:
        """End every open connection, without a goodbye."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._serving.add(asyncio.current_task())
        self._writers.add(writer)
        try:
            if self.refusing:
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(up_writer)
            budget = self.budgets.pop(0) if self.budgets else None
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, up_writer, lambda: 0.0, None))
                both.create_task(self._pump(up_reader, writer, lambda: self.delay, budget))
        except* OSError:
            pass  # one side is gone: so is the other
        finally:
            for each in (writer, *([up_writer] if "up_writer" in locals() else [])):
                self._writers.discard(each)
                each.transport.abort()
            self._serving.discard(asyncio.current_task())

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        delay: Callable[[], float],
        budget: int | None,
    ) -> None:
        """Carry bytes until one side ends or the budget is used up; then both sides end."""
        while piece := await reader.read(65536):
            if delay():
                await asyncio.sleep(delay())
            await self._open.wait()
            if budget is not None:
                piece, budget = piece[:budget], budget - len(piece)
            writer.write(piece)
            await writer.drain()
            if budget is not None and budget <= 0:
                self.cuts += 1
                break
        raise ConnectionResetError


async def eventually(condition: Callable[[], object], what: str, seconds: float = 10) -> float:
    """Wait until a condition holds; return how many seconds it took. Fails at the deadline."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not condition():
        if loop.time() - started > seconds:
            raise TimeoutError(f"{what}: not within {seconds} s")
        await asyncio.sleep(0.01)
    return loop.time() - started
