"""What MinIO wrote into etcd, value by value: identities, mapped policies, policies, groups, tokens; of every era. Pure.

Eras: 2018 (flat identities, policies beside the user), 2019-07 on ("version": 1), 2021-12 on (policies with their dates). From
2019-11 to 2021-04 every value was encrypted with `<root access key>:<root secret>` (`iam.madmin`); later ones may be sealed by a
KMS, which nobody but that KMS opens. What is ambiguous or unknown is never taken for something: it is Unusable, with the reason.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from iam import madmin
from iam.model import Secret

#: The HMACs of MinIO's tokens (RFC 7518 section 3.1).
_DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_ENABLED, _DISABLED = frozenset({"on", "enabled", ""}), frozenset({"off", "disabled"})


class Unusable(ValueError):
    """A value that cannot be taken over; the text is the reason, for the administrator, without any of its content."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, a service account or a temporary credential. Times in epoch seconds, 0 or None for never and unknown."""

    secret: Secret
    enabled: bool
    expires_at: int | None = None
    token: Secret | None = None
    parent: str = ""
    groups: tuple[str, ...] = ()
    name: str = ""
    description: str = ""
    policy_names: tuple[str, ...] = ()
    updated_at: int = 0
    claims: Mapping[str, Any] = field(default_factory=dict)


def opened(value: bytes, root: tuple[str, Secret] | None) -> bytes:
    """Return the JSON text of a stored value, decrypted with the root pair where it must be. Raises Unusable."""
    # The byte that names the scheme is a control character, which no JSON has; the first byte, of the salt, may be any.
    if not madmin.looks_encrypted(value):
        if value[:1] in (b"{", b'"', b"["):
            return value
        raise Unusable(
            "it is neither JSON nor encrypted with a root pair; a KMS may have sealed it, which is not supported"
        )
    if root is None:
        raise Unusable("it is encrypted; the root pair of the gateway that wrote it is needed")
    try:
        return madmin.decrypt(f"{root[0]}:{root[1].reveal()}", value, limit=None)
    except madmin.Undecryptable:
        raise Unusable(
            "this root pair does not open it: it was another, or a KMS has sealed it, which is not supported"
        ) from None


def parsed(text: bytes) -> Any:
    """Return the JSON document of a text. Raises Unusable, also for a member given twice: who knows which was meant."""
    try:
        return json.loads(text.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Unusable(str(error) if isinstance(error, Unusable) else "it is not JSON") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise Unusable("a member is given twice")
    return members


def identity(document: Any) -> Identity:
    """Return the identity of a document: flat in 2018, under `credentials` since. Raises Unusable."""
    whole = _object(document)
    inner = _object(whole["credentials"]) if "credentials" in whole else whole
    status = _text(inner, "status")
    if status not in _ENABLED | _DISABLED:
        raise Unusable(f"its status {status!r} is not known")
    token = _text(inner, "sessionToken")
    return Identity(
        Secret(_text(inner, "secretKey")),
        enabled=status in _ENABLED,
        expires_at=_time(inner, "expiration") or None,
        token=Secret(token) if token else None,
        parent=_text(inner, "parentUser"),
        groups=_texts(inner, "groups"),
        name=_text(inner, "name"),
        description=_text(inner, "description"),
        policy_names=_names(_text(inner, "policyName")),
        updated_at=_time(whole, "updatedAt"),
    )


def mapped(document: Any) -> tuple[tuple[str, ...], int]:
    """Return the policy names of a mapping (an object, in 2018 just a string) and when it changed. Raises Unusable."""
    if isinstance(document, str):
        return _names(document), 0
    members = _object(document)
    return _names(_text(members, "policy")), _time(members, "updatedAt")


def policy(text: bytes, document: Any) -> tuple[str, int, int]:
    """Return the text of a policy, and when it was made and changed: bare, or wrapped since 2021-12. Raises Unusable."""
    members = _object(document)
    if "Policy" not in members:
        return text.decode().strip(), 0, 0
    inner = json.dumps(_object(members["Policy"]), separators=(",", ":"), ensure_ascii=False)
    return inner, _time(members, "CreateDate"), _time(members, "UpdateDate")


def may_deny(text: str) -> bool:
    """Return whether a policy's text, which need not be a policy as we know them, has a statement that may deny."""
    statements = _object(parsed(text.encode())).get("Statement")
    each = statements if isinstance(statements, list) else [statements]
    return not all(isinstance(statement, dict) and statement.get("Effect") == "Allow" for statement in each)


def group(document: Any) -> tuple[tuple[str, ...], bool, int]:
    """Return the members of a group, whether it is enabled, and when it changed. Raises Unusable."""
    members = _object(document)
    status = _text(members, "status")
    if status not in _ENABLED | _DISABLED:
        raise Unusable(f"its status {status!r} is not known")
    return _texts(members, "members"), status in _ENABLED, _time(members, "updatedAt")


def verified(token: str, secrets: Sequence[Secret]) -> dict[str, Any]:
    """Return the claims of a service account's token that one of these secrets has signed. Raises Unusable.

    The root secret signed until 2021, the account's own since. RFC 7515 section 5.2; not by PyJWT, which warns of each of these
    keys: MinIO's secrets are shorter than RFC 7518 wants them.
    """
    head, _, signature = token.rpartition(".")
    try:
        header, payload = (parsed(_decoded(part)) for part in head.split("."))
        given, digest = _decoded(signature), _DIGESTS[header["alg"]]
    except (ValueError, KeyError, TypeError):
        raise Unusable("its token is none") from None
    fitting = [
        s for s in secrets if hmac.compare_digest(hmac.digest(s.reveal().encode(), head.encode(), digest), given)
    ]
    if not fitting:
        raise Unusable("its token was signed with another secret: of 2020, the root pair of then is needed")
    return _object(payload)


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def session_policy(claims: Mapping[str, Any]) -> str | None:
    """Return the policy text that narrows a service account, None when it inherits. Raises Unusable for anything else."""
    sort, encoded = claims.get("sa-policy"), claims.get("sessionPolicy")
    if sort == "inherited-policy":
        return None
    if sort != "embedded-policy" or not isinstance(encoded, str):
        raise Unusable("its token does not say what it may")
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Unusable("the policy in its token cannot be read") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        _strange("it is no JSON object of this kind")
    return value


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name, "")
    if not isinstance(value, str):
        _strange(f"its member {name!r} is no text")
    return value


def _texts(members: dict[str, Any], name: str) -> tuple[str, ...]:
    values = members.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        _strange(f"its member {name!r} is no list of texts")
    return tuple(dict.fromkeys(values))


def _time(members: dict[str, Any], name: str) -> int:
    """Return a time (RFC 3339) in epoch seconds; Go's zero time and the epoch itself, which mean never, are 0."""
    text = _text(members, name)
    try:
        moment = datetime.fromisoformat(text) if text else None
        return max(0, int(moment.timestamp())) if moment and moment.tzinfo else 0
    except (ValueError, OverflowError):
        _strange(f"its member {name!r} is no time")


def _strange(reason: str) -> NoReturn:
    raise Unusable(reason)
