"""forward: what goes to the backend is rebuilt by allow-list and signed as botocore signs; what comes back is filtered."""

from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import md5, sha256
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest, SignatureDoesNotMatch
from gateway.s3.authenticate import authenticate
from gateway.s3.decoding import trailer_names
from gateway.s3.operations import resolve
from gateway.signing.chunk_chain import ChunkChain
from gateway.signing.chunked import SignedRelay, UnsignedRelay
from gateway.signing.sigv4 import EMPTY_SHA256, SigningKeys
from gateway.stories.forward import Target, build
from iam.model import Credentials, Secret
from tests.unit.gateway.signers import ANN, UNSIGNED, boto, epoch, lookup, presigned, read, sign, signed
from tests.unit.gateway.signing.test_chunked import encode_signed
from tests.unit.gateway.storied import plan_of

BACKEND = Credentials("BACKENDKEY", Secret("backend-secret"))
TEMPORARY = Credentials("ASIABACKEND", Secret("backend-secret"), Secret("backend-token"))
PLAIN = Target("s3.example.test:8333", "eu-west-1", secure=False)
AMAZON = Target("s3.eu-west-1.amazonaws.com", "eu-west-1", secure=True, virtual_host=True)
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def forwarded(request, now, target=PLAIN, credentials=BACKEND, **how):
    """Return what goes to the backend for a request that was signed."""
    caller = authenticate(request, lookup, SigningKeys(), now=now)
    how = {"target": target, "credentials": credentials, "keys": SigningKeys(), "now": now} | how
    return build(request, resolve(request), caller, **how)


def botos_authorization(sent, who) -> str:
    """Return the Authorization that botocore computes for the very request that is sent, at its own time."""
    headers = {n: v for n, v in sent.headers.items() if n != "authorization"}
    request = AWSRequest(sent.method, sent.url, headers=headers)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(boto(who), "s3", "eu-west-1")
    signer._normalize_url_path = lambda path: path
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    return f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"


KEYS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(KEYS, st.sampled_from([PLAIN, AMAZON]), st.sampled_from([BACKEND, TEMPORARY]))
def test_the_backend_signature_is_botocores(key, target, credentials):
    """For any key, addressing and credentials, botocore signs the request that is sent in the same way."""
    sent = forwarded(*signed("GET", "/bkt/" + quote(key, safe="/-._~")), target, credentials)
    assert sent.headers["authorization"] == botos_authorization(sent, credentials)


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/bkt?list-type=2&prefix=a%20b%2Fc%2B&delimiter=%2F"), ("GET", "/bkt?acl="), ("POST", "/bkt/k?uploads="), ("GET", "/")],
)  # fmt: skip
def test_the_query_is_sent_as_it_is_signed(method, target):
    """Parameters cross decoded once and encoded once, and botocore signs them so."""
    sent = forwarded(*signed(method, target))
    assert sent.url == f"http://s3.example.test:8333{target}"
    assert sent.headers["authorization"] == botos_authorization(sent, BACKEND)


@pytest.mark.parametrize("path", ["/bkt/a//b", "/bkt/../x", "/bkt/./x", "/bkt//", "/bkt/%2Fx", "/bkt/a%2Fb", "/bkt/%7E", "/bkt/a/"])  # fmt: skip
def test_trap_17_the_path_crosses_as_it_was_signed(path):
    """No dot, slash or escape of the signed path is changed on the way."""
    assert urlsplit(forwarded(*signed("GET", path)).url).path == path


@pytest.mark.parametrize(
    ("path", "target", "url"),
    [
        ("/bkt", PLAIN, "http://s3.example.test:8333/bkt"),
        ("/bkt/", PLAIN, "http://s3.example.test:8333/bkt"),
        ("/bkt/k", AMAZON, "https://bkt.s3.eu-west-1.amazonaws.com/k"),
        ("/bkt//k", AMAZON, "https://bkt.s3.eu-west-1.amazonaws.com//k"),
        ("/bkt", AMAZON, "https://bkt.s3.eu-west-1.amazonaws.com/"),
        ("/dotted.name/k", AMAZON, "https://s3.eu-west-1.amazonaws.com/dotted.name/k"),
        ("/", AMAZON, "https://s3.eu-west-1.amazonaws.com/"),
    ],
)
def test_the_backends_addressing(path, target, url):
    """The bucket goes into path or host as the backend wants it; a name with a dot is no host under a certificate."""
    sent = forwarded(*signed("GET", path), target)
    assert (sent.url, sent.headers["host"]) == (url, urlsplit(url).netloc)


@pytest.mark.parametrize(
    ("path", "sent"), [("/other/key", "/bkt/other/key"), ("//key", "/bkt//key"), ("/", "/bkt"), ("/%2F", "/bkt/%2F")]
)
def test_trap_61_a_virtual_hosts_bucket_is_put_in_front(path, sent):
    """The bucket of the Host is the one that is sent, whatever the path looks like."""
    host = "bkt.gw.example.test"
    headers = sign("GET", path, host=host)
    request = read("GET", path, headers, domains=("gw.example.test",))
    assert urlsplit(forwarded(request, epoch(headers["X-Amz-Date"])).url).path == sent


def test_trap_53_nothing_of_the_clients_credentials_crosses():
    """Key, token, signature and date of the client are in nothing that is sent, header or query."""
    strange = {"Cookie": "c=1", "X-Forwarded-For": "6.6.6.6", "Proxy-Authorization": "Bearer b", "X-Custom": "y",
               "User-Agent": "agent", "Referer": "r", "Connection": "close", "TE": "trailers", "x-amz-unknown": "u"}  # fmt: skip
    for request, now in (signed("GET", "/bkt/k", strange, who=ANN), presigned("GET", "/bkt/k", strange, who=ANN)):
        sent = forwarded(request, now)
        assert sent.url == "http://s3.example.test:8333/bkt/k"
        assert set(sent.headers) == {"host", "x-amz-date", "x-amz-content-sha256", "authorization"}
        caller = authenticate(request, lookup, SigningKeys(), now=now)
        for secret in ("ANNKEY", "ann-token", "ann-secret", caller.claim.signature):
            assert secret not in str(sent)


def test_the_backends_session_token_is_its_own():
    """Temporary backend credentials bring their token, signed; the client's is not it."""
    sent = forwarded(*signed("GET", "/bkt/k", who=ANN), credentials=TEMPORARY)
    assert sent.headers["x-amz-security-token"] == "backend-token"
    assert "x-amz-security-token" in sent.headers["authorization"]


@pytest.mark.parametrize(
    ("method", "target", "crossing", "staying"),
    [
        ("GET", "/bkt/k", {"range": "bytes=0-1", "if-match": '"e"', "x-amz-checksum-mode": "ENABLED"}, {"x-amz-meta-a": "1", "x-amz-acl": "private", "content-type": "t"}),
        ("PUT", "/bkt/k", {"content-type": "t/p", "cache-control": "no-store", "x-amz-meta-a": "1", "x-amz-acl": "private", "if-none-match": "*", "content-encoding": "gzip"}, {"range": "bytes=0-1", "x-amz-trailer": "x", "x-amz-decoded-content-length": "3"}),
        ("DELETE", "/bkt/k", {"x-amz-mfa": "m"}, {"x-amz-acl": "private", "x-amz-copy-source": "/a/b"}),
    ],
)  # fmt: skip
def test_headers_cross_by_the_operations_allow_list(method, target, crossing, staying):
    """An operation's own headers cross unchanged, every other one stays, signed or not."""
    sent = forwarded(*signed(method, target, crossing | staying)).headers
    assert {n: sent.get(n) for n in crossing} == crossing
    assert not staying.keys() & sent.keys()


def test_trap_25_a_copy_source_crosses_on_a_copy_only():
    """On a request that is no copy the header is left behind."""
    assert "x-amz-copy-source" not in forwarded(*signed("GET", "/bkt/k", {"x-amz-copy-source": "/a/b"})).headers


def test_parameters_that_only_authenticate_or_name_stay():
    """A presigned request's parameters and x-id end here; its real ones cross."""
    sent = forwarded(*presigned("GET", "/bkt/k?x-id=GetObject&versionId=v&response-content-type=text%2Fplain", who=ANN))
    assert sent.url == "http://s3.example.test:8333/bkt/k?versionId=v&response-content-type=text%2Fplain"


@pytest.mark.parametrize(
    ("source", "rewritten"),
    [
        ("/src/a%20b", "src/a%20b"),
        ("src/a+b", "src/a%2Bb"),
        ("src/%C3%A9?versionId=a%2Fb", "src/%C3%A9?versionId=a%2Fb"),
        ("src/a%3Fb", "src/a%3Fb"),
        ("src/%2520", "src/%2520"),
    ],
)
def test_trap_24_the_copy_source_is_written_again_from_what_was_judged(source, rewritten):
    """However the client spelled it, the source that was authorized is sent, encoded once."""
    sent = forwarded(*signed("PUT", "/bkt/k", {"x-amz-copy-source": source}))
    assert sent.headers["x-amz-copy-source"] == rewritten
    assert sent.headers["authorization"] == botos_authorization(sent, BACKEND)


@pytest.mark.parametrize("payload", [sha256(b"body").hexdigest(), UNSIGNED, TRAILER, STREAMING])
def test_the_payload_hash_crosses_unchanged(payload):
    """The backend checks the body against the very hash or mode that the client signed, over the same length."""
    headers = {"Content-Length": "4", "x-amz-decoded-content-length": "2"}
    sent = forwarded(*signed("PUT", "/bkt/k", headers, payload=payload))
    assert (sent.headers["x-amz-content-sha256"], sent.length, sent.body) == (payload, 4, None)


def test_a_request_without_a_body_has_no_length():
    """A GET announces no body to the backend."""
    sent = forwarded(*signed("GET", "/bkt/k", payload=None))
    assert (sent.length, sent.relay, sent.headers["x-amz-content-sha256"]) == (None, None, EMPTY_SHA256)


def test_a_rebuilt_body_is_described_anew():
    """Hash, MD5 and length are of the body that is sent; the client's checksums and framing are gone."""
    headers = {"Content-Length": "99", "content-md5": "x", "x-amz-checksum-crc32": "AAAAAA==", "content-type": "application/xml",
               "content-encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": "9",
               "x-amz-sdk-checksum-algorithm": "CRC32"}  # fmt: skip
    sent = forwarded(*signed("POST", "/bkt?delete=", headers, payload=TRAILER), body=b"<Delete/>")
    assert (sent.body, sent.length, sent.relay) == (b"<Delete/>", 9, None)
    assert {n: v for n, v in sent.headers.items() if n not in {"authorization", "host", "x-amz-date"}} == {
        "content-type": "application/xml",
        "content-md5": base64.b64encode(md5(b"<Delete/>").digest()).decode(),
        "x-amz-content-sha256": sha256(b"<Delete/>").hexdigest(),
    }
    assert sent.headers["authorization"] == botos_authorization(sent, BACKEND)


def test_signed_chunks_are_signed_again_for_the_backend():
    """Chunks that the client's chain covers leave with the backend's chain, and an altered one does not leave."""
    request, now = signed(
        "PUT", "/bkt/k", {"x-amz-decoded-content-length": "8", "Content-Length": "9"}, payload=STREAMING
    )
    caller = authenticate(request, lookup, SigningKeys(), now=now)
    claim = caller.claim
    body = encode_signed(
        [b"1234", b"5678"], ChunkChain(caller.signing_key, claim.timestamp, claim.scope, claim.signature)
    )
    sent = forwarded(request, now)
    assert isinstance(sent.relay, SignedRelay)
    out = sent.relay.feed(body)
    sent.relay.finish()
    scope = type(claim.scope)(sent.headers["x-amz-date"][:8], "eu-west-1", "s3")
    key = SigningKeys().get(BACKEND.secret.reveal(), scope)
    seed = sent.headers["authorization"].rpartition("=")[2]
    assert out == encode_signed([b"1234", b"5678"], ChunkChain(key, sent.headers["x-amz-date"], scope, seed))
    with pytest.raises(SignatureDoesNotMatch):
        forwarded(request, now).relay.feed(body.replace(b"\r\n5678\r\n", b"\r\n567x\r\n"))


def test_unsigned_chunks_are_relayed_with_their_announced_trailers():
    """The relay of unsigned chunks lets pass the trailers that x-amz-trailer names, and no others."""
    headers = {
        "x-amz-decoded-content-length": "2",
        "x-amz-trailer": " X-Amz-Checksum-CRC32 ,",
        "Content-Length": "9",
    }
    request, now = signed("PUT", "/bkt/k", headers, payload=TRAILER)
    assert isinstance(forwarded(request, now).relay, UnsignedRelay)
    mode = authenticate(request, lookup, SigningKeys(), now=now).mode
    assert trailer_names(request, mode) == ("x-amz-checksum-crc32",)


@pytest.mark.parametrize("part", ["key", "key-MD5", "algorithm"])
@pytest.mark.parametrize(
    "prefix", ["x-amz-server-side-encryption-customer-", "x-amz-copy-source-server-side-encryption-customer-"]
)
@pytest.mark.parametrize(
    ("secure", "target", "crosses"),
    [(True, AMAZON, True), (False, AMAZON, False), (True, PLAIN, False), (True, Target("127.0.0.1:8333", "r", secure=False), True),
     (True, Target("[::1]:8333", "r", secure=False), True), (False, Target("127.0.0.1:8333", "r", secure=False), False),
     (True, Target("127.0.0.1.example.test", "r", secure=False), False), (True, Target("localhost", "r", secure=False), True)],
)  # fmt: skip
def test_client_keys_cross_no_network_in_the_clear(prefix, part, secure, target, crosses):
    """SSE-C goes over TLS on both sides, or to a backend on this machine; else S3's InvalidRequest."""
    request, now = signed("GET", "/bkt/k", {prefix + part: "v"})
    request = replace(request, secure=secure)
    if crosses:
        forwarded(request, now, target)
    else:
        with pytest.raises(InvalidRequest, match="secure connection"):
            forwarded(request, now, target)


def test_a_rebuilt_body_loses_every_word_about_the_old_one():
    """Checksums of the client's body, in headers or in a presigned URL, do not go with the body that replaces it."""
    target = "/bkt?delete=&x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32"
    request, now = presigned("POST", target)
    sent = forwarded(request, now, body=b"<Delete/>")
    assert urlsplit(sent.url).query == "delete="
    assert not [name for name in sent.headers if "checksum" in name]
    assert sent.headers["authorization"] == botos_authorization(sent, BACKEND)


def test_headers_in_a_presigned_url_cross_as_headers():
    """What was judged as a header is sent as one, signed; a checksum stays where it was, signature and x-id behind."""
    query = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-tagging=a%3D1&X-Amz-Acl=private&x-amz-meta-note=n&x-id=PutObject"
    plan = plan_of(*presigned("PUT", f"/ann/k?{query}"))
    how = {"target": PLAIN, "credentials": BACKEND, "keys": SigningKeys(), "now": 0}
    sent = build(plan.request, plan.operation, plan.caller, **how)
    assert urlsplit(sent.url).query == "x-amz-checksum-crc32=AAAAAA%3D%3D"
    expected = {"x-amz-tagging": "a=1", "x-amz-acl": "private", "x-amz-meta-note": "n"}
    assert {name: sent.headers[name] for name in expected} == expected
    assert sent.headers["authorization"] == botos_authorization(sent, BACKEND)
