"""merging: one list of buckets, sorted, in pages that meet without gap or repetition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.merging import page, read
from gateway.backends.seal import Seal
from gateway.errors import InvalidArgument, MalformedXML
from gateway.s3 import xml
from iam.model import Secret

SEAL = Seal(Secret("root-secret"))
BUCKETS = st.dictionaries(
    st.text("abc-.9", min_size=3, max_size=6), st.sampled_from(["", "2026-01-02T03:04:05Z"]), max_size=20
)
BODY = (
    b'<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>o</ID><DisplayName>d</DisplayName></Owner>'
    b"<Buckets><Bucket><Name>b</Name><CreationDate>2026</CreationDate><BucketRegion>eu</BucketRegion></Bucket><Bucket><Name>a</Name>"
    b"</Bucket></Buckets><ContinuationToken>t</ContinuationToken></ListAllMyBucketsResult>"
)


def test_read():
    """Names, dates, token and owner of a backend's page."""
    listed = read(BODY)
    assert (listed.buckets, listed.token) == ({"b": "2026", "a": ""}, "t")
    assert [child.text for child in listed.owner] == ["o", "d"]


def test_what_is_no_list_is_malformed():
    """An answer that is no list is not taken for an empty one."""
    with pytest.raises(MalformedXML):
        read(b"<html/>")


@given(BUCKETS, st.integers(1, 7), st.sampled_from([None, "", "a", "b-", "zz"]))
def test_pages_make_up_the_whole_list(buckets, size, prefix):
    """Walking the pages by their tokens shows every bucket with the prefix, once, in order, with its date."""
    wanted = {"max-buckets": str(size)} | ({"prefix": prefix} if prefix is not None else {})
    seen: dict[str, str] = {}
    while True:
        body = page(buckets, None, wanted, SEAL)
        listed = read(body)
        assert len(listed.buckets) <= size
        seen |= listed.buckets
        if not listed.token:
            break
        wanted["continuation-token"] = listed.token
    expected = sorted(name for name in buckets if name.startswith(prefix or ""))
    assert list(seen.items()) == [(name, buckets[name]) for name in expected]


def test_the_owner_is_told_once():
    """The merged list has the owner that was handed in, and what the client asked for."""
    body = page({"x1": ""}, read(BODY).owner, {"prefix": "x"}, SEAL)
    assert body.count(b"<Owner>") == 1
    assert b"<Owner><ID>o</ID><DisplayName>d</DisplayName></Owner>" in body
    assert b"<Prefix>x</Prefix>" in body
    assert xml.bucket_names(body) == ("x1",)


@pytest.mark.parametrize("wanted", [{"max-buckets": text} for text in ("0", "10001", "-1", "x", "", "1e3", "9" * 40, "0" * 8 + "10", "0" * 5 + "1" * 9)] + [{"continuation-token": "bucket-7"}])  # fmt: skip
def test_wrong_parameters_are_refused(wanted):
    """A page size out of bounds, and a token that is not ours, are InvalidArgument."""
    with pytest.raises(InvalidArgument):
        page({"a": ""}, None, wanted, SEAL)
