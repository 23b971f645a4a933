"""Load of small requests: wrk, 32 kept connections, as fast as the contender answers.

wrk sends bytes that were signed beforehand (bench/check.lua) and looks at every answer's status and length; one wrong
answer ends the run: a fast error is not a result. Digests are looked at by `verify`, before and after. wrk's own CPU is
measured with the contender's, so that a row shows which of them was the limit.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cpu import children_cpu
from bench.http1 import answer
from bench.signing import Shot

CONNECTIONS = 32
_SCRIPT = Path(__file__).with_name("check.lua")


class WrongAnswer(Exception):
    """A server answered something else than it had to."""


@dataclass(frozen=True)
class Fired:
    """What a load was: answers, seconds, and the generator's CPU seconds."""

    count: int
    seconds: float
    cpu: float


def fire(port: int, shots: Sequence[Shot], seconds: int, folder: Path, connections: int = CONNECTIONS) -> Fired:
    """Send the shots in turn for some seconds. Raises WrongAnswer."""
    file = folder / "requests"
    file.write_bytes(b"".join(b"%d\n" % len(shot.data) + shot.data for shot in shots))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(_SCRIPT),
               f"http://127.0.0.1:{port}/", "--", str(file), str(shots[0].length)]  # fmt: skip
    before = children_cpu()
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    return parse(done.stdout, done.stderr, children_cpu() - before)


def parse(printed: str, complaints: str, cpu: float) -> Fired:
    """Read what check.lua printed. Raises WrongAnswer where one answer was not as it had to be."""
    _, found, rest = printed.partition("RESULT ")
    if not found:
        raise WrongAnswer(f"wrk ended early: {printed[-500:]} {complaints[-500:]}")
    count, micros, wrong, errors = map(int, rest.split()[:4])
    if wrong or errors or not count:
        raise WrongAnswer(f"of {count} answers {wrong} wrong, {errors} errors; {' '.join(rest.splitlines()[1:])}")
    return Fired(count, micros / 1e6, cpu)


def verify_put(port: int, shots: Sequence[Shot], digest: str) -> None:
    """Send each shot once to a store that answers with the digest of what came. Raises WrongAnswer."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        for shot in shots:
            sock.sendall(shot.data)
            status, etag, body = answer(sock)
            if (status, etag) != (200, digest):
                raise WrongAnswer(f"{status}, digest {etag!r}: {body[:300]!r}")


def verify(port: int, shots: Sequence[Shot], content: bytes) -> None:
    """Send each shot once and compare the whole body. Raises WrongAnswer."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        for shot in shots:
            sock.sendall(shot.data)
            status, _, body = answer(sock)
            if status != 200 or body != content[: shot.length]:
                raise WrongAnswer(f"{status}, {len(body)} bytes, not those that were stored: {body[:300]!r}")


def refuse(port: int, shot: Shot) -> None:
    """Hold that a request signed with another secret is refused. Raises WrongAnswer."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(shot.data)
        status, _, body = answer(sock)
    if status not in {400, 401, 403}:
        raise WrongAnswer(f"{status} for a wrong signature: {body[:300]!r}")
