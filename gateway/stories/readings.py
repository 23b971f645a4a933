"""The questions about everything that a store may read in a request's keys (gateway/s3/aliases.py, docs/decisions/0016).

One question becomes several where its key, the prefix of a listing or the source of a copy has other readings; who asks must be
allowed them all. Nearly all have none, which one look at the key says. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product

from gateway.s3 import aliases
from gateway.s3.actions import actions_of_version
from gateway.s3.context import RequestContext
from iam.model import AccessRequest, Decision, Deny

_SOURCE = "x-amz-copy-source"
_EACH = 4  # questions for each key of a batch, on average
AT_MOST = 24  # questions instead of one: a key of a thousand bytes could be made to be read as hundreds, each asked of a policy service
_OUT = Deny("a store could read the key as one outside of the bucket")
_TOO_MANY = Deny("a store could read the key as too many others")
_UPLOADS = Deny("a store keeps unfinished uploads under such keys")
#: Operations at which `k/` is no name of `k`, so that who may use the folder `k/*` may mark it by an object `k/`. At others
#: SeaweedFS does as if there were no slash: it tells the tags, the ACL and the attributes of `k`.
_MARKING = frozenset({
    "AbortMultipartUpload", "CompleteMultipartUpload", "CreateMultipartUpload", "DeleteObject", "DeleteObjects", "GetObject",
    "HeadObject", "ListMultipartUploads", "ListObjects", "ListObjectsV2", "ListObjectVersions", "ListParts", "PutObject",
    "UploadPart",
})  # fmt: skip
_COPIES = frozenset({"CopyObject", "UploadPartCopy"})
#: Uploads of parts to `d/k/` make `d/k/k` at SeaweedFS.
_OF_PARTS = frozenset({"CompleteMultipartUpload", "CreateMultipartUpload", "UploadPart", "UploadPartCopy"})


def are_single(questions: Iterable[AccessRequest]) -> bool:
    """Return whether each of these can be read in one way only, as nearly all."""
    return not any(map(_is_odd, questions))


def of(question: AccessRequest) -> tuple[AccessRequest, ...] | Deny:
    """Return the questions about all that one may be read as, itself first; or why it is not asked."""
    context = question.context
    if not isinstance(context, RequestContext) or not _is_odd(question):
        return (question,)
    keys, facts = _keys(question, context), _facts(question, context)
    if keys is None or facts is None:
        return _OUT
    texts = keys if question.key else [value for one in facts for name, value in one.query if name == "prefix"]
    if aliases.of_uploads(texts) and not question.principal.is_unrestricted:
        return _UPLOADS
    named = (
        (one, *what)
        for one, key in product(facts, keys)
        for what in _versions(question.action, key, context.version_id)
    )
    read = tuple([
        question._replace(action=action, key=key, context=one._replace(version_id=version))
        for one, action, key, version in islice(named, AT_MOST + 1)
    ])  # fmt: skip
    return read if len(read) <= AT_MOST else _TOO_MANY


def groups(questions: Sequence[AccessRequest]) -> list[tuple[AccessRequest, ...] | Deny]:
    """Return for each of these what `of` does; of a batch of keys that may each be read in many ways the last are refused."""
    left = AT_MOST + _EACH * len(questions)
    found: list[tuple[AccessRequest, ...] | Deny] = []
    for question in questions:
        group = _TOO_MANY if left < 0 and _is_odd(question) else of(question)
        left -= len(group) if isinstance(group, tuple) else 1
        found.append(group)
    return found


def joined(asked: Sequence[tuple[AccessRequest, ...] | Deny], decisions: Sequence[Decision]) -> list[Decision]:
    """Return one decision for each group of questions, of all their decisions: the first refusal, else a yes."""
    given = iter(decisions)
    return [group if isinstance(group, Deny) else _all([next(given) for _ in group]) for group in asked]


def _all(decisions: Sequence[Decision]) -> Decision:
    return next((decision for decision in decisions if not decision), decisions[0])


def _is_odd(question: AccessRequest) -> bool:
    context = question.context
    if not isinstance(context, RequestContext):
        return False
    if question.key and aliases.is_odd(question.key):
        return True
    if context.told and aliases.is_odd(_key_of(context.told.get(_SOURCE, ""))):
        return True
    return not question.key and any(n == "prefix" and aliases.is_odd_prefix(v) for n, v in context.query)


def _keys(question: AccessRequest, context: RequestContext) -> list[str] | None:
    """Return what a question's key may be read as, None when that may be outside of the bucket."""
    if not question.key:
        return [""]
    read = _inside(question.key)
    if read is None:
        return None
    found = dict.fromkeys(read)
    folders = [key for key in read if key.endswith("/")]
    if not _marks(question.action, context):
        found |= dict.fromkeys([key.rstrip("/") for key in folders])
    if context.operation in _OF_PARTS:
        found |= dict.fromkeys([key + key.rstrip("/").rpartition("/")[2] for key in folders])
    return list(found)


def _inside(key: str) -> list[str] | None:
    """Return a key and its other readings, None when one is no key of its bucket."""
    found = aliases.readings(key)
    return None if found is None or "" in found else [key, *sorted(found - {key})]


def _marks(action: str, context: RequestContext) -> bool:
    """Return whether a slash at the end of a key is heeded."""
    operation = context.operation
    if operation in _COPIES:
        return not action.startswith("s3:Get")  # of the source it is not
    return operation in _MARKING and not (operation.startswith("Delete") and context.version_id)


def _versions(action: str, key: str, version: str) -> Iterator[tuple[str, str, str]]:
    """Yield what a question about a key is about: that key, and the version that it may be a name of."""
    yield action, key, version
    named = aliases.version_of(key)
    while named is not None:
        for other in actions_of_version(action):
            yield other, *named
        named = aliases.version_of(named[0])


def _facts(question: AccessRequest, context: RequestContext) -> list[RequestContext] | None:
    """Return the facts with all readings of a listing's prefix and of a copy's source, None when that leads out."""
    if _SOURCE in context.told:
        return _with_sources(context, context.told[_SOURCE])
    prefix = next((value for name, value in context.query if name == "prefix"), None)
    if question.key or prefix is None:
        return [context]
    found = aliases.readings_of_prefix(prefix)
    others = [
        tuple([(n, other if n == "prefix" else v) for n, v in context.query]) for other in sorted(found - {prefix})
    ]
    return [context, *[context._replace(query=query) for query in others]]


def _with_sources(context: RequestContext, source: str) -> list[RequestContext] | None:
    bucket, key = source.partition("/")[0], _key_of(source)
    version = source[len(bucket) + 1 + len(key) :]
    read = _inside(key)
    if read is None:
        return None
    told = [f"{bucket}/{other}{version}" for other in dict.fromkeys([*read, *[one.rstrip("/") for one in read]])]
    for other in tuple(read):
        named = aliases.version_of(other.rstrip("/"))
        told += [f"{bucket}/{named[0]}?versionId={named[1]}"] if named else []
    return [context._replace(told={**context.told, _SOURCE: one}) for one in told]


def _key_of(source: str) -> str:
    """Return the key of a copy's source as it is told to policies: `bucket/key`, behind it perhaps `?versionId=id`."""
    return source.partition("/")[2].partition("?versionId=")[0]
