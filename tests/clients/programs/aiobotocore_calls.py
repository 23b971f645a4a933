"""aiobotocore: objects, parts, listings, tags and copies, many at a time on one event loop."""

from __future__ import annotations

import asyncio

import aiobotocore
from aiobotocore.session import get_session
from report import Report


async def calls(report, s3, loop_call):
    """Make the calls."""
    bucket = report.place.bucket
    await loop_call("create_bucket", s3.create_bucket(Bucket=bucket))
    body = bytes(range(256)) * 4096

    async def one(number):
        await s3.put_object(Bucket=bucket, Key=f"many/{number}", Body=b"%d" % number)
        answer = await s3.get_object(Bucket=bucket, Key=f"many/{number}")
        async with answer["Body"] as stream:
            return await stream.read()

    await loop_call("64 puts and gets at once", asyncio.gather(*(one(i) for i in range(64))))
    await loop_call("put_object", s3.put_object(Bucket=bucket, Key="k", Body=body, Metadata={"a": "b"}))
    await loop_call("put_object CRC32C", s3.put_object(Bucket=bucket, Key="c", Body=body, ChecksumAlgorithm="CRC32C"))
    await loop_call("head_object", s3.head_object(Bucket=bucket, Key="k"))
    await loop_call("get_object", read(s3, bucket, Key="k"))
    await loop_call("get_object range", read(s3, bucket, Key="k", Range="bytes=5-9"))
    await loop_call("get_object absent", read(s3, bucket, Key="absent"))
    await loop_call("copy_object", s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k"))
    await loop_call(
        "put_object_tagging",
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
    )
    await loop_call("get_object_tagging", s3.get_object_tagging(Bucket=bucket, Key="k"))
    await loop_call("paginator", pages(s3, bucket))
    upload = (await s3.create_multipart_upload(Bucket=bucket, Key="parts"))["UploadId"]
    how = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    sizes = [5 * 2**20, 5 * 2**20, 3]
    parts = await asyncio.gather(
        *(s3.upload_part(PartNumber=n + 1, Body=b"p" * size, **how) for n, size in enumerate(sizes))
    )
    done = {"Parts": [{"PartNumber": n + 1, "ETag": part["ETag"]} for n, part in enumerate(parts)]}
    await loop_call("list_parts", s3.list_parts(**how))
    await loop_call("complete_multipart_upload", s3.complete_multipart_upload(MultipartUpload=done, **how))
    await loop_call("get_object parts", read(s3, bucket, Key="parts"))
    waiter = s3.get_waiter("object_exists")
    await loop_call("waiter", waiter.wait(Bucket=bucket, Key="parts"))
    keys = [{"Key": f"many/{i}"} for i in range(64)] + [{"Key": k} for k in ("k", "c", "copy", "parts")]
    await loop_call("delete_objects", s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True}))
    await loop_call("delete_bucket", s3.delete_bucket(Bucket=bucket))


async def read(s3, bucket, **arguments):
    """Return an object's bytes."""
    answer = await s3.get_object(Bucket=bucket, **arguments)
    async with answer["Body"] as stream:
        return await stream.read()


async def pages(s3, bucket):
    """Return every key, by pages of ten."""
    found = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 10})
    return [[o["Key"] for o in page["Contents"]] async for page in found]


async def main():
    """Make the calls."""
    report = Report("aiobotocore", aiobotocore.__version__)

    async def loop_call(name, awaitable):
        try:
            value = await awaitable
        except Exception as error:
            failed = error
            return report.call(name, lambda: (_ for _ in ()).throw(failed))
        return report.call(name, lambda: value)

    async with get_session().create_client("s3", region_name="us-east-1", endpoint_url=report.place.endpoint) as s3:
        await calls(report, s3, loop_call)


if __name__ == "__main__":
    asyncio.run(main())
