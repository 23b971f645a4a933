"""A short look at every fuzz target: its seeds, and what hypothesis finds near them in a few seconds.

`make fuzz MINUTES=10` looks longer, guided by coverage.
"""

from __future__ import annotations

import resource
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import targets
from tests.fuzz.mutate import near
from tests.fuzz.targets import SEEDS, TARGETS, WORDS

SECONDS = 2.0  # of CPU for one input of 4 KiB: a hundred times what any needs on a slow machine
GROWTH = 64 * 1024  # KiB over a whole pass


def run(target, data: bytes) -> None:
    """Run a target on one input, within its time."""
    before = time.process_time()
    target(data)
    assert time.process_time() - before < SECONDS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_hold(name):
    """Every seed keeps its target's promise, and each target says it in its first line."""
    assert TARGETS[name].__doc__
    for seed in SEEDS[TARGETS[name]]:
        run(TARGETS[name], seed)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused(name):
    """Near every seed, and far from it, a target's promise holds; its memory does not grow with the inputs it has seen."""
    target = TARGETS[name]

    @settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
    @given(near(SEEDS[target], WORDS))
    def look(data: bytes) -> None:
        run(target, data)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    look()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH


@pytest.mark.parametrize("name", ["authorization", "presigned_query", "whole_head", "session_token", "policy_document"])
def test_good_seeds_get_far(name, monkeypatch):
    """The seeds are not refused at the door: a fuzzer that starts there would stay there."""
    reached = []
    seen = {"authorization": "check_time", "presigned_query": "check_time", "whole_head": "decoder",
            "session_token": "_opened", "policy_document": "decide"}[name]  # fmt: skip
    real = getattr(targets, seen)
    monkeypatch.setattr(targets, seen, lambda *given, **how: reached.append(real(*given, **how)))
    for seed in SEEDS[TARGETS[name]]:
        TARGETS[name](seed)
    assert reached


#: Inputs that are large on purpose: what makes a careless reader slow. Each must be over in no time.
LARGE = {
    "known_head": b"PUT /ann/" + b"%25" * 30_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "wire_head": b"GET /" + b"a" * 50_000 + b" HTTP/1.1\r\n" + b"A: b\r\n" * 8000 + b"\r\n",
    "wire_chunks": b"\x00" + b"1\r\na\r\n" * 15_000 + b"0\r\n\r\n",
    "request_head": b"GET /bkt/k?" + b"a=&" * 5000 + b"\nhost:h" + b"\nx-a:" * 5000,
    "authorization": b"20260202T024000Z\nAWS4-HMAC-SHA256 " + b"Credential=a," * 5000,
    "presigned_query": b"X-Amz-SignedHeaders=" + b"a;" * 8000,
    "aws_chunked": b"\x00\x01\xff\xff" + b"1\r\na\r\n" * 20_000,
    "delete_document": b'<!DOCTYPE d [<!ENTITY a "' + b"a" * 10_000 + b'">]><Delete>' + b"&a;" * 10_000 + b"</Delete>",
    "read_document": b"<Tagging>" + b"<a>" * 100_000,
    "policy_document": b'{"Statement":' * 20_000,
    "session_token": b'{"a":' * 50_000,
    "sts_form": b"\n" + b"a=b&" * 50_000,
    "post_form": b"\xff" + b"--bound\r\n" * 20_000,
    "form_policy": b"[" * 100_000,
    "content_type": b"multipart/form-data" + b';a="\\' * 20_000,
    "copied_from": b"/b/" + b"../" * 30_000,
    "admin_document": b'{"members": [' + b'"a",' * 25_000 + b'"b"]}',
    "whole_head": b"GET /bkt/k?" + b"%41=&" * 3000 + b"\nhost:h",
}


@pytest.mark.parametrize("name", TARGETS)
def test_large_inputs_take_no_longer_than_they_must(name):
    """A hundred kilobytes of what repeats best are refused, or read, in time."""
    run(TARGETS[name], LARGE[name])


@given(st.binary(max_size=50))
def test_a_target_can_fail(data):
    """A target whose promise does not hold is seen: the harness is no decoration."""

    def broken(given: bytes) -> None:
        assert given != data

    with pytest.raises(AssertionError):
        run(broken, data)
