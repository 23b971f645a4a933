"""pyarrow's S3FileSystem (the AWS SDK for C++): files, streams, directories, and Parquet data sets."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs
from report import Report


def main():
    """Make the calls."""
    report = Report("pyarrow S3FileSystem", pa.__version__)
    place, call, bucket = report.place, report.call, report.place.bucket
    s3 = fs.S3FileSystem(
        access_key=place.access_key, secret_key=place.secret_key, session_token=place.token or None, region="us-east-1",
        scheme="http", endpoint_override=place.host, allow_bucket_creation=True, allow_bucket_deletion=True,
    )  # fmt: skip
    table = pa.table(
        {"day": [i % 3 for i in range(30_000)], "n": list(range(30_000)), "s": [f"row {i}" for i in range(30_000)]}
    )
    body = bytes(range(256)) * 4 * 11 * 1024

    def write(path, content, **how):
        with s3.open_output_stream(path, **how) as out:
            out.write(content)

    def read(path):
        with s3.open_input_stream(path) as source:
            return source.read()

    def info(found):
        return [[f.path, str(f.type), f.size] for f in found]

    call("create_dir bucket", lambda: s3.create_dir(bucket))
    call("create_dir", lambda: s3.create_dir(f"{bucket}/dir/sub", recursive=True))
    call("write", lambda: write(f"{bucket}/a b+c", b"small"))
    call("write big", lambda: write(f"{bucket}/dir/big", body))
    call("write with metadata", lambda: write(f"{bucket}/meta", b"x", metadata={"Content-Type": "text/x"}))
    call(
        "metadata",
        lambda: {k: v for k, v in s3.open_input_stream(f"{bucket}/meta").metadata().items() if k != "Last-Modified"},
    )
    call("read", lambda: read(f"{bucket}/a b+c"))
    call("read big", lambda: read(f"{bucket}/dir/big"))
    call("read at", lambda: s3.open_input_file(f"{bucket}/dir/big").read_at(10, 1000))
    call("read absent", lambda: read(f"{bucket}/absent"), fails="FileNotFoundError")
    call("get_file_info", lambda: info(s3.get_file_info([f"{bucket}/a b+c", f"{bucket}/dir", f"{bucket}/absent"])))
    call("list", lambda: sorted(info(s3.get_file_info(fs.FileSelector(bucket, recursive=True)))))
    call("copy_file", lambda: s3.copy_file(f"{bucket}/a b+c", f"{bucket}/copied"))
    call("move", lambda: s3.move(f"{bucket}/copied", f"{bucket}/moved"))
    call("write Parquet", lambda: pq.write_table(table, f"{bucket}/t.parquet", filesystem=s3, row_group_size=1000))
    call("read Parquet", lambda: pq.read_table(f"{bucket}/t.parquet", filesystem=s3).equals(table))
    call(
        "write data set",
        lambda: ds.write_dataset(
            table, f"{bucket}/set", filesystem=s3, format="parquet", partitioning=["day"], partitioning_flavor="hive"
        ),
    )
    call(
        "read data set",
        lambda: (
            ds.dataset(f"{bucket}/set", filesystem=s3, partitioning="hive")
            .to_table(filter=ds.field("day") == 1)
            .num_rows
        ),
    )
    call("count data set", lambda: ds.dataset(f"{bucket}/set", filesystem=s3, partitioning="hive").count_rows())
    call("delete_file", lambda: s3.delete_file(f"{bucket}/moved"))
    call("delete_dir_contents", lambda: s3.delete_dir_contents(f"{bucket}/set"))
    call("delete_dir", lambda: s3.delete_dir(f"{bucket}/dir"))
    call("list after", lambda: sorted(info(s3.get_file_info(fs.FileSelector(bucket, recursive=True)))))
    call("delete_dir bucket", lambda: s3.delete_dir(bucket))


if __name__ == "__main__":
    main()
