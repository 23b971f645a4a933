"""s3fs: a file system's calls, on buckets, files, tags, metadata, versions and URLs."""

from __future__ import annotations

from urllib.request import urlopen

import s3fs
from report import Report

SEEN = ("name", "size", "type", "ETag", "StorageClass", "ContentType")


def main():
    """Make the calls."""
    report = Report("s3fs", s3fs.__version__)
    place, call, bucket = report.place, report.call, report.place.bucket
    fs = s3fs.S3FileSystem(
        key=place.access_key, secret=place.secret_key, token=place.token or None, endpoint_url=place.endpoint,
        client_kwargs={"region_name": "us-east-1"}, use_listings_cache=False, skip_instance_cache=True,
    )  # fmt: skip
    body = bytes(range(256)) * 4 * 11 * 1024

    def info(found):
        return {n: found.get(n) for n in SEEN}

    def write(path, content, **how):
        with fs.open(path, "wb", block_size=5 * 2**20, **how) as out:
            out.write(content)

    call("mkdir", lambda: fs.mkdir(bucket))
    call("exists", lambda: fs.exists(bucket))
    call("pipe", lambda: fs.pipe(f"{bucket}/a", b"small"))
    call("write in parts", lambda: write(f"{bucket}/dir/big", body))
    call("write with metadata", lambda: write(f"{bucket}/dir/meta", b"x", ContentType="text/x", Metadata={"a": "b"}))
    call("cat", lambda: fs.cat(f"{bucket}/dir/big"))
    call("cat many", lambda: fs.cat([f"{bucket}/a", f"{bucket}/dir/meta"]))
    call("cat range", lambda: fs.cat_file(f"{bucket}/dir/big", start=10, end=20))
    call("head", lambda: fs.head(f"{bucket}/dir/big", 5))
    call("tail", lambda: fs.tail(f"{bucket}/dir/big", 5))
    call("append", lambda: write_more(fs, f"{bucket}/dir/big"))
    call("size after append", lambda: fs.size(f"{bucket}/dir/big"))
    call("info", lambda: info(fs.info(f"{bucket}/dir/meta")))
    call("ls", lambda: [info(f) for f in fs.ls(bucket, detail=True)])
    call("find", lambda: fs.find(bucket))
    call("glob", lambda: fs.glob(f"{bucket}/**/m*"))
    call("walk", lambda: list(fs.walk(bucket)))
    call("du", lambda: fs.du(bucket))
    call("checksum", lambda: bool(fs.checksum(f"{bucket}/a")))
    call("cp", lambda: fs.copy(f"{bucket}/a", f"{bucket}/b"))
    call("cp managed", lambda: fs.copy(f"{bucket}/dir/big", f"{bucket}/dir/big2"))
    call("mv", lambda: fs.mv(f"{bucket}/b", f"{bucket}/c"))
    call("touch", lambda: fs.touch(f"{bucket}/touched"))
    call("isdir", lambda: [fs.isdir(f"{bucket}/dir"), fs.isfile(f"{bucket}/a"), fs.exists(f"{bucket}/none")])
    call("put_tags", lambda: fs.put_tags(f"{bucket}/a", {"k": "v w"}))
    call("get_tags", lambda: fs.get_tags(f"{bucket}/a"))
    call("metadata", lambda: fs.metadata(f"{bucket}/dir/meta"))
    call("setxattr", lambda: fs.setxattr(f"{bucket}/dir/meta", c="d"))
    call("getxattr", lambda: fs.getxattr(f"{bucket}/dir/meta", "c"))
    call("chmod", lambda: fs.chmod(f"{bucket}/a", "private"))
    call("sign as SigV2", lambda: urlopen(fs.sign(f"{bucket}/a", 60)).read())
    modern = s3fs.S3FileSystem(
        key=place.access_key, secret=place.secret_key, token=place.token or None, endpoint_url=place.endpoint,
        client_kwargs={"region_name": "us-east-1"}, config_kwargs={"signature_version": "s3v4"}, skip_instance_cache=True,
    )  # fmt: skip
    call("sign as SigV4", lambda: urlopen(modern.sign(f"{bucket}/a", 60)).read())
    call("get", lambda: fs.get(f"{bucket}/dir/", str(place.folder / "down") + "/", recursive=True))
    call("put", lambda: fs.put(str(place.folder / "down") + "/", f"{bucket}/up/", recursive=True))
    call("merge", lambda: fs.merge(f"{bucket}/merged", [f"{bucket}/dir/big", f"{bucket}/dir/big2"]))
    call("open absent", lambda: fs.cat(f"{bucket}/none"), fails="FileNotFoundError")
    call("list_multipart_uploads", lambda: fs.list_multipart_uploads(bucket))
    call("clear_multipart_uploads", lambda: fs.clear_multipart_uploads(bucket))
    call("make_bucket_versioned", lambda: fs.make_bucket_versioned(bucket, True))
    call("is_bucket_versioned", lambda: fs.is_bucket_versioned(bucket))
    aware = s3fs.S3FileSystem(
        key=place.access_key, secret=place.secret_key, token=place.token or None, endpoint_url=place.endpoint,
        client_kwargs={"region_name": "us-east-1"}, version_aware=True, skip_instance_cache=True,
    )  # fmt: skip
    call("pipe a version", lambda: aware.pipe(f"{bucket}/a", b"second"))
    call("object_version_info", lambda: len(aware.object_version_info(f"{bucket}/a")))
    call("cat a version", lambda: aware.cat(f"{bucket}/a"))
    call("rm", lambda: fs.rm(f"{bucket}/dir", recursive=True))
    call("rm all", lambda: fs.rm(bucket, recursive=True))


def write_more(fs, path):
    """Append to a file: s3fs copies what is there as a part."""
    with fs.open(path, "ab", block_size=5 * 2**20) as out:
        out.write(b"more")


if __name__ == "__main__":
    main()
