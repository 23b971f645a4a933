"""Which stories become habits: those that could come again with other words only; bounded, and shared by connections."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from gateway.errors import ExpiredToken
from gateway.turns import habit as habit_module
from gateway.turns import habits
from gateway.turns.habits import Habits
from gateway.wire.heads import RequestReader
from iam.model import Credentials, Secret
from iam.opa import OpaSettings
from tests.unit.gateway.signers import ROOT, lookup
from tests.unit.gateway.told import MAY, again, both, guest, head, make, policies, url, whole


def known(desk):
    """Return the habits of everybody, by place."""
    return desk.habits.all()


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/ann/k?versionId=7", {}), ("GET", "/", {}), ("GET", "/?prefix=a", {}), ("PUT", "/ann/k?tagging", {"Content-Length": "0"}),
        ("POST", "/ann/k?uploadId=a", {"Content-Length": "1"}), ("POST", "/ann?delete", {"Content-Length": "1"}), ("GET", "/ann?list-type=2&&prefix=a", {}),
        ("GET", "/ann?list-type=2&%70refix=a", {}), ("GET", "/minio?list-type=2", {}), ("GET", "/%61nn?list-type=2", {}), ("GET", "/ann//?list-type=2", {}),
        ("PUT", "/ann/k", {"x-amz-copy-source": "/ann/other"}), ("PUT", "/ann/k?partNumber=1&uploadId=u", {"x-amz-copy-source": "/ann/k"}),
        ("GET", "/minio/k", {}), ("GET", "/minio-gw/k", {}),
        ("PUT", "/ann/k", {"x-amz-server-side-encryption-customer-key": "a"}),
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
    assert known(desk) == []
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
    assert bool(known(desk)) is learnt
    assert all("x-amz-content-sha256" not in habit._holes for habit in known(desk))


def test_what_is_done_with_an_answer_is_told_whole():
    """A listing that is filtered, and a document in which the gateway stands for the store."""
    for raw, world in (
        (head("GET", "/ann?list-type=2"), {"filter_listings": True}),
        (head("GET", "/ann?location"), {"region": "us-east-1"}),
    ):
        desk = make()
        whole(desk, raw)
        assert known(desk)
        desk.world = replace(desk.world, **world)
        desk.habits = Habits(desk.world, after=0)
        whole(desk, raw)
        assert known(desk) == []


def test_a_client_that_comes_once_costs_nothing():
    """A habit is made of the second story that is like another, and is everybody's: also of a connection that was never seen."""
    desk = make()
    desk.habits = Habits(desk.world)
    whole(desk, head("GET", "/ann/a"))
    assert known(desk) == []
    whole(desk, head("GET", "/ann/b"))
    assert len(known(desk)) == 1
    assert again(desk, head("GET", "/ann/c"), guest(desk))
    whole(desk, head("GET", "/ann/c"))
    assert len(known(desk)) == 1


def test_what_connections_speak_is_part_of_a_habit():
    """What was said in the clear and what was said over TLS are two stories."""
    desk = make()
    whole(desk, head("GET", "/ann/a"), guest(desk))
    assert again(desk, head("GET", "/ann/b"), guest(desk, secure=True)) is None
    whole(desk, head("GET", "/ann/a"), guest(desk, secure=True))
    assert [habit.secure for habit in known(desk)] == [True, False]
    for secure in (False, True):
        assert again(desk, head("GET", "/ann/b"), guest(desk, secure=secure))


PROXIES = (ip_network("192.0.2.0/24"),)


def said(value):
    """Return a head as a balancer passes it on."""
    return head("GET", "/ann/k", unsigned={"X-Forwarded-For": value, "X-Request-Id": value.replace(" ", "")})


@pytest.mark.parametrize("opa", [None, OpaSettings("http://127.0.0.1:1/")], ids=["policies", "opa"])
def test_trap_19_where_a_request_is_from_is_said_by_its_own_head(opa):
    """A balancer's connection carries everybody: each request is from whom this head names, and a peer that is not listed names nobody."""
    near = {
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": {"IpAddress": {"aws:SourceIp": "198.51.100.7"}},
    }
    desk = make(lambda: policies(MAY, near), opa=opa, trusted_proxies=PROXIES)
    balancer, stranger = guest(desk), desk.meet("203.0.113.5", secure=False)
    whole(desk, said("198.51.100.1"), balancer)
    for value in (
        "198.51.100.2",
        "198.51.100.7",
        "198.51.100.7, 192.0.2.9",
        "198.51.100.7, 198.51.100.3",
        "2001:db8::1",
        "::ffff:198.51.100.7",
    ):
        for connection in (balancer, stranger):
            expected, found = both(desk, said(value), connection)
            assert found == (None if expected == "AccessDenied" else expected)
            turn = desk.turn(connection, RequestReader().read(said(value)))
            assert opa or turn._line.source_ip != "198.51.100.7" or expected == "AccessDenied"
            turn.finish()


def test_trap_18_what_a_proxy_says_of_tls_is_part_of_a_habit():
    """Its word is kept as it is, and means what it means for this peer."""
    desk = make(trusted_proxies=PROXIES)
    balancer, stranger = guest(desk), desk.meet("203.0.113.5", secure=False)

    def said(value):
        return head("GET", "/ann/k", unsigned={"X-Forwarded-Proto": value})

    whole(desk, said("https"), balancer)
    assert again(desk, said("https"), balancer)
    assert again(desk, said("https"), stranger) is None
    assert again(desk, said("http"), balancer) is None
    assert again(desk, said("http,"), balancer) is None
    whole(desk, said("https"), stranger)
    assert again(desk, said("https"), stranger)
    assert [habit.secure for habit in known(desk)] == [False, True]


def test_the_last_used_of_a_place_is_tried_first():
    """Heads that begin alike share a place in the index, of which there are a few; who begins otherwise has another."""
    desk = make()
    agents = [str(number) for number in range(2 * habits._OF_A_PLACE)]
    for agent in agents:
        whole(desk, head("GET", "/ann/a", {"User-Agent": agent}))
    (place,) = desk.habits._kept.values()
    assert len(place) == habits._OF_A_PLACE
    assert again(desk, head("GET", "/ann/b", {"User-Agent": agents[-3]}), guest(desk))
    assert place[0].plan.request.header("user-agent") == agents[-3]
    assert again(desk, head("GET", "/ann/b", {"User-Agent": agents[0]}), guest(desk)) is None
    for other in (head("HEAD", "/ann/a"), head("GET", "/ann?list-type=2"), head("GET", "/ann/a", who=ROOT)):
        whole(desk, other, guest(desk))
    assert len(desk.habits._kept) == 4


def test_buckets_in_hosts_share_places():
    """Where a bucket may be in the host, a path begins with any key."""
    desk = make(domains=("gw.test",))
    whole(desk, head("GET", "/a/b", host="ann.gw.test"))
    assert again(desk, head("GET", "/c/d", host="ann.gw.test"), guest(desk))
    assert len(desk.habits._kept) == 1


def test_a_client_whose_heads_are_never_alike_stops_making_habits():
    """Who varies a field that is no hole makes a bounded number of habits; who is forgotten may be learnt as often as that is."""
    desk, made = make(), []

    def count(raw):
        whole(desk, raw)
        made.extend(habit for habit in known(desk) if all(habit is not other for other in made))

    for number in range(3 * habits._TRIES):
        count(head("GET", "/ann/a", {"User-Agent": str(number)}))
    assert habits._TRIES < len(made) <= habits._TRIES + habits._OF_A_PLACE + 1
    made.clear()
    for _ in range(2 * habits._TRIES):
        desk.habits._kept.clear()
        count(head("HEAD", "/ann/a"))
    assert len(made) == 2 * habits._TRIES


@pytest.mark.parametrize(("limit", "value"), [("_KEPT", 6), ("_BYTES", 6 * 400)])
def test_who_is_used_is_kept(monkeypatch, limit, value):
    """What is kept is bounded, in number and bytes; what nobody used since half of it was filled goes, and is learnt again."""
    monkeypatch.setattr(habits, limit, value)
    desk = make()
    used, unused = head("GET", "/ann/used"), head("DELETE", "/ann/unused")
    assert len(used) < 400
    whole(desk, used)
    whole(desk, unused)
    for number in range(20):
        whole(desk, head("PUT", "/ann/k", {"Content-Length": "1", **{f"x-amz-meta-{i}": "a" for i in range(number)}}))
        assert again(desk, used, guest(desk))
        assert len(known(desk)) <= 6
    assert again(desk, unused, guest(desk)) is None
    whole(desk, unused)
    assert again(desk, unused, guest(desk))


def test_nobody_has_a_place_in_anothers_name():
    """What a head says before its signature finds habits, and keeps none."""
    desk = make()
    decoy = {"A": "Credential=EVEKEY/20261130/us-east-1/s3/aws4_request"}
    whole(desk, head("GET", "/ann/a", {"B": "b"}, unsigned=decoy))
    assert len(known(desk)) == 1  # it stands behind the signature
    signed = head("GET", "/ann/a", decoy)
    assert signed.index(b"EVEKEY") < signed.index(b"ANNKEY")
    whole(desk, signed)
    assert len(known(desk)) == 1
    assert again(desk, signed, guest(desk)) is None


@pytest.mark.parametrize("spelt", [
    ("GET", "/{0}/k?response-content-type={1}"), ("GET", "/{1}/k?response-content-type={1}"), ("GET", "/{0}?prefix={0}"), ("GET", "/ann?prefix={0}&delimiter={1}"),
])  # fmt: skip
def test_trap_37_what_stands_for_a_word_is_no_word(spelt):
    """Else one word would be written where another stands, the bucket's name too: nobody can know it, and who does is told whole."""
    desk = make(lambda: policies({"Effect": "Allow", "Action": "*", "Resource": "*"}))
    method, target = spelt
    numerals = [str(habit_module._NUMERAL + place) for place in range(3)]
    raw = head(method, target.format(*numerals))
    assert isinstance(whole(desk, raw), tuple)
    assert known(desk) == []
    assert isinstance(whole(desk, head(method, target.format("700100200300400", "700100200300401", ""))), tuple)
    assert len(known(desk)) == 1


@pytest.mark.parametrize("region", ["us-east-1", ""])
def test_names_that_begin_alike_have_places_of_their_own(region):
    """Access keys of users may be long, or short, and a scope's region empty: who is like whom is seen behind twenty characters too."""
    principal = lookup("ANNKEY", "ann-token")[1]
    users = {
        name: Credentials(name, Secret("secret"))
        for name in ("service-account-for-alice", "service-account-for-mally", "abc")
    }
    desk = make(who=lambda key, token: (users[key], principal))
    for user in users.values():
        for agent in range(habits._OF_A_PLACE):
            whole(desk, head("GET", "/ann/k", {"User-Agent": str(agent)}, who=user, region=region))
    assert len(desk.habits._kept) == 3
    for user in users.values():
        assert again(desk, head("GET", "/ann/k", {"User-Agent": "0"}, who=user, region=region), guest(desk))


def test_a_head_of_many_words_is_told_whole():
    """Each word costs time to learn."""
    for number, learnt in ((habits._HOLES - 4, True), (habits._HOLES - 3, False)):
        desk = make()
        whole(desk, head("PUT", "/ann/k", {"Content-Length": "1", **{f"x-amz-meta-{i}": "a" for i in range(number)}}))
        assert bool(known(desk)) is learnt


def test_a_session_that_has_ended_is_not_learnt_from(caplog):
    """What was waited for may have taken long: that is no mistake of ours."""
    asked = []

    def ending(key, token):
        asked.append(key)
        if len(asked) == 2:
            raise ExpiredToken
        return lookup(key, token)

    desk = make(who=ending)
    assert isinstance(whole(desk, head("GET", "/ann/a")), tuple)
    assert len(asked) == 2
    assert known(desk) == []
    assert not caplog.records


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
