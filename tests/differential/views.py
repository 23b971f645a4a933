"""One request, three views: what botocore signed, what policy was asked, what the backend received.

Each view is read from its own source, by code that shares nothing with the gateway's: the signer's canonical request, the
questions that a recording authorizer got, the bytes that a recording backend got.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from iam.model import AccessRequest, Allow, Decision
from tests.servers.processes import BACKEND
from tests.servers.recording import Recorded, RecordingBackend
from tests.traps.raw import Answer, Wire
from tests.unit.gateway.front import serve
from tests.unit.gateway.signers import ANN, boto

Pairs = tuple[tuple[bytes, bytes], ...]
#: What the gateway puts on a request of its own, and what frames its body.
ITS_OWN = frozenset(
    {"host", "authorization", "x-amz-date", "x-amz-content-sha256", "content-length", "transfer-encoding"}
)


@dataclass
class Recorder:
    """An authorizer that allows everything, and remembers what it was asked."""

    questions: list[AccessRequest] = field(default_factory=list)

    def decide_now(self, request: AccessRequest) -> Decision:
        self.questions.append(request)
        return Allow("recorded")

    async def decide(self, request: AccessRequest) -> Decision:
        return self.decide_now(request)

    def wants_existing_tags(self, _: AccessRequest) -> bool:
        return False

    async def ready(self) -> None:
        return None

    async def close(self) -> None:
        return None


class InProcess:
    """A gateway in a thread of this process, its authorizer a recorder, its backend a recording one."""

    def __init__(self) -> None:
        self.recorder, self.backend = Recorder(), RecordingBackend()
        self._loop, ready = asyncio.new_event_loop(), threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(ready),))
        self._thread.start()
        assert ready.wait(60)

    async def _run(self, ready: threading.Event) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self.port = (await serve(stack, self.backend.endpoint, self.recorder, domains=("s3.example.test",))).port
            ready.set()
            await self._stop.wait()

    def close(self) -> None:
        """Stop it, and wait."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()
        self.backend.close()

    def exchange(self, data: bytes, *, head: bool) -> Answer | None:
        """Send one request's bytes, on a connection of its own, with clean recorders."""
        self.recorder.questions.clear()
        self.backend.requests.clear()
        with Wire(self.port) as wire:
            return wire.send(data).answer(head=head)


@dataclass(frozen=True)
class Signed:
    """What the signature covers, as botocore's canonical request has it."""

    method: str
    path: str
    query: Pairs
    headers: Mapping[str, str]

    @classmethod
    def of(cls, canonical: str) -> Signed:
        """Read a canonical request."""
        method, path, query, rest = canonical.split("\n", 3)
        lines = rest.split("\n\n", 1)[0].split("\n")
        return cls(method, path, pairs(query), dict(line.split(":", 1) for line in lines))


def pairs(query: str) -> Pairs:
    """Return the decoded pairs of a query, in an order of their own; `+` as it is, for a signature encodes spaces."""
    split = [piece.partition("=") for piece in query.split("&") if piece]
    return tuple(sorted((unquote_to_bytes(n), unquote_to_bytes(v)) for n, _, v in split))


class _Canonical:
    """A signer that signs the path as it is and remembers its canonical request."""

    canonical = ""

    def _normalize_url_path(self, path: str) -> str:
        return path

    def canonical_request(self, request: AWSRequest) -> str:
        self.canonical = super().canonical_request(request)
        return self.canonical


class HeaderSigner(_Canonical, SigV4Auth):
    """Signs in the Authorization header."""

    def payload(self, request: AWSRequest) -> str:
        return request.headers["X-Amz-Content-SHA256"]


class QuerySigner(_Canonical, S3SigV4QueryAuth):
    """Presigns."""


def sign(
    method: str, target: str, headers: Sequence[tuple[str, str]], *, host: str, presign: bool, payload: str
) -> tuple[str, list[tuple[str, str]], Signed]:  # fmt: skip
    """Let botocore sign; return the target, the headers in their spelling, and what it signed."""
    request = AWSRequest(method, f"http://{host}{target}")
    for name, value in headers:
        request.headers.add_header(name, value)
    if presign:
        signer = QuerySigner(boto(ANN), "s3", "us-east-1", expires=60)
    else:
        request.headers["X-Amz-Content-SHA256"] = payload
        signer = HeaderSigner(boto(ANN), "s3", "us-east-1")
    signer.add_auth(request)
    target = re.sub(r"\Ahttps?://[^/?]*", "", request.url) if presign else target
    return target, [("Host", host), *request.headers.items()], Signed.of(signer.canonical)


def signed_by_the_gateway(request: Recorded) -> bool:
    """Whether botocore, with the backend's keys, signs what was received as the gateway did: nothing in it is unsigned."""
    method, target, _ = request.line.split(" ")
    sent = request.headers
    names = re.search("SignedHeaders=([^,]*)", sent["authorization"])[1].split(";")
    again = AWSRequest(
        method, f"http://{sent['host']}{target}", headers={n: sent[n] for n in names if n != "x-amz-date"}
    )
    signer = HeaderSigner(Credentials(BACKEND.access_key_id, BACKEND.secret.reveal()), "s3", "us-east-1")
    again.context["timestamp"] = sent["x-amz-date"]
    again.headers["X-Amz-Date"] = sent["x-amz-date"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    covered = all(name in names for name in sent if name.startswith("x-amz-"))
    return covered and sent["authorization"].endswith("Signature=" + signer.signature(text, again))
