"""POST forms as clients make them: botocore signs the policy, the body is written out here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from botocore.auth import S3SigV4PostAuth
from botocore.awsrequest import AWSRequest

from gateway.s3.request import S3Request
from iam.model import Credentials
from tests.unit.gateway.signers import ANN, REGION, boto, epoch, read

BOUNDARY = "----form-7MA4YWxkTrZu0gW"


def multipart(
    fields: Iterable[tuple[str, str]], file: bytes | None = b"", *, filename: str = "f", boundary: str = BOUNDARY
) -> bytes:
    """Return a form's body; `file` None: without one."""
    parts = [f'Content-Disposition: form-data; name="{n}"\r\n\r\n{v}'.encode() for n, v in fields]
    if file is not None:
        parts.append(f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'.encode() + file)
    mark = boundary.encode()
    return b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + mark + b"--\r\n"


def signed_form(
    fields: Mapping[str, str], conditions: list | None = None, *, who: Credentials = ANN, bucket: str = "ann",
    lifetime: int = 60, policy: Mapping | None = None, region: str = REGION,
) -> tuple[dict[str, str], int]:  # fmt: skip
    """Return the fields with those that sign them, and the second at which it was done.

    Conditions: that every field is as it is, and the bucket; `conditions` replaces them, `policy` the whole document.
    """
    exact = [{"bucket": bucket}, *({name: value} for name, value in fields.items())]
    expiration = (datetime.now(UTC) + timedelta(seconds=lifetime)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "expiration": expiration,
        "conditions": exact if conditions is None else list(conditions),
        **(policy or {}),
    }
    request = AWSRequest("POST", "http://unused/")
    request.context["s3-presign-post-fields"] = dict(fields)
    request.context["s3-presign-post-policy"] = document
    S3SigV4PostAuth(boto(who), "s3", region).add_auth(request)
    found = request.context["s3-presign-post-fields"]
    return found, epoch(found["x-amz-date"])


def form_request(body: bytes, target: str = "/ann", boundary: str = BOUNDARY, **headers: str) -> S3Request:
    """Return the head of the POST that carries this body."""
    sent = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(len(body))}
    return read("POST", target, sent | {name.replace("_", "-"): value for name, value in headers.items()})


def policy_text(document: object) -> str:
    """Return a policy document as its field carries it."""
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.b64encode(text.encode()).decode()
