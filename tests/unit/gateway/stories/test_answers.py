"""answers: a client sees what S3 says of the object, and the gateway's own place instead of the backend's."""

from __future__ import annotations

import pytest

from gateway.s3.operations import resolve
from gateway.stories.answers import client_headers, edited, own_url, translation
from tests.unit.gateway.signers import read

GET = read("GET", "/bucket/a%20key")


def headers(*pairs: tuple[str, str], region: str = "") -> list[tuple[str, str]]:
    return list(client_headers(pairs, GET.path.bucket, region))


def test_headers_are_filtered():
    """What S3 says of an object crosses; tokens, cookies, hop-by-hop headers and the server's name do not."""
    shown = [("ETag", '"e"'), ("Content-Length", "3"), ("Content-Type", "a/b"), ("x-amz-meta-a", "1"), ("x-amz-version-id", "v"),
             ("Last-Modified", "d"), ("Content-Range", "r"), ("Retry-After", "3"), ("x-amz-id-2", "i"), ("Access-Control-Allow-Origin", "*")]  # fmt: skip
    hidden = [("Server", "s"), ("Set-Cookie", "c"), ("Connection", "close"), ("Transfer-Encoding", "chunked"), ("Date", "d"),
              ("x-amz-security-token", "t"), ("Upgrade", "h2c"),
              ("WWW-Authenticate", "w"), ("Location-Secret", "l"), ("Via", "v")]  # fmt: skip
    assert headers(*[pair for both in zip(hidden, shown, strict=False) for pair in both], *hidden) == shown


def test_the_backends_request_id_has_another_name():
    """Ours is x-amz-request-id; the backend's is kept beside it, for whoever must ask its operator."""
    assert headers(("X-Amz-Request-Id", "R")) == [("x-minio-gw-backend-request-id", "R")]


def test_a_location_names_no_backend():
    """CreateBucket's Location is the bucket's path, whatever host the store puts there."""
    assert headers(("Location", "http://10.0.0.7:8333/bucket")) == [("Location", "/bucket")]


@pytest.mark.parametrize(("region", "shown"), [("", "eu-west-1"), ("us-east-1", "us-east-1")])
def test_a_buckets_region_is_the_one_to_sign_for(region, shown):
    """A gateway with a region of its own says that one: the client will sign with what it is told."""
    assert headers(("x-amz-bucket-region", "eu-west-1"), region=region) == [("x-amz-bucket-region", shown)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("aws-chunked", None), ("gzip", "gzip"), ("aws-chunked,gzip", "gzip"), ("gzip, aws-chunked", "gzip"), ("", None)],
)
def test_trap_12_the_framing_of_an_upload_is_no_encoding_of_the_object(value, shown):
    """aws-chunked is taken out of Content-Encoding, and nothing else is."""
    assert dict(headers(("Content-Encoding", value))).get("Content-Encoding") == shown


def test_an_edited_document_keeps_no_digest():
    """What describes bytes that are gone goes with them."""
    kept = (("x-amz-id-2", "i"), ("x-amz-version-id", "v"))
    assert (
        edited((*kept, ("Content-Length", "1"), ("ETag", "e"), ("x-amz-checksum-crc32", "c"), ("Content-MD5", "m")))
        == kept
    )


def test_complete_multipart_upload_names_the_gateway():
    """Location is the URL under which the client uploads; an error document in a 200 crosses as it is."""
    request = read("POST", "/bucket/a%20key?uploadId=u", secure=True)
    edit = translation(resolve(request), request, "")
    body = b"<CompleteMultipartUploadResult><Location>http://store:1/b/k?a&amp;b</Location><Key>k</Key></CompleteMultipartUploadResult>"
    assert own_url(request) == "https://gw.example.test/bucket/a%20key"
    expected = b"<CompleteMultipartUploadResult><Location>https://gw.example.test/bucket/a%20key</Location><Key>k</Key>"
    assert edit(body).startswith(expected)
    assert edit(b"<Error><Code>InternalError</Code></Error>") == b"<Error><Code>InternalError</Code></Error>"


@pytest.mark.parametrize(("region", "element"), [("us-east-1", b'/">'), ("eu-west-1", b">eu-west-1<")])
def test_get_bucket_location_tells_the_gateways_region(region, element):
    """With a region of our own, that is where every bucket is; us-east-1 is S3's empty constraint."""
    request = read("GET", "/bucket?location")
    document = translation(resolve(request), request, region)(b"<LocationConstraint>ap-south-1</LocationConstraint>")
    assert (element in document) if region != "us-east-1" else (b'2006-03-01/"></LocationConstraint>' in document)
    assert b"ap-south-1" not in document
    assert translation(resolve(request), request, "") is None


def test_most_answers_cross_untouched():
    """Nothing is read whole that need not be."""
    assert translation(resolve(GET), GET, "us-east-1") is None
