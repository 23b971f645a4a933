"""What botocore signed, what policy was asked and what the backend received are one request, or the backend receives nothing."""

from __future__ import annotations

import posixpath
import random
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from gateway.s3.actions import required
from gateway.s3.operations import resolve, table
from gateway.s3.request import parse
from tests.differential.views import ITS_OWN, InProcess, Signed, pairs, sign, signed_by_the_gateway

SUB_RESOURCES = sorted({name for operations in table().values() for o in operations for name, _ in o.static})
PARAMETERS = sorted({name for operations in table().values() for o in operations for name in o.query})
DELETE = b"<Delete><Object><Key>a&amp;b</Key></Object><Object><Key>c</Key><VersionId>v</VersionId></Object></Delete>"
TAGGING = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"
#: Query signatures of foreign making, and AWS's words that are not ours to forward.
STRANGE = ["ACL", "Policy", "unknown", "", "aws:username", "X-Amz-Foo", "x-id", "jwt:sub", "delete ", "policy%00"]

segment = st.one_of(
    st.sampled_from(["a", "k", "..", ".", "", "%2e%2e", "%2F", "%2f", "+", "%20", "%00", "%ff", "~", "%7E", "%c3%a9", "%", "*",
                     "'", "(", "@", ":", "a=b", "&", ";", ",", "!", "$", "%25", "%252F", "%3F", "%23", "é", "\\", '"', "<", "|", "^", "`",
                     "{", "%E2%80%AE", "%C2%A0", "%0d%0a", "%09", "-_.", "%41"]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=6).map(lambda t: quote(t, safe="")),
)  # fmt: skip
bucket = st.sampled_from(["bkt"] * 6 + ["b.k", "BKT_1", "", "..", "b%6Bt", "bkt%2Fx", "bk%20t"])
path = st.builds(lambda b, s: "/" + "/".join([b, *s]), bucket, st.lists(segment, max_size=5))
value = st.sampled_from(
    [None, None, "", "", "a", "1", "2", "a%20b", "a+b", "%2F", "/", "%C3%A9", "%00", "%zz", "a=b", "%26", "url", "a%25"]
)
name = st.one_of(st.sampled_from(SUB_RESOURCES), st.sampled_from(PARAMETERS), st.sampled_from(STRANGE))
query = st.lists(st.tuples(name.map(lambda n: n if "%" in n else quote(n, safe="")), value), max_size=4)


def cased(text: str, number: int) -> str:
    """Spell a header's name in one of its many ways."""
    return "".join(c.upper() if number >> i & 1 else c.lower() for i, c in enumerate(text))


header = st.tuples(
    st.builds(
        cased,
        st.sampled_from(["range", "content-type", "x-amz-acl", "x-amz-meta-a", "x-amz-meta-long-name", "x-amz-copy-source", "x-amz-tagging",
                         "x-amz-metadata-directive", "cache-control", "if-match", "if-range", "x-amz-storage-class", "x-forwarded-for",
                         "x-amz-unknown", "owner", "jwt-sub", "content-encoding", "x-amz-website-redirect-location", "connection", "te",
                         "x-amz-object-lock-mode", "x-amz-grant-read", "x-amz-expected-bucket-owner", "expires", "cookie", "via"]),
        st.integers(0, 2**16),
    ),
    st.sampled_from(["", "a", "private", "a b", "a  b", " a", "a ", "a,b", "é", "bytes=0-1", "bkt/k", "/bkt/a%20b", "bkt/../x", "/b/%2e%2e/k",
                     "bkt/k?versionId=v", "bkt%2Fk", "b/k?versionId=v&x=1", "COPY", "REPLACE", "k=v", "close", "x-amz-acl", "aws-chunked"]),
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One request to be: `tamper` is what somebody does to it on its way, after it was signed."""

    method: str
    path: str
    query: list[tuple[str, str | None]]
    headers: list[tuple[str, str]]
    body: bytes = b""
    presign: bool = False
    virtual: bool = False
    tamper: str = ""
    seed: int = 0

    @property
    def target(self) -> str:
        pieces = [n if v is None else f"{n}={v}" for n, v in self.query]
        return self.path + ("?" + "&".join(pieces) if pieces else "")


Headers = list[tuple[str, str]]
ACL, SOURCE = 1, 2  # seeds that add the first and the second of these
ADDED = [("x-amz-acl", "public-read"), ("X-Amz-Copy-Source", "/other/k"), ("Range", "bytes=0-1"), ("Host", "b.s3.example.test"),
         ("X-Forwarded-Host", "other"), ("X-Amz-Meta-B", "b"), ("Content-Type", "text/html")]  # fmt: skip
TAMPERING = ["", "", "", "", "header", "order", "drop", "add", "decode", "encode", "slash", "dots", "method", "case"]
sample = st.builds(
    Sample,
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "GET", "PUT", "PATCH", "OPTIONS"]),
    path=path, query=query, headers=st.lists(header, max_size=3),
    body=st.sampled_from([b"", b"", b"body", DELETE, TAGGING]),
    presign=st.booleans(), virtual=st.sampled_from([False, False, True]),
    tamper=st.sampled_from(TAMPERING), seed=st.integers(0, 1000),
)  # fmt: skip


OPERATIONS = [operation for operations in table().values() for operation in operations]
BODIES = {"DeleteObjects": DELETE, "PutObjectTagging": TAGGING}
benign = st.sampled_from(["a", "1", "", "url", "a%20b", "%C3%A9", "a%2Fb"])
plain_segment = st.one_of(st.sampled_from(["a", "k", "..", "", "%20", "~", "%C3%A9", "a%2Bb", "%25", "-_."]), segment)


@st.composite
def plausible(draw) -> Sample:
    """Return a request of one of S3's operations, its parameters in any order, its headers in any case; then tampered with."""
    operation = draw(st.sampled_from(OPERATIONS))
    place = {
        "service": "/",
        "bucket": "/bkt",
        "object": "/bkt/" + "/".join(draw(st.lists(plain_segment, min_size=1, max_size=4))),
    }
    wanted = [(n, v or None) for n, v in operation.static] + [(n, draw(benign)) for n in sorted(operation.needs_query)]
    spare = sorted(operation.query - {n for n, _ in wanted})
    more = draw(st.lists(st.sampled_from(spare), max_size=3, unique=True)) if spare else []
    known = sorted(
        operation.headers - {"content-encoding", "x-amz-trailer", "x-amz-decoded-content-length", "content-md5"}
    )
    names = [
        *sorted(operation.needs_headers),
        *(draw(st.lists(st.sampled_from(known), max_size=3, unique=True)) if known else []),
    ]
    virtual = operation.level != "service" and draw(st.sampled_from([False, False, True]))
    return Sample(
        operation.method,
        (place[operation.level].removeprefix("/bkt") or "/") if virtual else place[operation.level],
        draw(st.permutations([(quote(n, safe=""), v) for n, v in [*wanted, *((n, draw(benign)) for n in more)]])),
        [(cased(n, draw(st.integers(0, 2**16))), "bkt/k" if "copy-source" in n else "a") for n in dict.fromkeys(names)],
        BODIES.get(operation.name, b"" if operation.method not in {"PUT", "POST"} else b"body"),
        presign=draw(st.booleans()), virtual=virtual, tamper=draw(st.sampled_from(TAMPERING)), seed=draw(st.integers(0, 1000)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def gateway():
    """A gateway in this process."""
    server = InProcess()
    yield server
    server.close()


def tampered(one: Sample, method: str, target: str, headers: Headers) -> tuple[str, str, Headers]:
    """Change a request that was signed, in one of the ways that a proxy or an attacker might."""
    choice = random.Random(one.seed)  # noqa: S311 - no secret
    where, _, rest = target.partition("?")
    pieces = rest.split("&") if rest else []
    if one.tamper == "header":
        return method, target, [*headers, ADDED[(one.seed - 1) % len(ADDED)]]
    if one.tamper == "method":
        return choice.choice(["GET", "PUT", "DELETE", "HEAD", "POST"]), target, headers
    where, pieces = _moved(one.tamper, where, choice), _shuffled(one.tamper, pieces, choice)
    return method, where + ("?" + "&".join(pieces) if pieces else ""), headers


def _shuffled(tamper: str, pieces: list[str], choice: random.Random) -> list[str]:
    if tamper == "order":
        return choice.sample(pieces, len(pieces))
    if tamper == "drop" and pieces:
        return choice.sample(pieces, len(pieces) - 1)
    if tamper == "add":
        return [*pieces, choice.choice(["acl", "policy=", "versionId=x", "prefix=p", "x-id=GetObject"])]
    return pieces


def _moved(tamper: str, where: str, choice: random.Random) -> str:
    """Spell a path in another way, or make it another path."""
    at = choice.randrange(len(where))
    return {
        "decode": where.replace("%2F", "/").replace("%2e", ".").replace("%20", "+").replace("%7E", "~"),
        "encode": where[:at] + f"%{ord(where[at]) & 255:02X}" + where[at + 1 :] if at else where,
        "slash": where.replace("//", "/") if "//" in where else where + "/",
        "dots": where.replace("/..", "").replace("/.", "") or "/",
        "case": where.upper() if at % 2 else where.replace("%c3", "%C3").replace("%2f", "%2F"),
    }.get(tamper, where)


def sent(one: Sample, gateway: InProcess) -> tuple[bytes, Signed, str]:
    """Return the bytes of the request, what was signed, and the method on the wire."""
    host = f"vbkt.s3.example.test:{gateway.port}" if one.virtual else f"127.0.0.1:{gateway.port}"
    target, headers, covered = sign(
        one.method, one.target, one.headers, host=host, presign=one.presign, payload="UNSIGNED-PAYLOAD"
    )
    method, target, headers = tampered(one, one.method, target, headers)
    lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers)]
    if one.body or method in {"PUT", "POST"}:
        lines.append(f"Content-Length: {len(one.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + one.body, covered, method


@settings(max_examples=400, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.one_of(plausible(), plausible(), sample))
@example(
    Sample(
        "GET", "/bkt/a/../%2F//k", [("versionId", "v"), ("response-content-type", "a%20b")], [("Range", "bytes=0-1")]
    )
)
@example(Sample("PUT", "/bkt/k", [("tagging", None)], [("x-amz-expected-bucket-owner", "a")], TAGGING))
@example(Sample("POST", "/bkt", [("delete", None)], [], DELETE))
@example(Sample("PUT", "/bkt/k", [], [("X-AMZ-copy-SOURCE", "/bkt/a%20b"), ("x-amz-META-a", "a  b")]))
@example(Sample("PUT", "/k", [], [("x-amz-acl", "private")], b"body", virtual=True))
@example(Sample("PUT", "/bkt/k", [], [("x-amz-copy-source", "bkt/k?versionId=v")]))
@example(Sample("PUT", "/bkt/k", [], [("x-amz-acl", "public-read \t")]))
@example(Sample("PUT", "/bkt/k", [], [], b"body", tamper="header", seed=ACL))
@example(Sample("PUT", "/bkt/k", [], [], b"body", tamper="header", seed=SOURCE))
@example(Sample("DELETE", "/bkt", [("acl", None)], []))
@example(Sample("GET", "/bkt/k", [("versionId", "v")], [], presign=True, tamper="drop", seed=0))
@example(Sample("GET", "/bkt", [("prefix", "a"), ("prefix", "b")], []))
@example(Sample("GET", "/bkt/k", [], [("Range", "bytes=0-1"), ("rANGE", "bytes=2-3")]))
def test_trap_17_and_20_three_views_of_a_request_agree(gateway, one):
    """Whatever is asked, signed, authorized and received are the same bytes; where they are not, nothing is received."""
    data, covered, method = sent(one, gateway)
    answer = gateway.exchange(data, head=method == "HEAD")
    received, questions = list(gateway.backend.requests), list(gateway.recorder.questions)
    if not received:
        event("refused" if answer is None or answer.status >= 400 else "answered here")
        assert answer is None or answer.status >= 400 or one.method == "OPTIONS"
        return
    event("crossed" + (", tampered: " + one.tamper if one.tamper else ""))
    assert answer.status == 200
    assert len(received) == 1
    assert received[0].complete
    same_request(one, covered, received[0])
    same_headers(covered, data, received[0])
    same_questions(one, received[0], questions)
    assert signed_by_the_gateway(received[0])


def same_request(one: Sample, covered: Signed, received) -> None:
    """Method, path and parameters are those that were signed."""
    method, target, _ = received.line.split(" ")
    where, _, rest = target.partition("?")
    assert method == covered.method
    assert where == backends_path(one, covered.path)
    assert pairs(rest) == tuple((n, v) for n, v in covered.query if not n.startswith(b"X-Amz-") and n != b"x-id")
    assert (
        received.body == one.body or ET.fromstring(received.body).tag.rpartition("}")[2] == ET.fromstring(one.body).tag
    )


def backends_path(one: Sample, signed: str) -> str:
    """Return the path under which the backend must be asked: a bucket by its name, a key in the bytes that were signed."""
    if one.virtual:
        return "/vbkt" + (signed if signed != "/" else "")
    named, slash, key = signed[1:].partition("/")
    return "/" + unquote_to_bytes(named).decode() + (slash + key if key else "")


def same_headers(covered: Signed, data: bytes, received) -> None:
    """Every header is one that was signed, or one without S3's meaning that was sent; nothing of S3's was left out."""
    head = [line.split(": ", 1) for line in data.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]]
    given: dict[str, str] = {}
    for sent_as, value in head:
        lower = sent_as.lower()
        given[lower] = f"{given[lower]},{value}" if lower in given else value
    for found, value in received.headers.items():
        if found in ITS_OWN or (found == "content-md5" and received.body):
            continue
        assert " ".join(value.split()) == " ".join(given[found].split()) or found == "x-amz-copy-source"
        assert found in covered.headers or not found.startswith("x-amz-")
    if "x-amz-copy-source" in received.headers:
        source = covered.headers["x-amz-copy-source"].removeprefix("/")
        assert unquote_to_bytes(received.headers["x-amz-copy-source"]) == unquote_to_bytes(source)


def same_questions(one: Sample, received, questions) -> None:
    """Policy was asked about what the backend was asked for: every action on every resource, with the same facts."""
    method, target, _ = received.line.split(" ")
    headers = {n: v for n, v in received.headers.items() if n not in {"authorization", "x-amz-content-sha256"}}
    request = parse(method, target, headers.items(), source_ip="127.0.0.1")
    operation = resolve(request)
    if operation.name == "DeleteObjects":
        keys = [node.text for node in ET.fromstring(received.body).iter() if node.tag.rpartition("}")[2] == "Key"]
        assert {(q.bucket, q.key) for q in questions} == {(request.path.bucket, key) for key in keys}
        return
    asked = {(q.action, q.bucket, q.key) for q in questions}
    assert {(need.action, need.bucket, need.key) for need in required(operation, request)} <= asked
    places = {
        placed(target.partition("?")[0]),
        placed("/" + received.headers.get("x-amz-copy-source", "").partition("?")[0]),
    }
    for question in questions:
        asked_about = question.bucket.encode(), question.key.encode()
        assert asked_about in places or (asked_about[0], cleaned(asked_about[1])) in readings(places)
        same_facts(request, question)


def cleaned(key: bytes) -> bytes:
    """Return a key as a store reads it that takes keys for paths."""
    return posixpath.normpath(b"/" + key.replace(b"\\", b"/")).strip(b"/")


def readings(places) -> set[tuple[bytes, bytes]]:
    """Return these places as such a store reads them; parts that are uploaded to a folder are those of a key in it."""
    read = {(bucket_name, cleaned(key)) for bucket_name, key in places}
    return read | {(bucket_name, key + b"/" + key.rpartition(b"/")[2]) for bucket_name, key in read}


def placed(path: str) -> tuple[bytes, bytes]:
    """Return bucket and key of a path, decoded."""
    bucket_name, _, key = unquote_to_bytes(path)[1:].partition(b"/")
    return bucket_name, key


def same_facts(request, question) -> None:
    """A condition key of the request has the value that the backend got."""
    context = question.context
    for parameter in ("prefix", "delimiter", "max-keys"):
        found = context.values(f"s3:{parameter}")
        given_value = request.parameters.get(parameter)
        if parameter == "prefix" and found and given_value is not None:
            assert cleaned(found[0].encode()) == cleaned(given_value.encode())
            continue
        assert found in {None, (given_value,)}
        assert (found is None) == (parameter not in request.parameters)
    for header_name in ("x-amz-acl", "x-amz-storage-class", "x-amz-metadata-directive", "x-amz-grant-read"):
        sent_on = request.headers.get(header_name)
        assert context.values(f"s3:{header_name}") == (None if sent_on is None else (sent_on,))
