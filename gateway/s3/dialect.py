"""What an operation may turn into at a store that does not know it, and which action that needs.

A store may ignore a sub-resource that it has never heard of and carry out what is left of the request: SeaweedFS takes
`DELETE /b?analytics` for DeleteBucket, `PUT /b?website` for CreateBucket, `GET /b/k?torrent` for GetObject. What was judged
would then not be what is done (traps 22 and 62, one step further on). So where the store is not Amazon's own, such an
operation needs the action of its plain twin too. A test (`tests/clients/test_dialect.py`) finds them at the real store.
"""

from __future__ import annotations

from gateway.s3.actions import Need, needs_of_delete
from gateway.s3.operations import Operation
from gateway.s3.request import S3Request

_BUCKET_TWINS = {"GET": "s3:ListBucket", "PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}

#: Sub-resources of a bucket that not every store knows: a GET lists the bucket there, a PUT makes it, a DELETE removes it.
_OF_A_BUCKET = frozenset({
    "abac", "accelerate", "analytics", "intelligent-tiering", "inventory", "logging", "metadataAnnotationTable",
    "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "notification",
    "publicAccessBlock", "replication", "requestPayment", "website",
})  # fmt: skip

#: Sub-resources of an object that not every store knows: what is left reads, writes or deletes the object.
_OF_AN_OBJECT = frozenset({"annotation", "encryption", "torrent"})


def twins(operation: Operation, request: S3Request) -> tuple[Need, ...]:
    """Return what the operation needs besides its own actions, where the store may take it for another one."""
    bucket, key, version = request.path.bucket, request.path.key, request.parameters.get("versionId", "")
    names = {name for name, _ in operation.static}
    if operation.level == "bucket" and names & _OF_A_BUCKET and operation.method in _BUCKET_TWINS:
        return (Need(_BUCKET_TWINS[operation.method], bucket),)
    if operation.level != "object" or not names & _OF_AN_OBJECT:
        return ()
    if operation.method == "DELETE":
        return (needs_of_delete(bucket, key, version),)
    if operation.method == "PUT":
        return (Need("s3:PutObject", bucket, key),)
    return (Need("s3:GetObjectVersion" if version else "s3:GetObject", bucket, key, version),)
