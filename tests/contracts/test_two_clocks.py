"""Two gateways whose clocks differ by a minute, over one store: sessions work at once, endings end, nothing lives longer."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from iam import embedded
from iam.embedded import EmbeddedStore
from iam.model import Secret
from sts.wire import AccessDenied, ExpiredTokenException
from tests.contracts.identity_gateway import PROVIDER, ROOT_CREDENTIALS, Gateway
from tests.contracts.identity_model import ROOT

SKEW = 60  # seconds
READ = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
ROOT_KEYS = (ROOT, ROOT_CREDENTIALS.secret.reveal(), "")
ALICE = ("alice", "alices-secret", "")


class Pair:
    """A gateway whose clock is right and one whose clock is `ahead` seconds ahead of it."""

    def __init__(self, path, ahead: int) -> None:
        self.clock = time.time()
        self.right = Gateway(EmbeddedStore(path), lambda: self.clock)
        self.other = Gateway(EmbeddedStore(path), lambda: self.clock + ahead)

    @property
    def both(self):
        return (self.right, self.other)

    async def settle(self) -> None:
        """Let both hear of everything."""
        last = max(gateway.changed for gateway in self.both)
        for gateway in self.both:
            await gateway.caught_up(last)

    def verdicts(self, session, question: str = "g") -> list[str]:
        """Return what both say to a session."""
        token = session.session_token.reveal()
        return [g.verdict(session.access_key_id, session.secret.reveal(), token, question) for g in self.both]


@asynccontextmanager
async def a_pair(path, ahead):
    async with AsyncExitStack() as stack:
        pair = Pair(path, ahead)
        # The one that is ahead founds the store: the other's clock has not reached the first key's time.
        for gateway in sorted(pair.both, key=lambda gateway: -gateway.now()):
            await gateway.start()
            stack.push_async_callback(gateway.close)
        pair.clock = time.time()
        await pair.right.changes.put_user("alice", secret=Secret(ALICE[1]))
        await pair.right.changes.put_policy("read", READ)
        await pair.right.changes.attach("alice", ["read"])
        await pair.settle()
        yield pair


@pytest.fixture(params=[SKEW, -SKEW], ids=["ahead", "behind"])
async def pair(request, tmp_path, monkeypatch):
    """Two gateways, the other one's clock ahead or behind."""
    monkeypatch.setattr(embedded, "POLL", 0.002)
    async with a_pair(tmp_path / "iam.sqlite", request.param) as made:
        yield made


async def federated(gateway, *, life: int = 3600, **parameters: str):
    """Return a session of somebody whom a provider has proved for so many seconds."""
    token = json.dumps({"sub": "ann", "policy": "read", "groups": [], "life": life})
    return await gateway.call("AssumeRoleWithWebIdentity", None, Token=token, **parameters)


async def test_what_one_issues_works_at_the_other_at_once(pair):
    """A session works everywhere on the very next request, whichever clock is ahead."""
    for gateway in pair.both:
        for session in (
            await gateway.call("AssumeRole", ALICE),
            await gateway.call("AssumeRole", ROOT_KEYS),
            await federated(gateway),
        ):
            assert pair.verdicts(session) == ["allow", "allow"]


async def test_what_either_ends_has_ended_at_both(pair):
    """A principal's sessions, or those of a type, end whoever issued them and whoever ends them; the next ones live."""
    for issuer, ender, kind in itertools.product(pair.both, pair.both, ("", "ci")):
        session, other = await federated(issuer, TokenRevokeType="ci"), await issuer.call("AssumeRole", ALICE)
        await ender.changes.revoke_principal(f"{PROVIDER}:ann", revoke_type=kind)
        await pair.settle()
        assert pair.verdicts(session) == ["refused", "refused"]
        assert pair.verdicts(other) == ["allow", "allow"]
        for gateway in pair.both:
            assert pair.verdicts(await federated(gateway, TokenRevokeType="ci")) == ["allow", "allow"]


@pytest.mark.parametrize("kind", ["", "ci"])
async def test_who_is_far_ahead_issues_nothing_that_outlives_an_ending(tmp_path, monkeypatch, kind):
    """A principal's sessions, or those of a type, end also where a clock was a quarter of an hour ahead; others' go on."""
    monkeypatch.setattr(embedded, "POLL", 0.002)
    async with a_pair(tmp_path / "iam.sqlite", 900) as pair:
        session, other = await federated(pair.other, TokenRevokeType="ci"), await pair.other.call("AssumeRole", ALICE)
        await pair.right.changes.revoke_principal(f"{PROVIDER}:ann", revoke_type=kind)
        await pair.settle()
        assert pair.verdicts(session) == ["refused", "refused"]
        assert pair.verdicts(other) == ["allow", "allow"]
        for gateway in pair.both:
            assert pair.verdicts(await federated(gateway, TokenRevokeType="ci")) == ["allow", "allow"]


async def test_a_removed_users_sessions_are_not_its_successors(pair):
    """Whoever removes a user ends all its sessions, and making the user again does not bring them back."""
    for issuer, ender in itertools.product(pair.both, pair.both):
        session = await issuer.call("AssumeRole", ALICE)
        await ender.changes.remove_user("alice")
        await ender.changes.put_user("alice", secret=Secret(ALICE[1]))
        await ender.changes.attach("alice", ["read"])
        await pair.settle()
        assert pair.verdicts(session) == ["refused", "refused"]
        for gateway in pair.both:
            assert pair.verdicts(await gateway.call("AssumeRole", ALICE)) == ["allow", "allow"]


async def test_keys_rotate_across_clocks(pair):
    """Whoever rotates, there is a key that mints at both, before and after the new key's time, and both honour what it signs."""
    for rotating in pair.both:
        await rotating.changes.rotate_key()
        await pair.settle()
        for seconds in (0, 6, SKEW):
            pair.clock += seconds
            for gateway in pair.both:
                assert pair.verdicts(await federated(gateway)) == ["allow", "allow"]


async def test_trap_46_a_chain_never_extends(pair):
    """No session makes another, at either gateway, nor does a service account."""
    await pair.right.changes.create_account("alice", access_key_id="alicesbot", secret=Secret("bots-secret"))
    await pair.settle()
    for issuer, gateway in itertools.product(pair.both, pair.both):
        for made in (
            await issuer.call("AssumeRole", ALICE),
            await federated(issuer),
            await issuer.call("AssumeRole", ROOT_KEYS),
        ):
            signer = (made.access_key_id, made.secret.reveal(), made.session_token.reveal())
            with pytest.raises(AccessDenied):
                await gateway.call("AssumeRole", signer, DurationSeconds="900")
        with pytest.raises(AccessDenied):
            await gateway.call("AssumeRole", ("alicesbot", "bots-secret", ""))


@pytest.mark.parametrize(
    ("life", "asked", "lasts"), [(100, None, 100), (100, 900, 100), (5000, 900, 900), (5000, None, 5000), (1, 3600, 1)]
)
async def test_trap_46_a_session_lasts_as_long_as_the_shortest_of_all(pair, life, asked, lasts):
    """The expiry is the least of the proof's own and what was asked, by the issuing clock; by its own clock each gateway ends it."""
    parameters = {"DurationSeconds": str(asked)} if asked else {}
    for issuer in pair.both:
        session = await federated(issuer, life=life, **parameters)
        assert session.expires_at == int(issuer.now()) + lasts
        for gateway, said in zip(pair.both, pair.verdicts(session), strict=True):
            assert said == ("allow" if gateway.now() < session.expires_at else "refused")
        pair.clock += lasts + 2 * SKEW + 1
        assert pair.verdicts(session) == ["refused", "refused"]


async def test_trap_46_a_proof_that_has_ended_makes_no_session(pair):
    """By the clock of the gateway that is asked."""
    for gateway in pair.both:
        with pytest.raises(ExpiredTokenException):
            await federated(gateway, life=0)
