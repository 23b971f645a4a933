"""The phases of STS: clamping, claims that are ours, authorization, minting, recording. The store is the real embedded one."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import replace
from urllib.parse import urlencode

import jwt
import pytest

from gateway.app import new_access_key
from iam.authorize import AllOf, IamPolicies
from iam.codec import FOREVER
from iam.embedded import EmbeddedStore
from iam.evaluate import decide
from iam.model import AccessRequest, Allow, Deny, Principal, PrincipalType
from iam.policy import CANNED, parse
from iam.principals import arn_of
from sts.assume_role import SignedCaller
from sts.openid import OpenId
from sts.principal import principal_of
from sts.proof import Proof
from sts.service import MAX_TOKEN, StsService
from sts.sessions import OUR_CLAIMS, PRIVATE, Keyring, open_session
from sts.settings import OpenIdSettings
from sts.wire import InvalidIdentityToken, StsError, parse_call
from tests.servers.iam import a_keyring
from tests.unit.sts.provider import Provider, token

KEYRING = a_keyring("root-secret-of-the-unit-tests")
ROOT = Principal(PrincipalType.ACCOUNT, "root", owner=True)
ANN = Principal(PrincipalType.USER, "ann")
GET = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
LIST = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::b"}
POLICIES = {**CANNED, "lister": parse(json.dumps({"Version": "2012-10-17", "Statement": LIST}))}
NOW = 1_900_000_000


class Told:
    """A way in that proves what a test tells it, or fails with it."""

    def __init__(self) -> None:
        self.proof: Proof | Exception = Proof("tls", "tls:ann")

    async def prove(self, call):
        if isinstance(self.proof, Exception):
            raise self.proof
        return self.proof

    async def ready(self):
        return None

    async def close(self):
        pass


@pytest.fixture
async def store():
    """A real store in memory."""
    found = EmbeddedStore(None)
    await found.open()
    yield found
    await found.close()


@pytest.fixture
def told():
    """The way in that a test tells what to prove."""
    return Told()


@pytest.fixture
def service(store, told):
    """A service at a fixed moment: AssumeRole is real, AssumeRoleWithCertificate proves what it is told."""
    signed = SignedCaller()
    ways = {"AssumeRole": signed, "GetSessionToken": signed, "AssumeRoleWithCertificate": told}
    return StsService(ways, lambda: KEYRING, store, POLICIES.get, lambda: NOW + 0.25, new_access_key)


async def call(service, action="AssumeRoleWithCertificate", signer=None, **parameters) -> str:
    given = {"Action": action, **parameters}
    found = parse_call(urlencode(given), None, "", signer=signer, source_ip="192.0.2.1")
    return (await service.call(found, request_id="R")).decode()


async def session_of(service, action="AssumeRoleWithCertificate", signer=None, **parameters):
    """Return the opened session of a call that succeeds."""
    return opened(await call(service, action, signer, **parameters))


def opened(xml: str, now: int = NOW):
    return open_session(KEYRING, re.search("<SessionToken>(.*?)<", xml)[1], now=now)


async def refusal(service, action="AssumeRoleWithCertificate", signer=None, **parameters) -> StsError:
    with pytest.raises(StsError) as refused:
        await call(service, action, signer, **parameters)
    return refused.value


async def test_a_session_is_recorded_before_it_is_told(service, told):
    """The store has who, since when, until when, by which key and way, and of which revoke type."""
    told.proof = Proof("openid:corp", "openid:corp:s", {"sub": "s", "iss": "i", "secret": "x"}, issuer="i")
    found = await session_of(service, TokenRevokeType="laptop", RoleSessionName="work")
    record = await service.store.session(found.credentials.access_key_id)
    assert (record.parent, record.provider, record.issuer) == ("openid:corp:s", "openid:corp", "i")
    assert (record.issued_at, record.expires_at) == (NOW, NOW + 3600)
    assert (record.kid, record.revoke_type) == (KEYRING.current, "laptop")
    assert record.claims == {"sub": "s", "iss": "i"}
    assert (found.provider, found.revoke_type, found.name) == ("openid:corp", "laptop", "work")


async def test_a_store_that_is_away_issues_nothing(service, store):
    """No record, no credentials: 503, and the reason is for the log."""
    await store.close()
    error = await refusal(service)
    assert (error.code, error.status) == ("ServiceUnavailable", 503)


async def test_without_a_key_nothing_is_issued(service):
    """A gateway that has no key yet, or not the current one, says that it is not ready."""
    for keyring in (Keyring("", {}), Keyring("new", KEYRING.keys)):
        error = await refusal(replace(service, keyring=lambda keyring=keyring: keyring))
        assert (error.code, error.status) == ("ServiceUnavailable", 503)


async def test_the_key_of_the_moment_mints(service):
    """A key ring that has rotated meanwhile is used for the next session."""
    rings = [KEYRING, a_keyring("another-root-secret")]
    turning = replace(service, keyring=lambda: rings[0])
    for ring in list(rings):
        xml = await call(turning)
        key = re.search("<AccessKeyId>(.*?)<", xml)[1]
        assert open_session(ring, re.search("<SessionToken>(.*?)<", xml)[1], now=NOW).credentials.access_key_id == key
        assert (await service.store.session(key)).kid == ring.current
        rings.pop(0)


@pytest.mark.parametrize(
    ("ends", "longest", "asked", "lasts"),
    [
        (None, None, "", 3600),
        (None, None, "900", 900),
        (None, None, "31536000", 31_536_000),
        (None, 1800, "", 1800),
        (None, 1800, "7200", 1800),
        (600, None, "", 600),
        (600, None, "43200", 600),
        (86_400, None, "43200", 43_200),
        (86_400, 7200, "43200", 7200),
        (1, 7200, "900", 1),
    ],
)
async def test_trap_46_a_session_ends_with_its_proof(service, told, ends, longest, asked, lasts):
    """A session lasts as long as was asked, its role's maximum or its proof: whichever is shortest."""
    told.proof = Proof("tls", "tls:a", expires_at=None if ends is None else NOW + ends, max_duration=longest)
    found = await session_of(service, DurationSeconds=asked)
    assert found.credentials.expires_at == NOW + lasts
    assert (await service.store.session(found.credentials.access_key_id)).expires_at == NOW + lasts


@pytest.mark.parametrize("ends", [0, -1, -10_000])
async def test_trap_46_a_proof_that_has_ended_makes_no_session(service, told, ends):
    """At its very end a proof is no proof any more."""
    told.proof = Proof("tls", "tls:a", expires_at=NOW + ends)
    assert (await refusal(service)).code == "ExpiredTokenException"


@pytest.mark.parametrize("action", ["AssumeRole", "GetSessionToken"])
async def test_trap_46_chains_do_not_extend(service, action):
    """A session of any kind cannot make another, so that nothing outlives what began it."""
    found = await session_of(service, "AssumeRole", ROOT)
    again = principal_of(found, root_access_key="root")
    assert again.owner
    assert (await refusal(service, action, again)).code == "AccessDenied"


async def test_trap_46_get_session_token_has_its_own_bounds(service):
    """Twelve hours when nothing is asked, thirty-six at most."""
    assert (await session_of(service, "GetSessionToken", ANN)).credentials.expires_at == NOW + 43_200
    assert (await refusal(service, "GetSessionToken", ANN, DurationSeconds="129601")).code == "InvalidParameterValue"


async def test_trap_47_claims_that_are_ours_cannot_be_brought(service, told):
    """A proof whose claims say parent, provider or any other of ours brings none of them."""
    hostile = dict.fromkeys(OUR_CLAIMS, "root") | {
        PRIVATE: {"provider": "user"},
        "policy": "consoleAdmin",
        "sub": "root",
    }
    told.proof = Proof("openid:corp", "openid:corp:root", hostile)
    found = await session_of(service)
    assert found.claims == {
        "accessKey": found.credentials.access_key_id, "exp": NOW + 3600, "parent": "openid:corp:root", "policy": "consoleAdmin",
        "sub": "root", PRIVATE: {"provider": "openid:corp", "issued": NOW * 1000 + 250},
    }  # fmt: skip
    assert not principal_of(found, root_access_key="root").owner


async def test_the_token_says_what_was_proved(service, told):
    """Parent, provider, role, groups, moment, session name: each is in the token, and what is empty is left out."""
    told.proof = Proof("ldap", "uid=a,dc=x", {"ldapUser": "uid=a,dc=x"}, ("cn=g,dc=x",), role_arn="arn:r")
    found = await session_of(service, RoleSessionName="n1")
    assert found.claims[PRIVATE] == {
        "provider": "ldap", "issued": NOW * 1000 + 250, "groups": ["cn=g,dc=x"], "session": "n1",
    }  # fmt: skip
    assert (found.parent, found.role_arn, found.groups, found.issued_at) == (
        "uid=a,dc=x", "arn:r", ("cn=g,dc=x",), NOW * 1000 + 250,
    )  # fmt: skip


async def test_a_new_session_is_later_than_every_revocation(service, told):
    """A session is stamped after the epoch of its parent and type, though the clock of who revoked be ahead."""
    asked = []

    def not_before(parent: str, revoke_type: str) -> int:
        asked.append((parent, revoke_type))
        return NOW * 1000 + 60_000

    ahead = replace(service, revocations=lambda: not_before)
    assert (await session_of(ahead, TokenRevokeType="t")).issued_at == NOW * 1000 + 60_001
    assert asked == [("tls:ann", "t")] * 2


async def test_no_session_is_stamped_far_ahead(service):
    """A revocation that cannot be read is for ever: a session that is stamped behind it would outlast every other one."""
    broken = replace(service, revocations=lambda: lambda _parent, _type: FOREVER)
    error = await refusal(broken)
    assert (error.code, error.status) == ("ServiceUnavailable", 503)
    assert await service.store.sessions() == []


@pytest.mark.parametrize("moved", [0, 1, 5_000, 60_000])
async def test_a_revocation_while_a_caller_proves_himself_is_not_stepped_over(service, told, moved):
    """Who was proved before a revocation of his, in ten seconds, gets no session that is stamped behind it: 503, no record."""
    known, now, prove = [{"tls:ann": 5}], [NOW + 0.25], told.prove

    async def slowly(asked):
        known.append({"tls:ann": NOW * 1000 + 250 + moved, "tls:eve": NOW * 2000})
        now.append(NOW + 10.25)
        return await prove(asked)

    told.prove = slowly
    late = replace(
        service, now=lambda: now[-1], revocations=lambda: lambda parent, _type, at=known[-1]: at.get(parent, 0)
    )
    error = await refusal(late)
    assert (error.code, error.status) == ("ServiceUnavailable", 503)
    told.prove = prove
    again = await session_of(late)
    assert again.issued_at == max(NOW * 1000 + 10_250, NOW * 1000 + 251 + moved)
    assert [one.access_key_id for one in await late.store.sessions()] == [again.credentials.access_key_id]


@pytest.mark.parametrize("skew", [-300, -1, 1, 300])
async def test_clocks_of_gateways_may_differ(service, skew):
    """What one gateway issues opens at another at once, be its clock behind or ahead."""
    xml = await call(service, DurationSeconds="900")
    assert opened(xml, NOW + skew).issued_at == NOW * 1000 + 250


async def test_sealed_tokens_show_nothing(service, told):
    """Sealed, no part of the token tells whose it is, and it opens like any other; readable is the default."""
    told.proof = Proof("openid:corp", "openid:corp:ann@example.org", {"email": "ann@example.org"})
    xml = await call(replace(service, sealed=True))
    text = re.search("<SessionToken>(.*?)<", xml)[1]
    parts = [base64.urlsafe_b64decode(part + "==") for part in text.split(".")]
    assert json.loads(parts[0]) == {"alg": "dir", "enc": "A256GCM", "kid": KEYRING.current}
    assert not any(
        word in part for part in (text.encode(), *parts) for word in (b"ann", b"example", b"openid", b'exp"')
    )
    assert opened(xml).claims["email"] == "ann@example.org"
    readable = re.search("<SessionToken>(.*?)<", await call(service))[1]
    assert jwt.decode(readable, options={"verify_signature": False})["email"] == "ann@example.org"


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_token_above_4_kib_names_its_largest_claims(service, told, sealed):
    """A token may have 4096 characters; a longer one is refused, and the message names claims and repeats none."""
    private = "the-content-of-the-claim"
    told.proof = Proof(
        "openid:corp", "openid:corp:s", {"big": private * 100, "bigger": [private * 60, "x" * 900], "a": 1}
    )
    error = await refusal(replace(service, sealed=sealed))
    assert error.code == "PackedPolicyTooLarge"
    assert re.search(r"bigger \(2\d+\)|big \(2\d+\), bigger", error.text)
    assert private not in error.text
    fits = Proof("openid:corp", "openid:corp:s", {"big": "x" * 2600})
    told.proof = fits
    assert len((await session_of(service)).credentials.session_token.reveal()) <= MAX_TOKEN == 4096


async def test_a_refused_session_is_not_recorded(service, told):
    """What was refused leaves nothing behind."""
    told.proof = Proof("tls", "tls:a", {"big": "x" * 5000})
    await refusal(service)
    told.proof = InvalidIdentityToken("The claim aud.")
    assert (await refusal(service)).text == "The claim aud."
    assert await service.store.sessions() == []


async def test_a_way_that_is_not_configured_says_so(service):
    """An action that exists and is not configured is 503 by its name; one that does not exist is a bad parameter."""
    error = await refusal(service, "AssumeRoleWithCustomToken", Token="t", RoleArn="r")
    assert (error.code, error.status, error.text) == (
        "STSNotInitialized", 503, "AssumeRoleWithCustomToken is not configured here.",
    )  # fmt: skip
    assert (await refusal(service, "GetFederationToken")).code == "InvalidParameterValue"


async def test_an_identity_that_could_do_nothing_is_refused(service, told):
    """A federated identity without a policy is told so; who has permanent keys is not asked."""
    strict = replace(service, shortcoming=lambda proof: f"No policy for {proof.parent}.")
    told.proof = Proof("openid:corp", "openid:corp:s", {"policy": "nobody"})
    error = await refusal(strict)
    assert (error.code, error.text) == ("InvalidParameterValue", "No policy for openid:corp:s.")
    assert (await session_of(strict, "AssumeRole", ANN)).parent == "ann"


async def test_policy_and_policy_arns_are_one_narrowing_document(service):
    """The session may what its policy or a named one allows, and no more, be it the owner's."""
    own = json.dumps({"Version": "2012-10-17", "Statement": [GET]})
    arns = {"PolicyArns.member.1.arn": "arn:minio:iam:::policy/lister"}
    found = await session_of(service, "AssumeRole", ROOT, Policy=own, **arns)
    judge = AllOf(IamPolicies(dict))
    principal = principal_of(found, root_access_key="root")
    answers = [
        bool(judge.decide_now(AccessRequest(principal, action, "b", key)))
        for action, key in [("s3:GetObject", "k"), ("s3:ListBucket", ""), ("s3:PutObject", "k"), ("s3:GetObject", "")]
    ]
    assert answers == [True, True, False, False]


async def test_a_named_policy_that_widens_later_widens_no_session(service):
    """The session keeps what the policy said when it began: another, or none, of that name later changes nothing."""
    known = {"mine": POLICIES["lister"]}
    xml = await call(replace(service, policy=known.get), "AssumeRole", ROOT, **{"PolicyArns.member.1.arn": "mine"})
    known["mine"] = CANNED["readwrite"]
    principal = principal_of(opened(xml), root_access_key="root")
    judge = AllOf(IamPolicies(lambda: known))
    assert not judge.decide_now(AccessRequest(principal, "s3:PutObject", "b", "k"))
    assert judge.decide_now(AccessRequest(principal, "s3:ListBucket", "b"))


async def test_an_unknown_policy_arn_is_named(service):
    """A policy that does not exist narrows nothing silently: the call is refused and names the parameter."""
    error = await refusal(service, "AssumeRole", ROOT, **{"PolicyArns.member.2.arn": "arn:aws:iam::aws:policy/none"})
    assert (error.code, error.text) == ("InvalidParameterValue", "PolicyArns.member.2.arn: there is no policy none.")


async def test_nobody_learns_the_policies_names(service, told):
    """Who proves nothing is told that, and not whether a policy of that name exists."""
    told.proof = InvalidIdentityToken("The signature.")
    for name in ("lister", "none"):
        assert (await refusal(service, **{"PolicyArns.member.1.arn": name})).text == "The signature."


async def test_packed_size_is_told(service):
    """The share of the bound that policy and tags take is in the answer, as at AWS; nothing when there are none."""
    own = json.dumps({"Version": "2012-10-17", "Statement": [GET]})
    assert "<PackedPolicySize>3</PackedPolicySize>" in await call(service, "AssumeRole", ROOT, Policy=own)
    assert "PackedPolicySize" not in await call(service, "AssumeRole", ROOT)


def judge(*statements):
    """Return a `may` over policies: sts:AssumeRole* is allowed unless denied, sts:TagSession denied unless allowed."""
    policy = parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
    allow_all = parse(json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:*"}]}))
    asked = []

    async def may(request: AccessRequest):
        asked.append(request)
        if request.principal.owner:
            return Allow("owner")
        return decide((policy,) if request.action == "sts:TagSession" else (policy, allow_all), request)

    may.asked = asked
    return may


async def test_a_policy_may_deny_long_sessions(service):
    """`sts:DurationSeconds` in a Deny bounds what a user may ask for, as in MinIO; the reason is not for the client."""
    deny = {
        "Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*",
        "Condition": {"NumericGreaterThan": {"sts:DurationSeconds": "1800"}},
    }  # fmt: skip
    strict = replace(service, may=judge(deny))
    assert (await session_of(strict, "AssumeRole", ANN, DurationSeconds="1800")).parent == "ann"
    error = await refusal(strict, "AssumeRole", ANN, DurationSeconds="1801")
    assert (error.code, error.text) == ("AccessDenied", "Access Denied.")
    assert "denies sts:AssumeRole" in error.reason


async def test_what_is_judged_is_how_long_the_session_would_last(service, told):
    """A request for a year by a proof of ten minutes is judged as ten minutes, of the identity that was proved."""
    may = judge({"Effect": "Allow", "Action": "sts:*"})
    told.proof = Proof("openid:corp", "openid:corp:s", {"sub": "s"}, ("openid:corp:g",), NOW + 600)
    await session_of(replace(service, may=may), DurationSeconds="31536000")
    (asked,) = may.asked
    assert asked.context.values("sts:DurationSeconds") == ("600",)
    assert (asked.action, asked.principal.parent, asked.principal.groups) == (
        "sts:AssumeRoleWithCertificate", "openid:corp:s", ("openid:corp:g",),
    )  # fmt: skip


async def test_a_role_has_its_name_before_and_after(service, told):
    """aws:PrincipalArn is the role's where a session of a role is asked for, as in the session; no proof names a role of its own."""
    role = "arn:minio:iam:::role/idmp-portal"
    may = judge({"Effect": "Allow", "Action": "sts:*"})
    told.proof = Proof(
        "custom", "custom:ann", {"sub": "s", "roleArn": "arn:aws:iam:::role/other", "parent": "x"}, role_arn=role
    )
    found = await session_of(replace(service, may=may))
    told.proof = replace(told.proof, role_arn="")
    await session_of(replace(service, may=may))
    with_role, without = may.asked
    assert (
        with_role.context.values("aws:PrincipalArn")
        == (role,)
        == (arn_of(principal_of(found, root_access_key="root")),)
    )
    assert without.context.values("aws:PrincipalArn") == ("arn:aws:sts:::federated-user/custom:ann",)
    assert without.context.values("jwt:parent") is None


TAGS = {"Tags.member.1.Key": "team", "Tags.member.1.Value": "red", "TransitiveTagKeys.member.1": "team"}


async def test_tags_of_ones_own_choice_need_a_right(service):
    """Who may sts:TagSession tags his session; others are refused, whatever else they may."""
    allow = {"Effect": "Allow", "Action": "sts:TagSession", "Condition": {"StringEquals": {"aws:username": "ann"}}}
    may = judge(allow)
    found = await session_of(replace(service, may=may), "AssumeRole", ANN, **TAGS)
    assert (found.tags, found.claims[PRIVATE]["transitive"]) == ({"team": "red"}, ["team"])
    assert may.asked[1].context.values("aws:RequestTag/team") == ("red",)
    for strict in (replace(service, may=judge({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})), service):
        assert (await refusal(strict, "AssumeRole", ANN, **TAGS)).code == "AccessDenied"
    assert (await session_of(service, "AssumeRole", ROOT, **TAGS)).tags == {"team": "red"}


async def test_nobody_gives_himself_the_tag_that_lets_him_tag(service):
    """A policy that lets tagged callers tag asks for the tags that one has, and not for those that one wishes."""
    allow = {
        "Effect": "Allow",
        "Action": "sts:TagSession",
        "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}},
    }
    strict = replace(service, may=judge(allow))
    error = await refusal(strict, "AssumeRole", ANN, **TAGS)
    assert (error.code, error.text) == ("AccessDenied", "The parameter Tags needs the right sts:TagSession.")
    assert (await session_of(strict, "AssumeRole", replace(ANN, tags={"team": "red"}), **TAGS)).tags == {"team": "red"}


async def test_tags_of_the_identity_provider(service, told):
    """Tags that the provider's token vouches for, in AWS's claim, are the session's; the claim itself is not kept twice."""
    claim = {"principal_tags": {"team": ["red"], "site": ["x"]}, "transitive_tag_keys": ["team"]}
    told.proof = Proof("openid:corp", "openid:corp:s", {"https://aws.amazon.com/tags": claim})
    found = await session_of(service)
    assert found.tags == {"team": "red", "site": "x"}
    assert "https://aws.amazon.com/tags" not in found.claims


@pytest.mark.parametrize(
    "tags",
    [["team"], {"team": ["a", "b"]}, {"team": 1}, {"aws:x": ["1"]}, {"a": ["x" * 257]}, {"a": ["1"], "A": ["2"]}],
)
async def test_odd_tags_of_the_identity_provider_are_refused(service, told, tags):
    """Tags that are none are the provider's fault, and the claim is named."""
    told.proof = Proof("openid:corp", "openid:corp:s", {"https://aws.amazon.com/tags": {"principal_tags": tags}})
    error = await refusal(service)
    assert error.code == "IDPRejectedClaim"
    assert "https://aws.amazon.com/tags" in error.text


async def test_who_one_is_no_policy_refuses(service):
    """GetCallerIdentity answers whoever signed, though every policy deny it."""

    async def never(_):
        return Deny("never")

    xml = await call(replace(service, may=never), "GetCallerIdentity", ANN)
    assert "<Arn>arn:aws:iam::000000000000:user/ann</Arn>" in xml
    assert (await refusal(service, "GetCallerIdentity")).code == "AccessDenied"


async def test_a_real_token_all_the_way(service):
    """A real provider's token gives credentials that end with it, whose parent cannot be called like a user."""
    provider = Provider()
    way = OpenId([OpenIdSettings(jwks_url=provider.url)], time.time)
    real = replace(service, ways={"AssumeRoleWithClientGrants": way}, now=time.time)
    xml = await call(
        real, "AssumeRoleWithClientGrants", Token=token(sub="root", policy="readwrite"), DurationSeconds="43200"
    )
    found = opened(xml, int(time.time()))
    assert found.credentials.expires_at <= time.time() + 600
    assert found.parent == "openid:_:root"
    assert await way.ready() is None
    await way.close()
    provider.close()
