"""boto3 with nothing but the environment: each line on standard input is one call, answered by one line."""

from __future__ import annotations

import sys

import boto3

session = boto3.Session()
s3 = session.client("s3")
for _ in sys.stdin:
    s3.list_buckets()
    print(session.get_credentials().get_frozen_credentials().access_key, flush=True)
