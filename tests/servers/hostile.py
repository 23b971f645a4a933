"""An HTTP server that answers as no provider should: redirects, answers without end, drips. It counts what it could send."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HUGE = 50 * 2**20  # bytes
PIECE = b" " * 2**16


class Hostile(ThreadingHTTPServer):
    """`/redirect/X` sends to X on `elsewhere`, `/huge` is 50 MB of white space, `/drip` a byte at a time, for ever."""

    daemon_threads = True

    def __init__(self, elsewhere: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        self.elsewhere = elsewhere
        self.asked: list[str] = []
        self.sent = 0
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """End it, and every answer that it still drips."""
        self.over.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hostile

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere + self.path.removeprefix("/redirect"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(HUGE))
        self.end_headers()
        piece, pause = (PIECE, 0.0) if self.path == "/huge" else (b" ", 0.05)
        try:
            while self.server.sent < HUGE and not self.server.over.wait(pause):
                self.wfile.write(piece)
                self.server.sent += len(piece)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass
