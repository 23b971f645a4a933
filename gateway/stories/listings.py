"""The stories of listings: what a caller may not see is left out of the answer, and pages stay right.

ListBuckets always shows what the caller may list (minio.md 8.1). Listings of keys, versions and uploads are filtered when
MINIO_GW_LIST_FILTER is on: a key is shown to who may read it, a common prefix to who may list it. A page of which nothing
may be seen is not shown: the next one is asked for, so that a client which goes on from the last key it saw always moves.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, SubElement

from gateway.errors import AccessDenied, ServiceUnavailable
from gateway.s3 import xml
from gateway.s3.actions import Need, required
from gateway.stories.case import Case
from gateway.stories.plans import Answer, Plan
from iam.model import AccessRequest, Decision, PrincipalType

MAX_PAGES = 1000  # of the backend, for one of ours


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of listing: its root, the right that shows an entry, and its markers (answer -> next request)."""

    root: str
    entries: Mapping[str, str]
    markers: tuple[tuple[str, str], ...]
    #: entry member -> the element that names the next page by it, where the answer names it by key
    resumes: tuple[tuple[str, str], ...] = ()


_KINDS: dict[str, Kind] = {
    "ListObjects": Kind(
        "ListBucketResult", {"Contents": "s3:GetObject"}, (("NextMarker", "marker"),), (("Key", "NextMarker"),),
    ),
    "ListObjectsV2": Kind(
        "ListBucketResult", {"Contents": "s3:GetObject"}, (("NextContinuationToken", "continuation-token"),),
    ),
    "ListObjectVersions": Kind(
        "ListVersionsResult", {"Version": "s3:GetObjectVersion", "DeleteMarker": "s3:GetObjectVersion"},
        (("NextKeyMarker", "key-marker"), ("NextVersionIdMarker", "version-id-marker")),
        (("Key", "NextKeyMarker"), ("VersionId", "NextVersionIdMarker")),
    ),
    "ListMultipartUploads": Kind(
        "ListMultipartUploadsResult", {"Upload": "s3:ListMultipartUploadParts"},
        (("NextKeyMarker", "key-marker"), ("NextUploadIdMarker", "upload-id-marker")),
        (("Key", "NextKeyMarker"), ("UploadId", "NextUploadIdMarker")),
    ),
}  # fmt: skip
OF_KEYS = frozenset(_KINDS)  # the operations of `list_keys`
#: MinIO spells these two as headers in this one question, and Rego that was written for it does so too.
_TOP_LEVEL = (("prefix", ""), ("delimiter", "/"), ("Prefix", ""), ("Delimiter", "/"))
#: Elements that repeat what the client asked for; of a later page they would tell where the hidden ones are.
_ECHOES = ("Marker", "ContinuationToken", "StartAfter", "KeyMarker", "VersionIdMarker", "UploadIdMarker")


def list_buckets(case: Case) -> Plan:
    """Show all buckets to who may list them all, else those whose content he may list or whose location he may ask."""
    return case.ask(required(case.operation, case.request), lambda decisions: _buckets(case, decisions[0]))


def _buckets(case: Case, all_of_them: Decision) -> Plan:
    if all_of_them:
        return case.forward()
    if case.caller.principal.type is PrincipalType.ANONYMOUS:
        raise _denied(case, all_of_them.reason)

    def filtered(answer: Answer) -> Plan:
        names = xml.bucket_names(answer.body)
        needs = [Need(action, name) for name in names for action in ("s3:ListBucket", "s3:GetBucketLocation")]
        # As MinIO asks: about the bucket's top level, whatever the caller said about the names of buckets.
        asking = case._replace(request=replace(case.request, query=_TOP_LEVEL))
        questions = tuple([asking.question(need) for need in needs])
        # By its own case: who waits has a token in its query.
        return case.ask_all(questions, lambda decisions: _kept(case, answer, names, decisions, all_of_them.reason))

    return case.forward(then=case.after(filtered))


def _kept(case: Case, answer: Answer, names: Sequence[str], decisions: Sequence[Decision], reason: str) -> Plan:
    kept = frozenset(name for i, name in enumerate(names) if any(decisions[2 * i : 2 * i + 2]))
    paged = "continuation-token" in case.request.parameters or b"<ContinuationToken>" in answer.body
    if not kept and not paged:
        raise _denied(case, f"no bucket may be listed: {reason}")
    return case.reply(xml.keep_buckets(answer.body, kept), answer)


def _denied(case: Case, reason: str) -> AccessDenied:
    """Return the refusal to list buckets, with the question about all of them."""
    return AccessDenied(reason=reason, asked=case.question(required(case.operation, case.request)[0]))


def list_keys(case: Case) -> Plan:
    """Authorize on prefix and delimiter; filter the results where that is wanted and the caller is not the owner."""
    filtering = case.world.filter_listings and not case.caller.principal.is_unrestricted
    needs = required(case.operation, case.request)
    return case.must(needs, lambda: _Filter(case).page({}, 1) if filtering else case.forward())


class _Filter:
    """One filtered listing, over as many of the backend's pages as it takes to show something."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._kind = _KINDS[case.operation.name]
        self._echoes: dict[str, str] | None = None

    def page(self, markers: Mapping[str, str], number: int) -> Plan:
        """Ask for the page that begins at the markers."""
        if number > MAX_PAGES:
            raise ServiceUnavailable("This listing has too many keys that may not be shown.", reason="hidden pages")
        request = self._case.request
        replaced = {parameter for _, parameter in self._kind.markers}
        query = (*((n, v) for n, v in request.query if n not in replaced), *markers.items())
        return self._case.forward(
            request=replace(request, query=query) if markers else request,
            then=self._case.after(lambda answer: self._judge(answer, number)),
        )

    def _judge(self, answer: Answer, number: int) -> Plan:
        root = xml.document(answer.body, self._kind.root)
        if self._echoes is None:
            self._echoes = {n: text for n, text in _leaves(root).items() if n in _ECHOES}
        shown = [e for e in root if xml.local(e) in self._kind.entries or xml.local(e) == "CommonPrefixes"]
        questions = tuple(self._question(root, entry) for entry in shown)
        return self._case.ask_all(questions, lambda decisions: self._show(answer, root, shown, decisions, number))

    def _question(self, root: Element, entry: Element) -> AccessRequest:
        """Ask whether an entry may be shown; its key is decoded as the listing encodes it."""
        case, bucket, name = self._case, self._case.request.path.bucket, xml.local(entry)
        members = {member: _decoded(root, text) for member, text in _leaves(entry).items()}
        if name != "CommonPrefixes":
            version = members.get("VersionId", "")
            return case.question(Need(self._kind.entries[name], bucket, members.get("Key", ""), version))
        query = (*((n, v) for n, v in case.request.query if n != "prefix"), ("prefix", members.get("Prefix", "")))
        return case._replace(request=replace(case.request, query=query)).question(Need("s3:ListBucket", bucket))

    def _show(
        self, answer: Answer, root: Element, entries: Sequence[Element], decisions: Sequence[Decision], number: int
    ) -> Plan:
        visible = [entry for entry, decision in zip(entries, decisions, strict=True) if decision]
        leaves = _leaves(root)
        truncated = leaves.get("IsTruncated") == "true"
        if not visible and truncated:
            markers = {parameter: _decoded(root, leaves[n]) for n, parameter in self._kind.markers if leaves.get(n)}
            return self.page(markers or _last(root, entries), number + 1)
        hidden = {id(entry) for entry in entries} - {id(entry) for entry in visible}
        root[:] = [element for element in root if id(element) not in hidden]
        self._rewrite(root, visible)
        if self._kind.resumes and truncated and not self._is_resumed_at(root, visible):
            self._resume(root, visible, max((_name(root, entry) for entry in entries), key=str.encode))
        return self._case.reply(xml.whole(root), answer)

    def _rewrite(self, root: Element, visible: Sequence[Element]) -> None:
        """Make the rest of the document tell nothing of what is hidden, and of where the client stands."""
        for name in _ECHOES:
            _put(root, name, (self._echoes or {}).get(name))
        if "KeyCount" in _leaves(root):
            _put(root, "KeyCount", str(len(visible)))

    def _is_resumed_at(self, root: Element, visible: Sequence[Element]) -> bool:
        """Return whether the backend goes on behind an entry that is shown: what it says of that is as good for the client."""
        leaves = _leaves(root)
        told = {member: _decoded(root, leaves[n]) for member, n in self._kind.resumes if leaves.get(n)}
        return bool(told) and any(told.items() <= _named(root, entry).items() for entry in visible)

    def _resume(self, root: Element, visible: Sequence[Element], end: str) -> None:
        """Have the client go on behind the last entry that it is shown; `end` is the last name of the page.

        Where that is another, every version of the entry's key was on this page, in whichever order the backend puts versions and
        delete markers: the next page begins behind the key.
        """
        last = _resumed_behind(root, visible)
        members = _leaves(last)
        for member, element in self._kind.resumes:
            named = members.get(member) or (members.get("Prefix") if member == "Key" else None)
            _put(root, element, None if member == "VersionId" and _name(root, last) != end else named)


def _resumed_behind(root: Element, visible: Sequence[Element]) -> Element:
    """Return the last entry of a page: of its names, and of equal ones; of uploads the last written, which SeaweedFS lists by their ids."""
    uploads = [entry for entry in visible if xml.local(entry) == "Upload"]
    last = [entry for entry in visible if xml.local(entry) != "Upload"] + uploads[-1:]
    return max(reversed(last), key=lambda entry: _name(root, entry).encode())


def _last(root: Element, entries: Sequence[Element]) -> dict[str, str]:
    """Return the marker of a first-version listing that does not name one: its last key."""
    return {"marker": max((_name(root, entry) for entry in entries), key=str.encode, default="")}


def _name(root: Element, entry: Element) -> str:
    members = _leaves(entry)
    return _decoded(root, members.get("Key") or members.get("Prefix") or "")


def _named(root: Element, entry: Element) -> dict[str, str]:
    """Return the members of an entry, a common prefix as its key."""
    return {n: _decoded(root, text) for n, text in _leaves(entry).items()} | {"Key": _name(root, entry)}


def _decoded(root: Element, text: str) -> str:
    return unquote_plus(text) if _leaves(root).get("EncodingType") == "url" else text


def _leaves(element: Element) -> dict[str, str]:
    return {xml.local(child): child.text or "" for child in element if not len(child)}


def _put(root: Element, name: str, text: str | None) -> None:
    """Set the one element of this name; None takes it away."""
    found = next((child for child in root if xml.local(child) == name), None)
    if text is None:
        if found is not None:
            root.remove(found)
        return
    (SubElement(root, name) if found is None else found).text = text
