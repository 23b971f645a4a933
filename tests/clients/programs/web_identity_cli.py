"""The aws cli with nothing but the environment: each line on standard input is one call, answered by one line."""

from __future__ import annotations

import json
import subprocess
import sys

for _ in sys.stdin:
    subprocess.run([sys.executable, "-m", "awscli", "s3api", "list-buckets"], check=True, capture_output=True)
    found = subprocess.run(
        [sys.executable, "-m", "awscli", "sts", "get-caller-identity"], check=True, capture_output=True, text=True
    )
    print(json.loads(found.stdout)["UserId"].partition(":")[0], flush=True)
