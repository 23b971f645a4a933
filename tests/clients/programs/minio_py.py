"""minio-py: every call of its client that S3 knows, and what came of it."""

from __future__ import annotations

import io
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from urllib.request import Request, urlopen

import minio
from minio import Minio
from minio.commonconfig import COPY, ENABLED, GOVERNANCE, REPLACE, ComposeSource, CopySource, Filter, Tags
from minio.deleteobjects import DeleteObject
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.objectlockconfig import DAYS, ObjectLockConfig
from minio.retention import Retention
from minio.select import CSVInputSerialization, CSVOutputSerialization, SelectRequest
from minio.sse import SseCustomerKey, SseS3
from minio.sseconfig import Rule as SseRule
from minio.sseconfig import SSEConfig
from minio.versioningconfig import SUSPENDED, VersioningConfig
from report import Report


def shown(value):
    """Return what a caller of minio-py sees, as JSON can show it."""
    if hasattr(value, "getlist"):
        return {name.lower(): value[name] for name in value}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: shown(getattr(value, f.name)) for f in fields(value)}
    if hasattr(value, "bucket_name") or hasattr(value, "object_name"):
        names = (
            "object_name",
            "etag",
            "size",
            "is_dir",
            "is_delete_marker",
            "is_latest",
            "content_type",
            "part_number",
        )
        seen = {n: getattr(value, n, None) for n in names}
        metadata = getattr(value, "metadata", None)
        more = {"headers": shown(value.http_headers)} if hasattr(value, "http_headers") else {}
        return seen | {"metadata": shown(metadata)} | more
    if isinstance(value, (str, bytes, int, float, bool, type(None), dict, datetime)):
        return value
    if hasattr(value, "__iter__"):
        return [shown(one) for one in value]
    public = (
        {n: v for n, v in vars(value).items() if isinstance(v, (str, int, float, bool, type(None)))}
        if hasattr(value, "__dict__")
        else {}
    )
    return {"type": type(value).__name__} | public


class Calls:
    """A client's calls on one bucket, by name."""

    def __init__(self):
        self.report = Report("minio-py", minio.__version__)
        place = self.report.place
        self.bucket = place.bucket
        self.client = Minio(
            endpoint=place.host, secure=False, access_key=place.access_key, secret_key=place.secret_key,
            session_token=place.token or None, region="us-east-1",
        )  # fmt: skip

    def do(self, name, method, **arguments):
        """Call a method on the bucket."""
        made = {"bucket_name": self.bucket} | arguments
        return self.report.call(f"{method}{name}", lambda: shown(getattr(self.client, method)(**made)))

    def read(self, name, **arguments):
        """Read an object to its end."""

        def content():
            answer = self.client.get_object(bucket_name=self.bucket, **arguments)
            try:
                return answer.read()
            finally:
                answer.close()
                answer.release_conn()

        return self.report.call(f"get_object{name}", content)


def objects(calls):
    """Objects, their parts, copies, compositions, and what is known of them."""
    big = bytes(range(256)) * 4 * 11 * 1024
    for name, body, how in (
        ("", b"content", {}),
        (" empty", b"", {}),
        (" big", big, {"part_size": 5 * 2**20}),
        (" of unknown length", big, {"part_size": 5 * 2**20, "length": -1}),
        (
            " with all",
            b"x",
            {"content_type": "text/x", "metadata": {"a": "b c", "Cache-Control": "no-store"}, "tags": tags()},
        ),
        (" with Unicode", b"x", {"metadata": {"é": "ü"}}),
        (" for SSE-S3", b"x", {"sse": SseS3()}),
    ):
        calls.do(name, "put_object", **{"object_name": f"o{name}", "data": io.BytesIO(body), "length": len(body)} | how)
        calls.do(name, "stat_object", object_name=f"o{name}")
        calls.read(name, object_name=f"o{name}")
    calls.read(" range", object_name="o", offset=2, length=3)
    calls.read(" absent", object_name="absent")
    calls.do(" absent", "stat_object", object_name="absent")
    source = CopySource(bucket_name=calls.bucket, object_name="o")
    calls.do("", "copy_object", object_name="copy", source=source)
    calls.do(
        " replacing", "copy_object", object_name="copy", source=source, metadata_directive=REPLACE, metadata={"b": "c"}
    )
    calls.do(" directive", "copy_object", object_name="copy", source=source, tagging_directive=COPY)
    parts = [
        ComposeSource(bucket_name=calls.bucket, object_name="o big"),
        ComposeSource(bucket_name=calls.bucket, object_name="o"),
    ]
    calls.do("", "compose_object", object_name="composed", sources=parts)
    calls.read(" composed", object_name="composed")
    path = calls.report.place.folder / "file"
    path.write_bytes(big)
    calls.do("", "fput_object", object_name="file", file_path=str(path), part_size=5 * 2**20)
    calls.do("", "fget_object", object_name="file", file_path=str(path.with_suffix(".back")))
    if hasattr(calls.client, "append_object"):
        calls.do("", "append_object", object_name="o", data=io.BytesIO(b"more"), length=4)


def tags():
    """Return two tags."""
    found = Tags.new_object_tags()
    found["a"], found["b c"] = "1", "x+y=z"
    return found


def listings(calls):
    """Listings with every choice."""
    for name, how in {"": {}, " recursive": {"recursive": True}, " prefix": {"prefix": "o"}, " after": {"start_after": "f"},
                      " versions": {"include_version": True}, " V1": {"use_api_v1": True}, " owner": {"fetch_owner": True},
                      " plain keys": {"use_url_encoding_type": False}}.items():  # fmt: skip
        calls.do(name, "list_objects", **how)


def tagging(calls):
    """Tags of objects and of the bucket."""
    calls.do("", "set_object_tags", object_name="o", tags=tags())
    calls.do("", "get_object_tags", object_name="o")
    calls.do("", "delete_object_tags", object_name="o")
    calls.do(" after", "get_object_tags", object_name="o")
    bucket_tags = Tags.new_bucket_tags()
    bucket_tags["team"] = "blue"
    calls.do("", "set_bucket_tags", tags=bucket_tags)
    calls.do("", "get_bucket_tags")
    calls.do("", "delete_bucket_tags")
    calls.do(" after", "get_bucket_tags")


def configurations(calls):
    """The bucket's configurations."""
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/public/*"]}]}'
    for kind, verb, arguments in (
        ("policy", "bucket_policy", {"policy": policy % calls.bucket}),
        (
            "lifecycle",
            "bucket_lifecycle",
            {
                "config": LifecycleConfig(
                    [Rule(status=ENABLED, rule_filter=Filter(prefix="l/"), rule_id="r", expiration=Expiration(days=3))]
                )
            },
        ),
        ("encryption", "bucket_encryption", {"config": SSEConfig(SseRule.new_sse_s3_rule())}),
        ("cors", "bucket_cors", {}),
    ):
        if not hasattr(calls.client, f"get_{verb}"):
            continue
        calls.do(f" before {kind}", f"get_{verb}")
        calls.do("", f"set_{verb}", **arguments)
        calls.do("", f"get_{verb}")
        calls.do("", f"delete_{verb}")
        calls.do(f" after {kind}", f"get_{verb}")
    calls.do("", "get_bucket_notification")
    calls.do("", "delete_bucket_notification")
    calls.do("", "get_bucket_replication")
    calls.do("", "get_bucket_versioning")
    calls.do("", "set_bucket_versioning", config=VersioningConfig(ENABLED))
    calls.do(" enabled", "get_bucket_versioning")
    calls.do(" a version", "put_object", object_name="v", data=io.BytesIO(b"1"), length=1)
    calls.do(" again", "put_object", object_name="v", data=io.BytesIO(b"2"), length=1)
    calls.do(" all versions", "list_objects", prefix="v", include_version=True)
    calls.do("", "set_bucket_versioning", config=VersioningConfig(SUSPENDED))


def presigned(calls):
    """Its presigned URLs, fetched by another client, and its policy form."""
    client, bucket = calls.client, calls.bucket
    week = timedelta(days=7)
    put = client.presigned_put_object(bucket_name=bucket, object_name="p r e", expires=week)
    calls.report.call(
        "presigned_put_object", lambda: urlopen(Request(put, b"presigned", {"Content-Type": ""}, method="PUT")).status
    )
    get = client.presigned_get_object(
        bucket_name=bucket, object_name="p r e", extra_query_params={"response-content-type": "text/x"}
    )
    calls.report.call("presigned_get_object", lambda: urlopen(get).read())
    delete = client.get_presigned_url(method="DELETE", bucket_name=bucket, object_name="p r e")
    calls.report.call("get_presigned_url", lambda: urlopen(Request(delete, method="DELETE")).status)


def locks(calls):
    """A bucket with object lock."""
    calls.bucket += "-lock"
    until = datetime(2035, 1, 1, tzinfo=UTC)
    calls.do(" with lock", "make_bucket", object_lock=True)
    calls.do("", "get_object_lock_config")
    calls.do("", "set_object_lock_config", config=ObjectLockConfig(GOVERNANCE, 1, DAYS))
    calls.do(" after", "get_object_lock_config")
    calls.do(
        " retained",
        "put_object",
        object_name="r",
        data=io.BytesIO(b"x"),
        length=1,
        retention=Retention(GOVERNANCE, until),
        legal_hold=True,
    )
    calls.do("", "get_object_retention", object_name="r")
    calls.do("", "is_object_legal_hold_enabled", object_name="r")
    calls.do("", "disable_object_legal_hold", object_name="r")
    calls.do(" after", "is_object_legal_hold_enabled", object_name="r")
    calls.do("", "enable_object_legal_hold", object_name="r")
    calls.do("", "set_object_retention", object_name="r", config=Retention(GOVERNANCE, until + timedelta(days=1)))
    calls.do("", "delete_object_lock_config")
    calls.bucket = calls.bucket.removesuffix("-lock")


def main():
    """Make the calls."""
    calls = Calls()
    calls.do(" before", "bucket_exists")
    calls.do("", "make_bucket")
    calls.do(
        " again",
        "make_bucket",
    )
    calls.do("", "bucket_exists")
    calls.report.call("list_buckets", lambda: [b.name for b in calls.client.list_buckets() if b.name == calls.bucket])
    for chapter in (objects, listings, tagging, presigned, configurations, locks):
        chapter(calls)
    customer = SseCustomerKey(b"0123456789abcdef0123456789abcdef")
    calls.report.call(
        "put_object SSE-C",
        lambda: shown(
            calls.client.put_object(
                bucket_name=calls.bucket, object_name="c", data=io.BytesIO(b"x"), length=1, sse=customer
            )
        ),
    )
    query = SelectRequest("select * from S3Object", CSVInputSerialization(), CSVOutputSerialization())
    calls.report.call(
        "select_object_content",
        lambda: calls.client.select_object_content(bucket_name=calls.bucket, object_name="o", request=query).stats(),
    )
    calls.do("", "remove_object", object_name="copy")
    calls.do(" absent", "remove_object", object_name="copy")
    calls.do(" not empty", "remove_bucket")
    everything = [
        DeleteObject(o.object_name, o.version_id)
        for o in calls.client.list_objects(bucket_name=calls.bucket, recursive=True, include_version=True)
    ]
    calls.do("", "remove_objects", delete_object_list=everything)
    calls.do("", "remove_bucket")


if __name__ == "__main__":
    main()
