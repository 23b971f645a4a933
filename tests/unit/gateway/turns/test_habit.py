"""A story told again sends, byte for byte, what it sends when told whole; and whatever may not be sent is not told again."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import ExpiredToken, InvalidAccessKeyId
from iam.model import Secret
from tests.unit.gateway import told
from tests.unit.gateway.pairs import CHUNKS, SPELLINGS, TRAILER, as_read, as_sent, in_url, pairs, queries
from tests.unit.gateway.signers import ANN, EVE, ROOT, lookup
from tests.unit.gateway.told import MAY, again, both, guest, head, make, must_agree, must_agree_on, policies, url, whole

DAY = 86_400  # seconds


@settings(max_examples=400)
@given(pairs())
@example([("GET", "/ann/a", {}, "a" * 64), ("GET", "/ann/b/c", {}, "b" * 64)])
@example([("PUT", "/ann/a", {"Content-Length": "7"}, "a" * 64), ("PUT", "/ann/b", {"Content-Length": "0"}, "b" * 64)])
def test_told_again_and_told_whole_send_the_same(heads):
    """Whatever words two heads of a client have, the second is told again only as it would be told whole."""
    must_agree(make(), heads)


@settings(max_examples=600)
@given(queries(), st.sampled_from(SPELLINGS))
@example([("GET", "/ann", "prefix&list-type=2"), ("GET", "/ann", "prefix=a&list-type=2")], as_sent)
@example([("GET", "/ann", "list-type=2&prefix="), ("GET", "/ann", "list-type=2&prefix=a%2Fb")], as_read)
@example([("GET", "/ann", "list-type=2&prefix=a%2Fb"), ("GET", "/ann", "list-type=2&prefix=a%2fb")], as_read)
@example([("PUT", "/ann/k", "uploadId=a&partNumber=1"), ("PUT", "/ann/l", "uploadId=b&partNumber=2")], in_url)
def test_parameters_told_again_and_told_whole_send_the_same(requests, spelt):
    """So with a query, signed in the header as it is sent or as it is read, or presigned."""
    must_agree_on(make(), [spelt(*request) for request in requests])


@settings(max_examples=600)
@given(st.data(), st.sampled_from([
    (head, "PUT", "/ann/key", {"Content-Length": "7", "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA==", "x-amz-meta-a": "b"}),
    (head, "GET", "/ann?list-type=2&prefix=a%2Fb&delimiter=%2F&encoding-type=url&max-keys=7", {}),
    (head, "PUT", "/ann/key?partNumber=2&uploadId=abc.def", {"Content-Length": "7"}),
    (url, "GET", "/ann/key?response-content-type=text%2Fplain", {"x-amz-meta-a": "b"}),
]))  # fmt: skip
def test_a_changed_head_is_told_again_only_as_it_would_be_told_whole(data, said):
    """No byte that is changed, left out or put in is overlooked."""
    sign, *request = said
    raw = sign(*request)
    desk = make()
    who = guest(desk)
    whole(desk, raw, who)
    assert again(desk, raw, who)
    at = data.draw(st.integers(0, len(raw) - 1))
    put = data.draw(st.binary(max_size=3) | st.sampled_from(
        [b"\r\n", b"\n", b"\r\nx-amz-acl: a", b" ", b"\x00", b"%", b"&", b"=", b"+", b"?", b"#", b"&acl", b"&prefix=b", b"%2f", b"%2F"]
    ))  # fmt: skip
    changed = raw[:at] + put + raw[at + data.draw(st.integers(0, 3)) :]
    expected, found = both(desk, changed, who)
    assert found in (None, expected)


@pytest.mark.parametrize(
    ("method", "headers", "payload"),
    [
        ("GET", {}, "UNSIGNED-PAYLOAD"), ("GET", {"Range": "bytes=0-9"}, "a" * 64), ("HEAD", {"If-None-Match": '"a"'}, "a" * 64),
        ("DELETE", {}, "a" * 64), ("PUT", {"Content-Length": "7", "x-amz-meta-a": "b", "x-amz-acl": "private"}, "a" * 64),
        ("PUT", {"Content-Length": "50", "x-amz-decoded-content-length": "7", "x-amz-trailer": "x-amz-checksum-crc32", "Content-Encoding": "aws-chunked"}, TRAILER),
        ("PUT", {"Content-Length": "190", "x-amz-decoded-content-length": "7", "Content-Encoding": "aws-chunked"}, CHUNKS),
        ("GET", {"Connection": "close"}, "UNSIGNED-PAYLOAD"), ("PUT", {"Content-Length": "7", "Expect": "100-continue"}, "UNSIGNED-PAYLOAD"), ("PUT", {"Transfer-Encoding": "chunked", "x-amz-decoded-content-length": "7"}, TRAILER),
    ],
)  # fmt: skip
@pytest.mark.parametrize("who", [ANN, ROOT], ids=["session", "root"])
def test_what_clients_do_all_day_is_told_again(method, headers, payload, who):
    """Else nothing would be saved: reads, writes and deletes of other keys, in every payload mode."""
    desk, words = (
        make(),
        {"Content-Length": "123", "x-amz-decoded-content-length": "9", "Range": "bytes=7-", "x-amz-meta-a": "q"},
    )
    connection = guest(desk)
    whole(desk, head(method, "/ann/a", headers, payload=payload, who=who), connection)
    other = {name: words.get(name, value) for name, value in headers.items()}
    for key in ("b", "c/d/e", "f%20g", "%C3%A9", "h%3D1"):
        raw = head(method, f"/ann/{key}", other, payload="b" * 64 if payload == "a" * 64 else payload, who=who)
        expected, found = both(desk, raw, connection)
        assert found == expected
        assert isinstance(found[0], bytes)


@pytest.mark.parametrize(("method", "targets", "headers"), [
    ("GET", ["/ann?list-type=2&prefix=a&delimiter=%2F&encoding-type=url", "/ann?list-type=2&prefix=b%2F%C3%A9&delimiter=&encoding-type=url"], {}),
    ("GET", ["/ann/?prefix=a&marker=b&max-keys=7", "/ann/?prefix=&marker=c%2Fd&max-keys=1000"], {}), ("GET", ["/ann?versions", "/ann?versions"], {}),
    ("GET", ["/ann?list-type=2&continuation-token=a", "/ann?list-type=2&continuation-token=1%2B%2F%3D%3D"], {}),
    ("GET", ["/ann?uploads&prefix=a", "/ann?uploads&prefix=b"], {}), ("HEAD", ["/ann", "/ann"], {}), ("GET", ["/ann?location", "/ann?location"], {}),
    ("PUT", ["/ann/k?partNumber=1&uploadId=a", "/ann/l%20m?partNumber=10000&uploadId=b.c~"], {"Content-Length": "7"}),
    ("GET", ["/ann/k?x-id=GetObject", "/ann/l?x-id=GetObject"], {}), ("GET", ["/ann/k?uploadId=a&max-parts=9", "/ann/l?uploadId=b&max-parts=1"], {}),
    ("GET", ["/ann/k?response-content-disposition=a", "/ann/l?response-content-disposition=inline%3B%20filename%3D%22b%22"], {}), ("GET", ["/ann/k?tagging", "/ann/l?tagging"], {}),
])  # fmt: skip
@pytest.mark.parametrize("signed", [head, url])
@pytest.mark.parametrize("who", [ANN, ROOT], ids=["session", "root"])
def test_what_clients_ask_with_parameters_is_told_again(method, targets, headers, signed, who):
    """Listings, parts of uploads, and whatever a URL was presigned for: of any key, page or part."""
    desk = make()
    connection = guest(desk)
    whole(desk, signed(method, targets[0], headers, who=who), connection)
    for target in targets:
        expected, found = both(desk, signed(method, target, headers, who=who), connection)
        assert isinstance(expected, tuple)
        assert found == expected


ADDED = {
    "X-Forwarded-For": ("192.0.2.1", "198.51.100.7, 10.0.0.1", "2001:db8::1,[2001:db8::2]:443"), "X-Amzn-Trace-Id": ("Root=1-a-b", "Self=1-2-3;Root=1-67891233-abcdef012345678912345678"),
    "traceparent": ("00-a-b-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "X-Request-ID": ("a", "7b7c7d5e"), "Content-Type": ("a/b", "text/plain; charset=utf-8", "image/png"),
    "If-Unmodified-Since": ("Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 30 Nov 2026 19:00:00 GMT"),
}  # fmt: skip


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("name", "words"), ADDED.items(), ids=ADDED)
def test_what_differs_with_every_request_is_a_word(name, words, signed):
    """What a balancer or a tracing agent adds, and what is put: else nobody behind one would be told again."""
    desk, who = make(), guest(make())
    made = [
        head(
            "PUT",
            "/ann/k",
            {"Content-Length": "1", **({name: word} if signed else {})},
            unsigned=None if signed else {name: word},
        )
        for word in words
    ]
    whole(desk, made[0], who)
    for raw in made:
        expected, found = both(desk, raw, who)
        assert isinstance(expected, tuple)
        assert found == expected


@pytest.mark.parametrize("word", ["a  b", "a\tb", " a", "a ", "a b c d e f", "é"])
def test_what_is_folded_when_it_is_signed_is_no_word(word):
    """Two spaces are one in a signature: the whole way knows, and a template does not."""
    desk, who = make(), guest(make())
    whole(desk, head("PUT", "/ann/k", {"Content-Length": "1"}, unsigned={"Content-Type": "a b"}), who)
    for how in ({"unsigned": {"Content-Type": word}}, {"unsigned": {"Content-Type": word.strip()}}):
        expected, found = both(desk, head("PUT", "/ann/k", {"Content-Length": "1"}, **how), who)
        assert found in (None, expected)


def test_metadata_by_which_a_store_does_more_is_no_word():
    """MinIO unpacks an archive whose metadata say so, into keys that nobody judged: the whole way refuses that."""
    desk, who = make(), guest(make())

    def put(value):
        return head("PUT", "/ann/k", {"Content-Length": "1", "X-Amz-Meta-Snowball-Auto-Extract": value})

    whole(desk, put("false"), who)
    assert both(desk, put("true"), who) == ("NotImplemented", None)


@pytest.mark.parametrize("word", ["bytes=0-" + "9" * 19, "bytes=0-" + "9" * 20, "bytes=0-" + "9" * 20_000])
def test_a_range_is_as_long_as_a_number(word):
    """A head that is too long for the whole way is too long for this one."""
    desk, who = make(), guest(make())
    whole(desk, head("GET", "/ann/k", unsigned={"Range": "bytes=0-1"}), who)
    expected, found = both(desk, head("GET", "/ann/k", unsigned={"Range": word}), who)
    assert found == (expected if len(word) < 28 else None)


def test_a_body_waits_until_its_buckets_region_is_known():
    """As on the whole way: what is streamed to the wrong region cannot be sent again."""
    desk = make(settings={"regions": "on"})
    who = guest(desk)
    whole(desk, head("PUT", "/ann/k", {"Content-Length": "0"}), who)
    assert again(desk, head("PUT", "/ann/k", {"Content-Length": "0"}), who)
    assert both(desk, head("PUT", "/ann/k", {"Content-Length": "5"}), who) == ("Later", None)
    desk.backend.regions.learn("ann", "us-east-1")
    whole(desk, head("PUT", "/ann/k", {"Content-Length": "5"}), who)
    expected, found = both(desk, head("PUT", "/ann/k", {"Content-Length": "5"}), who)
    assert found == expected


def test_the_type_of_a_form_chooses():
    """Behind a POST it is no word."""
    desk, who = make(), guest(make())
    post = {"Content-Length": "0"}
    whole(desk, head("POST", "/ann/k?uploads", post, unsigned={"Content-Type": "text/plain"}), who)
    assert again(desk, head("POST", "/ann/k?uploads", post, unsigned={"Content-Type": "text/plain"}), who)
    for other in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/html"):
        assert again(desk, head("POST", "/ann/k?uploads", post, unsigned={"Content-Type": other}), who) is None


@pytest.mark.parametrize("length", ["1", "2"])
@pytest.mark.parametrize(("word", "kept"), [("close", False), ("keep-alive", True)])
def test_what_becomes_of_the_connection_is_told_again_too(word, kept, length):
    """Who says that this is his last request on it is believed, whatever else is other."""
    desk, who = make(), guest(make())
    whole(desk, head("PUT", "/ann/k", {"Content-Length": "1"}, unsigned={"Connection": word}), who)
    turn = desk.again(who, head("PUT", "/ann/l", {"Content-Length": length}, unsigned={"Connection": word}))
    assert turn.head.keep_alive is kept
    turn.finish()


def test_a_name_without_a_value_is_no_word():
    """What is put behind it would be another name: `prefix` and a word make `prefixb`."""
    desk = make()
    who = guest(desk)
    whole(desk, head("GET", "/ann?list-type=2&prefix"), who)
    assert again(desk, head("GET", "/ann?list-type=2&prefix"), who)
    for signed in ("prefixb", "prefix=b"):
        assert again(desk, head("GET", f"/ann?list-type=2&{signed}"), who) is None
        assert again(desk, head("GET", f"/ann?list-type=2&{signed}", sent="/ann?list-type=2&prefixb"), who) is None


@pytest.mark.parametrize("signed", [head, url])
def test_trap_37_a_policy_sees_the_prefix_of_this_listing(signed):
    """Who may list one folder may not list another one, because he has listed his own."""
    mine = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "*",
        "Condition": {"StringLike": {"s3:prefix": "mine/*"}},
    }
    known = policies(mine)
    desk = make(lambda: known)
    who = guest(desk)
    whole(desk, signed("GET", "/ann?list-type=2&prefix=mine%2Fa"), who)
    assert again(desk, signed("GET", "/ann?list-type=2&prefix=mine%2Fb"), who)
    for prefix in ("", "mine", "mine2%2F", "yours%2Fa"):
        raw = signed("GET", f"/ann?list-type=2&prefix={prefix}")
        assert both(desk, raw, who) == ("AccessDenied", None)


def test_a_url_is_told_again_for_its_time_only():
    """Not after it has expired, nor before it was made; and its signature is of its own parameters."""
    desk = make()
    who = guest(desk)
    raw, now = url("GET", "/ann/k", expires=600), time.time()
    whole(desk, raw, who)
    for late, good in ((0, True), (590, True), (610, False), (-890, True), (-920, False)):
        desk.clock = lambda late=late: now + late
        expected, found = both(desk, raw, who)
        signed_today = (now + late) // DAY == now // DAY  # by us, for the backend: a habit is of its day
        assert found == (expected if good and signed_today else None)
        assert isinstance(expected, tuple) is good
    desk.clock = time.time
    for old, new in (
        (b"Expires=600", b"Expires=900"),
        (b"/ann/k", b"/ann/l"),
        (b"ANNKEY", b"EVEKEY"),
        (b"ann-token", b"eve-token"),
    ):
        assert old in raw
        assert both(desk, raw.replace(old, new), who)[1] is None
    for other in (
        url("GET", "/ann/l", expires=600, who=EVE),
        url("PUT", "/ann/l", expires=600),
        url("GET", "/ann/l", expires=601),
    ):
        assert again(desk, other, who) is None
    assert again(desk, url("GET", "/ann/l", expires=600), who)


def test_a_virtual_hosts_story_is_told_again():
    """The bucket is then in the host, and the key the whole path; but for paths that are the gateway's own."""
    desk = make(domains=("gw.test",))
    who = guest(desk)
    whole(desk, head("GET", "/a", host="ann.gw.test"), who)
    for target in ("/b", "/c/d", "/minio", "//", "/minio/x", "/minio-gw/x"):
        expected, found = both(desk, head("GET", target, host="ann.gw.test"), who)
        assert found == (None if target in {"/minio/x", "/minio-gw/x", "//"} else expected)
    assert again(desk, head("GET", "/minio/health/live", host="ann.gw.test"), who) is None
    assert again(desk, head("GET", "/b", host="eve.gw.test"), who) is None


class World:
    """What a story depends on, to be changed after it was told."""

    def __init__(self) -> None:
        self.policies = policies(MAY)
        self.lookup = lookup
        self.desk = make(lambda: self.policies, self._lookup)
        self.guest = guest(self.desk)
        self.raw = head("GET", "/ann/a")
        whole(self.desk, self.raw, self.guest)
        assert again(self.desk, self.raw, self.guest)

    def _lookup(self, key, token):
        return self.lookup(key, token)


def _raising(error):
    def refused(key, token):
        raise error

    return refused


def test_trap_37_a_habit_holds_no_verdict():
    """A policy that changes decides about the very next request; one about the key, or about the address, of each."""
    world = World()
    world.policies = policies(MAY, {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::ann/secret*"})
    assert again(world.desk, world.raw, world.guest)
    assert again(world.desk, head("GET", "/ann/secret"), world.guest) is None
    assert whole(world.desk, head("GET", "/ann/secret")) == "AccessDenied"
    near = {
        "Effect": "Deny",
        "Action": "s3:*",
        "Resource": "*",
        "Condition": {"IpAddress": {"aws:SourceIp": told.PEER}},
    }
    world.policies = policies(MAY, near)
    assert again(world.desk, world.raw, world.guest) is None
    far = world.desk.meet("198.51.100.1", secure=False)
    whole(world.desk, world.raw, far)
    assert again(world.desk, world.raw, far)
    world.policies = {}
    assert again(world.desk, world.raw, far) is None


@pytest.mark.parametrize(("method", "name"), [("PUT", "If-Match"), ("PUT", "If-None-Match"), ("DELETE", "If-Match")])
def test_trap_33_a_condition_on_what_an_object_is_is_another_story(method, name):
    """`*` needs no right to read; whoever was told again with it is not told again with an ETag in its place."""
    known = policies({**MAY, "Action": ["s3:PutObject", "s3:DeleteObject"]})
    desk, who = make(lambda: known), guest(make())
    length = {"Content-Length": "0"} if method == "PUT" else {}
    whole(desk, head(method, "/ann/a", length | {name: "*"}), who)
    expected, found = both(desk, head(method, "/ann/b", length | {name: "*"}), who)
    assert found == expected
    for value in ('"e"', "e", "*a", "*,a"):
        assert both(desk, head(method, "/ann/b", length | {name: value}), who) == ("AccessDenied", None)
    known = policies({**MAY, "Action": ["s3:PutObject", "s3:DeleteObject", "s3:GetObject"]})
    whole(desk, head(method, "/ann/a", length | {name: '"e"'}), who)
    for value in ('"e"', '"f"'):
        expected, found = both(desk, head(method, "/ann/b", length | {name: value}), who)
        assert isinstance(found, tuple)
        assert found == expected


ODD = [
    ("/ann/a", "/ann//bob/a"), ("/ann/a", "/ann/bob%5Ca"), ("/ann/a", "/ann/z/../bob/a"), ("/ann/a", "/ann/a.versions/v_0a"), ("/ann/a", "/ann/.uploads/0/1.part"),
    ("/ann?list-type=2&prefix=a", "/ann?list-type=2&prefix=%2Fbob%2F"), ("/ann?prefix=a&marker=b", "/ann?prefix=bob%5C&marker=b"),
]  # fmt: skip


@pytest.mark.parametrize("signed", [head, url])
@pytest.mark.parametrize(("usual", "odd"), ODD)
def test_trap_17_what_may_be_read_otherwise_is_told_whole(usual, odd, signed):
    """A key or prefix that the store may read as another one ends in no habit and goes by none, unless the store is Amazon's."""
    may = {**MAY, "NotAction": "s3:GetObjectVersion"}
    del may["Action"]
    bobs = {"StringLike": {"s3:prefix": "bob/*"}}
    known = policies(
        may, {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::ann/bob/*"},
        {"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": bobs},
    )  # fmt: skip
    for amazon in (False, True):
        desk, who, now = make(lambda: known, amazon=amazon), guest(make()), int(time.time())
        desk.clock = lambda now=now: now
        whole(desk, signed("GET", usual), who)
        assert again(desk, signed("GET", usual), who)
        raw = signed("GET", odd)
        expected, found = both(desk, raw, who)
        assert found == (expected if amazon else None)
        assert isinstance(expected, tuple) if amazon else expected == "AccessDenied"
        assert both(desk, raw, who)[1] == found


@pytest.mark.parametrize("condition", [
    {"StringLike": {"s3:x-amz-acl": "public*"}}, {"StringEquals": {"aws:UserAgent": "b"}}, {"StringEquals": {"s3:if-none-match": "b"}},
    {"StringEquals": {"s3:authType": "REST-HEADER"}}, {"Bool": {"aws:SecureTransport": "false"}}, {"NumericLessThan": {"s3:signatureAge": "600000"}},
])  # fmt: skip
def test_a_policy_sees_the_facts_of_this_request(condition):
    """A condition is judged on the words of the head at hand, not on those of the one that was told."""
    desk = make(lambda: known)
    known = policies(MAY, {"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": condition})
    values = {"If-None-Match": "a", "User-Agent": "a"}
    for first in ("a", "b"):
        for second in ("a", "b"):
            who = guest(desk)
            whole(desk, head("GET", "/ann/k", values | {"If-None-Match": first}), who)
            expected, found = both(desk, head("GET", "/ann/k", values | {"If-None-Match": second}), who)
            assert found in (None, expected)
            assert (
                isinstance(expected, str)
                or found
                or isinstance(whole(desk, head("GET", "/ann/k", values | {"If-None-Match": first})), str)
            )


TAG = "s3:ExistingObjectTag/team"


@pytest.mark.parametrize(("more", "may"), [
    ([{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"StringEquals": {TAG: "red"}}}], False),
    ([{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"StringNotEquals": {TAG: "red"}}}], False),
    ([{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"StringNotEqualsIfExists": {TAG: "red"}}}], False),
    ([{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"Null": {TAG: "true"}}}], False),
    ([{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"Null": {TAG: "false"}}}], False),
    ([{"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*", "Condition": {"StringEquals": {TAG: "red"}}}], True),
    ([{"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"StringEquals": {TAG: "red"}}}], True),
])  # fmt: skip
def test_what_depends_on_an_objects_tags_is_told_whole(more, may):
    """A habit does not know the tags: it says yes only where every value that they could have leads to the same yes."""
    known = policies(MAY)
    desk = make(lambda: known)
    who = guest(desk)
    whole(desk, head("GET", "/ann/k"), who)
    assert again(desk, head("GET", "/ann/k"), who)
    known = policies(MAY, *more)
    assert bool(again(desk, head("GET", "/ann/k"), who)) is may


@pytest.mark.parametrize(
    "operator", ["StringEquals", "StringNotEquals", "StringEqualsIfExists", "StringNotEqualsIfExists"]
)
def test_what_only_an_objects_tags_allow_is_told_whole(operator):
    """An allowance that the tags decide is none for a habit."""
    known = policies(MAY)
    desk = make(lambda: known)
    who = guest(desk)
    whole(desk, head("GET", "/ann/k"), who)
    known = policies({**MAY, "Condition": {operator: {TAG: "red"}}})
    assert again(desk, head("GET", "/ann/k"), who) is None


@pytest.mark.parametrize("error", [ExpiredToken(), InvalidAccessKeyId()], ids=["expired", "revoked"])
def test_a_session_that_ends_is_told_no_more(error):
    """An expiry, or a revocation, ends it at the next request."""
    world = World()
    world.lookup = _raising(error)
    assert again(world.desk, world.raw, world.guest) is None
    assert whole(world.desk, world.raw) == error.code


def test_another_principal_of_the_same_key_is_told_whole():
    """Who was found behind the key must be the very one that was found when the story was told."""
    world = World()
    world.lookup = lambda key, token: (lookup(key, token)[0], replace(lookup(key, token)[1], policies=()))
    assert again(world.desk, world.raw, world.guest) is None
    assert whole(world.desk, world.raw) == "AccessDenied"
    world.lookup = lambda key, token: (replace(ANN, secret=Secret("another")), lookup(key, token)[1])
    assert again(world.desk, world.raw, world.guest) is None
    assert whole(world.desk, world.raw) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("late", [-1000, 1000, 86_400])
def test_a_signature_is_good_for_its_time_only(late):
    """What was signed too long ago, or for later, is not told again."""
    world = World()
    world.desk.clock = lambda: time.time() + late
    assert again(world.desk, world.raw, world.guest) is None


def test_another_signature_key_or_caller_is_not_told_again():
    """A signature over other words, another session's, or none."""
    world = World()
    key = head("GET", "/ann/b")
    assert again(world.desk, key.replace(b"/ann/b", b"/ann/c"), world.guest) is None
    assert again(world.desk, head("GET", "/ann/a", who=EVE), world.guest) is None
    assert again(world.desk, head("GET", "/ann/a", who=ROOT), world.guest) is None
    assert again(world.desk, head("GET", "/ann/a", unsigned={"x-amz-acl": "a"}), world.guest) is None


def test_the_backends_keys_and_region_are_those_of_now():
    """When the backend's credentials turn, or its bucket moves, the story is told whole, and again from then on."""
    for change in ("_fixed", "regions"):
        world = World()
        backend = world.desk.backend
        if change == "regions":
            backend.regions.learn("ann", "eu-west-1")
        else:
            backend._fixed = replace(backend._fixed, access_key_id="NEXT")
        assert again(world.desk, world.raw, world.guest) is None
        whole(world.desk, world.raw, world.guest)
        expected, found = both(world.desk, world.raw, world.guest)
        assert found == expected
        assert (b"NEXT" if change == "_fixed" else b"eu-west-1") in found[0]
