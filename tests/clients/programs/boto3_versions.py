"""boto3: versions, object lock, retention and legal hold; a bucket's sub-resources with real documents; policies, CORS, ACLs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from boto3_objects import Calls

LONG_AHEAD = datetime(2035, 1, 1, tzinfo=UTC)


def versions(calls):
    """Every call that can name a version, with versions that are, were and never have been."""
    calls.do("versioning before", "get_bucket_versioning")
    calls.do("enable versioning", "put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    calls.do("versioning after", "get_bucket_versioning")
    ids = [
        calls.do(f"put version {i}", "put_object", Key="k", Body=b"%d" % i, Tagging=f"v={i}")["VersionId"]
        for i in range(3)
    ]
    given = {"first": ids[0], "last": ids[-1], "null": "null", "absent": "0" * 32, "nonsense": "nonsense"}
    for name, version in given.items():
        for operation in ("get_object", "head_object", "get_object_tagging", "get_object_acl"):
            calls.do(f"{operation} version {name}", operation, Key="k", VersionId=version)
        calls.do(
            f"attributes of version {name}",
            "get_object_attributes",
            Key="k",
            VersionId=version,
            ObjectAttributes=["ETag", "ObjectSize"],
        )
        source = {"Bucket": calls.bucket, "Key": "k", "VersionId": version}
        calls.do(f"copy version {name}", "copy_object", Key=f"copy of {name}", CopySource=source)
        calls.do(
            f"tag version {name}",
            "put_object_tagging",
            Key="k",
            VersionId=version,
            Tagging={"TagSet": [{"Key": "n", "Value": "x"}]},
        )
        calls.do(f"untag version {name}", "delete_object_tagging", Key="k", VersionId=version)
    calls.do("list versions", "list_object_versions", Prefix="k")
    calls.do("list versions paged", "list_object_versions", Prefix="k", MaxKeys=1)
    marker = calls.do("delete without version", "delete_object", Key="k")["VersionId"]
    calls.do("get what is deleted", "get_object", Key="k")
    calls.do("head what is deleted", "head_object", Key="k")
    for operation in ("get_object", "head_object", "get_object_tagging"):
        calls.do(f"{operation} delete marker", operation, Key="k", VersionId=marker)
    calls.do("list with delete marker", "list_object_versions", Prefix="k")
    calls.do("list without versions", "list_objects_v2", Prefix="k")
    calls.do("delete the delete marker", "delete_object", Key="k", VersionId=marker)
    calls.do("get what is back", "get_object", Key="k")
    calls.do("delete a version", "delete_object", Key="k", VersionId=ids[0])
    calls.do(
        "delete versions",
        "delete_objects",
        Delete={"Objects": [{"Key": "k", "VersionId": ids[1]}, {"Key": "k"}, {"Key": "k", "VersionId": "nonsense"}]},
    )
    upload = calls.s3.create_multipart_upload(Bucket=calls.bucket, Key="parts")["UploadId"]
    part = calls.s3.upload_part(Bucket=calls.bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    calls.do(
        "complete into a version",
        "complete_multipart_upload",
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]},
    )
    calls.do("suspend versioning", "put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"})
    calls.do("put the null version", "put_object", Key="k", Body=b"null")
    calls.do("get the null version", "get_object", Key="k", VersionId="null")
    calls.do(
        "MFA delete",
        "put_bucket_versioning",
        MFA="serial 123456",
        VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"},
    )
    calls.do("versioning nonsense", "put_bucket_versioning", VersioningConfiguration={"Status": "Nonsense"})
    calls.empty()


def locks(calls):
    """A bucket with object lock: defaults, retention, legal hold, bypass, what may not be deleted."""
    calls.bucket += "-lock"
    calls.do("create with object lock", "create_bucket", ObjectLockEnabledForBucket=True)
    calls.do("lock configuration", "get_object_lock_configuration")
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    calls.do(
        "put lock configuration",
        "put_object_lock_configuration",
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
    )
    calls.do("lock configuration after", "get_object_lock_configuration")
    calls.do("put under default", "put_object", Key="default", Body=b"x")
    calls.do("retention by default", "get_object_retention", Key="default")
    version = calls.do(
        "put with retention",
        "put_object",
        Key="held",
        Body=b"x",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=LONG_AHEAD,
        ObjectLockLegalHoldStatus="ON",
    )["VersionId"]
    calls.do("head with retention", "head_object", Key="held")
    calls.do("retention", "get_object_retention", Key="held", VersionId=version)
    calls.do("hold", "get_object_legal_hold", Key="held", VersionId=version)
    calls.do("delete what is held", "delete_object", Key="held", VersionId=version)
    calls.do(
        "delete what is held, many",
        "delete_objects",
        Delete={"Objects": [{"Key": "held", "VersionId": version}]},
        BypassGovernanceRetention=True,
    )
    calls.do("let go", "put_object_legal_hold", Key="held", LegalHold={"Status": "OFF"})
    calls.do("delete what is retained", "delete_object", Key="held", VersionId=version)
    calls.do(
        "shorten",
        "put_object_retention",
        Key="held",
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": datetime(2034, 1, 1, tzinfo=UTC)},
    )
    calls.do(
        "shorten, bypassing",
        "put_object_retention",
        Key="held",
        BypassGovernanceRetention=True,
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": datetime(2034, 1, 1, tzinfo=UTC)},
    )
    calls.do(
        "retain in the past",
        "put_object_retention",
        Key="held",
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": datetime(2001, 1, 1, tzinfo=UTC)},
    )
    calls.do("hold nonsense", "put_object_legal_hold", Key="held", LegalHold={"Status": "NONSENSE"})
    calls.do(
        "copy into retention",
        "copy_object",
        Key="copied",
        CopySource=f"{calls.bucket}/held",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=LONG_AHEAD,
    )
    calls.do(
        "parts into retention",
        "create_multipart_upload",
        Key="parts",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=LONG_AHEAD,
    )
    calls.do("delete, bypassing", "delete_object", Key="held", VersionId=version, BypassGovernanceRetention=True)
    calls.do("delete without version", "delete_object", Key="default")
    calls.do("suspend under lock", "put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"})
    calls.empty()
    calls.bucket = calls.bucket.removesuffix("-lock")


def documents(calls):
    """Sub-resources whose document says something, right and wrong, written and read back."""
    arn = f"arn:aws:s3:::{calls.bucket}"
    allow = {
        "Sid": "a",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ["s3:GetObject"],
        "Resource": [f"{arn}/public/*"],
        "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    }
    for name, policy in (
        ("right", {"Version": "2012-10-17", "Statement": [allow]}),
        ("of another bucket", {"Version": "2012-10-17", "Statement": [allow | {"Resource": "arn:aws:s3:::other/*"}]}),
        ("wrong", {"Version": "x"}),
    ):
        calls.do(f"put policy {name}", "put_bucket_policy", Policy=json.dumps(policy))
        calls.do(f"get policy {name}", "get_bucket_policy")
    calls.do("put policy that is none", "put_bucket_policy", Policy="{")
    calls.do("policy status", "get_bucket_policy_status")
    calls.do("delete policy", "delete_bucket_policy")
    rules = [
        {
            "ID": "a",
            "AllowedHeaders": ["*"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedOrigins": ["https://*.example.test"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        }
    ]
    calls.do("put CORS", "put_bucket_cors", CORSConfiguration={"CORSRules": rules})
    calls.do("get CORS", "get_bucket_cors")
    calls.do(
        "put CORS wrong",
        "put_bucket_cors",
        CORSConfiguration={"CORSRules": [rules[0] | {"AllowedMethods": ["NONSENSE"]}]},
    )
    calls.do("delete CORS", "delete_bucket_cors")
    lifecycle = [
        {"ID": "days", "Status": "Enabled", "Filter": {"Prefix": "a&b/"}, "Expiration": {"Days": 7}},
        {
            "ID": "tags",
            "Status": "Disabled",
            "Filter": {"And": {"Prefix": "x", "Tags": [{"Key": "k", "Value": "v"}]}},
            "Expiration": {"Days": 9},
        },
        {
            "ID": "parts",
            "Status": "Enabled",
            "Filter": {},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
        {
            "ID": "versions",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
        },
    ]
    for rule in lifecycle:
        calls.do(
            f"put lifecycle {rule['ID']}",
            "put_bucket_lifecycle_configuration",
            LifecycleConfiguration={"Rules": [rule]},
        )
        calls.do(f"get lifecycle {rule['ID']}", "get_bucket_lifecycle_configuration")
    calls.do("put lifecycle all", "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": lifecycle})
    calls.do(
        "put lifecycle wrong",
        "put_bucket_lifecycle_configuration",
        LifecycleConfiguration={
            "Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": -1}}]
        },
    )
    calls.do("delete lifecycle", "delete_bucket_lifecycle")
    for acl in ("private", "public-read", "public-read-write", "authenticated-read", "nonsense"):
        calls.do(f"put ACL {acl}", "put_bucket_acl", ACL=acl)
        calls.do(f"get ACL {acl}", "get_bucket_acl")
    calls.do("put ACL by grants", "put_bucket_acl", GrantRead='uri="http://acs.amazonaws.com/groups/global/AllUsers"')
    calls.do("put object for ACL", "put_object", Key="acl", Body=b"x")
    calls.do("put object ACL", "put_object_acl", Key="acl", ACL="public-read")
    calls.do("get object ACL", "get_object_acl", Key="acl")
    calls.do(
        "put object ACL by document",
        "put_object_acl",
        Key="acl",
        AccessControlPolicy={
            "Owner": {"ID": "nobody"},
            "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": "nobody"}, "Permission": "READ"}],
        },
    )
    for key, value in (("AES256", None), ("aws:kms", "key"), ("nonsense", None)):
        by = {"SSEAlgorithm": key} | ({"KMSMasterKeyID": value} if value else {})
        calls.do(
            f"put encryption {key}",
            "put_bucket_encryption",
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": by, "BucketKeyEnabled": True}]
            },
        )
        calls.do(f"get encryption {key}", "get_bucket_encryption")
    calls.do("delete encryption", "delete_bucket_encryption")
    for name, tags in (
        ("two", [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "é"}]),
        ("none", []),
        ("odd", [{"Key": "a&<b>", "Value": "c\"'"}]),
    ):
        calls.do(f"put bucket tags {name}", "put_bucket_tagging", Tagging={"TagSet": tags})
        calls.do(f"get bucket tags {name}", "get_bucket_tagging")
    calls.do("delete bucket tags", "delete_bucket_tagging")
    for ownership in ("ObjectWriter", "BucketOwnerPreferred", "Nonsense"):
        calls.do(
            f"put ownership {ownership}",
            "put_bucket_ownership_controls",
            OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]},
        )
        calls.do(f"get ownership {ownership}", "get_bucket_ownership_controls")
    calls.empty()


def buckets(calls):
    """Buckets made with every header, and their names."""
    plain = calls.bucket
    for name, how in {
        "acl": {"ACL": "private"}, "region": {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}},
        "ownership": {"ObjectOwnership": "BucketOwnerEnforced"}, "tags": {"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "b"}]}},
        "grant": {"GrantRead": 'id="nobody"'}, "wrong-acl": {"ACL": "nonsense"},
    }.items():  # fmt: skip
        calls.bucket = f"{plain}-{name}"
        calls.do(f"create with {name}", "create_bucket", **how)
        calls.do(f"location of {name}", "get_bucket_location")
        calls.do(f"head of {name}", "head_bucket")
        calls.do(f"head of {name} for an owner", "head_bucket", ExpectedBucketOwner="123456789012")
        calls.do(f"delete {name}", "delete_bucket")
    calls.bucket = plain


def main():
    """Make the calls."""
    calls = Calls("boto3: versions and documents")
    for chapter in (versions, documents):
        calls.do(f"CreateBucket for {chapter.__name__}", "create_bucket")
        chapter(calls)
    locks(calls)
    buckets(calls)


if __name__ == "__main__":
    main()
