"""What operators see: request ids, one access line per request, and counters.

Only the fields named here can be in a line or a counter: no query, header or token has a way in (trap 54).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TextIO

from iam.opa_questions import Tally

PAUSE = 0.002  # seconds between two writes of the log
WAITING = 256  # lines that wait for it at most
SERIES = (
    1024  # label sets of one counter; what comes later is counted as "other", since clients choose some of the words
)


_ISSUING = ("Assume", "GetSessionToken")  # what the operations begin with that issue temporary credentials
Labels = tuple[str, str | int]


class RequestIds:
    """Request ids as MinIO's: the nanosecond clock in sixteen upper-case hexadecimal digits, never one twice."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> str:
        """Return an id that this process has not given out; the clock may stand still or go back."""
        now = self._clock()
        self._last = last = now if now > self._last else self._last + 1
        return "%016X" % (last & 0xFFFFFFFFFFFFFFFF)


class AccessLine:
    """One request, as the log tells it; filled while the request is served. Sizes in bytes, time in seconds.

    `about`: whom or what an administration call is about, by name.
    """

    request_id: str
    method: str
    path: str
    source_ip: str
    operation: str = "-"
    access_key_id: str = "-"
    parent: str = "-"
    status: int = 0
    error: str = ""
    reason: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    backend_request_id: str = ""
    backend: str = ""
    about: str = ""

    def __init__(self, request_id: str, method: str, path: str, source_ip: str, **members: Any) -> None:
        # What is not told is the class's; a dataclass would set fifteen fields for each request.
        self.request_id = request_id
        self.method = method
        self.path = path
        self.source_ip = source_ip
        for name, value in members.items():
            setattr(self, name, value)

    def members(self) -> dict[str, Any]:
        """Return everything that it tells, in the order of the log."""
        return {name: getattr(self, name) for name in _TOLD}

    def named(self, operation: str, access_key_id: str, parent: str) -> None:
        """Say what is done, with which key, on whose behalf."""
        self.operation = operation
        self.access_key_id = access_key_id
        self.parent = parent


#: What a line of the log tells, in its order.
_TOLD = (
    "request_id", "method", "path", "source_ip", "operation", "access_key_id", "parent", "status", "error", "reason", "bytes_in",
    "bytes_out", "seconds", "backend_request_id", "backend", "about",
)  # fmt: skip
#: One formatting of all: a third of what an f-string with its eleven calls costs, compiled.
_LINE = "%s %s %s %s %d %s %s %s in=%d out=%d %.1fms"


class AccessLog:
    """Writes access lines, as text or as JSON.

    With the event loop given, those of one of its rounds are written together, and not before `PAUSE` has passed since the last
    were written: a quiet gateway writes each at once, a busy one some hundred times a second. A write costs as much as a quarter
    of a small request, and where rounds are short most of them would have one.
    `lost` counts those that could not be written (a full disk, a closed pipe): a log that is away must not fail
    requests, and must not go unnoticed.
    """

    def __init__(
        self, *, as_json: bool, quiet: bool, out: TextIO | None = None, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._json = as_json
        self._quiet = quiet
        self._out = out or sys.stdout
        self._loop = loop
        self._waiting: list[AccessLine] = []
        self._next = 0.0  # the loop's time before which nothing is written
        self.lost = 0

    def write(self, line: AccessLine) -> None:
        """Write one line; quiet keeps those with an error or a refusal."""
        if self._quiet and line.status < 400:
            return
        waiting, loop = self._waiting, self._loop
        waiting.append(line)
        if loop is None or len(waiting) >= WAITING:
            self.flush()
        elif len(waiting) == 1:
            if loop.time() < self._next:  # timers come before the answers of their round, and lines after them
                loop.call_at(self._next, loop.call_soon, self.flush)
            else:
                loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits, in one go."""
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        if self._loop is not None:
            self._next = self._loop.time() + PAUSE
        text, now = _as_json if self._json else _as_text, _now()
        try:
            self._out.write("".join([f"{text(line, now)}\n" for line in lines]))
            self._out.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.lost += len(lines)


def _as_json(line: AccessLine, now: str) -> str:
    return json.dumps({"level": "info", "time": now, **line.members()}, ensure_ascii=True)


def _as_text(line: AccessLine, now: str) -> str:
    text = _LINE % (
        now, line.request_id, line.source_ip, line.operation, line.status, line.method, line.path, line.access_key_id,
        line.bytes_in, line.bytes_out, line.seconds * 1000,
    )  # fmt: skip
    if line.backend_request_id or line.backend or line.error or line.reason or line.about:
        text += _more(line)
    return text if text.isprintable() else text.encode("unicode_escape").decode()  # a hostile path stays on one line


def _more(line: AccessLine) -> str:
    """Return what only some lines say."""
    return (
        (f" about={line.about}" if line.about else "")
        + (f" backend={line.backend_request_id}" if line.backend_request_id else "")
        + (f" at={line.backend}" if line.backend else "")
        + (f" {line.error}" if line.error else "")
        + (f" ({line.reason})" if line.reason else "")
    )


class Counters:
    """What Prometheus asks: requests, errors, bytes and issued sessions since this process began."""

    def __init__(self) -> None:
        self._requests: dict[Labels, int] = {}
        self._errors: dict[Labels, int] = {}
        self._backends: dict[Labels, int] = {}
        self._bytes_in = self._bytes_out = self._sessions = 0
        self._seconds = 0.0

    def count(self, line: AccessLine) -> None:
        """Count one finished request."""
        _add(self._requests, (line.operation, line.status))
        if line.error:
            _add(self._errors, (line.operation, line.error))
        if line.backend:
            _add(self._backends, (line.backend, line.status))
        if line.status == 200 and line.operation.startswith(_ISSUING):
            self._sessions += 1
        self._bytes_in += line.bytes_in
        self._bytes_out += line.bytes_out
        self._seconds += line.seconds

    def render(self, gauges: Mapping[str, float] | None = None, policy: Tally | None = None) -> str:
        """Return the text exposition (https://prometheus.io/docs/instrumenting/exposition_formats/).

        `gauges` adds values that others know (requests in flight, log lines lost) by name, without `minio_gw_`; `policy` how a policy
        service answered.
        """
        requests = self._requests.items()
        denied = sum(n for (_, code), n in self._errors.items() if code == "AccessDenied")
        lines = [
            *_metric("requests_total", "counter", "requests by operation and status", ("operation", "status"), requests),
            *_metric("errors_total", "counter", "refusals by operation and S3 or STS code", ("operation", "code"), self._errors.items()),
            *_metric("denials_total", "counter", "requests that a policy refused", (), [((), denied)]),
            *_metric("sts_sessions_total", "counter", "temporary credentials issued", (), [((), self._sessions)]),
            *_metric("received_bytes_total", "counter", "bytes of request bodies", (), [((), self._bytes_in)]),
            *_metric("sent_bytes_total", "counter", "bytes of answer bodies", (), [((), self._bytes_out)]),
            *_metric("request_seconds_total", "counter", "seconds spent on requests", (), [((), self._seconds)]),
        ]  # fmt: skip
        if self._backends:
            text, labels = "requests that a backend of MINIO_GW_BACKENDS answered, or failed to", ("backend", "status")
            lines += _metric("backend_requests_total", "counter", text, labels, self._backends.items())
        if policy is not None:
            answers = [(("yes",), policy.yes), (("no",), policy.no), (("none",), policy.undecided)]
            lines += _metric(
                "policy_questions_total",
                "counter",
                "questions to the policy service by its answer",
                ("answer",),
                answers,
            )
            lines += _metric(
                "policy_seconds_total", "counter", "seconds spent on these questions", (), [((), policy.seconds)]
            )
        for name, value in (gauges or {}).items():
            lines += _metric(name, "gauge", name.replace("_", " "), (), [((), value)])
        return "\n".join(lines) + "\n"


def _add(counter: dict[Labels, int], labels: Labels) -> None:
    if labels not in counter:
        labels = labels if len(counter) < SERIES else ("other", "other")
        counter.setdefault(labels, 0)
    counter[labels] += 1


def _metric(
    name: str, kind: str, text: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str | int, ...], float]]
) -> list[str]:
    lines = [f"# HELP minio_gw_{name} {text}", f"# TYPE minio_gw_{name} {kind}"]
    for values, number in samples:
        pairs = ",".join(f'{label}="{_label(str(value))}"' for label, value in zip(labels, values, strict=True))
        lines.append(f"minio_gw_{name}{f'{{{pairs}}}' if pairs else ''} {number:.15g}")
    return lines


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _now() -> str:
    return _moment(int(time.time()))


@lru_cache(maxsize=4)
def _moment(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
