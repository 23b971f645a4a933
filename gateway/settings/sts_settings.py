"""How the ways in beside OpenID and LDAP are read from the settings: client certificates, the identity plugin, tokens. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gateway.settings.table import Reader
from iam.model import Secret
from sts.settings import PluginSettings

READABLE, SEALED = "readable", "sealed"
_ROLE_ID = re.compile(r"[A-Za-z0-9_.@+=-]{1,64}")


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Client certificates are asked for; `ca` is the file, or the folder of files, of the CAs (PEM) that vouch for clients."""

    ca: Path


def tls_identity(reader: Reader) -> TlsIdentity | None:
    """Return how client certificates are verified, None when nobody asks for them."""
    enabled, ca = reader.switch("MINIO_IDENTITY_TLS_ENABLE"), reader.path("MINIO_GW_CLIENT_CA")
    if reader.switch("MINIO_IDENTITY_TLS_SKIP_VERIFY"):
        reader.bad(
            "MINIO_IDENTITY_TLS_SKIP_VERIFY",
            "would let anybody in",
            "name the CAs of the clients in MINIO_GW_CLIENT_CA",
        )
    if not enabled:
        return None
    return TlsIdentity(ca or (reader.path("MINIO_CERTS_DIR") or Path()) / "CAs")


def plugin(reader: Reader) -> PluginSettings | None:
    """Return the identity plugin, None when there is none."""
    url = reader.url(reader.source("MINIO_IDENTITY_PLUGIN_URL"), reader.get("MINIO_IDENTITY_PLUGIN_URL"))
    token, role = reader.get("MINIO_IDENTITY_PLUGIN_AUTH_TOKEN"), reader.get("MINIO_IDENTITY_PLUGIN_ROLE_ID")
    names = reader.items("MINIO_IDENTITY_PLUGIN_ROLE_POLICY")
    if token and not (token.isascii() and token.isprintable()):
        reader.bad("MINIO_IDENTITY_PLUGIN_AUTH_TOKEN", "is no header value", "use printable ASCII characters")
    if role and not _ROLE_ID.fullmatch(role):
        reader.bad("MINIO_IDENTITY_PLUGIN_ROLE_ID", f"{role!r} is no id", "use letters, digits and _.@+=-, 64 at most")
    if not url:
        return None
    if not names:
        reader.bad(
            "MINIO_IDENTITY_PLUGIN_ROLE_POLICY", "is missing", "name the policies of whom the plugin vouches for"
        )
    return PluginSettings(url, names, Secret(token) if token else None, role)
