"""Programs for measurements, each a process of its own so that nobody measures the other's interpreter.

    python objects.py serve                     a store: GET /bucket/SIZE answers so many bytes; prints its port
    python objects.py dawdle PORT COUNT         clients that read 8 KiB each, ten times a second; the request comes on stdin

Both end when their standard input does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading

import uvloop

PIECE, PAUSE = 8192, 0.1  # bytes, seconds
WHOLE = bytes(16 << 20)


class Store(asyncio.Protocol):
    """Answers each head that comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, self.data = self.data.partition(b"\r\n\r\n")
            name = head.split(b" ", 2)[1].rpartition(b"/")[2]
            size = int(name) if name.isdigit() else 0
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            if size:
                self.transport.write(WHOLE[:size] if size < 1 << 20 else memoryview(WHOLE)[:size])


async def serve() -> None:
    """Serve until standard input ends."""
    server = await asyncio.get_running_loop().create_server(Store, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - it is what the program says
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def dawdle(port: int, count: int) -> None:
    """Read slowly until standard input ends; says so when every answer has begun."""
    request = bytes.fromhex(sys.stdin.readline())
    readers = []
    for _ in range(count):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * PIECE)
        one.connect(("127.0.0.1", port))
        one.sendall(request)
        readers.append(one)
    for one in readers:
        if not one.recv(PIECE).startswith(b"HTTP/1.1 200"):
            sys.exit("refused")
    print("reading", flush=True)  # noqa: T201 - as above
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.wait(PAUSE):
        for one in readers:
            if not one.recv(PIECE):
                sys.exit("an answer ended")
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        uvloop.run(serve())
    else:
        dawdle(int(sys.argv[2]), int(sys.argv[3]))
