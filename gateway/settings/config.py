"""Configuration: one pure function from argv, environment and files to a Config (`gateway.settings.table` has the table).

Every problem is found before any is reported, and no problem's text holds a secret.
Names are MinIO's where its users know them; ours begin with MINIO_GW_.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.backends.endpoints import (
    BackendSettings,
    Problem,
    addressing_of,
    endpoint_parts,
    region_of,
    shown,
    split_url,
)
from gateway.settings import backends_file, former, ldap_config
from gateway.settings.backends_file import BackendsFile
from gateway.settings.openid_settings import openids
from gateway.settings.sts_settings import READABLE, SEALED, TlsIdentity, plugin, tls_identity
from gateway.settings.table import OLD_ROOT_PAIRS, OPA_PAIRS, ROOT_PAIRS, SETTINGS, Reader
from iam.model import Credentials, Secret
from iam.policy import CANNED, Policy, PolicyError, parse
from iam.store import EtcdSettings
from sts.ldap_settings import LdapSettings
from sts.settings import OpenIdSettings, PluginSettings

KEY_MASTER, ROOT_MASTER = "key", "root"  # what a master key is derived from
AWS_ENDPOINT = "https://s3.amazonaws.com"
_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_CHAIN_MARKS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
                "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip


class ConfigErrors(Exception):
    """Everything that is wrong with a configuration; `partial` is what could be understood, for further checks only."""

    def __init__(self, problems: Sequence[Problem], partial: Config | None = None) -> None:
        self.problems = tuple(problems)
        self.partial = partial
        super().__init__("; ".join(f"{p.setting}: {p.text}" for p in problems))


@dataclass(frozen=True, slots=True)
class OpaConfig:
    """The policy service; `timeout` in seconds."""

    url: str
    auth_token: Secret | None
    timeout: float
    raw_headers: bool
    ca_file: Path | None = None
    existing_tags: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """A whole, checked configuration."""

    command: str
    host: str
    port: int
    certs_dir: Path
    quiet: bool
    json: bool
    workers: int
    root: Credentials
    region: str
    domains: tuple[str, ...]
    backend: BackendSettings
    openids: tuple[OpenIdSettings, ...]
    opa: OpaConfig | None
    etcd: EtcdSettings | None
    data_dir: Path | None
    policies: Mapping[str, Policy]
    anonymous_policies: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    max_inflight: int
    drain: float
    server_dir: Path | None = None
    metrics_public: bool = False
    filter_listings: bool = False
    backend_connections: int = 1024
    head_timeout: float = 30.0
    body_timeout: float = 120.0
    backend_timeout: float = 300.0
    backends: BackendsFile | None = None
    max_connections: int | None = None
    loop: str = "auto"
    tls_identity: TlsIdentity | None = None
    plugin: PluginSettings | None = None
    session_tokens: str = READABLE
    master_key: Secret | None = None
    old_masters: tuple[tuple[str, Secret], ...] = ()
    stale_limit: float = 900.0
    unproved_records: bool = False
    ldap: LdapSettings | None = None
    former: tuple[str, ...] = ()  # what was set for MinIO and counts for nothing here, in words

    @property
    def openid(self) -> OpenIdSettings | None:
        """Return the first identity provider, None where there is none."""
        return next(iter(self.openids), None)

    @property
    def claim_name(self) -> str:
        """Return the first provider's policy claim."""
        return self.openid.claim_name if self.openid else "policy"

    @property
    def claim_prefix(self) -> str:
        """Return what is glued in front of it."""
        return self.openid.claim_prefix if self.openid else ""


def load(
    command: str,
    flags: Mapping[str, str],
    positional: str,
    environ: Mapping[str, str],
    read_text: Callable[[Path], str],
    list_dir: Callable[[Path], Sequence[Path]],
) -> Config:
    """Return the configuration of `command` ("gateway", "server", "admin"). Raises ConfigErrors with every problem.

    `flags` by their long name; `positional` is ENDPOINT or DIR; `read_text` and `list_dir` do the reading.
    """
    reader = Reader(flags, environ, read_text)
    host, port = _address(reader)
    policies = _policies(reader, read_text, list_dir)
    unknown = reader.unknown()
    if command != "admin":
        reader.problems += former.refused(unknown)
    values: dict[str, Any] = {
        "command": command, "host": host, "port": port, "certs_dir": reader.path("MINIO_CERTS_DIR"),
        "quiet": reader.switch("MINIO_GW_QUIET"), "json": reader.switch("MINIO_GW_JSON"),
        "workers": _workers(reader, command, port), "root": _root(reader, needed=command != "admin"),
        "region": reader.region("MINIO_REGION"), "domains": _domains(reader),
        "backend": _backend(reader, environ, positional if command == "gateway" else "http://127.0.0.1:1"),
        "backends": _backends(reader, environ, command, positional),
        "backend_connections": int(reader.number("MINIO_GW_BACKEND_CONNECTIONS", 1, 10**5, whole=True)),
        "openids": openids(reader), "ldap": ldap_config.read(reader), "opa": _opa(reader), "etcd": _etcd(reader),
        "data_dir": reader.path("MINIO_GW_DATA_DIR"), "policies": policies,
        "anonymous_policies": _anonymous(reader, policies), "trusted_proxies": _networks(reader),
        "max_inflight": int(reader.number("MINIO_GW_MAX_INFLIGHT", 1, 10**6, whole=True)),
        "max_connections": _max_connections(reader), "loop": reader.choice("MINIO_GW_LOOP", "auto", "uvloop", "asyncio"),
        "drain": reader.number("MINIO_GW_DRAIN", 0, 3600),
        "head_timeout": reader.seconds("MINIO_READ_HEADER_TIMEOUT"), "body_timeout": reader.seconds("MINIO_IDLE_TIMEOUT"),
        "backend_timeout": reader.seconds("MINIO_GW_BACKEND_TIMEOUT"),
        "tls_identity": tls_identity(reader), "plugin": plugin(reader),
        "session_tokens": reader.choice("MINIO_GW_SESSION_TOKENS", READABLE, SEALED),
        **_masters(reader), "unproved_records": reader.switch("MINIO_GW_UNPROVED_RECORDS"),
        "stale_limit": reader.number("MINIO_GW_STALE_LIMIT", 0, 31_536_000),
        "server_dir": Path(positional) if command == "server" else None,
        "filter_listings": reader.switch("MINIO_GW_LIST_FILTER"),
        "metrics_public": reader.choice("MINIO_PROMETHEUS_AUTH_TYPE", "jwt", "public") == "public",
        "former": former.told(name for name, _ in unknown),
    }  # fmt: skip
    if reader.problems:
        raise ConfigErrors(reader.problems, Config(**values))
    return Config(**values)


def _address(reader: Reader) -> tuple[str, int]:
    text = reader.get("MINIO_ADDRESS")
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        reader.bad(
            reader.source("MINIO_ADDRESS"), f"{text!r} is not HOST:PORT", "give an address as :9000 or 127.0.0.1:9000"
        )
        return "", 9000
    return match[1] or match[2] or "", int(match[3])


def _domains(reader: Reader) -> tuple[str, ...]:
    """Return the domains; a URL, or a port, would never be a host's end, and no bucket be found by its host."""
    found = tuple(domain.lower().removesuffix(".") for domain in reader.items("MINIO_DOMAIN"))
    for domain in found:
        if not _DOMAIN.fullmatch(domain):
            text = f"{shown(domain)[:100]!r} is no domain"
            reader.bad("MINIO_DOMAIN", text, "give names without scheme and port, as s3.example.org")
    return found


def _workers(reader: Reader, command: str, port: int) -> int:
    workers = int(reader.number("MINIO_GW_WORKERS", 1, 256, whole=True))
    if workers > 1 and command == "server":
        reader.bad(reader.source("MINIO_GW_WORKERS"), "is for the gateway command", "serve DIR with one process")
    if workers > 1 and port == 0:
        reader.bad(reader.source("MINIO_ADDRESS"), "port 0 gives every worker its own port", "choose a port")
    return workers


def _max_connections(reader: Reader) -> int | None:
    """Return the bound, None when the descriptors shall say."""
    if reader.get("MINIO_GW_MAX_CONNECTIONS") == "auto":
        return None
    return int(reader.number("MINIO_GW_MAX_CONNECTIONS", 1, 10**6, whole=True))


def _root(reader: Reader, *, needed: bool) -> Credentials:
    """Return the root pair. There is no default (trap 67); `minio-gw admin` needs none."""
    names = reader.pair(ROOT_PAIRS)
    user, password = (reader.variable(name) for name in names)
    if not needed and not user and not password:
        return Credentials("", Secret(""))
    if not user:
        reader.bad(names[0], "is missing", "set the root account's access key; there is no default")
    elif not re.fullmatch(r"[\x21-\x7e]{3,128}", user) or set(user) & set("=,/"):
        # "/" and friends break the credential scope of clients (trap 16).
        reader.bad(
            names[0], "is not an access key", "use 3 or more printable ASCII characters without space, '=', ',' or '/'"
        )
    if not password:
        reader.bad(names[1], "is missing", "set the root account's secret key; there is no default")
    elif len(password) < 8:
        reader.bad(names[1], "is shorter than 8 characters", "use a longer secret key")
    return Credentials(user, Secret(password))


def _masters(reader: Reader) -> dict[str, Any]:
    """Return what seals the secrets in the store, and what did before: each old text with the kind of master that it was."""
    old_names = reader.pair(OLD_ROOT_PAIRS)
    user, password = (reader.variable(name) for name in old_names)
    if bool(user) != bool(password):
        missing = old_names[1] if user else old_names[0]
        reader.bad(missing, "is missing: the other half of the pair is set", "set both, or neither")
    new, old = (reader.variable(name) for name in ("MINIO_GW_MASTER_KEY", "MINIO_GW_MASTER_KEY_OLD"))
    if new and len(new) < 16:
        reader.bad(
            "MINIO_GW_MASTER_KEY", "is shorter than 16 characters", "use a longer text, as of `openssl rand -base64 32`"
        )
    olds = [(KEY_MASTER, old)] if old else []
    olds += [(ROOT_MASTER, f"{user}:{password}")] if user and password else []
    return {
        "master_key": Secret(new) if new else None, "old_masters": tuple((kind, Secret(text)) for kind, text in olds),
    }  # fmt: skip


def _backend(reader: Reader, environ: Mapping[str, str], endpoint: str) -> BackendSettings:
    parts = endpoint_parts(endpoint or AWS_ENDPOINT)
    if parts is None:
        reader.bad("ENDPOINT", f"{shown(endpoint)!r} is no endpoint", "give https://host[:port] without a path")
        parts = urlsplit(AWS_ENDPOINT)
    host = parts.hostname or ""
    credentials = reader.choice("MINIO_GW_BACKEND_CREDENTIALS", "auto", "root", "chain")
    if credentials == "auto":
        credentials = "chain" if any(environ.get(mark) for mark in _CHAIN_MARKS) else "root"
    addressing = addressing_of(reader.choice("MINIO_GW_BACKEND_ADDRESSING", "auto", "path", "virtual"), host)
    region, ca_file = reader.region("MINIO_GW_BACKEND_REGION"), reader.path("MINIO_GW_BACKEND_CA")
    if not reader.is_set("MINIO_GW_BACKEND_REGION"):
        region = region_of(host) or region
    return BackendSettings(
        f"{parts.scheme}://{parts.netloc}", region, addressing, credentials, ca_file,
        regions=reader.choice("MINIO_GW_BACKEND_REGIONS", "auto", "on", "off"),
        aws_chunked=reader.switch("MINIO_GW_BACKEND_AWS_CHUNKED"),
    )  # fmt: skip


def _backends(reader: Reader, environ: Mapping[str, str], command: str, endpoint: str) -> BackendsFile | None:
    """Return what MINIO_GW_BACKENDS says; what is for the one backend of ENDPOINT is no default for these."""
    path = reader.path("MINIO_GW_BACKENDS")
    if path is None or command == "admin":
        return None
    if command == "server":
        reader.bad("MINIO_GW_BACKENDS", "is for the gateway command", "run `minio-gw gateway s3`, or take it away")
        return None
    if endpoint:
        reader.bad("ENDPOINT", "is given beside MINIO_GW_BACKENDS", "name it in the file, or take one of them away")
    for name in (s.names[0] for s in SETTINGS if s.names[0].startswith("MINIO_GW_BACKEND_")):
        if reader.is_set(name):
            reader.bad(name, "is for the one backend of ENDPOINT", f"say it for each backend in {path}")
    found, problems = backends_file.load(reader.text("MINIO_GW_BACKENDS", path), environ, reader.text)
    reader.problems += problems
    return found


def _opa(reader: Reader) -> OpaConfig | None:
    """Return the policy service: the plugin before OPA, as MinIO; the token is the one of the same family."""
    names = reader.pair(OPA_PAIRS, by_first=True)
    url = reader.url(names[0], reader.variable(names[0]))
    parts = split_url(url)
    if parts is not None and "@" in parts.netloc:
        reader.bad(names[0], f"{shown(url)!r} carries a user", "give the token by its own setting")
    timeout, raw = reader.number("MINIO_GW_OPA_TIMEOUT", 0.05, 60), reader.switch("MINIO_GW_OPA_RAW_HEADERS")
    token = reader.variable(names[1])
    if token and not (token.isascii() and token.isprintable()):
        reader.bad(names[1], "is no header value", "use printable ASCII characters")
    tags = reader.switch("MINIO_GW_OPA_EXISTING_TAGS")
    for its_url, its_token in OPA_PAIRS if not url else ():
        if reader.variable(its_token):
            reader.bad(its_token, f"is set without {its_url}", "name the policy service, or take this away")
    return OpaConfig(url, Secret(token) if token else None, timeout, raw, existing_tags=tags) if url else None


def _etcd(reader: Reader) -> EtcdSettings | None:
    given = [e if "://" in e else f"http://{e}" for e in reader.items("MINIO_ETCD_ENDPOINTS")]
    if not given and reader.is_set("MINIO_ETCD_ENDPOINTS"):
        reader.bad("MINIO_ETCD_ENDPOINTS", "names no endpoint", "give http(s)://host:port, or take it away")
    endpoints: tuple[str, ...] = ()  # only good ones are asked whether they answer, and then named in full
    for endpoint in given:
        parts = split_url(endpoint)
        if parts is None or parts.path not in {"", "/"} or parts.query or "@" in parts.netloc:
            reader.bad(
                "MINIO_ETCD_ENDPOINTS",
                f"{shown(endpoint)!r} is no endpoint",
                "give http(s)://host:port, comma separated",
            )
        else:
            endpoints += (endpoint,)
    if len({endpoint.partition(":")[0] for endpoint in endpoints}) > 1:
        reader.bad("MINIO_ETCD_ENDPOINTS", "mixes http and https", "use one scheme for all members")
    certificate, key = reader.path("MINIO_ETCD_CLIENT_CERT"), reader.path("MINIO_ETCD_CLIENT_CERT_KEY")
    _both(reader, "MINIO_ETCD_CLIENT_CERT", "MINIO_ETCD_CLIENT_CERT_KEY")
    _both(reader, "MINIO_GW_ETCD_USERNAME", "MINIO_GW_ETCD_PASSWORD")
    password = reader.get("MINIO_GW_ETCD_PASSWORD")
    if not endpoints:
        return None
    return EtcdSettings(
        endpoints, reader.get("MINIO_ETCD_PATH_PREFIX"), certificate, key, reader.path("MINIO_GW_ETCD_CA"),
        reader.get("MINIO_GW_ETCD_USERNAME"), Secret(password) if password else None,
    )  # fmt: skip


def _both(reader: Reader, one: str, other: str) -> None:
    """Half a pair is a mistake."""
    if bool(reader.get(one)) != bool(reader.get(other)):
        missing = other if reader.get(one) else one
        reader.bad(missing, "is missing: the other half of the pair is set", "set both, or neither")


def _policies(
    reader: Reader, read_text: Callable[[Path], str], list_dir: Callable[[Path], Sequence[Path]]
) -> Mapping[str, Policy]:
    directory = reader.path("MINIO_GW_POLICY_DIR")
    found = dict(CANNED)
    if directory is None:
        return found
    try:
        files = [path for path in list_dir(directory) if path.suffix == ".json"]
    except OSError as error:
        reader.bad(
            "MINIO_GW_POLICY_DIR", f"cannot be read: {error.strerror or error}", "name a folder this user may read"
        )
        return found
    for path in files:
        try:
            found[path.stem] = parse(read_text(path))
        except (OSError, UnicodeDecodeError, PolicyError) as error:
            reader.bad("MINIO_GW_POLICY_DIR", f"{path.name}: {error}", "mend the policy, or take the file away")
    return found


def _anonymous(reader: Reader, policies: Mapping[str, Policy]) -> tuple[str, ...]:
    names = reader.items("MINIO_GW_ANONYMOUS_POLICY")
    for name in names:
        if name not in policies:
            reader.bad(
                "MINIO_GW_ANONYMOUS_POLICY",
                f"there is no policy {name!r}",
                "name a canned policy or one of MINIO_GW_POLICY_DIR",
            )
    return names


def _networks(reader: Reader) -> tuple[str, ...]:
    texts = reader.items("MINIO_GW_TRUSTED_PROXIES")
    for text in texts:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            reader.bad("MINIO_GW_TRUSTED_PROXIES", f"{text!r} is no network", "give networks as 10.0.0.0/8")
    return texts
