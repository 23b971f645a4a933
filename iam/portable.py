"""A whole IAM as one JSON document: users, groups, policies, service accounts and attachments, to keep or to carry elsewhere. Pure.

    {"format": "minio-gw iam", "version": 1, "users": [{"name": …}, …], …, "secrets": {"sealed": "…"}}

Everything is sorted, so that two exports of one IAM differ in `secrets.sealed` only. Secret keys are there alone, by
`<kind>/<name>`: sealed with a passphrase (`iam.madmin`: Argon2id, AES-256-GCM), or `{"clear": {…}}` when the operator said so.
Sessions, their keys, revocations and epochs stay: they belong to the gateways that issue. Root is nobody's name in a
document: its service accounts have no `parent`, and become those of the root of the gateway that imports.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from iam import madmin
from iam.model import Secret
from iam.notes import Note
from iam.policy import PolicyError, parse
from iam.records import (
    LATEST,
    Attachment,
    Group,
    PolicyDocument,
    Record,
    ServiceAccount,
    User,
    is_name,
    is_policy_name,
    is_subject,
    is_text,
)
from iam.view import IamView

FORMAT, VERSION = "minio-gw iam", 1
SHORTEST_PASSPHRASE = 8  # characters
LARGEST = 16 * 2**20  # bytes of a document, with what goes with it, that a gateway takes
_SECTIONS = ("users", "groups", "policies", "serviceAccounts", "attachments")


class NotPortable(ValueError):
    """The text is no document of this kind; `problems` are all that is wrong with it, each with its place."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Export:
    """A document, and notes about what could not be part of it."""

    text: str
    skipped: tuple[Note, ...] = ()


def of_view(view: IamView) -> Iterator[Record]:
    """Yield the records of a view that a document holds."""
    for table in (view.users, view.groups, view.policies, view.accounts, view.attachments):
        yield from table.values()


def write(
    records: Iterable[Record],
    *,
    root_access_key: str,
    passphrase: Secret | None,
    random: Callable[[int], bytes],
) -> Export:
    """Return the document of records; secrets are in the clear when there is no passphrase, which only the operator decides.

    Records of other kinds are left out; so is, with a note, what could not be read in the store. Raises NotPortable for a
    passphrase of less than 8 characters.
    """
    sections: dict[str, list[dict[str, Any]]] = {name: [] for name in _SECTIONS}
    secrets: dict[str, str] = {}
    skipped: list[Note] = []
    for record in sorted(records, key=repr):
        if (isinstance(record, Attachment) and record.broken) or (
            isinstance(record, PolicyDocument) and not record.text
        ):
            skipped.append(Note(_about(record), "it cannot be read in the store"))
        elif isinstance(record, User | Group | PolicyDocument | ServiceAccount | Attachment):
            section, members = _members(record, root_access_key)
            sections[section].append(members)
        if isinstance(record, User | ServiceAccount):
            secrets[_about(record)] = record.secret.reveal()
    document = {"format": FORMAT, "version": VERSION, **sections, "secrets": _sealed(secrets, passphrase, random)}
    return Export(json.dumps(document, indent=2, ensure_ascii=False) + "\n", tuple(skipped))


def _about(record: Record) -> str:
    match record:
        case User(name):
            return f"users/{name}"
        case ServiceAccount(key):
            return f"serviceAccounts/{key}"
        case PolicyDocument(name):
            return f"policies/{name}"
        case Attachment():
            return f"attachments/{record.record_name}"
    return ""


def _members(record: Record, root_access_key: str) -> tuple[str, dict[str, Any]]:
    """Return in which section a record is, and its members there."""
    match record:
        case User(name, _, enabled, at):
            return "users", {"name": name, "enabled": enabled, "updatedAt": at}
        case Group(name, members, enabled, at):
            return "groups", {"name": name, "members": sorted(members), "enabled": enabled, "updatedAt": at}
        case PolicyDocument(name, text, created_at, at):
            return "policies", {"name": name, "text": text, "createdAt": created_at, "updatedAt": at}
        case Attachment(subject, policies, group, at):
            return "attachments", {"subject": subject, "group": group, "policies": list(policies), "updatedAt": at}
        case ServiceAccount() as account:
            parent = {} if account.parent == root_access_key else {"parent": account.parent}
            return "serviceAccounts", {
                "accessKey": account.access_key_id, **parent, "enabled": account.enabled, "policy": account.policy,
                "name": account.name, "description": account.description, "expiresAt": account.expires_at,
                "provider": account.provider, "claims": dict(account.claims), "groups": list(account.groups),
                "updatedAt": account.updated_at,
            }  # fmt: skip
    raise TypeError(record)


def _sealed(secrets: dict[str, str], passphrase: Secret | None, random: Callable[[int], bytes]) -> dict[str, Any]:
    if passphrase is None:
        return {"clear": secrets}
    if len(passphrase.reveal()) < SHORTEST_PASSPHRASE:
        raise NotPortable(f"the passphrase: at least {SHORTEST_PASSPHRASE} characters")
    data = madmin.encrypt(passphrase.reveal(), json.dumps(secrets).encode(), random=random)
    return {"sealed": base64.b64encode(data).decode()}


def read(text: str, *, root_access_key: str, passphrase: Secret | None) -> list[Record]:
    """Return the records of a document, all of them fit to be stored. Raises NotPortable, with every problem."""
    document = _document(text)
    problems: list[str] = []
    secrets = _opened(document.get("secrets"), passphrase)
    reading = _Reading(secrets, root_access_key, problems)
    makers: Mapping[str, Callable[[_Members], Record]] = {
        "users": reading.user, "groups": reading.group, "policies": reading.policy,
        "serviceAccounts": reading.account, "attachments": reading.attachment,
    }  # fmt: skip
    problems += [
        f"{name}: unknown member" for name in sorted(document.keys() - {"format", "version", "secrets", *makers})
    ]
    records = [
        make(_Members(member, f"{section}[{number}]", problems))
        for section, make in makers.items()
        for number, member in enumerate(_list(document, section, problems))
    ]
    if problems:
        raise NotPortable(*problems)
    return records


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_once)
        whole = is_text(json.dumps(document, ensure_ascii=False))
    except (ValueError, RecursionError) as error:
        raise NotPortable(f"it is not JSON, or gives a member twice ({type(error).__name__})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("version") != VERSION:
        raise NotPortable(f"it is no export of version {VERSION}")
    if not whole:
        raise NotPortable("it holds what is no Unicode text")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is given twice")
    return members


def _list(document: dict[str, Any], name: str, problems: list[str]) -> list[Any]:
    value = document.get(name, [])
    if isinstance(value, list):
        return value
    problems.append(f"{name}: must be a list")
    return []


def _opened(value: Any, passphrase: Secret | None) -> dict[str, str]:
    """Return the secret keys by kind and name."""
    secrets = value.get("clear") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(value.get("sealed"), str):
        if passphrase is None:
            raise NotPortable("secrets: sealed; the passphrase of the export is needed")
        try:
            data = base64.b64decode(value["sealed"], validate=True)
            secrets = json.loads(madmin.decrypt(passphrase.reveal(), data, limit=None))
        except ValueError:
            raise NotPortable("secrets: the passphrase does not open them, or they were changed") from None
    if not isinstance(secrets, dict) or not all(isinstance(one, str) and is_text(one) for one in secrets.values()):
        raise NotPortable("secrets: must be sealed or clear")
    return secrets


class _Members:
    """One object of a section, read member by member; what is wrong is collected."""

    def __init__(self, value: Any, place: str, problems: list[str]) -> None:
        self.place, self._problems = place, problems
        self._value = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self.wrong("must be an object")

    def wrong(self, text: str, member: str = "") -> None:
        """Note a problem."""
        self._problems.append(f"{self.place}{'.' if member else ''}{member}: {text}")

    def get(self, name: str, kind: type[Any], default: Any = None) -> Any:
        """Return a member of exactly this type, its default where it is missing; without one it must be there.

        All numbers are times.
        """
        if name not in self._value and default is not None:
            return default
        value = self._value.get(name)
        if type(value) is kind and not (isinstance(value, int) and not 0 <= value <= LATEST):
            return value
        self.wrong(f"must be of type {kind.__name__}", name)
        return kind()

    def optional(self, name: str, kind: type[Any]) -> Any:
        """Return a member of this type or None."""
        return None if self._value.get(name) is None else self.get(name, kind)

    def has(self, name: str) -> bool:
        """Return whether there is such a member."""
        return name in self._value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self.get(name, list, [])
        if all(isinstance(value, str) for value in values):
            return tuple(values)
        self.wrong("must be a list of texts", name)
        return ()

    def named(self, name: str, is_valid: Callable[[str], bool]) -> str:
        """Return a text that is a name of its kind."""
        text: str = self.get(name, str)
        if not is_valid(text):
            self.wrong("is no name of this kind", name)
        return text


class _Reading:
    """Makes records of objects."""

    def __init__(self, secrets: Mapping[str, str], root_access_key: str, problems: list[str]) -> None:
        self._secrets, self._root, self._problems = secrets, root_access_key, problems

    def user(self, of: _Members) -> Record:
        """Return a user."""
        name = of.named("name", is_name)
        return User(name, self._secret(of, f"users/{name}"), of.get("enabled", bool), of.get("updatedAt", int, 0))

    def group(self, of: _Members) -> Record:
        """Return a group."""
        return Group(
            of.named("name", is_name), of.texts("members"), of.get("enabled", bool), of.get("updatedAt", int, 0)
        )

    def policy(self, of: _Members) -> Record:
        """Return a policy."""
        name, text = of.named("name", is_policy_name), of.get("text", str)
        self._parse(of, "text", text)
        return PolicyDocument(name, text, of.get("createdAt", int, 0), of.get("updatedAt", int, 0))

    def account(self, of: _Members) -> Record:
        """Return a service account; one without `parent` is root's."""
        key, policy = of.named("accessKey", is_name), of.optional("policy", str)
        if policy is not None:
            self._parse(of, "policy", policy)
        return ServiceAccount(
            key, self._secret(of, f"serviceAccounts/{key}"),
            of.named("parent", is_subject) if of.has("parent") else self._root,
            of.get("enabled", bool), policy, of.get("name", str, ""), of.get("description", str, ""),
            of.optional("expiresAt", int), of.get("provider", str, ""), of.get("claims", dict, {}), of.texts("groups"),
            of.get("updatedAt", int, 0),
        )  # fmt: skip

    def attachment(self, of: _Members) -> Record:
        """Return an attachment."""
        policies = of.texts("policies")
        if not all(map(is_policy_name, policies)):
            of.wrong("holds what is no policy's name", "policies")
        subject, group = of.named("subject", is_subject), of.get("group", bool, default=False)
        return Attachment(subject, policies, group, of.get("updatedAt", int, 0))

    def _secret(self, of: _Members, about: str) -> Secret:
        secret = self._secrets.get(about, "")
        if not 8 <= len(secret) <= 128:
            of.wrong("its secret key is missing, or has not 8 to 128 characters")
        return Secret(secret)

    def _parse(self, of: _Members, member: str, text: str) -> None:
        try:
            parse(text)
        except PolicyError as error:
            for problem in error.problems:
                of.wrong(problem, member)
