"""Crowds: thousands that connect and leave, more than the descriptors allow, slow ones beside fast ones. What they take comes back."""

from __future__ import annotations

import resource
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.servers.front import Front
from tests.servers.processes import until
from tests.servers.scripted import OK, ScriptedBackend, answer_empty, content, reset
from tests.traps.raw import Wire

CROWD = 10_000
#: So many at once: each costs a descriptor here and one in the gateway.
BATCH = min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
#: KiB that the crowd may cost after a first, smaller one. The allocator's heap grows in steps and stays: up to 12 MiB were seen on
#: asyncio's loop, after which six more crowds added nothing. Ten thousand connections that were not forgotten would be 50 and more.
GROWTH = 20 * 1024


def connected(port: int) -> socket.socket:
    """Connect."""
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def crowd(gateway: Front, count: int) -> None:
    """Open so many connections, in batches, and abandon them: silent, in a head, in a body, politely or not."""
    beginnings = (
        b"",
        gateway.head("GET", "/bkt/k")[:50],
        gateway.head("PUT", "/bkt/k", {"Content-Length": "1000"}) + b"half",
        b"garbage\r\n\r\n",
    )
    for start in range(0, count, BATCH):
        batch = [connected(gateway.port) for _ in range(min(BATCH, count - start))]
        for number, one in enumerate(batch):
            with suppress(ConnectionError):  # garbage may have been refused already
                one.sendall(beginnings[number % len(beginnings)])
        for number, one in enumerate(batch):
            reset(one) if number % 2 else one.close()


def test_ten_thousand_that_leave_cost_nothing(patient: Front, scripted: ScriptedBackend):
    """10,000 connections opened and abandoned: the gateway serves as before, and holds no more than before."""
    scripted.told(answer_empty)
    patient.serves()
    patient.rests(6)
    before, sockets = patient.vitals, patient.own_sockets
    crowd(patient, CROWD // 5)  # the allocator's share is taken by the first crowd, once
    patient.rests(sockets)
    warm = patient.vitals
    crowd(patient, CROWD)
    patient.serves()
    patient.rests(sockets)
    after = patient.vitals
    assert (after.pipes, after.files) <= (before.pipes, before.files)
    assert after.threads <= warm.threads
    assert after.heap - warm.heap < GROWTH


@pytest.fixture
def few(tmp_path_factory, scripted: ScriptedBackend):
    """A gateway that may open a hundred descriptors."""
    with Front(tmp_path_factory.mktemp("few"), scripted) as server:
        resource.prlimit(server.process.popen.pid, resource.RLIMIT_NOFILE, (100, 100))
        yield server


def test_a_gateway_without_descriptors_recovers(few: Front, scripted: ScriptedBackend):
    """While there are none left some are served and nobody is told nonsense; when the crowd has gone all are, and nothing leaked."""
    scripted.told(lambda peer, _: peer.say(OK + b"Content-Length: 70000\r\n\r\n" + content(70_000)))
    for _ in range(3):
        few.serves()
        few.rests(6)
        sockets = few.own_sockets
        idle = [connected(few.port) for _ in range(300)]
        until(lambda: few.vitals.descriptors >= 98, "there is none left")
        with ThreadPoolExecutor(40) as threads:
            outcomes = [threads.submit(hurried, few) for _ in range(40)]
            for one in idle:
                one.close()
        assert {outcome.result() for outcome in outcomes} <= {"served", "503", "closed"}
        few.rests(sockets)
        assert [hurried(few) for _ in range(20)] == ["served"] * 20


def hurried(gateway: Front) -> str:
    """Ask as one of a crowd: what came of it."""
    try:
        with Wire(gateway.port, timeout=30) as wire:
            answer = wire.send(gateway.head("GET", "/bkt/k")).answer()
    except OSError:
        return "closed"
    if answer is None:
        return "closed"
    if answer.status == 503:
        return "503"
    return "served" if (answer.status, answer.body) == (200, content(70_000)) else repr(answer)
