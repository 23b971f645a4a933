"""MinIO's IAM as it lies in etcd under `config/iam/`, of every era, turned into our records and a list of what could not be. Pure.

    users/<name>/identity.json              sts/<access key>/identity.json          service-accounts/<access key>/identity.json
    users/<name>/policy.json (to 2019-07)   sts/<access key>/policy.json            groups/<name>/members.json
    policies/<name>/policy.json             policydb/{users,groups,sts-users,service-accounts}/<subject>.json

Sessions are not taken: clients fetch new ones. Nothing gets more rights than it had: what narrowed an account must be understood,
or the account is left out; a policy that we refuse gives nothing, and denies everything if it denied something. Attachments stay.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from iam import minio_values as values
from iam.minio_values import Identity, Unusable
from iam.model import Secret
from iam.notes import Note
from iam.policy import CANNED, Policy, PolicyError, parse
from iam.records import (
    Attachment,
    Group,
    PolicyDocument,
    Record,
    ServiceAccount,
    User,
    is_name,
    is_policy_name,
    is_subject,
)

ROOT = "config/iam/"
_PLACES = (
    ("users/", "/identity.json"), ("users/", "/policy.json"), ("sts/", "/identity.json"), ("sts/", "/policy.json"),
    ("service-accounts/", "/identity.json"), ("groups/", "/members.json"), ("policies/", "/policy.json"),
    ("policydb/users/", ".json"), ("policydb/groups/", ".json"), ("policydb/sts-users/", ".json"),
    ("policydb/service-accounts/", ".json"),
)  # fmt: skip
_FORMAT = "format.json"
_MAY_DENY = ("policies/", "policydb/", "groups/")
_ODD = re.compile(r"[^A-Za-z0-9_.@+=-]")
#: What stands in for a policy that we refuse and that denies something, so that nobody may more than before.
DENIES_ALL = (
    '{"Version":"2012-10-17","Statement":[{"Sid":"RefusedWhenTakenOver","Effect":"Deny","Action":"*","Resource":"*"}]}'
)
#: Claims of a service account's token that say nothing of its maker.
_OWN_CLAIMS = frozenset({"accessKey", "parent", "exp", "sa-policy", "sessionPolicy"})


@dataclass(frozen=True, slots=True)
class Former:
    """The gateway that wrote the rows: its root pair, and what its identity providers are called here.

    `providers` are our providers (`openid:corp`, or `openid` for the one without a name) by the issuer in their tokens; `normal_dn` brings an LDAP name to the form that we use, or raises
    ValueError.
    """

    root: tuple[str, Secret] | None = None
    providers: Mapping[str, str] = field(default_factory=dict)
    normal_dn: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Found:
    """What was read: records for us, what is left out and why, what an administrator should know of the rest.

    `sessions` counts temporary credentials that were still good, `expired` those that were not. A service account of root has
    the former root's access key as its parent.
    """

    records: tuple[Record, ...] = ()
    skipped: tuple[Note, ...] = ()
    warnings: tuple[Note, ...] = ()
    sessions: int = 0
    expired: int = 0


def read(rows: Mapping[str, bytes | Unusable], former: Former, *, now: int) -> Found:
    """Return the records of rows: key without prefix -> JSON text, or why it cannot be had. `now` in epoch seconds."""
    reading = _Reading(former, now)
    for key, value in sorted(rows.items()):
        reading.sort(key, value)
    for make in (reading.policies, reading.users, reading.groups, reading.attachments, reading.accounts):
        reading.take(make())
    return Found(tuple(reading.records), tuple(reading.skipped), tuple(reading.warnings), *reading.sessions())


@dataclass(frozen=True, slots=True)
class _Row:
    """A key, the name in it, and the value as text and as document."""

    key: str
    name: str
    text: bytes
    document: Any


class _Reading:
    """The documents by place and name, and what became of them."""

    def __init__(self, former: Former, now: int) -> None:
        self.former, self.now = former, now
        self.records: list[Record] = []
        self.skipped: list[Note] = []
        self.warnings: list[Note] = []
        self._places: dict[tuple[str, str], dict[str, _Row]] = {place: {} for place in _PLACES}
        self._names: set[str] = set()

    def sort(self, key: str, value: bytes | Unusable) -> None:
        """Put a row where it belongs; what cannot be read, or is none of IAM's, is skipped."""
        try:
            if isinstance(value, Unusable):
                raise value
            document = values.parsed(value)
            self._place(key.removeprefix(ROOT), value, document)
        except Unusable as error:
            self.skipped.append(Note(key, str(error)))
            if key.removeprefix(ROOT).startswith(_MAY_DENY):
                self.warnings.append(Note(key, "what it denied, if anything, is not denied here"))

    def _place(self, key: str, text: bytes, document: Any) -> None:
        if key == _FORMAT:
            if document != {"version": 1}:
                raise Unusable("the layout says a version that is not known; what is known of it was read")
            return
        for start, end in _PLACES:
            if key.startswith(start) and key.endswith(end) and len(key) > len(start) + len(end):
                name = key[len(start) : -len(end)]
                self._places[start, end][name] = _Row(ROOT + key, name, text, document)
                return
        raise Unusable("it is no record of identities that is known")

    def take(self, found: Iterator[Record | Note]) -> None:
        """Keep what one kind yields: records, and notes about what is left out."""
        for one in found:
            if isinstance(one, Note):
                self.skipped.append(one)
            else:
                self.records.append(one)

    def policies(self) -> Iterator[Record | Note]:
        """Yield the policies; our own canned ones are not stored."""
        return self._each("policies/", "/policy.json", self._policy)

    def _policy(self, row: _Row) -> Record | None:
        if row.name in CANNED and _says(row, CANNED[row.name]):
            return None
        return self._checked(row, self._called(row.name))

    def _checked(self, row: _Row, name: str) -> PolicyDocument:
        """Return a policy as it stands, or what denies all in place of one that we refuse and that may deny. Raises PolicyError."""
        record = PolicyDocument(name, *values.policy(row.text, row.document))
        try:
            parse(record.text)
        except PolicyError as error:
            if not values.may_deny(record.text):
                raise
            self.skipped += [Note(row.key, f"its policy: {problem}") for problem in error.problems]
            self.warnings.append(Note(row.key, f"it may deny something: until it is written anew, {name} denies all"))
            return replace(record, text=DENIES_ALL)
        return record

    def _called(self, name: str) -> str:
        """Return what a policy is called here: another name when ours cannot be like that, or is that of another canned policy."""
        if is_policy_name(name) and name not in CANNED:
            return name
        row = self._places["policies/", "/policy.json"].get(name)
        if name in CANNED and (row is None or _says(row, CANNED[name])):
            return name
        mark = "" if name in CANNED else "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
        other = f"minio-{_ODD.sub('_', name)[:100]}{mark}"
        while other in self._places["policies/", "/policy.json"]:
            other += "_"
        return other

    def users(self) -> Iterator[Record | Note]:
        """Yield the users, and the whole policies that October 2018 kept beside them."""
        yield from self._each("users/", "/identity.json", self._user)
        yield from self._each("users/", "/policy.json", self._own_policy)

    def _user(self, row: _Row) -> Record:
        identity = values.identity(row.document)
        user = User(_name(row.name), _usable(identity.secret), identity.enabled, identity.updated_at)
        self._names.add(user.name)
        if "credentials" not in row.document and row.name not in self._places["users/", "/policy.json"]:
            self.warnings.append(Note(row.key, "in October 2018 MinIO left removed users like this, without a policy"))
        return user

    def _own_policy(self, row: _Row) -> Record | None:
        """Return the policy, which had no name, under a name made of its user's."""
        if row.name not in self._names:
            raise Unusable("there is no user of that name")
        if isinstance(row.document, str) or row.name in self._places["policydb/users/", ".json"]:
            return None
        return self._checked(row, own_policy_name(row.name))

    def groups(self) -> Iterator[Record | Note]:
        """Yield the groups."""
        return self._each("groups/", "/members.json", lambda row: Group(_name(row.name), *values.group(row.document)))

    def attachments(self) -> Iterator[Record | Note]:
        """Yield what is attached to users, to groups and to LDAP names."""
        yield from self._each("policydb/users/", ".json", lambda row: self._attachment(row, row.name))
        yield from self._each(
            "policydb/groups/", ".json", lambda row: self._attachment(row, self._group(row.name), group=True)
        )
        yield from self._each("policydb/sts-users/", ".json", self._federated)
        yield from self._each("users/", "/identity.json", self._of_2018)
        yield from self._each("policydb/service-accounts/", ".json", self._of_account)

    def _attachment(self, row: _Row, subject: str, *, group: bool = False) -> Attachment | None:
        names, updated_at = values.mapped(row.document)
        called = {name: self._called(name) for name in names}
        self.warnings += [Note(row.key, f"{old!r} is {new} here") for old, new in called.items() if old != new]
        names = tuple(dict.fromkeys(called.values()))
        return Attachment(_subject(subject), names, group, updated_at) if names else None

    def _of_2018(self, row: _Row) -> Attachment | None:
        """Return what users/<name>/policy.json, or the identity itself, attaches; the mapping of later years goes first."""
        if row.name not in self._names or row.name in self._places["policydb/users/", ".json"]:
            return None
        beside = self._places["users/", "/policy.json"].get(row.name)
        if beside is None:
            names = values.identity(row.document).policy_names
            return self._attachment(replace(row, document=",".join(names)), row.name)
        document = beside.document if isinstance(beside.document, str) else own_policy_name(row.name)
        return self._attachment(replace(beside, document=document), row.name)

    def _federated(self, row: _Row) -> Attachment | None:
        """Return what is attached to an LDAP name, an administrator's work; the rest went with sessions."""
        if row.name in self._places["sts/", "/identity.json"]:
            return None  # until 2021-05 the name is the temporary access key
        if "=" in row.name:
            return self._attachment(row, self._dn(row.name))
        raise Unusable(
            "MinIO wrote it anew with each session, from its token or certificate; here these count each time"
        )

    def _of_account(self, _row: _Row) -> None:
        raise Unusable("policies are not attached to service accounts here: their own policy narrows them")

    def accounts(self) -> Iterator[Record | Note]:
        """Yield the service accounts whose tokens say, provably, whose they are and what they may."""
        return self._each("service-accounts/", "/identity.json", self._account)

    def _account(self, row: _Row) -> ServiceAccount:
        identity = values.identity(row.document)
        if identity.expires_at is not None and identity.expires_at <= self.now:
            raise Unusable("it has expired")
        root = [self.former.root[1]] if self.former.root else []
        claims = values.verified(identity.token.reveal() if identity.token else "", [identity.secret, *root])
        if (
            claims.get("parent") != identity.parent
            or not identity.parent
            or claims.get("accessKey", row.name) != row.name
        ):
            raise Unusable("its token is of another account or parent")
        policy = values.session_policy(claims)
        if policy is not None:
            parse(policy)
        account = ServiceAccount(
            _name(row.name), _usable(identity.secret), identity.parent, identity.enabled, policy, identity.name,
            identity.description, identity.expires_at, updated_at=identity.updated_at,
        )  # fmt: skip
        return self._made_by(row.key, account, identity, claims)

    def _made_by(
        self, key: str, account: ServiceAccount, identity: Identity, claims: Mapping[str, Any]
    ) -> ServiceAccount:
        """Return the account of a user or of root as it is, of a federated session under the name its maker has here."""
        if self.former.root and account.parent == self.former.root[0]:
            self.warnings.append(
                Note(key, "it acts for root: it becomes an account of the root of the gateway that takes it")
            )
            return account
        if account.parent in self._names:
            return account
        theirs = {name: claim for name, claim in claims.items() if name not in _OWN_CLAIMS}
        if "=" in account.parent and "ldapUser" in claims:
            groups = tuple(self._dn(group) for group in identity.groups)
            parent = _subject(self._dn(account.parent))
            theirs |= {"ldapUser": parent, "ldapActualUser": str(claims["ldapUser"])}
            return replace(account, parent=parent, provider="ldap", claims=theirs, groups=groups)
        provider = self.former.providers.get(str(claims.get("iss", "")))
        if provider and isinstance(claims.get("sub"), str):
            parent = _subject(f"{provider if ':' in provider else provider + ':_'}:{claims['sub']}")
            return replace(account, parent=parent, provider=provider, claims=theirs)
        raise Unusable("its parent is no user here, nor of an identity provider that was named: it has to be made anew")

    def sessions(self) -> tuple[int, int]:
        """Return how many temporary credentials are still good, and how many have expired or cannot be read."""
        ends = [self._end(row.document) for row in self._places["sts/", "/identity.json"].values()]
        return sum(end > self.now for end in ends), sum(end <= self.now for end in ends)

    def _end(self, document: Any) -> int:
        try:
            return values.identity(document).expires_at or 0
        except Unusable:
            return 0

    def _each(self, start: str, end: str, make: Callable[[_Row], Record | None]) -> Iterator[Record | Note]:
        """Yield what each row of a place becomes; a row that cannot be taken becomes notes of why."""
        for row in self._places[start, end].values():
            try:
                record = make(row)
            except PolicyError as error:
                yield from (Note(row.key, f"its policy: {problem}") for problem in error.problems)
            except Unusable as error:
                yield Note(row.key, str(error))
            else:
                if record is not None:
                    yield record

    def _group(self, name: str) -> str:
        return self._dn(name) if "=" in name else name

    def _dn(self, name: str) -> str:
        try:
            return self.former.normal_dn(name)
        except ValueError:
            raise Unusable("it is no LDAP name") from None


def own_policy_name(user: str) -> str:
    """Return what we call the policy that October 2018 kept beside a user."""
    return f"of-user-{user}"


def _says(row: _Row, canned: Policy) -> bool:
    """Return whether a stored policy says what a canned one says."""
    try:
        return parse(values.policy(row.text, row.document)[0]).statements == canned.statements
    except (PolicyError, Unusable):
        return False


def _name(text: str) -> str:
    if not is_name(text):
        raise Unusable("a name here has 3 to 128 of A-Z a-z 0-9 _ . @ + -")
    return text


def _usable(secret: Secret) -> Secret:
    if not 8 <= len(secret.reveal()) <= 128:
        raise Unusable("a secret key here has 8 to 128 characters")
    return secret


def _subject(text: str) -> str:
    if not is_subject(text):
        raise Unusable("it cannot be a subject's name here")
    return text
