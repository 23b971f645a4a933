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

    @property
    def sentence(self) -> str:
        """Return the reason with its document."""
        return f"{self.why} ({self.page})"


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
    Intended(
        "boto3: objects", r"copy 'a/\.\.?(/b)?'",
        "A copy source with a dot segment is refused before the store sees it: a store that removes dot segments would read "
        "outside the bucket that was judged. SeaweedFS refuses it too, as InvalidRequest",
        "https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4",
    ),
    Intended(
        "boto3: objects", r"(head|get|tags|delete) 'x+… of 1025'",
        "A key has 1024 bytes at most; SeaweedFS says so when it is written only",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html",
    ),
    Intended(
        "boto3: objects", "copy from '(B)?'",
        "A copy source names a bucket and a key; SeaweedFS overwrites the target with an empty object instead",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html",
    ),
    Intended(
        "boto3: objects", "copy from 'arn:.*'",
        "An access point's ARN cannot be judged as the bucket behind it, so it is no copy source here; SeaweedFS takes it for "
        "a bucket's name",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html",
    ),
    Intended(
        "boto3: objects", r"\w+ in a\.\.b",
        "A bucket's name has no two dots in a row; SeaweedFS looks for it first",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html",
    ),
    Intended(
        "boto3: objects", "delete (too many|none)",
        "DeleteObjects takes 1 to 1000 keys, anything else is MalformedXML on AWS; SeaweedFS says InvalidArgument, or deletes none",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html",
    ),
    Intended(
        "s3cmd|s3fs", "signurl|sign as SigV2",
        "The URL is signed with Signature Version 2, which covers little of a request; it is refused everywhere",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/Appendix-Sigv2.html",
    ),
    Intended(
        "boto3: objects|minio-py", r".*SSE-C.*|get resealed",
        "An encryption key of the client's own is refused over plain HTTP, as at AWS; over TLS it crosses (tests/clients/test_headers.py)",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html",
    ),
    Intended(
        "boto3: presigned.*", r"raw HEAD \?.*",
        "HeadBucket has no parameter: a HEAD that names a sub-resource would be judged as one call and might be another",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html#API_HeadBucket_RequestSyntax",
    ),
    Intended(
        "boto3: presigned.*", r"raw object GET \?nonsense",
        "A parameter that no operation knows is refused: a newer store may know it, and nobody has judged it",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html#API_GetObject_RequestSyntax",
    ),
    Intended(
        "boto3: presigned.*", r"raw object GET \?attributes",
        "Without its required header it is not GetObjectAttributes, and GetObject has no such parameter",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html#API_GetObjectAttributes_RequestSyntax",
    ),
    Intended(
        "boto3: presigned.*", "(no|cut) signature",
        "What is no signature by its form is refused as malformed before anything is computed; SeaweedFS has a code of its own "
        "for one, and compares the other",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html",
    ),
    Intended(
        "boto3: presigned.*", "raw OPTIONS",
        "Without an Origin it is no preflight, and refused as at AWS; SeaweedFS says 200",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html",
    ),
    Intended(
        "boto3: presigned.*", "raw GETT",
        "A method that HTTP does not know ends at the HTTP parser",
        "https://www.rfc-editor.org/rfc/rfc9110#section-9.1",
    ),
    Intended(
        "boto3: presigned.*", "presigned POST",
        "The answer to a form tells where the object is, as AWS's does; SeaweedFS's does not",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html",
    ),
    Intended(
        "boto3: objects", r"(put|get) tags \[\{'Key': 'a', 'Value': '1.*",
        "Two tags of one key are refused, as at AWS; SeaweedFS keeps one of them, which the next call sees",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html",
    ),
)  # fmt: skip


def intended(client: str, call: str, direct: Any, through: Any) -> str:
    """Return why a difference is meant, "" when nobody has said so."""
    for one in INTENDED:
        if re.fullmatch(one.client, client) and re.fullmatch(one.call, call):
            return one.sentence
    return ""
