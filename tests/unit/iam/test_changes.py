"""Changes over a real store and a real watcher: what is refused, what belongs together, and that nothing is lost."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager

import pytest

from iam import embedded
from iam.codec import Codec, record_key
from iam.embedded import EmbeddedStore
from iam.model import Secret
from iam.records import Attachment, Kind
from iam.refusals import (
    AlreadyExists,
    GroupNotEmpty,
    InvalidName,
    InvalidPolicy,
    InvalidSecret,
    NoSuchAccount,
    NoSuchGroup,
    NoSuchKey,
    NoSuchPolicy,
    NoSuchSession,
    NoSuchUser,
    NothingChanged,
    PolicyInUse,
)
from iam.seal import Seal
from iam.store import SessionRecord, Write
from iam.watch import Watcher
from tests.servers.iam import CODEC, changes

SECRET = Secret("a-secret-key")
READ = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}'


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look often: the tests are about order, not about seconds."""
    monkeypatch.setattr(embedded, "POLL", 0.005)


class Site:
    """A store, its watcher and its changes."""

    def __init__(self, store, watcher):
        self.store, self.watcher = store, watcher
        self.now = time.time()
        self.changes = changes(store, lambda: watcher.view, watcher.reached, now=lambda: self.now)

    @property
    def view(self):
        return self.watcher.view


@asynccontextmanager
async def a_site(path=None):
    store = EmbeddedStore(path)
    await store.open()
    watcher = Watcher(store, CODEC)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(watcher.run())
        await watcher.loaded()
        yield Site(store, watcher)
        running.cancel()
    await store.close()


@pytest.fixture
async def site():
    """An empty site."""
    async with a_site() as one:
        yield one


async def test_a_change_is_in_the_view_when_it_returns(site):
    """Who changes something reads it at this gateway at once."""
    user = await site.changes.put_user("alice", secret=SECRET)
    assert site.view.users == {"alice": user}
    assert user.secret == SECRET
    await site.changes.put_user("alice", enabled=False)
    assert not site.view.users["alice"].enabled
    assert site.view.users["alice"].secret == SECRET


@pytest.mark.parametrize(
    "name", ["", "ab", "a b", "a=b", "a,b", "a/b", "openid:x", "tls:root", "ü" * 4, "a" * 129, "x\n"]
)
async def test_trap_16_names_that_break_scopes_are_refused(site, name):
    """No user, group or account is made whose name could break a scope, a list, or be taken for somebody else's."""
    for call in (
        site.changes.put_user(name, secret=SECRET), site.changes.add_members(name, []),
        *([site.changes.create_account("ROOTKEY", access_key_id=name)] if name else []),
    ):  # fmt: skip
        with pytest.raises(InvalidName):
            await call


async def test_trap_47_nobody_is_called_like_root_or_like_another(site):
    """Root's name is taken, and a user and a service account never share one."""
    with pytest.raises(AlreadyExists):
        await site.changes.put_user("ROOTKEY", secret=SECRET)
    await site.changes.put_user("alice", secret=SECRET)
    await site.changes.create_account("alice", access_key_id="ci-key")
    with pytest.raises(AlreadyExists):
        await site.changes.create_account("alice", access_key_id="alice")
    with pytest.raises(AlreadyExists):
        await site.changes.create_account("alice", access_key_id="ci-key")
    with pytest.raises(AlreadyExists):
        await site.changes.put_user("ci-key", secret=SECRET)


@pytest.mark.parametrize("secret", ["", "short", "x" * 129])
async def test_secrets_have_a_length(site, secret):
    """A secret key of fewer than 8 or more than 128 characters is refused, for users and accounts."""
    with pytest.raises(InvalidSecret):
        await site.changes.put_user("alice", secret=Secret(secret))
    with pytest.raises(InvalidSecret):
        await site.changes.create_account("ROOTKEY", secret=Secret(secret))


async def test_what_is_not_there_cannot_be_changed(site):
    """Each kind has its own refusal, and nothing is made by a change of what is not there."""
    made = site.changes
    for error, call in (
        (NoSuchUser, made.put_user("alice", enabled=False)), (NoSuchUser, made.remove_user("alice")),
        (NoSuchUser, made.add_members("devs", ["alice"])), (NoSuchGroup, made.remove_members("devs", ["alice"])),
        (NoSuchGroup, made.remove_group("devs")), (NoSuchGroup, made.set_group_status("devs", enabled=True)),
        (NoSuchPolicy, made.remove_policy("read-b")), (NoSuchUser, made.attach("alice", ["readonly"])),
        (NoSuchGroup, made.attach("devs", ["readonly"], group=True)), (NoSuchAccount, made.remove_account("key")),
        (NoSuchUser, made.create_account("alice")), (NoSuchAccount, made.update_account("key", enabled=False)),
        (NoSuchSession, made.revoke_session("AKEY")), (NoSuchKey, made.withdraw_key("00")),
        (NoSuchPolicy, made.attach("openid:corp:sub", ["nobodys"])), (InvalidName, made.attach("a\nb", ["readonly"])),
    ):  # fmt: skip
        with pytest.raises(error):
            await call
    assert (await site.store.snapshot()).rows == ()


async def test_a_removed_user_takes_everything_along(site):
    """Accounts, attachment, memberships go with the user, and its sessions end; a namesake of tomorrow inherits none of it."""
    await site.changes.put_user("alice", secret=SECRET)
    await site.changes.put_user("bob", secret=SECRET)
    await site.changes.add_members("devs", ["alice", "bob"])
    await site.changes.attach("alice", ["readonly"])
    await site.changes.create_account("alice", access_key_id="alices-key")
    await site.changes.create_account("bob", access_key_id="bobs-key")
    await site.changes.remove_user("alice")
    assert set(site.view.users) == {"bob"}
    assert set(site.view.accounts) == {"bobs-key"}
    assert site.view.groups["devs"].members == ("bob",)
    assert site.view.attached("alice") == ()
    assert site.view.is_revoked("ANY", "alice", int(site.now * 1000))


async def test_a_user_with_hundreds_of_accounts_can_be_removed(site):
    """More accounts than one transaction of etcd takes are removed in several."""
    await site.changes.put_user("alice", secret=SECRET)
    await asyncio.gather(*(site.changes.create_account("alice") for _ in range(150)))
    assert len(site.view.accounts) == 150
    await site.changes.remove_user("alice")
    assert (dict(site.view.users), dict(site.view.accounts)) == ({}, {})


async def test_groups(site):
    """Members are added and removed each once; only an empty group goes, and its attachment with it."""
    for name in ("alice", "bob"):
        await site.changes.put_user(name, secret=SECRET)
    await site.changes.add_members("devs", ["bob", "alice", "bob"])
    assert site.view.groups["devs"].members == ("alice", "bob")
    await site.changes.attach("devs", ["readwrite"], group=True)
    assert site.view.attached("alice", site.view.groups_of("alice")) == ("readwrite",)
    await site.changes.set_group_status("devs", enabled=False)
    assert site.view.groups_of("alice") == ()
    with pytest.raises(GroupNotEmpty):
        await site.changes.remove_group("devs")
    await site.changes.remove_members("devs", ["alice", "bob"])
    await site.changes.remove_group("devs")
    assert (dict(site.view.groups), dict(site.view.attachments)) == ({}, {})


async def test_policies(site):
    """A policy that parses is kept as written; a canned name is taken; one that is attached stays."""
    await site.changes.put_policy("read-b", READ)
    assert site.view.policies["read-b"].text == READ
    with pytest.raises(InvalidPolicy, match="Statement"):
        await site.changes.put_policy("bad", "{}")
    for call in (site.changes.put_policy("readonly", READ), site.changes.remove_policy("consoleAdmin")):
        with pytest.raises(AlreadyExists):
            await call
    for name in ("", "a,b", "a b", "a/b"):
        with pytest.raises(InvalidName):
            await site.changes.put_policy(name, READ)
    await site.changes.attach("openid:corp:sub", ["read-b"])
    with pytest.raises(PolicyInUse):
        await site.changes.remove_policy("read-b")
    await site.changes.detach("openid:corp:sub", ["read-b"])
    await site.changes.remove_policy("read-b")
    assert dict(site.view.policies) == {}


async def test_a_policy_that_another_gateway_just_attached_is_not_removed(site):
    """A gateway that has not heard of it yet puts the policy back: what it denies is denied on, and no later one of its name counts."""
    await site.changes.put_policy("reading", READ)
    await site.changes.put_user("alice", secret=SECRET)
    heard = [site.view]

    async def hear(revision: int) -> None:
        await site.watcher.reached(revision)
        heard.append(site.view)

    late = changes(site.store, lambda: heard[-1], hear)
    await site.changes.attach("alice", ["reading"])
    with pytest.raises(PolicyInUse):
        await late.remove_policy("reading")
    assert site.view.policies["reading"].text == READ


async def test_attachments(site):
    """What is attached twice or detached in vain is told; setting none removes the record."""
    subject = "uid=ann,dc=example"
    assert await site.changes.attach(subject, ["readonly", "writeonly"]) == ("readonly", "writeonly")
    assert await site.changes.attach(subject, ["readonly", "readwrite"]) == ("readwrite",)
    with pytest.raises(NothingChanged):
        await site.changes.attach(subject, ["readonly"])
    assert await site.changes.detach(subject, ["writeonly", "consoleAdmin"]) == ("writeonly",)
    with pytest.raises(NothingChanged):
        await site.changes.detach(subject, ["writeonly"])
    assert site.view.attached(subject) == ("readonly", "readwrite")
    await site.changes.set_policies(subject, ["diagnostics"])
    assert site.view.attached(subject) == ("diagnostics",)
    assert await site.changes.set_policies(subject, []) is None
    assert dict(site.view.attachments) == {}


async def test_service_accounts(site):
    """An account has fresh keys unless they are given, can be changed member by member, and keeps its policy's text."""
    await site.changes.put_user("alice", secret=SECRET)
    one = await site.changes.create_account("alice", policy=READ, name="ci")
    assert (len(one.access_key_id), len(one.secret.reveal()), one.parent, one.policy) == (20, 40, "alice", READ)
    two = await site.changes.update_account(one.access_key_id, enabled=False, secret=SECRET, policy=None)
    assert (two.enabled, two.secret, two.policy, two.name) == (False, SECRET, None, "ci")
    with pytest.raises(InvalidPolicy):
        await site.changes.create_account("alice", policy="{}")
    await site.changes.create_account("openid:corp:sub", provider="openid:corp", claims={"sub": "x"})
    await site.changes.remove_account(one.access_key_id)
    assert [account.parent for account in site.view.accounts.values()] == ["openid:corp:sub"]


async def test_two_gateways_lose_no_change_of_each_other(tmp_path):
    """Two gateways that put users into one group at once both succeed, and everybody is in it."""
    path = tmp_path / "iam.sqlite"
    names = [f"user{i}" for i in range(20)]
    async with a_site(path) as one, a_site(path) as other:
        await asyncio.gather(*(one.changes.put_user(name, secret=SECRET) for name in names))
        sites = (one, other)
        await asyncio.gather(*(sites[i % 2].changes.add_members("devs", [name]) for i, name in enumerate(names)))
        await one.watcher.reached((await one.store.snapshot()).revision)
        assert one.view.groups["devs"].members == tuple(sorted(names))


async def test_epochs_only_go_forward(site):
    """A second order to end sessions, by a clock that runs behind, takes nothing of the first back."""
    first = await site.changes.revoke_principal("alice")
    site.now -= 3600
    second = await site.changes.revoke_principal("alice")
    assert second.not_before > first.not_before > site.now * 1000
    third = await site.changes.revoke_principal("alice", revoke_type="laptop")
    assert third.not_before == second.not_before
    assert set(third.by_type) == {"laptop"}


async def test_a_new_key_mints_when_everybody_has_it(site):
    """Rotation makes a key whose time comes some seconds later; the old one stays and opens what it signed."""
    old = await site.changes.rotate_key(at_once=True)
    new = await site.changes.rotate_key()
    assert old.active_at <= site.now < new.active_at
    assert set(site.view.keys) == {old.kid, new.kid}
    assert len({old.signing, old.derivation, new.signing, new.derivation}) == 4


async def test_a_withdrawn_key_is_gone_and_never_the_last(site):
    """Withdrawing the key that mints puts another in its place in the same transaction."""
    (old,) = [await site.changes.rotate_key(at_once=True)]
    await site.changes.withdraw_key(old.kid)
    (key,) = site.view.keys.values()
    assert key.kid != old.kid
    assert key.active_at <= site.now


async def test_keys_are_pruned_when_no_session_is_left(site):
    """A key that mints no more stays for its last session, and goes after it; the one that mints stays whatever its age."""
    old = await site.changes.rotate_key(at_once=True)
    new = await site.changes.rotate_key()
    expiry = int(site.now) + 7200
    await site.store.record_session(SessionRecord("AKEY", "p", "", "", 1, expiry, kid=old.kid))
    for later in (7100, 3600):  # by our clock it has expired then; another's may be behind
        site.now += later
        assert await site.changes.prune_keys() == ()
    await site.store.record_session(SessionRecord("AKEY", "p", "", "", 1, 2, kid=old.kid))
    assert await site.changes.prune_keys() == (old.kid,)
    assert set(site.view.keys) == {new.kid}


class Late:
    """Changes of a gateway that decides on an old view, and has heard of everything once its own change is made."""

    def __init__(self, site):
        self._site, self._view = site, site.view
        self.changes = changes(site.store, lambda: self._view, self._seen, now=lambda: site.now)

    async def _seen(self, revision):
        await self._site.watcher.reached(revision)
        self._view = self._site.view


async def test_two_gateways_that_withdraw_two_keys_at_once_leave_one_that_mints(site):
    """Each believes the other's key to be the one that stays: there is another afterwards."""
    one, other = [await site.changes.rotate_key(at_once=True) for _ in range(2)]
    late = Late(site)
    await site.changes.withdraw_key(one.kid)
    await late.changes.withdraw_key(other.kid)
    (key,) = site.view.keys.values()
    assert key.kid not in {one.kid, other.kid}
    assert key.active_at <= site.now


async def test_pruning_holds_no_session_in_memory(site, monkeypatch):
    """There may be a million sessions: what is asked is which keys they are of, never all of them at once."""
    monkeypatch.delattr(EmbeddedStore, "sessions")
    old = await site.changes.rotate_key(at_once=True)
    await site.changes.rotate_key()
    site.now += 7200
    assert await site.changes.prune_keys() == (old.kid,)


async def test_a_key_is_not_pruned_when_its_successor_was_just_withdrawn(site):
    """The old key, which nobody needed, is the one that mints when the new one is compromised."""
    old = await site.changes.rotate_key(at_once=True)
    new = await site.changes.rotate_key()
    site.now += 7200
    late = Late(site)
    await site.changes.withdraw_key(new.kid)
    assert await late.changes.prune_keys() == ()
    assert set(site.view.keys) == {old.kid}


@pytest.mark.parametrize("give", ["group", "account"])
async def test_what_a_user_was_given_while_it_was_removed_is_not_the_next_ones(site, give):
    """A membership or an account that another gateway made a moment before the removal goes with the user."""
    await site.changes.put_user("alice", secret=SECRET)
    late = Late(site)
    if give == "group":
        await site.changes.add_members("devs", ["alice"])
    else:
        await site.changes.create_account("alice", access_key_id="ci-key")
    await late.changes.remove_user("alice")
    await site.watcher.reached(late._view.revision)
    assert dict(site.view.accounts) == {}
    assert dict(site.view.memberships) == {}
    await site.changes.put_user("alice", secret=SECRET)
    assert site.view.groups_of("alice") == ()


async def test_what_was_left_attached_to_a_name_is_not_the_next_ones(site):
    """A new user and a new group have nothing that the store has kept of a former one, whoever wrote that."""
    left = [Attachment("staff", ("consoleAdmin",), group) for group in (False, True)]
    revision = await site.store.swap([Write(*record_key(one), CODEC.encode(one)) for one in left])
    await site.watcher.reached(revision)
    assert site.view.attached("staff", ["staff"]) == ("consoleAdmin",)
    await site.changes.put_user("staff", secret=SECRET)
    assert site.view.attached("staff") == ()
    await site.changes.add_members("staff", ["staff"])
    await site.changes.attach("staff", ["readonly"], group=True)
    await site.changes.put_user("staff", secret=SECRET, enabled=True)
    await site.changes.add_members("staff", ["staff"])
    assert site.view.attached("staff", ["staff"]) == ("readonly",)


async def test_a_user_is_removed_whose_group_was_just_removed(site):
    """A group that another gateway removed meanwhile is no reason to keep the user."""
    await site.changes.put_user("alice", secret=SECRET)
    await site.changes.add_members("devs", ["alice"])
    late = Late(site)
    await site.changes.remove_members("devs", ["alice"])
    await site.changes.remove_group("devs")
    await late.changes.remove_user("alice")
    assert dict(site.view.users) == {}


async def test_every_ending_is_later_than_every_other_of_that_parent(site):
    """A session made just after one ending (of all, or of a type) is ended by the next of any type, even in the same moment."""
    for first, second in (("", "ci"), ("ci", ""), ("ci", "ci"), ("", "")):
        await site.changes.revoke_principal("tls:bot", revoke_type=first)
        issued = site.view.not_before("tls:bot", "ci") + 1
        assert not site.view.is_revoked("AKEY", "tls:bot", issued, "ci")
        site.now -= 30  # by a gateway whose clock is behind
        await site.changes.revoke_principal("tls:bot", revoke_type=second)
        assert site.view.is_revoked("AKEY", "tls:bot", issued, "ci")


async def test_trap_54_the_store_holds_no_secret_in_the_clear(tmp_path):
    """Not one secret of users and accounts stands in the file."""
    async with a_site(tmp_path / "iam.sqlite") as site:
        await site.changes.put_user("alice", secret=Secret("alices-very-own-secret"))
        account = await site.changes.create_account("alice")
        key = await site.changes.rotate_key()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (b"alices-very-own-secret", account.secret.reveal().encode(), key.signing[:12], key.derivation[:12]):
        assert secret not in data


async def test_what_is_no_text_is_nobodys_name_and_no_secret(site):
    """Half a character, which JSON can bring, is refused like any other wrong secret, member or policy."""
    half = Secret("\ud800" * 8)
    for call in (
        site.changes.put_user("alice", secret=half), site.changes.create_account("ROOTKEY", access_key_id="ci-key", secret=half),
    ):  # fmt: skip
        with pytest.raises(InvalidSecret):
            await call
    with pytest.raises(NoSuchUser):
        await site.changes.add_members("devs", ["\ud800"])
    with pytest.raises(NoSuchPolicy):
        await site.changes.attach("tls:ci", ["\ud800"])


async def test_an_unreadable_epoch_begins_anew_when_all_are_revoked(site):
    """It refuses everybody until then; what replaces it ends the sessions of until now, and no later ones."""
    await site.watcher.reached(await site.store.swap([Write(Kind.EPOCH, "tls:ann", b"junk")]))
    assert site.view.is_revoked("ANY", "tls:ann", int(site.now * 1000) * 2)
    epoch = await site.changes.revoke_principal("tls:ann")
    assert 0 <= epoch.not_before - site.now * 1000 <= 60_001
    assert site.view.is_revoked("ANY", "tls:ann", int(site.now * 1000))
    assert not site.view.is_revoked("ANY", "tls:ann", epoch.not_before + 1)


async def test_a_broken_record_can_be_written_over(site):
    """A user whose record cannot be read counts as none, and making it anew mends it."""
    await site.changes.put_user("alice", secret=SECRET)
    other = Codec(Seal((), os.urandom))
    assert other.seal.is_known is False
    row = await site.store.get(Kind.USER, "alice")
    from iam.store import Write

    await site.watcher.reached(await site.store.swap([Write(Kind.USER, "alice", b"junk", row.revision)]))
    assert dict(site.view.users) == {}
    assert site.watcher.unreadable == {"users/alice"}
    await site.changes.put_user("alice", secret=SECRET)
    assert set(site.view.users) == {"alice"}
    assert site.watcher.unreadable == frozenset()
