"""The story of an object that is not there: only who could have seen that in a listing is told (decision 0017).

S3's GetObject: without `s3:ListBucket` the answer is 403 and not 404. A right to read a key is none to try out names.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

from dataclasses import replace

from gateway.errors import MalformedXML
from gateway.s3 import xml
from gateway.s3.actions import Need, copy_source
from gateway.stories.case import Case
from gateway.stories.plans import Answer, Plan, Reply

#: Codes of what is not there. Others (NoSuchBucket, NoSuchUpload, NoSuchTagSet) tell of something else.
_OF_A_KEY = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound"})
_ASKED = frozenset({"delimiter", "max-keys", "prefix"})


def told(case: Case, answer: Answer) -> Plan:
    """Go on with an answer 404 to a request about a key. Raises AccessDenied, now or when the decision is there."""
    reply = Reply(case.operation, case.caller, answer.body, answer.status, answer.headers)
    if not _is_told_of_a_key(case.request.method, _code(answer.body)):
        return reply
    bucket, key = _missing(case)
    query = (*((n, v) for n, v in case.request.query if n not in _ASKED), ("prefix", key), ("max-keys", "1"))
    listing = case._replace(request=replace(case.request, query=query))
    return listing.must((Need("s3:ListBucket", bucket),), lambda: reply)


def _is_told_of_a_key(method: str, code: str) -> bool:
    """Return whether an answer tells that a key is not there; a HEAD's has no document, and who deletes is told nothing that he did not do."""
    return method != "DELETE" and (code in _OF_A_KEY or (not code and method in {"GET", "HEAD"}))


def _missing(case: Case) -> tuple[str, str]:
    """Return the bucket and key that are read: a copy's are its source's."""
    if "x-amz-copy-source" in case.operation.needs_headers:
        source = copy_source(case.request.header("x-amz-copy-source"))
        return source.bucket, source.key
    return case.request.path.bucket, case.request.path.key


def _code(document: bytes) -> str:
    """Return the code of an error's document, "" when there is none."""
    try:
        root = xml.document(document.strip(), "Error")
    except MalformedXML:
        return ""
    return next(((child.text or "").strip() for child in root if xml.local(child) == "Code"), "")
