"""Operation + request -> the IAM actions it needs, each with its resource.

The table is written by hand from AWS's "Actions, resources, and condition keys for Amazon S3" and "Required permissions
for Amazon S3 API operations"; a test holds that every operation of `gateway.s3.operations` has its row. What one request
needs is a conjunction: all of them must be allowed. `DeleteObjects` needs one action per key, which only its body tells:
`needs_of_delete` gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.errors import InvalidArgument
from gateway.s3.aliases import has_dots
from gateway.s3.operations import Operation
from gateway.s3.request import Names, S3Request, is_bucket_name


class Need(NamedTuple):
    """One action on one resource; `version` is the version id when a version is named."""

    action: str
    bucket: str
    key: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class CopySource:
    """Where a copy reads from, decoded."""

    bucket: str
    key: str
    version: str = ""


#: Operation -> action. Where a version can be named, `_VERSIONED` gives the action for it.
ACTIONS: dict[str, str] = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateBucket": "s3:CreateBucket",
    "CreateBucketMetadataConfiguration": "s3:CreateBucketMetadataTableConfiguration",
    "CreateBucketMetadataTableConfiguration": "s3:CreateBucketMetadataTableConfiguration",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteBucket": "s3:DeleteBucket",
    "DeleteBucketAnalyticsConfiguration": "s3:PutAnalyticsConfiguration",
    "DeleteBucketCors": "s3:PutBucketCORS",
    "DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "DeleteBucketIntelligentTieringConfiguration": "s3:PutIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration": "s3:PutInventoryConfiguration",
    "DeleteBucketLifecycle": "s3:PutLifecycleConfiguration",
    "DeleteBucketMetadataConfiguration": "s3:DeleteBucketMetadataTableConfiguration",
    "DeleteBucketMetadataTableConfiguration": "s3:DeleteBucketMetadataTableConfiguration",
    "DeleteBucketMetricsConfiguration": "s3:PutMetricsConfiguration",
    "DeleteBucketOwnershipControls": "s3:PutBucketOwnershipControls",
    "DeleteBucketPolicy": "s3:DeleteBucketPolicy",
    "DeleteBucketReplication": "s3:PutReplicationConfiguration",
    "DeleteBucketTagging": "s3:PutBucketTagging",
    "DeleteBucketWebsite": "s3:DeleteBucketWebsite",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjectAnnotation": "s3:DeleteObjectAnnotation",
    "DeleteObjectTagging": "s3:DeleteObjectTagging",
    "DeleteObjects": "s3:DeleteObject",
    "DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "GetBucketAbac": "s3:GetBucketAbac",
    "GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration",
    "GetBucketAcl": "s3:GetBucketAcl",
    "GetBucketAnalyticsConfiguration": "s3:GetAnalyticsConfiguration",
    "GetBucketCors": "s3:GetBucketCORS",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetBucketIntelligentTieringConfiguration": "s3:GetIntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration": "s3:GetInventoryConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetBucketLocation": "s3:GetBucketLocation",
    "GetBucketLogging": "s3:GetBucketLogging",
    "GetBucketMetadataConfiguration": "s3:GetBucketMetadataTableConfiguration",
    "GetBucketMetadataTableConfiguration": "s3:GetBucketMetadataTableConfiguration",
    "GetBucketMetricsConfiguration": "s3:GetMetricsConfiguration",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetBucketOwnershipControls": "s3:GetBucketOwnershipControls",
    "GetBucketPolicy": "s3:GetBucketPolicy",
    "GetBucketPolicyStatus": "s3:GetBucketPolicyStatus",
    "GetBucketReplication": "s3:GetReplicationConfiguration",
    "GetBucketRequestPayment": "s3:GetBucketRequestPayment",
    "GetBucketTagging": "s3:GetBucketTagging",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetBucketWebsite": "s3:GetBucketWebsite",
    "GetObject": "s3:GetObject",
    "GetObjectAcl": "s3:GetObjectAcl",
    "GetObjectAnnotation": "s3:GetObjectAnnotation",
    "GetObjectAttributes": "s3:GetObjectAttributes",
    "GetObjectLegalHold": "s3:GetObjectLegalHold",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "GetObjectRetention": "s3:GetObjectRetention",
    "GetObjectTagging": "s3:GetObjectTagging",
    "GetObjectTorrent": "s3:GetObjectTorrent",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListBucketAnalyticsConfigurations": "s3:GetAnalyticsConfiguration",
    "ListBucketIntelligentTieringConfigurations": "s3:GetIntelligentTieringConfiguration",
    "ListBucketInventoryConfigurations": "s3:GetInventoryConfiguration",
    "ListBucketMetricsConfigurations": "s3:GetMetricsConfiguration",
    "ListBuckets": "s3:ListAllMyBuckets",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectAnnotations": "s3:ListObjectAnnotations",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutBucketAbac": "s3:PutBucketAbac",
    "PutBucketAccelerateConfiguration": "s3:PutAccelerateConfiguration",
    "PutBucketAcl": "s3:PutBucketAcl",
    "PutBucketAnalyticsConfiguration": "s3:PutAnalyticsConfiguration",
    "PutBucketCors": "s3:PutBucketCORS",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "PutBucketIntelligentTieringConfiguration": "s3:PutIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration": "s3:PutInventoryConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "PutBucketLogging": "s3:PutBucketLogging",
    "PutBucketMetricsConfiguration": "s3:PutMetricsConfiguration",
    "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "PutBucketOwnershipControls": "s3:PutBucketOwnershipControls",
    "PutBucketPolicy": "s3:PutBucketPolicy",
    "PutBucketReplication": "s3:PutReplicationConfiguration",
    "PutBucketRequestPayment": "s3:PutBucketRequestPayment",
    "PutBucketTagging": "s3:PutBucketTagging",
    "PutBucketVersioning": "s3:PutBucketVersioning",
    "PutBucketWebsite": "s3:PutBucketWebsite",
    "PutObject": "s3:PutObject",
    "PutObjectAcl": "s3:PutObjectAcl",
    "PutObjectAnnotation": "s3:PutObjectAnnotation",
    "PutObjectLegalHold": "s3:PutObjectLegalHold",
    "PutObjectLockConfiguration": "s3:PutBucketObjectLockConfiguration",
    "PutObjectRetention": "s3:PutObjectRetention",
    "PutObjectTagging": "s3:PutObjectTagging",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "RestoreObject": "s3:RestoreObject",
    "SelectObjectContent": "s3:GetObject",
    "UpdateBucketMetadataAnnotationTableConfiguration": "s3:UpdateBucketMetadataAnnotationTableConfiguration",
    "UpdateBucketMetadataInventoryTableConfiguration": "s3:UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration": "s3:UpdateBucketMetadataJournalTableConfiguration",
    "UpdateObjectEncryption": "s3:UpdateObjectEncryption",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
}

#: What naming a version changes (trap 26).
_VERSIONED: dict[str, str] = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
    "s3:PutObjectAcl": "s3:PutObjectVersionAcl",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
    "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
    "s3:GetObjectTorrent": "s3:GetObjectVersionTorrent",
    "s3:DeleteObjectAnnotation": "s3:DeleteObjectVersionAnnotation",
    "s3:GetObjectAnnotation": "s3:GetObjectVersionAnnotation",
    "s3:ListObjectAnnotations": "s3:ListObjectVersionAnnotations",
    "s3:PutObjectAnnotation": "s3:PutObjectVersionAnnotation",
}

_WRITES = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload"})

#: Headers of a write that are rights of their own.
_HEADER_ACTIONS = (
    ("x-amz-tagging", "s3:PutObjectTagging"),
    ("x-amz-acl", "s3:PutObjectAcl"),
    ("x-amz-grant-full-control", "s3:PutObjectAcl"),
    ("x-amz-grant-read", "s3:PutObjectAcl"),
    ("x-amz-grant-read-acp", "s3:PutObjectAcl"),
    ("x-amz-grant-write-acp", "s3:PutObjectAcl"),
    ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    ("x-amz-object-lock-retain-until-date", "s3:PutObjectRetention"),
    ("x-amz-object-lock-event-hold", "s3:PutObjectRetention"),
    ("x-amz-object-lock-event-hold-duration-days", "s3:PutObjectRetention"),
    ("x-amz-object-lock-event-hold-duration-years", "s3:PutObjectRetention"),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
)
_ACTION_HEADERS = frozenset(header for header, _ in _HEADER_ACTIONS)
#: Operations that need more than their own action, and headers that may be rights of their own.
_WITH_MORE = frozenset({"GetObjectAttributes", "CreateBucket", "CopyObject", "UploadPartCopy"})
_WITH_MORE_RIGHTS = _ACTION_HEADERS | {
    "x-amz-bypass-governance-retention", "x-amz-copy-source", "x-amz-object-annotation-directive",
}  # fmt: skip
#: Writes that may be told to depend on what the object is now, and the headers that say so. Whether the condition holds is told, and
#: an ETag is mostly the MD5 of what is read, so that they read (trap 33). https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
_CONDITIONAL = frozenset({"CompleteMultipartUpload", "CopyObject", "DeleteObject", "PutObject"})
_CONDITIONS = frozenset({"if-match", "if-none-match", "x-amz-if-match-last-modified-time", "x-amz-if-match-size"})
_TAGGING_DIRECTIVES = frozenset({"", "COPY", "REPLACE"})
_ANNOTATION_DIRECTIVES = frozenset({"", "COPY", "EXCLUDE"})


def required(operation: Operation, request: S3Request) -> tuple[Need, ...]:
    """Return every action that this request needs; DeleteObjects' are in its body (`needs_of_delete`)."""
    bucket, key = request.path.bucket, request.path.key
    version = request.parameters.get("versionId", "") if request.query else ""
    if not version and _is_simple(operation, request.names):
        return (Need(ACTIONS[operation.name], bucket, key),)
    headers = request.headers
    needs = [Need(_named(ACTIONS[operation.name], version), bucket, key, version)]
    needs += _extra(operation, headers, bucket, key, version)
    if "x-amz-copy-source" in operation.needs_headers:
        source = copy_source(request.header("x-amz-copy-source"))
        needs.append(Need(_named("s3:GetObject", source.version), source.bucket, source.key, source.version))
    if headers.get("x-amz-object-annotation-directive") == "COPY":
        needs += needs_of_annotations(request)
    return tuple(dict.fromkeys(needs)) if len(needs) > 1 else tuple(needs)


@lru_cache(maxsize=1024)
def _is_simple(operation: Operation, names: Names) -> bool:
    """Return whether an operation on no version needs nothing but its own action, whatever its headers say."""
    more = _WITH_MORE_RIGHTS | _CONDITIONS if operation.name in _CONDITIONAL else _WITH_MORE_RIGHTS
    return operation.name not in _WITH_MORE and names.all.isdisjoint(more)


def needs_of_delete(bucket: str, key: str, version: str) -> Need:
    """Return what deleting one key of a DeleteObjects call needs."""
    return Need(_named("s3:DeleteObject", version), bucket, key, version)


def needs_of_condition(bucket: str, key: str, version: str) -> Need:
    """Return what a deletion needs that depends on what the object is."""
    return Need(_named("s3:GetObject", version), bucket, key, version)


def needs_of_tags(request: S3Request) -> tuple[Need, Need]:
    """Return what a copy needs to take its source's tags along: to read them there, to write them here."""
    return _carried(request, "s3:GetObjectTagging", "s3:PutObjectTagging")


def needs_of_annotations(request: S3Request) -> tuple[Need, Need]:
    """Return what a copy needs to take its source's annotations along."""
    return _carried(request, "s3:GetObjectAnnotation", "s3:PutObjectAnnotation")


def directives(request: S3Request) -> tuple[str, str]:
    """Return what a copy does with tags and annotations, "" where it does not say. Raises InvalidArgument."""
    headers = request.headers
    tagging = headers.get("x-amz-tagging-directive", "")
    annotation = headers.get("x-amz-object-annotation-directive", "")
    if tagging not in _TAGGING_DIRECTIVES or annotation not in _ANNOTATION_DIRECTIVES:
        raise InvalidArgument("Unknown tagging or annotation directive.")
    return tagging, annotation


def _carried(request: S3Request, read: str, write: str) -> tuple[Need, Need]:
    source, path = copy_source(request.header("x-amz-copy-source")), request.path
    return (
        Need(_named(read, source.version), source.bucket, source.key, source.version),
        Need(write, path.bucket, path.key),
    )


def actions_of_version(action: str) -> tuple[str, ...]:
    """Return what an action needs on a version that a key is the name of at its store. What writes over one destroys it."""
    found = _VERSIONED.get(action, action)
    return (found, "s3:DeleteObjectVersion") if action == "s3:PutObject" else (found,)


def _named(action: str, version: str) -> str:
    return _VERSIONED.get(action, action) if version else action


def _extra(operation: Operation, headers: Mapping[str, str], bucket: str, key: str, version: str) -> list[Need]:
    needs = []
    if operation.name in _WRITES and not _ACTION_HEADERS.isdisjoint(headers):
        needs += [Need(action, bucket, key) for header, action in _HEADER_ACTIONS if header in headers]
    if operation.name == "GetObjectAttributes" or (operation.name in _CONDITIONAL and _reads(operation, headers)):
        needs.append(Need(_named("s3:GetObject", version), bucket, key, version))
    if operation.name == "CreateBucket":
        needs += _create_bucket(headers, bucket)
    if asks_for(headers, "x-amz-bypass-governance-retention"):
        needs.append(Need("s3:BypassGovernanceRetention", bucket, key, version))
    return needs


def _reads(operation: Operation, headers: Mapping[str, str]) -> bool:
    """Return whether a write depends on more than that there is, or is not, an object."""
    return any(headers.get(name, "*").strip() != "*" for name in _CONDITIONS & operation.headers)


def asks_for(headers: Mapping[str, str], name: str) -> bool:
    """Return whether a switch may be on: stores differ in what they take for true, so all but `false` counts."""
    return headers.get(name, "false").strip().lower() != "false"


def _create_bucket(headers: Mapping[str, str], bucket: str) -> list[Need]:
    needs = []
    if any(name == "x-amz-acl" or name.startswith("x-amz-grant-") for name in headers):
        needs.append(Need("s3:PutBucketAcl", bucket))
    if "x-amz-object-ownership" in headers:
        needs.append(Need("s3:PutBucketOwnershipControls", bucket))
    if asks_for(headers, "x-amz-bucket-object-lock-enabled"):
        needs += [Need("s3:PutBucketObjectLockConfiguration", bucket), Need("s3:PutBucketVersioning", bucket)]
    return needs


def copy_source(value: str) -> CopySource:
    """Read x-amz-copy-source: `[/]bucket/key[?versionId=id]`, the version taken off, the rest decoded once and then split (trap 24).

    Clients encode its slashes too, or not; AWS takes both. The backend is sent what was read here, written anew, so that nobody
    reads it in another way. Raises InvalidArgument for anything else. https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    """
    path, _, query = value.partition("?")
    bucket, slash, key = _decoded(path).removeprefix("/").partition("/")
    if not slash or not key or not is_bucket_name(bucket):
        raise InvalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    if query and (not query.startswith("versionId=") or "&" in query):
        raise InvalidArgument("Copy Source may carry a versionId and nothing else.")
    # Some stores clean the source's path; a dot segment would then leave the bucket that was judged.
    if has_dots(key):
        raise InvalidArgument("Copy Source must not have . or .. as a path segment.")
    return CopySource(bucket, key, _decoded(query.removeprefix("versionId=")))


def _decoded(text: str) -> str:
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument("Copy Source is not valid UTF-8.") from None
    if "\x00" in decoded:  # as in a path: some stores end a name there
        raise InvalidArgument("Copy Source must not have NUL.")
    return decoded
