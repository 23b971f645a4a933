"""OPA's Data API over OPA's evaluation engine, where the opa binary is not: `opa_engine.py ENGINE PORT FOLDER`.

Only what a policy decision needs: `POST /v1/data/<path>` with `{"input": …}`; an undefined document answers `{}`.
Connections stay open and TCP_NODELAY is set, or Nagle's algorithm would add 40 ms to each answer.
https://www.openpolicyagent.org/docs/rest-api#get-a-document-with-input
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar


def main(engine_folder: str, port: str, policies: str) -> None:
    """Load every Rego file of a folder and serve until terminated."""
    sys.path.insert(0, engine_folder)
    import opa_bindings

    engine = opa_bindings.OpaEngine()
    for file in sorted(Path(policies).glob("*.rego")):
        engine.add_policy(file.name, file.read_text())
    Handler.engine, Handler.undefined = engine, opa_bindings.OpaUndefinedError
    Server(("127.0.0.1", int(port)), Handler).serve_forever()


class Server(ThreadingHTTPServer):
    """A thread per connection; the backlog holds a burst of gateways connecting at once."""

    request_queue_size = 128
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: ClassVar[Any]
    undefined: ClassVar[type[Exception]]

    def do_POST(self) -> None:
        """Evaluate a document."""
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        except ValueError:
            self._answer(400, {"code": "invalid_parameter"})
            return
        path = self.path.partition("?")[0]
        if not path.startswith("/v1/data"):
            self._answer(404, {"code": "resource_not_found"})
            return
        try:
            self._answer(
                200,
                {
                    "result": self.engine.eval_document(
                        path.removeprefix("/v1/data").strip("/").replace("/", "."), body.get("input")
                    )
                },
            )
        except self.undefined:
            self._answer(200, {})
        except Exception as error:
            self._answer(500, {"code": "internal_error", "message": str(error)})

    def log_message(self, *_: object) -> None:
        """Say nothing: the tests read answers."""

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    main(*sys.argv[1:4])
