"""sigv4: S3's documented examples, botocore as the oracle, and every claim that must be refused."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidRequest,
    RequestTimeTooSkewed,
    S3Error,
    SignatureDoesNotMatch,
)
from gateway.signing import sigv4
from gateway.signing.sigv4 import (
    EMPTY_SHA256,
    Scope,
    SignatureClaim,
    SigningKey,
    SigningKeys,
    canonical_query,
    canonical_request,
    check_time,
    matches,
    parse_authorization,
    parse_presigned,
    sign_headers,
    signing_key,
    string_to_sign,
    uri_encode,
)

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TIMESTAMP = "20130524T000000Z"
SCOPE = Scope("20130524", "us-east-1", "s3")
HOST = "examplebucket.s3.amazonaws.com"
NOW = int(datetime(2013, 5, 24, tzinfo=UTC).timestamp())
SIGNATURE = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
ALGORITHM = "AWS4-HMAC-SHA256"
CREDENTIAL = f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request"


def authorization(
    credential: str = CREDENTIAL,
    signed: str = "host;x-amz-date",
    signature: str = SIGNATURE,
    algorithm: str = ALGORITHM,
) -> str:
    """Return an Authorization header."""
    return f"{algorithm} Credential={credential}, SignedHeaders={signed}, Signature={signature}"


def presigned(**changes: str | None) -> list[tuple[str, str]]:
    """Return a presigned query; None leaves a parameter out."""
    fields: dict[str, str | None] = {
        "Algorithm": ALGORITHM,
        "Credential": CREDENTIAL,
        "Date": TIMESTAMP,
        "Expires": "86400",
        "SignedHeaders": "host",
        "Signature": SIGNATURE,
        **changes,
    }
    return [(f"X-Amz-{name}", value) for name, value in fields.items() if value is not None]


# --- S3's documented examples ---------------------------------------------------------------------------------------
# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and .../sigv4-query-string-auth.html


@pytest.mark.parametrize(
    ("method", "uri", "query", "headers", "payload_hash", "expected"),
    [
        ("GET", "/test.txt", "", {"range": "bytes=0-9"}, EMPTY_SHA256, SIGNATURE),
        (
            "PUT",
            "/test%24file.text",
            "",
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            sha256(b"Welcome to Amazon S3.").hexdigest(),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            "lifecycle=",
            {},
            EMPTY_SHA256,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            "max-keys=2&prefix=J",
            {},
            EMPTY_SHA256,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_s3_documented_header_examples_are_reproduced(
    method: str, uri: str, query: str, headers: dict[str, str], payload_hash: str, expected: str
) -> None:
    """The four requests of S3's documentation get its signatures."""
    headers = {"host": HOST, "x-amz-content-sha256": payload_hash, "x-amz-date": TIMESTAMP, **headers}
    value, signature = sign_headers(
        method,
        uri,
        query,
        headers,
        payload_hash,
        key=signing_key(SECRET, SCOPE),
        scope=SCOPE,
        access_key_id=ACCESS_KEY,
        timestamp=TIMESTAMP,
    )
    assert signature == expected
    assert value == authorization(signed=";".join(sorted(headers)), signature=expected)
    claim = parse_authorization(value, TIMESTAMP)
    assert claim == SignatureClaim(ACCESS_KEY, SCOPE, tuple(sorted(headers)), expected, TIMESTAMP)


def test_s3_documented_presigned_example_is_reproduced() -> None:
    """The presigned URL of S3's documentation verifies, its own signature left out of what it covers."""
    expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    query = presigned(Signature=expected)
    claim = parse_presigned(query)
    assert claim == SignatureClaim(ACCESS_KEY, SCOPE, ("host",), expected, TIMESTAMP, expires=86400, presigned=True)
    canonical = canonical_request(
        "GET", "/test.txt", canonical_query(query), {"host": HOST}, claim.signed_headers, "UNSIGNED-PAYLOAD"
    )
    assert signing_key(SECRET, claim.scope).sign(string_to_sign(TIMESTAMP, SCOPE, canonical)) == expected


# --- botocore as the oracle -----------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
paths = text.map("/bucket/{}".format)
queries = st.dictionaries(text.filter(lambda name: not name.lower().startswith("x-amz-")), text, max_size=4)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=16)
extra_headers = st.dictionaries(st.sampled_from(["content-type", "x-amz-meta-a", "x-amz-acl", "range"]), values)
regions = st.sampled_from(["us-east-1", "eu-central-1", "a"])
secrets = st.text(min_size=8, max_size=40)
AWKWARD = {"a b": "+", "a": "/", "A": "~", "é": "", "%2F": "%"}


def oracle_url(path: str, query: dict[str, str]) -> str:
    """Return a URL, encoded by the standard library and not by us."""
    encoded = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    return f"https://s3.example.com:9000{quote(path, safe='/')}" + (f"?{encoded}" if encoded else "")


def decoded(query: str) -> list[tuple[str, str]]:
    """Return the decoded pairs of a raw query."""
    return [(unquote(n), unquote(v)) for n, _, v in (pair.partition("=") for pair in query.split("&") if pair)]


@settings(deadline=None)
@given(st.sampled_from(["GET", "PUT", "DELETE"]), paths, queries, extra_headers, regions, secrets)
@example("PUT", "/bucket/a//b/../%2F +é/", AWKWARD, {"x-amz-meta-a": "  a   b "}, "us-east-1", SECRET)
def test_what_botocore_signs_in_a_header_verifies(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], region: str, secret: str
) -> None:
    """Our canonical form of any request is botocore's, and so is the Authorization value that we would send."""
    request = AWSRequest(method, oracle_url(path, query), headers=headers, data=b"body")
    S3SigV4Auth(Credentials("some/key", secret, "token"), "s3", region).add_auth(request)
    sent = {name.lower(): value for name, value in request.headers.items()} | {"host": "s3.example.com:9000"}
    claim = parse_authorization(sent["authorization"], sent["x-amz-date"])
    assert claim.access_key_id == "some/key"
    key = signing_key(secret, claim.scope)
    uri, raw_query = uri_encode(path, slash=False), decoded(urlsplit(request.url).query)
    payload_hash = sent["x-amz-content-sha256"]
    canonical = canonical_request(method, uri, canonical_query(raw_query), sent, claim.signed_headers, payload_hash)
    assert matches(key.sign(string_to_sign(claim.timestamp, claim.scope, canonical)), claim.signature)
    ours, signature = sign_headers(
        method,
        uri,
        canonical_query(raw_query),
        {name: sent[name] for name in claim.signed_headers},
        payload_hash,
        key=key,
        scope=claim.scope,
        access_key_id="some/key",
        timestamp=claim.timestamp,
    )
    assert ours == sent["authorization"]
    assert signature == claim.signature


@settings(deadline=None)
@given(paths, queries, regions, secrets, st.integers(1, 604800))
@example("/bucket/a//b/../%2F +é/", AWKWARD, "us-east-1", SECRET, 1)
def test_what_botocore_presigns_verifies(
    path: str, query: dict[str, str], region: str, secret: str, expires: int
) -> None:
    """A URL presigned by botocore verifies, session token included, and carries the lifetime it was given."""
    request = AWSRequest("GET", oracle_url(path, query))
    S3SigV4QueryAuth(Credentials("some/key", secret, "to/ken=="), "s3", region, expires=expires).add_auth(request)
    pairs = parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
    claim = parse_presigned(pairs)
    assert (claim.access_key_id, claim.expires, claim.presigned) == ("some/key", expires, True)
    headers = {"host": "s3.example.com:9000"}
    canonical = canonical_request(
        "GET", uri_encode(path, slash=False), canonical_query(pairs), headers, claim.signed_headers, "UNSIGNED-PAYLOAD"
    )
    signature = signing_key(secret, claim.scope).sign(string_to_sign(claim.timestamp, claim.scope, canonical))
    assert matches(signature, claim.signature)


# --- encoding and canonical form ------------------------------------------------------------------------------------


@given(st.binary(max_size=40))
def test_uri_encode_keeps_the_unreserved_and_loses_nothing(data: bytes) -> None:
    """Only A-Za-z0-9-._~ (and / when asked) stay; every other byte is upper-case hexadecimal."""
    expected = "".join(chr(b) if chr(b) in "-._~" or (b < 128 and chr(b).isalnum()) else f"%{b:02X}" for b in data)
    assert uri_encode(data, slash=True) == expected
    assert uri_encode(data, slash=False) == expected.replace("%2F", "/")
    assert uri_encode(data.decode("utf-8", "surrogateescape"), slash=True) == expected


@pytest.mark.parametrize("name", ["a\n", "a\nb", "é", "\uff41", "٣", "\x7f"])
def test_uri_encode_fast_path_takes_ascii_only(name: str) -> None:
    """Line ends and letters or digits of other scripts are encoded: the fast path may not take them."""
    assert uri_encode(name, slash=False) == quote(name, safe="/")
    assert uri_encode(name, slash=False) != name


def test_canonical_query_sorts_by_encoded_name_then_value() -> None:
    """The order is that of the encoded bytes; empty values keep their =; only the exact signature name is left out."""
    pairs = [
        ("b", "2"),
        ("a-b", ""),
        ("é", ""),
        ("a", "2"),
        ("a", "1"),
        ("X-Amz-Signature", "s"),
        ("x-amz-signature", "t"),
    ]
    assert canonical_query(pairs) == "%C3%A9=&a=1&a=2&a-b=&b=2&x-amz-signature=t"
    assert canonical_query([]) == ""
    assert canonical_query(pairs, as_sent=True) == "%C3%A9=&a=2&a=1&a-b=&b=2&x-amz-signature=t"


def test_canonical_request_trims_and_collapses_values() -> None:
    """Spaces around a value go, runs inside become one, and only signed headers are in."""
    headers = {"host": " h ", "x-amz-meta-a": "  a   b\t c ", "x-amz-meta-b": "", "other": "x"}
    signed = ("host", "x-amz-meta-a", "x-amz-meta-b")
    assert canonical_request("GET", "/", "", headers, signed, "HASH") == (
        "GET\n/\n\nhost:h\nx-amz-meta-a:a b c\nx-amz-meta-b:\n\nhost;x-amz-meta-a;x-amz-meta-b\nHASH"
    )


def test_a_signed_header_that_is_absent_is_refused() -> None:
    """SignedHeaders that name what the request does not have sign another request; the store says so too."""
    with pytest.raises(SignatureDoesNotMatch) as refusal:
        canonical_request("GET", "/", "", {"host": "h"}, ("host", "x-amz-meta-a"), EMPTY_SHA256)
    assert "x-amz-meta-a" in refusal.value.reason


def test_a_header_of_undecodable_bytes_is_hashed_as_those_bytes() -> None:
    """A value that is no UTF-8 is signed as it came over the wire, and does not escape as UnicodeEncodeError."""
    canonical = canonical_request(
        "GET", "/", "", {"host": b"\xff\xfe".decode("utf-8", "surrogateescape")}, ("host",), "H"
    )
    digest = sha256(b"GET\n/\n\nhost:\xff\xfe\n\nhost\nH").hexdigest()
    assert string_to_sign(TIMESTAMP, SCOPE, canonical) == f"{ALGORITHM}\n{TIMESTAMP}\n{SCOPE.text}\n{digest}"


# --- parsing the header ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        authorization(),
        authorization().replace(", ", ","),
        authorization().replace(", ", " ,  "),
        f"{ALGORITHM} Signature={SIGNATURE},Credential={CREDENTIAL},SignedHeaders=host;x-amz-date",
        f"{ALGORITHM}  SignedHeaders=host;x-amz-date, Signature={SIGNATURE}, Credential={CREDENTIAL} ",
    ],
)
def test_order_and_spaces_of_the_fields_do_not_matter(value: str) -> None:
    """Three fields, each once, in any order, with or without spaces around the commas."""
    assert parse_authorization(value, TIMESTAMP) == SignatureClaim(
        ACCESS_KEY, SCOPE, ("host", "x-amz-date"), SIGNATURE, TIMESTAMP
    )


@pytest.mark.parametrize("access_key", ["a/b/c", "/", "a//", "20130524/us-east-1/s3/aws4_request", "a+b=c"])
def test_trap_16_an_access_key_may_contain_a_slash(access_key: str) -> None:
    """The scope is the last four parts of the credential; all before it is the access key."""
    credential = f"{access_key}/{SCOPE.text}"
    assert parse_authorization(authorization(credential), TIMESTAMP).access_key_id == access_key
    claim = parse_presigned(presigned(Credential=credential))
    assert (claim.access_key_id, claim.scope) == (access_key, SCOPE)


def test_a_region_may_be_empty_and_nothing_else_of_the_scope() -> None:
    """MinIO's SDKs sign STS calls without a region; an empty service or date stays malformed (table below)."""
    credential = f"{ACCESS_KEY}/20130524//sts/aws4_request"
    expected = Scope("20130524", "", "sts")
    assert parse_authorization(authorization(credential), TIMESTAMP).scope == expected
    assert parse_presigned(presigned(Credential=credential)).scope == expected


BAD_CREDENTIALS = [
    "",
    ACCESS_KEY,
    SCOPE.text,
    f"/{SCOPE.text}",
    f"{ACCESS_KEY}/20130524/us-east-1/s3",
    f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_Request",
    f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request/",
    f"{ACCESS_KEY}/20130524/us-east-1//aws4_request",
    f"{ACCESS_KEY}/2013052/us-east-1/s3/aws4_request",
    f"{ACCESS_KEY}//us-east-1/s3/aws4_request",
    f"{ACCESS_KEY}/٢٠١٣٠٥٢٤/us-east-1/s3/aws4_request",
    f"{ACCESS_KEY}/20130524/us\n-east-1/s3/aws4_request",
    f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request\n",
    f"sch\u00fcssel/{SCOPE.text}",
    f"{'k' * 129}/{SCOPE.text}",
]
BAD_SIGNED_HEADERS = ["", ";", "host;", "Host", "x-amz-date;host", "host;host", "host;;x-amz-date", "host\n", "host x"]
BAD_SIGNATURES = ["", SIGNATURE[:-1], SIGNATURE + "0", SIGNATURE.upper(), SIGNATURE + "\n", "g" * 64, "٣" * 64]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        authorization(algorithm="AWS4-HMAC-SHA1"),
        authorization(algorithm="aws4-hmac-sha256"),
        authorization() + ",",
        authorization() + f", Signature={SIGNATURE}",
        authorization() + ", Other=1",
        authorization().replace("Signature=", "signature="),
        f"{ALGORITHM} Credential={CREDENTIAL}, SignedHeaders=host",
        f"{ALGORITHM} Credential, SignedHeaders=host, Signature={SIGNATURE}",
        *map(authorization, BAD_CREDENTIALS),
        *(authorization(signed=signed) for signed in BAD_SIGNED_HEADERS),
        *(authorization(signature=signature) for signature in BAD_SIGNATURES),
    ],
)
def test_a_malformed_authorization_header_is_refused(value: str) -> None:
    """Whatever is not exactly a SigV4 header raises AuthorizationHeaderMalformed."""
    with pytest.raises(AuthorizationHeaderMalformed):
        parse_authorization(value, TIMESTAMP)


@pytest.mark.parametrize(
    "timestamp",
    ["", "20130524", "2013-05-24T00:00:00Z", "Fri, 24 May 2013 00:00:00 GMT", TIMESTAMP + "\n", "20130524T240000Z"],
)
def test_a_timestamp_in_another_form_is_refused(timestamp: str) -> None:
    """Only the ISO 8601 basic form counts, in the header as in the query."""
    with pytest.raises(AccessDenied):
        parse_authorization(authorization(), timestamp)
    with pytest.raises(AuthorizationQueryParametersError):
        parse_presigned(presigned(Date=timestamp))


# --- parsing the query ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"])
def test_each_presigned_parameter_is_needed_exactly_once(name: str) -> None:
    """A parameter left out, or given twice, raises AuthorizationQueryParametersError."""
    complete = presigned()
    with pytest.raises(AuthorizationQueryParametersError):
        parse_presigned(presigned(**{name: None}))
    with pytest.raises(AuthorizationQueryParametersError):
        parse_presigned([*complete, *(pair for pair in complete if pair[0] == f"X-Amz-{name}")])


@pytest.mark.parametrize(
    "query",
    [
        presigned(Algorithm="AWS4-HMAC-SHA1"),
        *(presigned(Credential=credential) for credential in BAD_CREDENTIALS),
        *(presigned(SignedHeaders=signed) for signed in BAD_SIGNED_HEADERS),
        *(presigned(Signature=signature) for signature in BAD_SIGNATURES),
    ],
)
def test_a_malformed_presigned_query_is_refused(query: list[tuple[str, str]]) -> None:
    """Whatever is not exactly a SigV4 query raises AuthorizationQueryParametersError."""
    with pytest.raises(AuthorizationQueryParametersError):
        parse_presigned(query)


def test_a_doubled_session_token_is_refused() -> None:
    """Two tokens could be read by two readers: refused even when they are equal."""
    token = ("X-Amz-Security-Token", "token")
    assert parse_presigned([*presigned(), token]).access_key_id == ACCESS_KEY
    for second in (token, ("X-Amz-Security-Token", "other")):
        with pytest.raises(AuthorizationQueryParametersError):
            parse_presigned([*presigned(), token, second])


def test_sigv4a_is_refused_by_its_name() -> None:
    """The asymmetric algorithm gets an answer that says what is wrong."""
    with pytest.raises(InvalidRequest, match="SigV4A"):
        parse_authorization(authorization(algorithm="AWS4-ECDSA-P256-SHA256"), TIMESTAMP)
    with pytest.raises(InvalidRequest, match="SigV4A"):
        parse_presigned(presigned(Algorithm="AWS4-ECDSA-P256-SHA256"))


def test_trap_05_a_request_that_does_not_sign_its_host_is_refused() -> None:
    """Without host a captured request could be sent to another server: AccessDenied, in header and query."""
    for signed in ("x-amz-date", "hostname", "x-host;x-hosts"):
        with pytest.raises(AccessDenied):
            parse_authorization(authorization(signed=signed), TIMESTAMP)
        with pytest.raises(AccessDenied):
            parse_presigned(presigned(SignedHeaders=signed))


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expires",
    ["", "0", "-1", "+1", "604801", "9223372036854775808", "1e3", "1.5", " 60", "60 ", "60\n", "0x10", "1_0", "٣", "²"],
)
def test_trap_09_a_presigned_lifetime_is_1_to_604800_seconds(expires: str) -> None:
    """Anything but ASCII digits from 1 second to seven days is refused when the request is read."""
    with pytest.raises(AuthorizationQueryParametersError):
        parse_presigned(presigned(Expires=expires))


def test_trap_09_the_ends_of_the_presigned_lifetime_are_allowed() -> None:
    """One second and seven days are lifetimes; absent and double are tested above."""
    assert parse_presigned(presigned(Expires="1")).expires == 1
    assert parse_presigned(presigned(Expires="604800")).expires == 604800


@pytest.mark.parametrize(
    ("now", "allowed"),
    [(NOW - 901, False), (NOW - 900, True), (NOW, True), (NOW + 901, True), (NOW + 3600, True), (NOW + 3601, False)],
)
def test_trap_09_a_presigned_url_lives_from_15_minutes_before_its_date_to_its_expiry(now: int, allowed: bool) -> None:
    """A date up to 900 s ahead is a fast clock; one second past date + expires is too late."""
    claim = parse_presigned(presigned(Expires="3600"))
    if allowed:
        check_time(claim, now)
        return
    with pytest.raises(AccessDenied, match="expired" if now > NOW else "not valid yet"):
        check_time(claim, now)


@pytest.mark.parametrize(
    ("offset", "allowed"),
    [(-901, False), (-900, True), (-899, True), (0, True), (899, True), (900, True), (901, False), (10**9, False)],
)
def test_trap_65_a_header_signature_is_good_for_15_minutes_either_way(offset: int, allowed: bool) -> None:
    """Within 900 s of the server's clock the date stands; a second more raises RequestTimeTooSkewed."""
    claim = parse_authorization(authorization(), TIMESTAMP)
    if allowed:
        check_time(claim, NOW + offset)
        return
    with pytest.raises(RequestTimeTooSkewed):
        check_time(claim, NOW + offset)


@pytest.mark.parametrize("timestamp", ["20130523T235959Z", "20130525T000000Z"])
def test_trap_65_the_scope_must_be_of_the_day_of_the_date(timestamp: str) -> None:
    """A signing key of another day does not sign this date, were it one second away."""
    with pytest.raises(AuthorizationHeaderMalformed):
        parse_authorization(authorization(), timestamp)
    with pytest.raises(AuthorizationQueryParametersError):
        parse_presigned(presigned(Date=timestamp))


@pytest.mark.parametrize("stamp", ["20240229T235959Z", "20000229T000001Z", "20231231T120000Z"])
def test_leap_days_and_the_time_of_day_count(stamp: str) -> None:
    """The date is UTC to the second: 900 s later it stands, a second more it does not."""
    claim = parse_authorization(authorization(f"{ACCESS_KEY}/{stamp[:8]}/us-east-1/s3/aws4_request"), stamp)
    fields = (int(stamp[at : at + 2]) for at in (4, 6, 9, 11, 13))
    signed_at = int(datetime(int(stamp[:4]), *fields, tzinfo=UTC).timestamp())
    check_time(claim, signed_at + 900)
    with pytest.raises(RequestTimeTooSkewed):
        check_time(claim, signed_at + 901)


@pytest.mark.parametrize("date", ["20130230", "20131301", "00000101", "99999999"])
def test_a_date_that_no_calendar_has_is_refused(date: str) -> None:
    """A well-formed timestamp of no day raises AccessDenied instead of escaping as ValueError."""
    credential = f"{ACCESS_KEY}/{date}/us-east-1/s3/aws4_request"
    with pytest.raises(AccessDenied):
        check_time(parse_authorization(authorization(credential), f"{date}T000000Z"), NOW)


# --- keys and comparison --------------------------------------------------------------------------------------------


def mac(secret: str, text: str) -> str:
    """Sign by the standard library."""
    key = f"AWS4{secret}".encode()
    for part in (SCOPE.date, SCOPE.region, SCOPE.service, "aws4_request", text):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key.hex()


@given(st.binary(max_size=64), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_signing_key_is_hmac_sha256(key: bytes, text: str) -> None:
    """With the pads absorbed beforehand the signature is HMAC's (RFC 2104), as often as one asks."""
    signer = SigningKey(key)
    expected = hmac.new(key, text.encode(), "sha256").hexdigest()
    assert [signer.sign(text), signer.sign(text)] == [expected, expected]


def test_trap_63_no_two_secrets_share_a_signing_key() -> None:
    """Each (secret, scope) has its own key; a second question gets the same object."""
    keys = SigningKeys(10)
    other = Scope("20130525", "us-east-1", "s3")
    assert keys.get(SECRET, SCOPE).sign("text") == mac(SECRET, "text")
    assert keys.get(SECRET, SCOPE) is keys.get(SECRET, Scope("20130524", "us-east-1", "s3"))
    assert len({keys.get(SECRET, SCOPE), keys.get(SECRET, other), keys.get("other", SCOPE)}) == 3


def test_signing_keys_are_bounded_and_stay_right() -> None:
    """Many secrets do not grow the cache without end, nor spoil what it answers, nor show in its repr."""
    keys = SigningKeys(4)
    for number in range(50):
        assert keys.get(f"secret{number}", SCOPE).sign("") == mac(f"secret{number}", "")
        assert len(keys._keys) <= 4
    assert "secret49" not in repr(keys)


def test_trap_15_signatures_are_compared_by_compare_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """`matches` asks hmac.compare_digest with both texts whole, and returns its answer."""
    asked: list[tuple[Any, Any]] = []

    def spy(a: Any, b: Any) -> bool:
        asked.append((a, b))
        return compare(a, b)

    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert matches(SIGNATURE, SIGNATURE)
    assert not matches(SIGNATURE, SIGNATURE[:-1] + "0")
    assert not matches(SIGNATURE, "")
    assert not matches(SIGNATURE, "\u00e9")
    assert [(bytes(a), bytes(b)) for a, b in asked] == [
        (SIGNATURE.encode(), given.encode()) for given in (SIGNATURE, SIGNATURE[:-1] + "0", "", "\u00e9")
    ]


# --- nothing but S3Error escapes ------------------------------------------------------------------------------------

pieces = st.sampled_from(
    [
        ALGORITHM,
        " ",
        ",",
        "=",
        "Credential",
        "SignedHeaders",
        "Signature",
        CREDENTIAL,
        SIGNATURE,
        "host",
        ";",
        "\n",
        "é",
    ]
)


@given(st.lists(pieces | st.text(max_size=4), max_size=14).map("".join), st.just(TIMESTAMP) | st.text(max_size=17))
def test_any_header_gives_a_claim_or_an_s3_error(value: str, timestamp: str) -> None:
    """Whatever is sent, parsing and the time check answer with a claim that signs host, or an S3Error."""
    try:
        claim = parse_authorization(value, timestamp)
        check_time(claim, NOW)
    except S3Error:
        return
    assert "host" in claim.signed_headers


@given(
    st.lists(
        st.tuples(st.sampled_from([name for name, _ in presigned()]) | st.text(max_size=5), st.text(max_size=20)),
        max_size=3,
    ),
    st.sets(st.integers(0, 5)),
)
def test_any_query_gives_a_claim_or_an_s3_error(extra: list[tuple[str, str]], kept: set[int]) -> None:
    """A presigned query with parameters lost, doubled or replaced gives a claim with a lifetime, or an S3Error."""
    try:
        claim = parse_presigned([pair for at, pair in enumerate(presigned()) if at in kept] + extra)
        check_time(claim, NOW)
    except S3Error:
        return
    assert claim.expires is not None
    assert 1 <= claim.expires <= 604800


# --- what is remembered is what would be worked out -----------------------------------------------------------------


def outcome_of(parse: Any, *given: Any) -> Any:
    """Return what a function gives, or the code and words of its S3Error."""
    try:
        return parse(*given)
    except S3Error as error:
        return error.code, error.message, error.reason


claims = st.builds(
    lambda key, day, headers, signature: (
        f"{ALGORITHM} Credential={key}/{day}/us-east-1/s3/aws4_request, SignedHeaders={headers}, Signature={signature}"
    ),
    st.sampled_from([ACCESS_KEY, "a/20130524/b", "é", ""]),
    st.sampled_from(["20130524", "20130525", "99999999", "2013"]),
    st.sampled_from(["host", "host;x-amz-date", "x-amz-date;host", "Host", ""]),
    st.sampled_from([SIGNATURE, SIGNATURE.upper(), SIGNATURE[:-1], f"{SIGNATURE} ", f"{SIGNATURE},a=b", "0" * 64]),
)


@given(claims, st.sampled_from([TIMESTAMP, "20130525T000000Z", "20130524T250000Z", "20130524", "99999999T000000Z", ""]))
def test_a_remembered_credential_is_no_second_parser(value: str, timestamp: str) -> None:
    """Whatever was parsed before, a header is read as it would be the first time, errors included."""
    first = outcome_of(sigv4._parsed, value, timestamp)
    assert [outcome_of(parse_authorization, value, timestamp) for _ in range(2)] == [first, first]


VALUES = st.text(st.sampled_from("ab:%s \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x00é\x85\xa0\u2028"), max_size=12)


@given(st.dictionaries(st.sampled_from(["host", "x-amz-date", "a%s", "b", "c"]), VALUES, min_size=1))
def test_canonical_headers_fold_all_white_space(headers: dict[str, str]) -> None:
    """Lines that are taken as they are differ in nothing from lines that are folded value by value."""
    expected = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in headers.items())
    assert sigv4.canonical_headers(headers, list(headers)) == expected
