"""The few XML bodies we read or write, parsed strictly.

A body that a policy decision rests on (DeleteObjects) is parsed here and *rebuilt* for the backend, so that the backend
cannot read in it what we did not (trap 28). No DTD, no entity, no foreign element gets through: MalformedXML.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from gateway.errors import MalformedXML, S3Error

S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MAX_KEYS = 1000
MAX_DEPTH = 16  # elements in one another
PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'
#: Members of ObjectIdentifier: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ObjectIdentifier.html
_OBJECT_MEMBERS = ("Key", "VersionId", "ETag", "LastModifiedTime", "Size")


@dataclass(frozen=True, slots=True)
class DeleteEntry:
    """One object of a DeleteObjects call: its members in the API's order, "" for those not given."""

    key: str
    version: str = ""
    rest: tuple[tuple[str, str], ...] = ()


def parse_delete(body: bytes) -> tuple[tuple[DeleteEntry, ...], bool]:
    """Return the entries of a `<Delete>` document and whether it asks for quiet mode. Raises MalformedXML."""
    root = document(body, "Delete")
    entries, quiet = [], None
    for child in root:
        name = local(child)
        if name == "Object":
            entries.append(_entry(child))
        elif name == "Quiet" and quiet is None:
            quiet = _leaf(child)
        else:
            raise MalformedXML(reason=f"element {name} in Delete")
    if not entries or len(entries) > MAX_KEYS or quiet not in {None, "true", "false"}:
        raise MalformedXML(reason=f"{len(entries)} objects, quiet {quiet!r}")
    return tuple(entries), quiet == "true"


def render_delete(entries: tuple[DeleteEntry, ...], *, quiet: bool) -> bytes:
    """Return the `<Delete>` document for exactly these entries; an empty condition (ETag, Size) stays one."""
    objects = "".join(
        "<Object>"
        + "".join(
            f"<{n}>{_text(v)}</{n}>"
            for n, v in (("Key", e.key), ("VersionId", e.version), *e.rest)
            if v or n != "VersionId"
        )
        + "</Object>"
        for e in entries
    )
    return f'{PROLOG}<Delete xmlns="{S3_NAMESPACE}">{objects}<Quiet>{str(quiet).lower()}</Quiet></Delete>'.encode()


def merge_delete_result(body: bytes | None, refused: tuple[DeleteEntry, ...], error: S3Error) -> bytes:
    """Return the backend's DeleteResult (None: it was not asked) with an `<Error>` for each refused entry."""
    errors = "".join(
        f"<Error><Key>{_text(e.key)}</Key>"
        + (f"<VersionId>{_text(e.version)}</VersionId>" if e.version else "")
        + f"<Code>{error.code}</Code><Message>{escape(error.text)}</Message></Error>"
        for e in refused
    )
    inner = ""
    if body is not None:
        for child in document(body, "DeleteResult"):
            inner += rendered(child)
    return f'{PROLOG}<DeleteResult xmlns="{S3_NAMESPACE}">{inner}{errors}</DeleteResult>'.encode()


def parse_tagging(body: bytes) -> tuple[tuple[str, str], ...]:
    """Return the tags of a client's `<Tagging>` document in its order, which holds nothing else. Raises MalformedXML."""
    root = document(body, "Tagging")
    sets = [child for child in root if local(child) == "TagSet"]
    if len(sets) != 1 or len(root) != 1:
        raise MalformedXML(reason="a Tagging without one TagSet")
    return tuple(_tag(element) for element in sets[0])


def _tag(element: ET.Element) -> tuple[str, str]:
    members = {local(child): _leaf(child) for child in element}
    if local(element) != "Tag" or members.keys() != {"Key", "Value"} or len(element) != 2:
        raise MalformedXML(reason="a Tag without one Key and one Value")
    return members["Key"], members["Value"]


def post_response(location: str, bucket: str, key: str, etag: str) -> bytes:
    """Return the document that a form with success_action_status 201 is answered with."""
    fields = {"Location": location, "Bucket": bucket, "Key": key, "ETag": etag}
    inner = "".join(f"<{name}>{_text(value)}</{name}>" for name, value in fields.items())
    return f"{PROLOG}<PostResponse>{inner}</PostResponse>".encode()


def bucket_names(body: bytes) -> tuple[str, ...]:
    """Return the bucket names of a ListAllMyBucketsResult, in its order."""
    root = document(body, "ListAllMyBucketsResult")
    return tuple(_bucket_name(bucket) for bucket in _buckets(root))


def keep_buckets(body: bytes, kept: frozenset[str]) -> bytes:
    """Return a ListAllMyBucketsResult with only the kept buckets."""
    root = document(body, "ListAllMyBucketsResult")
    for parent in root:
        if local(parent) == "Buckets":
            parent[:] = [bucket for bucket in parent if _bucket_name(bucket) in kept]
    return whole(root)


def tags(body: bytes) -> tuple[tuple[str, str], ...]:
    """Return the tags of a Tagging document, in its order."""
    members = []
    for tag_set in document(body, "Tagging"):
        for tag in tag_set:
            members += [(f"{local(tag_set)}/{local(tag)}/{local(child)}", child.text or "") for child in tag]
    return tag_pairs(members, "TagSet/Tag")


def tag_pairs(members: Iterable[tuple[str, str]], place: str) -> tuple[tuple[str, str], ...]:
    """Return key and value of the tags among a document's (path, text) members. Raises MalformedXML."""
    keys = [text for path, text in members if path == f"{place}/Key"]
    values = [text for path, text in members if path == f"{place}/Value"]
    if len(keys) != len(values) or len(set(keys)) != len(keys):
        raise MalformedXML(reason="tags without key or value, or a key given twice")
    return tuple(zip(keys, values, strict=True))


def whole(root: ET.Element) -> bytes:
    """Return a document of S3's namespace."""
    name = local(root)
    inner = "".join(rendered(child) for child in root)
    return f'{PROLOG}<{name} xmlns="{S3_NAMESPACE}">{inner}</{name}>'.encode()


class _Builder(ET.TreeBuilder):
    """Builds the tree of a document without a DTD, so that no entity can expand, and not deeper than S3's are."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise MalformedXML(reason="elements too deep in one another")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, name: str, _public: str | None, _system: str | None, /) -> None:
        raise MalformedXML(reason=f"a document type declaration of {name[:40]}")

    def pi(self, target: str, _text: str | None = None, /) -> ET.Element:
        raise MalformedXML(reason=f"a processing instruction for {target[:40]}")


def document(body: bytes, *names: str) -> ET.Element:
    """Return the root of a document in UTF-8, which must have one of these names. Raises MalformedXML."""
    try:
        if "\x00" in body.decode("utf-8"):  # UTF-16 without its mark, which a parser would guess
            raise MalformedXML(reason="not UTF-8")
        root = ET.fromstring(body, ET.XMLParser(target=_Builder()))  # noqa: S314 - _Builder takes no DTD
    except (ET.ParseError, UnicodeDecodeError, ValueError, LookupError) as error:
        raise MalformedXML(reason=str(error)) from None
    if local(root) not in names:
        raise MalformedXML(reason=f"root element {root.tag!r}")
    return root


def local(element: ET.Element) -> str:
    """Return an element's name; only S3's namespace or none is ours."""
    tag = str(element.tag)
    if not tag.startswith("{"):
        return tag
    namespace, _, name = tag[1:].partition("}")
    return name if namespace == S3_NAMESPACE else tag


def _leaf(element: ET.Element) -> str:
    if len(element) or element.attrib:
        raise MalformedXML(reason=f"children or attributes in {element.tag!r}")
    return element.text or ""


def _entry(element: ET.Element) -> DeleteEntry:
    members: dict[str, str] = {}
    for child in element:
        name = local(child)
        if name not in _OBJECT_MEMBERS or name in members:
            raise MalformedXML(reason=f"element {name} in Object")
        members[name] = _leaf(child)
    key = members.pop("Key", "")
    if not key or len(key.encode()) > 1024:
        raise MalformedXML(reason="an Object without a valid Key")
    version = members.pop("VersionId", "")
    return DeleteEntry(key, version, tuple((n, members[n]) for n in _OBJECT_MEMBERS if n in members))


def _buckets(root: ET.Element) -> list[ET.Element]:
    return [bucket for child in root if local(child) == "Buckets" for bucket in child]


def _bucket_name(bucket: ET.Element) -> str:
    return next((child.text or "" for child in bucket if local(child) == "Name"), "")


def rendered(element: ET.Element) -> str:
    """Render an element without its namespace prefix; the root declares S3's."""
    name = local(element)
    if len(element):
        return f"<{name}>" + "".join(rendered(child) for child in element) + f"</{name}>"
    return f"<{name}>{_text(element.text or '')}</{name}>"


def _text(value: str) -> str:
    """Escape for an element; a carriage return must be a reference or a parser makes it a newline (XML 1.0, 2.11)."""
    return escape(value, {"\r": "&#13;"})
