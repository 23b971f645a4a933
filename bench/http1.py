"""The little of HTTP/1.1 that a load generator needs: an answer's head, its length, its body."""

from __future__ import annotations

import re
import socket

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_ETAG = re.compile(rb'\r\netag: *"([^"]*)"', re.IGNORECASE)


def parse_head(got: bytes) -> tuple[int, int, bytes] | None:
    """Return status, Content-Length and the bytes behind the head; None while the head is not there."""
    begin, found, rest = got.partition(b"\r\n\r\n")
    if not found:
        return None
    length = _LENGTH.search(begin + b"\r\n")
    return int(begin.split(b" ", 2)[1]), int(length[1]) if length else 0, rest


def etag(begin: bytes) -> str:
    """Return the ETag of a head."""
    found = _ETAG.search(begin)
    return found[1].decode() if found else ""


def read_head(sock: socket.socket) -> tuple[int, int, bytes, bytes]:
    """Return status, Content-Length, the bytes read behind the head, and all bytes read. Raises OSError."""
    got = b""
    while (parsed := parse_head(got)) is None:
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError("the connection was closed before an answer")
        got += piece
    return *parsed, got


def answer(sock: socket.socket) -> tuple[int, str, bytes]:
    """Return status, ETag and body of one answer."""
    status, length, rest, got = read_head(sock)
    body = bytearray(rest)
    while len(body) < length:
        piece = sock.recv(1 << 20)
        if not piece:
            raise ConnectionError("the connection was closed inside an answer")
        body += piece
    return status, etag(got), bytes(body)
