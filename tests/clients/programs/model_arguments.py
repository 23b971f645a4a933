"""Arguments for every operation of botocore's S3 service model: the least that the model requires, made meaningful."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

_BY_NAME = {
    "Id": "one", "ID": "one", "Prefix": "logs/", "Days": 3, "Expression": "SELECT * FROM S3Object", "PartNumber": 1,
    "AnnotationName": "note", "RequestRoute": "route", "RequestToken": "token", "Suffix": "index.html",
    "HostName": "example.test", "Status": "Enabled", "Role": "arn:aws:iam::123456789012:role/r",
    "KMSMasterKeyID": "key", "TableBucketArn": "arn:aws:s3tables:us-east-1:123456789012:bucket/t",
    "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k", "TableName": "t",
}  # fmt: skip


def least(model: dict[str, Any], operation: str) -> dict[str, Any]:
    """Return what the model requires of an operation, with made-up values."""
    shape = model["operations"][operation].get("input", {}).get("shape")
    return _value(model["shapes"], shape, "") if shape else {}


def of_operation(operation: str, made: dict[str, Any], *, bucket: str, upload: str) -> dict[str, Any]:
    """Return an operation's arguments: the model's least, our own where it takes more to make sense."""
    for name, value in (("Bucket", bucket), ("Key", "k"), ("UploadId", upload), ("CopySource", f"{bucket}/k")):
        if name in made:
            made[name] = value
    if operation in {"UploadPart", "UploadPartCopy", "ListParts", "CompleteMultipartUpload"}:
        made["Key"] = "parts"
    return made | _own(bucket).get(operation, {})


def _own(bucket: str) -> dict[str, dict[str, Any]]:
    """Return the arguments that the model alone does not suggest."""
    arn = f"arn:aws:s3:::{bucket}"
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{arn}/*"}
    destination = {"S3BucketDestination": {"Format": "CSV", "Bucket": arn}}
    rule = {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}}
    return {
        "CopyObject": {"Key": "copied"},
        "CompleteMultipartUpload": {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": '"0"'}]}},
        "UploadPart": {"Body": b"part"},
        "UploadPartCopy": {"PartNumber": 2},
        "PutObject": {"Body": b"a,b\n1,2\n"},
        "PutObjectAnnotation": {"Key": "annotated", "AnnotationPayload": b"note"},
        "GetObjectAnnotation": {"Key": "annotated"},
        "DeleteObjectAnnotation": {"Key": "annotated"},
        "GetObjectAttributes": {"ObjectAttributes": ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]},
        "PutBucketAcl": {"ACL": "private"},
        "PutObjectAcl": {"ACL": "private"},
        "PutBucketPolicy": {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})},
        "PutBucketLifecycleConfiguration": {"LifecycleConfiguration": {"Rules": [rule]}},
        "PutBucketLifecycle": {"LifecycleConfiguration": {"Rules": [
            {"ID": "one", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 3}}]}},
        "PutBucketCors": {"CORSConfiguration": {"CORSRules": [
            {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://example.test"]}]}},
        "PutBucketTagging": {"Tagging": {"TagSet": [{"Key": "team", "Value": "blue-green"}]}},
        "PutObjectTagging": {"Tagging": {"TagSet": [{"Key": "colour", "Value": "blue-green"}]}},
        "PutBucketVersioning": {"VersioningConfiguration": {"Status": "Suspended"}},
        "PutBucketWebsite": {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}}},
        "PutBucketEncryption": {"ServerSideEncryptionConfiguration": {"Rules": [
            {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}},
        "PutBucketNotificationConfiguration": {"NotificationConfiguration": {"EventBridgeConfiguration": {}}},
        "PutBucketInventoryConfiguration": {"InventoryConfiguration": {
            "Id": "one", "IsEnabled": True, "IncludedObjectVersions": "All", "Schedule": {"Frequency": "Daily"},
            "Destination": destination}},
        "PutObjectLockConfiguration": {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
        "PutObjectLegalHold": {"LegalHold": {"Status": "ON"}},
        "PutObjectRetention": {"Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": datetime(2035, 1, 1, tzinfo=UTC)}},
        "PutBucketOwnershipControls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
        "PutPublicAccessBlock": {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True}},
        "RestoreObject": {"RestoreRequest": {"Days": 1}},
        "SelectObjectContent": {"ExpressionType": "SQL", "InputSerialization": {"CSV": {}},
                                "OutputSerialization": {"CSV": {}}},
        "UpdateObjectEncryption": {"ObjectEncryption": {"SSEKMS": {
            "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"}}},
        "PutBucketRequestPayment": {"RequestPaymentConfiguration": {"Payer": "BucketOwner"}},
        "RenameObject": {"RenameSource": "/k", "Key": "renamed"},
        "ListBuckets": {"Prefix": bucket},
    }  # fmt: skip


def _value(shapes: dict[str, Any], name: str, member: str) -> Any:
    shape = shapes[name]
    if shape["type"] == "structure":
        return {n: _value(shapes, shape["members"][n]["shape"], n) for n in shape.get("required", ())}
    if shape["type"] == "list":
        return [_value(shapes, shape["member"]["shape"], member)]
    if "enum" in shape:
        return shape["enum"][0]
    simple = {"boolean": True, "integer": 1, "long": 1, "blob": b"x", "map": {"a": "b"},
              "timestamp": datetime(2035, 1, 1, tzinfo=UTC)}  # fmt: skip
    return _BY_NAME.get(member, simple.get(shape["type"], "x"))
