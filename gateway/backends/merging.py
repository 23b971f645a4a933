"""ListBuckets over several backends: one list, sorted by name, in pages of our own. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from gateway.backends.seal import Seal
from gateway.errors import InvalidArgument, xml_text
from gateway.s3 import xml

MAX_BUCKETS = 10_000  # of one page
_ROOT = "ListAllMyBucketsResult"


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of one backend: its buckets with their dates ("" for none), its token ("" at the end), and the owner."""

    buckets: Mapping[str, str]
    token: str
    owner: Element | None


def read(body: bytes) -> Listed:
    """Return what a backend lists. Raises MalformedXML."""
    buckets, token, owner = dict[str, str](), "", None
    for child in xml.document(body, _ROOT):
        match xml.local(child):
            case "Buckets":
                for bucket in child:
                    members = {xml.local(member): member.text or "" for member in bucket}
                    buckets[members.get("Name", "")] = members.get("CreationDate", "")
            case "ContinuationToken":
                token = child.text or ""
            case "Owner":
                owner = child
    return Listed(buckets, token, owner)


def page(buckets: Mapping[str, str], owner: Element | None, wanted: Mapping[str, str], seal: Seal) -> bytes:
    """Return the page that a request's parameters want of all buckets (name -> date). Raises InvalidArgument."""
    prefix, token = wanted.get("prefix", ""), wanted.get("continuation-token", "")
    after = seal.open(token, "") if token else ""
    names = sorted(name for name in buckets if name.startswith(prefix) and name > after)
    limit = _limit(wanted.get("max-buckets"))
    root = Element(_ROOT)
    if owner is not None:
        root.append(owner)
    _append(SubElement(root, "Buckets"), ((name, buckets[name]) for name in names[:limit]))
    if len(names) > limit:
        SubElement(root, "ContinuationToken").text = seal.close(names[limit - 1], "")
    if "prefix" in wanted:
        SubElement(root, "Prefix").text = xml_text(prefix)
    return xml.whole(root)


def _append(parent: Element, buckets: Iterable[tuple[str, str]]) -> None:
    for name, created in buckets:
        bucket = SubElement(parent, "Bucket")
        SubElement(bucket, "Name").text = name
        if created:
            SubElement(bucket, "CreationDate").text = created


def _limit(text: str | None) -> int:
    if text is None:
        return MAX_BUCKETS
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_BUCKETS):
        raise InvalidArgument(f"max-buckets must be a number from 1 to {MAX_BUCKETS}.")
    return int(text)
