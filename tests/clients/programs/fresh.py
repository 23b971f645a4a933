"""A fresh bucket for clients that make none themselves."""

from __future__ import annotations

from pyarrow import fs
from report import Place


def fresh_bucket(place: Place) -> None:
    """Make the bucket of this run."""
    s3 = fs.S3FileSystem(
        access_key=place.access_key, secret_key=place.secret_key, session_token=place.token or None, region="us-east-1",
        scheme="http", endpoint_override=place.host, allow_bucket_creation=True,
    )  # fmt: skip
    s3.create_dir(place.bucket)
