"""The stories of documents that a policy asks about: read first, judged, and written anew for the backend.

CreateBucket names its region, PutObjectTagging its tags, PutObjectRetention and PutObjectLegalHold what they lock: the
condition keys s3:LocationConstraint, s3:RequestObjectTag/… and s3:object-lock-… are filled from them, as AWS fills them. A
RestoreObject whose document sends a query's result elsewhere would write where nobody was asked, and is refused.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

from gateway import errors
from gateway.errors import MalformedXML
from gateway.s3 import xml
from gateway.s3.actions import Need, required
from gateway.s3.payload import verified
from gateway.stories.answers import translation
from gateway.stories.case import Case
from gateway.stories.plans import Plan

MAX_DOCUMENT = 2**16  # bytes; the longest, fifty tags of a bucket, has a quarter of that

#: Members of a document by their path: Tags/Tag/Key.
Members = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of document: its root, the paths it may have, and what it tells, as headers that say the same."""

    root: str
    paths: frozenset[str]
    tells: Callable[[Members], Mapping[str, str]] = lambda _: {}


def _lock(members: Members) -> Mapping[str, str]:
    return {_LOCK[path]: value for path, value in members if path in _LOCK}


def _tagging(members: Members) -> Mapping[str, str]:
    return {"x-amz-tagging": urlencode(xml.tag_pairs(members, "TagSet/Tag"))}


def _bucket_tags(members: Members) -> Mapping[str, str]:
    tags = xml.tag_pairs(members, "Tags/Tag")
    return {"aws:requesttag": urlencode(tags)} if tags else {}


_LOCK = {
    "EventHold": "x-amz-object-lock-event-hold",
    "EventHoldDuration/Days": "x-amz-object-lock-event-hold-duration-days",
    "EventHoldDuration/Years": "x-amz-object-lock-event-hold-duration-years",
    "Mode": "x-amz-object-lock-mode",
    "RetainUntilDate": "x-amz-object-lock-retain-until-date",
    "Status": "x-amz-object-lock-legal-hold",
}
_KINDS: dict[str, Kind] = {
    "CreateBucket": Kind(
        "CreateBucketConfiguration",
        frozenset({"LocationConstraint", "Location/Name", "Location/Type", "Bucket/DataRedundancy", "Bucket/Type",
                   "Tags/Tag/Key", "Tags/Tag/Value"}),
        _bucket_tags,
    ),
    "PutObjectLegalHold": Kind("LegalHold", frozenset({"Status"}), _lock),
    "PutObjectRetention": Kind("Retention", frozenset(_LOCK) - {"Status"}, _lock),
    "PutObjectTagging": Kind("Tagging", frozenset({"TagSet/Tag/Key", "TagSet/Tag/Value"}), _tagging),
    "RestoreObject": Kind("RestoreRequest", frozenset({"Days", "GlacierJobParameters/Tier", "Tier", "Description"})),
}  # fmt: skip
OPERATIONS = frozenset(_KINDS)


def with_document(case: Case) -> Plan:
    """Read the document before anybody is asked; a request without one is as most requests are."""
    if not case.request.content_length and not case.caller.mode.chunked:
        return _judged(case, None)
    return case.read(MAX_DOCUMENT, lambda body: _read(case, body))


def _read(case: Case, body: bytes) -> Plan:
    payload = verified(case.request, case.caller, body)
    if not payload:
        return _judged(case, b"")
    kind = _KINDS[case.operation.name]
    root = xml.document(payload, kind.root)
    members = _members(root)
    _check(kind, root, members)
    location = next((text for path, text in members if path == "LocationConstraint"), "")
    tagged = any(path == "Tags/Tag/Key" for path, _ in members)
    return _judged(case._replace(told=kind.tells(members), location=location), xml.whole(root), tagged=tagged)


def _judged(case: Case, body: bytes | None, *, tagged: bool = False) -> Plan:
    needs = required(case.operation, case.request)
    if tagged:  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html: tags need their own action
        needs = (*needs, Need("s3:TagResource", case.request.path.bucket))
    edit = translation(case.operation, case.request, case.world.region)
    return case.must(needs, lambda: case.forward(body, edit=edit))


def _members(element: Element, path: str = "") -> Members:
    """Return every leaf with its path, in the document's order."""
    found: list[tuple[str, str]] = []
    for child in element:
        place = f"{path}{xml.local(child)}"
        found += _members(child, f"{place}/") if len(child) else [(place, child.text or "")]
    return tuple(found)


def _check(kind: Kind, root: Element, members: Members) -> None:
    """Refuse what we do not know or what two readers could read differently: our reading is what policy judges."""
    single = [path for path, _ in members if "Tag/" not in path]
    if len(single) != len(set(single)) or any(element.attrib for element in root.iter()):
        raise MalformedXML(reason=f"a member given twice, or with attributes, in {kind.root}")
    _check_tags(kind, root)
    for path, text in members:
        empty = not text.strip() and any(known.startswith(f"{path}/") for known in kind.paths)
        if path not in kind.paths and not empty:
            if kind.root == "RestoreRequest":
                raise errors.NotImplemented(reason=f"{path} in RestoreRequest")
            raise MalformedXML(reason=f"{path} in {kind.root}")
        if "Tag/" not in path and not empty and text != text.strip():
            raise MalformedXML(reason=f"white space around {path}")


def _check_tags(kind: Kind, root: Element) -> None:
    """Refuse a set of tags given twice, and a tag that is not one key and one value: they are read as a flat list."""
    sets = [child for child in root if xml.local(child) in {"TagSet", "Tags"}]
    tags = [tag for tag_set in sets for tag in tag_set]
    if len(sets) > 1 or any(sorted(map(xml.local, tag)) != ["Key", "Value"] for tag in tags):
        raise MalformedXML(reason=f"tags that are not one key and one value each in {kind.root}")
