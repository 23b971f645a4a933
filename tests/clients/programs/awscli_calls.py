"""The aws cli: `aws s3` with its transfers, `aws s3api` with a call of each kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from report import Report
from s3cmd_calls import source, tree


def main():
    """Make the calls."""
    program = str(Path(sys.executable).parent / "aws")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[0]
    report = Report("aws cli", version.removeprefix("aws-cli/"))
    place, base = report.place, f"s3://{report.place.bucket}"
    files, back = source(place.folder / "from"), place.folder / "back"
    # Its presign is SigV2 unless told otherwise.
    (place.folder / "none").write_text(
        "[default]\ns3 =\n    signature_version = s3v4\n    multipart_chunksize = 5MB\n    multipart_threshold = 5MB\n"
    )

    def s3(name, *words, keep=lambda text: sorted(text.splitlines()), fails=""):
        return report.program(f"s3 {name}", program, "s3", *words, keep=keep, fails=fails)

    def api(operation, *words, name="", fails=""):
        called = f"s3api {operation}{name and ' '}{name}"
        how = ["--bucket", place.bucket, *words] if operation != "list-buckets" else list(words)
        return report.program(
            called, program, "s3api", operation, *how, keep=lambda t: json.loads(t) if t.strip() else "", fails=fails
        )

    quiet = "--only-show-errors"
    s3("mb", "mb", base)
    s3("cp", "cp", quiet, str(files / "with space"), f"{base}/with space")
    s3("cp in parts", "cp", quiet, str(files / "big"), f"{base}/big")
    s3(
        "cp with headers",
        "cp",
        quiet,
        "--metadata",
        "a=b",
        "--content-type",
        "text/x",
        "--cache-control",
        "no-store",
        str(files / "plain"),
        f"{base}/plain",
    )
    s3("cp from standard input", "cp", quiet, str(files / "plain"), f"{base}/stdin")
    s3("cp to standard output", "cp", f"{base}/plain", "-")
    s3("cp in the store", "cp", quiet, f"{base}/big", f"{base}/big copy")
    s3("cp CRC32", "cp", quiet, "--checksum-algorithm", "CRC32", str(files / "plain"), f"{base}/crc")
    s3("mv", "mv", quiet, f"{base}/big copy", f"{base}/big moved")
    s3("sync up", "sync", quiet, str(files), f"{base}/tree")
    s3("sync up again", "sync", str(files), f"{base}/tree")
    s3("sync down", "sync", quiet, f"{base}/tree", str(back), keep=lambda _: tree(back))
    s3(
        "ls",
        "ls",
        "--recursive",
        "--summarize",
        base,
        keep=lambda text: sorted(line[20:] for line in text.splitlines()),
    )
    s3("presign", "presign", f"{base}/plain", keep=lambda url: urlopen(url.strip()).read().decode())
    s3("cp absent", "cp", quiet, f"{base}/absent", str(place.folder / "absent"), fails="404")
    s3("website", "website", base, "--index-document", "index.html")
    api("head-bucket")
    api("get-bucket-location")
    api("list-buckets", "--prefix", place.bucket)
    api("put-object", "--key", "k", "--body", str(files / "plain"), "--tagging", "a=1")
    api(
        "put-object",
        "--key",
        "k",
        "--body",
        str(files / "plain"),
        "--if-none-match",
        "*",
        name="if none",
        fails="PreconditionFailed",
    )
    api("head-object", "--key", "k")
    api("get-object", "--key", "k", "--range", "bytes=0-2", str(place.folder / "k"))
    api("get-object", "--key", "absent", str(place.folder / "k"), name="absent", fails="NoSuchKey")
    api("get-object-attributes", "--key", "k", "--object-attributes", "ETag", "ObjectSize")
    api("get-object-acl", "--key", "k")
    api("get-object-tagging", "--key", "k")
    api("put-object-tagging", "--key", "k", "--tagging", "TagSet=[{Key=b,Value=c d}]")
    api("delete-object-tagging", "--key", "k")
    api("copy-object", "--key", "k2", "--copy-source", f"{place.bucket}/k")
    api("list-objects", "--prefix", "k")
    api("list-objects-v2", "--delimiter", "/")
    api("put-bucket-versioning", "--versioning-configuration", "Status=Enabled")
    api("get-bucket-versioning")
    api("put-bucket-tagging", "--tagging", "TagSet=[{Key=a,Value=b}]")
    api("get-bucket-tagging")
    api("put-bucket-cors", "--cors-configuration", '{"CORSRules":[{"AllowedMethods":["GET"],"AllowedOrigins":["*"]}]}')
    api("get-bucket-cors")
    api("get-bucket-policy", fails="NoSuchBucketPolicy")
    api(
        "put-bucket-lifecycle-configuration",
        "--lifecycle-configuration",
        '{"Rules":[{"ID":"a","Status":"Enabled","Filter":{"Prefix":"x/"},"Expiration":{"Days":3}}]}',
    )
    api("get-bucket-lifecycle-configuration")
    api("get-bucket-acl")
    upload = json.loads(
        subprocess.run(
            [program, "s3api", "create-multipart-upload", "--bucket", place.bucket, "--key", "p"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )["UploadId"]
    api("list-multipart-uploads", "--prefix", "p")
    api("upload-part", "--key", "p", "--upload-id", upload, "--part-number", "1", "--body", str(files / "plain"))
    api(
        "upload-part-copy",
        "--key",
        "p",
        "--upload-id",
        upload,
        "--part-number",
        "2",
        "--copy-source",
        f"{place.bucket}/k",
    )
    api("list-parts", "--key", "p", "--upload-id", upload)
    api("abort-multipart-upload", "--key", "p", "--upload-id", upload)
    api("delete-objects", "--delete", "Objects=[{Key=k},{Key=k2}],Quiet=false")
    api("list-object-versions", "--prefix", "k")
    s3("rb not empty", "rb", base, fails="BucketNotEmpty")
    s3("rm", "rm", quiet, "--recursive", base)


if __name__ == "__main__":
    main()
