"""Two heads of one client, as hypothesis draws them: the same names, other words, some of them nasty."""

from __future__ import annotations

from hypothesis import strategies as st

TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
KEYS = st.text("aZ09-._~/", min_size=1, max_size=12) | st.sampled_from(
    ["a%20b", "%C3%A9", "a%2Fb", "a%2fb", "%7E", "%zz", "a+b", "a=b", "..", "../x", "/", "//", "a/../b", "%00", "%FF", "k" * 1024, "k" * 1025, "%41", "health/live", "a?b"]
)  # fmt: skip
WORDS = st.sampled_from(["a", "", "a b", "a  b", " a", '"e"', "*", "é", "bytes=0-9", "bytes=-5", "7", "x" * 1000, "AAAAAA==", "a,b", "%s", "%", "\t", "a;b"])  # fmt: skip
NAMES = st.sampled_from(
    ["Range", "If-None-Match", "If-Match", "x-amz-meta-a", "x-amz-meta-%s", "Content-MD5", "x-amz-checksum-crc32", "amz-sdk-invocation-id", "Content-Type",
     "x-amz-acl", "x-amz-tagging", "Cache-Control", "User-Agent", "x-amz-storage-class", "If-Modified-Since", "x-amz-bypass-governance-retention"]
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
