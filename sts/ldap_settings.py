"""How an LDAP directory is configured. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from iam.model import Secret


class Transport(StrEnum):
    """How the directory is spoken to."""

    LDAPS = "ldaps"
    STARTTLS = "starttls"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """One directory: where it is, who looks users up in it, and where users and groups are.

    `user_filter` names the user by `%s`; `group_filter` may name the user by `%s` and its DN by `%d`, "" for no groups.
    `user_attributes` become claims. `ca_file` None means the system's CAs.
    """

    host: str
    port: int
    transport: Transport
    lookup_bind_dn: str
    lookup_bind_password: Secret
    user_base_dns: tuple[str, ...]
    user_filter: str
    user_attributes: tuple[str, ...] = ()
    group_base_dns: tuple[str, ...] = ()
    group_filter: str = ""
    ca_file: Path | None = None
    verify: bool = True
