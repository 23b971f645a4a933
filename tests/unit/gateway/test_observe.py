"""Ids, access lines and counters; and the metrics as Prometheus reads them, from a real gateway on loopback."""

from __future__ import annotations

import asyncio
import io
import json
import re
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import Application
from gateway.observe import PAUSE, SERIES, WAITING, AccessLine, AccessLog, Counters, RequestIds
from gateway.settings.config import load
from gateway.turns.desk import METRICS
from iam.opa_questions import Tally, judged
from sts.service import ACTIONS
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER
from tests.unit.gateway.admin.bearers import token

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\n"])*",?)+)\})? (\S+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
CODES = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}


def read(text: str) -> dict[tuple[str, frozenset], float]:
    """Read the text exposition as its definition says; a line that is none of it fails."""
    found = {}
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if re.fullmatch(r"# HELP minio_gw_\w+ .+|# TYPE minio_gw_\w+ (counter|gauge)", line):
            continue
        name, labels, number = SAMPLE.fullmatch(line).groups()
        pairs = [
            (one, re.sub(r"\\.", lambda code: CODES[code[0]], value)) for one, value in LABEL.findall(labels or "")
        ]
        key = name, frozenset(pairs)
        assert key not in found
        found[key] = float(number)
    return found


def sample(found, name: str, **labels: str) -> float | None:
    return found.get((f"minio_gw_{name}", frozenset(labels.items())))


def line(**members) -> AccessLine:
    return AccessLine("ID", "GET", "/bucket/key", "192.0.2.1", **members)


class FullDisk(io.StringIO):
    """A stream that takes nothing more."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_request_ids_never_repeat():
    """A clock that stands still, or goes back, gives new ids all the same, each of them later than the last."""
    times = iter([1000, 1000, 999, 5000, 0])
    ids = RequestIds(lambda: next(times))
    assert [int(ids.next(), 16) for _ in range(5)] == [1000, 1001, 1002, 5000, 5001]


def test_request_ids_look_like_minios():
    """An id is sixteen upper-case hexadecimal digits."""
    assert re.fullmatch("[0-9A-F]{16}", RequestIds().next())


FIELDS = (
    "request_id", "method", "path", "source_ip", "operation", "access_key_id", "parent", "status", "error", "reason", "bytes_in",
    "bytes_out", "seconds", "backend_request_id", "backend", "about",
)  # fmt: skip


def test_a_json_line_has_exactly_the_named_fields():
    """Nothing has a way into a log line but its fields: no query, no header, no token (trap 54)."""
    out = io.StringIO()
    AccessLog(as_json=True, quiet=False, out=out).write(line(operation="GetObject", status=200, bytes_out=7))
    document = json.loads(out.getvalue())
    assert set(document) == {"level", "time", *FIELDS}
    assert (document["operation"], document["status"], document["bytes_out"]) == ("GetObject", 200, 7)


def test_a_line_says_whom_it_is_about():
    """The name of whom an administration call is about stands in the text too, on its one line."""
    out = io.StringIO()
    AccessLog(as_json=False, quiet=False, out=out).write(
        line(operation="admin:CreateUser", status=200, about="accessKey=a\nb")
    )
    assert "about=accessKey=a\\nb" in out.getvalue()
    assert out.getvalue().count("\n") == 1


@given(st.text(), st.text(), st.booleans())
def test_a_request_is_one_line(path, reason, as_json):
    """Whatever stands in a path or a reason, a request is one printable line: nobody forges a second one."""
    out = io.StringIO()
    made = AccessLine("ID", "GET", path, "192.0.2.1", status=403, error="AccessDenied", reason=reason)
    AccessLog(as_json=as_json, quiet=False, out=out).write(made)
    text = out.getvalue()
    assert text.endswith("\n")
    assert text[:-1].isprintable()


def test_quiet_keeps_refusals_and_errors():
    """A quiet log leaves out what went well, and nothing else."""
    out = io.StringIO()
    log = AccessLog(as_json=False, quiet=True, out=out)
    for status in (200, 304, 399, 400, 403, 500):
        log.write(line(status=status))
    assert [int(text.split()[4]) for text in out.getvalue().splitlines()] == [400, 403, 500]


@pytest.mark.parametrize("out", [FullDisk(), io.StringIO()], ids=["full", "closed"])
def test_lines_that_cannot_be_written_are_counted(out):
    """A log that is away fails no request, and does not go unnoticed."""
    if not isinstance(out, FullDisk):
        out.close()
    log = AccessLog(as_json=False, quiet=False, out=out)
    log.write(line(status=200))
    log.write(line(status=200))
    assert log.lost == 2


class Turning(asyncio.AbstractEventLoop):
    """An event loop that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list = []
        self.later: list = []

    def time(self):
        return self.now

    def call_soon(self, callback, *args, **kwargs):
        self.soon.append(callback)

    def call_at(self, when, callback, *args, **kwargs):
        self.later.append((when, lambda: callback(*args)))

    def turn(self, seconds=0.0):
        """Let time pass, and call what is due: timers first."""
        self.now += seconds
        due = [call for when, call in self.later if when <= self.now]
        self.later = [(when, call) for when, call in self.later if when > self.now]
        for call in due:
            call()
        due, self.soon = self.soon, []
        for call in due:
            call()


class Written(io.StringIO):
    """What was written, and in how many goes."""

    goes = 0

    def flush(self):
        self.goes += 1


def test_lines_of_a_round_are_one_write():
    """A quiet gateway's lines are written when the round of the event loop ends, all in one go, in their order."""
    loop, out = Turning(), Written()
    log = AccessLog(as_json=True, quiet=False, out=out, loop=loop)
    for status in (200, 201, 204):
        log.write(line(status=status))
    assert out.getvalue() == ""
    loop.turn()
    assert [json.loads(text)["status"] for text in out.getvalue().splitlines()] == [200, 201, 204]
    assert out.goes == 1


def test_a_busy_gateway_writes_lines_of_many_rounds_together():
    """Lines soon after a write wait for the end of the pause, not for more lines; after it the next is written at once again."""
    loop, out = Turning(), Written()
    log = AccessLog(as_json=True, quiet=False, out=out, loop=loop)
    for status in range(200, 210):
        log.write(line(status=status))
        loop.turn(PAUSE / 100)
    assert out.goes == 1
    loop.turn(PAUSE)
    assert out.goes == 2
    loop.turn(PAUSE)
    log.write(line(status=210))
    loop.turn()
    assert out.goes == 3
    assert [json.loads(text)["status"] for text in out.getvalue().splitlines()] == [*range(200, 211)]
    assert not loop.later


def test_lines_that_have_waited_come_after_answers():
    """What was to be written at the end of the round, the answers, is written before the lines whose pause is over."""
    loop, out = Turning(), Written()
    log = AccessLog(as_json=True, quiet=False, out=out, loop=loop)
    log.write(line(status=200))
    loop.turn()
    log.write(line(status=200))
    loop.call_soon(lambda: seen.append(out.goes))
    seen = []
    loop.turn(PAUSE)
    assert (seen, out.goes) == ([1], 2)


def test_lines_that_wait_are_bounded():
    """However many requests end in a pause, no more lines wait than `WAITING`, and none is written twice or lost."""
    loop, out = Turning(), Written()
    log = AccessLog(as_json=True, quiet=False, out=out, loop=loop)
    log.write(line(status=200))
    loop.turn()
    for number in range(2 * WAITING + 7):
        log.write(line(status=200, bytes_out=number))
    assert out.getvalue().count("\n") == 1 + 2 * WAITING
    loop.turn(PAUSE)
    assert [json.loads(text)["bytes_out"] for text in out.getvalue().splitlines()] == [0, *range(2 * WAITING + 7)]


async def test_a_gateway_that_ends_writes_what_waits():
    """The lines of the last requests are there when a gateway has ended, however soon that is."""
    async with serving() as (client, application):
        application.desk.log._out = out = io.StringIO()
        for _ in range(3):
            await client.get("/bucket/key")
    assert out.getvalue().count(" GET /bucket/key ") == 3


def test_counters_count_what_was_served():
    """Requests by operation and status, refusals by code, denials, sessions, bytes and seconds."""
    counters = Counters()
    counters.count(line(operation="GetObject", status=200, bytes_out=10, seconds=0.5))
    counters.count(line(operation="GetObject", status=200, bytes_out=5, seconds=0.25))
    counters.count(line(operation="PutObject", status=403, error="AccessDenied", bytes_in=3))
    counters.count(line(operation="AssumeRole", status=200))
    counters.count(line(operation="AssumeRole", status=403, error="AccessDenied"))
    counters.count(line(operation="GetSessionToken", status=200))
    found = read(counters.render({"log_lines_lost": 4}))
    assert sample(found, "requests_total", operation="GetObject", status="200") == 2
    assert sample(found, "requests_total", operation="AssumeRole", status="403") == 1
    assert sample(found, "errors_total", operation="PutObject", code="AccessDenied") == 1
    assert sample(found, "denials_total") == 2
    assert sample(found, "sts_sessions_total") == 2
    assert (sample(found, "received_bytes_total"), sample(found, "sent_bytes_total")) == (3, 15)
    assert sample(found, "request_seconds_total") == 0.75
    assert sample(found, "log_lines_lost") == 4
    assert not any("policy" in name for name, _ in found)


def test_questions_to_a_policy_service_are_told_by_their_answers():
    """Yes, no, and what was none: a service that is slow or away shows before users tell."""
    tally = Tally()
    for status, body in [(200, b'{"result": true}')] * 3 + [(200, b'{"result": false}'), (200, b"{}"), (500, b"")]:
        tally.count(judged(status, body), 0.25)
    found = read(Counters().render(policy=tally))
    counted = {answer: sample(found, "policy_questions_total", answer=answer) for answer in ("yes", "no", "none")}
    assert counted == {"yes": 3, "no": 1, "none": 2}
    assert sample(found, "policy_seconds_total") == 1.5


def test_a_counter_has_a_bounded_number_of_series():
    """Words that clients invent cannot fill the memory: what comes late is counted as `other`, and nothing is lost."""
    counters = Counters()
    for number in range(2 * SERIES):
        counters.count(line(operation=f"Invented{number}", status=400, error="InvalidParameterValue"))
    found = read(counters.render())
    requests = {labels: n for (name, labels), n in found.items() if name == "minio_gw_requests_total"}
    assert len(requests) == SERIES + 1
    assert sum(requests.values()) == 2 * SERIES
    assert sample(found, "requests_total", operation="other", status="other") == SERIES


@given(st.text())
def test_a_label_says_what_was_counted(word):
    """Any text is a label: quotes, backslashes and newlines are escaped as the format says."""
    counters = Counters()
    counters.count(line(operation=word, status=200))
    assert sample(read(counters.render()), "requests_total", operation=word, status="200") == 1


@asynccontextmanager
async def serving(**environ: str):
    """A gateway on loopback, in this process; its backend is a port where nobody listens."""
    settings = {"MINIO_ROOT_USER": ROOT_USER, "MINIO_ROOT_PASSWORD": ROOT_PASSWORD, "MINIO_GW_QUIET": "on"} | environ
    application = Application(load("gateway", {}, "http://127.0.0.1:9", settings, Path.read_text, lambda _: []))
    listener = await application.plane.listen("127.0.0.1", 0, tls=None)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client, application
    finally:
        listener.close()
        await application.close()


@pytest.mark.parametrize("path", sorted(METRICS))
@pytest.mark.parametrize("environ", [{}, {"MINIO_PROMETHEUS_AUTH_TYPE": "jwt"}], ids=["default", "jwt"])
async def test_metrics_are_for_who_may_unless_public(path, environ):
    """Without a word from the operator root's bearer reads them, nobody else (test_scrapers.py says whose tokens are good)."""
    async with serving(**environ) as (client, _):
        for headers in ({}, {"Authorization": "Bearer e30.e30."}):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 403
            assert "<Code>AccessDenied</Code>" in answer.text
            assert answer.headers["x-amz-request-id"] in answer.text
            assert "minio_gw_" not in answer.text
        answer = await client.get(path, headers={"Authorization": f"Bearer {token(ROOT_USER, ROOT_PASSWORD)}"})
        assert answer.status_code == 200
        found = read(answer.text)
        assert sample(found, "errors_total", operation="admin:Prometheus", code="AccessDenied") == 2


@pytest.mark.parametrize("path", sorted(METRICS))
async def test_public_metrics_count_every_finished_request(path):
    """A refused request and a refused STS call are in the next scrape, with the gauges; scrapes and health are not."""
    async with serving(MINIO_PROMETHEUS_AUTH_TYPE="public") as (client, _):
        await client.get("/bucket/key")
        await client.post("/", data={"Action": "AssumeRole", "Version": "2011-06-15"})
        await client.get("/minio/health/live")
        await client.get(path)
        answer = await client.get(path)
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = read(answer.text)
        assert sample(found, "errors_total", operation="AssumeRole", code="AccessDenied") == 1
        assert sum(n for (name, _), n in found.items() if name == "minio_gw_requests_total") == 2
        assert sample(found, "requests_in_flight") == 0
        assert sample(found, "log_lines_lost") == 0


async def test_lost_log_lines_are_told():
    """A log that cannot be written shows in the metrics, while requests go on being answered."""
    async with serving(MINIO_PROMETHEUS_AUTH_TYPE="public") as (client, application):
        application.desk.log._out = FullDisk()
        assert (await client.get("/bucket/key")).status_code == 403
        assert sample(read((await client.get(min(METRICS))).text), "log_lines_lost") == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_metrics_are_only_read(method):
    """Another method than GET and HEAD on the metrics is refused, not forwarded as an S3 request."""
    async with serving(MINIO_PROMETHEUS_AUTH_TYPE="public") as (client, _):
        assert (await client.request(method, min(METRICS))).status_code == 403
        assert (await client.head(min(METRICS))).status_code == 200


async def test_invented_actions_are_no_series():
    """The names that nobody serves share one series: an unknown client cannot crowd out the operations' own."""
    async with serving(MINIO_PROMETHEUS_AUTH_TYPE="public") as (client, _):
        for name in ("Invented1", "Invented2", *sorted(ACTIONS)):
            await client.post("/", data={"Action": name, "Version": "2011-06-15"})
        found = read((await client.get(min(METRICS))).text)
        counted = {dict(labels)["operation"] for name, labels in found if name == "minio_gw_requests_total"}
        assert counted == {"STS", *ACTIONS}


def test_the_backend_is_told_where_there_are_several():
    """With several backends a line ends with the name, and a counter has it; with one there is no trace of either."""
    out, counters = io.StringIO(), Counters()
    log = AccessLog(as_json=False, quiet=False, out=out)
    for one in (
        line(status=200),
        line(status=200, backend="lab", backend_request_id="R1"),
        line(status=503, backend="a>lab"),
    ):
        log.write(one)
        counters.count(one)
    plain, lab, copy = out.getvalue().splitlines()
    assert "at=" not in plain
    assert lab.endswith(" backend=R1 at=lab")
    assert copy.endswith(" at=a>lab")
    found = read(counters.render())
    assert sample(found, "backend_requests_total", backend="lab", status="200") == 1
    assert sample(found, "backend_requests_total", backend="a>lab", status="503") == 1
    assert "backend_requests" not in Counters().render()
