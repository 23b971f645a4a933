"""Two heads of one client, as hypothesis draws them: the same names, other words, some of them nasty."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode

from hypothesis import strategies as st

from tests.unit.gateway.told import head, url

TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
KEYS = st.text("aZ09-._~/", min_size=1, max_size=12) | st.sampled_from(
    ["a%20b", "%C3%A9", "a%2Fb", "a%2fb", "%7E", "%zz", "a+b", "a=b", "..", "../x", "/", "//", "a/../b", "%00", "%FF", "k" * 1024, "k" * 1025, "%41", "health/live", "a?b"]
)  # fmt: skip
WORDS = st.sampled_from(["a", "", "a b", "a  b", " a", '"e"', "*", "é", "bytes=0-9", "bytes=-5", "7", "x" * 1000, "AAAAAA==", "a,b", "%s", "%", "\t", "a;b",
     "text/plain; charset=utf-8", "multipart/form-data; boundary=x", "Sun, 06 Nov 1994 08:49:37 GMT", "192.0.2.1", "192.0.2.1, 2001:db8::1", "192.0.2.1,  192.0.2.2"])  # fmt: skip
NAMES = st.sampled_from(
    ["Range", "If-None-Match", "If-Match", "x-amz-meta-a", "x-amz-meta-%s", "Content-MD5", "x-amz-checksum-crc32", "amz-sdk-invocation-id", "Content-Type",
     "x-amz-acl", "x-amz-tagging", "Cache-Control", "User-Agent", "x-amz-storage-class", "If-Modified-Since", "x-amz-bypass-governance-retention",
     "X-Forwarded-For", "traceparent", "X-Amzn-Trace-Id", "Referer"]
)  # fmt: skip
PAYLOADS = st.sampled_from(["UNSIGNED-PAYLOAD", "a" * 64, "b" * 64, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "A" * 64, TRAILER, CHUNKS, None])  # fmt: skip
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"])
LENGTHS = st.none() | st.sampled_from(["0", "7", "007", "1099511627776", "99999999999999", "x", "-1", ""])


@st.composite
def pairs(draw):
    """Draw two heads of one client: the same names, other words."""
    method, names = draw(METHODS), draw(st.lists(NAMES, max_size=3, unique=True))
    length, decoded = draw(LENGTHS), draw(LENGTHS)
    payload = draw(PAYLOADS)
    found = []
    for _ in range(2):
        values = {name: draw(WORDS) for name in names}
        if length is not None:
            values["Content-Length"] = draw(LENGTHS) or length
        if decoded is not None:
            values["x-amz-decoded-content-length"] = draw(LENGTHS) or decoded
        sent = payload if payload in (None, TRAILER, CHUNKS) else draw(st.sampled_from([payload, "c" * 64]))
        found.append(
            (method, f"/{draw(st.sampled_from(['ann', 'ann', 'ann', 'eve', 'minio']))}/{draw(KEYS)}", values, sent)
        )
    return found


def as_sent(method: str, path: str, query: str) -> bytes:
    """Return a head signed over its query as it is sent, as SDKs do."""
    return head(method, f"{path}?{query}")


def as_read(method: str, path: str, query: str) -> bytes:
    """Return a head signed over its query as it is read, as AWS does."""
    canonical = urlencode(
        parse_qsl(query, keep_blank_values=True, errors="surrogateescape"),
        quote_via=quote,
        safe="-._~",
        errors="surrogateescape",
    )
    return head(method, f"{path}?{canonical}", sent=f"{path}?{query}")


def in_url(method: str, path: str, query: str) -> bytes:
    """Return the head of a request for such a URL."""
    return url(method, f"{path}?{query}")


SPELLINGS = [as_sent, as_read, in_url]
LIST = ["prefix", "delimiter", "start-after", "max-keys", "encoding-type", "continuation-token", "fetch-owner"]
#: What clients ask: a method, a path, what is always in the query and what may be.
ASKED = st.sampled_from([
    ("GET", "/ann", ["list-type=2"], LIST), ("GET", "/ann/", ["list-type=2"], LIST), ("GET", "/ann", [], ["prefix", "marker", "max-keys", "delimiter"]),
    ("GET", "/ann", ["versions"], ["prefix", "key-marker", "version-id-marker"]), ("GET", "/ann", ["uploads"], ["prefix", "upload-id-marker"]),
    ("PUT", "/ann/k", ["partNumber=1", "uploadId=a"], []), ("GET", "/ann/k", ["uploadId=a"], ["max-parts", "part-number-marker"]), ("DELETE", "/ann/k", ["uploadId=a"], []),
    ("GET", "/ann/k", [], ["response-content-type", "response-expires", "x-id", "partNumber", "versionId"]), ("GET", "/ann/k", ["tagging"], ["versionId"]),
    ("GET", "/ann", ["location"], []), ("POST", "/ann/k", ["uploads"], []), ("HEAD", "/ann/k", [], ["versionId", "partNumber", "x-amz-acl", "X-Amz-Date"]),
])  # fmt: skip
GOOD = st.sampled_from(["", "a", "7", "a%2Fb", "%C3%A9", "url", "a%20b"])
VALUES = GOOD | st.sampled_from([
    "2", "%2F", "a%2fb", "a/b", "%61", "%FF", "%00", "%zz", "%", "a+b", "a=b", "a;b", "~-._", "700100200300403", "x" * 1024, "x" * 1025, "9" * 11, "%252F", "%E2%82", "",
])  # fmt: skip


@st.composite
def queries(draw):
    """Draw two requests of one client with a query: names in one order, the values of the second mostly others, some nasty."""
    method, path, always, also = draw(ASKED)
    pieces = [*always, *draw(st.lists(st.sampled_from(also), unique=True, max_size=3) if also else st.just([]))]
    pieces = draw(
        st.permutations(
            [
                *pieces,
                *draw(st.just([]) | st.sampled_from([["prefix"], ["x-amz-acl"], ["acl"], ["pre%66ix"], ["", "x"]])),
            ]
        )
    )
    first, second = [], []
    for piece in pieces:
        name, equals, _ = piece.partition("=")
        first.append(piece if piece in always else f"{name}={draw(GOOD)}" if name else "")
        other = draw(
            st.sampled_from([first[-1], f"{name}={draw(VALUES)}"]) if piece not in always or equals else st.just(piece)
        )
        second.append(draw(st.sampled_from([other] * 9 + [name, f"{name}b", f"{name}=b"])))
    paths = [path, draw(st.sampled_from([path, path, path + "x", path.replace("ann", "eve"), path + "%2F"]))]
    return [(method, where, "&".join(query)) for where, query in zip(paths, (first, second), strict=True)]
