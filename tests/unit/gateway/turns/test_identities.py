"""Who an access key and a token are, as the view has it at that moment."""

from __future__ import annotations

import base64
import time

import pytest

from gateway.errors import ExpiredToken, InvalidAccessKeyId, InvalidTokenId, ServiceUnavailable
from gateway.s3.context import RequestContext
from gateway.turns.identities import Identities, Rights
from iam.evaluate import decide
from iam.model import AccessRequest, Credentials, Deny, PrincipalType, Secret
from iam.opa_questions import opa_input
from iam.policy import parse
from iam.records import Attachment, Epoch, Group, KeyRecord, Kind, Revocation, ServiceAccount, User
from iam.store import SessionRecord
from iam.view import Gone, IamView
from sts.keyring import Keys
from sts.principal import policies_of
from sts.sessions import PRIVATE, mint

NOW = 1_800_000_000
SECRET = Secret("a-secret-key")
ROOT = Credentials("ROOTKEY", Secret("the-root-secret"))
KEY = KeyRecord("aa", b"s" * 64, b"d" * 64, 1, 1)
NARROW = '{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
RECORDS = [
    KEY, User("alice", SECRET), User("bob", SECRET, enabled=False), Group("devs", ("alice",)),
    Attachment("alice", ("own",)), Attachment("devs", ("teams",), group=True),
    Attachment("openid:corp:ann", ("anns",)), Attachment("openid:corp:staff", ("staffs",), group=True),
    ServiceAccount("ci-key", SECRET, "alice", policy=NARROW), ServiceAccount("rootskey", SECRET, "ROOTKEY"),
    ServiceAccount("bobskey", SECRET, "bob"), ServiceAccount("offkey", SECRET, "alice", enabled=False),
    ServiceAccount("oldkey", SECRET, "alice", expires_at=NOW), ServiceAccount("orphan", SECRET, "nobody"),
    ServiceAccount(
        "annskey", SECRET, "openid:corp:ann", provider="openid:corp", claims={"policy": "claimed"},
        groups=("openid:corp:staff",),
    ),
]  # fmt: skip


class Watching:
    """What of a watcher matters here."""

    def __init__(self):
        self.view = IamView().apply(RECORDS, 1)
        self.is_loaded, self.current, self.age, self.last_seen = True, True, 0.0, time.monotonic()

    def change(self, *changes):
        self.view = self.view.apply(changes, self.view.revision + 1)


class Site:
    """Identities over a view that the test changes, and a clock."""

    def __init__(self, stale_limit=900.0):
        self.watcher, self.now = Watching(), NOW
        rights = Rights(ROOT.access_key_id, {"openid": lambda _, claims: policies_of(claims, "policy")})
        self.keyring = Keys(lambda: self.watcher.view, lambda: self.now)
        self.identities = Identities(ROOT, self.watcher, self.keyring, rights, lambda: self.now, stale_limit)

    def session(
        self, parent="openid:corp:ann", provider="openid:corp", *, key="A" * 20, issued=NOW * 1000, life=3600, **claims
    ):
        private = {"provider": provider, "issued": issued, "groups": claims.pop("groups", ["openid:corp:staff"])}
        payload = {"parent": parent, PRIVATE: private, **claims}
        return mint(self.keyring(), payload, access_key_id=key, expires_at=NOW + life)

    def who(self, credentials):
        token = credentials.session_token.reveal() if credentials.session_token else ""
        return self.identities.lookup(credentials.access_key_id, token)[1]


@pytest.fixture
def site():
    """A site with users, groups, accounts and one session key."""
    return Site()


def test_root_is_known_by_the_configuration(site):
    """Root is the owner, and needs no view."""
    assert site.identities.lookup("ROOTKEY", "")[1].owner
    site.watcher.is_loaded = False
    assert site.identities.lookup("ROOTKEY", "")[0] == ROOT


def test_a_user_has_its_own_and_its_groups_policies(site):
    """A user is no owner; its policies are those attached to it and to its enabled groups, as they are now."""
    credentials, principal = site.identities.lookup("alice", "")
    assert (credentials.secret, principal.owner, principal.type) == (SECRET, False, PrincipalType.USER)
    assert (principal.policies, principal.groups) == (("own", "teams"), ("devs",))
    site.watcher.change(Group("devs", ("alice",), enabled=False))
    assert site.identities.lookup("alice", "")[1].policies == ("own",)
    site.watcher.change(Attachment("alice", (), broken=True))
    assert site.identities.lookup("alice", "")[1].policies == ()


@pytest.mark.parametrize("name", ["bob", "bobskey", "offkey", "oldkey", "orphan", "nobody", "", "AAAAAAAAAAAAAAAAAAAA"])
def test_who_is_disabled_gone_or_unknown_is_refused(site, name):
    """A disabled user, its accounts, a disabled, expired or orphaned account, and an unknown key are the same to the client."""
    with pytest.raises(InvalidAccessKeyId):
        site.identities.lookup(name, "")


def test_trap_29_an_account_has_what_its_parent_has_narrowed_by_its_own_policy(site):
    """Policies and groups are the parent's of this moment; the account's policy is a session policy, root's account is the owner."""
    principal = site.identities.lookup("ci-key", "")[1]
    assert (principal.policies, principal.groups, principal.parent) == (("own", "teams"), ("devs",), "alice")
    assert (principal.session_policy, principal.owner) == (NARROW, False)
    assert site.identities.lookup("rootskey", "")[1].owner
    ann = site.identities.lookup("annskey", "")[1]
    assert (ann.policies, ann.owner) == (("claimed", "anns", "staffs"), False)
    site.watcher.change(Gone(Kind.USER, "alice"))
    with pytest.raises(InvalidAccessKeyId):
        site.identities.lookup("ci-key", "")


def test_a_federated_session_has_its_claims_and_its_attachments_policies(site):
    """What the provider's claim names and what is attached to the identity and its groups, each once."""
    principal = site.who(site.session(policy="claimed,anns"))
    assert principal.policies == ("claimed", "anns", "staffs")
    assert (principal.parent, principal.owner, principal.type) == ("openid:corp:ann", False, PrincipalType.ASSUMED_ROLE)


def test_a_users_session_is_what_the_user_is_now(site):
    """Rights of an assumed role are the user's of this moment; it ends when the user is disabled or removed."""
    session = site.session("alice", "user", groups=[])
    assert site.who(session).policies == ("own", "teams")
    site.watcher.change(Attachment("alice", ("other",)))
    assert site.who(session).policies == ("other", "teams")
    site.watcher.change(User("alice", SECRET, enabled=False))
    with pytest.raises(InvalidAccessKeyId):
        site.who(session)


NOT_DEVS = """{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"s3:*",
  "Resource":"*","Condition":{"ForAnyValue:StringEquals":{"aws:groups":"devs"}}}]}"""


def asked_as(principal):
    """Return a question of a caller, as a policy and as OPA hear it."""
    context = RequestContext({}, (), principal, "192.0.2.1", secure=True, now=NOW)
    return AccessRequest(principal, "s3:GetObject", "bucket", "key", context)


def test_trap_30_no_credentials_of_a_user_shed_its_groups(site):
    """The user's own key, its service account and its session are in its groups of this moment, for policies and for OPA."""
    record = SessionRecord("A" * 20, "alice", "", "user", NOW, NOW + 60)
    everybody = (
        lambda: site.identities.lookup("alice", "")[1],
        lambda: site.identities.lookup("ci-key", "")[1],
        lambda: site.who(site.session("alice", "user", groups=[])),
        lambda: site.identities.recorded(record),
    )
    for who in everybody:
        asked = asked_as(who())
        assert opa_input(asked)["groups"] == ["devs"]
        assert opa_input(asked)["conditions"]["groups"] == ["devs"]
        assert isinstance(decide([parse(NOT_DEVS)], asked), Deny)
    site.watcher.change(Group("devs", ("alice",), enabled=False))
    for who in everybody:
        assert who().groups == ()
        assert not isinstance(decide([parse(NOT_DEVS)], asked_as(who())), Deny)


def test_a_tokens_own_groups_are_no_users_groups(site):
    """A user's session has no group that only its token names, and root's has none."""
    assert site.who(site.session("alice", "user", groups=["staff"])).groups == ("devs",)
    assert site.who(site.session("ROOTKEY", "user", groups=["staff"])).groups == ()


@pytest.mark.parametrize(
    ("parent", "provider", "owner"),
    [("ROOTKEY", "user", True), ("ROOTKEY", "openid", False), ("ROOTKEY", "openid:corp", False), ("ROOTKEY", "", False),
     ("openid:corp:ROOTKEY", "openid:corp", False), ("tls:ROOTKEY", "tls", False), ("custom:ROOTKEY", "custom", False)],
)  # fmt: skip
def test_trap_47_nobody_federated_is_root(site, parent, provider, owner):
    """Only a session that root's own signature made is the owner, whatever a provider calls its subjects."""
    assert site.who(site.session(parent, provider)).owner is owner


def test_trap_50_tokens_and_keys_belong_together(site):
    """A token with permanent keys, another session's token, a session's key without one: each is refused."""
    one, other = site.session(key="A" * 20), site.session(key="B" * 20)
    token = one.session_token.reveal()
    for name in ("ROOTKEY", "alice", "ci-key", other.access_key_id):
        with pytest.raises(InvalidTokenId):
            site.identities.lookup(name, token)
    with pytest.raises(InvalidAccessKeyId):
        site.identities.lookup(one.access_key_id, "")
    for junk in ("alice", "ci-key", "x.y.z", token[:-1], token + "A"):
        site.identities.lookup("alice", "")
        with pytest.raises(InvalidTokenId):
            site.identities.lookup("alice" if junk == "alice" else one.access_key_id, junk)


def test_a_session_ends_with_its_time(site):
    """At its expiry a session is over, also when it was in use a second before."""
    session = site.session(life=10)
    site.who(session)
    site.now += 9
    site.who(session)
    site.now += 1
    with pytest.raises(ExpiredToken):
        site.who(session)


def test_trap_51_revocation_needs_no_restart(site):
    """A session in use is refused from the moment the view has its revocation, or an epoch of its parent."""
    one, other = site.session(key="A" * 20), site.session(key="B" * 20, tokenRevokeType="ci")
    site.who(one), site.who(other)
    site.watcher.change(Revocation(one.access_key_id, NOW, NOW + 3600))
    with pytest.raises(InvalidAccessKeyId):
        site.who(one)
    site.who(other)
    site.watcher.change(Epoch("openid:corp:ann", 0, {"ci": NOW * 1000}, NOW * 2))
    with pytest.raises(InvalidAccessKeyId):
        site.who(other)
    site.who(site.session(key="C" * 20))
    site.watcher.change(Epoch("openid:corp:ann", NOW * 1000, {}, NOW * 2))
    with pytest.raises(InvalidAccessKeyId):
        site.who(site.session(key="D" * 20))
    site.who(site.session(key="E" * 20, issued=NOW * 1000 + 1))


def test_a_withdrawn_key_ends_its_sessions(site):
    """A session whose key is gone is refused, also when it was in use before; those of other keys go on."""
    session = site.session()
    site.who(session)
    site.watcher.change(KeyRecord("bb", b"t" * 64, b"e" * 64, 2, 2))
    site.who(session)
    site.watcher.change(Gone(Kind.KEY, "aa"))
    with pytest.raises(InvalidTokenId):
        site.who(session)
    site.who(site.session(key="B" * 20))


def test_clocks_that_differ_are_tolerated(site):
    """A session issued by a gateway whose clock is a minute ahead of ours works here at once (its issue lies in our future)."""
    site.who(site.session(issued=(NOW + 60) * 1000, life=3660))


def test_what_has_not_changed_is_the_same_object(site):
    """Across changes that are about others the principal is the same object, so that what is known of it stays known."""
    session = site.session(policy="claimed")
    token = session.session_token.reveal()
    first, user = site.identities.lookup(session.access_key_id, token), site.identities.lookup("alice", "")
    site.watcher.change(User("carol", SECRET))
    assert site.identities.lookup(session.access_key_id, token)[1] is first[1]
    assert site.identities.lookup("alice", "")[1] is user[1]
    site.watcher.change(Attachment("openid:corp:ann", ("less",)))
    assert site.identities.lookup(session.access_key_id, token)[1] is not first[1]


@pytest.mark.parametrize(("limit", "age", "served"), [(900, 899, True), (900, 901, False), (0, 6, False)])
def test_a_gateway_that_is_cut_off_honours_sessions_for_a_while(limit, age, served):
    """Beyond the limit users and sessions get 503, and root is served; 0 honours nothing while the watch is interrupted."""
    site = Site(stale_limit=limit)
    session = site.session()
    site.who(session), site.identities.lookup("alice", "")
    site.watcher.current, site.watcher.age, site.watcher.last_seen = False, age, time.monotonic() - age
    for call in (lambda: site.who(session), lambda: site.identities.lookup("alice", "")):
        if served:
            call()
        else:
            with pytest.raises(ServiceUnavailable):
                call()
    site.identities.lookup("ROOTKEY", "")


def test_before_the_first_view_only_root_is_let_in():
    """A gateway that has not loaded its view says so instead of calling a good session bad."""
    site = Site()
    session = site.session()
    site.watcher.is_loaded, site.watcher.current, site.watcher.view = False, False, IamView()
    with pytest.raises(ServiceUnavailable):
        site.who(session)


def test_an_unknown_key_of_a_gateway_that_is_cut_off_is_no_forgery():
    """A token that does not open while the watch is interrupted may be signed by a new key: 503, which clients try again."""
    site = Site()
    site.watcher.change(KeyRecord("bb", b"t" * 64, b"e" * 64, 2, 2))
    session = site.session()
    site.watcher.change(Gone(Kind.KEY, "bb"))
    site.watcher.current = False
    with pytest.raises(ServiceUnavailable):
        site.who(session)
    site.watcher.current = True
    with pytest.raises(InvalidTokenId):
        site.who(session)


def test_a_session_policy_is_carried(site):
    """What narrows a session is in its principal, root's too."""
    encoded = base64.b64encode(NARROW.encode()).decode()
    principal = site.who(site.session("ROOTKEY", "user", groups=[], sessionPolicy=encoded))
    assert (principal.owner, principal.session_policy) == (True, NARROW)


def test_memory_is_bounded(site, monkeypatch):
    """Sessions beyond the bound push the others out, which are found again."""
    monkeypatch.setattr("gateway.turns.identities.SESSIONS_KEPT", 10)
    sessions = [site.session(key=f"{i:020}") for i in range(25)]
    for session in sessions:
        site.who(session)
    assert len(site.identities._sessions) <= 10
    site.who(sessions[0])
