"""Presigned URLs of every operation that has a presignable form, and plain HTTP with the signature in the header.

The URLs are botocore's; a plain HTTP client (http.client) sends them, so every header and byte of the answer is seen.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import xml.etree.ElementTree as ET
from urllib.parse import urlsplit

import boto3
from boto3_model import client
from boto3_objects import KEYS
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from report import Report

_INVENTED = re.compile(
    r"<(\w*(?:UploadId|VersionId|LastModified|CreationDate|Initiated|RequestId|HostId|ETag))>[^<]*</\1>"
)


class Refused(Exception):
    """An answer that is no success, as botocore would tell of it."""

    def __init__(self, status, code, headers):
        super().__init__(f"{status} {code}")
        self.response = {
            "Error": {"Code": code},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        }


class Http:
    """Sends requests as given and reports the answers."""

    def __init__(self, report):
        self.report, self.place = report, report.place
        self.keys = Credentials(self.place.access_key, self.place.secret_key, self.place.token or None)

    def send(self, name, method, url, body=None, headers=None):
        """Send one request; report status, headers and body."""
        return self.report.call(name, lambda: self.answer(method, url, body, headers or {}))

    def answer(self, method, url, body, headers):
        """Return status, headers and body of an answer."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers)
            answer = connection.getresponse()
            content, seen = answer.read(), {n.lower(): v for n, v in answer.getheaders()}
        finally:
            connection.close()
        if answer.status >= 300:
            raise Refused(answer.status, _code(content), seen)
        text = "xml" in seen.get("content-type", "")
        return {
            "status": answer.status,
            "headers": seen,
            "body": _INVENTED.sub(r"<\1/>", content.decode()) if text else content,
        }

    def presigned(self, method, path):
        """Return a URL for what botocore does not presign: operations whose body is a document."""
        request = AWSRequest(method, self.place.endpoint + path)
        S3SigV4QueryAuth(self.keys, "s3", "us-east-1", expires=300).add_auth(request)
        return request.prepare().url

    def signed(self, name, method, path, body=b"", headers=None, signs=True):
        """Send a request signed in its header."""
        request = AWSRequest(method, self.place.endpoint + path, data=body, headers=headers or {})
        if signs:
            S3SigV4Auth(self.keys, "s3", "us-east-1").add_auth(request)
        return self.send(name, method, self.place.endpoint + path, body, dict(request.headers.items()))


def _code(content):
    try:
        return ET.fromstring(content).findtext("Code") or ET.fromstring(content).findtext("{*}Code") or ""
    except ET.ParseError:
        return hashlib.sha256(content).hexdigest()[:8] if content else ""


def presigned(web, s3, bucket):
    """Presign and send: every method, with parameters, conditions, wrong methods, expiry and changes."""

    def url(operation, seconds=300, method=None, **arguments):
        return s3.generate_presigned_url(operation, {"Bucket": bucket, **arguments}, seconds, method)

    web.send("create bucket", "PUT", url("create_bucket"))
    # Before anything else: SeaweedFS keeps what it has read of a bucket's configuration for a while.
    rules = [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://*.example.test"], "ExposeHeaders": ["ETag"]}]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    web.send("head bucket", "HEAD", url("head_bucket"))
    for key in KEYS:
        if len(key) > 60 or not key:
            continue
        web.send(f"put {key!r}", "PUT", url("put_object", Key=key), b"x")
        web.send(f"head {key!r}", "HEAD", url("head_object", Key=key))
        web.send(f"get {key!r}", "GET", url("get_object", Key=key))
        web.send(f"delete {key!r}", "DELETE", url("delete_object", Key=key))
    typed = url("put_object", Key="k", ContentType="text/plain", Metadata={"a": "b"})
    web.send("put with signed headers", "PUT", typed, b"presigned", {"Content-Type": "text/plain", "x-amz-meta-a": "b"})
    web.send("put without its signed headers", "PUT", typed, b"presigned")
    web.send("get", "GET", url("get_object", Key="k"))
    web.send("get a range", "GET", url("get_object", Key="k"), None, {"Range": "bytes=0-2"})
    web.send("get if none", "GET", url("get_object", Key="k"), None, {"If-None-Match": "*"})
    web.send(
        "get overridden",
        "GET",
        url("get_object", Key="k", ResponseContentType="text/x", ResponseContentDisposition='a; f="ü +&"'),
    )
    web.send("get for a week", "GET", url("get_object", 604800, Key="k"))
    web.send("get for longer", "GET", url("get_object", 604801, Key="k"))
    web.send("wrong method", "DELETE", url("get_object", Key="k"))
    web.send("HEAD by a GET's URL", "HEAD", url("get_object", Key="k"))
    web.send("GET signed as HEAD", "GET", url("get_object", method="HEAD", Key="k"))
    web.send("other key", "GET", url("get_object", Key="k").replace("/k?", "/l?"))
    web.send("added parameter", "GET", url("get_object", Key="k") + "&versionId=null")
    web.send("cut signature", "GET", url("get_object", Key="k")[:-1])
    web.send("no signature", "GET", re.sub("&X-Amz-Signature=.*", "", url("get_object", Key="k")))
    web.send("list", "GET", url("list_objects_v2", Prefix="k", Delimiter="/"))
    web.send("list V1", "GET", url("list_objects", MaxKeys=1))
    web.send("location", "GET", url("get_bucket_location"))
    web.send(
        "copy", "PUT", url("copy_object", Key="c", CopySource=f"{bucket}/k"), b"", {"x-amz-copy-source": f"{bucket}/k"}
    )
    tagging = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    web.send("put tags", "PUT", web.presigned("PUT", f"/{bucket}/k?tagging"), tagging)
    web.send("get tags", "GET", url("get_object_tagging", Key="k"))
    web.send("delete tags", "DELETE", url("delete_object_tagging", Key="k"))
    started = web.send("start parts", "POST", url("create_multipart_upload", Key="p"))
    web.send("list uploads", "GET", url("list_multipart_uploads"))
    upload = s3.create_multipart_upload(Bucket=bucket, Key="p")["UploadId"] if started else "none"
    part = web.send("part", "PUT", url("upload_part", Key="p", UploadId=upload, PartNumber=1), b"part")
    web.send("list parts", "GET", url("list_parts", Key="p", UploadId=upload))
    etag = part["headers"]["etag"] if part else ""
    complete = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    )
    web.send("complete", "POST", url("complete_multipart_upload", Key="p", UploadId=upload), complete.encode())
    web.send("abort", "DELETE", url("abort_multipart_upload", Key="p", UploadId=upload))
    deletion = b"<Delete><Object><Key>c</Key></Object><Object><Key>p</Key></Object></Delete>"
    web.send(
        "delete many",
        "POST",
        web.presigned("POST", f"/{bucket}?delete"),
        deletion,
        {"Content-MD5": base64.b64encode(hashlib.md5(deletion).digest()).decode()},
    )
    policy = s3.generate_presigned_post(bucket, "form")
    web.report.call("presigned POST", lambda: form(web, policy))
    web.send("delete what the form made", "DELETE", url("delete_object", Key="form"))


def form(web, policy):
    """Send a browser's upload."""
    line = "--b\r\nContent-Disposition: form-data; name="
    fields = "".join(f'{line}"{n}"\r\n\r\n{v}\r\n' for n, v in policy["fields"].items())
    body = f'{fields}{line}"file"; filename="f"\r\nContent-Type: text/plain\r\n\r\nfrom a form\r\n--b--\r\n'
    return web.answer("POST", policy["url"], body.encode(), {"Content-Type": "multipart/form-data; boundary=b"})


def raw(web, bucket):
    """Requests that no SDK makes, signed in the header."""
    path = f"/{bucket}"
    web.signed("raw put", "PUT", f"{path}/r", b"raw")
    web.signed("raw get", "GET", f"{path}/r")
    web.signed("raw put if none", "PUT", f"{path}/r", b"raw", {"If-None-Match": "*"})
    web.signed("raw put with 100-continue", "PUT", f"{path}/r", b"raw", {"Expect": "100-continue"})
    web.signed("raw get unsigned", "GET", f"{path}/r", signs=False)
    web.signed("raw list unsigned", "GET", path, signs=False)
    for query in ("?list-type=2", "?list-type=2&prefix=r%2F", "?prefix=", "?uploads", "?uploads=", "?versions", "?location", "?acl", "?tagging",
                  "?cors", "?policy", "?lifecycle", "?nonsense", "?versioning", "?website", "?logging", "?replication", "?encryption",
                  "?object-lock", "?notification", "?requestPayment", "?accelerate", "?policyStatus", "?publicAccessBlock",
                  "?ownershipControls", "?metrics", "?analytics", "?inventory", "?intelligent-tiering"):  # fmt: skip
        web.signed(f"raw GET {query}", "GET", path + query)
    for query in ("?list-type=2", "?acl", "?policy", "?nonsense"):
        web.signed(f"raw HEAD {query}", "HEAD", path + query)
    for query in (
        "?acl",
        "?tagging",
        "?torrent",
        "?legal-hold",
        "?retention",
        "?attributes",
        "?nonsense",
        "?versionId=null",
        "?partNumber=1",
    ):
        web.signed(f"raw object GET {query}", "GET", f"{path}/r{query}")
    for method in ("PATCH", "TRACE", "OPTIONS", "POST", "GETT", "PROPFIND"):
        web.signed(f"raw {method}", method, f"{path}/r")
    web.signed("raw service list", "GET", f"/?prefix={bucket}")
    web.signed("raw service HEAD", "HEAD", "/")
    for origin in ("https://a.example.test", "https://elsewhere.test"):
        web.signed(
            f"raw preflight {origin}",
            "OPTIONS",
            f"{path}/r",
            b"",
            {"Origin": origin, "Access-Control-Request-Method": "GET"},
            signs=False,
        )
        web.signed(f"raw get with Origin {origin}", "GET", f"{path}/r", b"", {"Origin": origin})
    web.signed("raw delete", "DELETE", f"{path}/r")
    web.signed("raw delete bucket with slash", "DELETE", f"{path}/")


def main():
    """Make the calls."""
    report = Report("boto3: presigned URLs and plain HTTP", boto3.__version__)
    s3, bucket = client(report.place, signature_version="s3v4"), report.place.bucket
    web = Http(report)
    presigned(web, s3, bucket)
    raw(web, bucket)


if __name__ == "__main__":
    main()
