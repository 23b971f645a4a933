"""MINIO_GW_BACKENDS: the TOML file that maps buckets to several backends (docs/backends.md).

Every problem is found before any is reported; each is named by its place in the file (`backends.archive.region`, `buckets 2
(photos)`). Secrets are never in the file, and never in a problem's text. Pure: the reading is handed in.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.backends.endpoints import BackendSettings, Problem, addressing_of, endpoint_parts, region_of, shown
from gateway.backends.places import Places, Rule, store_of
from gateway.settings.table import is_region
from iam.model import Credentials, Secret

SETTING = "MINIO_GW_BACKENDS"
MAX_STARS = 3  # in one pattern
_BACKEND_KEYS = {"endpoint", "region", "addressing", "regions", "aws_chunked", "ca", "credentials"}
_BUCKET_KEYS = {"name", "backend", "bucket", "prefix", "shared"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_BUCKET = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*\-]{0,254}")
_PREFIX = re.compile(r"(?:[A-Za-z0-9._\-]+/)+")
_CREDENTIALS = (
    'say "root", "chain", { profile = NAME }, { env = NAME } or { access_key_file = PATH, secret_key_file = PATH }'
)

ReadText = Callable[[str, Path], str]


@dataclass(frozen=True, slots=True)
class BackendsFile:
    """The backends by name, in the file's order, and the rules that map buckets to them, the default's last."""

    backends: Mapping[str, BackendSettings]
    rules: tuple[Rule, ...]


def load(text: str, environ: Mapping[str, str], read_text: ReadText) -> tuple[BackendsFile | None, list[Problem]]:
    """Return what the file says, None when nothing can be understood, and everything that is wrong with it.

    `read_text` takes a setting's name and a path, and reports what cannot be read by itself.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at [^()]*\)\Z", str(error))  # the rest of its text may quote the file
        return None, [Problem(SETTING, f"is no TOML {where[0] if where else ''}".strip(), "mend the file")]
    return _File(environ, read_text).load(document)


class _File:
    """Reads one file and collects what is wrong."""

    def __init__(self, environ: Mapping[str, str], read_text: ReadText) -> None:
        self._environ = environ
        self._read_text = read_text
        self._problems: list[Problem] = []

    def load(self, document: dict[str, Any]) -> tuple[BackendsFile, list[Problem]]:
        self._keys("", document, {"backends", "buckets", "default"})
        tables = document.get("backends")
        if not isinstance(tables, dict) or not tables:
            self._bad("backends", "is missing", "add a table [backends.NAME] for each backend")
            tables = {}
        backends = {name: self._backend(name, table) for name, table in tables.items()}
        rules = self._rules(document, backends)
        self._check_places(rules)
        self._check_use(backends, rules)
        return BackendsFile(backends, tuple(rule for _, rule in rules)), self._problems

    def _bad(self, where: str, text: str, remedy: str) -> None:
        self._problems.append(Problem(f"{SETTING}: {where}" if where else SETTING, text, remedy))

    def _keys(self, where: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                shown_key = key if _NAME.fullmatch(key) else repr(key[:40])
                remedy = f"did you mean {near[0]}?" if near else "remove it"
                self._bad(f"{where}.{shown_key}".lstrip("."), "is no key of this file", remedy)

    def _text(self, where: str, table: Mapping[str, Any], key: str, default: str = "") -> str:
        value = table.get(key, default)
        if isinstance(value, str):
            return value
        self._bad(f"{where}.{key}", "is no text", 'write it in quotes, as "text"')
        return default

    def _choice(self, where: str, table: Mapping[str, Any], key: str, *words: str) -> str:
        text = self._text(where, table, key, words[0])
        if text not in words:
            self._bad(f"{where}.{key}", f"{text[:40]!r} is unknown", f"say {', '.join(words[:-1])} or {words[-1]}")
        return text

    def _switch(self, where: str, table: Mapping[str, Any], key: str, *, default: bool) -> bool:
        value = table.get(key, default)
        if not isinstance(value, bool):
            self._bad(f"{where}.{key}", "is neither true nor false", "say true or false, without quotes")
            return default
        return value

    def _backend(self, name: str, table: Any) -> BackendSettings:
        where = f"backends.{name if _NAME.fullmatch(name) else repr(name[:40])}"
        if not _NAME.fullmatch(name):
            self._bad(where, "is no name of a backend", "use letters, digits, - and _")
        if not isinstance(table, dict):
            self._bad(where, "is no table", "begin it with [backends.NAME]")
            return BackendSettings("http://127.0.0.1:1", "", "path", "root", name=name)
        self._keys(where, table, _BACKEND_KEYS)
        endpoint = self._text(where, table, "endpoint")
        parts = endpoint_parts(endpoint) if endpoint else None
        if parts is None:
            text = f"{shown(endpoint)!r} is no endpoint" if endpoint else "is missing"
            self._bad(f"{where}.endpoint", text, "give https://host[:port] without a path")
            parts = urlsplit("http://127.0.0.1:1")
        host, ca = parts.hostname or "", self._text(where, table, "ca")
        kind, static, profile = self._credentials(where, table.get("credentials"))
        region = self._text(where, table, "region")
        if region and not is_region(region):
            self._bad(f"{where}.region", "is no region", "give a name as eu-central-1")
        return BackendSettings(
            f"{parts.scheme}://{parts.netloc}", region or region_of(host) or "us-east-1",
            addressing_of(self._choice(where, table, "addressing", "auto", "path", "virtual"), host), kind,
            Path(ca) if ca else None, static, self._choice(where, table, "regions", "auto", "on", "off"),
            self._switch(where, table, "aws_chunked", default=True), profile, name,
        )  # fmt: skip

    def _credentials(self, where: str, value: Any) -> tuple[str, Credentials | None, str]:
        """Return the kind, the pair and the profile."""
        where += ".credentials"
        if value in ("root", "chain"):
            return str(value), None, ""
        if isinstance(value, dict) and all(isinstance(v, str) and v for v in value.values()):
            match sorted(value):
                case ["profile"]:
                    return "chain", None, value["profile"]
                case ["env"]:
                    return "static", self._env_pair(where, value["env"]), ""
                case ["access_key_file", "secret_key_file"]:
                    pair = (
                        self._read_text(f"{SETTING}: {where}.{key}", Path(path)).strip()
                        for key, path in sorted(value.items())
                    )
                    return "static", self._pair(where, *pair), ""
        self._bad(where, "is missing" if value is None else "is no source of credentials", _CREDENTIALS)
        return "root", None, ""

    def _env_pair(self, where: str, name: str) -> Credentials | None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            self._bad(
                f"{where}.env", "is no beginning of a variable's name", "write it as MY_STORE for MY_STORE_ACCESS_KEY"
            )
            return None
        names = (f"{name}_ACCESS_KEY", f"{name}_SECRET_KEY")
        values = [self._variable(where, one) for one in names]
        for one, value in zip(names, values, strict=True):
            if not value:
                self._bad(where, f"the variable {one} is not set", f"set {one}, or {one}_FILE")
        return self._pair(where, *values) if all(values) else None

    def _variable(self, where: str, name: str) -> str:
        path = self._environ.get(name + "_FILE", "")
        if path and self._environ.get(name):
            self._bad(where, f"{name}_FILE is set beside {name}", "take one of them away")
        return self._environ.get(name, "") or (
            self._read_text(f"{SETTING}: {where}", Path(path)).strip() if path else ""
        )

    def _pair(self, where: str, access_key: str, secret_key: str) -> Credentials | None:
        if re.fullmatch(r"[\x21-\x7e]{1,128}", access_key) and re.fullmatch(r"[\x21-\x7e]+", secret_key):
            return Credentials(access_key, Secret(secret_key))
        self._bad(where, "the access key or the secret key is empty or not printable ASCII", "give a whole pair")
        return None

    def _rules(self, document: Mapping[str, Any], backends: Mapping[str, BackendSettings]) -> list[tuple[str, Rule]]:
        tables = document.get("buckets", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._bad("buckets", "is no list of tables", "begin each with [[buckets]]")
            tables = []
        rules = [rule for i, table in enumerate(tables, 1) if (rule := self._rule(i, table, backends))]
        default = document.get("default")
        if default is not None and (not isinstance(default, str) or default not in backends):
            self._bad("default", "is no backend of this file", "name a backend, or leave it out")
        elif default is not None:
            rules.append(("default", Rule("*", default, _store(backends[default]))))
        return rules

    def _rule(
        self, number: int, table: Mapping[str, Any], backends: Mapping[str, BackendSettings]
    ) -> tuple[str, Rule] | None:
        name = table.get("name")
        good = isinstance(name, str) and _BUCKET.fullmatch(name) and ".." not in name and name.count("*") <= MAX_STARS
        where = f"buckets {number}" + (f" ({name})" if good else "")
        self._keys(where, table, _BUCKET_KEYS)
        if not isinstance(name, str) or not good:
            text = "is missing" if name is None else "is no bucket name or pattern"
            self._bad(f"{where}.name", text, f"give a bucket's name, or a pattern with {MAX_STARS} * at most")
        backend = self._text(where, table, "backend")
        if backend not in backends:
            known = ", ".join(n for n in backends if _NAME.fullmatch(n))
            self._bad(
                f"{where}.backend", "is no backend of this file" if backend else "is missing", f"say one of: {known}"
            )
        bucket, prefix = self._renamed(where, str(name), table), self._prefix(where, table)
        shared = self._switch(where, table, "shared", default=False)
        if not good or backend not in backends:
            return None
        return where, Rule(str(name), backend, _store(backends[backend]), bucket, prefix, shared)

    def _renamed(self, where: str, name: str, table: Mapping[str, Any]) -> str:
        bucket = self._text(where, table, "bucket")
        if bucket and (not _BUCKET.fullmatch(bucket) or ".." in bucket):
            self._bad(f"{where}.bucket", "is no bucket name", "give the bucket's name at the backend")
        elif bucket and (bucket.count("*") != name.count("*") or bucket.count("*") > 1):
            self._bad(
                f"{where}.bucket", "does not rename what the pattern matches", "use one * in both, or none in both"
            )
        else:
            return bucket
        return ""

    def _prefix(self, where: str, table: Mapping[str, Any]) -> str:
        prefix = self._text(where, table, "prefix")
        if not prefix or (
            _PREFIX.fullmatch(prefix) and {".", ".."}.isdisjoint(prefix.split("/")) and len(prefix) <= 512
        ):
            return prefix
        text = "use letters, digits, '.', '_', '-' and '/' between names; end it with '/'"
        self._bad(f"{where}.prefix", "is no prefix of keys", text)
        return ""

    def _check_use(self, backends: Mapping[str, BackendSettings], rules: list[tuple[str, Rule]]) -> None:
        """Refuse a backend that nothing is mapped to; where a rule is wrong, that may be why."""
        unused = [name for name in backends if all(rule.backend != name for _, rule in rules)]
        if not self._problems:
            for name in unused:
                self._bad(f"backends.{name}", "has no buckets", "map a bucket to it, or make it the default")

    def _check_places(self, rules: list[tuple[str, Rule]]) -> None:
        """Refuse rules that no request can reach, and names whose place belongs to another name."""
        places = Places([rule for _, rule in rules])
        for i, (where, rule) in enumerate(rules):
            earlier = next((w for w, other in rules[:i] if other.there(rule.name) is not None), None)
            if earlier is not None:
                self._bad(where, f"is never reached: {earlier} comes first", "put the narrower rule first")
            elif not rule.is_pattern and (owner := places.owner(rule.name)) is not None:
                text = f"is the same place as {owner}: a policy for one would not hold for the other"
                self._bad(where, text, "give them other places, or say shared = true for both")


def _store(settings: BackendSettings) -> str:
    parts = urlsplit(settings.endpoint)
    return store_of(parts.scheme, parts.netloc)
