"""A store that costs next to nothing: it makes the bytes that are read, and drops the bytes that are written.

    python bench/origin.py PORT FILE

GET /bucket/SIZE/name is answered with SIZE bytes: FILE, again and again, by sendfile. PUT is answered 200 when all of
its body came: what is above a piece is discarded inside the kernel (MSG_TRUNC, tcp(7)) without entering this process.
Where the key ends in "digest", the body is read, freed of aws-chunked framing, and its SHA-256 is the ETag: so a client
can know what arrived. Nobody's signature is looked at. One thread, epoll, llhttp for the heads.
"""

from __future__ import annotations

import hashlib
import os
import re
import select
import socket
import sys
from collections.abc import Iterator

import httptools

PIECE = 1 << 20
_SIZE = re.compile(rb"/[^/]+/(\d+)/")
_SINK = bytearray(PIECE)
_BIG = 1 << 16  # bodies from here on are drained past the parser


def unframed(body: bytes) -> Iterator[memoryview]:
    """Yield the data of an aws-chunked body: "size[;chunk-signature=…]", line, data, line; the last is empty."""
    start, view = 0, memoryview(body)
    while start < len(body):
        line_end = body.index(b"\r\n", start)
        begin = line_end + 2
        size = int(body[start:line_end].partition(b";")[0], 16)
        if not size:
            return
        yield view[begin : begin + size]
        start = begin + size + 2


class Connection:
    """One connection: requests in order, each answered when its body is there."""

    def __init__(self, sock: socket.socket, file: int, length: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.file, self.file_length = sock, file, length
        self.drain = 0  # bytes of a body to discard
        self.sending = 0  # bytes of an answer to make
        self.out = bytearray()
        self._fresh()

    def _fresh(self) -> None:
        self.parser, self.url, self.headers = httptools.HttpRequestParser(self), b"", {}
        self.body: list[bytes] | None = None
        self.length = 0

    def on_url(self, url: bytes) -> None:
        """Keep the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what matters: how long the body is, and how it is framed."""
        name = name.lower()
        if name == b"content-length":
            self.length = int(value)
        elif name == b"content-encoding" and b"aws-chunked" in value:
            self.headers[name] = value

    def on_headers_complete(self) -> None:
        """Keep the body only where its digest is wanted."""
        self.body = [] if self.url.partition(b"?")[0].endswith(b"digest") else None

    def on_body(self, piece: bytes) -> None:
        """Count it, and keep it where its digest is wanted."""
        self.length -= len(piece)
        if self.body is not None:
            self.body.append(piece)

    def on_message_complete(self) -> None:
        """Answer."""
        if self.parser.get_method() == b"PUT":
            self._stored()
        else:
            self._read()
        self._fresh_fields()

    def _fresh_fields(self) -> None:
        self.url, self.headers, self.body, self.length = b"", {}, None, 0

    def _stored(self) -> None:
        etag = b"sink"
        if self.body is not None:
            body = b"".join(self.body)
            pieces = unframed(body) if b"content-encoding" in self.headers else [body]
            etag = hashlib.sha256(b"".join(pieces)).hexdigest().encode()
        self.out += b'HTTP/1.1 200 OK\r\nETag: "%b"\r\nContent-Length: 0\r\nServer: origin\r\n\r\n' % etag

    def _read(self) -> None:
        found = _SIZE.match(self.url)
        size = int(found[1]) if found else 0
        self.out += b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        self.out += b'ETag: "source"\r\nContent-Length: %d\r\nServer: origin\r\n\r\n' % size
        if self.parser.get_method() == b"GET":
            self.sending, self.offset = size, 0

    def readable(self) -> bool:
        """Take what came; return whether the connection lives."""
        try:
            if self.drain:
                return self._discard()
            data = self.sock.recv(_BIG)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self.parser.feed_data(data)
            if self.length >= _BIG and self.body is None:  # head and some of a big body: the rest goes past us
                self.drain = self.length
        return bool(data)

    def _discard(self) -> bool:
        count = self.sock.recv_into(_SINK, min(PIECE, self.drain), socket.MSG_TRUNC)
        self.drain -= count
        if not self.drain and count:
            self._stored()
            self._fresh()  # the parser waits for a body that it will never see
        return bool(count)

    def writable(self) -> bool:
        """Send what there is; return whether the connection lives."""
        try:
            while self.out:
                del self.out[: self.sock.send(self.out, socket.MSG_MORE if self.sending else 0)]
            while self.sending:
                start = self.offset % self.file_length
                count = os.sendfile(
                    self.sock.fileno(), self.file, start, min(self.sending, self.file_length - start, PIECE)
                )
                self.sending -= count
                self.offset += count
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    @property
    def wants(self) -> int:
        """What to wait for: a client that does not read is not read from."""
        return select.EPOLLOUT if self.out or self.sending else select.EPOLLIN


def serve(port: int, path: str) -> None:
    """Answer until killed."""
    file = os.open(path, os.O_RDONLY)
    length = os.fstat(file).st_size
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poll, connections = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                sock, _ = listener.accept()
                connections[sock.fileno()] = (Connection(sock, file, length), select.EPOLLIN)
                poll.register(sock, select.EPOLLIN)
                continue
            one, waiting = connections[number]
            alive = (waiting == select.EPOLLOUT or one.readable()) and one.writable()
            if not alive:
                del connections[number]
                one.sock.close()
            elif one.wants != waiting:
                connections[number] = (one, one.wants)
                poll.modify(number, one.wants)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
