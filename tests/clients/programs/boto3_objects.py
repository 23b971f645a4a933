"""boto3: objects with every awkward key, header, checksum, range and condition; copies, tags, parts and listings."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from functools import partial

import boto3
from boto3_model import client, drained
from botocore.loaders import Loader
from report import Report

KEYS = [
    "plain", "with space", " leading", "trailing ", "plus+sign", "percent%20text", "percent%2Ftext", "a//b", "/leading/slash",
    "folder/", "ümläut/日本/🎉", "e\u0301 combining", "tilde~!*'()", "q?x=1&y", "a=b;c@d:e,f$", "#fragment", "back\\slash",
    '"quoted"', "<xml>&amp;", "new\nline", "tab\there", "ctrl\x01", "[brackets]{braces}", "^`|", "dot.", "..dots", "a/./b",
    "a/../b", ".", "..", "a/..", "?acl", "?versionId=x", "%", "%%", "%zz", "x" * 1024, "x" * 1025, "ends/..hidden", "\u200b",
    "ÿ", "\x7f", "C:\\x", "-", "minio", "minio/health/live", "a" * 255 + "/" + "b" * 255,
]  # fmt: skip
METADATA = {
    "plain": "value", "spaces": "  many   spaces  ", "empty": "", "punctuation": "a,b;c=d\"e'f(g)<h>@[i]{j}|\\k/l?m",
    "UPPER-Case": "x", "under_score": "x", "dotted.name": "x", "percent": "%41%2F+", "encoded": "=?UTF-8?B?w6R1w59lcg==?=",
}  # fmt: skip
HEADERS = {
    "ContentType": "text/x-ünüsual; charset=utf-8".encode("ascii", "ignore").decode(), "CacheControl": "max-age=3, no-store",
    "ContentDisposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''%e2%82%ac", "ContentEncoding": "identity",
    "ContentLanguage": "de-AT, en", "Expires": datetime(2035, 1, 1, tzinfo=UTC), "StorageClass": "STANDARD",
    "WebsiteRedirectLocation": "/elsewhere",
}  # fmt: skip
OVERRIDES = {
    "ResponseContentType": "text/override", "ResponseContentLanguage": "fr", "ResponseExpires": datetime(2036, 1, 1, tzinfo=UTC),
    "ResponseCacheControl": "no-cache", "ResponseContentDisposition": 'inline; filename="ü & +.txt"',
    "ResponseContentEncoding": "x-none",
}  # fmt: skip
BODY = bytes(range(256)) * 40
LONG_AGO, FAR_AHEAD = datetime(2001, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)
CUSTOMER_KEY = b"0123456789abcdef0123456789abcdef"


class Calls:
    """Calls on one bucket, each named and reported."""

    def __init__(self, title: str) -> None:
        self.report = Report(title, boto3.__version__)
        self.s3, self.bucket = client(self.report.place), self.report.place.bucket

    def do(self, name: str, operation: str, fails: str = "", **arguments):
        """Call an operation on the bucket."""
        method = getattr(self.s3, operation)
        return self.report.call(name, lambda: drained(method(Bucket=self.bucket, **arguments)), fails)

    def empty(self):
        """Remove everything, versions too, and then the bucket."""
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket):
            for found in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                self.s3.delete_object(
                    Bucket=self.bucket, Key=found["Key"], VersionId=found["VersionId"], BypassGovernanceRetention=True
                )
        self.do("DeleteBucket at the end", "delete_bucket")


def keys(calls):
    """Awkward keys: put, seen, read, copied, tagged, listed, deleted."""
    for key in KEYS:
        shown = repr(key if len(key) < 60 else f"{key[:8]}… of {len(key)}")
        calls.do(f"put {shown}", "put_object", Key=key, Body=key.encode())
        calls.do(f"head {shown}", "head_object", Key=key)
        calls.do(f"get {shown}", "get_object", Key=key)
        calls.do(
            f"copy {shown}", "copy_object", Key=f"copy of {key}"[:1000], CopySource={"Bucket": calls.bucket, "Key": key}
        )
        calls.do(f"tags {shown}", "get_object_tagging", Key=key)
        calls.do(f"list {shown}", "list_objects_v2", Prefix=key)
        calls.do(f"delete {shown}", "delete_object", Key=key)
    calls.do(
        "delete awkward copies", "delete_objects", Delete={"Objects": [{"Key": f"copy of {k}"[:1000]} for k in KEYS]}
    )
    calls.do("list what is left of awkward keys", "list_objects_v2")
    calls.do("list it URL-encoded", "list_objects_v2", EncodingType="url")


def headers(calls):
    """Metadata, standard headers and response-* overrides."""
    for name, value in METADATA.items():
        calls.do(f"put with metadata {name}", "put_object", Key="meta", Body=b"x", Metadata={name: value})
        calls.do(f"head with metadata {name}", "head_object", Key="meta")
    calls.do(
        "put with much metadata", "put_object", Key="meta", Body=b"x", Metadata={f"n{i}": "v" * 40 for i in range(40)}
    )
    calls.do("head with much metadata", "head_object", Key="meta")
    calls.do(
        "put with too much metadata",
        "put_object",
        Key="meta",
        Body=b"x",
        Metadata={f"n{i}": "v" * 100 for i in range(40)},
    )
    for name, value in HEADERS.items():
        calls.do(f"put with {name}", "put_object", Key="headers", Body=b"x", **{name: value})
        calls.do(f"get with {name}", "get_object", Key="headers")
    calls.do("put with every header", "put_object", Key="headers", Body=b"x", **HEADERS)
    for name, value in OVERRIDES.items():
        calls.do(f"get with {name}", "get_object", Key="headers", **{name: value})
    calls.do("get with every override", "get_object", Key="headers", **OVERRIDES)
    for acl in ("private", "public-read", "bucket-owner-full-control", "nonsense"):
        calls.do(f"put with ACL {acl}", "put_object", Key="acl", Body=b"x", ACL=acl)
        calls.do(f"get ACL {acl}", "get_object_acl", Key="acl")
    for storage in ("REDUCED_REDUNDANCY", "STANDARD_IA", "GLACIER", "NONSENSE"):
        calls.do(f"put with class {storage}", "put_object", Key="class", Body=b"x", StorageClass=storage)
        calls.do(f"head class {storage}", "head_object", Key="class")
    calls.do("put with an expected owner", "put_object", Key="owned", Body=b"x", ExpectedBucketOwner="123456789012")
    calls.do("put with requester pays", "put_object", Key="paid", Body=b"x", RequestPayer="requester")


def ranges_and_conditions(calls):
    """Range, part number and every condition, on reads, writes, copies and deletions."""
    etag = calls.s3.put_object(Bucket=calls.bucket, Key="k", Body=BODY)["ETag"]
    for wanted in ("bytes=0-9", "bytes=-5", "bytes=10-", "bytes=0-0", "bytes=99999-", "bytes=0-99999", "bytes=5-1", "bytes=0-1,4-5",
                   "bytes=-0", "bytes=x", "lines=1-2"):  # fmt: skip
        calls.do(f"get range {wanted}", "get_object", Key="k", Range=wanted)
        calls.do(f"head range {wanted}", "head_object", Key="k", Range=wanted)
    for part in (1, 2):
        calls.do(f"get part {part}", "get_object", Key="k", PartNumber=part)
    conditions = [
        ("IfMatch", etag), ("IfMatch", '"other"'), ("IfMatch", "*"), ("IfNoneMatch", etag), ("IfNoneMatch", '"other"'),
        ("IfNoneMatch", "*"), ("IfModifiedSince", LONG_AGO), ("IfModifiedSince", FAR_AHEAD), ("IfUnmodifiedSince", LONG_AGO),
        ("IfUnmodifiedSince", FAR_AHEAD),
    ]  # fmt: skip
    for name, value in conditions:
        for operation in ("get_object", "head_object"):
            calls.do(f"{operation} {name} {value}", operation, Key="k", **{name: value})
        source = {f"CopySource{name}": value}
        calls.do(f"copy {name} {value}", "copy_object", Key="c", CopySource=f"{calls.bucket}/k", **source)
    for name, value in conditions[:6]:
        calls.do(f"put {name} {value}", "put_object", Key="k", Body=BODY, **{name: value})
        calls.do(f"put new {name} {value}", "put_object", Key=f"new {name} {value}", Body=BODY, **{name: value})
    calls.do("delete IfMatch other", "delete_object", Key="k", IfMatch='"other"')
    calls.do("delete IfMatch", "delete_object", Key="k", IfMatch=etag)


def checksums(calls):
    """Every checksum algorithm, computed by the client, given, wrong, on parts; and MD5."""
    model = Loader().load_service_model("s3", "service-2")
    for algorithm in model["shapes"]["ChecksumAlgorithm"]["enum"]:
        answer = calls.do(f"put {algorithm}", "put_object", Key="sum", Body=BODY, ChecksumAlgorithm=algorithm)
        calls.do(
            f"put a stream {algorithm}", "put_object", Key="sum", Body=io.BytesIO(BODY), ChecksumAlgorithm=algorithm
        )
        calls.do(f"head {algorithm}", "head_object", Key="sum", ChecksumMode="ENABLED")
        calls.do(f"get {algorithm}", "get_object", Key="sum", ChecksumMode="ENABLED")
        calls.do(
            f"attributes {algorithm}",
            "get_object_attributes",
            Key="sum",
            ObjectAttributes=["Checksum", "ETag", "ObjectSize"],
        )
        calls.do(
            f"copy {algorithm}", "copy_object", Key="sum2", CopySource=f"{calls.bucket}/k", ChecksumAlgorithm=algorithm
        )
        member = f"Checksum{algorithm}"
        value = (answer or {}).get(member, "AAAA")
        calls.do(f"put given {algorithm}", "put_object", Key="sum", Body=BODY, **{member: value})
        calls.do(f"put given wrong {algorithm}", "put_object", Key="sum", Body=BODY[:-1], **{member: value})
        calls.do(f"put malformed {algorithm}", "put_object", Key="sum", Body=BODY, **{member: "AAAA"})
        for kind in ("COMPOSITE", "FULL_OBJECT"):
            parts(calls, f" {algorithm} {kind}", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    calls.do("put MD5", "put_object", Key="sum", Body=b"", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    calls.do("put wrong MD5", "put_object", Key="sum", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    calls.do("put malformed MD5", "put_object", Key="sum", Body=b"x", ContentMD5="nonsense")
    unsigned = client(calls.report.place, request_checksum_calculation="when_required")
    calls.report.call("put without checksum", lambda: unsigned.put_object(Bucket=calls.bucket, Key="sum", Body=BODY))


def parts(calls, name, size=2, **how):
    """One small multipart upload, from start to end."""
    started = calls.do(f"start parts{name}", "create_multipart_upload", Key="parts", **how)
    upload = {"Key": "parts", "UploadId": started["UploadId"] if started else "none"}
    more = {k: v for k, v in how.items() if k == "ChecksumAlgorithm" or k.startswith("SSECustomer")}
    done = []
    for number in range(1, size + 1):
        answer = calls.do(
            f"part {number}{name}",
            "upload_part",
            PartNumber=number,
            Body=b"p" * 5 * 2**20 * (number < size) + b"end",
            **upload,
            **more,
        )
        if answer:
            sums = {k: v for k, v in answer.items() if k.startswith("Checksum") and k != "ChecksumType"}
            done.append({"PartNumber": number, "ETag": answer["ETag"]} | sums)
    calls.do(f"list parts{name}", "list_parts", **upload)
    calls.do(f"complete parts{name}", "complete_multipart_upload", MultipartUpload={"Parts": done}, **upload)
    calls.do(
        f"head parts{name}",
        "head_object",
        Key="parts",
        ChecksumMode="ENABLED",
        **{k: v for k, v in more.items() if k != "ChecksumAlgorithm"},
    )


def multipart(calls):
    """Multipart uploads: wrong orders, wrong parts, copies of ranges, listings of uploads, abort."""
    parts(calls, " with all", Metadata={"a": "b"}, Tagging="x=1", ContentType="text/parts", StorageClass="STANDARD")
    calls.do("get a part", "get_object", Key="parts", PartNumber=1, Range="bytes=0-1")
    calls.do("get part 2", "get_object", Key="parts", PartNumber=2)
    calls.do(
        "attributes of parts",
        "get_object_attributes",
        Key="parts",
        ObjectAttributes=["ObjectParts", "ETag"],
        MaxParts=1,
    )
    upload = {"Key": "two", "UploadId": calls.s3.create_multipart_upload(Bucket=calls.bucket, Key="two")["UploadId"]}
    calls.do("list uploads", "list_multipart_uploads")
    calls.do(
        "list uploads by prefix", "list_multipart_uploads", Prefix="t", Delimiter="/", MaxUploads=1, EncodingType="url"
    )
    one = calls.do("small part 1", "upload_part", PartNumber=1, Body=b"small", **upload)
    two = calls.do("small part 2", "upload_part", PartNumber=2, Body=b"small", **upload)
    for number in (0, 10001):
        calls.do(f"part {number}", "upload_part", PartNumber=number, Body=b"x", **upload)
    tags = [{"PartNumber": 1, "ETag": one["ETag"]}, {"PartNumber": 2, "ETag": two["ETag"]}]
    complete = partial(calls.do, operation="complete_multipart_upload", **upload)
    complete("complete too small", MultipartUpload={"Parts": tags})
    complete("complete out of order", MultipartUpload={"Parts": tags[::-1]})
    complete("complete wrong tag", MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"0"'}]})
    complete("complete missing part", MultipartUpload={"Parts": [{"PartNumber": 7, "ETag": one["ETag"]}]})
    complete("complete nothing", MultipartUpload={"Parts": []})
    calls.do("list parts paged", "list_parts", MaxParts=1, **upload)
    calls.do("list parts from", "list_parts", PartNumberMarker=1, **upload)
    copy = partial(calls.do, operation="upload_part_copy", **upload)
    copy("copy part", PartNumber=3, CopySource=f"{calls.bucket}/parts")
    copy("copy part of a range", PartNumber=3, CopySource=f"{calls.bucket}/parts", CopySourceRange="bytes=0-9")
    copy("copy part of a wrong range", PartNumber=3, CopySource=f"{calls.bucket}/parts", CopySourceRange="bytes=9-0")
    copy("copy part of nothing", PartNumber=3, CopySource=f"{calls.bucket}/none")
    complete("complete one", MultipartUpload={"Parts": tags[:1]})
    complete("complete again", MultipartUpload={"Parts": tags[:1]})
    calls.do("abort what is complete", "abort_multipart_upload", **upload)
    calls.do("part of no upload", "upload_part", PartNumber=1, Body=b"x", Key="two", UploadId="none")
    calls.do("list parts of no upload", "list_parts", Key="two", UploadId="none")


def copies_and_tags(calls):
    """Copies with their directives, tags by header and by call."""
    calls.s3.put_object(
        Bucket=calls.bucket, Key="from", Body=BODY, Metadata={"a": "1"}, Tagging="x=1", ContentType="text/from"
    )
    copy = partial(calls.do, operation="copy_object", CopySource=f"{calls.bucket}/from")
    copy("copy", Key="to")
    calls.do("head the copy", "head_object", Key="to")
    copy("copy replacing", Key="to", MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/to")
    calls.do("head the replaced copy", "head_object", Key="to")
    copy("copy replacing tags", Key="to", TaggingDirective="REPLACE", Tagging="y=2")
    calls.do("tags of the copy", "get_object_tagging", Key="to")
    copy("copy onto itself", Key="from")
    copy("copy onto itself replacing", Key="from", MetadataDirective="REPLACE", Metadata={"c": "3"})
    copy("copy with class", Key="to", StorageClass="STANDARD_IA")
    copy("copy if none", Key="to", IfNoneMatch="*")
    for source in (f"/{calls.bucket}/from", f"{calls.bucket}/none", "no-such-bucket-at-all/from", calls.bucket, "", f"{calls.bucket}/from?versionId=none",
                   f"{calls.bucket}/from?versionId=null", f"{calls.bucket}//from", f"{calls.bucket}/%66rom", "arn:aws:s3:::b/from"):  # fmt: skip
        calls.do(f"copy from {source!r}".replace(calls.bucket, "B"), "copy_object", Key="to", CopySource=source)
    for tags in (
        "a=1&b=2",
        "a=",
        "a",
        "a=1&a=2",
        "ü=ö".encode().decode(),
        "a%20b=c%26d",
        "a=b=c",
        "=x",
        "&".join(f"k{i}=v" for i in range(11)),
    ):
        calls.do(f"put tagged {tags}", "put_object", Key="tagged", Body=b"x", Tagging=tags)
        calls.do(f"tags {tags}", "get_object_tagging", Key="tagged")
        calls.do(f"count tags {tags}", "head_object", Key="tagged")
    for tag_set in (
        [],
        [{"Key": "a", "Value": "b c+d/e=f@g:h_i-j.k"}],
        [{"Key": "k" * 200, "Value": "v"}],
        [{"Key": "a", "Value": "1"}] * 2,
    ):
        calls.do(f"put tags {str(tag_set)[:50]}", "put_object_tagging", Key="tagged", Tagging={"TagSet": tag_set})
        calls.do(f"get tags {str(tag_set)[:50]}", "get_object_tagging", Key="tagged")
    calls.do("delete tags", "delete_object_tagging", Key="tagged")
    calls.do("tags of nothing", "get_object_tagging", Key="none")


def customer_keys(calls):
    """SSE-C on every call that takes it; SSE-S3 and SSE-KMS headers."""
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER_KEY}
    other = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER_KEY[::-1]}
    calls.do("put SSE-C", "put_object", Key="secret", Body=BODY, **own)
    for name, key in (("right", own), ("wrong", other), ("no", {})):
        calls.do(f"get SSE-C {name} key", "get_object", Key="secret", **key)
        calls.do(f"head SSE-C {name} key", "head_object", Key="secret", **key)
    source = {f"CopySource{k}": v for k, v in own.items()}
    calls.do("copy SSE-C to plain", "copy_object", Key="opened", CopySource=f"{calls.bucket}/secret", **source)
    calls.do(
        "copy SSE-C to another", "copy_object", Key="resealed", CopySource=f"{calls.bucket}/secret", **source, **other
    )
    calls.do("get resealed", "get_object", Key="resealed", **other)
    parts(calls, " SSE-C", size=1, **own)
    for kind in ("AES256", "aws:kms", "aws:kms:dsse", "nonsense"):
        calls.do(f"put SSE {kind}", "put_object", Key="sse", Body=BODY, ServerSideEncryption=kind)
        calls.do(f"head SSE {kind}", "head_object", Key="sse")
    calls.do(
        "put SSE-KMS with key",
        "put_object",
        Key="sse",
        Body=BODY,
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId="none",
        BucketKeyEnabled=True,
    )


def listings(calls):
    """Every parameter of the listings."""
    for i in range(9):
        calls.s3.put_object(Bucket=calls.bucket, Key=f"list/d{i % 3}/k {i}&<>", Body=b"x")
    for name, how in {
        "all": {}, "prefix": {"Prefix": "list/d1/"}, "folders": {"Prefix": "list/", "Delimiter": "/"}, "few": {"MaxKeys": 2},
        "none": {"MaxKeys": 0}, "many": {"MaxKeys": 100000}, "negative": {"MaxKeys": -1}, "url": {"EncodingType": "url"}, "odd delimiter": {"Delimiter": "&"},
        "empty": {"Prefix": "", "Delimiter": ""}, "absent": {"Prefix": "nothing/like it"},
    }.items():  # fmt: skip
        chosen = {"Prefix": "list/"} | how
        for operation in ("list_objects", "list_objects_v2", "list_object_versions"):
            calls.do(f"{operation} {name}", operation, **chosen)
    calls.do("list after", "list_objects_v2", StartAfter="list/d1/", Prefix="list/", FetchOwner=True)
    calls.do("list from marker", "list_objects", Marker="list/d1/k 4&<>", Prefix="list/")
    calls.do("list attributes", "list_objects_v2", OptionalObjectAttributes=["RestoreStatus"], Prefix="list/")
    calls.do("list wrong token", "list_objects_v2", ContinuationToken="nonsense", Prefix="list/")
    for operation in ("list_objects", "list_objects_v2", "list_object_versions"):
        pages = calls.s3.get_paginator(operation).paginate(
            Bucket=calls.bucket, Prefix="list/", PaginationConfig={"PageSize": 2}
        )
        calls.report.call(
            f"{operation} paged",
            lambda pages=pages: [[o["Key"] for o in p.get("Contents", p.get("Versions", []))] for p in pages],
        )
    calls.report.call("list buckets by prefix", lambda: calls.s3.list_buckets(Prefix=calls.bucket, MaxBuckets=5))
    for operation, more in (
        ("list_objects_v2", {}),
        ("get_bucket_location", {}),
        ("head_object", {"Key": "k"}),
        ("get_object", {"Key": "k"}),
        ("put_object", {"Key": "k"}),
        ("delete_object", {"Key": "k"}),
        ("list_multipart_uploads", {}),
        ("get_bucket_acl", {}),
    ):
        method = getattr(calls.s3, operation)
        for bucket in ("no-such-bucket-at-all", "Bad_Bucket", "a" * 64, "192.168.1.1", "xn--x", "a..b"):
            calls.report.call(
                f"{operation} in {bucket[:22]}",
                lambda method=method, bucket=bucket, more=more: drained(method(Bucket=bucket, **more)),
            )


def transfers(calls):
    """The transfer manager, both ways, and deletions by the thousand."""
    body = BODY * 2000
    calls.report.call("upload_fileobj", lambda: calls.s3.upload_fileobj(io.BytesIO(body), calls.bucket, "managed"))
    into = io.BytesIO()
    calls.report.call(
        "download_fileobj", lambda: calls.s3.download_fileobj(calls.bucket, "managed", into) or into.getvalue()
    )
    calls.report.call(
        "copy managed", lambda: calls.s3.copy({"Bucket": calls.bucket, "Key": "managed"}, calls.bucket, "managed 2")
    )
    calls.do("put nothing", "put_object", Key="nothing", Body=b"")
    calls.do("get nothing", "get_object", Key="nothing")
    calls.do("get a range of nothing", "get_object", Key="nothing", Range="bytes=0-1")
    calls.do(
        "delete a thousand", "delete_objects", Delete={"Objects": [{"Key": f"absent {i}&<>'\"é"} for i in range(1000)]}
    )
    calls.do("delete too many", "delete_objects", Delete={"Objects": [{"Key": f"absent {i}"} for i in range(1001)]})
    calls.do("delete quietly", "delete_objects", Delete={"Objects": [{"Key": "nothing"}], "Quiet": True})
    calls.do("delete none", "delete_objects", Delete={"Objects": []})
    calls.do("delete with a condition", "delete_objects", Delete={"Objects": [{"Key": "managed 2", "ETag": '"other"'}]})
    calls.do(
        "delete the same twice", "delete_objects", Delete={"Objects": [{"Key": "managed 2"}, {"Key": "managed 2"}]}
    )


def main():
    """Make the calls."""
    calls = Calls("boto3: objects")
    calls.do("CreateBucket", "create_bucket")
    for chapter in (
        keys,
        headers,
        ranges_and_conditions,
        checksums,
        multipart,
        copies_and_tags,
        listings,
        customer_keys,
        transfers,
    ):
        chapter(calls)
    calls.empty()


if __name__ == "__main__":
    main()
