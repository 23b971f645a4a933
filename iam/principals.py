"""The Principal and NotPrincipal elements of bucket-style documents: whom a statement is about. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
There is one account here and it has no number, so its place in an ARN is empty. Who can be named:

    *                                              everybody, signed or not
    arn:aws:iam:::root                             the root account; in a Deny everybody who signs, as on AWS
    arn:aws:iam:::user/NAME                        a user, her service accounts, the sessions she assumed
    arn:aws:iam:::role/NAME, arn:minio:iam:…       sessions of that role
    arn:aws:sts:::federated-user/SUBJECT           sessions of an identity that a provider vouches for
    arn:aws:sts:::assumed-role/ROLE-or-SUBJECT/KEY one session, by its access key
    {"Federated": "openid:corp"}                   every session of one provider

**An anonymous caller** matches `*` alone, and no NotPrincipal excepts him. Whoever cannot call here (account numbers, services,
canonical users, groups) is a problem when the document is parsed: a Deny about nobody would be nothing.
"""

from __future__ import annotations

import re
from typing import Any

from iam.model import Principal, PrincipalType

EVERYBODY = "*"
_ROOT = "arn:aws:iam:::root"
_FEDERATED = "Federated "
_NAMED = re.compile(
    r"arn:aws:iam:::(root|user/[^*?/$:=,]+|role/[^*?$]+)|arn:minio:iam:[^*?:$]*:[^*?:$]*:role/[^*?$]+"
    r"|arn:aws:sts:::(federated-user/[^*?$]+|assumed-role/[^*?$]+/[^*?/$]+)"
)
_USER, _FEDERATED_USER = "arn:aws:iam:::user/", "arn:aws:sts:::federated-user/"
_VARIABLE = re.compile(r"\$\{[^}]*\}")
_PROVIDER = re.compile(r"[^*?$\s]+")
_NOBODY = {
    "CanonicalUser": "no caller here has a canonical user id; name an ARN under AWS",
    "Service": "no service calls here",
}
_WANTED = "is nobody who can call here: write *, or arn:aws:iam:::user/NAME and the like, without account and wildcards"


def parse_principals(given: Any, place: str, problems: list[str]) -> tuple[str, ...]:
    """Return whom an element names, for `is_about`; what is wrong is added to `problems`, each with its place."""
    if given == EVERYBODY:
        return (EVERYBODY,)
    if not isinstance(given, dict) or not given:
        problems.append(f'{place}: must be "*" or an object such as {{"AWS": "arn:aws:iam:::user/NAME"}}')
        return ()
    return tuple(name for kind, names in given.items() for name in _of_kind(kind, names, f"{place}.{kind}", problems))


def _of_kind(kind: str, given: Any, place: str, problems: list[str]) -> list[str]:
    names = given if isinstance(given, list) else [given]
    if kind not in {"AWS", "Federated"}:
        problems.append(f"{place}: {_NOBODY.get(kind, 'must be AWS or Federated')}")
    elif not names or not all(isinstance(name, str) and name for name in names):
        problems.append(f"{place}: must be a string or a list of strings, not empty")
    elif kind == "Federated":
        problems += [f"{place}: {name!r} is no provider's name" for name in names if not _PROVIDER.fullmatch(name)]
        return [f"{_FEDERATED}{name}" for name in names]
    else:
        problems += [f"{place}: {name!r} {_WANTED}" for name in names
                     if name != EVERYBODY and not _NAMED.fullmatch(name)]  # fmt: skip
        return names
    return []


def account_fault(key: str, value: str) -> str | None:
    """Return what is wrong with a value of aws:PrincipalArn, None when it is good: one with an account would match no caller."""
    parts = _VARIABLE.sub("*", value).split(":", 5)
    if key.lower() != "aws:principalarn" or len(parts) < 6 or not parts[4].strip("*"):
        return None
    return "names an account, which no caller here has: leave its place empty, as in arn:aws:iam:::user/NAME"


def is_about(names: tuple[str, ...], principal: Principal, *, deny: bool) -> bool:
    """Return whether a Principal element names this caller; `deny` for a statement that denies."""
    return EVERYBODY in names or not names_of(principal, deny=deny).isdisjoint(names)


def is_excepted(names: tuple[str, ...], principal: Principal) -> bool:
    """Return whether a NotPrincipal element names this caller: such a statement denies, and an exception is a permission."""
    return not names_of(principal, deny=False).isdisjoint(names)


def names_of(principal: Principal, *, deny: bool) -> frozenset[str]:
    """Return the names that a caller answers to; more in a Deny, where a doubt must not let go (trap 47)."""
    if principal.type is PrincipalType.ANONYMOUS:
        return frozenset()
    found = {arn_of(principal), *_session_names(principal)}
    if is_federated(principal):
        found |= {f"{_FEDERATED}{principal.provider}", f"{_FEDERATED_USER}{principal.parent}"}
    if deny:
        found |= {_ROOT, f"{_USER}{principal.parent or principal.access_key_id}"}
    return frozenset(found)


def is_federated(principal: Principal) -> bool:
    """Return whether a provider vouches for the identity: it is nobody's who has keys here."""
    return principal.provider not in {"", "user"}


def arn_of(principal: Principal) -> str:
    """Return the ARN of who is behind a caller, the condition key aws:PrincipalArn; "" for anonymous.

    As on AWS the role's for a session of a role, not the session's. A session is a user's only if its token, which we wrote,
    says that a user's keys proved it: a subject that a provider calls like a user is not that user (trap 47).
    """
    if principal.type is PrincipalType.ANONYMOUS:
        return ""
    if principal.owner or principal.type is PrincipalType.ACCOUNT:
        return _ROOT
    role, subject = principal.claims.get("roleArn"), principal.parent or principal.access_key_id
    if isinstance(role, str) and role:
        return role
    keyless = is_federated(principal) or (principal.type is PrincipalType.ASSUMED_ROLE and not principal.provider)
    return f"{_FEDERATED_USER if keyless else _USER}{subject}"


def _session_names(principal: Principal) -> set[str]:
    """Return the name of a session beside that of its role or its user."""
    if principal.type is not PrincipalType.ASSUMED_ROLE:
        return set()
    role = str(principal.claims.get("roleArn") or "").rpartition(":role/")[2]
    return {f"arn:aws:sts:::assumed-role/{role or principal.parent}/{principal.access_key_id}"}
