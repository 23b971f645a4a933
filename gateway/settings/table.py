"""The settings: one table of names, defaults and meanings, and how each is read.

Flags win over the environment, the environment over MINIO_CONFIG_ENV_FILE; within one of them the newer of two names wins.
Names that belong together (user and password, URL and token) are taken together: a token never goes to another family's
URL. Pure; `gateway.settings.config` makes a Config of what is read.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.backends.endpoints import Problem, shown, split_url
from gateway.settings.former import is_link

_NEARLY = 0.95  # of a name that is not ours: one letter wrong of twenty
OLD_ROOT_PAIRS = (("MINIO_ROOT_USER_OLD", "MINIO_ROOT_PASSWORD_OLD"), ("MINIO_ACCESS_KEY_OLD", "MINIO_SECRET_KEY_OLD"))
ROOT_PAIRS = (("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"), ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"))
OPA_PAIRS = (
    ("MINIO_POLICY_PLUGIN_URL", "MINIO_POLICY_PLUGIN_AUTH_TOKEN"),
    ("MINIO_IAM_OPA_URL", "MINIO_IAM_OPA_AUTHTOKEN"),
    ("MINIO_POLICY_OPA_URL", "MINIO_POLICY_OPA_AUTH_TOKEN"),
)


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


#: What the names of the identity providers' settings begin with; any of them may end in `_NAME`.
OPENID_PREFIXES = ("MINIO_IDENTITY_OPENID_", "MINIO_GW_OPENID_")

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
    _s("MINIO_ROOT_USER_OLD MINIO_ACCESS_KEY_OLD", "root's access key before it was changed, while the secrets in the store are still sealed by it"),
    _s("MINIO_ROOT_PASSWORD_OLD MINIO_SECRET_KEY_OLD", "root's secret key before it was changed; with _FILE: a file", secret=True),
    _s("MINIO_GW_MASTER_KEY", "text of 16 or more characters that seals the secrets in the store, in place of the root pair; with _FILE: a file", secret=True),
    _s("MINIO_GW_MASTER_KEY_OLD", "the master key before it was changed; with _FILE: a file", secret=True),
    _s("MINIO_GW_UNPROVED_RECORDS", "`on` believes the records of a store that was founded before they were proved, whoever wrote them", "off"),
    _s("MINIO_GW_STALE_LIMIT", "seconds that users and sessions are honoured while the store cannot be heard; 0: not at all", "900"),
    _s("MINIO_REGION_NAME MINIO_REGION MINIO_SITE_REGION", "the only region accepted in signatures; empty: any"),
    _s("MINIO_DOMAIN", "domains for virtual-host style requests, comma separated"),
    _s("MINIO_IAM_JWKS_URL MINIO_IDENTITY_OPENID_JWKS_URL", "key set of the identity provider, as in 2018; better CONFIG_URL"),
    _s("MINIO_IDENTITY_OPENID_CONFIG_URL", "discovery document of the identity provider. Every OPENID variable may end in _NAME, for a further provider (docs/identity.md)"),
    _s("MINIO_IDENTITY_OPENID_ENABLE", "off: this provider does not count", "on"),
    _s("MINIO_IDENTITY_OPENID_CLIENT_ID", "client id that aud must name, or azp where no audiences are listed"),
    _s("MINIO_IDENTITY_OPENID_CLAIM_NAME", "claim that names the policies", "policy"),
    _s("MINIO_IDENTITY_OPENID_CLAIM_PREFIX", "glued in front of the claim's name"),
    _s("MINIO_IDENTITY_OPENID_CLAIM_USERINFO", "take claims that the token lacks from the UserInfo endpoint; needs WebIdentityAccessToken", "off"),
    _s("MINIO_IDENTITY_OPENID_ROLE_POLICY", "policies, comma separated, of all who call with the provider's RoleArn; in place of the claim"),
    _s(" ".join(f"MINIO_IDENTITY_OPENID_{word}" for word in (
        "CLIENT_SECRET", "SCOPES", "REDIRECT_URI", "REDIRECT_URI_DYNAMIC", "VENDOR", "KEYCLOAK_REALM", "KEYCLOAK_ADMIN_URL",
        "DISPLAY_NAME", "USER_READABLE_CLAIM", "USER_ID_CLAIM", "COMMENT")), "MinIO's console has them; taken and not used", secret=True),
    _s("MINIO_GW_OPENID_AUDIENCES", "further audiences of which aud must name one, comma separated"),
    _s("MINIO_GW_OPENID_ANY_AUDIENCE", "on: take tokens that are for others, too", "off"),
    _s("MINIO_GW_OPENID_ISSUER", "the only issuer believed; empty: that of the discovery document"),
    _s("MINIO_GW_OPENID_SUBJECTS", "subjects that are trusted, comma separated, with * and ?; a role must have some"),
    _s("MINIO_GW_OPENID_TYP", "values of typ, comma separated, of which a token must have one; empty: JWT, at+jwt or none"),
    _s("MINIO_GW_OPENID_LEEWAY", "seconds the provider's clock may be ahead of ours", "0"),
    _s("MINIO_GW_OPENID_CARRIED_CLAIMS", "claims that go into the session token, comma separated; empty: all"),
    _s("MINIO_GW_OPENID_CA", "CA certificates that sign the provider's (PEM)"),
    _s("MINIO_IDENTITY_TLS_ENABLE", "ask clients for certificates (not require them): AssumeRoleWithCertificate", "off"),
    _s("MINIO_IDENTITY_TLS_SKIP_VERIFY", "refused when on: certificates are always verified", "off"),
    _s("MINIO_GW_CLIENT_CA", "file or folder of the CAs (PEM) that vouch for clients; empty: CAs in the certs folder"),
    _s("MINIO_IDENTITY_PLUGIN_URL", "webhook behind AssumeRoleWithCustomToken"),
    _s("MINIO_IDENTITY_PLUGIN_AUTH_TOKEN", "sent verbatim as Authorization to it", secret=True),
    _s("MINIO_IDENTITY_PLUGIN_ROLE_POLICY", "policies of whom it vouches for, comma separated"),
    _s("MINIO_IDENTITY_PLUGIN_ROLE_ID", "id of their role; empty: made of the URL"),
    _s("MINIO_GW_SESSION_TOKENS", "readable: JWTs, as MinIO's; sealed: encrypted, so that a presigned URL tells nothing of its signer", "readable"),
    _s("MINIO_IDENTITY_LDAP_SERVER_ADDR", "LDAP server, HOST or HOST:PORT; empty: no LDAP"),
    _s("MINIO_IDENTITY_LDAP_SRV_RECORD_NAME", "not supported: name the server itself"),
    _s("MINIO_IDENTITY_LDAP_LOOKUP_BIND_DN", "account that looks users and groups up"),
    _s("MINIO_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD", "its password", secret=True),
    _s("MINIO_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN", "DNs beneath which users are, with semicolons"),
    _s("MINIO_IDENTITY_LDAP_USER_DN_SEARCH_FILTER", "filter that finds a user: %s is the name"),
    _s("MINIO_IDENTITY_LDAP_USER_DN_ATTRIBUTES", "attributes of a user that become claims, comma separated"),
    _s("MINIO_IDENTITY_LDAP_GROUP_SEARCH_BASE_DN", "DNs beneath which groups are, with semicolons; empty: no groups"),
    _s("MINIO_IDENTITY_LDAP_GROUP_SEARCH_FILTER", "filter that finds a user's groups: %d is the user's DN, %s the name"),
    _s("MINIO_IDENTITY_LDAP_TLS_SKIP_VERIFY", "do not verify the LDAP server's certificate", "off"),
    _s("MINIO_IDENTITY_LDAP_SERVER_INSECURE", "speak to the LDAP server without TLS: passwords in the clear", "off"),
    _s("MINIO_IDENTITY_LDAP_SERVER_STARTTLS", "StartTLS in place of LDAPS", "off"),
    _s("MINIO_GW_LDAP_CA", "CA certificates that sign the LDAP server's (PEM); empty: the system's"),
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
    _s("MINIO_PROMETHEUS_AUTH_TYPE", "public: anybody may read the metrics; jwt: the bearer tokens of `mc admin prometheus generate`", "jwt"),
    _s("MINIO_GW_ADMIN_URL", "where `minio-gw admin` finds the gateway, as https://host:9000; empty: what MINIO_ADDRESS makes on this machine"),
    _s("MINIO_GW_ADMIN_CA", "CA certificates that sign that gateway's (PEM); empty: the system's"),
    _s("MINIO_GW_TRUSTED_PROXIES", "networks whose X-Forwarded-For and X-Forwarded-Proto are believed, comma separated"),
)  # fmt: skip


#: Hours, minutes and seconds, of which one is there and has its unit.
_GO_DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6}(?:\.[0-9]{1,3})?)s)?")

_OPENID_NAMES = sorted((n for s in SETTINGS for n in s.names if n.startswith(OPENID_PREFIXES)), key=len, reverse=True)


def openid_suffix(variable: str) -> str | None:
    """Return what follows the name of an identity provider's setting, "" or `_NAME`; None when it is no such variable.

    The longest name counts: `..._REDIRECT_URI_DYNAMIC` is a setting, not that of a provider called DYNAMIC.
    """
    base = variable.removesuffix("_FILE")
    found = next((n for n in _OPENID_NAMES if base == n or base.startswith(f"{n}_")), None)
    return None if found is None else base.removeprefix(found)


class Reader:
    """Reads settings one by one and collects what is wrong."""

    def __init__(self, flags: Mapping[str, str], environ: Mapping[str, str], read_text: Callable[[Path], str]) -> None:
        self.problems: list[Problem] = []
        self._flags = flags
        self._read_text = read_text
        self._home = environ.get("HOME", "")
        self._read: dict[Path, str] = {}
        self.suffix = ""
        self._layers = (environ, self._env_file(environ.get("MINIO_CONFIG_ENV_FILE", "")))
        self._check_names()
        self._check_files()

    def suffixes(self) -> tuple[str, ...]:
        """Return the suffixes of identity providers that anybody set a variable of, in order."""
        variables = {name for layer in self._layers for name, value in layer.items() if value}
        return tuple(sorted(suffix for suffix in {openid_suffix(name) for name in variables} if suffix))

    def suffixed(self, suffix: str) -> Reader:
        """Return a reader of the settings of the provider with this suffix; what is wrong is noted with this one."""
        reader = copy.copy(self)
        reader.suffix = suffix
        return reader

    def bad(self, setting: str, text: str, remedy: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(setting, text, remedy))

    def source(self, name: str) -> str:
        """Return where a setting comes from: its flag or one of its variables; the first one when nobody set it."""
        return self._find(self._setting(name))[0]

    def get(self, name: str) -> str:
        """Return a setting's text, its default when nobody set it."""
        return self._find(self._setting(name))[1]

    def is_set(self, name: str) -> bool:
        """Return whether anybody set it."""
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
        """Return a path, `~` being the user's home folder; None when it is empty."""
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
        """Return the parts of a list with commas."""
        return tuple(part.strip() for part in self.get(name).split(",") if part.strip())

    def switch(self, name: str) -> bool:
        """Return whether it is on."""
        text = self.get(name).lower()
        if text not in {"on", "off", "true", "false", "1", "0"}:
            self.bad(self.source(name), f"{text!r} is neither on nor off", "say on or off")
        return text in {"on", "true", "1"}

    def number(self, name: str, low: float, high: float, *, whole: bool = False) -> float:
        """Return a number from `low` to `high`; `low`, with a problem, when it is none."""
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
        """Return a time that MinIO's users may have written as Go does, `30s` or `1m30s`."""
        text = self.get(name)
        parts = _GO_DURATION.fullmatch(text)
        if parts is not None:
            text = f"{int(parts[1] or 0) * 3600 + int(parts[2] or 0) * 60 + float(parts[3] or 0):g}"
        return self._number(name, text.removesuffix("s"), 0.05, 86_400, whole=False)

    def choice(self, name: str, *words: str) -> str:
        """Return a text that must be one of these words."""
        text = self.get(name)
        if text not in words:
            self.bad(self.source(name), f"{text!r} is unknown", f"say {', '.join(words[:-1])} or {words[-1]}")
        return text

    def url(self, name: str, text: str) -> str:
        """Return a text that must be an http or https URL, or nothing."""
        if text and split_url(text) is None:
            self.bad(name, f"{shown(text)!r} is no http or https URL", "give a whole URL, as http://host:port/path")
        return text

    def region(self, name: str) -> str:
        """Return a region's name, or nothing: it is a part of each signature's scope, between slashes."""
        text = self.get(name)
        if text and not is_region(text):
            self.bad(self.source(name), f"{shown(text)[:100]!r} is no region", "give a name as eu-central-1")
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
        except ValueError:  # NUL, which a TOML file can say
            self.bad(setting, f"{str(path)!r} is no path", "name a file this user may read")
        return self._read[path]

    def unknown(self) -> tuple[tuple[str, str], ...]:
        """Return the flags and the variables that are no settings, with their values; what Kubernetes and others set is among them."""
        known = {n for s in SETTINGS for n in (s.flag, *s.names)}
        given = [*self._flags.items(), *(item for layer in self._layers for item in layer.items())]
        return tuple(
            (name, value)
            for name, value in given
            if name not in known and name.removesuffix("_FILE") not in known and openid_suffix(name) is None
        )

    def _setting(self, name: str) -> Setting:
        setting = next(s for s in SETTINGS if name in s.names)
        if not self.suffix:
            return setting
        return replace(setting, names=tuple(n + self.suffix for n in setting.names if n.startswith(OPENID_PREFIXES)))

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
        known_files = {f"{name}_FILE" for name in known}
        for name in sorted({name for layer in self._layers for name in layer} - known - known_files):
            if not name.startswith("MINIO_") or openid_suffix(name) is not None or is_link(name):
                continue
            ours = name.startswith(("MINIO_GW_", OPENID_PREFIXES[0]))
            # MinIO has names that we do not read; but one that is nearly ours would leave out a store, a policy service or a directory.
            near = difflib.get_close_matches(name, known | known_files, 1, 0.6 if ours else _NEARLY)
            if ours or near:
                self.bad(name, "is no setting of minio-gw", f"did you mean {near[0]}?" if near else "remove it")

    def _check_files(self) -> None:
        """Refuse a value that is said twice at one place: nobody could tell which one counts."""
        for layer in self._layers:
            for name in sorted(layer):
                # MinIO's images have MINIO_ROOT_USER_FILE=access_key and the like in their environment: names of no file.
                if (
                    name.endswith("_FILE")
                    and "/" in layer[name]
                    and layer.get(name.removesuffix("_FILE"))
                    and _is_known(name)
                ):
                    self.bad(name, f"is set beside {name.removesuffix('_FILE')}", "take one of them away")


def is_region(text: str) -> bool:
    """Return whether a text can be a region's name in a signature's scope."""
    return re.fullmatch(r"[\x21-\x7e]{1,64}", text) is not None and not set(text) & set("/,=")


def _is_known(name: str) -> bool:
    base = name.removesuffix("_FILE")
    return openid_suffix(name) is not None or any(base in setting.names for setting in SETTINGS)


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def markdown_table() -> str:
    """Return the settings as the README's table."""
    rows = ["| variable | flag | default | meaning |", "|---|---|---|---|"]
    rows += [f"| {', '.join(f'`{n}`' for n in s.names)} | {f'`{s.flag}`' if s.flag else ''} | {f'`{s.default}`' if s.default else ''} | {s.help} |"
             for s in SETTINGS]  # fmt: skip
    return "\n".join(rows)
