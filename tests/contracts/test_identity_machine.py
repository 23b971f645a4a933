"""A state machine over two gateways and one store: whatever happens, in any order, both say what the model says, and never more.

A gateway may be late (it hears of nothing for a while, its calls go through), cut off (nothing goes through) or started anew, and
its clock may differ from the other's. One that hears nothing says what the model said when it last heard.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jwt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gateway.errors import S3Error
from iam import embedded, endings, keeper
from iam.changes import Changes
from iam.codec import record_key
from iam.embedded import EmbeddedStore
from iam.etcd import EtcdStore
from iam.model import Secret
from iam.records import Attachment, Group, KeyRecord, Kind, PolicyDocument, Record, User
from iam.refusals import ChangeError
from iam.store import EtcdSettings, IamStore, StoreUnavailable, Write
from sts.wire import StsError
from tests.contracts.identity_gateway import PROVIDER, ROOT_CREDENTIALS, Gateway
from tests.contracts.identity_model import CANNED, DOCUMENTS, QUESTIONS, ROOT, Account, Model, Session
from tests.servers.etcd import Etcd

SKEW = 60  # seconds that two clocks may differ
SITES = st.integers(0, 1)
KEYS = ["alice", "bobby"]
USERS, ACCOUNTS = st.sampled_from(KEYS), st.sampled_from(["bobby", "robot"])  # one namespace
SECRETS = st.sampled_from(["secret-number-1", "secret-number-2"])
GROUPS, SUBS = st.sampled_from(["devs", "ops"]), st.sampled_from(["ann", "ben"])
FEDERATED_GROUPS = st.lists(st.sampled_from([f"{PROVIDER}:staff", f"{PROVIDER}:devs"]), max_size=2, unique=True)
WORDS = ("one", "two", "three")
POLICIES, TEXTS = st.sampled_from(WORDS), st.sampled_from(sorted(DOCUMENTS))
NAMES = st.lists(st.sampled_from([*WORDS, *CANNED]), max_size=2, unique=True)
SOME = st.lists(st.sampled_from([*WORDS, *CANNED]), min_size=1, max_size=2, unique=True)
SUBJECTS = st.sampled_from(
    [("alice", False), ("bobby", False), ("devs", True), ("ops", True), (f"{PROVIDER}:ann", False), (f"{PROVIDER}:staff", True)]
)  # fmt: skip
KINDS = st.sampled_from(["", "ci"])
LIVES = st.sampled_from([60, 1000, 100_000])
CHOICE = st.integers(0, 1000)
RACERS = st.sampled_from(
    ["create", "remove", "join", "empty", "drop", "serve", "attach", "assume", "end", "rotate", "withdraw"]
)


class Machine(RuleBasedStateMachine):
    """Two gateways and a model. `make` opens another store on the same data, `run` runs a coroutine on the loop of the test.

    A step that cannot be taken now is none, and no precondition: what a gateway does in time must not change what is drawn, since a story
    that is played again would then be another one, and hypothesis says so instead of what is wrong.
    """

    def __init__(self, make: Callable[[], IamStore], run: Callable[[Awaitable[Any]], Any]) -> None:
        super().__init__()
        self.make, self.run = make, run
        self.model = Model()
        self.deaf: dict[int, Model] = {}  # the gateways that hear nothing -> what they knew
        self.clock, self.offsets = time.time(), [0, 0]
        self.known: dict[tuple[str, str, str], None] = {(ROOT, ROOT_CREDENTIALS.secret.reveal(), ""): None}
        self.gateways: list[Gateway] = []
        self.last = 0  # the revision of the last change

    @initialize(
        ahead=st.sampled_from([0, 0, SKEW, -SKEW]), texts=st.tuples(TEXTS, TEXTS, TEXTS),
        attached=st.tuples(NAMES, SOME, NAMES, SOME),
    )  # fmt: skip
    def found(self, ahead: int, texts: tuple[str, ...], attached: tuple[list[str], ...]) -> None:
        """Start two gateways, and have a little world to begin with."""
        self.offsets = [0, ahead]
        self.gateways = [self._gateway(site) for site in (0, 1)]
        for gateway in self.gateways:
            self.run(gateway.start())
        self.clock = time.time() + 1
        self._settle()
        self.model.keys = set(self.gateways[0].watcher.view.keys)
        self.run(self._populate(texts, attached))
        self._settle()

    async def _populate(self, texts: tuple[str, ...], attached: tuple[list[str], ...]) -> None:
        """Write what there is at the beginning, in one transaction, and tell the model."""
        records: list[Record] = [User("alice", Secret("secret-number-1")), Group("devs", ("alice",))]
        records += [PolicyDocument(name, DOCUMENTS[text].text) for name, text in zip(WORDS, texts, strict=True)]
        whose = [("alice", False), ("devs", True), (f"{PROVIDER}:ann", False), (f"{PROVIDER}:staff", True)]
        records += [Attachment(who, tuple(names), group) for (who, group), names in zip(whose, attached, strict=True)]
        self.model.put_user("alice", "secret-number-1", None)
        self.model.add_members("devs", ["alice"])
        self.model.policies = dict(zip(WORDS, texts, strict=True))
        self.model.attached = dict(zip(whose, map(list, attached), strict=True))
        self.known["alice", "secret-number-1", ""] = None
        gateway = self.gateways[0]
        writes = [Write(*record_key(record), gateway.codec.encode(record)) for record in records]
        await gateway.seen(await gateway.line.swap(writes))

    def teardown(self) -> None:
        for gateway in self.gateways:
            self.run(gateway.close())

    # Users, groups

    @rule(site=SITES, name=USERS, secret=SECRETS | st.none(), enabled=st.none() | st.booleans())
    def put_user(self, site: int, name: str, secret: str | None, enabled: bool | None) -> None:
        given = None if secret is None else Secret(secret)
        if self._change(
            site, lambda c: c.put_user(name, secret=given, enabled=enabled),
            lambda m: m.put_user(name, secret, enabled),
        ) and secret:  # fmt: skip
            self.known[name, secret, ""] = None

    @rule(site=SITES, name=USERS)
    def remove_user(self, site: int, name: str) -> None:
        self._change(site, lambda c: c.remove_user(name), lambda m: m.remove_user(name))

    @rule(site=SITES, group=GROUPS, members=st.lists(USERS, min_size=1, max_size=2, unique=True))
    def add_members(self, site: int, group: str, members: list[str]) -> None:
        self._change(site, lambda c: c.add_members(group, members), lambda m: m.add_members(group, members))

    @rule(site=SITES, group=GROUPS, how=st.sampled_from(["disable", "enable", "disable", "empty", "remove"]))
    def change_group(self, site: int, group: str, how: str) -> None:
        on = how == "enable"
        product: dict[str, Callable[[Changes], Awaitable[Any]]] = {
            "empty": lambda c: c.remove_members(group, KEYS), "remove": lambda c: c.remove_group(group),
        }  # fmt: skip
        meant: dict[str, Callable[[Model], str]] = {
            "empty": lambda m: m.remove_members(group, KEYS), "remove": lambda m: m.remove_group(group),
        }  # fmt: skip
        self._change(
            site, product.get(how, lambda c: c.set_group_status(group, enabled=on)),
            meant.get(how, lambda m: m.set_group_status(group, enabled=on)),
        )  # fmt: skip

    # Policies

    @rule(site=SITES, name=POLICIES, text=TEXTS)
    def put_policy(self, site: int, name: str, text: str) -> None:
        self._change(site, lambda c: c.put_policy(name, DOCUMENTS[text].text), lambda m: m.put_policy(name, text))

    @rule(site=SITES, name=POLICIES)
    def remove_policy(self, site: int, name: str) -> None:
        """Remove a policy; a gateway that is late may not know that it is attached, or not any more: both are answers."""
        late = self.gateways[site].line.late
        other = self.model.frozen()
        expected = other.remove_policy(name)
        got = self._attempt(site, lambda c: c.remove_policy(name))
        if got is None:
            return
        assert got == expected or (late and {got, expected} == {"", "PolicyInUse"})
        if not got:
            self.model.policies.pop(name)
        self._settle()

    @rule(site=SITES, subject=SUBJECTS, names=SOME, how=st.sampled_from(["attach", "detach", "set_policies"]))
    def attach(self, site: int, subject: tuple[str, bool], names: list[str], how: str) -> None:
        """Attach policies, detach some, or let there be exactly these."""
        who, group = subject
        self._change(
            site, lambda c: getattr(c, how)(who, names, group=group), lambda m: getattr(m, how)(who, names, group=group)
        )

    @rule(subject=SUBJECTS, ours=POLICIES, theirs=POLICIES)
    def attach_at_both(self, subject: tuple[str, bool], ours: str, theirs: str) -> None:
        """Attach a policy at each gateway at the same moment: neither is lost."""
        if any(g.line.cut for g in self.gateways):
            return
        who, group = subject

        async def both() -> list[Any]:
            one, other = self.gateways
            return await asyncio.gather(
                one.changes.attach(who, [ours], group=group), other.changes.attach(who, [theirs], group=group),
                return_exceptions=True,
            )  # fmt: skip

        for error in self.run(both()):
            assert error is None or isinstance(error, tuple | ChangeError)
        for name in (ours, theirs):
            self.model.attach(who, [name], group=group)
        self._settle()

    # Service accounts

    @rule(
        site=SITES, key=ACCOUNTS, secret=SECRETS, parent=st.sampled_from([*KEYS, ROOT, f"{PROVIDER}:ann"]),
        policy=st.none() | TEXTS, life=st.none() | LIVES, claimed=NAMES, groups=FEDERATED_GROUPS,
    )  # fmt: skip
    def create_account(
        self, site: int, key: str, secret: str, parent: str, policy: str | None, life: int | None, claimed: list[str],
        groups: list[str],
    ) -> None:  # fmt: skip
        ends = None if life is None else self._now(site) + life
        account = Account(secret, parent, policy=policy, expires_at=ends)
        members: dict[str, Any] = {"policy": DOCUMENTS[policy].text if policy else None, "expires_at": ends}
        if ":" in parent:
            account = replace(account, provider="openid", claimed=tuple(claimed), groups=tuple(groups))
            members |= {"provider": PROVIDER, "claims": {"policy": claimed}, "groups": tuple(groups)}
        if self._change(
            site, lambda c: c.create_account(parent, access_key_id=key, secret=Secret(secret), **members),
            lambda m: m.create_account(key, replace(account)),
        ):  # fmt: skip
            self.known[key, secret, ""] = None

    @rule(site=SITES, key=ACCOUNTS, how=st.sampled_from(["on", "off", "policy", "remove"]), policy=st.none() | TEXTS)
    def change_account(self, site: int, key: str, how: str, policy: str | None) -> None:
        if how == "remove":
            self._change(site, lambda c: c.remove_account(key), lambda m: m.remove_account(key))
        elif how == "policy":
            text = DOCUMENTS[policy].text if policy else None
            self._change(
                site, lambda c: c.update_account(key, policy=text), lambda m: m.update_account(key, policy=policy)
            )
        else:
            on = how == "on"
            self._change(
                site, lambda c: c.update_account(key, enabled=on), lambda m: m.update_account(key, enabled=on)
            )  # fmt: skip

    # Sessions

    @rule(site=SITES, choice=CHOICE, policy=st.none() | TEXTS, named=st.none() | POLICIES, kind=KINDS, life=LIVES)
    def assume_role(self, site: int, choice: int, policy: str | None, named: str | None, kind: str, life: int) -> None:
        """Call AssumeRole with any credentials there ever were."""
        signer = list(self.known)[choice % len(self.known)]
        model, life = self.deaf.get(site, self.model), max(life, 900)
        expected = "not permanent" if signer[2] else model.assume(*signer[:2], self._now(site))
        if model.verdict(*signer, "g", self._now(site)) == "refused":
            expected = "refused"
        self._issue(
            site, "AssumeRole", signer, Session("", "", "", signer[0], "", (), (), None, kind, self._now(site) + life, "", 0),
            expected, policy, named, DurationSeconds=str(life),
        )  # fmt: skip

    @rule(
        site=SITES, sub=SUBS | st.just(ROOT), claimed=NAMES, groups=FEDERATED_GROUPS, policy=st.none() | TEXTS,
        named=st.none() | POLICIES, kind=KINDS, life=LIVES,
    )  # fmt: skip
    def federate(
        self, site: int, sub: str, claimed: list[str], groups: list[str], policy: str | None, named: str | None,
        kind: str, life: int,
    ) -> None:  # fmt: skip
        """Call AssumeRoleWithWebIdentity with what a provider proves, for as long as the proof lasts."""
        self._federate(site, sub, claimed, groups, policy, named, kind, life)

    def _federate(
        self, site: int, sub: str, claimed: list[str], groups: list[str], policy: str | None, named: str | None,
        kind: str, life: int,
    ) -> None:  # fmt: skip
        parent = f"{PROVIDER}:{sub}"
        token = json.dumps({"sub": sub, "policy": claimed, "groups": groups, "life": life})
        wanted = Session(
            "", "", "", parent, "openid", tuple(claimed), tuple(groups), None, kind, self._now(site) + life, "", 0
        )
        expected = self.deaf.get(site, self.model).federate(parent, tuple(claimed), tuple(groups))
        self._issue(site, "AssumeRoleWithWebIdentity", None, wanted, expected, policy, named, Token=token)

    @rule(site=SITES, choice=CHOICE)
    def revoke_session(self, site: int, choice: int) -> None:
        if not self.model.sessions:
            return
        key = list(self.model.sessions)[choice % len(self.model.sessions)]

        def revoked(model: Model) -> str:
            model.ended.add(key)
            return ""

        self._change(site, lambda c: c.revoke_session(key), revoked)

    @rule(site=SITES, choice=CHOICE, kind=KINDS)
    def revoke_principal(self, site: int, choice: int, kind: str) -> None:
        """End the sessions of somebody who has had one, or who is there from the beginning."""
        parents = list(dict.fromkeys([s.parent for s in self.model.sessions.values()][::-1])) or ["alice"]
        self._end(site, parents[choice % len(parents)], kind)

    @rule(sites=st.tuples(SITES, SITES, SITES), kinds=st.tuples(KINDS, KINDS, KINDS))
    def end_and_begin_again(self, sites: tuple[int, ...], kinds: tuple[str, ...]) -> None:
        """End somebody's sessions, make another, and end them again: the new one lives, until it does not."""
        self._end(sites[0], f"{PROVIDER}:ann", kinds[0])
        self._federate(sites[1], "ann", ["readwrite"], [], None, None, kinds[1], 1000)
        self.both_say_what_the_model_says()
        self._end(sites[2], f"{PROVIDER}:ann", kinds[2])

    @rule(sites=st.tuples(SITES, SITES, SITES), secret=SECRETS)
    def remove_and_make_again(self, sites: tuple[int, ...], secret: str) -> None:
        """Remove a user who has a session, and make another of the same name: the session is not the new one's."""
        self.assume_role(sites[0], 1, None, None, "", 1000)
        self.remove_user(sites[1], "alice")
        self.put_user(sites[2], "alice", secret, True)
        self.attach(sites[0], ("alice", False), ["readwrite"], "attach")

    def _end(self, site: int, parent: str, kind: str) -> None:
        def revoked(model: Model) -> str:
            model.endings.append((parent, kind))
            return ""

        self._change(site, lambda c: c.revoke_principal(parent, revoke_type=kind), revoked)

    # Keys

    @rule(site=SITES)
    def rotate_key(self, site: int) -> None:
        self._keys(site, lambda c: c.rotate_key())

    @rule(site=SITES, choice=CHOICE)
    def withdraw_key(self, site: int, choice: int) -> None:
        """Withdraw one of the keys, perhaps the last."""
        kid = sorted(self.model.keys)[choice % len(self.model.keys)]
        if self._keys(site, lambda c: c.withdraw_key(kid)):
            assert kid not in self.model.keys

    @rule(site=SITES)
    def prune_keys(self, site: int) -> None:
        """Prune keys: none goes of which a session is left."""
        if self.gateways[site].line.cut:
            return
        with self._pruning():
            self._keys(site, lambda c: c.prune_keys())

    @rule(sites=st.tuples(SITES, SITES, SITES))
    def rotate_wait_and_prune(self, sites: tuple[int, ...]) -> None:
        """A session outlives the time of its key: the key stays as long."""
        self._federate(sites[0], "ann", ["readwrite"], [], None, None, "", 100_000)
        self.rotate_key(sites[1])
        self.pass_time(3700)
        self.prune_keys(sites[2])

    # What happens to gateways, and time

    @rule(site=SITES, how=st.sampled_from(["late", "late", "cut"]))
    def deafen(self, site: int, how: str) -> None:
        """Let a gateway hear nothing more."""
        if self.deaf:
            return
        setattr(self.gateways[site].line, how, True)
        self.deaf[site] = self.model.frozen()

    @rule()
    def heal(self) -> None:
        if not self.deaf:
            return
        for site in self.deaf:
            self.gateways[site].line.late = self.gateways[site].line.cut = False
        self._settle()

    @rule(site=SITES, first=RACERS, second=RACERS)
    def race(self, site: int, first: str, second: str) -> None:
        """Make two changes about the same few things, one at each gateway, the second before it has heard of the first."""
        if self.deaf:
            return
        self.deafen(site, "late")
        for where, name in ((1 - site, first), (site, second)):
            change: dict[str, Callable[[], Any]] = {
                "create": lambda at=where: self.put_user(at, "alice", "secret-number-2", None),
                "remove": lambda at=where: self.remove_user(at, "alice"),
                "join": lambda at=where: self.add_members(at, "devs", ["alice"]),
                "empty": lambda at=where: self.change_group(at, "devs", "empty"),
                "drop": lambda at=where: self.change_group(at, "devs", "remove"),
                "serve": lambda at=where: self.create_account(at, "robot", "secret-number-1", "alice", None, None, [], []),
                "attach": lambda at=where: self.attach(at, ("alice", False), ["one"], "attach"),
                "assume": lambda at=where: self.assume_role(at, 1, None, None, "", 1000),
                "end": lambda at=where: self._end(at, "alice", ""),
                "rotate": lambda at=where: self.rotate_key(at),
                "withdraw": lambda at=where: self.withdraw_key(at, 0),
            }  # fmt: skip
            change[name]()
        self.heal()

    @rule(site=SITES)
    def restart(self, site: int) -> None:
        """Start a gateway anew: it knows what the store says, and nothing else."""
        if self.deaf:
            return
        self.run(self.gateways[site].close())
        self.gateways[site] = self._gateway(site)
        with self._pruning():  # as every gateway does when it starts
            self.run(self.gateways[site].start())
            self._settle()
            self._keys(site, lambda c: c.prune_keys())  # its keeper does, and may not have come to it yet

    @rule(seconds=st.sampled_from([0.001, 1, 6, 61, 950, 3700]))
    def pass_time(self, seconds: float) -> None:
        """Let time pass; nobody is late for so long."""
        for site in [site for site in self.deaf if self.gateways[site].line.late]:
            self.gateways[site].line.late = False
        self._settle()
        self.clock += seconds

    @invariant()
    def both_say_what_the_model_says(self) -> None:
        """Every credential that ever was, each question, each gateway: one verdict, the model's."""
        for site, gateway in enumerate(self.gateways):
            model, now = self.deaf.get(site, self.model), self._now(site)
            for (key, secret, token), question in itertools.product(self.known, QUESTIONS):
                said = gateway.verdict(key, secret, token, question)
                expected = model.verdict(key, secret, token, question, now)
                if site in self.deaf and said == "unavailable":
                    said = "refused"  # a token of a key that it has not heard of
                assert said == expected, f"{key} of gateway {site}: {question} is {said}, and should be {expected}"

    @invariant()
    def nothing_else_is_let_in(self) -> None:
        """A session's key without its token, and its token with others' keys, are nobody's."""
        for gateway in self.gateways:
            for session in list(self.model.sessions.values())[-3:]:
                for key, secret in ((session.access_key, session.secret), (ROOT, ROOT_CREDENTIALS.secret.reveal())):
                    token = "" if key == session.access_key else session.token
                    assert gateway.verdict(key, secret, token, "g") in {"refused", "unavailable"}

    @invariant()
    def sessions_can_be_made(self) -> None:
        """There is always a key that mints."""
        for gateway in self.gateways:
            assert gateway.keyring().current

    # How it is done

    def _gateway(self, site: int) -> Gateway:
        return Gateway(self.make(), lambda: self.clock + self.offsets[site])

    def _now(self, site: int) -> int:
        return int(self.clock + self.offsets[site])

    def _attempt(self, site: int, change: Callable[[Changes], Awaitable[Any]]) -> str | None:
        """Make a change; return "" or its refusal's name, None when the gateway is cut off and it is not made."""
        gateway = self.gateways[site]
        try:
            self.run(change(gateway.changes))
        except ChangeError as error:
            return type(error).__name__
        except StoreUnavailable:
            assert gateway.line.cut
            return None
        assert not gateway.line.cut
        return ""

    def _change(self, site: int, change: Callable[[Changes], Awaitable[Any]], meant: Callable[[Model], str]) -> bool:
        """Make a change at a gateway and in the model, which must agree on it; return whether it was made."""
        got = self._attempt(site, change)
        if got is None:
            return False
        assert got == meant(self.model)
        self._settle()
        return not got

    def _keys(self, site: int, change: Callable[[Changes], Awaitable[Any]]) -> bool:
        """Change the session keys, whose names only the product can know."""
        got = self._attempt(site, change)
        if got is None:
            return False
        assert got == ""
        self._settle()
        # As the store has them: the view of a late gateway does not know yet what the other one did.
        snapshot = self.run(self.gateways[site].line.snapshot())
        self.model.keys = {row.name for row in snapshot.rows if row.kind is Kind.KEY}
        return True

    @contextmanager
    def _pruning(self) -> Iterator[None]:
        """Let keys go of which no session is left, and no others."""
        before = set(self.model.keys)
        yield
        now = min(self._now(0), self._now(1))
        left = {s.kid for s in self.model.sessions.values() if s.kid in before and self.model.is_live(s, now)}
        assert left <= self.model.keys <= before

    def _issue(
        self, site: int, action: str, signer: tuple[str, str, str] | None, wanted: Session, expected: str,
        policy: str | None, named: str | None, **parameters: str,
    ) -> None:  # fmt: skip
        gateway, model = self.gateways[site], self.deaf.get(site, self.model)
        # Who asks comes first, then what for, then whether a policy denies it.
        if named and not model.knows(named) and expected in {"", "AccessDenied"}:
            expected = "InvalidParameterValue"
        expected = expected.replace("not permanent", "AccessDenied")
        parameters |= {"Policy": DOCUMENTS[policy].text} if policy else {}
        parameters |= {"PolicyArns.member.1.arn": named} if named else {}
        parameters |= {"TokenRevokeType": wanted.kind} if wanted.kind else {}
        if gateway.line.cut and not expected:
            expected = "ServiceUnavailable"
        try:
            issued = self.run(gateway.call(action, signer, **parameters))
        except StsError as error:
            got = error.code
        except S3Error:
            got = "refused"
        else:
            got = ""
        assert got == expected, f"{action} at {site}: {got or 'done'}, and should be {expected or 'done'}"
        if got:
            return
        key, secret, token = issued.access_key_id, issued.secret.reveal(), issued.session_token.reveal()
        session = replace(
            wanted, access_key=key, secret=secret, token=token, narrow=model.narrowed(policy, named),
            kid=jwt.get_unverified_header(token)["kid"], seen=len(model.endings),
        )  # fmt: skip
        assert issued.expires_at == session.expires_at
        self.known[key, secret, token] = None
        for each in (self.model, *self.deaf.values()):
            each.sessions[key] = session

    def _settle(self) -> None:
        """Let every gateway that hears anything hear of everything."""
        for site in [s for s in self.deaf if not (self.gateways[s].line.late or self.gateways[s].line.cut)]:
            del self.deaf[site]
        self.last = max(self.last, *(gateway.changed for gateway in self.gateways))
        for site, gateway in enumerate(self.gateways):
            if site not in self.deaf:
                self.run(gateway.caught_up(self.last))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the gateways of thousands of stories from filling the log; others' tests read theirs."""
    log = logging.getLogger("minio_gw")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def play(make: Callable[[], Callable[[], IamStore]], examples: int, steps: int) -> None:
    """Play many stories, each on data of its own."""
    number, made = itertools.count(), endings.new_key

    def new_key(now: int, *, settle: int) -> KeyRecord:
        """Name keys by their number: of two of one second the same one mints whenever a story is played again."""
        return replace(made(now, settle=settle), kid=f"{next(number):012}")

    async def awaited(work: Awaitable[Any]) -> Any:
        return await work

    with quiet(), pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setattr(endings, "new_key", new_key)
        patch.setattr(keeper, "new_key", new_key)
        run_state_machine_as_test(
            lambda: Machine(make(), lambda work: runner.run(awaited(work))),
            settings=settings(max_examples=examples, stateful_step_count=steps),
        )


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    """One real etcd member."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture(params=["embedded", "etcd"])
def stores(request, tmp_path, monkeypatch):
    """What makes, for each story, what opens a store on that story's data."""
    if request.param == "embedded":
        monkeypatch.setattr(embedded, "POLL", 0.002)
        number = itertools.count()

        def files() -> Callable[[], IamStore]:
            path = tmp_path / f"{next(number)}.sqlite"
            return lambda: EmbeddedStore(path)

        return files
    member = request.getfixturevalue("member")

    def prefixes() -> Callable[[], IamStore]:
        chosen = EtcdSettings(member.endpoints, f"{uuid.uuid4().hex}/", timeout=20)
        return lambda: EtcdStore(chosen)

    return prefixes


def test_two_gateways_say_what_the_model_says(stores):
    """In any order of changes, sessions, revocations, rotations and faults both gateways give the model's verdict."""
    play(stores, 40, 25)


@pytest.mark.slow
def test_two_gateways_say_what_the_model_says_for_long(stores):
    """The same, in many more and longer stories."""
    play(stores, 150, 40)
