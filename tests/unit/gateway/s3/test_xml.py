"""The bodies we read are read in one way only, and what we write parses back."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import AccessDenied, MalformedXML
from gateway.s3 import xml

TEXT = st.text(
    st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=30,
)


@given(st.lists(st.tuples(TEXT, st.one_of(st.just(""), TEXT)), min_size=1, max_size=8), st.booleans())
def test_delete_round_trip(keys, quiet):
    """A document we write reads back as the same entries."""
    entries = tuple(xml.DeleteEntry(k, v) for k, v in keys)
    assert xml.parse_delete(xml.render_delete(entries, quiet=quiet)) == (entries, quiet)


def test_members_of_conditional_deletes_are_kept():
    """ETag, Size and LastModifiedTime of an entry reach the backend."""
    body = b"<Delete><Object><Key>k</Key><ETag>e</ETag><Size>3</Size></Object><Quiet>true</Quiet></Delete>"
    entries, quiet = xml.parse_delete(body)
    assert (entries, quiet) == ((xml.DeleteEntry("k", "", (("ETag", "e"), ("Size", "3"))),), True)
    assert b"<ETag>e</ETag><Size>3</Size>" in xml.render_delete(entries, quiet=quiet)


@given(st.binary(max_size=200))
def test_anything_parses_or_is_malformed(body):
    """Whatever the bytes, they are a Delete document or MalformedXML."""
    try:
        xml.parse_delete(body)
    except MalformedXML:
        return


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><Delete/>',
        b"<?xm <!DOCTYPE d>?><Delete><Object><Key>k</Key></Object></Delete>",
        b"<Delete><?php ?><Object><Key>k</Key></Object></Delete>",
        '<!DOCTYPE a [<!ENTITY x "y">]><Delete><Object><Key>&x;</Key></Object></Delete>'.encode("utf-16-be"),
        '<!DOCTYPE a [<!ENTITY x "y">]><Delete><Object><Key>&x;</Key></Object></Delete>'.encode("utf-16-le"),
        "<Delete><Object><Key>k</Key></Object></Delete>".encode("utf-16-be"),
        b"<Delete>" + b"<Object>" * 10_000 + b"</Object>" * 10_000 + b"</Delete>",
        b"<Delete><Quiet>maybe</Quiet><Object><Key>k</Key></Object></Delete>",
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
    ],
)
def test_trap_28_hostile_documents(body):
    """A DTD, also in an encoding that is not said, a strange flag, too many keys and deep nesting are MalformedXML."""
    with pytest.raises(MalformedXML):
        xml.parse_delete(body)


def test_trap_28_an_empty_condition_is_not_left_out():
    """An entry that is to go on a condition, be it an empty one, never goes without."""
    entries, quiet = xml.parse_delete(b"<Delete><Object><Key>k</Key><ETag></ETag><VersionId/></Object></Delete>")
    assert b"<Object><Key>k</Key><ETag></ETag></Object>" in xml.render_delete(entries, quiet=quiet)
    assert xml.parse_delete(xml.render_delete(entries, quiet=quiet)) == (entries, quiet)


def test_refused_keys_are_reported_beside_the_deleted():
    """The backend's answer keeps its entries and gains an Error for each refused key."""
    answer = f'<DeleteResult xmlns="{xml.S3_NAMESPACE}"><Deleted><Key>a&amp;b</Key></Deleted></DeleteResult>'.encode()
    merged = ET.fromstring(xml.merge_delete_result(answer, (xml.DeleteEntry("c<d", "v"),), AccessDenied()))
    names = {"s3": xml.S3_NAMESPACE}
    assert merged.findtext("s3:Deleted/s3:Key", namespaces=names) == "a&b"
    assert [merged.findtext(f"s3:Error/s3:{n}", namespaces=names) for n in ("Key", "VersionId", "Code")] == [
        "c<d",
        "v",
        "AccessDenied",
    ]


def test_buckets_are_filtered():
    """Only the kept buckets stay, with everything else of the answer."""
    answer = f'<ListAllMyBucketsResult xmlns="{xml.S3_NAMESPACE}"><Owner><ID>o</ID></Owner><Buckets><Bucket><Name>a</Name></Bucket><Bucket><Name>b</Name></Bucket></Buckets></ListAllMyBucketsResult>'.encode()
    assert xml.bucket_names(answer) == ("a", "b")
    kept = xml.keep_buckets(answer, frozenset({"b"}))
    assert xml.bucket_names(kept) == ("b",)
    assert b"<ID>o</ID>" in kept
