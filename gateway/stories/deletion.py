"""The story of DeleteObjects: every key judged, the document rebuilt from those allowed (trap 28).

Keys that may not be deleted are reported as AccessDenied entries, as S3 does, while the allowed ones are deleted.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import AccessDenied
from gateway.s3.actions import Need, asks_for, needs_of_condition, needs_of_delete
from gateway.s3.payload import verified
from gateway.s3.xml import DeleteEntry, merge_delete_result, parse_delete, render_delete
from gateway.stories.case import Case
from gateway.stories.plans import Plan
from iam.model import AccessRequest, Decision

MAX_DOCUMENT = 2 * 2**20  # bytes


def delete_objects(case: Case) -> Plan:
    """Read the document first: only it says what is to be deleted."""
    return case.read(MAX_DOCUMENT, lambda body: _judge(case, body))


def _judge(case: Case, body: bytes) -> Plan:
    entries, quiet = parse_delete(verified(case.request, case.caller, body))
    asked = [(number, _question(case, need, entries[number])) for number, need in _needs(case, entries)]

    def judged(decisions: Sequence[Decision]) -> Plan:
        denied = {number for (number, _), decision in zip(asked, decisions, strict=True) if not decision}
        refused = tuple([entry for number, entry in enumerate(entries) if number in denied])
        allowed = tuple([entry for number, entry in enumerate(entries) if number not in denied])
        return _delete(case, allowed, refused, quiet=quiet)

    return case.ask_all(tuple([question for _, question in asked]), judged)


def _needs(case: Case, entries: Sequence[DeleteEntry]) -> list[tuple[int, Need]]:
    """Return what is needed, each with its entry's number: to delete, to bypass retention, to see whether an object is as it is said to be."""
    bucket, bypass = case.request.path.bucket, asks_for(case.request.headers, "x-amz-bypass-governance-retention")
    rounds: list[list[tuple[int, Need]]] = [[], [], []]
    for number, entry in enumerate(entries):
        what = bucket, entry.key, entry.version
        rounds[0].append((number, needs_of_delete(*what)))
        if bypass:
            rounds[1].append((number, Need("s3:BypassGovernanceRetention", *what)))
        if any(value.strip() != "*" for _, value in entry.rest):
            rounds[2].append((number, needs_of_condition(*what)))
    return [one for found in rounds for one in found]


def _question(case: Case, need: Need, entry: DeleteEntry) -> AccessRequest:
    """Return what is asked about a need; s3:if-match is the entry's own."""
    etag = dict(entry.rest).get("ETag")
    return (case if etag is None else case._replace(told={"if-match": etag})).question(need)


def _delete(case: Case, allowed: tuple[DeleteEntry, ...], refused: tuple[DeleteEntry, ...], *, quiet: bool) -> Plan:
    if not allowed:
        return case.reply(merge_delete_result(None, refused, AccessDenied()))
    document = render_delete(allowed, quiet=quiet)
    if not refused:
        return case.forward(document)
    return case.forward(
        document, then=lambda answer: case.reply(merge_delete_result(answer.body, refused, AccessDenied()), answer)
    )
