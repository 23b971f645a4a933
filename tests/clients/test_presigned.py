"""Presigned URLs: every method, with temporary credentials, up to seven days and never past the session's end."""

from __future__ import annotations

import datetime
import re
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.errors import AccessDenied, ExpiredToken, S3Error
from gateway.s3.authenticate import authenticate
from gateway.s3.request import parse
from gateway.settings.config import load
from gateway.signing.sigv4 import SigningKeys
from gateway.turns.identities import Identities, Rights
from sts.sessions import mint
from tests.clients.payloads import Side, exchange
from tests.servers.iam import a_keyring
from tests.servers.processes import ROOT_PASSWORD, ROOT_USER
from tests.unit.gateway.turns.test_identities import Watching

BODY = b"presigned body"
SIGNED_AT = 1_900_000_000
MOMENT = datetime.datetime.fromtimestamp(SIGNED_AT, datetime.UTC)
WEEK = 7 * 24 * 3600


@pytest.fixture(params=["through", "store"])
def client(request, s3, direct):
    """A boto3 client that presigns: with temporary credentials through the gateway, and the store's own beside it."""
    return s3 if request.param == "through" else direct


@pytest.fixture
def bucket(direct):
    """A bucket, emptied and removed afterwards."""
    name = f"presigned-{uuid.uuid4().hex[:10]}"
    direct.create_bucket(Bucket=name)
    yield name
    for found in direct.list_objects_v2(Bucket=name).get("Contents", []):
        direct.delete_object(Bucket=name, Key=found["Key"])
    direct.delete_bucket(Bucket=name)


def follow(url: str, method: str, body: bytes = b"", **headers: str):
    """Use a URL as anybody would: with no credentials of one's own."""
    parts = urlsplit(url)
    anybody = Side(f"{parts.scheme}://{parts.netloc}", Credentials("nobody", "nothing"))
    return exchange(anybody, method, f"{parts.path}?{parts.query}", headers, body)


def test_objects_by_url(client, bucket):
    """PUT, GET, HEAD and DELETE by URL do what the calls do; with ranges and overrides, too."""

    def url(operation: str, **more) -> str:
        return client.generate_presigned_url(operation, {"Bucket": bucket, "Key": "a b+c/é", **more}, ExpiresIn=WEEK)

    assert follow(url("put_object"), "PUT", BODY).status == 200
    got = follow(url("get_object"), "GET")
    assert (got.status, got.body) == (200, BODY)
    assert follow(url("get_object"), "GET", Range="bytes=0-2").body == BODY[:3]
    assert follow(url("get_object", ResponseContentType="text/x-a"), "GET").headers["content-type"] == "text/x-a"
    head = follow(url("head_object"), "HEAD")
    assert (head.status, head.headers["content-length"]) == (200, str(len(BODY)))
    assert follow(url("get_object"), "DELETE").status == 403
    assert follow(url("delete_object"), "DELETE").status == 204
    assert follow(url("get_object"), "GET").code == "NoSuchKey"


def test_a_multipart_upload_by_url(client, bucket):
    """POST ?uploads, PUT of a part, GET of the parts, POST ?uploadId and DELETE ?uploadId work by URL."""

    def url(operation: str, **more) -> str:
        return client.generate_presigned_url(operation, {"Bucket": bucket, "Key": "parts", **more}, ExpiresIn=WEEK)

    def start() -> str:
        answer = follow(url("create_multipart_upload"), "POST")
        assert answer.status == 200
        return re.search(rb"<UploadId>(.*?)</UploadId>", answer.body)[1].decode()

    upload = start()
    part = follow(url("upload_part", UploadId=upload, PartNumber=1), "PUT", BODY)
    assert part.status == 200
    assert b"<PartNumber>1</PartNumber>" in follow(url("list_parts", UploadId=upload), "GET").body
    etag = part.headers["etag"].strip('"')
    document = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    )
    done = follow(url("complete_multipart_upload", UploadId=upload), "POST", document.encode())
    assert (done.status, b"CompleteMultipartUploadResult" in done.body) == (200, True)
    assert follow(url("get_object"), "GET").body == BODY
    assert follow(url("abort_multipart_upload", UploadId=start()), "DELETE").status == 204


def test_buckets_by_url(client, bucket):
    """Listings and bucket calls work by URL, too."""
    listing = follow(client.generate_presigned_url("list_objects_v2", {"Bucket": bucket, "Prefix": "a/b"}), "GET")
    assert (listing.status, b"<ListBucketResult" in listing.body) == (200, True)
    assert follow(client.generate_presigned_url("head_bucket", {"Bucket": bucket}), "HEAD").status == 200
    assert bucket.encode() in follow(client.generate_presigned_url("list_buckets", {}), "GET").body


def test_a_url_longer_than_a_week_is_refused(s3, bucket):
    """Seven days are the most that AWS knows; a longer URL is refused as AWS refuses it."""
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=WEEK + 1)
    answer = follow(url, "GET")
    assert (answer.status, answer.code) == (400, "AuthorizationQueryParametersError")


class World:
    """Identities and a clock of the test's own: nothing sleeps here."""

    def __init__(self) -> None:
        environ = {"MINIO_ROOT_USER": ROOT_USER, "MINIO_ROOT_PASSWORD": ROOT_PASSWORD}
        config = load("gateway", {}, "http://127.0.0.1:1", environ, Path.read_text, lambda _: ())
        self.keyring = a_keyring("of this test")
        self.now = 0
        rights = Rights(config.root.access_key_id, {})
        self.lookup = Identities(
            config.root, Watching(), lambda: self.keyring, rights, lambda: self.now, stale_limit=900.0
        ).lookup
        self.keys = SigningKeys()

    def outcome(self, url: str, method: str, now: int) -> type[S3Error] | None:
        """Return how a URL fares at a moment: None when it is good."""
        self.now = now
        parts = urlsplit(url)
        request = parse(method, f"{parts.path}?{parts.query}", [("Host", parts.netloc)], source_ip="192.0.2.1")
        try:
            authenticate(request, self.lookup, self.keys, now=now)
        except S3Error as error:
            return type(error)
        return None


@pytest.fixture(scope="module")
def world():
    return World()


def presign(keys: Credentials, method: str, target: str, expires: int) -> str:
    """Return a URL that botocore presigns at SIGNED_AT."""
    request = AWSRequest(method, f"http://gw.example.test{target}")
    signer = S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=expires)
    original = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *_, **__: MOMENT
    try:
        signer.add_auth(request)
    finally:
        botocore.auth.get_current_datetime = original
    return request.url


CALLS = [("GET", "/bkt/k"), ("HEAD", "/bkt/k"), ("PUT", "/bkt/k"), ("DELETE", "/bkt/k"), ("POST", "/bkt/k?uploads="),
         ("POST", "/bkt/k?uploadId=u"), ("GET", "/bkt?list-type=2")]  # fmt: skip


@pytest.mark.parametrize(("method", "target"), CALLS)
def test_a_url_ends_with_its_session(world, method, target):
    """A URL for seven days from a session of one hour is good until the session's end and refused from then on."""
    minted = mint(world.keyring, {"policy": "readwrite"}, access_key_id="A" * 20, expires_at=SIGNED_AT + 3600)
    keys = Credentials(minted.access_key_id, minted.secret.reveal(), minted.session_token.reveal())
    url = presign(keys, method, target, WEEK)
    assert world.outcome(url, method, SIGNED_AT) is None
    assert world.outcome(url, method, SIGNED_AT + 3599) is None
    assert world.outcome(url, method, SIGNED_AT + 3600) is ExpiredToken
    assert world.outcome(url, method, SIGNED_AT + WEEK - 1) is ExpiredToken
    # The session's end is not taken from a cache either: another process opens the token for the first time.
    assert World().outcome(url, method, SIGNED_AT + 3600) is ExpiredToken


@pytest.mark.parametrize(("method", "target"), CALLS)
def test_a_url_ends_with_its_own_time(world, method, target):
    """A URL ends when it says so: after a minute from a session of an hour, after seven days from the root account."""
    minted = mint(world.keyring, {"policy": "readwrite"}, access_key_id="B" * 20, expires_at=SIGNED_AT + 3600)
    session = Credentials(minted.access_key_id, minted.secret.reveal(), minted.session_token.reveal())
    for keys, expires in ((session, 60), (Credentials(ROOT_USER, ROOT_PASSWORD), WEEK)):
        url = presign(keys, method, target, expires)
        assert world.outcome(url, method, SIGNED_AT + expires) is None
        assert world.outcome(url, method, SIGNED_AT + expires + 1) is AccessDenied
        assert world.outcome(url, method, SIGNED_AT - 901) is AccessDenied


def test_a_url_without_its_token_is_no_url(world):
    """The token takes part in the signature: taken out, or another session's put in, the URL is refused (trap 50)."""
    one, other = (
        mint(world.keyring, {"policy": "p"}, access_key_id=letter * 20, expires_at=SIGNED_AT + 3600) for letter in "CD"
    )
    keys = Credentials(one.access_key_id, one.secret.reveal(), one.session_token.reveal())
    url = presign(keys, "GET", "/bkt/k", 60)
    assert world.outcome(url, "GET", SIGNED_AT) is None
    without = re.sub(r"&X-Amz-Security-Token=[^&]*", "", url)
    assert without != url
    assert world.outcome(without, "GET", SIGNED_AT) is not None
    swapped = url.replace(one.session_token.reveal(), other.session_token.reveal())
    assert swapped != url
    assert world.outcome(swapped, "GET", SIGNED_AT) is not None
    # A token outside the signature, as some clients of the old signature sent it, is not seen as one.
    loose = without + "&x-amz-security-token=" + one.session_token.reveal()
    assert world.outcome(loose, "GET", SIGNED_AT) is not None
