"""The facts of a request: condition keys and the document for OPA."""

import dataclasses

import pytest

from gateway.s3.context import RequestContext, _canonical, _spelled_short
from gateway.s3.operations import table
from iam.condition_keys import KEYS
from iam.model import AccessRequest, Principal, PrincipalType, UnknownFact
from iam.opa_questions import opa_input

ALICE = Principal(
    PrincipalType.ASSUMED_ROLE,
    "AK",
    claims={
        "sub": "alice",
        "aud": ["a", "b"],
        "email_verified": True,
        "n": 7,
        "empty": "",
        "nested": {},
        "Team": "red",
    },
    groups=("staff", "dev"),
    parent="alice@idp",
    tags={"Team": "red", "cost center": "7"},
    issued_at=1767222000,
    provider="openid:corp",
)
SECRETS = {
    "authorization": "AWS4 secret", "cookie": "c secret", "proxy-authorization": "p secret",
    "x-amz-security-token": "t secret", "x-amz-server-side-encryption-customer-key": "k secret",
    "x-amz-copy-source-server-side-encryption-customer-key": "k2 secret",
}  # fmt: skip


def context(headers=None, query=(), principal=ALICE, **facts):
    """Return a context of one request from 192.0.2.1 over TLS at 2026-01-01, about an object without tags."""
    facts = {"secure": True, "now": 1767225600, "existing_tags": ()} | facts
    return RequestContext(headers or {}, query, principal, "192.0.2.1", **facts)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("aws:SourceIp", ("192.0.2.1",)),
        ("AWS:SOURCEIP", ("192.0.2.1",)),
        ("aws:SecureTransport", ("true",)),
        ("aws:Referer", ("http://r/",)),
        ("aws:UserAgent", ("agent",)),
        ("aws:CurrentTime", ("2026-01-01T00:00:00Z",)),
        ("aws:EpochTime", ("1767225600",)),
        ("aws:PrincipalType", ("AssumedRole",)),
        ("aws:userid", ("alice@idp",)),
        ("aws:username", ("alice@idp",)),
        ("aws:groups", ("staff", "dev")),
        ("aws:unknown", None),
        ("aws:PrincipalArn", ("arn:aws:sts:::federated-user/alice@idp",)),
        ("aws:TokenIssueTime", ("2025-12-31T23:00:00Z",)),
        ("aws:FederatedProvider", ("openid:corp",)),
        ("aws:ViaAWSService", ("false",)),
        ("aws:PrincipalIsAWSService", ("false",)),
        ("aws:PrincipalTag/Team", ("red",)),
        ("AWS:PRINCIPALTAG/team", ("red",)),
        ("aws:PrincipalTag/cost center", ("7",)),
        ("aws:PrincipalTag/none", None),
        ("aws:PrincipalTag", None),
        ("aws:RequestTag/Env", None),
        ("aws:TagKeys", None),
        ("sts:RoleSessionName", None),
        ("s3:prefix", ("home/",)),
        ("s3:delimiter", ("",)),
        ("s3:max-keys", ("10",)),
        ("S3:Max-Keys", ("10",)),
        ("s3:VersionId", ("v1",)),
        ("s3:x-amz-acl", ("private",)),
        ("s3:X-Amz-Acl", ("private",)),
        ("s3:x-amz-storage-class", None),
        ("s3:x-amz-date", None),
        ("s3:signatureversion", ("AWS4-HMAC-SHA256",)),
        ("s3:signatureAge", ("1500",)),
        ("s3:authType", ("REST-HEADER",)),
        ("s3:RequestObjectTag/color", ("dark red",)),
        ("s3:RequestObjectTag/Color", None),
        ("s3:RequestObjectTagKeys", ("color", "x")),
        ("s3:object-lock-mode", ("GOVERNANCE",)),
        ("s3:object-lock-legal-hold", None),
        ("s3:LocationConstraint", ("eu-west-1",)),
        ("s3:ExistingObjectTag/color", ("blue",)),
        ("S3:EXISTINGOBJECTTAG/color", ("blue",)),
        ("s3:ExistingObjectTag/Color", None),
        ("s3:ExistingObjectTag", None),
        ("s3:if-none-match", ("*",)),
        ("s3:if-match", None),
        ("s3:x-amz-bucket-namespace", None),
        ("s3:object-lock-retain-until-date", ("2026-01-11T12:00:00Z",)),
        ("s3:object-lock-remaining-retention-days", ("10",)),
        ("s3:object-lock-event-hold", ("ON",)),
        ("s3:object-lock-event-hold-duration-days", ("730",)),
        ("s3:ObjectCreationOperation", ("true",)),
        ("jwt:sub", ("alice",)),
        ("JWT:Sub", ("alice",)),
        ("jwt:team", ("red",)),
        ("jwt:aud", ("a", "b")),
        ("jwt:email_verified", ("true",)),
        ("jwt:n", ("7",)),
        ("jwt:absent", None),
        ("ldap:user", None),
        ("ldap:groups", None),
        ("other:sub", None),
        ("prefix", None),
        ("", None),
    ],
)
def test_condition_keys(key, expected):
    """Every key MinIO and AWS document for a request has its value; any other has none."""
    headers = {
        "referer": "http://r/", "user-agent": "agent", "x-amz-acl": "private", "x-amz-date": "20260101T000000Z",
        "x-amz-tagging": "color=dark+red&x=", "x-amz-object-lock-mode": "GOVERNANCE", "if-none-match": "*",
        "x-amz-object-lock-retain-until-date": "2026-01-11T12:00:00Z", "x-amz-object-lock-event-hold": "ON",
        "x-amz-object-lock-event-hold-duration-years": "2",
    }  # fmt: skip
    query = [("prefix", "home/"), ("delimiter", ""), ("max-keys", "10"), ("Prefix", "no")]
    facts = {"signature_version": "AWS4-HMAC-SHA256", "auth_type": "REST-HEADER", "signature_age_ms": 1500,
             "operation": "PutObject", "existing_tags": (("color", "blue"),)}  # fmt: skip
    assert context(headers, query, version_id="v1", location="eu-west-1", **facts).values(key) == expected


def test_absent_facts_are_none():
    """A key without a value in this request is absent, so that Null and IfExists can tell."""
    bare = context(principal=Principal(PrincipalType.ANONYMOUS))
    keys = ["aws:username", "aws:Referer", "aws:groups", "s3:prefix", "s3:VersionId", "s3:signatureAge", "jwt:sub",
            "s3:RequestObjectTagKeys", "s3:LocationConstraint", "s3:authType"]  # fmt: skip
    assert [bare.values(key) for key in keys] == [None] * len(keys)


def test_a_new_buckets_tags_are_request_tags():
    """What CreateBucket's document gives the bucket is in aws:RequestTag and aws:TagKeys; no header of such a name is."""
    asked = context({"aws:requesttag": "evil=1"}, told={"aws:requesttag": "env=prod&owner="})
    assert asked.values("aws:TagKeys") == ("env", "owner")
    assert (asked.values("aws:RequestTag/Env"), asked.values("aws:RequestTag/owner")) == (("prod",), ("",))
    assert context({"aws:requesttag": "evil=1"}).values("aws:TagKeys") is None
    for key in ("aws:TagKeys", "aws:RequestTag/env"):  # a document that nobody reads is not one without tags
        with pytest.raises(UnknownFact):
            context(operation="PutBucketTagging").values(key)


def test_permanent_keys_have_no_session():
    """Without a session nothing is said of its time, its provider or its tags."""
    asked = context(principal=Principal(PrincipalType.USER, "ann"))
    assert asked.values("aws:PrincipalArn") == ("arn:aws:iam:::user/ann",)
    assert [asked.values(f"aws:{key}") for key in ("TokenIssueTime", "FederatedProvider", "PrincipalTag/Team")] == [
        None
    ] * 3
    assumed = context(principal=Principal(PrincipalType.ASSUMED_ROLE, "K", parent="ann", provider="user"))
    assert assumed.values("aws:FederatedProvider") is None


@pytest.mark.parametrize("key", ["jwt:TEAM", "aws:PrincipalTag/Team", "jwt:nested", "jwt:mixed", "jwt:ratio"])
def test_trap_58_what_is_there_and_cannot_be_told_is_unknown(key):
    """Two spellings of which none is asked for, and a claim without an obvious text, are not absent: nothing holds on them."""
    claims = {"team": "red", "Team": "blue", "nested": {"a": 1}, "mixed": ["a", 1], "ratio": 1.5}
    asked = context(principal=dataclasses.replace(ALICE, claims=claims, tags={"team": "red", "TEAM": "blue"}))
    assert (asked.values("jwt:team"), asked.values("jwt:Team")) == (("red",), ("blue",))
    with pytest.raises(UnknownFact):
        asked.values(key)


def test_ldap_sessions_have_ldap_keys():
    """`ldap:user`, `ldap:username` and `ldap:groups` come from the session's claims and groups."""
    asked = context(
        principal=dataclasses.replace(
            ALICE, claims={"ldapUser": "uid=ann,dc=x", "ldapUsername": "ann"}, provider="ldap"
        )
    )
    assert (asked.values("ldap:user"), asked.values("ldap:username")) == (("uid=ann,dc=x",), ("ann",))
    assert asked.values("ldap:groups") == ("staff", "dev")
    assert asked.document()["user"] == ["uid=ann,dc=x"]


@pytest.mark.parametrize("provider", ["openid:corp", "openid:ldap", "custom", "user", ""])
def test_trap_47_claims_called_like_ldaps_are_none(provider):
    """What another provider calls ldapUser fills no ldap: key, and is not the user in the document."""
    claims = {"ldapUser": "uid=root,dc=x", "ldapUsername": "root", "sub": "eve"}
    asked = context(principal=dataclasses.replace(ALICE, claims=claims, provider=provider))
    assert [asked.values(f"ldap:{key}") for key in ("user", "username", "groups")] == [None] * 3
    assert "uid=root,dc=x" not in str(asked.document())


OURS = [
    "aws:username", "aws:SourceIp", "jwt:sub", "jwt:groups", "ldap:user", "s3:prefix", "sub", "SUB", "groups", "name",
    "preferred_username", "policy", "user", "userid", "username", "principaltype", "SourceIp", "sourceip", "email",
    "SecureTransport", "CurrentTime", "EpochTime", "UserAgent", "Referer", "signatureversion", "signatureAge",
    "authType", "versionid", "versionId", "LocationConstraint", "RequestObjectTag/color", "RequestObjectTagKeys",
    "ExistingObjectTag/color", "Object-Lock-Mode", "Object-Lock-Legal-Hold", "Object-Lock-Retain-Until-Date",
]  # fmt: skip


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("principal", [ALICE, Principal(PrincipalType.USER, "AK")], ids=["session", "permanent key"])
def test_trap_32_no_header_or_parameter_writes_a_key_of_ours(name, principal):
    """A name of ours sent as header and as parameter changes no condition key and nothing in the document."""
    clean = context(principal=principal)
    forged = context({name.lower(): "evil"} if name != "Referer" else {}, [(name, "evil")], principal)
    assert "evil" not in str(forged.document())
    assert forged.document() == clean.document()
    keys = [name, "aws:username", "aws:SourceIp", "jwt:sub", f"jwt:{name}", f"s3:{name}", f"aws:{name}", f"ldap:{name}"]
    assert [forged.values(key) for key in keys] == [clean.values(key) for key in keys]


@pytest.mark.parametrize("name", ["Team", "TEAM", "team"])
def test_trap_32_no_header_or_parameter_writes_a_claim_of_the_session(name):
    """A claim the IdP chose a name for is the session's own: a parameter of that name is left out."""
    assert context({name.lower(): "evil"}, [(name, "evil")]).document() == context().document()


@pytest.mark.parametrize(
    "name",
    ["SourceIp", "sourceip", "Username", "principaltype", "prefix", "Delimiter", "x-amz-acl", "RequestObjectTag/a",
     "aws:username", "VersionId"],
)  # fmt: skip
def test_trap_32_no_claim_speaks_in_place_of_a_fact_or_of_the_request(name):
    """A claim named like a fact of ours or like the listing's prefix does not replace it."""
    query = [("prefix", "home/"), ("delimiter", "/")]
    forged = dataclasses.replace(ALICE, claims={**ALICE.claims, name: "evil"})
    assert context({}, query, forged).document() == context({}, query).document()


def test_the_document_is_minios():
    """Headers in Go's spelling, parameters as sent, our facts and the claims, each a list of texts."""
    headers = {"host": "s3", "x-amz-date": "d", "user-agent": "agent", "x-amz-object-lock-mode": "GOVERNANCE",
               "x-amz-tagging": "color=red"}  # fmt: skip
    query = [("list-type", "2"), ("prefix", "a/"), ("X-Amz-Date", "q")]
    facts = {"signature_version": "AWS4-HMAC-SHA256", "auth_type": "REST-QUERY-STRING", "signature_age_ms": 5}
    assert context(headers, query, version_id="v1", location="eu", **facts).document() == {
        "Host": ["s3"],
        "X-Amz-Date": ["d", "q"],
        "User-Agent": ["agent"],
        "list-type": ["2"],
        "prefix": ["a/"],
        "CurrentTime": ["2026-01-01T00:00:00Z"],
        "EpochTime": ["1767225600"],
        "LocationConstraint": ["eu"],
        "Object-Lock-Mode": ["GOVERNANCE"],
        "Referer": [""],
        "RequestObjectTag/color": ["red"],
        "RequestObjectTagKeys": ["color"],
        "SecureTransport": ["true"],
        "SourceIp": ["192.0.2.1"],
        "UserAgent": ["agent"],
        "authType": ["REST-QUERY-STRING"],
        "groups": ["staff", "dev"],
        "principaltype": ["AssumedRole"],
        "signatureAge": ["5"],
        "signatureversion": ["AWS4-HMAC-SHA256"],
        "userid": ["alice@idp"],
        "username": ["alice@idp"],
        "versionid": ["v1"],
        "sub": ["alice"],
        "aud": ["a", "b"],
        "empty": [""],
        "Team": ["red"],
    }


def test_credentials_are_masked_unless_asked_for():
    """Signatures, tokens, cookies and SSE-C keys leave the gateway only when the operator wants them to."""
    query = [("X-Amz-Signature", "s secret"), ("X-Amz-Credential", "c secret"), ("X-Amz-Security-Token", "q secret")]
    masked = context(SECRETS, query).document()
    assert "secret" not in str(masked)
    assert masked["Authorization"] == ["***"]
    assert masked["X-Amz-Security-Token"] == ["***", "***"]
    raw = context(SECRETS, query, raw_headers=True).document()
    assert raw["Authorization"] == ["AWS4 secret"]
    assert raw["X-Amz-Security-Token"] == ["t secret", "q secret"]


def test_the_session_policy_is_no_condition():
    """It is in `claims` already, and no condition may be asked of it."""
    asked = context(principal=dataclasses.replace(ALICE, claims={"sessionPolicy": "e30="}))
    assert "sessionPolicy" not in asked.document()


def test_trap_33_tags_version_and_region_reach_the_policy():
    """What a Rego policy needs to judge tags, versions and regions is in its input."""
    asked = context({"x-amz-tagging": "a=1&b=2"}, [], version_id="v", location="eu")
    conditions = opa_input(AccessRequest(ALICE, "s3:PutObject", "b", "k", asked))["conditions"]
    assert conditions["RequestObjectTagKeys"] == ["a", "b"]
    assert (conditions["RequestObjectTag/b"], conditions["versionid"]) == (["2"], ["v"])
    assert conditions["LocationConstraint"] == ["eu"]


@pytest.mark.parametrize("name", ["prefix", "delimiter", "max-keys"])
def test_trap_32_a_header_is_no_listing_parameter(name):
    """A header `Prefix` must not pass for the prefix, under either spelling a Rego policy may look for."""
    forged = context({name: "evil"}, [(name, "sent")])
    assert forged.values(f"s3:{name}") == ("sent",)
    assert forged.document() == context({}, [(name, "sent")]).document()


PLAIN = ["jwt:sub", "jwt:email", "ldap:user", "ldap:username", "ldap:groups", "s3:ExistingObjectTag/color",
         "s3:RequestObjectTag/color", "aws:PrincipalTag/Team", "aws:RequestTag/color"]  # fmt: skip
ALL_KEYS = sorted(KEYS) + PLAIN


@pytest.mark.parametrize("key", ALL_KEYS)
@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "ListObjectsV2", "PutObjectTagging"])
def test_trap_32_no_condition_key_is_written_by_its_name(key, operation):
    """Every key, sent by its whole or its short name as a header and as a parameter, changes no other key's value."""
    known = next(o.headers for found in table().values() for o in found if o.name == operation)
    facts = {"operation": operation, "known": known, "auth_type": "REST-HEADER", "existing_tags": (("color", "blue"),)}
    short = key.partition(":")[2]
    for name in (key, short, short.lower(), short.title(), f"X-Amz-{short}"):
        is_header = name.lower() in known | {"referer", "x-amz-content-sha256"}
        is_parameter = name in {"prefix", "delimiter", "max-keys", "annotation-prefix", "max-annotation-results"}
        forged = context({} if is_header else {name.lower(): "evil"}, () if is_parameter else [(name, "evil")], **facts)
        assert [forged.values(one) for one in ALL_KEYS] == [context(**facts).values(one) for one in ALL_KEYS], name


def test_a_header_that_stays_behind_says_nothing():
    """x-amz-acl on a GET is not forwarded, so that no policy may take it for a wish; the document's word is taken."""
    headers = {"x-amz-acl": "private", "x-amz-tagging": "a=1", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    asked = context(headers, known=frozenset({"if-match"}), told={"x-amz-object-lock-mode": "GOVERNANCE"})
    assert asked.values("s3:x-amz-acl") is None
    assert asked.values("s3:RequestObjectTagKeys") is None
    assert asked.values("s3:x-amz-content-sha256") == ("UNSIGNED-PAYLOAD",)
    assert asked.values("s3:object-lock-mode") == ("GOVERNANCE",)
    assert asked.document()["Object-Lock-Mode"] == ["GOVERNANCE"]
    assert "RequestObjectTagKeys" not in asked.document()


def test_tags_nobody_has_read_are_not_absent():
    """Until somebody looks, the object's tags are unknown: no condition holds on them, not even that there are none."""
    with pytest.raises(UnknownFact):
        context(existing_tags=None).values("s3:ExistingObjectTag/color")
    assert context(existing_tags=()).values("s3:ExistingObjectTag/color") is None


def test_trap_33_existing_tags_reach_the_policy_once_they_are_read():
    """The tags of the object as it is stand in MinIO's place for them."""
    read = context(existing_tags=(("color", "blue"), ("x", "")))
    assert read.document()["ExistingObjectTag/color"] == ["blue"]
    assert read.document()["ExistingObjectTag/x"] == [""]


@pytest.mark.parametrize(
    ("until", "days"),
    [("2026-01-02T00:00:00Z", "1"), ("2026-01-01T23:59:59Z", "0"), ("2025-12-31T23:59:59Z", "-1"), ("soon", "soon"),
     ("99999-01-01", "99999-01-01"), ("", None), ("2026-02-01T00:00:00+05:00", "30")],
)  # fmt: skip
def test_remaining_retention_is_in_whole_days(until, days):
    """Days are counted from the request's time; what is no date is passed on, so that no number can match it."""
    asked = context({"x-amz-object-lock-retain-until-date": until})
    assert asked.values("s3:object-lock-remaining-retention-days") == (None if days is None else (days,))


def test_names_that_clients_invent_are_not_kept():
    """Spellings are kept of short names only, or one caller would fill the memory for good."""
    _spelled_short.cache_clear()
    assert (_canonical("x-amz-date"), _canonical("x-" + "a" * 9000)[:4]) == ("X-Amz-Date", "X-Aa")
    assert _spelled_short.cache_info().currsize == 1
