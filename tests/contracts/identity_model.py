"""What identities may, said once more in plain Python: the model that two gateways over one store are held against.

It shares no code with the product and knows nothing of tokens, seals, revisions or watches. Policies are what their authors meant
by them, written beside their texts: which of the few questions each allows and denies.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field

ROOT = "ROOTACCESS"
#: The questions, each by a letter; `s` is the making of a session, which is allowed unless a policy denies it.
QUESTIONS = {
    "g": ("s3:GetObject", "apples", "a"),
    "p": ("s3:PutObject", "apples", "a"),
    "G": ("s3:GetObject", "pears", "a"),
    "l": ("s3:ListBucket", "apples", ""),
    "u": ("admin:ListUsers", "", ""),
}
EVERY = frozenset(QUESTIONS)


@dataclass(frozen=True)
class Meaning:
    """A policy's text, and what it means."""

    text: str
    allows: frozenset[str]
    denies: frozenset[str]


def _meaning(allows: str, denies: str, *statements: tuple[str, str | list[str], str | list[str]]) -> Meaning:
    parts = [{"Effect": effect, "Action": action, "Resource": resource} for effect, action, resource in statements]
    return Meaning(json.dumps({"Version": "2012-10-17", "Statement": parts}), frozenset(allows), frozenset(denies))


_APPLES, _PEARS = "arn:aws:s3:::apples", "arn:aws:s3:::pears"
DOCUMENTS = {
    "read-apples": _meaning("gl", "", ("Allow", ["s3:GetObject", "s3:ListBucket"], [_APPLES, f"{_APPLES}/*"])),
    "write-apples": _meaning("p", "", ("Allow", "s3:PutObject", f"{_APPLES}/*")),
    "read-all": _meaning("gG", "", ("Allow", "s3:Get*", "*")),
    "everything": _meaning("gpGlu", "", ("Allow", "*", "*")),
    "all-but-pears": _meaning("gpGl", "G", ("Allow", "s3:*", "*"), ("Deny", "s3:*", f"{_PEARS}/*")),
    "no-writing": _meaning("", "p", ("Deny", "s3:PutObject", "*")),
    "no-sessions": _meaning("gG", "s", ("Allow", "s3:GetObject", "*"), ("Deny", "sts:*", "*")),
    "nothing": _meaning("", "gpGlus", ("Deny", "*", "*")),
}
CANNED = {"readwrite": Meaning("", frozenset("gpGl"), frozenset())}  # of MinIO's, what a claim may name here


@dataclass
class User:
    secret: str
    enabled: bool = True


@dataclass
class Group:
    members: set[str] = field(default_factory=set)
    enabled: bool = True


@dataclass
class Account:
    secret: str
    parent: str
    provider: str = ""
    claimed: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    enabled: bool = True
    policy: str | None = None  # the name of a document
    expires_at: int | None = None


@dataclass(frozen=True)
class Session:
    """A session as it was issued; `seen` is how many revocations its gateway knew of, `narrow` what its policy allows."""

    access_key: str
    secret: str
    token: str
    parent: str
    provider: str
    claimed: tuple[str, ...]
    groups: tuple[str, ...]
    narrow: frozenset[str] | None
    kind: str
    expires_at: int
    kid: str
    seen: int


@dataclass
class Model:
    """All that there is. A method that changes it returns "" or the name of the refusal, and then has changed nothing."""

    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)  # name -> the name of its document
    attached: dict[tuple[str, bool], list[str]] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)  # access keys of revoked sessions
    endings: list[tuple[str, str]] = field(default_factory=list)  # (parent, type or "") in their order

    def frozen(self) -> Model:
        """Return what is known at this moment, for a gateway that hears of nothing more."""
        return deepcopy(self)

    # Changes

    def put_user(self, name: str, secret: str | None, enabled: bool | None) -> str:
        if name == ROOT:
            return "AlreadyExists"
        if name not in self.users:
            if secret is None:
                return "NoSuchUser"
            if name in self.accounts:
                return "AlreadyExists"
            self.users[name] = User(secret)
        user = self.users[name]
        user.secret = secret or user.secret
        user.enabled = user.enabled if enabled is None else enabled
        return ""

    def remove_user(self, name: str) -> str:
        if name not in self.users:
            return "NoSuchUser"
        del self.users[name]
        self.attached.pop((name, False), None)
        self.accounts = {key: account for key, account in self.accounts.items() if account.parent != name}
        for group in self.groups.values():
            group.members.discard(name)
        self.endings.append((name, ""))
        return ""

    def add_members(self, name: str, members: list[str]) -> str:
        if any(member not in self.users for member in members):
            return "NoSuchUser"
        self.groups.setdefault(name, Group()).members.update(members)
        return ""

    def remove_members(self, name: str, members: list[str]) -> str:
        if name not in self.groups:
            return "NoSuchGroup"
        self.groups[name].members.difference_update(members)
        return ""

    def remove_group(self, name: str) -> str:
        if name not in self.groups:
            return "NoSuchGroup"
        if self.groups[name].members:
            return "GroupNotEmpty"
        del self.groups[name]
        self.attached.pop((name, True), None)
        return ""

    def set_group_status(self, name: str, *, enabled: bool) -> str:
        if name not in self.groups:
            return "NoSuchGroup"
        self.groups[name].enabled = enabled
        return ""

    def put_policy(self, name: str, document: str) -> str:
        self.policies[name] = document
        return ""

    def remove_policy(self, name: str) -> str:
        if name not in self.policies:
            return "NoSuchPolicy"
        if any(name in names for names in self.attached.values()):
            return "PolicyInUse"
        del self.policies[name]
        return ""

    def attach(self, subject: str, names: list[str], *, group: bool) -> str:
        if missing := self._missing(subject, group=group):
            return missing
        known = self.attached.get((subject, group), [])
        fresh = [name for name in names if name not in known]
        if not fresh:
            return "NothingChanged"
        return self._attach(subject, [*known, *fresh], known, group=group)

    def detach(self, subject: str, names: list[str], *, group: bool) -> str:
        known = self.attached.get((subject, group), [])
        if not set(names) & set(known):
            return "NothingChanged"
        return self._attach(subject, [name for name in known if name not in names], known, group=group)

    def set_policies(self, subject: str, names: list[str], *, group: bool) -> str:
        if names and (missing := self._missing(subject, group=group)):
            return missing
        return self._attach(subject, names, self.attached.get((subject, group), []), group=group)

    def _missing(self, subject: str, *, group: bool) -> str:
        if ":" in subject:
            return ""
        if group:
            return "" if subject in self.groups else "NoSuchGroup"
        return "" if subject in self.users else "NoSuchUser"

    def _attach(self, subject: str, names: list[str], known: list[str], *, group: bool) -> str:
        if any(name not in known and name not in self.policies and name not in CANNED for name in names):
            return "NoSuchPolicy"
        self.attached[subject, group] = list(dict.fromkeys(names))
        return ""

    def create_account(self, key: str, account: Account) -> str:
        if not account.provider and account.parent != ROOT and account.parent not in self.users:
            return "NoSuchUser"
        if key in self.users or key in self.accounts:
            return "AlreadyExists"
        self.accounts[key] = account
        return ""

    def update_account(self, key: str, **members: object) -> str:
        if key not in self.accounts:
            return "NoSuchAccount"
        for name, value in members.items():
            setattr(self.accounts[key], name, value)
        return ""

    def remove_account(self, key: str) -> str:
        return "" if self.accounts.pop(key, None) else "NoSuchAccount"

    # Questions

    def verdict(self, key: str, secret: str, token: str, question: str, now: int) -> str:
        """Return `allow`, `deny` or `refused`, for a key pair that is shown with a token or without."""
        may = self._session(key, secret, token, now) if token else self._permanent(key, secret, now)
        return "refused" if may is None else "allow" if question in may else "deny"

    def assume(self, key: str, secret: str, now: int) -> str:
        """Return "" when a key pair may call AssumeRole, else why not."""
        if self._permanent(key, secret, now) is None:
            return "refused"
        if key in self.accounts:
            return "not permanent"
        return "AccessDenied" if "s" in self._denied(key, "", (), ()) and key != ROOT else ""

    def federate(self, parent: str, claimed: tuple[str, ...], groups: tuple[str, ...]) -> str:
        """Return "" when somebody who is proved may have a session, else why not."""
        return "AccessDenied" if "s" in self._denied(parent, "openid", claimed, groups) else ""

    def narrowed(self, document: str | None, named: str | None) -> frozenset[str] | None:
        """Return what a session's own policy and one that it names allow together, None when nothing narrows it."""
        meant = [DOCUMENTS[document]] if document else []
        meant += [self._meaning(named)] if named else []
        if not meant:
            return None
        return frozenset().union(*(m.allows for m in meant)) - frozenset().union(*(m.denies for m in meant))

    def knows(self, policy: str) -> bool:
        """Return whether there is a policy of this name."""
        return policy in self.policies or policy in CANNED

    def is_live(self, session: Session, now: int) -> bool:
        """Return whether nothing has ended a session, whatever its bearer may."""
        ended = any(
            parent == session.parent and kind in {"", session.kind} for parent, kind in self.endings[session.seen :]
        )
        return session.access_key not in self.ended and not ended and session.expires_at > now

    def _session(self, key: str, secret: str, token: str, now: int) -> frozenset[str] | None:
        session = self.sessions.get(key)
        if session is None or (session.token, session.secret) != (token, secret) or session.kid not in self.keys:
            return None
        if not self.is_live(session, now):
            return None
        may = self._rights(session.parent, session.provider, session.claimed, session.groups)
        return may if may is None or session.narrow is None else may & session.narrow

    def _permanent(self, key: str, secret: str, now: int) -> frozenset[str] | None:
        if key == ROOT:
            return EVERY
        account = self.accounts.get(key)
        if account is None:
            user = self.users.get(key)
            return self._rights(key, "", (), ()) if user is not None and user.secret == secret else None
        if not account.enabled or account.secret != secret or (account.expires_at or now + 1) <= now:
            return None
        may = self._rights(account.parent, account.provider, account.claimed, account.groups)
        return may if may is None or account.policy is None else may & self.narrowed(account.policy, None)

    def _rights(
        self, parent: str, provider: str, claimed: tuple[str, ...], groups: tuple[str, ...]
    ) -> frozenset[str] | None:
        """Return what somebody may at this moment, None when it is nobody any more."""
        if not provider:
            if parent == ROOT:
                return EVERY
            if parent not in self.users or not self.users[parent].enabled:
                return None
        allowed = frozenset().union(*(m.allows for m in self._meanings(parent, provider, claimed, groups)))
        return allowed - self._denied(parent, provider, claimed, groups)

    def _denied(self, parent: str, provider: str, claimed: tuple[str, ...], groups: tuple[str, ...]) -> frozenset[str]:
        return frozenset().union(*(m.denies for m in self._meanings(parent, provider, claimed, groups)))

    def _meanings(self, parent: str, provider: str, claimed: tuple[str, ...], groups: tuple[str, ...]) -> list[Meaning]:
        names = [*claimed, *self.attached.get((parent, False), [])]
        mine = groups if provider else [n for n, g in self.groups.items() if g.enabled and parent in g.members]
        for group in mine:
            names += self.attached.get((group, True), [])
        return [self._meaning(name) for name in names if self.knows(name)]

    def _meaning(self, name: str) -> Meaning:
        return CANNED.get(name) or DOCUMENTS[self.policies[name]]
