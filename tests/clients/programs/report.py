"""What every client's program shares: where the store is, and one JSON line for each call that it made.

A program makes the same calls wherever it is sent, directly to the store or through the gateway; the two reports must be
the same. What cannot be the same twice (times, ids that a server invents, its own address) is written as a placeholder.
The first line names the client and its version; every other line is {"call", "ok", "answer"}.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

#: Members whose value a server invents anew for each request, or that tell of the way to the answer: how often the client
#: asked again, since SeaweedFS now and then says InternalError while it makes room for a new bucket.
INVENTED = frozenset({
    "UploadId", "VersionId", "VersionIdMarker", "NextVersionIdMarker", "NextUploadIdMarker", "UploadIdMarker",
    "CopySourceVersionId", "DeleteMarkerVersionId", "RequestId", "HostId", "ContinuationToken", "NextContinuationToken",
    "version_id", "x-amz-version-id", "x-amz-copy-source-version-id", "x-amz-abort-rule-id",
    "RetryAttempts",
})  # fmt: skip

#: Headers that describe the connection or the server that answered, each with the reason why it may differ.
SERVERS_OWN = {
    "connection": "hop by hop (RFC 9110 section 7.6.1)",
    "date": "the moment of the answer",
    "keep-alive": "hop by hop (RFC 9110 section 7.6.1)",
    "server": "who answered (RFC 9110 section 10.2.4)",
    "transfer-encoding": "hop by hop: framing (RFC 9112 section 6.1)",
    "x-amz-id-2": "the store's id of the request",
    "x-amz-request-id": "each server's own id of the request",
    "x-content-type-options": "the gateway's own hardening of every answer",
    "x-minio-gw-backend-request-id": "the store's id of the request, beside the gateway's",
}

#: SeaweedFS's own bookkeeping, which it shows with some objects; no S3 header, so the allow-list keeps it.
_BOOKKEEPING = "seaweed-"

_MOMENT = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?"
    r"|(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
)
_PROGRAM = re.compile(r"/[^\s'\"]*/\.(?:tools|venv)[^\s'\"]*/([^\s'\"/]+)")  # where a client is installed
_REQUEST_ID = re.compile(r"(?i)((?:request|host)[ _-]?id\W{0,4})[\w+/=-]+|<(RequestId|HostId)>[^<]*</\2>")


@dataclass(frozen=True)
class Place:
    """Where the calls go: `endpoint` a URL, `bucket` a name that is free there, `folder` a scratch folder."""

    endpoint: str
    access_key: str
    secret_key: str
    token: str
    bucket: str
    folder: Path

    @classmethod
    def of_environment(cls) -> Place:
        """Read the place that the runner has set."""
        given = os.environ
        return cls(
            given["AWS_ENDPOINT_URL"], given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"],
            given.get("AWS_SESSION_TOKEN", ""), given["MATRIX_BUCKET"], Path(given["MATRIX_FOLDER"]),
        )  # fmt: skip

    @property
    def host(self) -> str:
        """Return HOST:PORT."""
        return self.endpoint.partition("://")[2]


class Report:
    """Makes calls and prints what came of each."""

    def __init__(self, client: str, version: str) -> None:
        self.place = Place.of_environment()
        print(json.dumps({"client": client, "version": version}), flush=True)

    def call(self, name: str, function: Callable[[], Any], fails: str = "") -> Any:
        """Make one call; `fails` is the error code that is the right answer to it. Returns its value, or None."""
        try:
            value = function()
        except Exception as error:
            answer = self.plain(described(error))
            expected = bool(fails) and fails in json.dumps(answer)
            # A sentence made for people has durations and addresses in it: the code is what must be the same.
            self._line(name, ok=expected, answer=fails if expected and isinstance(answer, str) else answer)
            return None
        self._line(name, ok=not fails, answer=self.plain(value))
        return value

    def program(self, name: str, *command: str, keep: Callable[[str], Any] = str, fails: str = "") -> str | None:
        """Run a command line as one call; what `keep` makes of its output is its answer."""

        def run() -> str:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                raise ProgramError(f"exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
            return keep(done.stdout)

        return self.call(name, run, fails)

    def plain(self, value: Any, name: str = "") -> Any:
        """Return a value as JSON without what cannot be the same twice."""
        if isinstance(value, Mapping):
            value = _without_length_of_xml(value)
            return {
                self._text(str(k)): self.plain(v, str(k)) for k, v in value.items() if not _servers_own(str(k).lower())
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.plain(v) for v in value]
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:16]}"
        if isinstance(value, (datetime, date)):
            return "(time)"
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return "(invented)" if name in INVENTED and value != "null" else self._text(str(value))

    def _text(self, text: str) -> str:
        text = text.replace(self.place.endpoint, "(endpoint)").replace(self.place.host, "(host)")
        text = text.replace(f"port={self.place.host.rpartition(':')[2]}", "port=(port)")
        text = text.replace(self.place.bucket, "(bucket)").replace(str(self.place.folder), "(folder)")
        text = _PROGRAM.sub(r"\1", text)
        return _REQUEST_ID.sub(lambda m: f"{m[1] or m[2]} (id)", _MOMENT.sub("(time)", text))

    @staticmethod
    def _line(name: str, *, ok: bool, answer: Any) -> None:
        print(json.dumps({"call": name, "ok": ok, "answer": answer}, sort_keys=True), flush=True)


def _servers_own(name: str) -> bool:
    return name in SERVERS_OWN or name.startswith(_BOOKKEEPING)


def _without_length_of_xml(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out the length of a document: it is compared itself, and its times have more digits or fewer."""
    if "xml" not in str(headers.get("content-type", "")):
        return headers
    return {n: v for n, v in headers.items() if n != "content-length"}


class ProgramError(Exception):
    """A command ended with another status than 0."""


def described(error: Exception) -> Any:
    """Return what an error says: botocore's whole answer, minio-py's code and status, else its type and words."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response
    if hasattr(error, "code") and hasattr(response, "status"):
        return {"Error": {"Code": error.code}, "ResponseMetadata": {"HTTPStatusCode": response.status}}
    return f"{type(error).__name__}: {error}"
