"""A gateway before a scripted backend: what its clients get, judged by an ordinary client, and what it holds."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.servers.processes import GatewayProcess, until
from tests.servers.scripted import ScriptedBackend
from tests.servers.vitals import Vitals, vitals
from tests.traps.raw import Wire, signed, written


@dataclass(frozen=True)
class Fetched:
    """What an ordinary HTTP client made of an answer; `cut`: it saw that the answer was not whole."""

    status: int
    body: bytes
    cut: bool


def read(wire: Wire, method: str = "GET") -> Fetched:
    """Read one answer with Python's own client: the judge of whether it looks whole. Status 0: not even a head came."""
    response = http.client.HTTPResponse(wire.socket, method=method)
    try:
        response.begin()
    except (http.client.HTTPException, ConnectionError, ssl.SSLError):
        return Fetched(0, b"", cut=True)
    try:
        return Fetched(response.status, response.read(), cut=False)
    except http.client.IncompleteRead as error:
        return Fetched(response.status, error.partial, cut=True)
    except (ConnectionError, ssl.SSLError):
        return Fetched(response.status, b"", cut=True)


class Front(GatewayProcess):
    """A gateway before a scripted backend, and what is known about its insides: `with Front(...) as gateway`."""

    context: ssl.SSLContext | None = None  # to connect with, where it speaks TLS

    def __init__(self, directory: Path, backend: ScriptedBackend | str, *words: str, **env: str) -> None:
        self._backend = backend
        endpoint = backend if isinstance(backend, str) else backend.endpoint
        super().__init__(directory, endpoint, *words, MINIO_PROMETHEUS_AUTH_TYPE="public", **env)

    def __enter__(self) -> Front:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def head(self, method: str, target: str, headers: dict[str, str] | None = None, version: str = "1.1") -> bytes:
        """Return the bytes of a signed request's head."""
        return written(method, target, signed(self, method, target) | (headers or {}), version=version)

    def wire(self, **how: int) -> Wire:
        """Connect, as `Wire` does; over TLS an end without a goodbye is an error."""
        wire = Wire(self.port, **how)
        if self.context is not None:
            wire.socket = self.context.wrap_socket(wire.socket, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        return wire

    def fetch(self, target: str, version: str = "1.1") -> Fetched:
        """Get an object over a connection of its own."""
        with self.wire() as wire:
            return read(wire.send(self.head("GET", target, version=version)))

    @property
    def vitals(self) -> Vitals:
        return vitals(self.process.popen.pid)

    @property
    def in_flight(self) -> int:
        """How many requests are being answered, as the metrics tell it."""
        with urllib.request.urlopen(
            f"{self.endpoint}/minio/v2/metrics/cluster", timeout=10, context=self.context
        ) as answer:
            return int(re.search(rb"^minio_gw_requests_in_flight (\d+)", answer.read(), re.MULTILINE)[1])

    @property
    def own_sockets(self) -> int:
        """How many sockets are open but for those to its backend, of which it keeps some."""
        return self.vitals.sockets - (0 if isinstance(self._backend, str) else self._backend.connections)

    def rests(self, sockets: int, seconds: float = 20) -> None:
        """Wait until nothing is in flight and no more sockets of its own are open than at rest."""
        until(self._is_quiet, "nothing is in flight", seconds)
        until(lambda: self.own_sockets <= sockets, f"no more than {sockets} sockets are open", seconds)

    def _is_quiet(self) -> bool:
        try:
            return self.in_flight == 0
        except OSError:  # so crowded that it cannot even say so
            return False

    def serves(self) -> None:
        """Hold that the next request is served."""
        assert self.fetch("/bkt/next").status == 200
