"""polars (Rust's object_store): Parquet, CSV, IPC and NDJSON written to S3, scanned lazily and read back."""

from __future__ import annotations

import polars as pl
from fresh import fresh_bucket
from report import Report


def main():
    """Make the calls."""
    report = Report("polars", pl.__version__)
    place, call, base = report.place, report.call, f"s3://{report.place.bucket}"
    options = {
        "aws_endpoint_url": place.endpoint, "aws_access_key_id": place.access_key, "aws_secret_access_key": place.secret_key,
        "aws_region": "us-east-1", "aws_allow_http": "true", "aws_virtual_hosted_style_request": "false",
    } | ({"aws_session_token": place.token} if place.token else {})  # fmt: skip
    fresh_bucket(place)
    frame = pl.DataFrame(
        {"day": [i % 3 for i in range(50_000)], "n": range(50_000), "s": [f"row {i}" for i in range(50_000)]}
    )
    how = {"storage_options": options}
    call("write_parquet", lambda: frame.write_parquet(f"{base}/t.parquet", **how))
    call("read_parquet", lambda: pl.read_parquet(f"{base}/t.parquet", **how).equals(frame))
    call(
        "scan_parquet",
        lambda: pl.scan_parquet(f"{base}/t.parquet", **how).filter(pl.col("n") > 49_990).select("s").collect().rows(),
    )
    call(
        "sink_parquet",
        lambda: (
            pl.scan_parquet(f"{base}/t.parquet", **how)
            .group_by("day")
            .len()
            .sort("day")
            .sink_parquet(f"{base}/a b+c.parquet", **how)
        ),
    )
    call("read what was sunk", lambda: pl.read_parquet(f"{base}/a b+c.parquet", **how).rows())
    call("write_csv", lambda: frame.write_csv(f"{base}/t.csv", **how))
    call("scan_csv", lambda: pl.scan_csv(f"{base}/t.csv", **how).select(pl.len(), pl.col("n").sum()).collect().rows())
    call("write_ipc", lambda: frame.write_ipc(f"{base}/t.arrow", **how))
    call("scan_ipc", lambda: pl.scan_ipc(f"{base}/t.arrow", **how).select(pl.col("n").max()).collect().rows())
    call("sink_ndjson", lambda: frame.lazy().sink_ndjson(f"{base}/t.ndjson", **how))
    call("scan_ndjson", lambda: pl.scan_ndjson(f"{base}/t.ndjson", **how).select(pl.len()).collect().rows())
    call(
        "partitioned sink",
        lambda: frame.lazy().sink_parquet(pl.PartitionBy(f"{base}/set/", key="day"), mkdir=True, **how),
    )
    call("scan by glob", lambda: pl.scan_parquet(f"{base}/set/**/*.parquet", **how).select(pl.len()).collect().rows())
    call("scan absent", lambda: pl.scan_parquet(f"{base}/absent.parquet", **how).collect(), fails="not found")


if __name__ == "__main__":
    main()
