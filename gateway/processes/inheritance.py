"""What a worker has from its parent: listening sockets, two pipes, and whether it takes over from another worker.

By one pipe it says that it serves; the other one ends with the parent. The parent holds the listening sockets open as long as it
lives. What clients have connected, and no worker has accepted yet, therefore outlives every worker: the next one accepts it (a
closed listener would answer those clients with a reset).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass

BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Inheritance:
    """Descriptors, as numbers that are the same in parent and child. Nobody writes to `parent`, which only the parent holds open."""

    sockets: tuple[int, ...]
    ready: int
    parent: int
    takes_over: bool

    @classmethod
    def read(cls, text: str) -> Inheritance:
        """Return what `str` has written."""
        sockets, ready, parent, takes_over = text.split(";")
        return cls(tuple(int(number) for number in sockets.split(",")), int(ready), int(parent), takes_over == "1")

    def __str__(self) -> str:
        return f"{','.join(map(str, self.sockets))};{self.ready};{self.parent};{int(self.takes_over)}"

    def listeners(self) -> list[socket.socket]:
        """Return the listening sockets; the child's own children shall not have them."""
        for number in (*self.sockets, self.ready, self.parent):
            os.set_inheritable(number, False)
        return [socket.socket(fileno=number) for number in self.sockets]

    def say_ready(self) -> None:
        """Tell the parent that this worker serves."""
        with suppress(BrokenPipeError):  # it is gone: that is told by the other pipe
            os.write(self.ready, b"1")
        os.close(self.ready)


def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address of a host ("": all of the machine's), beside others that do. Raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                one = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a family that this machine lacks is not needed
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setblocking(False)
            one.bind(address)
            one.listen(BACKLOG)
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened
