"""Configuration: one table of settings, one pure function from argv, environment and files to a Config.

Flags win over the environment, the environment over MINIO_CONFIG_ENV_FILE; within one of them the newer of two names wins.
Names that belong together (user and password, URL and token) are taken together: a token never goes to another family's
URL. Every problem is found before any is reported, and no problem's text holds a secret.
Names are MinIO's where its users know them; ours begin with MINIO_GW_.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway import backends_file
from gateway.backends_file import BackendsFile
from gateway.endpoints import BackendSettings, Problem, addressing_of, endpoint_parts, region_of, shown, split_url
from iam.model import Credentials, Secret
from iam.policy import CANNED, Policy, PolicyError, parse
from iam.store import EtcdSettings
from sts.settings import OpenIdSettings

AWS_ENDPOINT = "https://s3.amazonaws.com"
ROOT_PAIRS = (("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"), ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"))
OPA_PAIRS = (
    ("MINIO_POLICY_PLUGIN_URL", "MINIO_POLICY_PLUGIN_AUTH_TOKEN"),
    ("MINIO_IAM_OPA_URL", "MINIO_IAM_OPA_AUTHTOKEN"),
    ("MINIO_POLICY_OPA_URL", "MINIO_POLICY_OPA_AUTH_TOKEN"),
)
_CHAIN_MARKS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
                "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its variables (the first wins), its flag, its default as text, what it means."""

    names: tuple[str, ...]
    help: str
    default: str = ""
    flag: str = ""
    secret: bool = False


def _s(names: str, text: str, default: str = "", flag: str = "", *, secret: bool = False) -> Setting:
    return Setting(tuple(names.split()), text, default, flag, secret)


SETTINGS: tuple[Setting, ...] = (
    _s("MINIO_CONFIG_ENV_FILE", "file of NAME=value lines, beneath the environment"),
    _s("MINIO_ADDRESS", "address to listen on, HOST:PORT", ":9000", "--address"),
    _s("MINIO_CERTS_DIR", "folder with public.crt and private.key: TLS when both are there", "~/.minio/certs", "--certs-dir"),
    _s("MINIO_GW_QUIET", "log refusals and errors only", "off", "--quiet"),
    _s("MINIO_GW_JSON", "log JSON lines", "off", "--json"),
    _s("MINIO_GW_WORKERS", "processes on the one port", "1", "--workers"),
    _s("MINIO_GW_LOOP", "event loop: uvloop, asyncio, or auto: uvloop where it is installed", "auto"),
    _s("MINIO_ROOT_USER MINIO_ACCESS_KEY", "access key of the root account; with _FILE appended: a file that holds it"),
    _s("MINIO_ROOT_PASSWORD MINIO_SECRET_KEY", "secret key of the root account; with _FILE: a file", secret=True),
    _s("MINIO_REGION_NAME MINIO_REGION MINIO_SITE_REGION", "the only region accepted in signatures; empty: any"),
    _s("MINIO_DOMAIN", "domains for virtual-host style requests, comma separated"),
    _s("MINIO_IAM_JWKS_URL MINIO_IDENTITY_OPENID_JWKS_URL", "key set of the identity provider"),
    _s("MINIO_IDENTITY_OPENID_CONFIG_URL", "discovery document of the identity provider"),
    _s("MINIO_IDENTITY_OPENID_CLIENT_ID", "client id that aud or azp must name; empty: not checked"),
    _s("MINIO_IDENTITY_OPENID_CLAIM_NAME", "claim that names the policies", "policy"),
    _s("MINIO_IDENTITY_OPENID_CLAIM_PREFIX", "glued in front of the claim's name"),
    _s("MINIO_GW_OPENID_LEEWAY", "seconds the provider's clock may be ahead of ours", "0"),
    _s("MINIO_POLICY_PLUGIN_URL MINIO_IAM_OPA_URL MINIO_POLICY_OPA_URL", "policy service (OPA) asked before every forward"),
    _s("MINIO_POLICY_PLUGIN_AUTH_TOKEN MINIO_IAM_OPA_AUTHTOKEN MINIO_POLICY_OPA_AUTH_TOKEN",
       "sent verbatim as Authorization to the policy service", secret=True),
    _s("MINIO_GW_OPA_TIMEOUT", "seconds before no answer is a denial", "2"),
    _s("MINIO_GW_OPA_RAW_HEADERS", "leave credentials and signatures in OPA's input, as MinIO did", "off"),
    _s("MINIO_GW_OPA_EXISTING_TAGS", "read an object's tags for OPA before every question about it", "off"),
    _s("MINIO_ETCD_ENDPOINTS", "etcd members, comma separated; empty: the embedded store"),
    _s("MINIO_ETCD_PATH_PREFIX", "glued in front of every key in etcd"),
    _s("MINIO_ETCD_CLIENT_CERT", "client certificate for etcd (PEM)"),
    _s("MINIO_ETCD_CLIENT_CERT_KEY", "its key (PEM)"),
    _s("MINIO_GW_ETCD_CA", "CA certificates that sign etcd's (PEM)"),
    _s("MINIO_GW_ETCD_USERNAME", "etcd user"),
    _s("MINIO_GW_ETCD_PASSWORD", "its password", secret=True),
    _s("MINIO_GW_DATA_DIR", "folder of the embedded store; empty: in memory"),
    _s("MINIO_GW_POLICY_DIR", "folder of NAME.json policies, beside the canned ones"),
    _s("MINIO_GW_ANONYMOUS_POLICY", "policies of anonymous requests, comma separated; empty: refused"),
    _s("MINIO_GW_LIST_FILTER", "leave out of listings what the caller may not read; one decision per key", "off"),
    _s("MINIO_GW_BACKEND_CREDENTIALS", "root, chain (AWS's whole chain) or auto", "auto"),
    _s("MINIO_GW_BACKEND_REGION", "region to sign with toward the backend; an Amazon endpoint names its own", "us-east-1"),
    _s("MINIO_GW_BACKEND_REGIONS", "on: a bucket's region is asked before its first upload; auto: at Amazon", "auto"),
    _s("MINIO_GW_BACKEND_ADDRESSING", "path, virtual or auto", "auto"),
    _s("MINIO_GW_BACKEND_AWS_CHUNKED", "off: uploads in aws-chunked framing are decoded, for a backend that stores the framing", "on"),
    _s("MINIO_GW_BACKEND_CA", "CA certificates that sign the backend's (PEM)"),
    _s("MINIO_GW_BACKEND_CONNECTIONS", "connections to each address of a backend, per process; who finds none free waits in line, ten seconds at most", "1024"),
    _s("MINIO_GW_BACKENDS", "TOML file that maps buckets to several backends, in place of ENDPOINT (docs/backends.md)"),
    _s("MINIO_GW_MAX_INFLIGHT", "requests at once per process; more are told SlowDown", "2048"),
    _s("MINIO_GW_MAX_CONNECTIONS", "clients connected at once per process; more are told SlowDown; auto: what the descriptors allow", "auto"),
    _s("MINIO_READ_HEADER_TIMEOUT", "seconds a request's head may take to come", "30"),
    _s("MINIO_IDLE_TIMEOUT", "seconds that an upload may be silent, or a download not taken", "120"),
    _s("MINIO_GW_BACKEND_TIMEOUT", "seconds that a backend may be silent, or take nothing of an upload", "300"),
    _s("MINIO_GW_DRAIN", "seconds running requests may take after SIGTERM", "30"),
    _s("MINIO_PROMETHEUS_AUTH_TYPE", "public: anybody may read the metrics; jwt: nobody yet", "jwt"),
    _s("MINIO_GW_TRUSTED_PROXIES", "networks whose X-Forwarded-For and X-Forwarded-Proto are believed, comma separated"),
)  # fmt: skip


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
    openid: OpenIdSettings | None
    claim_name: str
    claim_prefix: str
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


class _Reader:
    """Reads settings one by one and collects what is wrong."""

    def __init__(self, flags: Mapping[str, str], environ: Mapping[str, str], read_text: Callable[[Path], str]) -> None:
        self.problems: list[Problem] = []
        self._flags = flags
        self._read_text = read_text
        self._home = environ.get("HOME", "")
        self._read: dict[Path, str] = {}
        self._layers = (environ, self._env_file(environ.get("MINIO_CONFIG_ENV_FILE", "")))
        self._check_names()

    def bad(self, setting: str, text: str, remedy: str) -> None:
        self.problems.append(Problem(setting, text, remedy))

    def source(self, name: str) -> str:
        """Return where a setting comes from: its flag or one of its variables; the first one when nobody set it."""
        return self._find(self._setting(name))[0]

    def get(self, name: str) -> str:
        """Return a setting's text, its default when nobody set it."""
        return self._find(self._setting(name))[1]

    def is_set(self, name: str) -> bool:
        setting = self._setting(name)
        return setting.flag in self._flags or any(self._has(layer, n) for layer in self._layers for n in setting.names)

    def pair(self, pairs: Sequence[tuple[str, str]], *, by_first: bool = False) -> tuple[str, str]:
        """Return the names of the pair in use: in the strongest layer that has any, the first of them."""
        for layer in self._layers:
            for pair in pairs:
                if any(self._has(layer, name) for name in (pair[:1] if by_first else pair)):
                    return pair
        return pairs[0]

    def variable(self, name: str) -> str:
        """Return the text of this one variable, "" when it is not set."""
        for layer in self._layers:
            if layer.get(name):
                return layer[name]
            if layer.get(name + "_FILE"):
                return self.text(name + "_FILE", Path(layer[name + "_FILE"])).strip()
        return ""

    def path(self, name: str) -> Path | None:
        text = self.get(name)
        if text.startswith("~/") and self._home:
            return Path(self._home, text[2:])
        try:
            return Path(text).expanduser() if text else None
        except RuntimeError:  # a user without a home folder; a default in it is then simply not there
            if self.is_set(name):
                self.bad(self.source(name), f"{text!r} is in a home folder that nobody knows", "give the whole path")
            return Path(text)

    def items(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.get(name).split(",") if part.strip())

    def switch(self, name: str) -> bool:
        text = self.get(name).lower()
        if text not in {"on", "off", "true", "false", "1", "0"}:
            self.bad(self.source(name), f"{text!r} is neither on nor off", "say on or off")
        return text in {"on", "true", "1"}

    def number(self, name: str, low: float, high: float, *, whole: bool = False) -> float:
        return self._number(name, self.get(name), low, high, whole=whole)

    def _number(self, name: str, text: str, low: float, high: float, *, whole: bool) -> float:
        if (
            not re.fullmatch(r"[0-9]{1,9}" if whole else r"[0-9]{1,9}(\.[0-9]+)?", text)
            or not low <= float(text) <= high
        ):
            kind = "whole number" if whole else "number"
            self.bad(self.source(name), f"{text!r} is not a {kind} from {low:g} to {high:g}", "give such a number")
            return low
        return float(text)

    def seconds(self, name: str) -> float:
        """Return a time that MinIO's users may have written as Go does, `30s`."""
        return self._number(name, self.get(name).removesuffix("s"), 0.05, 86_400, whole=False)

    def choice(self, name: str, *words: str) -> str:
        text = self.get(name)
        if text not in words:
            self.bad(self.source(name), f"{text!r} is unknown", f"say {', '.join(words[:-1])} or {words[-1]}")
        return text

    def url(self, name: str, text: str) -> str:
        if text and split_url(text) is None:
            self.bad(name, f"{shown(text)!r} is no http or https URL", "give a whole URL, as http://host:port/path")
        return text

    def text(self, setting: str, path: Path) -> str:
        """Return a file's text, "" with a problem when it cannot be read."""
        if path in self._read:
            return self._read[path]
        self._read[path] = ""
        try:
            self._read[path] = self._read_text(path)
        except OSError as error:
            self.bad(setting, f"{path} cannot be read: {error.strerror or error}", "name a file this user may read")
        except UnicodeDecodeError:
            self.bad(setting, f"{path} is not UTF-8", "name a text file")
        return self._read[path]

    @staticmethod
    def _setting(name: str) -> Setting:
        return next(s for s in SETTINGS if name in s.names)

    @staticmethod
    def _has(layer: Mapping[str, str], name: str) -> bool:
        return bool(layer.get(name) or layer.get(name + "_FILE"))

    def _find(self, setting: Setting) -> tuple[str, str]:
        if setting.flag and setting.flag in self._flags:
            return setting.flag, self._flags[setting.flag]
        for layer in self._layers:
            for name in setting.names:
                if self._has(layer, name):
                    return name, self.variable(name)
        return setting.names[0], setting.default

    def _env_file(self, name: str) -> Mapping[str, str]:
        """Return the variables of MINIO_CONFIG_ENV_FILE: NAME=value or export NAME=value, # begins a comment line."""
        if not name:
            return {}
        found = {}
        for number, line in enumerate(self.text("MINIO_CONFIG_ENV_FILE", Path(name)).splitlines(), 1):
            variable, equals, value = line.strip().removeprefix("export ").partition("=")
            if not line.strip() or line.strip().startswith("#"):
                continue
            if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable.strip()):
                self.bad("MINIO_CONFIG_ENV_FILE", f"line {number} is not NAME=value", "mend the line")
            elif variable.startswith("AWS_"):
                self.bad("MINIO_CONFIG_ENV_FILE", f"{variable.strip()} is not read here", "set it in the environment")
            else:
                found[variable.strip()] = _unquoted(value.strip())
        return found

    def _check_names(self) -> None:
        known = {n for s in SETTINGS for n in s.names}
        for name in sorted({name for layer in self._layers for name in layer}):
            if name.startswith("MINIO_GW_") and name not in known and name.removesuffix("_FILE") not in known:
                near = difflib.get_close_matches(name, known, 1)
                self.bad(name, "is no setting of minio-gw", f"did you mean {near[0]}?" if near else "remove it")


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


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
    reader = _Reader(flags, environ, read_text)
    host, port = _address(reader)
    policies = _policies(reader, read_text, list_dir)
    values: dict[str, Any] = {
        "command": command, "host": host, "port": port, "certs_dir": reader.path("MINIO_CERTS_DIR"),
        "quiet": reader.switch("MINIO_GW_QUIET"), "json": reader.switch("MINIO_GW_JSON"),
        "workers": _workers(reader, command, port), "root": _root(reader, needed=command != "admin"),
        "region": reader.get("MINIO_REGION"), "domains": tuple(d.lower() for d in reader.items("MINIO_DOMAIN")),
        "backend": _backend(reader, environ, positional if command == "gateway" else "http://127.0.0.1:1"),
        "backends": _backends(reader, environ, command, positional),
        "backend_connections": int(reader.number("MINIO_GW_BACKEND_CONNECTIONS", 1, 10**5, whole=True)),
        "openid": _openid(reader), "claim_name": reader.get("MINIO_IDENTITY_OPENID_CLAIM_NAME"),
        "claim_prefix": reader.get("MINIO_IDENTITY_OPENID_CLAIM_PREFIX"), "opa": _opa(reader), "etcd": _etcd(reader),
        "data_dir": reader.path("MINIO_GW_DATA_DIR"), "policies": policies,
        "anonymous_policies": _anonymous(reader, policies), "trusted_proxies": _networks(reader),
        "max_inflight": int(reader.number("MINIO_GW_MAX_INFLIGHT", 1, 10**6, whole=True)),
        "max_connections": _max_connections(reader), "loop": reader.choice("MINIO_GW_LOOP", "auto", "uvloop", "asyncio"),
        "drain": reader.number("MINIO_GW_DRAIN", 0, 3600),
        "head_timeout": reader.seconds("MINIO_READ_HEADER_TIMEOUT"), "body_timeout": reader.seconds("MINIO_IDLE_TIMEOUT"),
        "backend_timeout": reader.seconds("MINIO_GW_BACKEND_TIMEOUT"),
        "server_dir": Path(positional) if command == "server" else None,
        "filter_listings": reader.switch("MINIO_GW_LIST_FILTER"),
        "metrics_public": reader.choice("MINIO_PROMETHEUS_AUTH_TYPE", "jwt", "public") == "public",
    }  # fmt: skip
    if reader.problems:
        raise ConfigErrors(reader.problems, Config(**values))
    return Config(**values)


def _address(reader: _Reader) -> tuple[str, int]:
    text = reader.get("MINIO_ADDRESS")
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        reader.bad(
            reader.source("MINIO_ADDRESS"), f"{text!r} is not HOST:PORT", "give an address as :9000 or 127.0.0.1:9000"
        )
        return "", 9000
    return match[1] or match[2] or "", int(match[3])


def _workers(reader: _Reader, command: str, port: int) -> int:
    workers = int(reader.number("MINIO_GW_WORKERS", 1, 256, whole=True))
    if workers > 1 and command == "server":
        reader.bad(reader.source("MINIO_GW_WORKERS"), "is for the gateway command", "serve DIR with one process")
    if workers > 1 and port == 0:
        reader.bad(reader.source("MINIO_ADDRESS"), "port 0 gives every worker its own port", "choose a port")
    return workers


def _max_connections(reader: _Reader) -> int | None:
    """Return the bound, None when the descriptors shall say."""
    if reader.get("MINIO_GW_MAX_CONNECTIONS") == "auto":
        return None
    return int(reader.number("MINIO_GW_MAX_CONNECTIONS", 1, 10**6, whole=True))


def _root(reader: _Reader, *, needed: bool) -> Credentials:
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


def _backend(reader: _Reader, environ: Mapping[str, str], endpoint: str) -> BackendSettings:
    parts = endpoint_parts(endpoint or AWS_ENDPOINT)
    if parts is None:
        reader.bad("ENDPOINT", f"{shown(endpoint)!r} is no endpoint", "give https://host[:port] without a path")
        parts = urlsplit(AWS_ENDPOINT)
    host = parts.hostname or ""
    credentials = reader.choice("MINIO_GW_BACKEND_CREDENTIALS", "auto", "root", "chain")
    if credentials == "auto":
        credentials = "chain" if any(environ.get(mark) for mark in _CHAIN_MARKS) else "root"
    addressing = addressing_of(reader.choice("MINIO_GW_BACKEND_ADDRESSING", "auto", "path", "virtual"), host)
    region, ca_file = reader.get("MINIO_GW_BACKEND_REGION"), reader.path("MINIO_GW_BACKEND_CA")
    if not reader.is_set("MINIO_GW_BACKEND_REGION"):
        region = region_of(host) or region
    return BackendSettings(
        f"{parts.scheme}://{parts.netloc}", region, addressing, credentials, ca_file,
        regions=reader.choice("MINIO_GW_BACKEND_REGIONS", "auto", "on", "off"),
        aws_chunked=reader.switch("MINIO_GW_BACKEND_AWS_CHUNKED"),
    )  # fmt: skip


def _backends(reader: _Reader, environ: Mapping[str, str], command: str, endpoint: str) -> BackendsFile | None:
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


def _openid(reader: _Reader) -> OpenIdSettings | None:
    jwks, discovery = (
        reader.url(reader.source(name), reader.get(name))
        for name in ("MINIO_IAM_JWKS_URL", "MINIO_IDENTITY_OPENID_CONFIG_URL")
    )
    leeway = int(reader.number("MINIO_GW_OPENID_LEEWAY", 0, 300, whole=True))
    if not jwks and not discovery:
        return None
    return OpenIdSettings(
        jwks, discovery, reader.get("MINIO_IDENTITY_OPENID_CLIENT_ID"), reader.get("MINIO_IDENTITY_OPENID_CLAIM_NAME"),
        reader.get("MINIO_IDENTITY_OPENID_CLAIM_PREFIX"), leeway=leeway,
    )  # fmt: skip


def _opa(reader: _Reader) -> OpaConfig | None:
    """Return the policy service: the plugin before OPA, as MinIO; the token is the one of the same family."""
    names = reader.pair(OPA_PAIRS, by_first=True)
    url = reader.url(names[0], reader.variable(names[0]))
    timeout, raw = reader.number("MINIO_GW_OPA_TIMEOUT", 0.05, 60), reader.switch("MINIO_GW_OPA_RAW_HEADERS")
    token = reader.variable(names[1])
    if token and not (token.isascii() and token.isprintable()):
        reader.bad(names[1], "is no header value", "use printable ASCII characters")
    tags = reader.switch("MINIO_GW_OPA_EXISTING_TAGS")
    return OpaConfig(url, Secret(token) if token else None, timeout, raw, existing_tags=tags) if url else None


def _etcd(reader: _Reader) -> EtcdSettings | None:
    endpoints = tuple(e if "://" in e else f"http://{e}" for e in reader.items("MINIO_ETCD_ENDPOINTS"))
    for endpoint in endpoints:
        parts = split_url(endpoint)
        if parts is None or parts.path not in {"", "/"} or parts.query or "@" in parts.netloc:
            reader.bad(
                "MINIO_ETCD_ENDPOINTS",
                f"{shown(endpoint)!r} is no endpoint",
                "give http(s)://host:port, comma separated",
            )
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


def _both(reader: _Reader, one: str, other: str) -> None:
    """Half a pair is a mistake."""
    if bool(reader.get(one)) != bool(reader.get(other)):
        missing = other if reader.get(one) else one
        reader.bad(missing, "is missing: the other half of the pair is set", "set both, or neither")


def _policies(
    reader: _Reader, read_text: Callable[[Path], str], list_dir: Callable[[Path], Sequence[Path]]
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


def _anonymous(reader: _Reader, policies: Mapping[str, Policy]) -> tuple[str, ...]:
    names = reader.items("MINIO_GW_ANONYMOUS_POLICY")
    for name in names:
        if name not in policies:
            reader.bad(
                "MINIO_GW_ANONYMOUS_POLICY",
                f"there is no policy {name!r}",
                "name a canned policy or one of MINIO_GW_POLICY_DIR",
            )
    return names


def _networks(reader: _Reader) -> tuple[str, ...]:
    texts = reader.items("MINIO_GW_TRUSTED_PROXIES")
    for text in texts:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            reader.bad("MINIO_GW_TRUSTED_PROXIES", f"{text!r} is no network", "give networks as 10.0.0.0/8")
    return texts


def markdown_table() -> str:
    """Return the settings as the README's table."""
    rows = ["| variable | flag | default | meaning |", "|---|---|---|---|"]
    rows += [f"| {', '.join(f'`{n}`' for n in s.names)} | {f'`{s.flag}`' if s.flag else ''} | {f'`{s.default}`' if s.default else ''} | {s.help} |"
             for s in SETTINGS]  # fmt: skip
    return "\n".join(rows)
