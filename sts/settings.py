"""How an OpenID provider and the identity plugin are configured. Pure."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from iam.model import Secret


@dataclass(frozen=True, slots=True)
class OpenIdSettings:
    """One provider: keys by `jwks_url` or found through `config_url`; "" where not configured.

    `leeway` in seconds, for a provider whose clock is not ours. `name` is "" for the provider whose variables have no suffix.

    What a token must be: of `issuer` ("": that of the discovery document); for `client_id` or one of `audiences`; for a
    subject that one of `subjects` matches, in which `*` is any text and `?` any character; of one of `types`, by its header's
    `typ` or, as Keycloak says it, its claim's. Where one of these is empty, nothing is asked, but a role needs subjects.

    What its bearer gets: `role_policies` when there are any (the provider is then role based and the claim does not count),
    else the policies that the claim `claim_prefix + claim_name` names. `userinfo`: claims that the token lacks are taken from
    the UserInfo endpoint. `carried`: the claims that go into the session token, None for all.
    """

    jwks_url: str = ""
    config_url: str = ""
    client_id: str = ""
    claim_name: str = "policy"
    claim_prefix: str = ""
    ca_file: Path | None = None
    leeway: int = 0
    name: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    role_policies: tuple[str, ...] = ()
    userinfo: bool = False
    carried: tuple[str, ...] | None = None

    @property
    def claim(self) -> str:
        """Return the name of the claim that names policies."""
        return self.claim_prefix + self.claim_name

    @property
    def provider(self) -> str:
        """Return the provider as sessions name it: `openid`, or `openid:` and its name."""
        return f"openid:{self.name}" if self.name else "openid"

    @property
    def accepted(self) -> tuple[str, ...]:
        """Return the audiences of which a token must name one; none when any will do."""
        return (self.client_id, *self.audiences) if self.client_id else self.audiences

    def role_arn(self, region: str) -> str:
        """Return the ARN of a role-based provider's role, "" for another's: MinIO's form, over the SHA-1 of the client id."""
        if not self.role_policies:
            return ""
        digest = hashlib.sha1(self.client_id.encode(), usedforsecurity=False).digest()
        return f"arn:minio:iam:{region}::role/{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """The webhook behind AssumeRoleWithCustomToken, the policies of whom it vouches for, and the id of their role."""

    url: str
    role_policies: tuple[str, ...]
    auth_token: Secret | None = None
    role_id: str = ""
