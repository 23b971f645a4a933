"""Differences that are meant: what a client sees otherwise through the gateway, why, and the page that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Intended:
    """A difference that is meant: in whose report, in which calls (patterns), why, and the document behind it."""

    client: str
    call: str
    why: str
    page: str


INTENDED: tuple[Intended, ...] = (
    Intended(
        "boto3: .*", "ListDirectoryBuckets",
        "Directory buckets are listed at a service of their own, signed for `s3express`; SeaweedFS takes the call for "
        "ListBuckets, the gateway refuses a signature for another service",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListDirectoryBuckets.html",
    ),
    Intended(
        "boto3: .*", "WriteGetObjectResponse",
        "The answer of an Object Lambda function goes to a service of its own, signed for `s3-object-lambda`; SeaweedFS "
        "does not look at the service and says MethodNotAllowed, the gateway refuses the signature",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_WriteGetObjectResponse.html",
    ),
)  # fmt: skip


def intended(client: str, call: str, direct: Any, through: Any) -> str:
    """Return why a difference is meant, "" when nobody has said so."""
    for one in INTENDED:
        if re.fullmatch(one.client, client) and re.fullmatch(one.call, call):
            return f"{one.why} ({one.page})"
    return ""
