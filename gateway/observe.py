"""What operators see: request ids, and one access line per request.

Only the fields named here can be in a line: no query, header or token has a way in (trap 54).
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TextIO


class RequestIds:
    """Request ids as MinIO's: sixteen upper-case hexadecimal digits, counting up from the clock at start."""

    def __init__(self, start: int | None = None) -> None:
        self._numbers = itertools.count(time.time_ns() if start is None else start)

    def next(self) -> str:
        """Return an id that this process has not given out."""
        return f"{next(self._numbers) & 0xFFFFFFFFFFFFFFFF:016X}"


@dataclass(slots=True)
class AccessLine:
    """One request, as the log tells it; filled while the request is served. Sizes in bytes, time in seconds."""

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


class AccessLog:
    """Writes access lines, as text or as JSON."""

    def __init__(self, *, as_json: bool, quiet: bool, out: TextIO | None = None) -> None:
        self._json = as_json
        self._quiet = quiet
        self._out = out or sys.stdout

    def write(self, line: AccessLine) -> None:
        """Write one line; quiet keeps those with an error or a refusal."""
        if self._quiet and line.status < 400:
            return
        if self._json:
            text = json.dumps({"level": "info", "time": _now(), **asdict(line)}, ensure_ascii=True)
        else:
            text = "%s %s %s %s %d %s %s %s in=%d out=%d %.1fms%s%s" % (  # noqa: UP031 - the cheapest on the hot path
                _now(), line.request_id, line.source_ip, line.operation, line.status, line.method, _one_line(line.path),
                line.access_key_id, line.bytes_in, line.bytes_out, line.seconds * 1000,
                f" {line.error}" if line.error else "", f" ({_one_line(line.reason)})" if line.reason else "",
            )  # fmt: skip
        self._out.write(text + "\n")
        self._out.flush()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _one_line(text: str) -> str:
    """Keep a hostile path or reason on one line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
