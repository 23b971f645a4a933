"""Records <-> bytes: one JSON object with a version; what is secret in it is sealed, and all of it proved (`iam.seal`).

Reading returns the record, or raises `Unreadable` with a reason for the log; unknown members are tolerated. What cannot be read
falls to the safe side (`Codec.decode`): a revocation and an epoch revoke, an attachment takes its subject's rights.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from iam.model import Secret
from iam.records import (
    DATA_KEY,
    Attachment,
    Epoch,
    Group,
    KeyRecord,
    Kind,
    PolicyDocument,
    Record,
    Revocation,
    SealRecord,
    ServiceAccount,
    User,
    attachment_name,
)
from iam.seal import CannotOpen, Seal
from iam.store import SessionRecord

VERSION = 1
_PROOF = b',"proof":"'  # the last member: what is before it is what is proved
FOREVER = 2**53  # the expiry (epoch seconds) of a revocation that does not say: no time lifts it, only its deletion


class Unreadable(ValueError):
    """The bytes are not a record that this version understands."""


def encode_session(record: SessionRecord) -> bytes:
    """Return the bytes of a session record."""
    return _dump({
        "accessKey": record.access_key_id, "parent": record.parent, "issuer": record.issuer,
        "provider": record.provider, "issuedAt": record.issued_at, "expiresAt": record.expires_at,
        "claims": dict(record.claims), "kid": record.kid, "revokeType": record.revoke_type,
    })  # fmt: skip


def decode_session(access_key_id: str, value: bytes) -> SessionRecord:
    """Return the session that is recorded under an access key. Raises Unreadable."""
    document = _load(value)
    if _member(document, "accessKey", str) != access_key_id:
        raise Unreadable("it names another access key")
    parent, issuer, provider = (_member(document, name, str) for name in ("parent", "issuer", "provider"))
    issued_at, expires_at = (_member(document, name, int) for name in ("issuedAt", "expiresAt"))
    claims = _member(document, "claims", dict) if "claims" in document else {}
    kid, revoke_type = (_member(document, n, str) if n in document else "" for n in ("kid", "revokeType"))
    return SessionRecord(access_key_id, parent, issuer, provider, issued_at, expires_at, claims, kid, revoke_type)


def decode_sessions(rows: Iterable[tuple[str, bytes]], skipped: Callable[[str, str], None]) -> list[SessionRecord]:
    """Return the readable sessions of (access key, bytes) rows; `skipped` is told each other's key and the reason."""
    records = []
    for access_key_id, value in rows:
        try:
            records.append(decode_session(access_key_id, value))
        except Unreadable as error:
            skipped(access_key_id, str(error))
    return records


#: Where a record of a type is stored: its kind, and which member is its name.
_STORED: Mapping[type[Any], tuple[Kind, str]] = {
    User: (Kind.USER, "name"), Group: (Kind.GROUP, "name"), PolicyDocument: (Kind.POLICY, "name"),
    ServiceAccount: (Kind.ACCOUNT, "access_key_id"), Attachment: (Kind.ATTACHMENT, "record_name"),
    KeyRecord: (Kind.KEY, "kid"), SealRecord: (Kind.SEAL, "record_name"),
    Revocation: (Kind.REVOCATION, "access_key_id"), Epoch: (Kind.EPOCH, "parent"),
}  # fmt: skip


def record_key(record: Record) -> tuple[Kind, str]:
    """Return under which kind and name a record is stored."""
    kind, member = _STORED[type(record)]
    return kind, getattr(record, member)


class Codec:
    """Writes and reads records; `seal` learns the data key from the first seal record that it reads."""

    def __init__(self, seal: Seal) -> None:
        self.seal = seal

    def encode(self, record: Record) -> bytes:
        """Return the bytes of a record. Raises CannotOpen when there is no data key yet, but for the data key's own."""
        text = self._encode(record)
        kind, name = record_key(record)
        return text if kind is Kind.SEAL else b'%b%b%b"}' % (text[:-1], _PROOF, self.seal.prove(kind, name, text))

    def _encode(self, record: Record) -> bytes:
        match record:
            case User() | ServiceAccount():
                return _dump(_camel(record, secret=self._sealed(record, record.secret.reveal().encode())))
            case KeyRecord():
                material = self._sealed(record, record.signing + record.derivation)
                return _dump(_camel(record, signing=None, derivation=None, material=material))
            case SealRecord():
                wraps = {n: [at, base64.b64encode(wrap).decode()] for n, (at, wrap) in record.wraps.items()}
                return _dump({"id": record.id, "wraps": wraps})
            case _:
                return _dump(_camel(record, broken=None, problem=None))

    def decode(self, kind: Kind, name: str, value: bytes) -> Record:
        """Return a record. Raises Unreadable, unless the safe side is a record of its own."""
        try:
            return self._decode(kind, name, _load(self._proved(kind, name, value)))
        except Unreadable as error:
            fallback = safe_side(kind, name, str(error))
            if fallback is None:
                raise
            return fallback

    def _proved(self, kind: Kind, name: str, value: bytes) -> bytes:
        """Return what of these bytes is proved; all of them for the data key's own record, and in a store that is older than proofs."""
        begin, found, end = value.rpartition(_PROOF)
        text = begin + b"}"
        if found and end[-2:] == b'"}' and self.seal.is_proved(kind, name, text, end[:-2]):
            return text
        if kind is not Kind.SEAL and self.seal.demands_proof:
            why = "no gateway of this store wrote it so: it has no proof, or another's"
            raise Unreadable(why if self.seal.is_known else self.seal.trouble)
        return value

    def _decode(self, kind: Kind, name: str, document: dict[str, Any]) -> Record:
        reader = _PLAIN.get(kind)
        if reader is not None:
            return reader(name, document)
        if kind is Kind.USER:
            return User(name, self._secret(kind, name, document), **_some(document, enabled=bool, updatedAt=int))
        if kind is Kind.SEAL:
            if name != DATA_KEY:
                raise Unreadable("there is one data key, and this is not its name")
            record = SealRecord(_member(document, "id", str), _wraps(document))
            self.seal.learn(record)
            return record
        return self._account(name, document) if kind is Kind.ACCOUNT else self._key(name, document)

    def _account(self, name: str, document: dict[str, Any]) -> ServiceAccount:
        some = _some(document, enabled=bool, name=str, description=str, provider=str, claims=dict, updatedAt=int)
        policy, expires_at = document.get("policy"), document.get("expiresAt")
        if not isinstance(policy, str | None) or not (expires_at is None or type(expires_at) is int):
            raise Unreadable("its policy or its expiry is not as we write it")
        return ServiceAccount(
            name, self._secret(Kind.ACCOUNT, name, document), _member(document, "parent", str), policy=policy,
            expires_at=expires_at, groups=_texts(document, "groups"), **some,
        )  # fmt: skip

    def _key(self, kid: str, document: dict[str, Any]) -> KeyRecord:
        material = self._opened(Kind.KEY, kid, document, "material")
        half = len(material) // 2
        return KeyRecord(kid, material[:half], material[half:], **_some(document, createdAt=int, activeAt=int))

    def _sealed(self, record: Record, text: bytes) -> str:
        return self.seal.seal(*record_key(record), text)

    def _secret(self, kind: Kind, name: str, document: dict[str, Any]) -> Secret:
        try:
            return Secret(self._opened(kind, name, document, "secret").decode())
        except UnicodeDecodeError:
            raise Unreadable("its secret is no text") from None

    def _opened(self, kind: Kind, name: str, document: dict[str, Any], member: str) -> bytes:
        try:
            return self.seal.open(kind, name, _member(document, member, str))
        except CannotOpen as error:
            raise Unreadable(str(error)) from None


def _group(name: str, document: dict[str, Any]) -> Record:
    return Group(name, _texts(document, "members"), **_some(document, enabled=bool, updatedAt=int))


def _policy(name: str, document: dict[str, Any]) -> Record:
    return PolicyDocument(name, _member(document, "text", str), **_some(document, createdAt=int, updatedAt=int))


def _attachment(name: str, document: dict[str, Any]) -> Record:
    subject, group = _member(document, "subject", str), _member(document, "group", bool)
    if attachment_name(subject, group=group) != name:
        raise Unreadable("it names another subject")
    return Attachment(subject, _texts(document, "policies"), group, **_some(document, updatedAt=int))


def _revocation(name: str, document: dict[str, Any]) -> Record:
    return Revocation(name, _member(document, "revokedAt", int), _member(document, "expiresAt", int))


def _epoch(name: str, document: dict[str, Any]) -> Record:
    by_type = _member(document, "byType", dict)
    if not all(type(at) is int for at in by_type.values()):
        raise Unreadable("its member 'byType' holds what is no time")
    return Epoch(name, _member(document, "notBefore", int), by_type, _member(document, "expiresAt", int))


#: Readers of the kinds without secrets.
_PLAIN: Mapping[Kind, Callable[[str, dict[str, Any]], Record]] = {
    Kind.GROUP: _group, Kind.POLICY: _policy, Kind.ATTACHMENT: _attachment, Kind.REVOCATION: _revocation,
    Kind.EPOCH: _epoch,
}  # fmt: skip


def safe_side(kind: Kind, name: str, problem: str) -> Record | None:
    """Return what an unreadable record counts as, None when that is nothing at all."""
    match kind:
        case Kind.REVOCATION:
            return Revocation(name, 0, FOREVER, problem=problem)
        case Kind.EPOCH:
            return Epoch(name, not_before=FOREVER, expires_at=FOREVER, problem=problem)
        case Kind.ATTACHMENT:
            sort, _, subject = name.partition("/")
            return Attachment(subject, (), group=sort == "group", broken=True)
        case Kind.POLICY:
            return PolicyDocument(name, "", problem=problem)  # no policy at all: who names it has no rights
        case _:
            return None


def _camel(record: Record, **instead: Any) -> dict[str, Any]:
    """Return the members in camel case; `instead` replaces some, None leaves one out."""
    members: dict[str, Any] = {f.name: getattr(record, f.name) for f in fields(record)} | instead
    return {_camel_case(name): value for name, value in members.items() if value is not None}


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


#: Members as they are written -> as they are called here.
_OURS: Mapping[str, str] = {_camel_case(f.name): f.name for record in _STORED for f in fields(record)}


def _some(document: dict[str, Any], **members: type[Any]) -> dict[str, Any]:
    """Return the members that are there, by our names for them, each of its type."""
    found = {name: _member(document, name, kind) for name, kind in members.items() if name in document}
    return {_OURS[name]: value for name, value in found.items()}


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    values = _member(document, name, list)
    if not all(isinstance(value, str) for value in values):
        raise Unreadable(f"its member {name!r} holds what is no text")
    return tuple(values)


def _wraps(document: dict[str, Any]) -> dict[str, tuple[int, bytes]]:
    try:
        return {
            name: (int(at), base64.b64decode(wrap, validate=True))
            for name, (at, wrap) in _member(document, "wraps", dict).items()
        }
    except (TypeError, ValueError, OverflowError, binascii.Error):
        raise Unreadable("its wraps are not as we write them") from None


def _dump(document: dict[str, Any]) -> bytes:
    """Claims may hold anything: what JSON does not know is written as its text (a Secret's text is masked)."""
    return json.dumps({"version": VERSION, **document}, separators=(",", ":"), default=str).encode()


def _load(value: bytes) -> dict[str, Any]:
    try:
        document = json.loads(value.decode())
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not JSON ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise Unreadable("it is not a JSON object")
    if _member(document, "version", int) != VERSION:
        raise Unreadable("its version is not ours")
    return document


def _member(document: dict[str, Any], name: str, kind: type[Any]) -> Any:
    """Return a member of exactly this type: true is no integer, 1e999 is no time."""
    value = document.get(name)
    if type(value) is not kind:
        raise Unreadable(f"its member {name!r} is missing or not of type {kind.__name__}")
    return value
