"""authenticate: whoever botocore signs for is recognized; every other request is refused, by the code AWS uses."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import S3Error
from gateway.s3.authenticate import MAX_DECODED_LENGTH, PayloadMode, authenticate
from gateway.signing.sigv4 import EMPTY_SHA256, Scope, SigningKeys, sign_headers, signing_key
from iam.model import Credentials, PrincipalType, Secret
from tests.unit.gateway.signers import (
    ANN,
    EVE,
    HOST,
    PRINCIPALS,
    ROOT,
    UNSIGNED,
    lookup,
    presigned,
    read,
    sign,
    signed,
    whole_target,
)

HASH = sha256(b"body").hexdigest()
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
LENGTH = {"X-Amz-Decoded-Content-Length": "4"}


def caller_of(request, now, **how):
    return authenticate(request, lookup, SigningKeys(), now=now, **how)


def code_of(request, now=1_700_000_000, **how) -> str:
    """Return the code of the refusal that this request must meet."""
    with pytest.raises(S3Error) as refused:
        caller_of(request, now, **how)
    return refused.value.code


@pytest.mark.parametrize("who", [ROOT, ANN], ids=["root", "session"])
@pytest.mark.parametrize("sign_it", [signed, presigned], ids=["header", "presigned"])
def test_what_botocore_signs_is_recognized(who, sign_it):
    """Header and query signatures, with and without a session token, lead to the principal behind the key."""
    caller = caller_of(*sign_it("GET", "/bkt/a%20key", who=who))
    assert caller.principal == PRINCIPALS[who.access_key_id]
    assert caller.target == "/bkt/a%20key"
    assert caller.auth_type == ("REST-HEADER" if sign_it is signed else "REST-QUERY-STRING")
    assert caller.claim is not None
    assert caller.signing_key.sign("x") == signing_key(who.secret.reveal(), caller.claim.scope).sign("x")


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_key_that_botocore_signs_is_recognized(key):
    """Whatever the key, its signature verifies, and the target that goes on is the one that was signed."""
    target = "/bkt/" + quote(key, safe="/-._~")
    assert caller_of(*signed("GET", target)).target == target


@pytest.mark.parametrize("target", ["/bkt/%7Etilde", "/bkt/a%2Fb", "/bkt/x//y/../z"])
def test_trap_17_the_target_goes_on_as_it_was_signed(target):
    """A client that signs a needless escape is recognized, and its own spelling is what is sent on."""
    assert caller_of(*signed("GET", target)).target == target


@pytest.mark.parametrize(
    ("payload", "headers", "mode"),
    [
        (HASH, {}, PayloadMode.HEX),
        (UNSIGNED, {}, PayloadMode.UNSIGNED),
        (TRAILER, LENGTH, PayloadMode.UNSIGNED_TRAILER),
        (SIGNED, LENGTH, PayloadMode.SIGNED),
        (SIGNED + "-TRAILER", LENGTH, PayloadMode.SIGNED_TRAILER),
    ],
)
def test_the_payload_mode_is_what_was_signed(payload, headers, mode):
    """x-amz-content-sha256 names the mode; a chunked one has its decoded length."""
    caller = caller_of(*signed("PUT", "/bkt/k", headers, payload=payload))
    assert (caller.mode, caller.payload_hash) == (mode, payload)
    assert caller.decoded_length == (4 if mode.chunked else None)


@pytest.mark.parametrize("payload", [UNSIGNED, HASH, TRAILER, SIGNED, SIGNED + "-TRAILER"])
@pytest.mark.parametrize(
    ("who", "code"),
    [
        (Credentials("ROOTKEY", Secret("wrong")), "SignatureDoesNotMatch"),
        (Credentials("NOBODY", Secret("root-secret")), "InvalidAccessKeyId"),
    ],
    ids=["wrong secret", "unknown key"],
)
def test_trap_01_no_payload_mode_skips_the_signature(payload, who, code):
    """Every payload mode takes the one road: a bad signature is refused whatever the mode."""
    assert code_of(*signed("PUT", "/bkt/k", LENGTH, payload=payload, who=who)) == code


def test_trap_02_a_credential_in_the_query_without_signature_is_refused():
    """Half of a presigned URL is no anonymous request, whatever the payload mode in the header."""
    for payload in (UNSIGNED, TRAILER, SIGNED):
        headers = {"X-Amz-Content-SHA256": payload, **LENGTH}
        request = read("PUT", "/bkt/k?X-Amz-Credential=ROOTKEY/20260101/us-east-1/s3/aws4_request", headers)
        assert code_of(request) == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("x-amz-acl", "AccessDenied"),
        ("x-amz-copy-source", "AccessDenied"),
        ("x-amz-meta-a", "AccessDenied"),
        ("x-amz-tagging", "AccessDenied"),
        ("x-amz-security-token", "InvalidTokenId"),
    ],
)
def test_trap_04_unsigned_amz_headers_are_refused(name, code):
    """An x-amz-* header added after signing is refused, beside a header signature and beside a presigned URL."""
    assert code_of(*signed("PUT", "/bkt/k", unsigned={name: "v"})) == code
    request, now = presigned("PUT", "/bkt/k")
    assert code_of(read("PUT", whole_target(request), {name: "v"}), now) == code


def test_trap_04_the_refusal_names_the_headers():
    """The client is told which headers were not signed."""
    request, now = signed("PUT", "/bkt/k", unsigned={"x-amz-tagging": "a=1", "x-amz-acl": "private"})
    with pytest.raises(S3Error) as refused:
        caller_of(request, now)
    assert refused.value.elements == {"HeadersNotSigned": "x-amz-acl, x-amz-tagging"}


@pytest.mark.parametrize(
    ("method", "target", "change"),
    [
        ("DELETE", "/bkt/k", {}),
        ("GET", "/bkt/other", {}),
        ("GET", "/bkt/k?versionId=1", {}),
        ("GET", "/bkt/k", {"Host": "evil.example.test"}),
        ("GET", "/bkt/k", {"X-Amz-Content-SHA256": HASH}),
    ],
    ids=["method", "path", "query", "host", "payload hash"],
)
def test_what_was_signed_cannot_be_changed(method, target, change):
    """Another method, path, query, host or payload hash breaks the signature."""
    headers = sign("GET", "/bkt/k")
    now = signed("GET", "/bkt/k")[1]
    assert code_of(read(method, target, headers | change), now) == "SignatureDoesNotMatch"


def test_trap_07_two_signatures_are_none():
    """A presigned URL with an Authorization header is refused, even when both are good."""
    request, now = presigned("GET", "/bkt/k")
    target = whole_target(request)
    assert code_of(read("GET", target, sign("GET", target)), now) == "InvalidArgument"


@pytest.mark.parametrize(
    ("target", "headers", "code"),
    [
        ("/b1k/k", {"Authorization": "AWS KEY:c2ln"}, "InvalidRequest"),
        ("/b1k/k?AWSAccessKeyId=K&Signature=s&Expires=9", {}, "InvalidRequest"),
        ("/b1k/k", {"Authorization": "Bearer t"}, "InvalidRequest"),
        ("/b1k/k", {"Authorization": "AWS4-HMAC-SHA256 x"}, "AccessDenied"),
        ("/b1k/k", {"Authorization": "AWS4-HMAC-SHA256 x", "X-Amz-Date": "20260101T000000Z"}, "AuthorizationHeaderMalformed"),
        ("/b1k/k", {"X-Amz-Security-Token": "t"}, "AccessDenied"),
        ("/b1k/k?X-Amz-Security-Token=t", {}, "AccessDenied"),
        ("/b1k/k", {"X-Amz-Content-SHA256": SIGNED}, "AccessDenied"),
        ("/b1k/k", {"X-Amz-Content-SHA256": "nonsense"}, "InvalidArgument"),
    ],
)  # fmt: skip
def test_what_is_no_sigv4_is_refused(target, headers, code):
    """SigV2, bearer tokens, broken headers, and tokens or signed chunks without a signature have their refusals."""
    assert code_of(read("PUT", target, headers)) == code


def test_nobody_signed_is_anonymous():
    """A request without any mark of a signature is the anonymous principal's, with no key and no policy."""
    caller = caller_of(read("GET", "/bkt/a%7Ek"), 0)
    assert caller.principal.type is PrincipalType.ANONYMOUS
    assert (caller.principal.policies, caller.principal.owner, caller.claim) == ((), False, None)
    assert (caller.mode, caller.auth_type, caller.target) == (PayloadMode.UNSIGNED, "", "/bkt/a~k")


@pytest.mark.parametrize(("skew", "code"), [(901, "RequestTimeTooSkewed"), (-901, "RequestTimeTooSkewed")])
def test_trap_65_old_and_future_signatures_are_refused(skew, code):
    """Fifteen minutes either way are good, one second more is not."""
    request, now = signed("GET", "/bkt/k")
    assert code_of(request, now + skew) == code
    edge = 900 if skew > 0 else -900
    assert caller_of(request, now + edge).principal.owner


def dated(stamp: str, covered: tuple[str, ...] = ("date",), **more: str):
    """Return a request whose time is in its Date; the headers that are not `covered` are left out of the signature."""
    timestamp = "20231114T221320Z"
    scope = Scope(timestamp[:8], "us-east-1", "s3")
    sent = {"host": HOST, "x-amz-content-sha256": UNSIGNED, "date": stamp, **more}
    covers = {n: v for n, v in sent.items() if n in {"host", "x-amz-content-sha256", *covered}}
    authorization, _ = sign_headers(
        "GET", "/bkt/k", "", covers, UNSIGNED,
        key=signing_key(ROOT.secret.reveal(), scope), scope=scope, access_key_id=ROOT.access_key_id, timestamp=timestamp,
    )  # fmt: skip
    del sent["host"]  # `read` has it
    return read("GET", "/bkt/k", sent | {"authorization": authorization})


def test_trap_65_a_signed_date_is_as_good_as_x_amz_date():
    """In the form of x-amz-date and covered by the signature; x-amz-date counts where both are there, and it ages all the same."""
    now = 1_700_000_000
    assert caller_of(dated("20231114T221320Z"), now).principal == PRINCIPALS["ROOTKEY"]
    assert code_of(dated("20231114T221320Z"), now + 901) == "RequestTimeTooSkewed"
    assert code_of(dated("20231114T221320Z", covered=()), now) == "AccessDenied"
    assert code_of(dated("20231114T221321Z"), now) == "SignatureDoesNotMatch"
    for other in ("Tue, 14 Nov 2023 22:13:20 GMT", "20231114T251320Z", "20231115T221320Z"):
        assert code_of(dated(other), now) in {"AccessDenied", "AuthorizationHeaderMalformed"}
    both = {"x-amz-date": "20231114T221321Z"}
    assert code_of(dated("20231114T221320Z", ("date", "x-amz-date"), **both), now) == "SignatureDoesNotMatch"


def test_trap_09_presigned_urls_end():
    """A URL is good for the seconds it says and not one longer, nor before it was signed."""
    request, now = presigned("GET", "/bkt/k", expires=60)
    assert caller_of(request, now + 60).principal.owner
    assert code_of(request, now + 61) == "AccessDenied"
    assert code_of(request, now - 901) == "AccessDenied"


def test_trap_08_the_pinned_hash_of_a_presigned_url_is_the_payload_hash():
    """A hash in the signed query is what the body must have; one that the signature does not cover is refused."""
    pinned = presigned("PUT", f"/bkt/k?X-Amz-Content-Sha256={HASH}", payload=HASH)
    caller = caller_of(*pinned)
    assert (caller.mode, caller.payload_hash) == (PayloadMode.HEX, HASH)
    beside = read("PUT", whole_target(pinned[0]), {"X-Amz-Content-SHA256": UNSIGNED})
    assert code_of(beside, pinned[1]) == "AccessDenied"
    assert code_of(*presigned("PUT", f"/bkt/k?X-Amz-Content-Sha256={HASH}")) == "SignatureDoesNotMatch"
    assert caller_of(*presigned("PUT", "/bkt/k")).payload_hash == UNSIGNED


def test_a_payload_hash_is_given_once():
    """Two payload hashes, both signed, that differ are refused: nobody could say which the body must have."""
    target, headers = f"/bkt/k?X-Amz-Content-Sha256={HASH}", {"X-Amz-Content-SHA256": UNSIGNED}
    assert code_of(*presigned("PUT", target, headers, payload=HASH)) == "InvalidRequest"


def test_trap_50_a_token_of_another_session_or_in_two_places_is_refused():
    """Key and token belong together, and the token stands where its signature does."""
    mixed = Credentials(ANN.access_key_id, ANN.secret, EVE.session_token)
    assert code_of(*signed("GET", "/bkt/k", who=mixed)) == "InvalidTokenId"
    assert code_of(*signed("GET", "/bkt/k?X-Amz-Security-Token=t")) == "InvalidRequest"
    assert code_of(*signed("GET", "/bkt/k?X-Amz-Security-Token=t", who=ANN)) == "InvalidRequest"
    assert code_of(*presigned("GET", "/bkt/k", {"X-Amz-Security-Token": "ann-token"}, who=ANN)) == "InvalidRequest"


def test_the_scope_must_be_ours():
    """Another service's signature is refused; another region's too, and the right region is named for the SDK."""
    assert code_of(*signed("GET", "/bkt/k", service="sts")) == "AuthorizationHeaderMalformed"
    assert caller_of(*signed("POST", "/", service="sts"), service="sts").principal.owner
    request, now = signed("GET", "/bkt/k", region="eu-west-1")
    assert caller_of(request, now).principal.owner
    with pytest.raises(S3Error) as refused:
        caller_of(request, now, region="us-east-1")
    assert (refused.value.code, refused.value.elements) == ("AuthorizationHeaderMalformed", {"Region": "us-east-1"})


def test_without_a_payload_header_the_body_is_empty():
    """A header signature without x-amz-content-sha256 covers the empty body, or what the caller of us hashed (STS)."""
    request, now = signed("GET", "/bkt/k", payload=None)
    assert caller_of(request, now).payload_hash == EMPTY_SHA256
    assert code_of(request, now, payload=HASH) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (None, "MissingContentLength"),
        ("", "MissingContentLength"),
        ("-1", "InvalidArgument"),
        ("4.0", "InvalidArgument"),
        (str(MAX_DECODED_LENGTH + 1), "InvalidArgument"),
        ("9" * 30, "InvalidArgument"),
    ],
)
@pytest.mark.parametrize("payload", [TRAILER, SIGNED])
def test_trap_13_the_decoded_length_must_be_a_length(payload, length, code):
    """A chunked body without a sane decoded length is refused before its first byte is read."""
    headers = {} if length is None else {"X-Amz-Decoded-Content-Length": length}
    assert code_of(*signed("PUT", "/bkt/k", headers, payload=payload)) == code


def test_unknown_streaming_modes_are_not_implemented():
    """SigV4A's streaming mode is refused by its name, before anything is verified as something else."""
    assert code_of(*signed("PUT", "/bkt/k", payload="STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")) == "NotImplemented"
