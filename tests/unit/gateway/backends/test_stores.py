"""stores: which backend hears of what; lists of buckets that are refused, paged, strange or missing."""

from __future__ import annotations

import contextlib
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

import pytest

from gateway.backends import stores as module
from gateway.backends.backend import Backend
from gateway.backends.endpoints import BackendSettings
from gateway.backends.exchange import Exchange
from gateway.backends.places import Places, Rule
from gateway.backends.seal import Seal
from gateway.backends.stores import Stores
from gateway.s3.xml import bucket_names
from gateway.signing.sigv4 import SigningKeys
from iam.model import Secret
from tests.servers.processes import BACKEND
from tests.servers.recording import RecordingBackend
from tests.unit.gateway.front import serve
from tests.unit.gateway.signers import ANN

RULES = [
    Rule("ann", "one", "1", "real-ann", "deep/down/"),
    Rule("logs-*", "two", "2", "acme-*"),
    Rule("fixed", "one", "1", "real-fixed"),
    Rule("same-*", "two", "2"),
]


def said(status: str, body: bytes = b"", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def listed(*names: str, token: str = "") -> bytes:
    buckets = "".join(
        f"<Bucket><Name>{name}</Name><CreationDate>2026-01-02T03:04:05Z</CreationDate></Bucket>" for name in names
    )
    more = f"<ContinuationToken>{token}</ContinuationToken>" if token else ""
    owner = "<Owner><ID>o</ID></Owner>"
    return said(
        "200 OK", f"<ListAllMyBucketsResult>{owner}<Buckets>{buckets}</Buckets>{more}</ListAllMyBucketsResult>".encode()
    )


@pytest.fixture
async def several():
    """A gateway before two recording stores: `one` has spelled-out buckets only, `two` those of a pattern."""
    one, two = RecordingBackend(), RecordingBackend()
    async with contextlib.AsyncExitStack() as stack:
        front = await serve(stack, one.endpoint)
        keys = SigningKeys()
        exchanges = {
            name: Exchange(
                Backend(BackendSettings(url, "us-east-1", "path", "root", name=name), BACKEND, front.plane.pool, keys),
                keys,
            )
            for name, url in {"one": one.endpoint, "two": two.endpoint}.items()
        }
        front.desk.backend = Stores(Places(RULES), exchanges, Seal(Secret("root-secret")))
        front.one, front.two = one, two
        one.answer, two.answer = listed("real-fixed"), listed("acme-1")
        yield front
    one.close()
    two.close()


AWKWARD = [
    "k",
    "a b",
    "a+b",
    "ü/ö",
    "%41",
    "a//b",
    "/a",
    "a/",
    "...",
    "a/.../b",
    ".hidden",
    "?x=1",
    "#f",
    "deep/down/k",
    "'(1)!*~",
    "\u0001",
]


@pytest.mark.parametrize("key", AWKWARD)
@pytest.mark.parametrize("safe", ["", "/"])
async def test_what_the_backend_receives_is_behind_the_prefix(several, key, safe):
    """On the wire: the one backend, its bucket, the prefix, and then the key that was signed and judged."""
    several.one.answer = said("200 OK")
    assert (await several.call("GET", f"/ann/{quote(key, safe=safe)}", who=ANN)).status == 200
    (request,) = several.one.signed
    path = request.line.split(" ")[1]
    assert unquote(path) == f"/real-ann/deep/down/{key}"
    assert path.startswith("/real-ann/deep/down/")
    assert several.two.requests == []
    (line,) = await several.lines()
    assert (line["backend"], line["path"]) == ("one", f"/ann/{quote(key, safe=safe)}")


async def test_a_story_told_again_names_its_backend(several):
    """In the log, and so in the metrics, as the first one did."""
    several.two.answer = said("200 OK")
    for number in range(4):
        assert (await several.call("GET", f"/same-a/{number}")).status == 200
    assert len(several.two.signed) == 4
    assert several.desk.habits.all()
    assert [line["backend"] for line in await several.lines()] == ["two"] * 4


@pytest.mark.parametrize(
    "target", ["/ann/..", "/ann/../k", "/ann/a/..%2F..%2Fk", "/ann/%2e%2e/k", "/ann/./k", "/ann/a%2F."]
)
async def test_no_backend_hears_of_a_key_with_dot_segments(several, target):
    """Refused before anything is sent, however the dots and slashes are written."""
    told = await several.call("GET", target, who=ANN)
    assert (told.status, told.code) == (400, "InvalidRequest")
    assert several.one.signed == several.two.signed == []


async def test_a_bucket_without_a_place_does_not_exist(several):
    """Nobody is asked; the name is told back, as S3 does."""
    told = await several.call("GET", "/nowhere/k")
    assert (told.status, told.code) == (404, "NoSuchBucket")
    assert b"<BucketName>nowhere</BucketName>" in told.body
    assert several.one.signed == several.two.signed == []


async def test_lists_of_all_pages_of_all_backends(several):
    """A backend that lists in pages is asked to its end; a spelled-out bucket is there even when nobody lists it."""
    pages = {"": listed("acme-2", "other", token="t+1"), "t%2B1": listed("acme-1")}
    several.two.answer = lambda r: pages[r.line.split(" ")[1].partition("continuation-token=")[2]]
    told = await several.call("GET", "/")
    assert bucket_names(told.body) == ("ann", "fixed", "logs-1", "logs-2")
    assert told.body.count(b"<Owner>") == 1
    assert told.body.count(b"<CreationDate>") == 3  # of `ann` nobody knows it
    assert (await several.lines())[0]["backend"] == "one,two"


async def test_a_list_that_is_refused_where_no_bucket_depends_on_it(several):
    """A backend whose buckets are all spelled out may keep its list to itself."""
    several.one.answer = said("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")
    assert bucket_names((await several.call("GET", "/")).body) == ("ann", "fixed", "logs-1")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (said("403 Forbidden"), 503),
        (said("500 Oops"), 503),
        (b"", 503),
        (said("200 OK", b"<html/>"), 500),
        (said("200 OK"), 500),
    ],
)
async def test_a_list_that_is_missing_is_an_error(several, answer, status):
    """A shorter list would look like buckets that were deleted."""
    several.two.answer = answer
    assert (await several.call("GET", "/")).status == status


async def test_a_list_without_end_is_an_error(several, monkeypatch):
    """A backend that always has another page is given up."""
    monkeypatch.setattr(module, "MAX_PAGES", 3)
    several.two.answer = listed("acme-1", token="again")
    assert (await several.call("GET", "/")).status == 503
    assert len(several.two.signed) == 3


async def test_buckets_of_one_region_are_those_that_are_listed(several):
    """Of a bucket that nobody lists nobody knows the region: it is not in a list of one region."""
    assert bucket_names((await several.call("GET", "/?bucket-region=eu-west-1")).body) == ("fixed", "logs-1")
    assert "bucket-region=eu-west-1" in several.one.signed[0].line


async def test_tags_are_read_at_the_place(several):
    """In the order asked for; of what has no place, or cannot be there, they are not known."""
    tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>{}</Value></Tag></TagSet></Tagging>"
    several.one.answer = lambda r: said("200 OK", tags.format(escape(r.line.split(" ")[1])).encode())
    several.two.answer = said("404 Not Found")
    asked = [("logs-1", "x", ""), ("ann", "k", "v1"), ("nowhere", "k", ""), ("ann", "../k", ""), ("fixed", "k", "")]
    assert await several.desk.backend.tags_of(asked) == [
        (), (("k", "/real-ann/deep/down/k?tagging=&versionId=v1"),), None, None, (("k", "/real-fixed/k?tagging="),),
    ]  # fmt: skip


async def test_an_error_of_the_backend_is_in_the_gateways_names(several):
    """Status and code are the backend's; a HEAD has no document to tell anything."""
    document = b"<Error><Code>InvalidObjectState</Code><Message>real-ann</Message><Key>deep/down/k</Key></Error>"
    several.one.answer = said("403 Forbidden", document, "x-amz-error-detail-Key: deep/down/k\r\nx-amz-id-2: i\r\n")
    told = await several.call("GET", "/ann/k")
    assert (told.status, told.code, told.headers["x-amz-id-2"]) == (403, "InvalidObjectState", "i")
    assert b"<Key>k</Key>" in told.body
    assert "deep" not in f"{told.headers}{told.body}"
    assert int(told.headers["Content-Length"]) == len(told.body)
