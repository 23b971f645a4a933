"""A story told again asks a policy service, byte for byte, what it asks when told whole, and goes on only after its yes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import AccessDenied, ExpiredToken, InvalidAccessKeyId, ServiceUnavailable
from gateway.turns.questions import stand_in
from iam.model import Secret
from iam.opa import OpaSettings
from iam.opa_questions import judged
from tests.unit.gateway.pairs import CHUNKS, SPELLINGS, TRAILER, pairs, queries
from tests.unit.gateway.signers import ANN, EVE, ROOT, lookup
from tests.unit.gateway.told import again, both, guest, head, make, must_agree, must_agree_on, url, whole

OPA = OpaSettings("http://127.0.0.1:1/v1/data/authz")
ALL = json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


def asked_of(found) -> dict:
    """Return the document of a question that was sent."""
    return json.loads(found[0].partition(b"\r\n\r\n")[2])["input"]


@settings(max_examples=300)
@given(pairs())
@example([("GET", "/ann/a", {}, "a" * 64), ("GET", "/ann/%C3%A9%22", {}, "b" * 64)])
@example(
    [("GET", "/ann/a", {"If-Match": "\\u00000\\u0000"}, "a" * 64), ("GET", "/ann/b", {"If-Match": "\x00"}, "b" * 64)]
)
@example(
    [("GET", "/ann/a", {"If-Match": stand_in(0)}, "a" * 64), ("GET", "/ann/b", {"If-Match": stand_in(1)}, "b" * 64)]
)
@example([("GET", "/ann/a", {"If-Match": '\\"%b'}, "a" * 64), ("GET", "/ann/b", {"If-Match": '"\\\\"%%'}, "b" * 64)])
def test_told_again_and_told_whole_ask_the_same(heads):
    """Whatever words two heads of a client have: question and request are those of the whole way, whoever sees credentials."""
    for raw_headers in (False, True):
        must_agree(make(opa=replace(OPA, raw_headers=raw_headers)), heads)


@settings(max_examples=300)
@given(queries(), st.sampled_from(SPELLINGS))
def test_parameters_told_again_and_told_whole_ask_the_same(requests, spelt):
    """So with a query, whose values are facts of the question."""
    must_agree_on(make(opa=OPA), [spelt(*request) for request in requests])


@pytest.mark.parametrize("signed", [head, url])
def test_a_question_about_a_listing_has_its_own_prefix(signed):
    """It is told again, and what is asked is where this listing is narrowed to. At Amazon a backslash is a letter."""
    desk = make(opa=OPA, amazon=True)
    connection = guest(desk)
    whole(desk, signed("GET", "/ann?list-type=2&prefix=a"), connection)
    for prefix, text in (("b", "b"), ("", ""), ("%22%5C%C3%A9%2F", '"\\é/')):
        expected, found = both(desk, signed("GET", f"/ann?list-type=2&prefix={prefix}"), connection)
        assert found == expected
        assert asked_of(found)["conditions"]["prefix"] == [text]


@pytest.mark.parametrize(("method", "headers", "payload"), [
    ("GET", {}, "UNSIGNED-PAYLOAD"), ("GET", {"Range": "bytes=0-9"}, "a" * 64), ("HEAD", {"If-None-Match": '"a"'}, "a" * 64), ("DELETE", {}, "a" * 64),
    ("PUT", {"Content-Length": "7", "x-amz-meta-a": "b"}, "a" * 64), ("PUT", {"Content-Length": "50", "x-amz-decoded-content-length": "7"}, TRAILER),
    ("PUT", {"Content-Length": "190", "x-amz-decoded-content-length": "7", "Content-Encoding": "aws-chunked"}, CHUNKS),
])  # fmt: skip
@pytest.mark.parametrize("who", [ANN, ROOT], ids=["session", "root"])
def test_what_clients_do_all_day_is_told_again(method, headers, payload, who):
    """Else nothing would be saved; each question is about this key. At Amazon a backslash is a letter."""
    desk = make(opa=OPA, amazon=True)
    connection = guest(desk)
    whole(desk, head(method, "/ann/a", headers, payload=payload, who=who), connection)
    for key, name in (("b", "b"), ("c/d", "c/d"), ("f%20g", "f g"), ("%C3%A9", "é"), ("%22%5C", '"\\')):
        expected, found = both(desk, head(method, f"/ann/{key}", headers, payload=payload, who=who), connection)
        assert found == expected
        assert isinstance(found[1], bytes)
        assert asked_of(found)["object"] == name


def test_each_connection_asks_about_its_own_address():
    """A habit is shared; where a request is from is not."""
    desk = make(opa=OPA)
    raw = head("GET", "/ann/a")
    found = []
    for address in ("192.0.2.7", "2001:db8::7"):
        connection = desk.meet(address, secure=False)
        whole(desk, raw, connection)
        found.append(asked_of(again(desk, raw, connection))["conditions"]["SourceIp"])
    assert found == [["192.0.2.7"], ["2001:db8::7"]]


def test_time_goes_on():
    """The question says what time it is now, and how old the signature has become."""
    desk = make(opa=OPA)
    connection, raw, begun = guest(desk), head("GET", "/ann/a"), desk.clock()
    whole(desk, raw, connection)
    for late in (5, 5, 6, 300):
        desk.clock = lambda late=late: begun + late
        expected, found = both(desk, raw, connection)
        assert found == expected
        facts = asked_of(found)["conditions"]
        assert facts["EpochTime"] == [str(int(begun + late))]
        assert int(facts["signatureAge"][0]) in {late * 1000, (late + 1) * 1000}


@pytest.mark.parametrize(
    "answer",
    [(200, b'{"result": false}'), (200, b"{}"), (200, b"<html>"), (403, b""), (200, b'{"result":true,"result":true}')],
)
def test_trap_31_a_no_is_what_it_is_on_the_whole_way(answer):
    """Nothing is sent, and the refusal has the reason and the question that the whole way gives."""
    desk = make(opa=OPA)
    connection, raw = guest(desk), head("GET", "/ann/a")
    whole(desk, raw, connection)
    refused = []
    for turn in (desk.again(connection, raw), desk.turn(connection, _read(raw))):
        step = turn.begin()
        with pytest.raises(AccessDenied) as error:
            step.then(*answer)
        refused.append(error.value)
        turn.finish()
    one, other = refused
    assert one.reason == other.reason == judged(*answer).reason
    assert one.asked._replace(context=None) == other.asked._replace(context=None)
    assert one.asked.context.document().keys() == other.asked.context.document().keys()


@pytest.mark.parametrize("error", [ExpiredToken(), InvalidAccessKeyId()], ids=["expired", "revoked"])
def test_a_session_that_ends_while_its_question_is_out_sends_nothing(error):
    """A yes comes too late then, told again as told whole."""
    ended = False

    def ending(key, token):
        if ended:
            raise error
        return lookup(key, token)

    desk = make(who=ending, opa=OPA)
    connection, raw = guest(desk), head("GET", "/ann/a")
    whole(desk, raw, connection)
    for turn in (desk.again(connection, raw), desk.turn(connection, _read(raw))):
        ended = False
        step = turn.begin()
        ended = True
        for answer in (b'{"result": true}', b'{"result": false}'):
            with pytest.raises(type(error)):
                step.then(200, answer)
        turn.finish()
        ended = False


CHANGES = {
    "secret": lambda who, principal: (replace(who, secret=Secret("another")), principal),
    "groups": lambda who, principal: (who, replace(principal, groups=("left",))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_trap_37_who_asks_must_still_be_who_asked_when_the_answer_comes(change):
    """A key that turns while a question is out is good no more; who left a group is not let through as its member: both may ask again."""
    before = lookup(ANN.access_key_id, "ann-token")
    now = [before]
    desk = make(who=lambda key, token: now[0], opa=OPA)
    connection, raw = guest(desk), head("GET", "/ann/a")
    whole(desk, raw, connection)
    for turn in (desk.again(connection, raw), desk.turn(connection, _read(raw))):
        now[0] = before
        step = turn.begin()
        now[0] = change(*before)
        with pytest.raises(ServiceUnavailable):
            step.then(200, b'{"result": true}')
        turn.finish()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_trap_37_a_story_that_waited_is_learnt_for_who_asked(change):
    """Else a secret of before a wait would be good for the identity of after it."""
    before, asked = lookup(ANN.access_key_id, "ann-token"), []

    def changing(key, token):
        asked.append(key)
        return before if len(asked) == 1 else change(*before)

    desk = make(who=changing)
    assert isinstance(whole(desk, head("GET", "/ann/a")), tuple)
    assert len(asked) == 2
    assert desk.habits.all() == []


def test_trouble_on_the_way_is_a_no():
    """A question that is not answered is denied, and the reason names the kind of trouble only."""
    desk = make(opa=OPA)
    connection, raw = guest(desk), head("GET", "/ann/a")
    whole(desk, raw, connection)
    for turn in (desk.again(connection, raw), desk.turn(connection, _read(raw))):
        step = turn.begin()
        with pytest.raises(AccessDenied) as error:
            step.failed(TimeoutError("secret"))
        assert error.value.reason == "policy service: TimeoutError"
        turn.finish()


def test_a_session_policy_is_asked_before_the_service():
    """What the session may not is not even asked; who has another session policy is another principal."""
    bounds = [ALL]

    def bounded(key, token):
        credentials, principal = lookup(key, token)
        return credentials, known.setdefault(bounds[0], replace(principal, session_policy=bounds[0]))

    known = {}
    desk = make(who=bounded, opa=OPA)
    connection, raw = guest(desk), head("GET", "/ann/a")
    whole(desk, raw, connection)
    assert again(desk, raw, connection)
    bounds[0] = json.dumps({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})
    assert again(desk, raw, connection) is None
    assert whole(desk, raw) == "AccessDenied"


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_what_needs_an_objects_tags_is_told_whole(effect):
    """Tags belong to the question where the settings say so, and where a session policy could look at them, for these keys."""
    desk = make(opa=replace(OPA, existing_tags=True))
    connection, raw = guest(desk), head("GET", "/ann/a")
    whole(desk, raw, connection)
    assert again(desk, raw, connection) is None
    tags = {"StringEquals": {"s3:ExistingObjectTag/a": "b"}}
    tagged = {"Effect": effect, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::ann/team*", "Condition": tags}
    text = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, tagged]})
    principal = replace(lookup(ANN.access_key_id, "ann-token")[1], session_policy=text)
    desk = make(who=lambda key, token: (ANN, principal), opa=OPA)
    connection = guest(desk)
    whole(desk, raw, connection)
    assert again(desk, raw, connection)
    assert again(desk, head("GET", "/ann/team"), connection) is None
    assert whole(desk, head("GET", "/ann/team")) == "Later"


def test_another_caller_is_not_told_again():
    """A habit of one session asks nothing in another's name."""
    desk = make(opa=OPA)
    connection = guest(desk)
    whole(desk, head("GET", "/ann/a"), connection)
    assert again(desk, head("GET", "/ann/a", who=EVE), connection) is None
    assert again(desk, head("GET", "/ann/a", who=ROOT), connection) is None


def _read(raw: bytes):
    from gateway.wire.heads import RequestReader

    return RequestReader().read(raw)
