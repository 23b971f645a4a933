"""What a way in proves about its caller: the same words for all of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sts.wire import StsCall

AWS_TAGS = "https://aws.amazon.com/tags"  # the claim in which a provider names session tags, as AWS reads it
USER = "user"  # the provider of who has permanent keys here


@dataclass(frozen=True, slots=True)
class Proof:
    """Who a caller of STS is, proved.

    `provider` names the way in and its configuration (`openid:corp`, `ldap`, `tls`, `custom`, `user`); `parent` is the
    identity's name in the one namespace of subjects (docs/decisions/0010), `groups` likewise. `claims` are what the
    session token shall say of the caller, without `sts.sessions.OUR_CLAIMS`. `expires_at` (epoch seconds) is when the
    proof itself ends, None when it does not; `max_duration` (seconds) bounds the session besides. `role_arn` is the role
    that the caller may take, "" for none. `subject` is what the answer names (SubjectFromWebIdentityToken and the like).
    """

    provider: str
    parent: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    expires_at: int | None = None
    max_duration: int | None = None
    role_arn: str = ""
    subject: str = ""
    audience: str = ""
    issuer: str = ""


class WayIn(Protocol):
    """One way to prove who one is."""

    async def prove(self, call: StsCall) -> Proof:
        """Return the proof of a call's caller. Raises StsError."""
        ...

    async def ready(self) -> str | None:
        """Return None when it can be used, else why not."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
