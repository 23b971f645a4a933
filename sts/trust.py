"""What a provider's settings say of a proved token: for whom it must be, of whom, and what its bearer gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iam.patterns import matches
from iam.records import is_subject
from sts.principal import policies_of
from sts.proof import AWS_TAGS
from sts.sessions import OUR_CLAIMS
from sts.settings import OpenIdSettings

#: Carried whatever the settings say: who it is, of which provider, and the tags that the session's own place is for.
_IDENTITY = frozenset({"iss", "sub", "azp", AWS_TAGS})


def audience(settings: OpenIdSettings, claims: Mapping[str, Any]) -> str | None:
    """Return the audience by which a token is for us, None when it is for others; "" where nobody asks and it names none.

    As with MinIO `azp` may name the client id that `aud` does not, unless the operator listed audiences.
    """
    named = _audiences(claims.get("aud"))
    if not settings.accepted:
        return next(iter(named), "")
    found = next((one for one in settings.accepted if one in named), None)
    if found is None and not settings.audiences and claims.get("azp") == settings.client_id:
        return settings.client_id
    return found


def _audiences(value: Any) -> tuple[str, ...]:
    """Return whom a token is for: a string, a comma list (WSO2) or an array."""
    if isinstance(value, str):
        return (value, *(part.strip() for part in value.split(",")))
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def is_trusted(settings: OpenIdSettings, claims: Mapping[str, Any]) -> bool:
    """Return whether the token's subject is one that the settings trust; a role without subjects trusts nobody (trap 39)."""
    if not settings.subjects:
        return not settings.role_policies
    subject = str(claims.get("sub") or "")
    return bool(subject) and any(matches((pattern,), subject) for pattern in settings.subjects)


def parent(settings: OpenIdSettings, claims: Mapping[str, Any]) -> str:
    """Return the identity's name among all subjects: by `sub`, else by the client (WSO2's tokens); "" when it has none."""
    for name in ("sub", "azp", "client_id"):
        value = claims.get(name)
        if isinstance(value, str) and value:
            return _subject(settings, value)
    return ""


def groups(settings: OpenIdSettings, claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the caller's groups among all subjects, from the claim `groups`: a text, a comma list or an array.

    In an array a name may have commas of its own, as distinguished names do. Raises ValueError for a claim of another shape and
    for what can be no name: a group that is left out takes the policies along that deny its members something.
    """
    names = []
    for text in _listed(claims.get("groups")):
        if not (name := _subject(settings, text)):
            raise ValueError("The claim groups holds what can be no name of a group.")
        names.append(name)
    return tuple(dict.fromkeys(names))


def _listed(value: Any) -> list[str]:
    """Return the texts of a claim that are not empty."""
    texts = [part.strip() for part in value.split(",")] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("The claim groups is neither a text nor a list of texts.")
    return [text for text in texts if text]


def _subject(settings: OpenIdSettings, text: str) -> str:
    """Return a name that no user, and nobody of another provider, can have (trap 47)."""
    name = f"openid:{settings.name or '_'}:{text}"
    return name if is_subject(name) else ""


def carried(settings: OpenIdSettings, claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims that go into the session token: what is ours is never brought along (trap 47)."""
    kept = None if settings.carried is None else {*settings.carried, *_IDENTITY, settings.claim}
    return {n: v for n, v in claims.items() if n not in OUR_CLAIMS and (kept is None or n in kept)}


def policies(settings: OpenIdSettings, arn: str, claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the policies of a session of this provider; `arn` is that of the provider's role, `claims` the session's.

    A session that was proved for a role has nothing where there is no such role any more, nor has one of a claim where there
    is one now: neither was judged by what is configured today.
    """
    if (claims.get("roleArn") or "") != arn:
        return ()
    return settings.role_policies or policies_of(claims, settings.claim_name, settings.claim_prefix)
