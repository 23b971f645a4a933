"""boto3: every operation of botocore's S3 service model, each with the least arguments that mean something."""

from __future__ import annotations

import boto3
from botocore.config import Config
from botocore.loaders import Loader
from model_arguments import least, of_operation
from report import Report

#: Calls that make or remove what the others need; they have their places at both ends.
_FRAME = ("CreateBucket", "DeleteBucket", "DeleteObject", "DeleteObjects", "AbortMultipartUpload")


def client(place, **config):
    """Return a boto3 client that does not try twice."""
    return boto3.client(
        "s3", endpoint_url=place.endpoint, region_name="us-east-1", aws_access_key_id=place.access_key,
        aws_secret_access_key=place.secret_key, aws_session_token=place.token or None,
        config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )  # fmt: skip


def drained(answer):
    """Read the streams of an answer into it."""
    for name, value in list(answer.items()):
        if hasattr(value, "read"):
            answer[name] = value.read()
        elif type(value).__name__ == "EventStream":
            answer[name] = list(value)
    return answer


def order(names):
    """Return the operations so that a sub-resource is asked for, put, asked for again, listed and deleted."""
    verbs = ["Head", "Get", "Put", "Create", "Upload", "Copy", "Update", "Restore", "Select", "List", "Complete"]

    def place(name):
        verb = next((v for v in [*verbs, "Delete"] if name.startswith(v)), "Write")
        return (
            name.removeprefix(verb).replace("Configurations", "Configuration"),
            [*verbs, "Delete", "Write"].index(verb),
        )

    return sorted((n for n in names if n not in _FRAME), key=place)


def main():
    """Make the calls."""
    report = Report("boto3: the service model", boto3.__version__)
    s3, bucket = client(report.place), report.place.bucket
    model = Loader().load_service_model("s3", "service-2")

    def made(operation, suffix="", **arguments):
        method = getattr(s3, _snake(operation))
        report.call(f"{operation}{suffix}", lambda: drained(method(**arguments)))

    made("HeadBucket", " before", Bucket=bucket)
    made("CreateBucket", Bucket=bucket, ObjectLockEnabledForBucket=False)
    made("CreateBucket", " again", Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"a,b\n1,2\n", Tagging="a=1")
    s3.put_object(Bucket=bucket, Key="annotated", Body=b"annotated")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    for operation in order(model["operations"]):
        arguments = of_operation(operation, least(model, operation), bucket=bucket, upload=upload)
        made(operation, **arguments)
        if operation.startswith(("Put", "Update")):
            reading = "Get" + operation.removeprefix("Put").removeprefix("Update")
            if reading in model["operations"]:
                made(reading, " after", **of_operation(reading, least(model, reading), bucket=bucket, upload=upload))
        if operation.startswith("Delete"):
            made(operation, " again", **arguments)
    made("AbortMultipartUpload", Bucket=bucket, Key="parts", UploadId=upload)
    made("AbortMultipartUpload", " again", Bucket=bucket, Key="parts", UploadId=upload)
    made("DeleteBucket", " not empty", Bucket=bucket)
    while found := s3.list_objects_v2(Bucket=bucket).get("Contents"):
        made("DeleteObjects", Bucket=bucket, Delete={"Objects": [{"Key": o["Key"]} for o in found]})
    made("DeleteObject", " absent", Bucket=bucket, Key="k")
    made("DeleteBucket", Bucket=bucket)
    made("DeleteBucket", " again", Bucket=bucket)


def _snake(name):
    from botocore import xform_name

    return xform_name(name)


if __name__ == "__main__":
    main()
