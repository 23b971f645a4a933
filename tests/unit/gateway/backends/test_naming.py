"""naming: a place is applied and undone without a trace; nothing asked for or shown is outside of it."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.backends.naming import applied, untold
from gateway.backends.places import Place
from gateway.backends.seal import Seal
from gateway.errors import InternalError, InvalidArgument, InvalidRequest, KeyTooLongError, S3Error
from gateway.s3 import xml
from gateway.s3.actions import copy_source
from gateway.s3.authenticate import authenticate
from gateway.s3.operations import resolve, table
from gateway.s3.request import parse
from gateway.s3.xml import DeleteEntry, parse_delete, render_delete
from gateway.signing.sigv4 import SigningKeys
from gateway.stories.forward import Target, build
from gateway.stories.plans import Forward
from iam.model import Secret
from tests.unit.gateway.signers import ROOT, epoch, lookup, presigned, sign, signed

SEAL = Seal(Secret("root-secret"))
TEAM = Place("b", "real-store", "teams/team-a/")
RENAMED = Place("b", "real-store")
PLAIN = Place("b", "bkt")
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
AWKWARD = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40),
    st.lists(
        st.sampled_from(["/", "//", "\\", ".", "..", "%2F", "%", "+", " ", "?", "#", "&", "teams/team-a/", "ü", "a"]), min_size=1, max_size=6
    ).map("".join),
)  # fmt: skip


def plan_of(method: str, target: str, headers=None, **how) -> Forward:
    """Return the plan of a signed request, as the story makes it."""
    request, now = signed(method, target, headers, **how)
    return Forward(request, resolve(request), authenticate(request, lookup, SigningKeys(), now=now))


def sent(plan: Forward, virtual_host: bool = False):
    """Return the request as it leaves for the backend."""
    target = Target("store.test", "us-east-1", secure=False, virtual_host=virtual_host)
    return build(
        plan.request, plan.operation, plan.caller, target=target, credentials=ROOT, keys=SigningKeys(), now=0, body=plan.body,
    )  # fmt: skip


def dotted(key: str) -> bool:
    return not {".", ".."}.isdisjoint(key.replace("\\", "/").split("/"))


def xmlable(key: str) -> bool:
    return all(c in "\t\n" or c >= " " for c in key) and not {"￾", "￿"} & set(key)


@given(AWKWARD, st.booleans(), st.booleans())
def test_no_request_path_leaves_the_prefix(key, virtual_host, hosted):
    """Every key goes out behind the prefix, decodes to prefix and key, and could not be walked out of; or it is refused."""
    assume(len(key.encode()) < 1000)
    target = f"/{quote(key, safe='')}" if hosted else f"/bkt/{quote(key, safe='/')}"
    headers = sign("GET", target, host="bkt.gw.test" if hosted else "gw.test")
    request = parse("GET", target, headers.items(), domains=("gw.test",), source_ip="192.0.2.7")
    now = epoch(headers["X-Amz-Date"])
    plan = Forward(request, resolve(request), authenticate(request, lookup, SigningKeys(), now=now))
    assert request.path.key == key
    if dotted(key):
        with pytest.raises(InvalidRequest):
            applied(plan, TEAM, None, SEAL)
        return
    there = applied(plan, TEAM, None, SEAL)
    url = urlsplit(sent(there, virtual_host).url)
    path = url.path if virtual_host else url.path.removeprefix("/real-store")
    assert url.netloc == ("real-store.store.test" if virtual_host else "store.test")
    assert path.startswith("/teams/team-a/")
    assert unquote(path) == f"/teams/team-a/{key}"
    assert dotted(unquote(path)) is False
    assert there.request.path.key == TEAM.prefix + key
    assert there.caller.principal == plan.caller.principal


@given(AWKWARD)
def test_a_renamed_bucket_changes_nothing_of_the_key(key):
    """Without a prefix the path is the signed one, with another bucket."""
    plan = plan_of("PUT", f"/bkt/{quote(key, safe='/')}")
    here, there = sent(plan).url, sent(applied(plan, RENAMED, None, SEAL)).url
    assert there == here.replace("http://store.test/bkt/", "http://store.test/real-store/", 1)


def test_a_plain_place_costs_nothing():
    """Where nothing is renamed the plan is the same object, its answers untouched."""
    plan = plan_of("GET", "/bkt/k")
    assert applied(plan, PLAIN, None, SEAL) is plan


@given(AWKWARD, st.sampled_from(["", "list-type=2", "versions=", "uploads="]), st.sampled_from(["prefix", "marker"]))
def test_listings_are_asked_for_behind_the_prefix_only(text, kind, which):
    """Whatever prefix or marker a client names, ../ and the like too, the backend is asked for the place's own, by text alone."""
    name = {"marker": {"": "marker", "list-type=2": "start-after"}.get(kind, "key-marker")}.get(which, which)
    plan = plan_of("GET", f"/bkt?{kind}&{name}={quote(text, safe='')}".replace("?&", "?"))
    query = dict(parse_qsl(urlsplit(sent(applied(plan, TEAM, None, SEAL)).url).query, keep_blank_values=True))
    assert query["prefix"].startswith(TEAM.prefix)
    assert query[name] == TEAM.prefix + text
    assert dict(plan.request.query)[name] == text


@pytest.mark.parametrize("kind", ["", "list-type=2", "versions=", "uploads="])
def test_a_listing_without_a_prefix_gets_the_places(kind):
    """No prefix, and an empty one, are the place's own; an empty marker stays empty."""
    for more in ("", "&prefix=", "&marker=" if not kind else "&encoding-type=url"):
        plan = plan_of("GET", f"/bkt?{kind}{more}".replace("?&", "?").rstrip("?"))
        query = dict(parse_qsl(urlsplit(sent(applied(plan, TEAM, None, SEAL)).url).query, keep_blank_values=True))
        assert query["prefix"] == TEAM.prefix
        assert query.get("marker", "") == ""


LISTINGS = {
    "": ("ListBucketResult", "Name", "Contents"),
    "list-type=2": ("ListBucketResult", "Name", "Contents"),
    "versions=": ("ListVersionsResult", "Name", "Version"),
    "uploads=": ("ListMultipartUploadsResult", "Bucket", "Upload"),
}


def listing(kind: str, keys, encode=None, prefix: str = TEAM.prefix, more: str = "") -> bytes:
    """Return a listing as a backend writes it; `encode` is its way of encoding-type=url."""
    root, bucket, entry = LISTINGS[kind]
    written = [escape((encode or str)(prefix + key), {"\r": "&#13;"}) for key in keys]
    entries = "".join(f"<{entry}><Key>{text}</Key><Size>1</Size></{entry}>" for text in written)
    shared = "".join(f"<CommonPrefixes><Prefix>{text}</Prefix></CommonPrefixes>" for text in written)
    kind_of = "<EncodingType>url</EncodingType>" if encode else ""
    body = f"<{bucket}>real-store</{bucket}><Prefix>{prefix}</Prefix>{kind_of}{entries}{shared}{more}"
    return f'<?xml version="1.0"?><{root} xmlns="{NAMESPACE}">{body}</{root}>'.encode()


def leaves(body: bytes, name: str) -> list[str]:
    return [e.text or "" for e in ET.fromstring(body).iter(f"{{{NAMESPACE}}}{name}")]


@pytest.mark.parametrize(
    "encode", [None, quote, quote_plus, lambda text: quote(text, safe="/+-._*")], ids=["raw", "/", "%2F", "go"]
)
@given(kind=st.sampled_from(list(LISTINGS)), keys=st.lists(AWKWARD, max_size=5))
def test_applying_and_undoing_is_the_identity(encode, kind, keys):
    """A key that went out behind the prefix comes back as it was, in whichever way the backend encodes it."""
    keys = keys if encode else [key for key in keys if xmlable(key)]
    plan = applied(plan_of("GET", f"/bkt?{kind}".rstrip("?")), TEAM, None, SEAL)
    body = plan.edit(listing(kind, keys, encode))
    assert leaves(body, "Key") == [encode(key) if encode else key for key in keys]
    assert leaves(body, "Prefix") == ["", *leaves(body, "Key")]
    assert leaves(body, LISTINGS[kind][1]) == ["bkt"]
    assert b"real-store" not in body


@pytest.mark.parametrize("kind", LISTINGS)
@pytest.mark.parametrize("outside", ["secret", "teams/team-ab", "teams/team-a", "/teams/team-a/x", "Teams/team-a/x", "teams%2Fteam-a/x"])  # fmt: skip
def test_a_listing_that_leaves_the_prefix_is_not_shown(kind, outside):
    """A backend that names a key outside of the prefix is in error, and nothing of its answer is shown."""
    plan = applied(plan_of("GET", f"/bkt?{kind}".rstrip("?")), TEAM, None, SEAL)
    with pytest.raises(InternalError):
        plan.edit(listing(kind, [outside], prefix=""))


@pytest.mark.parametrize("body", [b"", b"<html/>", b"<ListBucketResult>", b"<!DOCTYPE x><ListBucketResult/>"])
def test_an_answer_that_is_no_listing_is_an_error_of_the_backend(body):
    """What cannot be understood cannot be undone, and is not shown."""
    with pytest.raises(InternalError):
        applied(plan_of("GET", "/bkt"), TEAM, None, SEAL).edit(body)


def test_the_prefix_itself_is_no_key_here():
    """A folder object of the prefix's own name would be an empty key: it is left out, and not counted."""
    plan = applied(plan_of("GET", "/bkt?list-type=2"), TEAM, None, SEAL)
    body = plan.edit(listing("list-type=2", ["", "k"], more="<KeyCount>4</KeyCount>"))
    assert leaves(body, "Key") == ["k"]
    assert leaves(body, "KeyCount") == ["2"]


def test_tokens_are_sealed_both_ways():
    """A backend's token that tells the prefix crosses sealed; it opens for its bucket, and any other is refused."""
    first = applied(plan_of("GET", "/bkt?list-type=2"), TEAM, None, SEAL)
    body = first.edit(listing("list-type=2", [], more="<NextContinuationToken>teams/team-a/k</NextContinuationToken>"))
    token = leaves(body, "NextContinuationToken")[0]
    assert "team" not in token
    second = applied(plan_of("GET", f"/bkt?list-type=2&continuation-token={quote(token, safe='')}"), TEAM, None, SEAL)
    assert dict(second.request.query)["continuation-token"] == "teams/team-a/k"
    echo = second.edit(listing("list-type=2", [], more="<ContinuationToken>teams/team-a/k</ContinuationToken>"))
    assert leaves(echo, "ContinuationToken") == [token]
    for wrong in ("teams/team-b/k", SEAL.close("teams/team-b/k", "other")):
        with pytest.raises(InvalidArgument):
            applied(plan_of("GET", f"/bkt?list-type=2&continuation-token={quote(wrong, safe='')}"), TEAM, None, SEAL)


@given(st.lists(AWKWARD.filter(lambda key: xmlable(key) and not dotted(key)), min_size=1, max_size=5))
def test_deletions_are_named_there_and_reported_here(keys):
    """The document for the backend names the keys behind the prefix; its report is in the client's names, errors too."""
    document = render_delete(tuple(DeleteEntry(key, "v1") for key in keys), quiet=False)
    there = applied(plan_of("POST", "/bkt?delete=")._replace(body=document), TEAM, None, SEAL)
    entries, _ = parse_delete(sent(there).body)
    assert [(e.key, e.version) for e in entries] == [(TEAM.prefix + key, "v1") for key in keys]
    result = "".join(f"<Deleted><Key>{escape(e.key, {chr(13): '&#13;'})}</Key></Deleted>" for e in entries)
    error = f"<Error><Key>{TEAM.prefix}k</Key><Code>AccessDenied</Code><Message>real-store says no</Message></Error>"
    body = there.edit(f'<DeleteResult xmlns="{NAMESPACE}">{result}{error}</DeleteResult>'.encode())
    assert leaves(body, "Key") == [*keys, "k"]
    assert b"real-store" not in body


@pytest.mark.parametrize("key", ["..", "a/../../b", ".", "a/.", "x" * 1020])
def test_deletions_outside_are_refused_before_anything_is_sent(key):
    """One such key refuses the whole call."""
    plan = plan_of("POST", "/bkt?delete=")._replace(
        body=render_delete((DeleteEntry("good"), DeleteEntry(key)), quiet=True)
    )
    with pytest.raises((InvalidRequest, KeyTooLongError)):
        applied(plan, TEAM, None, SEAL)


@pytest.mark.parametrize("length", [1024 - len(TEAM.prefix), 1025 - len(TEAM.prefix)])
def test_the_prefix_counts_for_the_length_of_a_key(length):
    """A key that would be longer than 1,024 bytes at the backend is refused as too long."""
    plan = plan_of("GET", "/bkt/" + "k" * length)
    if length + len(TEAM.prefix) <= 1024:
        assert applied(plan, TEAM, None, SEAL).request.path.key.endswith("k" * length)
    else:
        with pytest.raises(KeyTooLongError):
            applied(plan, TEAM, None, SEAL)


@given(
    AWKWARD.filter(lambda key: not dotted(key)),
    st.sampled_from([TEAM, RENAMED, Place("b", "src")]),
    st.sampled_from([TEAM, PLAIN]),
)
def test_a_copys_source_is_named_there(key, source, place):
    """The source in the backend's names is written once, whatever stands in its key; so is the destination."""
    headers = {"x-amz-copy-source": f"/src/{quote(key, safe='/')}?versionId=v%2F1"}
    upstream = sent(applied(plan_of("PUT", "/bkt/to", headers), place, source, SEAL))
    found = copy_source(upstream.headers["x-amz-copy-source"])
    assert (found.bucket, found.key, found.version) == (source.bucket, source.prefix + key, "v/1")
    assert urlsplit(upstream.url).path == f"/{place.bucket}/{place.prefix}to"


ERROR = (
    "<Error><Code>NoSuchKey</Code><Message>no real-store/teams/team-a/k</Message><Key>teams/team-a/k</Key><BucketName>real-store"
    "</BucketName><Resource>/real-store/teams/team-a/k</Resource><StringToSign>/real-store/teams/team-a/k</StringToSign>"
    "<CanonicalRequestBytes>2f 72 65 61 6c</CanonicalRequestBytes><Endpoint>real-store.s3.test</Endpoint><RequestId>R</RequestId></Error>"
)


@pytest.mark.parametrize("place", [TEAM, RENAMED])
@pytest.mark.parametrize(
    "body", [ERROR, f"<?xml version='1.0'?>\n{ERROR}", "<html>real-store teams/team-a/</html>", "real-store", "{}"]
)
def test_an_error_tells_nothing_of_the_place(place, body):
    """Names become the gateway's; what is not known to be harmless is left out, and what is no error is written anew."""
    plan = applied(plan_of("GET", "/bkt/k"), place, None, SEAL)
    mended = plan.mend(404, body.encode())
    for told in (b"real", b"team", b"72 65", b"StringToSign"):
        assert told not in mended
    document = xml.document(mended, "Error")
    found = {child.tag: child.text for child in document}
    assert found["Code"] == "NoSuchKey"
    if "<Error>" in body:
        assert (found["Key"], found["BucketName"], found["Resource"]) == ("k", "bkt", "/bkt/k")
        assert found["RequestId"] == "R"


def test_a_message_that_tells_nothing_is_kept():
    """A backend's own words reach the client where they name neither bucket nor prefix; no body stays no body."""
    plan = applied(plan_of("GET", "/bkt/k%01"), TEAM, None, SEAL)
    assert b"<Message>Try &lt;later&gt;</Message>" in plan.mend(
        503, b"<Error><Code>X</Code><Message>Try &lt;later&gt;</Message></Error>"
    )
    assert plan.mend(404, b"") == b""
    assert xml.document(plan.mend(404, b"<Error><Key>x</Key></Error>"), "Error")[0].text == "k�"


@pytest.mark.parametrize(
    ("target", "root"),
    [("/bkt/k?uploadId=u", "CompleteMultipartUploadResult"), ("/bkt/k?uploads=", "InitiateMultipartUploadResult")],
)
def test_uploads_are_named_here(target, root):
    """Bucket and key of an upload are what the client called them."""
    plan = applied(plan_of("POST", target), TEAM, None, SEAL)
    body = f'<{root} xmlns="{NAMESPACE}"><Bucket>real-store</Bucket><Key>teams/team-a/k</Key><UploadId>u</UploadId></{root}>'
    assert (
        plan.edit(body.encode())
        == xml.PROLOG.encode() + body.replace("real-store", "bkt").replace("teams/team-a/", "").encode()
    )


def test_an_error_after_200_is_mended_too():
    """CompleteMultipartUpload and the copies may fail after they said 200."""
    plan = applied(plan_of("POST", "/bkt/k?uploadId=u"), TEAM, None, SEAL)
    body = plan.edit(ERROR.encode())
    assert b"<Code>NoSuchKey</Code>" in body
    assert b"real" not in body


def refusal(plan: Forward, place: Place) -> S3Error | None:
    try:
        applied(plan, place, None, SEAL)
    except S3Error as error:
        return error
    return None


def _every():
    return [operation for found in table().values() for operation in found if operation.level == "bucket"]


@pytest.mark.parametrize("operation", _every(), ids=lambda o: o.name)
def test_what_reaches_the_whole_bucket_is_refused_behind_a_prefix(operation):
    """Each bucket operation either stays in the prefix or is refused; those that write or delete never pass."""
    plan = plan_of("GET", "/bkt")._replace(operation=operation)
    error = refusal(plan, TEAM)
    if error:
        assert (error.code, error.status) in {("MethodNotAllowed", 405), ("NotImplemented", 501)}
    else:
        assert operation.method in {"GET", "HEAD"} or operation.name == "DeleteObjects"
        assert not any(
            word in operation.name for word in ("Policy", "Lifecycle", "Acl", "Tagging", "Inventory", "Replication")
        )


@pytest.mark.parametrize("operation", _every(), ids=lambda o: o.name)
def test_documents_that_name_buckets_are_refused_where_a_bucket_is_renamed(operation):
    """A policy, a replication or a log target would name the wrong bucket, here or there."""
    words = ("BucketPolicy", "Replication", "Logging", "Inventory", "Analytics", "Metadata")
    plan = plan_of("GET", "/bkt")._replace(operation=operation)
    error = refusal(plan, RENAMED)
    if error:
        assert error.code == "NotImplemented"
        assert operation.name not in {"CreateBucket", "HeadBucket", "DeleteBucket"}
    else:
        assert operation.name == "GetBucketPolicyStatus" or not any(word in operation.name for word in words)


def test_headers_that_tell_of_the_place_are_left_out():
    """HeadBucket's ARN, and a website's error headers, name the real bucket and key."""
    told = (
        ("ETag", "e"),
        ("X-Amz-Bucket-Arn", "arn:aws:s3:::real-store"),
        ("x-amz-error-detail-Key", "k"),
        ("x-amz-meta-bucket", "b"),
    )
    assert untold(told) == (("ETag", "e"), ("x-amz-meta-bucket", "b"))


def test_presigned_requests_go_to_the_place():
    """A presigned URL is for the gateway's name, and leads to the place."""
    request, now = presigned("GET", "/bkt/k")
    plan = Forward(request, resolve(request), authenticate(request, lookup, SigningKeys(), now=now))
    assert sent(applied(plan, TEAM, None, SEAL)).url == "http://store.test/real-store/teams/team-a/k"
