"""The story of CopyObject: what comes along with the bytes needs its own rights (AWS's "Copying objects").

By default a copy takes its source's tags and annotations along, and the backend, which sees the gateway's keys, lets it. To
a caller who may not read the source's tags, or not write tags at the destination, S3 refuses the copy of an object that has
tags and allows one of an object that has none: so does this story, which looks. Annotations he may not carry are left
behind, since only Amazon has them and most callers were never given those rights; asking for them by name is a need.
Tags in the request are those of the copy only where it says REPLACE; else S3 ignores them, and so does this story, before a
policy could ask for them.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.errors import AccessDenied
from gateway.s3.actions import directives, needs_of_annotations, needs_of_tags, required
from gateway.s3.context import Tags
from gateway.s3.request import S3Request
from gateway.stories.case import Case
from gateway.stories.plans import NeedsTags, Plan
from iam.model import Decision


def copy_object(case: Case) -> Plan:
    """Judge the copy and what it carries, in one round."""
    tagging, annotation = directives(case.request)
    if tagging != "REPLACE" and "x-amz-tagging" in case.request.headers:
        case = case._replace(request=_without_tagging(case.request))
    needs = required(case.operation, case.request)
    tags = needs_of_tags(case.request) if tagging != "REPLACE" else ()
    annotations = needs_of_annotations(case.request) if not annotation else ()

    def judged(decisions: Sequence[Decision]) -> Plan:
        copied, carried = decisions[: len(needs)], decisions[len(needs) :]
        for need, decision in zip(needs, copied, strict=True):
            if not decision:
                raise AccessDenied(reason=decision.reason, asked=case.question(need))
        may_tags, may_annotations = all(carried[: len(tags)]), all(carried[len(tags) :])
        sent = case if may_annotations else case._replace(request=_without_annotations(case.request))
        return sent.forward() if may_tags else _only_without_tags(sent)

    return case.ask((*needs, *tags, *annotations), judged)


def _only_without_tags(case: Case) -> Plan:
    source = needs_of_tags(case.request)[0]

    def read(found: Sequence[Tags | None]) -> Plan:
        if found[0] != ():
            raise AccessDenied(reason="the source's tags may not be copied, and it has some")
        return case._replace(request=_without_tags(case.request)).forward()

    return NeedsTags(case.operation, case.caller, ((source.bucket, source.key, source.version),), case.after(read))


def _without_tags(request: S3Request) -> S3Request:
    """Return the copy that writes no tags."""
    return replace(request, headers={**request.headers, "x-amz-tagging-directive": "REPLACE"})


def _without_tagging(request: S3Request) -> S3Request:
    """Return the copy without tags of its own: they say nothing where the source's are copied, so no policy may be content with them."""
    return replace(request, headers={name: value for name, value in request.headers.items() if name != "x-amz-tagging"})


def _without_annotations(request: S3Request) -> S3Request:
    return replace(request, headers={**request.headers, "x-amz-object-annotation-directive": "EXCLUDE"})
