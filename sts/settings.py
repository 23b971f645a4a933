"""How an OpenID provider is configured. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
