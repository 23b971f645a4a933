"""How an OpenID provider and the identity plugin are configured. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iam.model import Secret


@dataclass(frozen=True, slots=True)
class OpenIdSettings:
    """One provider: keys by `jwks_url` or found through `config_url`; "" where not configured.

    `leeway` in seconds, for a provider whose clock is not ours.
    """

    jwks_url: str = ""
    config_url: str = ""
    client_id: str = ""
    claim_name: str = "policy"
    claim_prefix: str = ""
    ca_file: Path | None = None
    leeway: int = 0


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """The webhook behind AssumeRoleWithCustomToken, the policies of whom it vouches for, and the id of their role."""

    url: str
    role_policies: tuple[str, ...]
    auth_token: Secret | None = None
    role_id: str = ""
