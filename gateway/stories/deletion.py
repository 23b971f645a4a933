"""The story of DeleteObjects: every key judged, the document rebuilt from those allowed (trap 28).

Keys that may not be deleted are reported as AccessDenied entries, as S3 does, while the allowed ones are deleted.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import AccessDenied
from gateway.s3.actions import Need, asks_for, needs_of_delete
from gateway.s3.payload import verified
from gateway.s3.xml import DeleteEntry, merge_delete_result, parse_delete, render_delete
from gateway.stories.case import Case
from gateway.stories.plans import NeedsBody, Plan
from iam.model import Decision

MAX_DOCUMENT = 2 * 2**20  # bytes


def delete_objects(case: Case) -> Plan:
    """Read the document first: only it says what is to be deleted."""
    return NeedsBody(case.operation, case.caller, MAX_DOCUMENT, case.after(lambda body: _judge(case, body)))


def _judge(case: Case, body: bytes) -> Plan:
    entries, quiet = parse_delete(verified(case.request, case.caller, body))

    def judged(decisions: Sequence[Decision]) -> Plan:
        verdicts = [all(decisions[i :: len(entries)]) for i in range(len(entries))]
        refused = tuple(e for e, allowed in zip(entries, verdicts, strict=True) if not allowed)
        allowed = tuple(e for e, good in zip(entries, verdicts, strict=True) if good)
        return _delete(case, allowed, refused, quiet=quiet)

    return case.ask(_needs(case, entries), judged)


def _needs(case: Case, entries: Sequence[DeleteEntry]) -> list[Need]:
    """Return one need per entry, then, where retention is to be bypassed, another round of them."""
    bucket = case.request.path.bucket
    needs = [needs_of_delete(bucket, entry.key, entry.version) for entry in entries]
    if asks_for(case.request.headers, "x-amz-bypass-governance-retention"):
        needs += [Need("s3:BypassGovernanceRetention", bucket, entry.key, entry.version) for entry in entries]
    return needs


def _delete(case: Case, allowed: tuple[DeleteEntry, ...], refused: tuple[DeleteEntry, ...], *, quiet: bool) -> Plan:
    if not allowed:
        return case.reply(merge_delete_result(None, refused, AccessDenied()))
    document = render_delete(allowed, quiet=quiet)
    if not refused:
        return case.forward(document)
    return case.forward(
        document, then=lambda answer: case.reply(merge_delete_result(answer.body, refused, AccessDenied()), answer)
    )
