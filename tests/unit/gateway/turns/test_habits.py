"""Which stories become habits: those that could come again with other words only; bounded, and shared by connections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.turns import habits
from gateway.turns.habits import Habits
from tests.unit.gateway.signers import ROOT
from tests.unit.gateway.told import again, guest, head, make, url, whole


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/ann/k?versionId=7", {}), ("GET", "/", {}), ("GET", "/?prefix=a", {}), ("PUT", "/ann/k?tagging", {"Content-Length": "0"}),
        ("POST", "/ann/k?uploadId=a", {"Content-Length": "1"}), ("POST", "/ann?delete", {"Content-Length": "1"}), ("GET", "/ann?list-type=2&&prefix=a", {}),
        ("GET", "/ann?list-type=2&%70refix=a", {}), ("GET", "/minio?list-type=2", {}), ("GET", "/%61nn?list-type=2", {}), ("GET", "/ann//?list-type=2", {}),
        ("PUT", "/ann/k", {"x-amz-copy-source": "/ann/other"}), ("GET", "/minio/k", {}), ("GET", "/minio-gw/k", {}),
        ("GET", "/ann/k", {"Connection": "close"}), ("PUT", "/ann/k", {"x-amz-server-side-encryption-customer-key": "a"}),
        ("GET", "/%61nn/k", {}), ("GET", "/ann/k%2Fl", {}), ("GET", "http://gw.example.test/ann/k", {}),
    ],
)  # fmt: skip
def test_what_its_words_decide_is_told_whole(method, target, headers):
    """A story whose parameters, body or addressing decide has no habit."""
    desk = make()
    who = guest(desk)
    raw = head(method, target, headers, who=ROOT)
    for _ in range(3):
        whole(desk, raw, who)
    assert who.known == []
    assert again(desk, raw, who) is None


@pytest.mark.parametrize(
    ("more", "learnt"), [("&x-amz-acl=private", False), (f"&X-Amz-Content-Sha256={'a' * 64}", True)]
)
def test_of_a_url_only_its_parameters_are_words(more, learnt):
    """What moves to a header ends in no habit; what a URL says of its body is not said by a header in another way."""
    desk = make()
    who = guest(desk)
    whole(
        desk,
        url("PUT", f"/ann/k?partNumber=1&uploadId=a{more}", {"x-amz-content-sha256": "a" * 64}, payload="a" * 64),
        who,
    )
    assert bool(who.known) is learnt
    assert all("x-amz-content-sha256" not in known.habit._holes for known in who.known)


def test_what_is_done_with_an_answer_is_told_whole():
    """A listing that is filtered, and a document in which the gateway stands for the store."""
    for raw, world in (
        (head("GET", "/ann?list-type=2"), {"filter_listings": True}),
        (head("GET", "/ann?location"), {"region": "us-east-1"}),
    ):
        desk = make()
        plain, other = guest(desk), guest(desk)
        whole(desk, raw, plain)
        assert plain.known
        desk.world = replace(desk.world, **world)
        desk.habits = Habits(desk.world, after=0)
        whole(desk, raw, other)
        assert other.known == []


def test_a_client_that_comes_once_costs_nothing():
    """A habit is made of the second story that is like another, whichever connection brings it."""
    desk = make()
    desk.habits = Habits(desk.world)
    first, second, third = guest(desk), guest(desk), guest(desk)
    whole(desk, head("GET", "/ann/a"), first)
    assert first.known == []
    whole(desk, head("GET", "/ann/b"), second)
    assert len(second.known) == 1
    whole(desk, head("GET", "/ann/c"), third)
    assert third.known[0].habit is second.known[0].habit


def test_what_connections_speak_is_part_of_a_habit():
    """What was said in the clear and what was said over TLS are two stories."""
    desk = make()
    plain, secure = guest(desk), guest(desk, secure=True)
    for who in (plain, secure):
        whole(desk, head("GET", "/ann/a"), who)
        assert again(desk, head("GET", "/ann/b"), who)
    assert plain.known[0].habit is not secure.known[0].habit


def test_a_connection_knows_a_few_habits_the_latest_first():
    """Clients mix reads, writes and deletes on one connection."""
    desk = make()
    who = guest(desk)
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        whole(desk, head(method, "/ann/a", {"Content-Length": "1"} if method == "PUT" else {}), who)
    assert [known.habit.plan.operation.name for known in who.known] == [
        "DeleteObject",
        "PutObject",
        "HeadObject",
        "GetObject",
    ]
    for another in ("one", "two", "another"):
        whole(desk, head("GET", "/ann/a", {"User-Agent": another}), who)
    assert len(who.known) == habits._OF_A_GUEST
    assert again(desk, head("GET", "/ann/b", {"User-Agent": "another"}), who)


def test_a_client_whose_heads_are_never_alike_stops_making_habits():
    """Who varies a field that is no hole makes a bounded number of habits."""
    desk = make()
    for number in range(3 * habits._TRIES):
        whole(desk, head("GET", "/ann/a", {"User-Agent": str(number)}), guest(desk))
    assert len(desk.habits._kept) <= habits._TRIES + 1


def test_forgotten_habits_hold_nothing(monkeypatch):
    """When there are too many all are emptied, also those that connections still know."""
    monkeypatch.setattr(habits, "_KEPT", 2)
    desk = make()
    first = guest(desk)
    whole(desk, head("GET", "/ann/a"), first)
    for method in ("HEAD", "DELETE"):
        whole(desk, head(method, "/ann/a"), guest(desk))
    assert again(desk, head("GET", "/ann/b"), first) is None
    assert len(desk.habits._kept) == 1
    whole(desk, head("GET", "/ann/b"), first)
    assert again(desk, head("GET", "/ann/b"), first)


def test_too_many_requests_are_refused_by_the_whole_way():
    """A known head takes no place that is not there."""
    desk = make(max_inflight=1)
    who = guest(desk)
    raw = head("GET", "/ann/a")
    whole(desk, raw, who)
    assert again(desk, raw, who)
    desk.inflight = 1
    assert again(desk, raw, who) is None


def test_a_habit_that_fails_costs_nothing(monkeypatch, caplog):
    """A mistake of ours in one is logged once, and the head goes the whole way; so when none can be made."""
    desk = make()
    who = guest(desk)
    raw = head("GET", "/ann/a")
    whole(desk, raw, who)
    monkeypatch.setattr("gateway.turns.habit.sha256_hex", lambda *_: 1 / 0)
    for _ in range(2):
        assert again(desk, raw, who) is None
        assert isinstance(whole(desk, raw, who), tuple)
    assert [record.message for record in caplog.records] == ["a habit failed"]
    assert isinstance(whole(desk, head("DELETE", "/ann/a"), who), tuple)
    assert [record.message for record in caplog.records[1:]] == ["a habit was not learnt"]
